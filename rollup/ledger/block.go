package ledger

import (
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// Record is one entry of the state as the store keeps it. Keys are at most 17 bytes.
type Record struct {
	Key   []byte
	Value []byte // nil: the record is gone
}

// Block is what a block changed.
type Block struct {
	Height  int64
	AppHash rollup.Hash
	Records []Record // sorted by key, each key once; to be stored in one batch with the height
	// Local are entries of the depot, to be stored in the same batch. They are no part of the state.
	Local  []Record
	Events []Event        // in order of execution
	Record *BlockRecord   // nil unless the block is due
	Heads  registry.Heads // of the registry after the block
	// Validators are those of the engine that change, by node. They vote from two blocks later on.
	Validators []Validator
	// Replaced is what the block changed in the registry, as it was before, sorted.
	Replaced []Replaced
}

// Event is something that a block did: EpochStarted, Settled, RecordCertified, Ordered,
// NodeRegistered, StakeChanged, ServiceRegistered, PriceLowered, ClientsGranted, ClientsRevoked,
// ProofKeyNamed, UpgradePlanned, Upgraded or Convicted; and where committees rotate, Stands,
// SeatsDrawn, SeatsFixed, HandedOver, RotationSkipped, Withheld or Absent.
type Event interface{ event() }

// EpochStarted says that an epoch began, and so that the one before it ended.
type EpochStarted struct {
	Epoch uint32
	Start time.Time
}

// Settled says that an epoch was settled.
type Settled struct{ Settlement *Settlement }

// RecordCertified says that the committee's signature of the record of a block is in the state.
type RecordCertified struct{ Record *BlockRecord }

// Ordered says that a rollup's ticket was executed.
type Ordered struct {
	Certificate *rollup.Certificate // must not be changed
	Key         rollup.WindowKey
	ID          rollup.Hash // rollup id
	Acks        uint32
	Charges     []Charge // of the header's rows, in their order
}

// NodeRegistered says that a node joined the registry.
type NodeRegistered struct{ Node Node }

// StakeChanged says that a node's owner added to its stake, took from it, or withdrew what left.
type StakeChanged struct{ Node Node }

// ServiceRegistered says that a service joined the registry.
type ServiceRegistered struct{ Service Service }

// ClientsGranted says that Count clients, from First on, joined the registry.
type ClientsGranted struct {
	First uint64
	Count uint32
}

// ClientsRevoked says that clients are not valid from an epoch on, which is earlier than what their
// payer granted.
type ClientsRevoked struct {
	Clients []uint64 // sorted
	Until   uint32
}

// PriceLowered says that a service costs less from an epoch on.
type PriceLowered struct{ Service Service }

// ProofKeyNamed says that the committee named a proof key, or ended one.
type ProofKeyNamed struct{ Key ProofKeyTerm }

// UpgradePlanned says that the committee planned an upgrade, or cancelled the one that was planned.
type UpgradePlanned struct{ Upgrade Upgrade }

// Upgraded says that a version's rules are in force from this block on.
type Upgraded struct{ Upgrade Upgrade }

// Convicted says that a node was convicted by its own words, and what that cost it.
type Convicted struct {
	Node uint32
	Conviction
}

// Validator is a validator of the consensus engine as it becomes. A power of 0 removes it.
type Validator struct {
	Node  uint32
	Key   Key
	Power uint64
}

// Stands says that a node stands for the committee, with an epoch to wait for when it is jailed.
type Stands struct{ Node, Jailed uint32 }

// SeatsDrawn says that the seed of an epoch is known, and who must say that it is ready.
type SeatsDrawn struct {
	Epoch uint32
	Seed  rollup.Hash
	Asked []uint32 // must not be changed

	// What shows that the seed is this one, but for who is ready and gone. It must not be changed.
	Evidence *rotation.Evidence
}

// SeatsFixed says that the next seats are decided: who was ready, and who is gone, as evidence has
// it. It must not be changed.
type SeatsFixed struct {
	Epoch uint32
	Ready rollup.Bitmap
	Gone  []uint32
}

// HandedOver says that a committee votes from a height on.
type HandedOver struct {
	Committee *rollup.Committee // must not be changed
	From      int64
	Hop       *rotation.Hop  // that led there; it must not be changed
	Before    rotation.Seats // with their marks; likewise
}

// RotationSkipped says that the seats of an epoch stay as they are.
type RotationSkipped struct {
	Epoch uint32
	Why   Skip
}

// Withheld says that a member announced a reveal and did not make it, and what that cost it.
type Withheld struct {
	Node  uint32
	Taken uint64
}

// Absent says that a member hardly voted in an epoch, and from which epoch on its owner may take it
// out of jail.
type Absent struct{ Node, Epoch, Jailed uint32 }

func (Absent) event()            {}
func (EpochStarted) event()      {}
func (Settled) event()           {}
func (RecordCertified) event()   {}
func (Ordered) event()           {}
func (NodeRegistered) event()    {}
func (StakeChanged) event()      {}
func (ServiceRegistered) event() {}
func (ClientsGranted) event()    {}
func (ClientsRevoked) event()    {}
func (PriceLowered) event()      {}
func (ProofKeyNamed) event()     {}
func (UpgradePlanned) event()    {}
func (Upgraded) event()          {}
func (Convicted) event()         {}
func (Stands) event()            {}
func (SeatsDrawn) event()        {}
func (SeatsFixed) event()        {}
func (HandedOver) event()        {}
func (RotationSkipped) event()   {}
func (Withheld) event()          {}
