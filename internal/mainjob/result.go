package mainjob

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/internal/verdict"
	"github.com/waybill-network/waybill/node/api"
)

// Result is what the job found, and its JSON.
type Result struct {
	Network  string             `json:"network"`
	Requests int                `json:"requests"`
	Unread   []workload.Refused `json:"unread"` // lines of the log, by reason
	Clients  int                `json:"clients"`
	Seconds  float64            `json:"seconds"`

	// What was delivered, by the clients' account.
	Served     int      `json:"served"`          // requests, all bytes of which came and verified
	Missed     []string `json:"missed"`          // why the first of the others were not
	Bytes      uint64   `json:"bytes,string"`    // of the requests that were served
	Received   uint64   `json:"received,string"` // and verified, from all nodes
	Acked      uint64   `json:"acked,string"`    // bytes that nodes hold acks for
	Late       uint64   `json:"late,string"`     // bytes whose acks nodes refused
	Acks       uint64   `json:"acks"`            // that were signed
	Accepted   uint64   `json:"accepted"`        // acks that nodes hold
	Delivering float64  `json:"delivering_seconds"`
	Median     float64  `json:"median_seconds"` // of a request
	Most       float64  `json:"p99_seconds"`

	Origin Origin      `json:"origin"`
	Nodes  []NodeBooks `json:"nodes"`
	Killed *Killed     `json:"killed,omitempty"`

	// What was settled.
	Settled   uint64            `json:"settled"`        // acks
	Units     uint64            `json:"units,string"`   // bytes
	Charged   uint64            `json:"charged,string"` // micro-credits
	Paid      uint64            `json:"paid,string"`
	ToNodes   uint64            `json:"to_nodes,string"`
	ToSites   uint64            `json:"to_sites,string"`   // to the owners of the services
	ToMembers uint64            `json:"to_members,string"` // of the protocol's part, by duties
	Rungs     Rungs             `json:"acks_by_rung"`
	Epochs    []Epoch           `json:"epochs"`
	Rows      []Row             `json:"rows"` // over all epochs
	Differs   []string          `json:"differences"`
	HandOvers uint32            `json:"hand_overs"` // from one committee to the next
	Verified  []verdict.Verdict `json:"verified"`

	Want    Rungs       `json:"-"` // where there have to be acks
	proven  *api.Rollup // one that is shown by proofs
	rotates uint32      // hand-overs that there have to be
}

// Origin is what the nodes asked the origin for.
type Origin struct {
	Requests uint64 `json:"requests"`
	Bytes    uint64 `json:"bytes,string"`
}

// Epoch is a certified settlement.
type Epoch struct {
	Epoch uint32 `json:"epoch"`
	Rows  int    `json:"rows"`
	Acks  uint64 `json:"acks"`
	Units uint64 `json:"units,string"`
	Paid  uint64 `json:"paid,string"`
	Root  string `json:"root"`
}

// Row is what one account has in the settlements of all epochs.
type Row struct {
	Node    uint32 `json:"node"`
	Service string `json:"service"`
	Payer   string `json:"payer"`
	Acks    uint64 `json:"acks"`
	Units   uint64 `json:"units,string"`
	Charge  uint64 `json:"charge,string"`
	Paid    uint64 `json:"paid,string"`

	service, payer uint32
	toNode         uint64
}

func (j *job) newResult(clients int) *Result {
	return &Result{Network: j.Network.Genesis.Network().String(), Requests: len(j.Site.requests),
		Unread: j.Site.refused, Clients: clients, Want: j.wanted(clients),
		rotates: j.Rotates}
}

// fetched takes what became of the requests.
func (r *Result) fetched(f *fetching, took time.Duration) {
	r.Served, r.Bytes, r.Delivering = f.served, f.bytes, took.Seconds()
	for _, err := range f.missed {
		r.Missed = append(r.Missed, err.Error())
	}
	r.Received, r.Acked, r.Late, r.Acks = f.over.Received, f.over.Charged, f.over.Refused,
		f.over.Acks
	for _, sum := range f.books {
		r.Accepted += sum.Acks
	}
	r.Median, r.Most = within(f.took, 0.5).Seconds(), within(f.took, 0.99).Seconds()
	if k := r.Killed; k != nil {
		longest, count := slowest(f.took, k.at)
		k.Slowest, k.Caught = longest.Seconds(), count
	}
	r.Origin = Origin{f.site.served.Load(), f.site.sent.Load()}
}

