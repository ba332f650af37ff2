package telemetry

import (
	"slices"
	"time"

	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/pipeline/exposure"
	"github.com/waybill-network/waybill/pipeline/status"
)

// Snapshot is what one node says about itself at one instant. The metrics collector, the health
// checks and the dashboard read nothing else. It is filled from the pipeline's, the
// committee's and the ledger's own statistics; it holds values only and may be shared once taken.
//
// Counters only grow while the process lives, so a reader gets a rate from two snapshots, and
// current rates from Recent of one. In JSON, durations are seconds, absent times are left out,
// and amounts that may exceed 2^53 are decimal strings.
type Snapshot struct {
	Taken   time.Time `json:"taken"`
	Started time.Time `json:"started"`

	Build   Build    `json:"build"`
	Node    Node     `json:"node"`
	Kernels []Kernel `json:"kernels"`

	Pipeline pipeline.Stats `json:"pipeline"` // the windows until they are sealed
	Certify  certify.Stats  `json:"certify"`  // and after that
	Recent   Recent         `json:"recent"`
	Cosign   Cosign         `json:"cosign"`
	Proving  Proving        `json:"proving"`
	Member   MemberWork     `json:"member"`

	Committee []Member `json:"committee"`
	Chain     Chain    `json:"chain"`
	// Transactions counts those that the node offered to the chain, by ledger.TxCode.
	Transactions []status.Count `json:"transactions"`
	Epoch        Epoch          `json:"epoch"`
	Settlements  []Settlement   `json:"settlements"` // newest first, at most 8
	Rules        Rules          `json:"rules"`
	Rotation     *Rotation      `json:"rotation"` // null when the committee stays
	Duty         *Duty          `json:"duty"`     // null when this node does not stand for it

	Credit  Credit  `json:"credit"`
	Content Content `json:"content"`
	Compute Compute `json:"compute"`
	Store   Store   `json:"store"`

	// Signer is where the keys of a member are, when they are not in the home.
	Signer Signer `json:"signer,omitzero"`

	// Alarms are proofs that were shown to be false, until the operator ends them.
	Alarms []Alarm `json:"alarms"`

	// ShuttingDown is set once the node stopped taking acks in order to leave.
	ShuttingDown bool `json:"shutting_down"`
}

// Credit is what payers can still pay for at this node, in micro-credits.
type Credit struct {
	Exposure uint64 `json:"exposure"` // taken and not ordered, of all payers
	Short    int    `json:"short"`    // payers of whom an ack was refused, and nothing is left
	// Arrears were allowed and not paid for want of money, and Above was not allowed: of this node's
	// windows in epochs that are not settled.
	Arrears uint64 `json:"arrears"`
	Above   uint64 `json:"above"`
	// Payers are those with the largest exposure, by epoch, MaxPayers at most.
	Payers []exposure.Credit `json:"payers"`
}

// MaxPayers is how many payers are told of one by one.
const MaxPayers = 16

// Signer is the process that holds a node's consensus and duty keys. It is empty when none does.
type Signer struct {
	Address string `json:"address"`
	Failure string `json:"failure,omitzero"` // why it is out of reach; empty while it is not
}

// Content is what the node delivers. Bytes are of content, frames and encryption not counted. What
// was sent is what was paid, forgiven or is outstanding, owed or written off, beside what was owed
// before the process started.
type Content struct {
	On       bool   `json:"on"`
	Sessions int    `json:"sessions"`
	Open     int64  `json:"open"`    // streams that run
	Streams  uint64 `json:"streams"` // counter
	Waits    uint64 `json:"waits"`   // counter: of streams, for an ack
	Sent     uint64 `json:"sent"`    // counter
	Paid     uint64 `json:"paid"`    // counter: acknowledged
	Forgiven uint64 `json:"forgiven"`

	Outstanding uint64 `json:"outstanding"` // ahead of acks, in sessions that are open
	Owed        uint64 `json:"owed"`        // in sessions that ended
	Debtors     int    `json:"debtors"`     // clients that owe
	Late        uint64 `json:"late"`        // counter: acks

	Plain    uint64         `json:"plain"`    // counter: bytes sent without acks
	Month    uint64         `json:"month"`    // bytes of both kinds
	Volume   uint64         `json:"volume"`   // how many that may be; 0: no limit
	Refusals []status.Count `json:"refusals"` // counters, by delivery.Reason
	Aborts   []status.Count `json:"aborts"`   // counters, of streams
	Stored   uint64         `json:"stored"`   // bytes on disk
	Contents int            `json:"contents"`
	Hits     uint64         `json:"hits"`   // counter: contents that were there when they were opened
	Misses   uint64         `json:"misses"` // counter: those that were not

	// Payers are some of those whose clients are served, with most that is not acknowledged first.
	Payers []ContentPayer `json:"payers"`

	Certificate *Certificate `json:"certificate"` // nil without TLS
	HTTP3       *HTTP3       `json:"http3"`       // nil when it is off
}

