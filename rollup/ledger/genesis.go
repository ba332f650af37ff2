package ledger

import (
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// Limits of a genesis.
const (
	GenesisVersion  = 1
	MaxChainID      = 50        // characters; the consensus engine's limit
	MaxCommittee    = 2040      // members that a bitmap with a length of one byte can name
	MaxLateEpochs   = 65535     // bounds how long ordered windows are remembered
	StakePerPower   = 1_000_000 // micro-credits for one unit of voting power
	maxGenesisBytes = 16 << 20
)

// Genesis is what a network starts from, and what a verifier needs (section 3).
type Genesis struct {
	Version     int       `json:"version"`
	ChainID     string    `json:"chain_id"`
	GenesisTime time.Time `json:"genesis_time"` // start of epoch 0
	Treasury    Key       `json:"treasury"`     // signs deposits
	Params      Params    `json:"params"`
	Committee   []Member  `json:"committee"` // member i is node i
}

// Params are the constants of a network.
type Params struct {
	EpochSeconds uint32 `json:"epoch_seconds"` // at least 1
	GraceSeconds uint32 `json:"grace_seconds"` // from an epoch's end to its settlement
	LateEpochs   uint32 `json:"late_epochs"`   // how many epochs after its own a certificate may be ordered
	Shares       Shares `json:"shares"`
}

// Shares divide what payers pay, in basis points that sum to 10,000.
type Shares struct {
	Node     uint16 `json:"node"`
	Service  uint16 `json:"service"`
	Protocol uint16 `json:"protocol"`
}

// Member is a genesis node: one of the committee and a validator of the consensus engine.
type Member struct {
	Owner        Key          `json:"owner"` // account key
	BLSKey       BLSKey       `json:"bls_key"`
	Proof        BLSSignature `json:"proof"` // of possession
	TransportKey Key          `json:"transport_key"`
	ConsensusKey Key          `json:"consensus_key"`
	PeerAddress  string       `json:"peer_address"` // host:port
	P2PAddress   string       `json:"p2p_address"`  // host:port
	Stake        uint64       `json:"stake"`        // micro-credits
}

// Power returns the member's voting power.
func (m *Member) Power() uint64 { return m.Stake / StakePerPower }

// GenesisError says which field of a genesis is wrong, as a path such as "committee[2].bls_key".
type GenesisError struct {
	Path string
	Err  error
}

func (e *GenesisError) Error() string {
	if e.Path == "" {
		return "genesis: " + e.Err.Error()
	}
	return "genesis: " + e.Path + ": " + e.Err.Error()
}

func (e *GenesisError) Unwrap() error { return e.Err }

// ParseGenesis decodes and validates a genesis file. Unknown, repeated and missing fields are errors, like everything
// that Validate refuses. The error is a *GenesisError.
func ParseGenesis(b []byte) (*Genesis, error) { panic("not yet") }

// Validate checks every range, key and proof of possession. The error is a *GenesisError.
func (g *Genesis) Validate() error { panic("not yet") }

// Encode returns the file's contents, which ParseGenesis reads back.
func (g *Genesis) Encode() []byte { panic("not yet") }

// Network returns the identifier that the chain id gives.
func (g *Genesis) Network() rollup.Network { return rollup.NetworkID(g.ChainID) }

// CommitteeSet returns the committee that checks signatures. The genesis must be valid.
func (g *Genesis) CommitteeSet() *rollup.Committee { panic("not yet") }