// total sums the nodes' books.
func (r *Result) total() (sum NodeBooks) {
	for _, n := range r.Nodes {
		sum.add(n)
	}
	return sum
}

func (r *Result) add(s *api.GetSettlementResponse) {
	e := Epoch{Epoch: s.Epoch, Rows: len(s.Rows), Root: s.Root}
	for _, row := range s.Rows {
		e.Acks += row.Acks
		e.Paid += row.Paid
		e.Units += row.Units
		i := slices.IndexFunc(r.Rows, func(have Row) bool {
			return have.Node == row.Node && have.service == row.Service && have.payer == row.Payer
		})
		if i < 0 {
			i = len(r.Rows)
			r.Rows = append(r.Rows, Row{Node: row.Node, service: row.Service, payer: row.Payer})
		}
		have := &r.Rows[i]
		have.Acks += row.Acks
		have.Units += row.Units
		have.Charge += row.Charge
		r.Charged += row.Charge
		have.Paid += row.Paid
		have.toNode += row.ToNode
		r.ToNodes += row.ToNode
		r.ToSites += row.ToService
	}
	for _, duty := range s.Duties {
		r.ToMembers += duty.Reward
	}
	r.Settled += e.Acks
	r.Units += e.Units
	r.Paid += e.Paid
	r.Epochs = append(r.Epochs, e)
}

func (r *Result) names(p *replay.Replay) {
	invert := func(m map[string]uint32) map[uint32]string {
		names := make(map[uint32]string, len(m))
		for name, index := range m {
			names[index] = name
		}
		return names
	}
	services, payers := invert(p.Services()), invert(p.Payers())
	for i := range r.Rows {
		r.Rows[i].Service, r.Rows[i].Payer = services[r.Rows[i].service], payers[r.Rows[i].payer]
	}
	slices.SortFunc(r.Rows, func(a, b Row) int {
		if a.Node != b.Node {
			return int(a.Node) - int(b.Node)
		}
		if c := strings.Compare(a.Payer, b.Payer); c != 0 {
			return c
		}
		return strings.Compare(a.Service, b.Service)
	})
}

// sums are what was settled, in the form of the clients' books.
func (r *Result) sums() map[replay.Account]replay.Sum {
	settled := map[replay.Account]replay.Sum{}
	for _, row := range r.Rows {
		account := replay.Account{Node: row.Node, Service: row.service, Payer: row.payer}
		settled[account] = replay.Sum{Acks: row.Acks, Units: row.Units}
	}
	return settled
}

// Check is the job's verdict: nil when every request was served, every byte that was sent is
// accounted for, everything accepted was settled once and as the clients have it, acks show on
// every rung that was asked for, and all exported files hold.
func (r *Result) Check() error {
	sum := r.total()
	switch {
	case r.Served != r.Requests:
		return fail(ErrUnanswered, "%d of %d requests were served: %s", r.Served, r.Requests,
			strings.Join(r.Missed, "; "))
	case r.Received < r.Bytes:
		return fmt.Errorf("%d bytes were served, but %d received", r.Bytes, r.Received)
	case r.Received != r.Acked+r.Late:
		return fmt.Errorf("%d bytes were received, but %d acknowledged and %d refused", r.Received,
			r.Acked, r.Late)
	case sum.Paid != r.Acked:
		return fmt.Errorf("the clients have %d bytes acknowledged, the nodes %d", r.Acked, sum.Paid)
	case r.Settled != r.Accepted:
		return fmt.Errorf("%d acks accepted, but %d settled", r.Accepted, r.Settled)
	case r.Units != r.Acked:
		return fmt.Errorf("%d bytes acknowledged, but %d settled", r.Acked, r.Units)
	case len(r.Differs) > 0:
		return fmt.Errorf("the settlement differs from the clients' account:\n  %s",
			strings.Join(r.Differs, "\n  "))
	case r.HandOvers < r.rotates:
		return fmt.Errorf("the committee changed %d times, want at least %d", r.HandOvers, r.rotates)
	case len(r.Epochs) < 2:
		return fmt.Errorf("%d epochs settled, want at least 2", len(r.Epochs))
	}
	var errs []error
	for _, n := range r.Nodes {
		errs = append(errs, n.balance())
	}
	return errors.Join(append(errs, verdict.Worst(r.Verified), r.checkRungs())...)
}
