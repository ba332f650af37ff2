package ledger

import (
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// Account is an account of the ledger.
type Account struct {
	Index     uint32
	Key       Key    // zero for the protocol's account
	Nonce     uint64 // transactions executed
	Balance   uint64 // free to be moved
	Reserve   uint64 // what acks are paid from
	Committed uint64 // taken by tickets of epochs that are not settled
	Thawing   uint64 // on its way from the reserve to the balance
	ThawEpoch uint32 // with whose settlement it is free; acks of it may take it until then
	Allowance uint64 // what a node may charge in the next epoch
}

// Node is a registered node.
type Node struct {
	Index        uint32
	Owner        uint32 // account
	BLSKey       BLSKey
	TransportKey Key
	PeerAddress  string
	Stake        uint64 // micro-credits, without what leaves
	// Until is the first epoch in which it rolls nothing up, Forever unless all of its stake left.
	Until   uint32
	Leaving uint64 // micro-credits that can be withdrawn, or will be
	// LeavingEpoch must be settled, and LeavingUntil be over, before what leaves can be withdrawn.
	LeavingEpoch uint32
	LeavingUntil time.Time
}

// Service is a registered service.
type Service struct {
	Index   uint32
	Owner   uint32 // account
	Unit    string
	UnitCap uint64 // units of one ack
	// Prices are in micro-credits per 2^20 units. Price holds before the epoch From, NextPrice from
	// then on.
	Price     uint64
	NextPrice uint64
	From      uint32
}

// PriceIn returns the price of an epoch that is not settled.
func (v *Service) PriceIn(epoch uint32) uint64 {
	if epoch < v.From {
		return v.Price
	}
	return v.NextPrice
}

// View is the state as it was when State.View was called. It is immutable and safe for concurrent
// use. It implements rollup.Registry.
type View struct{ world }

var _ rollup.Registry = (*View)(nil)

// Height returns the height of the last block, 0 before the first.
func (v *View) Height() int64 { return v.height }

// Time returns the last block's time, the genesis time before the first.
func (v *View) Time() time.Time { return at(v.time) }

// AppHash returns the digest that the consensus engine agrees on.
func (v *View) AppHash() rollup.Hash { return v.appHash }

// Epoch returns the current epoch.
func (v *View) Epoch() uint32 { return v.epoch() }

// EpochStart returns when the current epoch began.
func (v *View) EpochStart() time.Time { return at(v.begin().time) }

// EpochEnd returns the earliest time at which a block ends the current epoch.
func (v *View) EpochEnd() time.Time { return at(v.begin().time + seconds(v.params.EpochSeconds)) }

// Settled reports whether an epoch is settled: then nothing of it can be ordered any more.
func (v *View) Settled(epoch uint32) bool { return epoch < v.unsettled }

// Network returns the network's identifier.
func (v *View) Network() rollup.Network { return v.id }

// Params returns the network's constants.
func (v *View) Params() Params { return v.params }

// ProofKey returns the digest of the verifying key for a circuit's size whose proofs are accepted
// for rollups of an epoch.
func (v *View) ProofKey(statements int, epoch uint32) (rollup.Hash, bool) {
	return v.proofKeys.of(uint32(statements), epoch)
}

// ProofKeys returns all proof keys there were and will be, by size and first epoch. They must not
// be changed.
func (v *View) ProofKeys() []ProofKeyTerm { return v.proofKeys }

// Client implements rollup.Registry. The first call for a client decodes its key. A client that
// cannot be read is unknown.
func (v *View) Client(index uint64) (c rollup.Client, ok bool) {
	defer unread(&c, &ok)
	return v.world.Client(index)
}

// unread makes nothing of an answer for which the depot could not be read; the depot tells who
// gave it.
func unread[T any](answer *T, ok *bool) {
	if depotError(recover()) != nil {
		var nothing T
		*answer, *ok = nothing, false
	}
}

// UnitCap implements rollup.Registry.
func (v *View) UnitCap(service uint32) (uint64, bool) { return v.world.UnitCap(service) }

// NodeKey implements rollup.Registry: it returns a node's transport key, with which the node signs
// its words.
func (v *View) NodeKey(node uint32) ([32]byte, bool) { return v.world.NodeKey(node) }

// Clients returns the number of clients.
func (v *View) Clients() uint64 { return v.clients.size() }

// ClientByKey returns the index of the client that a key has, or had last.
func (v *View) ClientByKey(key BLSKey) (index uint64, ok bool) {
	defer unread(&index, &ok)
	o, ok := v.clients.byKey(&key)
	return o.index, ok
}

// Revoked reports whether a client's payer ended it before the epoch that its grant names. Doors
// take no more from it; what it signed for epochs before its until stays good.
func (v *View) Revoked(client uint64) (revoked bool) {
	if !v.clients.has(client) {
		return false
	}
	defer unread(new(uint64), &revoked)
	c := v.clients.at(client)
	return c.until < c.taken
}

// Accounts returns the number of accounts, the protocol's included.
func (v *View) Accounts() int { return v.accounts.len() }

// Account returns an account.
func (v *View) Account(index uint32) (Account, bool) {
	if !v.accounts.has(index) {
		return Account{}, false
	}
	a := v.accounts.at(index)
	return Account{Index: index, Key: a.key, Nonce: a.nonce, Balance: a.balance, Reserve: a.reserve,
		Committed: a.committed, Thawing: a.thawing, ThawEpoch: a.thawEpoch,
		Allowance: v.allowance(index, v.epoch()+1)}, true
}

// AccountByKey returns the account of a key; the zero key has none.
func (v *View) AccountByKey(key Key) (Account, bool) {
	i, ok := v.accountByKey(key)
	if !ok {
		return Account{}, false
	}
	return v.Account(i)
}

// Treasury returns the treasury's key and the nonce of its next deposit.
func (v *View) Treasury() (key Key, nonce uint64) { return v.treasury, v.deposits }

// Nodes returns the number of nodes.
func (v *View) Nodes() int { return v.nodes.len() }

// Node returns a node.
func (v *View) Node(index uint32) (Node, bool) {
	if !v.nodes.has(index) {
		return Node{}, false
	}
	return v.node(index), true
}

// NodeUntil returns the first epoch in which a node rolls nothing up, Forever unless all of its
// stake left.
func (v *View) NodeUntil(index uint32) uint32 {
	if !v.nodes.has(index) {
		return Forever
	}
	return v.nodes.at(index).until
}

func (w *world) node(index uint32) Node {
	n := w.nodes.at(index)
	return Node{Index: index, Owner: n.owner, BLSKey: n.key, TransportKey: n.transport,
		PeerAddress: n.address, Stake: n.stake, Until: n.until, Leaving: n.leaving.amount,
		LeavingEpoch: n.leaving.epoch, LeavingUntil: at(w.freeAt(n))}
}

// NodeByKey returns the node with a transport key.
func (v *View) NodeByKey(transport Key) (Node, bool) {
	i, ok := v.nodeByTransport(transport)
	if !ok {
		return Node{}, false
	}
	return v.node(i), true
}

// Services returns the number of services.
func (v *View) Services() int { return v.services.len() }

// Service returns a service.
func (v *View) Service(index uint32) (Service, bool) {
	if !v.services.has(index) {
		return Service{}, false
	}
	return *v.services.at(index), true
}

// IsOrdered reports whether a rollup for the window was executed. Windows of settled epochs are
// forgotten; no ticket for them is accepted either.
func (v *View) IsOrdered(key rollup.WindowKey) bool { return v.ordered.has(key) }

// NextToSettle returns the oldest epoch that is not settled.
func (v *View) NextToSettle() uint32 { return v.unsettled }

// Settlement returns the settlement of an epoch. It is kept as long as the record of its
// block is.
func (v *View) Settlement(epoch uint32) (*Settlement, bool) { return v.settlement(epoch) }

// Supply returns the sum of all accounts' money and all stakes, in micro-credits.
func (v *View) Supply() uint64 { return v.supply }

// Check is State.Check against this view, safe for concurrent use with everything. It refuses a
// transaction for which the depot cannot be read, with a *DepotError.
func (v *View) Check(tx []byte) (r Result) {
	defer func() {
		if err := depotError(recover()); err != nil {
			r = Result{Code: CodeUnknownClient, Err: err}
		}
	}()
	return v.check(tx)
}

// Verify is State.Verify against this view, safe for concurrent use with everything.
func (v *View) Verify(txs [][]byte) {
	defer func() { _ = depotError(recover()) }() // Check says so
	v.verify(txs)
}
