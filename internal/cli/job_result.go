package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/node/api"
)

// jobResult is what the job found, and its JSON.
type jobResult struct {
	replayResult
	Seconds  float64       `json:"seconds"`
	Settled  uint64        `json:"settled"`
	Pending  uint64        `json:"pending"`
	Rungs    rungs         `json:"acks_by_rung"`
	Epochs   []epochResult `json:"epochs"`
	Rows     []settledRow  `json:"rows"` // over all epochs
	Differs  []string      `json:"differences"`
	Verified []verdict     `json:"verified"`

	want   rungs       // where there have to be acks
	proven *api.Rollup // one that is shown by proofs
}

type epochResult struct {
	Epoch uint32 `json:"epoch"`
	Rows  int    `json:"rows"`
	Acks  uint64 `json:"acks"`
	Paid  uint64 `json:"paid,string"`
	Root  string `json:"root"`
}

type settledRow struct {
	Node    uint32 `json:"node"`
	Service string `json:"service"`
	Payer   string `json:"payer"`
	Acks    uint64 `json:"acks"`
	Units   uint64 `json:"units,string"`
	Charge  uint64 `json:"charge,string"`
	Paid    uint64 `json:"paid,string"`

	service, payer uint32
}

func (r *jobResult) add(s *api.GetSettlementResponse) {
	e := epochResult{Epoch: s.Epoch, Rows: len(s.Rows), Root: s.Root}
	for _, row := range s.Rows {
		e.Acks += row.Acks
		e.Paid += row.Paid
		i := slices.IndexFunc(r.Rows, func(have settledRow) bool {
			return have.Node == row.Node && have.service == row.Service && have.payer == row.Payer
		})
		if i < 0 {
			i = len(r.Rows)
			r.Rows = append(r.Rows, settledRow{Node: row.Node, service: row.Service, payer: row.Payer})
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

func (r *jobResult) names(p *replay.Replay) {
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
	slices.SortFunc(r.Rows, func(a, b settledRow) int {
		if a.Node != b.Node {
			return int(a.Node) - int(b.Node)
		}
		if c := strings.Compare(a.Payer, b.Payer); c != 0 {
			return c
		}
		return strings.Compare(a.Service, b.Service)
	})
}

// reconcile holds the settlements against the clients' own account.
func (r *jobResult) reconcile(t *replay.Tally) {
	r.Pending = r.Accepted - min(r.Settled, r.Accepted)
	settled := map[replay.Account]replay.Sum{}
	for _, row := range r.Rows {
		settled[replay.Account{Node: row.Node, Service: row.service, Payer: row.payer}] = replay.Sum{Acks: row.Acks, Units: row.Units}
	}
	for account, want := range t.Accounts {
		if got := settled[account]; got != want {
			r.Differs = append(r.Differs, fmt.Sprintf("%+v: clients have %+v, settled is %+v", account, want, got))
		}
	}
	for account, got := range settled {
		if _, ok := t.Accounts[account]; !ok {
			r.Differs = append(r.Differs, fmt.Sprintf("%+v: settled is %+v, which no client knows", account, got))
		}
	}
	slices.Sort(r.Differs)
}

func (r *jobResult) print(w io.Writer) {
	fmt.Fprintln(w, "\nSettlement, all epochs:")
	rows := make([][]string, len(r.Rows))
	var units, paid uint64
	for i, row := range r.Rows {
		rows[i] = []string{fmt.Sprint(row.Node), row.Service, row.Payer, grouped(row.Acks), grouped(row.Units), credits(row.Paid)}
		units += row.Units
		paid += row.Paid
	}
	rows = append(rows, []string{"", "", "total", grouped(r.Settled), grouped(units), credits(paid)})
	table(w, []string{">node", "service", "payer", ">acks", ">units", ">amount"}, rows)
	fmt.Fprintln(w)
	var empty []uint32
	for _, e := range r.Epochs {
		if e.Rows == 0 {
			empty = append(empty, e.Epoch)
			continue
		}
		fmt.Fprintf(w, "epoch %d: %s in %s, %s credits paid, root %s\n", e.Epoch, plural(e.Acks, "ack"), plural(uint64(e.Rows), "row"), credits(e.Paid), shortHashes(e.Root))
	}
	if len(empty) > 0 {
		fmt.Fprintf(w, "Nothing to settle in %s %s.\n", noun(len(empty), "epoch"), ranges(empty))
	}
	fmt.Fprintf(w, "\nReconciliation: %s received = %s accepted + %s; %s accepted = %s settled + %s pending\n",
		grouped(r.Received), grouped(r.Accepted), r.reasons(), grouped(r.Accepted), grouped(r.Settled), grouped(r.Pending))
	fmt.Fprintf(w, "Acks by rung: %s verified one by one (1) + %s under statements that their clients co-signed (2) + %s under proofs of such statements (3)\n",
		grouped(r.Rungs.Acks), grouped(r.Rungs.Statements), grouped(r.Rungs.Proofs))
	if late := r.Rungs.Proofs - min(r.Rungs.InTime, r.Rungs.Proofs); late > 0 {
		fmt.Fprintf(w, "Of the last, %s were certified by their statements, before the proofs were made.\n", grouped(late))
	}
	if r.BadLines > 0 {
		fmt.Fprintf(w, "%s of the log could not be read as requests.\n", plural(uint64(r.BadLines), "line"))
	}
	fmt.Fprintln(w, "\nVerified offline, from the genesis file alone:")
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
		fmt.Fprintf(w, "  The empty %s of %s %s: certified as well\n", noun(len(held), "settlement"), noun(len(held), "epoch"), ranges(held))
	}
	fmt.Fprintf(w, "\n%s in %.1f s.\n", plural(uint64(r.Requests), "request"), r.Seconds)
}

// check is the job's verdict.
func (r *jobResult) check() error {
	var refused uint64
	for _, n := range r.Refused {
		refused += n
	}
	switch {
	case r.Received != uint64(r.Requests):
		return fmt.Errorf("%d requests, but %d received", r.Requests, r.Received)
	case r.Received != r.Accepted+refused:
		return fmt.Errorf("%d received, but %d accepted and %d refused", r.Received, r.Accepted, refused)
	case r.Settled != r.Accepted:
		return fmt.Errorf("%d accepted, but %d settled", r.Accepted, r.Settled)
	case len(r.Differs) > 0:
		return fmt.Errorf("the settlement differs from the clients' account:\n  %s", strings.Join(r.Differs, "\n  "))
	case len(r.Epochs) < 2:
		return fmt.Errorf("%d epochs settled, want at least 2", len(r.Epochs))
	}
	for _, v := range r.Verified {
		if !v.Holds {
			return errDoesNotHold
		}
	}
	return r.checkRungs()
}
