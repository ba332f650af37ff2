// Package ledger is the settlement state machine: a genesis and a sequence of blocks of
// transactions give accounts, a registry of nodes, services and clients, the order of rollups, and
// the settlement of epochs. docs/protocol.md, sections 3 and 7 to 9, is the truth that it
// implements.
//
// It reads no clock, no environment and no randomness, does no I/O and starts no goroutine: block
// times come in with Begin, and what is to be stored goes out with End. Clients alone, of whom
// there may be a hundred million, are read from a Depot. The same blocks give the same AppHash and
// the same records everywhere. The application hash of height 0 is H(0, 0, genesis file as Encode
// prints it); later ones are
//
//	B3k(K("waybill/app/2"), previous hash ‖ height u64 ‖ B3(records))
//
// over the records that the block changed, in key order, each as key length u8 ‖ key ‖ value length
// + 1 u32 ‖ value, or 0 u32 for one that is gone. It is the engine's own affair, and no outsider
// needs it.
//
// A transaction passes judge, which only reads, and then execute, which cannot fail: that is why it
// is atomic. What judge reads is a world, and a View is a copy of one (vector.go says why that is
// cheap), so the mempool judges by the same code.
//
// Files: genesis.go, genesis_json.go, canonical.go: what a network starts from. kinds.go: the table
// of kinds, and what each of them must say of itself. payment.go, reserve.go, allowance.go,
// node.go, stake.go, service.go, price.go, grants.go, revoke.go, ticket.go, record.go, proofkey.go,
// plan.go, evidence.go: the kinds. tx.go: what transactions have in common, and their encoding.
// identity.go: what keys sign to be registered. judge.go, claims.go, execute.go: the way of a
// transaction. clients.go, depot.go: who may sign acks. money.go, credit.go: what accounts have,
// and what tickets took of it. settle.go: its division. registry.go: the trees whose root is in
// records.
// records.go, restore.go: what is stored, and the way back. terms.go: whose signature counts when.
// rotation.go, seat.go, rotation_records.go: how committees follow each other. view.go, world.go,
// vector.go, windows.go: the state and its snapshots. recover.go: how another
// network begins with it.
package ledger

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
)

// State is the ledger. It is not safe for concurrent use; its views are. A block is Begin, Apply
// for each transaction, End; between blocks, View and Restore's counterpart, the records, describe
// it completely.
type State struct {
	world
	gen   uint64 // distinguishes what may be changed in place from what a view shares
	thaws thaws
	// accounts' money and stakes, as the changes to them add up modulo 2^64; equals the supply after
	// a block
	held uint64

	open   bool                // between Begin and End
	full   bool                // the block settled: End sums everything
	dirty  map[string]struct{} // keys of records that this block changed
	events []Event
	// validators are what the block changes among the engine's
	validators []Validator
	ordering   ordering
	registers  registers
	// helped are who signed tickets of earlier epochs in this block, where committees rotate
	helped map[uint32]struct{}
	view   *View        // nil when the world changed since the last one was taken
	pages  *pages       // of the tree of clients
	own    *memoryDepot // when nobody gave one
}

// Check says what Apply would answer, and changes nothing. It allows nonces up to PendingNonces
// ahead of the sender's count, so that transactions which wait for a block can build on each other;
// everything else is judged by the state as it is. It is stricter than Apply in one thing: among
// grants of which some would stand, it takes none with a false signature or proof, since nobody
// honest sends such and each costs pairings. It remembers which signatures and proofs verified, so
// that Apply need not verify them again. Record certificates are judged like all
// others: that only a proposer may put one into a block is for the engine to enforce.
func (s *State) Check(tx []byte) Result { return s.check(tx) }

// Verify verifies the signatures that transactions rest on, all in one batch, on all cores. Check
// and Apply need not verify them again, and answer what they would answer without. A false one
// costs its transaction alone.
func (s *State) Verify(txs [][]byte) { s.verify(txs) }