// HTTP3 is the connections over QUIC at the port for content.
type HTTP3 struct {
	Open     uint64 `json:"open"`
	Accepted uint64 `json:"accepted"` // counter
	Refused  uint64 `json:"refused"`  // counter: there was no place
	Shown    uint64 `json:"shown"`    // counter: packets of those who had to show their address first
}

// http3 is zero when it is off.
func (c *Content) http3() HTTP3 {
	if c.HTTP3 == nil {
		return HTTP3{}
	}
	return *c.HTTP3
}

// ContentPayer is what clients of a payer took, in bytes.
type ContentPayer struct {
	Payer       uint32 `json:"payer"`
	Paid        uint64 `json:"paid"` // since they are remembered
	Outstanding uint64 `json:"outstanding"`
	Owed        uint64 `json:"owed"`
}

// Certificate is what the port for content shows its clients.
type Certificate struct {
	Names []string  `json:"names"`
	Until time.Time `json:"until"` // zero when there is none yet
	Wrong string    `json:"wrong"` // what failed last, "" when nothing did
}

// Compute is what the node runs for clients. Its credit is that of content.
type Compute struct {
	On       bool           `json:"on"`
	Open     int64          `json:"open"`     // runs that have a place
	Outcomes []status.Count `json:"outcomes"` // counters of runs, by delivery.Outcome
	Fuel     uint64         `json:"fuel"`     // counter: of runs that ended
	Failed   uint64         `json:"failed"`   // counter: runs that the engine could not end
	Compiled uint64         `json:"compiled"` // counter: modules
	Modules  int            `json:"modules"`  // that are kept compiled
}

// Alarm is a false proof. Its evidence is a file in the node's home; removing that ends the alarm.
type Alarm struct {
	File string `json:"file"`
	Lost bool   `json:"lost,omitzero"` // it could not be written: the log has the rollup
}

// Build says which program runs.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// Node says who this node is.
type Node struct {
	Name string `json:"name"`
	Key  string `json:"transport_key"`
	// Index and Owner, the account that its rewards are credited to, mean nothing unless the ledger
	// registers the node.
	Registered bool   `json:"registered"`
	Index      uint32 `json:"index"`
	Owner      uint32 `json:"owner"`
	// Late says that it was registered since it started: it serves after a restart.
	Late    bool   `json:"registered_late,omitzero"`
	Network string `json:"network"`
	ChainID string `json:"chain_id"`
	Wanted  bool   `json:"serving_wanted"` // node.serving
	Serving bool   `json:"serving"`        // it takes acks

	// Balance and Earned are the owner's balance and what settlements credited to it through this
	// node since the process started, in micro-credits.
	Balance uint64 `json:"balance,string"`
	Earned  uint64 `json:"earned,string"`
	// Rewarded is what of Earned its duties as a member of the committee earned.
	Rewarded uint64 `json:"rewarded,string"`
}

// Duty is what this node did as a member of the committee in the running epoch.
type Duty struct {
	Blocks   uint32 `json:"blocks"`          // on which it could have voted
	Points   uint64 `json:"points,string"`   // seats, summed over its votes
	Possible uint64 `json:"possible,string"` // the same, had it voted on all blocks
	Absences int    `json:"absences"`        // that make the next one cost more
}

