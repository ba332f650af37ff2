package telemetry

import (
	"time"

	"github.com/waybill-network/waybill/node/committee"
)

// Snapshot is what one node says about itself at one instant. The metrics collector, the health checks and the
// dashboard read nothing else. Whoever takes it fills it from the pipeline's, the committee's and the ledger's own
// statistics; it holds values only and may be shared once taken.
//
// Counters only grow while the process lives, so a reader gets a rate from two snapshots, and current rates from Recent of
// one. In JSON, durations are
// seconds, absent times are left out, and amounts that may exceed 2^53 are decimal strings.
type Snapshot struct {
	Taken   time.Time `json:"taken"`
	Started time.Time `json:"started"`

	Build   Build    `json:"build"`
	Node    Node     `json:"node"`
	Kernels []Kernel `json:"kernels"`

	Stages     []Stage      `json:"stages"` // in the order of StageNames
	Budget     Budget       `json:"budget"`
	Answers    []Answer     `json:"answers"` // one per code of section 11 of docs/protocol.md, in its order
	Recent     Recent       `json:"recent"`
	Quarantine Quarantine   `json:"quarantine"`
	Windows    []Window     `json:"windows"` // newest first, at most 32
	Rollups    RollupCounts `json:"rollups"`
	Cosign     Cosign       `json:"cosign"`
	Proving    Proving      `json:"proving"`

	Committee   []Member     `json:"committee"`
	Chain       Chain        `json:"chain"`
	Epoch       Epoch        `json:"epoch"`
	Settlements []Settlement `json:"settlements"` // newest first, at most 8

	Store Store `json:"store"`

	// ShuttingDown is set once the node stopped taking acks in order to leave.
	ShuttingDown bool `json:"shutting_down"`
}

// Build says which program runs.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// Node says who this node is.
type Node struct {
	Name    string `json:"name"`
	Index   uint32 `json:"index"`
	Owner   uint32 `json:"owner"` // account that its rewards are credited to
	Network string `json:"network"`
	ChainID string `json:"chain_id"`
	Serving bool   `json:"serving"` // it takes acks

	// Balance and Earned are the owner's balance and what settlements credited to it through this node since the
	// process started, in micro-credits.
	Balance uint64 `json:"balance,string"`
	Earned  uint64 `json:"earned,string"`
}

// Kernel is one batch primitive and the implementation that was selected for it. FellBack says that the self-test
// found a faster one to be wrong on this machine.
type Kernel struct {
	Name           string `json:"name"`
	Implementation string `json:"implementation"`
	FellBack       bool   `json:"fell_back"`
}

// StageNames are the stages of an ack's way, in order; they are the values of the metric label "stage".
var StageNames = []string{"admit", "verify", "commit", "window", "cosign", "seal", "certify"}

// Stage is one stage of the pipeline. Every stage counts acks, so that their rates compare; for admit to window a batch
// is a batch of acks, for cosign, seal and certify it is a window. What leaves cosign are acks under co-signed statements.
type Stage struct {
	Name string `json:"name"`

	Acks    uint64 `json:"acks"`    // counter: acks that left the stage for the next one
	Refused uint64 `json:"refused"` // counter: acks that the stage refused
	Batches uint64 `json:"batches"` // counter: batches done

	Queued    int     `json:"queued"`            // acks waiting or in work
	Oldest    float64 `json:"oldest_seconds"`    // age of the oldest of them, 0 when there is none
	BatchAcks int     `json:"batch_acks"`        // acks in the last batch
	Busy      float64 `json:"busy_seconds"`      // counter: time spent working, summed over workers
	Last      float64 `json:"last_seconds"`      // duration of the last batch
	Capacity  int     `json:"capacity,omitzero"` // acks the queue can hold, 0 when the budget alone bounds it
}

// Budget is what admission has lent out.
type Budget struct {
	Acks     int   `json:"acks"`
	MaxAcks  int   `json:"max_acks"`
	Bytes    int64 `json:"bytes"`
	MaxBytes int64 `json:"max_bytes"`
	New      int   `json:"new_acks"` // of Acks, those of connections that have not sent enough good acks yet
	Sources  int   `json:"sources"`  // open client connections
}

// Answer counts what was answered with one code. The names are those of section 11 of docs/protocol.md.
type Answer struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

// Quarantine lists clients that sent bad signatures and are verified apart. Clients holds at most 32 of them.
type Quarantine struct {
	Total   int      `json:"total"`
	Clients []uint32 `json:"clients"`
}

