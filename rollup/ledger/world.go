package ledger

import (
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
)

// network is what a genesis fixes for good.
type network struct {
	id        rollup.Network
	params    Params
	treasury  Key
	digest    rollup.Hash // of the genesis
	rehearsed uint32      // see Genesis.Rehearsed
	proven    memory      // transactions
	refuted   memory      // likewise, with why
	granted   memory      // grants
}

// world is everything that views show and transactions are judged by. A copy of it is a snapshot as
// long as the original goes on under another generation (see vector).
type world struct {
	*network
	height   int64
	time     int64 // of the last block, in nanoseconds since 1970, like all times here
	appHash  rollup.Hash
	supply   uint64 // all accounts' money and all stakes
	deposits uint64 // the treasury's nonce

	unsettled uint32  // the oldest epoch that is not settled
	starts    []start // of the epochs from there to the current one; replaced when it changes

	accounts    vector[uint32, account]
	nodes       vector[uint32, node]
	services    vector[uint32, Service]
	clients     clients
	settlements []*Settlement  // kept ones, ascending; replaced when it changes
	records     []*BlockRecord // likewise
	terms       terms
	rotation    *rotating // nil when the committee does not rotate
	duties      duties    // of unsettled epochs, where it does
	heads       registry.Heads
	ordered     orderedWindows
	books       books
	proofKeys   proofKeys
	rules       rules

	consensusKeys vector[uint32, consensusKey]

	accountKeys, nodeKeys, transportKeys, consensusIndex trie
}

// start is where an epoch begins: at a block, or at the genesis.
type start struct{ time, height int64 }

type account struct {
	key   Key
	nonce uint64
	money
	allowances allowances
}

type node struct {
	owner     uint32
	stake     uint64 // bonded; what leaves is counted apart
	key       BLSKey
	transport Key
	address   string
	since     uint32 // epoch
	until     uint32 // the first epoch in which it is gone
	leaving   leaving

	convictions []Conviction // by offence; replaced when it changes
	candidacy   *candidacy   // for the committee; nil: it does not stand
}

func (w *world) epoch() uint32 { return w.unsettled + uint32(len(w.starts)) - 1 }

// begin returns where the current epoch began.
func (w *world) begin() start { return w.starts[len(w.starts)-1] }

func (w *world) accountByKey(key Key) (uint32, bool) {
	digest := digestOf(key[:])
	i, ok := w.accountKeys.find(&digest)
	return uint32(i), ok && w.accounts.at(uint32(i)).key == key && key != Key{}
}

func (w *world) nodeByTransport(key Key) (uint32, bool) {
	digest := digestOf(key[:])
	i, ok := w.transportKeys.find(&digest)
	return uint32(i), ok && w.nodes.at(uint32(i)).transport == key
}

// settlement returns a kept settlement.
func (w *world) settlement(epoch uint32) (*Settlement, bool) {
	i, ok := searchSettlement(w.settlements, epoch)
	if !ok {
		return nil, false
	}
	return w.settlements[i], true
}

// digestOf spreads keys evenly, whoever chose them, over a trie.
func digestOf(key []byte) [32]byte { return blake3.Sum256(key) }

// NodeKey implements rollup.Registry.
func (w *world) NodeKey(index uint32) ([32]byte, bool) {
	if !w.nodes.has(index) {
		return [32]byte{}, false
	}
	return w.nodes.at(index).transport, true
}

// UnitCap implements rollup.Registry.
func (w *world) UnitCap(service uint32) (uint64, bool) {
	if !w.services.has(service) {
		return 0, false
	}
	return w.services.at(service).UnitCap, true
}

func at(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// memory holds digests of what has signatures and proofs that were verified, so that this is done
// once: when a transaction is checked, and not again when it is applied. It is bounded, and its
// contents change how long an answer takes, never the answer: for the rest of a transaction's
// judgement nothing is remembered, and what is remembered depends on nothing but what was hashed
// and what the genesis, a registration or a settlement fixed for good. What did not verify has a
// memory of its own, so that it drives nothing out that did. Safe for concurrent use.
type memory []shelf

// shelf is the digests that share a place. The oldest goes first: what a block rests on is still
// there when the block is executed, however full the memory is.
type shelf struct {
	next atomic.Uint32
	held [shelfSize]atomic.Pointer[remembered]
}

const shelfSize = 8

// remembered is what was found, nil when all verified.
type remembered struct {
	digest rollup.Hash
	err    error
}

// How many transactions, refuted ones, and grants are remembered.
const (
	provenSlots  = 1 << 14
	refutedSlots = 1 << 10
	grantedSlots = 1 << 14
)

// newMemory returns one of so many digests, a multiple of shelfSize.
func newMemory(slots int) memory { return make(memory, slots/shelfSize) }

func (m memory) shelf(h *rollup.Hash) *shelf {
	return &m[(uint(h[0])|uint(h[1])<<8)%uint(len(m))]
}

func (m memory) find(h *rollup.Hash) *remembered {
	s := m.shelf(h)
	for i := range s.held {
		if known := s.held[i].Load(); known != nil && known.digest == *h {
			return known
		}
	}
	return nil
}

func (m memory) has(h *rollup.Hash) bool { return m.find(h) != nil }

// of returns the error that was found for a digest, nil when there is none.
func (m memory) of(h *rollup.Hash) error {
	if known := m.find(h); known != nil {
		return known.err
	}
	return nil
}

func (m memory) add(h *rollup.Hash, err error) {
	if !m.has(h) {
		s := m.shelf(h)
		s.held[(s.next.Add(1)-1)%shelfSize].Store(&remembered{*h, err})
	}
}