// Kernel is one batch primitive and the implementation that was selected for it. FellBack says
// that the self-test found a faster one to be wrong on this machine.
type Kernel struct {
	Name           string `json:"name"`
	Implementation string `json:"implementation"`
	FellBack       bool   `json:"fell_back"`
}

// Stages returns all stages, in order; prove stands beside the way, before certify.
func (s *Snapshot) Stages() []status.Stage {
	if len(s.Pipeline.Stages) == 0 { // the node takes no acks
		return nil
	}
	return append(slices.Clone(s.Pipeline.Stages), s.Certify.Prove, s.Certify.Certify)
}

// Windows returns the windows that are listed, the newest first.
func (s *Snapshot) Windows() []status.Window {
	return slices.Concat(s.Pipeline.Windows, s.Certify.Windows)
}

// States returns how many windows are in each state, in order.
func (s *Snapshot) States() []status.Count {
	return slices.Concat(s.Pipeline.States, s.Certify.States)
}

// MemberWork is what the node did for others as a member of the committee.
type MemberWork struct {
	Signed   uint64           `json:"signed"`   // counter: rollups that it verified and signed
	Refusals []status.Count   `json:"refusals"` // counters: those it refused, by peer.Reason
	Pulls    peer.PullerStats `json:"pulls"`    // of evidence that it lacked
}

// Refused is how many rollups the node refused to sign.
func (m *MemberWork) Refused() (n uint64) {
	for _, r := range m.Refusals {
		n += r.Count
	}
	return n
}

// Cosign is what became of the offers to co-sign closed windows.
type Cosign struct {
	On       bool   `json:"on"`       // the node asks
	Sessions int    `json:"sessions"` // client processes that can be asked now
	Offers   uint64 `json:"offers"`   // counter: sessions asked, once per window
	Asked    uint64 `json:"asked"`    // counter: clients asked
	Signed   uint64 `json:"signed"`   // counter: signatures that came in time
	Silent   uint64 `json:"silent"`   // counter: clients that did not answer in time
	Late     uint64 `json:"late"`     // counter: answers after the end
	// counter: sessions that are asked no more for a while, for an answer that was none
	Garbage  uint64         `json:"garbage"`
	Refusals []status.Count `json:"refusals"` // counters: clients that refused, by cosign.Reason
}

// Proving is what the node has for proofs of co-signed windows; what became of them is in Certify.
type Proving struct {
	On          bool       `json:"on"`          // the node makes proofs
	Development bool       `json:"development"` // keys that somebody may have made alone are accepted
	Keys        []ProofKey `json:"keys"`        // that the network names, for now or later
	Wait        float64    `json:"wait_seconds"`
	Prover      Prover     `json:"prover"`
}

// ProofKey is a verifying key that the network names.
type ProofKey struct {
	Statements int    `json:"statements"`
	Key        string `json:"key"`   // hash, hex
	Found      bool   `json:"found"` // the node has it
}

// Prover is the child process that makes proofs.
type Prover struct {
	// "idle" before the first proof, then the child's: loading, ready, proving, proved, failed
	Stage      string  `json:"stage"`
	Starts     uint64  `json:"starts"`      // counter: children started
	Seconds    float64 `json:"seconds"`     // counter: time spent on proofs, loading included
	CPU        float64 `json:"cpu_seconds"` // counter: processor time of proofs
	PeakMemory uint64  `json:"peak_memory"` // bytes resident at most, of any child
}

// Member is one committee member as this node sees it.
type Member struct {
	certify.Member        // what its answers to pushes showed
	Power          uint64 `json:"power"`
	Address        string `json:"address"`
	Self           bool   `json:"self"`
	Convictions    int    `json:"convictions"` // by its own words, see docs/lies.md

	// Voted is the last block that the member voted on, by the chain; 0 when this node has seen no
	// vote of it since it started. VotedAt is the time of the block that carries the vote, and
	// Missed how many blocks since carry none, over Silent seconds of the chain's clock.
	Voted   int64     `json:"voted_height"`
	VotedAt time.Time `json:"voted_at,omitzero"`
	Missed  int64     `json:"missed_blocks"`
	Silent  float64   `json:"silent_seconds"`

	// Doubles is how often this node saw two votes of it that exclude each other, since the start,
	// and DoubledAt when it did last, by its own clock.
	Doubles   uint64    `json:"double_votes"`
	DoubledAt time.Time `json:"doubled_at,omitzero"`

	// Healthy says that the engine is connected to it, that the chain carries its votes, and that
	// no push to it failed lately. Trouble says what of that is not so, and since when.
	Healthy bool   `json:"healthy"`
	Trouble string `json:"trouble,omitzero"`
}