func (w *world) check(raw []byte) Result {
	tx, err := w.judge(raw, PendingNonces)
	r := verdict(tx, err)
	if !r.OK() {
		return r
	}
	for _, f := range r.Fell {
		if code := f.Code(); code == CodeBadSignature || code == CodeBadProof {
			return verdict(tx, f.Err)
		}
	}
	return r
}

// Begin starts a block. It starts an epoch when the current one is over, and then settles the
// oldest unsettled epoch when its grace period is. Where committees rotate, voted are the nodes of
// which this block carries a vote for the one before; a block that carries none, like the first,
// asks nothing of anybody. It panics inside a block, and at one of which Executable says that this
// program does not know its rules. Times before 1970 and after 2200 are not supported.
func (s *State) Begin(height int64, blockTime time.Time, voted ...uint32) {
	if s.open {
		panic("ledger: Begin inside a block")
	}
	if err := s.Executable(blockTime); err != nil {
		panic(err.Error())
	}
	s.open, s.view = true, nil
	s.stored()
	s.height, s.time = height, blockTime.UnixNano()
	s.touch(keyMeta)
	began := s.over(s.time)
	clear(s.helped)
	if began {
		s.startEpoch()
		s.jailAbsent() // before a settlement forgets what members did
	}
	if s.due() {
		s.settle()
	}
	s.turn(began)
	s.countVotes(voted)
}

// Apply executes a transaction, entirely or not at all. It panics outside a block.
func (s *State) Apply(raw []byte) Result {
	if !s.open {
		panic("ledger: Apply outside a block")
	}
	tx, err := s.judge(raw, 0)
	r := verdict(tx, err)
	if r.OK() {
		s.execute(tx, &r)
	}
	return r
}

// End finishes the block. It panics when the sum of accounts' money and stakes is not the supply:
// then the ledger is broken, and nothing that it says may be stored.
func (s *State) End() Block {
	if !s.open {
		panic("ledger: End outside a block")
	}
	held, ok := s.held, true
	if s.full {
		held, ok = s.sum()
	}
	if !ok || held != s.held || held != s.supply {
		panic(fmt.Sprintf("ledger: block %d: accounts and stakes have %d, the supply is %d", s.height,
			held, s.supply))
	}
	s.updateRegistry()
	b := Block{Height: s.height, Record: s.makeRecord(), Heads: s.heads, Replaced: s.takeReplaced()}
	b.Records, b.Events, b.Validators = s.changes(), s.events, s.validators
	s.appHash = appHash(s.appHash, s.height, b.Records)
	b.AppHash = s.appHash
	b.Records, b.Local = append(b.Records, s.hashRecord()), s.local()
	if s.own != nil {
		s.own.store(b.Records)
		_ = s.own.PutLocal(b.Local) // it is in memory
	}
	s.open, s.full, s.events, s.validators = false, false, nil, nil
	clear(s.dirty)
	return b
}

// sum adds up all accounts' money and all stakes; ok is false when they exceed 64 bits.
func (s *State) sum() (sum uint64, ok bool) {
	var over uint64
	add := func(amount uint64) {
		var carry uint64
		sum, carry = bits.Add64(sum, amount, 0)
		over += carry
	}
	for i := range s.accounts.len() {
		for _, amount := range s.accounts.at(uint32(i)).purses() {
			add(amount)
		}
	}
	for i := range s.nodes.len() {
		add(s.nodes.at(uint32(i)).atStake())
	}
	return sum, over == 0
}

// View returns the state after the last block, or the genesis before the first. It panics inside a
// block. It costs a few hundred bytes, and later changes copy what it shares with them, page by
// page.
func (s *State) View() *View {
	if s.open {
		panic("ledger: View inside a block")
	}
	if s.view == nil {
		s.gen++
		s.view = &View{s.world}
	}
	return s.view
}

