package telemetry

import "time"

// Rotation is who has seats, where the drawing of the next ones stands, and what members say of
// nodes.
type Rotation struct {
	Term       uint32 `json:"term"`  // in office
	Epoch      uint32 `json:"epoch"` // that is drawn in
	Phase      string `json:"phase"` // of it, a ledger.Phase
	Round      int    `json:"round"` // of reveals, from 0
	Seats      int    `json:"seats"`
	Held       int    `json:"held"`       // by this node, in the last term
	Next       *int   `json:"next"`       // by this node, once that is fixed; null before
	Candidates int    `json:"candidates"` // of the epoch; once reports are counted, the healthy ones
	// Obstacle says why this node cannot be drawn, and what ends that; "" when it can be.
	Obstacle string   `json:"obstacle"`
	Probed   []Probed `json:"probed"` // by this node, a member, since it began; ascending by node
	// NoVisits says why this node, a member, visits nobody as a client; "" when it does.
	NoVisits string `json:"no_visits"`
	Visits   Visits `json:"-"`

	TermEpochs int        `json:"term_epochs"` // after how many epochs a seat is drawn anew
	Done       Done       `json:"done"`
	Sits       []Seat     `json:"sits"`  // by index: of the last term
	Nodes      []NodeSaid `json:"nodes"` // ascending: MaxSaid at most, this node among them

	// Of this node, when it is registered: what it takes to be drawn, its odds in the draws to come,
	// and what each member said of it.
	Conditions []Condition `json:"conditions"`
	Odds       []Odds      `json:"odds"`
	Said       []Said      `json:"said"`
	Duties     []DutyDone  `json:"duties"` // newest epoch first, at most MaxDuties
	// Needed says why the network still needs this node to run; "" when it may be stopped for good.
	Needed string `json:"needed"`
}

// MaxSaid is of how many nodes a snapshot has what members said.
const MaxSaid = 64

// Done counts what the members and winners of an epoch have done for its draw. A later phase has
// what the ones before it ended with, as far as the chain still knows.
type Done struct {
	Members   int `json:"members"`   // of the last term, who report
	Reported  int `json:"reported"`  // until the seed is known
	Announced int `json:"announced"` // to reveal, in this round
	Revealed  int `json:"revealed"`
	Asked     int `json:"asked"` // winners without a seat, who say that they are ready
	Ready     int `json:"ready"`
}

// Seat is one unit of power.
type Seat struct {
	Holder *uint32 `json:"holder"` // a node; null: it is empty
	Mark   string  `json:"mark"`   // due or stayed: it is drawn next, out of its turn; else ""
	Drawn  uint32  `json:"drawn"`  // the epoch in which it is drawn next
	Moves  bool    `json:"moves"`  // the next term is fixed, and gives it to another
	To     *uint32 `json:"to"`     // to whom; null: to nobody
}

// NodeSaid is a node that has seats or stands for them, and what the members said of it in the
// last epoch whose reports were counted; before that of the one in which they come.
type NodeSaid struct {
	Node      uint32   `json:"node"`
	Seats     int      `json:"seats"`
	Next      int      `json:"next"`      // in the next term; as many until that is fixed
	Standing  string   `json:"standing"`  // candidate, jailed, poor, new, gone or none
	Epoch     uint32   `json:"epoch"`     // of the reports; nothing was said when both lists are empty
	Healthy   []uint32 `json:"healthy"`   // members who said so, ascending
	Unhealthy []uint32 `json:"unhealthy"` // likewise
}

// MaxDuties is for how many epochs a snapshot has what this node did for its committee.
const MaxDuties = 8

// DutyDone is what this node did for its committee in an epoch, and what that earned it.
type DutyDone struct {
	Epoch    uint32 `json:"epoch"`
	Blocks   uint32 `json:"blocks"`          // on which it could have voted
	Points   uint64 `json:"points,string"`   // seats, summed over the votes that blocks carry
	Possible uint64 `json:"possible,string"` // the same, had it voted on all of them
	Asked    bool   `json:"asked"`           // to report
	Reported bool   `json:"reported"`
	Withheld bool   `json:"withheld"` // a reveal that it had announced
	// Counts says whether it has a part in the reward, as far as is known by now.
	Counts  bool   `json:"counts"`
	Settled bool   `json:"settled"`
	Reward  uint64 `json:"reward,string"` // micro-credits; 0 until the epoch is settled
}

// Condition is one that a node has to fulfil to be drawn.
type Condition struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Value  string `json:"value"`
	Advice string `json:"advice"` // what to do; "" when it is fulfilled
}

// Odds is how likely the draw of an epoch gives this node a seat whose turn comes, with the
// candidates of now.
type Odds struct {
	Epoch  uint32  `json:"epoch"`
	Seats  int     `json:"seats"` // that are drawn because their turn comes
	Chance float64 `json:"chance"`
}

// Said is what a member said of this node in an epoch, and how often this node had answered it.
type Said struct {
	Epoch   uint32 `json:"epoch"`
	Member  uint32 `json:"member"`
	Seats   int    `json:"seats"`
	Healthy bool   `json:"healthy"`
	Height  int64  `json:"height"` // of the block with the report
	// Answered is how many probes of this member this node answered, null when it does not know any
	// more: it keeps that for one epoch, and not over a restart.
	Answered *int `json:"answered"`
}

// Probed is what came of a member's probes of a candidate.
type Probed struct {
	Node     uint32        `json:"node"`
	Asked    int           `json:"asked"`
	Answered int           `json:"answered"`  // rightly
	Median   time.Duration `json:"median_ns"` // of those
	Healthy  bool          `json:"healthy"`
	Why      string        `json:"why"` // the last failure, "" when there was none
	// Visited is what came of visits to it, null when there were none.
	Visited *Visited `json:"visited"`
}

// Visited is what came of a member's visits to a candidate, as clients come.
type Visited struct {
	Asked   int           `json:"asked"`
	Served  int           `json:"served"`  // rightly
	Refused int           `json:"refused"` // for a reason that says nothing bad of the node
	Failed  int           `json:"failed"`
	Median  time.Duration `json:"median_ns"` // until the first bytes came, of those served
	Unfit   bool          `json:"unfit"`     // more failed than may
	Why     string        `json:"why"`       // the last failure, "" when there was none
}

// Visits count what this node did at others as a client, since the process began. They are for its
// operator alone: what it pays leads to who pays.
type Visits struct {
	Served, Refused, Failed uint64
	Bytes, Charged          uint64 // of content
	Fees                    uint64 // micro-credits, of grants
}
