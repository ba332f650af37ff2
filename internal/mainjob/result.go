package mainjob

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/internal/verdict"
	"github.com/waybill-network/waybill/node/api"
)

// Result is what the job found, and its JSON.
type Result struct {
	Network string `json:"network"`
	Delivered
	Seconds  float64           `json:"seconds"`
	Settled  uint64            `json:"settled"`
	Pending  uint64            `json:"pending"`
	Rungs    Rungs             `json:"acks_by_rung"`
	Epochs   []Epoch           `json:"epochs"`
	Rows     []Row             `json:"rows"` // over all epochs
	Differs  []string          `json:"differences"`
	Verified []verdict.Verdict `json:"verified"`

	Want   Rungs       `json:"-"` // where there have to be acks
	proven *api.Rollup // one that is shown by proofs
}

// Epoch is a certified settlement.
type Epoch struct {
	Epoch uint32 `json:"epoch"`
	Rows  int    `json:"rows"`
	Acks  uint64 `json:"acks"`
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
}

func (r *Result) add(s *api.GetSettlementResponse) {
	e := Epoch{Epoch: s.Epoch, Rows: len(s.Rows), Root: s.Root}
	for _, row := range s.Rows {
		e.Acks += row.Acks
		e.Paid += row.Paid
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
		have.Paid += row.Paid
	}
	r.Settled += e.Acks
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

// Print writes the outcome for people.
func (r *Result) Print(w io.Writer) {
	fmt.Fprintln(w, "\nSettlement, all epochs:")
	rows := make([][]string, len(r.Rows))
	var units, paid uint64
	for i, row := range r.Rows {
		rows[i] = []string{fmt.Sprint(row.Node), row.Service, row.Payer,
			text.Grouped(row.Acks), text.Grouped(row.Units), text.Credits(row.Paid)}
		units += row.Units
		paid += row.Paid
	}
	rows = append(rows, []string{"", "", "total", text.Grouped(r.Settled), text.Grouped(units),
		text.Credits(paid)})
	text.Table(w, []string{">node", "service", "payer", ">acks", ">units", ">amount"}, rows)
	fmt.Fprintln(w)
	var empty []uint32
	for _, e := range r.Epochs {
		if e.Rows == 0 {
			empty = append(empty, e.Epoch)
			continue
		}
		fmt.Fprintf(w, "epoch %d: %s in %s, %s credits paid, root %s\n", e.Epoch,
			text.Plural(e.Acks, "ack"),
			text.Plural(e.Rows, "row"), text.Credits(e.Paid), text.ShortHashes(e.Root))
	}
	if len(empty) > 0 {
		fmt.Fprintf(w, "Nothing to settle in %s %s.\n", text.Noun(len(empty), "epoch"),
			text.Ranges(empty))
	}
	fmt.Fprintf(w,
		"\nReconciliation: %s received = %s accepted + %s; %s accepted = %s settled + %s pending\n",
		text.Grouped(r.Received), text.Grouped(r.Accepted), r.reasons(),
		text.Grouped(r.Accepted), text.Grouped(r.Settled), text.Grouped(r.Pending))
	fmt.Fprintf(w, "Acks by rung: %s verified one by one (1) "+
		"+ %s under statements that their clients co-signed (2) + %s under proofs of such "+
		"statements (3)\n",
		text.Grouped(r.Rungs.Acks), text.Grouped(r.Rungs.Statements), text.Grouped(r.Rungs.Proofs))
	if late := r.Rungs.Proofs - min(r.Rungs.InTime, r.Rungs.Proofs); late > 0 {
		fmt.Fprintf(w,
			"Of the last, %s were certified by their statements, before the proofs were made.\n",
			text.Grouped(late))
	}
	if r.Rungs.Unproved > 0 {
		fmt.Fprintf(w, "%s stayed on rung 2: the epoch was settled before the prover came to it.\n",
			text.Plural(r.Rungs.Unproved, "window"))
	}
	PrintRefused(w, r.Unread)
	fmt.Fprintf(w, "\nVerified offline, from the genesis file of network %s alone:\n",
		text.ShortHashes(r.Network))
	var held []uint32 // settlements without rows, whose lines would all be the same
	for i, v := range r.Verified {
		if v.Holds && i < len(r.Epochs) && r.Epochs[i].Rows == 0 {
			held = append(held, r.Epochs[i].Epoch)
			continue
		}
		v.File = filepath.Base(v.File)
		fmt.Fprintln(w, " ", strings.ReplaceAll(v.String(), "\n", "\n  "))
	}
	if len(held) > 0 {
		fmt.Fprintf(w, "  The empty %s of %s %s: certified as well\n",
			text.Noun(len(held), "settlement"),
			text.Noun(len(held), "epoch"), text.Ranges(held))
	}
	fmt.Fprintf(w, "\n%s in %.1f s.\n", text.Plural(r.Requests, "request"), r.Seconds)
}

// Check is the job's verdict: nil when every request got an answer, everything accepted was settled
// once and as the clients have it, acks show on every rung that was asked for, and all exported
// files hold.
func (r *Result) Check() error {
	var refused uint64
	for _, n := range r.Refused {
		refused += n
	}
	switch {
	case r.Delivered.Check() != nil:
		return r.Delivered.Check()
	case r.Received != r.Accepted+refused:
		return fmt.Errorf("%d received, but %d accepted and %d refused", r.Received, r.Accepted,
			refused)
	case r.Settled != r.Accepted:
		return fmt.Errorf("%d accepted, but %d settled", r.Accepted, r.Settled)
	case len(r.Differs) > 0:
		return fmt.Errorf("the settlement differs from the clients' account:\n  %s",
			strings.Join(r.Differs, "\n  "))
	case len(r.Epochs) < 2:
		return fmt.Errorf("%d epochs settled, want at least 2", len(r.Epochs))
	}
	if err := verdict.Worst(r.Verified); err != nil {
		return err
	}
	return r.checkRungs()
}