// WindowState is where a window is on its way; the values are also those of the metric label "state".
type WindowState string

// The states of a window, in order.
const (
	WindowOpen       WindowState = "open"
	WindowGrace      WindowState = "grace"
	WindowCosigning  WindowState = "cosigning"
	WindowSealing    WindowState = "sealing"
	WindowSealed     WindowState = "sealed"
	WindowProving    WindowState = "proving"
	WindowCertifying WindowState = "collecting"
	WindowOrdering   WindowState = "ordering"
	WindowOrdered    WindowState = "ordered"
	WindowStuck      WindowState = "stuck"
)

// WindowStates are the states of a window, in order.
var WindowStates = []WindowState{WindowOpen, WindowGrace, WindowCosigning, WindowSealing, WindowSealed, WindowProving,
	WindowCertifying, WindowOrdering, WindowOrdered, WindowStuck}

// Window is one window of this node and, from sealing on, its rollup.
type Window struct {
	Epoch  uint32      `json:"epoch"`
	Window uint32      `json:"window"`
	State  WindowState `json:"state"`

	Acks    uint32 `json:"acks"`
	MaxAcks uint32 `json:"max_acks"`
	Units   uint64 `json:"units,string"`
	Rows    int    `json:"rows"`

	Statements uint32 `json:"statements"` // in the tree, once sealed
	Cosigned   uint32 `json:"cosigned"`   // of the acks, those under co-signed statements, once sealed

	Rung     int `json:"rung"`     // of the best evidence that is kept, once sealed
	Segments int `json:"segments"` // that it is cut into to be proved, once that has begun
	Proven   int `json:"proven"`   // of them, those that are proved
	// ProofFailure is why there will be no proof, one of the reasons of Proving.
	ProofFailure string `json:"proof_failure,omitzero"`

	Root string `json:"root,omitzero"` // ack root, hex, once sealed
	ID   string `json:"id,omitzero"`   // rollup id, hex, once sealed

	Opened  time.Time `json:"opened,omitzero"`
	Closes  time.Time `json:"closes,omitzero"` // when it stops taking new acks at the latest
	Sealed  time.Time `json:"sealed,omitzero"`
	Ordered time.Time `json:"ordered,omitzero"`

	Power  uint64 `json:"power"`  // voting power behind its certificate so far
	Quorum uint64 `json:"quorum"` // least power that makes a quorum
}

// RollupCounts count this node's own rollups and what it did for others as a member.
type RollupCounts struct {
	Sealed    uint64  `json:"sealed"`         // counter
	Rung1     uint64  `json:"rung1_acks"`     // counter: acks that the committee has verified one by one
	Rung2     uint64  `json:"rung2_acks"`     // counter: acks that it has verified by co-signed statements
	Rung3     uint64  `json:"rung3_acks"`     // counter: acks that it has verified by proofs of such statements
	Certified uint64  `json:"certified"`      // counter: certificates made
	Ordered   uint64  `json:"ordered"`        // counter: certificates executed by the chain
	Pending   int     `json:"pending"`        // sealed, not yet ordered
	Oldest    float64 `json:"oldest_seconds"` // age of the oldest pending one since it was sealed

	MemberSigned  uint64 `json:"member_signed"`  // counter: rollups that this node verified and signed as a member
	MemberRefused uint64 `json:"member_refused"` // counter: rollups it refused to sign
}

// Cosign is what became of the offers to co-sign closed windows.
type Cosign struct {
	On       bool     `json:"on"`       // the node asks
	Sessions int      `json:"sessions"` // client processes that can be asked now
	Acks     uint64   `json:"acks"`     // counter: acks under the statements that were offered
	Offers   uint64   `json:"offers"`   // counter: sessions asked, once per window
	Asked    uint64   `json:"asked"`    // counter: clients asked
	Signed   uint64   `json:"signed"`   // counter: signatures that came in time
	Silent   uint64   `json:"silent"`   // counter: clients that did not answer in time
	Late     uint64   `json:"late"`     // counter: answers after the end
	Garbage  uint64   `json:"garbage"`  // counter: sessions that are asked no more for a while, for an answer that was none
	Refusals []Answer `json:"refusals"` // counters: clients that refused, by reason of section 16 of docs/protocol.md, in its order
}

