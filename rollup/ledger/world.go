package ledger

import (
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// network is what a genesis fixes for good.
type network struct {
	id            rollup.Network
	params        Params
	treasury      Key
	committee     *rollup.Committee
	committeeRoot rollup.Hash // in this version the next committee's, too
	digest        rollup.Hash // of the genesis
	proven        memory
}

// world is everything that views show and transactions are judged by. A copy of it is a snapshot as
// long as the original goes on under another generation (see vector).
type world struct {
	*network
	height   int64
	time     int64 // of the last block, in nanoseconds since 1970, like all times here
	appHash  rollup.Hash
	supply   uint64 // all balances and stakes
	deposits uint64 // the treasury's nonce

	unsettled uint32  // the oldest epoch that is not settled
	starts    []int64 // of the epochs from there to the current one; replaced when it changes

	accounts    vector[account]
	nodes       vector[node]
	services    vector[Service]
	clients     vector[client]
	settlements []*Settlement // kept ones, ascending; replaced when it changes
	ordered     orderedWindows

	accountKeys, nodeKeys, transportKeys, clientKeys trie
}

type account struct {
	key     Key
	balance uint64
	nonce   uint64
}

type node struct {
	owner     uint32
	stake     uint64
	key       BLSKey
	transport Key
	address   string
}

type client struct {
	key    *clientKey
	payers []payerSpan // ascending; never changed in place
}

// payerSpan says who pays from an epoch on. The first of a client's also holds for the epochs
// before.
type payerSpan struct{ from, payer uint32 }

// clientKey is a registered key. It is decoded when it is first asked for: at a restart, millions
// need not be.
type clientKey struct {
	bytes   BLSKey
	decoded atomic.Pointer[bls.PublicKey]
}

// public returns the key, which was valid when it was registered.
func (k *clientKey) public() *bls.PublicKey {
	if pk := k.decoded.Load(); pk != nil {
		return pk
	}
	pk, err := bls.ParsePublicKey(k.bytes[:])
	if err != nil {
		return nil
	}
	k.decoded.Store(pk)
	return pk
}

func (w *world) epoch() uint32     { return w.unsettled + uint32(len(w.starts)) - 1 }
func (w *world) epochStart() int64 { return w.starts[len(w.starts)-1] }

func (w *world) accountByKey(key Key) (uint32, bool) {
	digest := digestOf(key[:])
	i, ok := w.accountKeys.find(&digest)
	return i, ok && w.accounts.at(i).key == key && key != Key{}
}

func (w *world) clientByKey(key *BLSKey) (uint32, bool) {
	digest := digestOf(key[:])
	i, ok := w.clientKeys.find(&digest)
	return i, ok && w.clients.at(i).key.bytes == *key
}

func (w *world) nodeByTransport(key Key) (uint32, bool) {
	digest := digestOf(key[:])
	i, ok := w.transportKeys.find(&digest)
	return i, ok && w.nodes.at(i).transport == key
}

// taken reports whether a BLS key belongs to a client or a node.
func (w *world) taken(key *BLSKey) bool {
	digest := digestOf(key[:])
	if i, ok := w.nodeKeys.find(&digest); ok && w.nodes.at(i).key == *key {
		return true
	}
	i, ok := w.clientKeys.find(&digest)
	return ok && w.clients.at(i).key.bytes == *key
}

// payer returns who pays for a client in an epoch, which is right for epochs that may still be
// ordered.
func (w *world) payer(c uint32, epoch uint32) uint32 {
	payers := w.clients.at(c).payers
	i := len(payers) - 1
	for i > 0 && payers[i].from > epoch {
		i--
	}
	return payers[i].payer
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

func at(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// memory holds digests of transactions whose signatures and proofs verified, so that they are
// verified once: when a transaction is checked, and not again when it is applied. It is bounded,
// and its contents change how long an answer takes, never the answer: for the rest of a
// transaction's judgement nothing is remembered, and what is remembered depends on nothing but the
// transaction and what the genesis or a settlement fixed for good. Safe for concurrent use.
type memory struct {
	slots [1 << 12]atomic.Pointer[rollup.Hash]
}

func (m *memory) slot(h *rollup.Hash) *atomic.Pointer[rollup.Hash] {
	return &m.slots[(uint(h[0])|uint(h[1])<<8)%uint(len(m.slots))]
}

func (m *memory) has(h *rollup.Hash) bool {
	known := m.slot(h).Load()
	return known != nil && *known == *h
}

func (m *memory) add(h *rollup.Hash) { m.slot(h).Store(h) }