// startEpoch starts the next epoch at this block.
func (s *State) startEpoch() {
	s.starts = append(s.starts[:len(s.starts):len(s.starts)], start{s.time, s.height})
	epoch := s.epoch()
	s.touch(epochKey(epoch))
	s.ordering.began = true
	s.events = append(s.events, EpochStarted{Epoch: epoch, Start: at(s.time)})
	s.upgrade()
}

// over reports whether a block of a time begins an epoch.
func (w *world) over(time int64) bool {
	return time >= w.begin().time+seconds(w.params.EpochSeconds)
}

// due reports whether the oldest epoch that is not settled is to be: its grace is over by the
// clock and by blocks. By both, since a chain that stood still could else settle before it took
// what waited for it.
func (s *State) due() bool {
	if len(s.starts) < 2 {
		return false
	}
	end := s.starts[1]
	return s.time >= end.time+seconds(s.params.GraceSeconds) &&
		s.height-end.height >= int64(s.params.GraceBlocks)
}

func seconds(n uint32) int64 { return int64(n) * int64(time.Second) }

// touch marks a record as changed by the block. What a genesis or a restoration makes is no
// block's.
func (s *State) touch(key string) {
	if s.open {
		s.dirty[key] = struct{}{}
	}
}

// addAccount creates an empty account.
func (s *State) addAccount(key Key) uint32 {
	index := uint32(s.accounts.len())
	s.accounts.push(s.gen, account{key: key})
	digest := digestOf(key[:])
	s.accountKeys.insert(s.gen, &digest, uint64(index), func(i uint64) [32]byte {
		return digestOf(s.accounts.at(uint32(i)).key[:])
	})
	s.touch(indexKey(prefixAccount, index))
	return index
}

// New returns the state that a genesis describes, before the first block; with a checkpoint it has
// nobody but the committee, and is for Restore. The error is a *GenesisError.
func New(g *Genesis) (*State, error) {
	own := newMemoryDepot()
	s, err := stateOf(g, own)
	if err != nil {
		return nil, err
	}
	s.own = own
	return s, nil
}

func stateOf(g *Genesis, d Depot) (*State, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	digest := rollup.Hash(digestOf(g.Encode()))
	s := &State{
		thaws: make(thaws),
		dirty: make(map[string]struct{}), helped: make(map[uint32]struct{}),
		pages: &pages{depot: d, fresh: make(map[registry.PageID][]byte)},
	}
	s.clients = newClients(d)
	s.registers.trees[TreeClients] = registry.New(registry.Clients, s.pages)
	s.network = &network{id: g.Network(), params: g.Params, treasury: g.Treasury, digest: digest,
		proven: newMemory(provenSlots), refuted: newMemory(refutedSlots),
		granted: newMemory(grantedSlots), rehearsed: g.Rehearsed}
	s.rules.version = GenesisVersion
	s.terms = terms{{committee: g.everyMember()}}
	s.time = g.GenesisTime.UnixNano()
	s.starts = []start{{time: s.time}}
	s.appHash = genesisHash(digest)
	if g.Checkpoint != nil {
		if err := s.recovered(g); err != nil {
			return nil, err
		}
		return s, s.buildRegistry()
	}
	for _, k := range g.Params.Proofs.Keys {
		s.setProofKey(ProofKeyTerm{Statements: k.Statements, Key: k.Key, Until: Forever})
	}
	s.addAccount(Key{})
	for i := range g.Members {
		m := &g.Members[i]
		owner, ok := s.accountByKey(m.Owner)
		if !ok {
			owner = s.addAccount(m.Owner)
		}
		s.addNode(node{owner: owner, stake: m.Stake, key: m.BLSKey, transport: m.TransportKey,
			address: m.PeerAddress, until: Forever})
		s.supply += m.Stake
	}
	if g.Params.Rotation != nil {
		if err := s.beginRotation(g); err != nil {
			return nil, err
		}
	}
	if err := s.buildRegistry(); err != nil {
		return nil, err
	}
	return s, nil
}