// Chain is the state of consensus.
type Chain struct {
	Height    int64     `json:"height"`
	BlockTime time.Time `json:"block_time,omitzero"` // the chain's clock
	// Executed is this node's clock when it executed that block; zero for one of an earlier run
	Executed time.Time `json:"executed,omitzero"`
	AppHash  string    `json:"app_hash"`
	Peers    int       `json:"peers"` // connected
	// Network are the peers that the node dials, connected or not, and the others that are connected.
	Network    []committee.PeerStatus `json:"network"`
	Validators int                    `json:"validators"`
	Validator  bool                   `json:"validator"`
	CatchingUp bool                   `json:"catching_up"`
	Failure    string                 `json:"failure,omitzero"` // why the engine stopped

	Mempool int `json:"mempool"` // transactions waiting

	// Snapshotless is why this member does not sign the hand-over that waits: it lacks the snapshot of
	// the ledger that is signed with it. Empty when it signs, and when none waits.
	Snapshotless string `json:"snapshotless,omitzero"`

	// Certified is the height of the last block whose record the committee signed, of those that are
	// kept, and Unsigned how many records wait for that: exports of what they hold have to.
	Certified uint64 `json:"certified"`
	Unsigned  int    `json:"unsigned_records"`

	// Skew is this node's clock minus the chain's, at the last block that it saw being made: at
	// SkewAt, which is zero before there was one. Network and consensus delay make a healthy node's
	// skew slightly positive.
	Skew   float64   `json:"skew_seconds"`
	SkewAt time.Time `json:"skew_at,omitzero"`
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

// Rules are by which version of the rules the network's blocks are executed.
type Rules struct {
	Version uint32   `json:"version"`
	Known   uint32   `json:"known"` // the newest that this program knows
	Plans   uint32   `json:"plans"` // that the ledger had: the number of the next
	Next    *Upgrade `json:"next"`  // the planned one; null: none
}

// Upgrade is a version that is planned.
type Upgrade struct {
	Version uint32    `json:"version"`
	Epoch   uint32    `json:"epoch"` // the first
	Name    string    `json:"name"`  // what to install
	At      time.Time `json:"at"`    // when the epoch begins, at the earliest
}

// Settlement is one settled epoch. Amounts are in micro-credits.
type Settlement struct {
	Epoch     uint32 `json:"epoch"`
	Root      string `json:"root"`
	Rows      int    `json:"rows"`
	Acks      uint64 `json:"acks"`
	Units     uint64 `json:"units,string"`
	Paid      uint64 `json:"paid,string"`
	Arrears   uint64 `json:"arrears,string"` // owed and not paid
	Above     uint64 `json:"above,string"`   // charged above payers' allowances, and not owed
	ToNode    uint64 `json:"to_node,string"` // credited to this node's owner for this node's acks
	Certified bool   `json:"certified"`      // so is the record of the block that settled it
	// At is the time of that block, zero when the block is not kept any more
	At time.Time `json:"at,omitzero"`
}

// Store is the node's disk.
type Store struct {
	Path    string `json:"path"`
	Bytes   uint64 `json:"bytes"` // used by the store
	Free    uint64 `json:"free"`  // free on its file system
	MinFree uint64 `json:"min_free"`
	// why the store stopped taking writes; only a restart mends it
	Failure string `json:"failure,omitzero"`
}

// duty returns what is known of it, zeros when this node does not stand for the committee.
func (s *Snapshot) duty() Duty {
	if s.Duty == nil {
		return Duty{}
	}
	return *s.Duty
}

// rotation returns what is known of it, zeros when the committee stays.
func (s *Snapshot) rotation() Rotation {
	if s.Rotation == nil {
		return Rotation{}
	}
	return *s.Rotation
}
