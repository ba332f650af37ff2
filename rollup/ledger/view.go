package ledger

import (
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// Account is an account of the ledger.
type Account struct {
	Index   uint32
	Key     Key // zero for the protocol's account
	Balance uint64
	Nonce   uint64 // transactions executed
}

// Node is a registered node.
type Node struct {
	Index        uint32
	Owner        uint32 // account
	BLSKey       BLSKey
	TransportKey Key
	PeerAddress  string
	Stake        uint64 // micro-credits
}

// Service is a registered service.
type Service struct {
	Index   uint32
	Owner   uint32 // account
	Unit    string
	Price   uint64 // micro-credits per 2^20 units
	UnitCap uint64 // units of one ack
}

// View is the state as it was when State.View was called. It is immutable and safe for concurrent use. It implements
// rollup.Registry.
type View struct{}

var _ rollup.Registry = (*View)(nil)

// Height returns the height of the last block, 0 before the first.
func (v *View) Height() int64 { panic("not yet") }

// Time returns the last block's time, the genesis time before the first.
func (v *View) Time() time.Time { panic("not yet") }

// AppHash returns the digest that the consensus engine agrees on.
func (v *View) AppHash() rollup.Hash { panic("not yet") }

// Epoch returns the current epoch.
func (v *View) Epoch() uint32 { panic("not yet") }

// EpochStart returns when the current epoch began.
func (v *View) EpochStart() time.Time { panic("not yet") }

// EpochEnd returns the earliest time at which a block ends the current epoch.
func (v *View) EpochEnd() time.Time { panic("not yet") }

// Network returns the network's identifier.
func (v *View) Network() rollup.Network { panic("not yet") }

// Params returns the network's constants.
func (v *View) Params() Params { panic("not yet") }

// Committee returns the committee; it must not be changed.
func (v *View) Committee() *rollup.Committee { panic("not yet") }

// ClientKey returns a client's key.
func (v *View) ClientKey(client uint32) (*bls.PublicKey, bool) { panic("not yet") }

// Payer returns the account that pays for a client in an epoch. Before its first change that is whoever registered it.
func (v *View) Payer(client, epoch uint32) (uint32, bool) { panic("not yet") }

// UnitCap returns the most units that one ack for a service may claim.
func (v *View) UnitCap(service uint32) (uint64, bool) { panic("not yet") }

// Clients returns the number of clients.
func (v *View) Clients() int { panic("not yet") }

// ClientByKey returns the index of the client with a key.
func (v *View) ClientByKey(key BLSKey) (uint32, bool) { panic("not yet") }

// Accounts returns the number of accounts, the protocol's included.
func (v *View) Accounts() int { panic("not yet") }

// Account returns an account.
func (v *View) Account(index uint32) (Account, bool) { panic("not yet") }

// AccountByKey returns the account of a key; the zero key has none.
func (v *View) AccountByKey(key Key) (Account, bool) { panic("not yet") }

// Treasury returns the treasury's key and the nonce of its next deposit.
func (v *View) Treasury() (key Key, nonce uint64) { panic("not yet") }

// Nodes returns the number of nodes.
func (v *View) Nodes() int { panic("not yet") }

// Node returns a node.
func (v *View) Node(index uint32) (Node, bool) { panic("not yet") }

// NodeByKey returns the node with a transport key.
func (v *View) NodeByKey(transport Key) (Node, bool) { panic("not yet") }

// Services returns the number of services.
func (v *View) Services() int { panic("not yet") }

// Service returns a service.
func (v *View) Service(index uint32) (Service, bool) { panic("not yet") }

// IsOrdered reports whether a rollup for the window was executed. Windows of epochs that lie more than
// Params.LateEpochs behind are forgotten; no certificate for them is accepted either.
func (v *View) IsOrdered(key rollup.WindowKey) bool { panic("not yet") }

// NextToSettle returns the oldest epoch that is not settled.
func (v *View) NextToSettle() uint32 { panic("not yet") }

// PendingSettlement returns the oldest settled epoch without a certificate, and its settlement root. The committee
// signs rollup.SettlementMessage of both, with the committee's root as the next.
func (v *View) PendingSettlement() (epoch uint32, root rollup.Hash, ok bool) { panic("not yet") }

// Settlement returns the settlement of an epoch. Settlements are kept until they are certified and older than
// Params.LateEpochs + 8 epochs.
func (v *View) Settlement(epoch uint32) (*Settlement, bool) { panic("not yet") }

// Supply returns the sum of all balances and stakes, in micro-credits.
func (v *View) Supply() uint64 { panic("not yet") }

// Check is State.Check against this view, safe for concurrent use with everything.
func (v *View) Check(tx []byte) Result { panic("not yet") }