// Proving is the stage beside the way of an ack: proofs of co-signed windows.
type Proving struct {
	On          bool       `json:"on"`          // the node makes proofs
	Development bool       `json:"development"` // the network accepts keys that somebody may have made alone
	Keys        []ProofKey `json:"keys"`        // that the genesis file names
	Wait        float64    `json:"wait_seconds"`

	Windows  uint64   `json:"windows"`  // counter: windows proved
	Proofs   uint64   `json:"proofs"`   // counter: proofs made, one for each segment of a window
	Acks     uint64   `json:"acks"`     // counter: acks under the statements of proved windows
	Failures []Answer `json:"failures"` // counters: windows that stay without a proof, by reason
	Queued   int      `json:"queued"`   // windows that wait to be proved
	Working  int      `json:"working"`  // windows in work
	Oldest   float64  `json:"oldest_seconds"`
	Last     float64  `json:"last_seconds"` // duration of the last window's proofs
	Prover   Prover   `json:"prover"`
}

// ProofKey is a verifying key that the genesis file names.
type ProofKey struct {
	Statements int    `json:"statements"`
	Key        string `json:"key"`   // hash, hex
	Found      bool   `json:"found"` // the node has it
}

// Prover is the child process that makes proofs.
type Prover struct {
	Stage      string  `json:"stage"`       // "idle" before the first proof, then the child's: loading, ready, proving, proved, failed
	Starts     uint64  `json:"starts"`      // counter: children started
	Seconds    float64 `json:"seconds"`     // counter: time spent on proofs, loading included
	CPU        float64 `json:"cpu_seconds"` // counter: processor time of proofs
	PeakMemory uint64  `json:"peak_memory"` // bytes resident at most, of any child
}

// Member is one committee member as this node sees it.
type Member struct {
	Node    uint32 `json:"node"`
	Power   uint64 `json:"power"`
	Address string `json:"address"`
	Self    bool   `json:"self"`
	Healthy bool   `json:"healthy"`

	Shares    uint64    `json:"shares"`   // counter: certificate shares received from it
	Failures  uint64    `json:"failures"` // counter: pushes that failed
	LastShare time.Time `json:"last_share,omitzero"`
	Latency   float64   `json:"latency_seconds"` // of the last share: from push to answer
	LastError string    `json:"last_error,omitzero"`
}

// Chain is the state of consensus.
type Chain struct {
	Height    int64     `json:"height"`
	BlockTime time.Time `json:"block_time,omitzero"` // the chain's clock
	Executed  time.Time `json:"executed,omitzero"`   // this node's clock when it executed that block
	AppHash   string    `json:"app_hash"`
	Peers     int       `json:"peers"` // connected
	// Network are the peers that the node dials, connected or not, and the others that are connected.
	Network    []committee.PeerStatus `json:"network"`
	Validators int                    `json:"validators"`
	Validator  bool                   `json:"validator"`
	CatchingUp bool                   `json:"catching_up"`
	Failure    string                 `json:"failure,omitzero"` // why the engine stopped

	Mempool int `json:"mempool"` // transactions waiting

	// Skew is this node's clock minus the chain's when the last block arrived. Network and consensus delay make a
	// healthy node's skew slightly positive.
	Skew float64 `json:"skew_seconds"`
}

// Epoch is the current epoch by the chain's clock.
type Epoch struct {
	Number       uint32    `json:"number"`
	Start        time.Time `json:"start,omitzero"`
	End          time.Time `json:"end,omitzero"`
	NextToSettle uint32    `json:"next_to_settle"`
	Clients      int       `json:"clients"`  // registered
	Services     int       `json:"services"` // registered
	Nodes        int       `json:"nodes"`    // registered
}

// Settlement is one settled epoch. Amounts are in micro-credits.
type Settlement struct {
	Epoch     uint32 `json:"epoch"`
	Root      string `json:"root"`
	Rows      int    `json:"rows"`
	Acks      uint64 `json:"acks"`
	Units     uint64 `json:"units,string"`
	Paid      uint64 `json:"paid,string"`
	Arrears   uint64 `json:"arrears,string"`
	ToNode    uint64 `json:"to_node,string"` // credited to this node's owner for this node's acks
	Certified bool   `json:"certified"`
}

// Store is the node's disk.
type Store struct {
	Path    string `json:"path"`
	Bytes   uint64 `json:"bytes"` // used by the store
	Free    uint64 `json:"free"`  // free on its file system
	MinFree uint64 `json:"min_free"`
	Failure string `json:"failure,omitzero"` // why the store stopped taking writes; only a restart mends it
}
