package bench

import (
	"fmt"
	"io"
	"strings"

	"github.com/waybill-network/waybill/internal/text"
)

// loadTable is what a network did under ever more load.
type loadTable struct {
	Feeding, Members int
	Rows             []loadRow
	Plots            []plot
	Bound            string
	Roles            []loadRole // of the shares of processors in a row
}

type loadRow struct {
	Offered, Sent, Taken, Certified, Settled string
	Answer, Answer99, Cert, Cert99           string
	Shares                                   []loadShare
	Machine                                  string
	Refused                                  string
	Bends                                    bool
}

type loadRole struct{ Class, Name string }

// loadShare is how many processors the processes of a role used.
type loadShare struct {
	Class, Cores string
	From, Span   float64 // of a bar that is as long as there are processors, in percent
}

// loadsOf collects the results of a network; nil when there are none.
func loadsOf(r *Report) *loadTable {
	t := &loadTable{Roles: []loadRole{{"feeding", RoleFeeding},
		{"member", RoleMember}, {"generator", RoleGenerator},
		{"others", "other programs"}}}
	rates, times := plot{Title: "acks a second, by acks offered a second", unit: rate},
		plot{Title: "time from an ack's moment, by acks offered a second", unit: text.Nanos}
	var last *Load
	for _, res := range r.Results {
		s := res.Load
		if s == nil {
			continue
		}
		last = s
		t.Feeding, t.Members = s.Count(RoleFeeding), s.Count(RoleMember)
		t.Rows = append(t.Rows, t.row(r, s))
		add := func(p *plot, name string, own bool, y float64) {
			if y > 0 {
				p.add(name, own, sampled{s.Rate, y, y, y})
			}
		}
		add(&rates, "offered", false, s.Rate)
		add(&rates, "accepted", true, s.TakenRate)
		for _, line := range []struct {
			name string
			ms   float64
		}{{"certified, 99 %", s.ToCertified.P99}, {"certified, half", s.ToCertified.P50},
			{"answered, 99 %", s.ToAnswer.P99}, {"answered, half", s.ToAnswer.P50}} {
			add(&times, line.name, strings.HasPrefix(line.name, "answered"), line.ms*1e6)
		}
	}
	if last == nil {
		return nil
	}
	for _, p := range []plot{rates, times} {
		p.draw(extentOf(&p))
		if len(p.Lines) > 0 {
			t.Plots = append(t.Plots, p)
		}
	}
	t.Bound = bound(r, last)
	return t
}

func (t *loadTable) row(r *Report, s *Load) loadRow {
	ms := func(v float64) string { return nanos(v * 1e6) }
	row := loadRow{Offered: rate(s.Rate), Sent: percent(s.Sent, s.Offered),
		Taken: rate(s.TakenRate), Certified: percent(s.Certified, s.Taken),
		Settled: percent(s.Settled, s.Taken), Answer: ms(s.ToAnswer.P50),
		Answer99: ms(s.ToAnswer.P99), Cert: ms(s.ToCertified.P50), Cert99: ms(s.ToCertified.P99),
		Machine: fmt.Sprintf("%.2f", s.Machine), Bends: s.Bends()}
	for code, acks := range s.Refused {
		row.Refused += fmt.Sprintf(" %s×%s", text.Grouped(acks), code)
	}
	at := 0.0
	for _, role := range t.Roles {
		cores := s.Cores(role.Name)
		if role.Class == "others" {
			cores = max(0, s.Machine-s.Busy)
		}
		share := loadShare{Class: role.Class, Cores: fmt.Sprintf("%.2f", cores),
			From: at, Span: min(100-at, 100*cores/float64(r.Cores))}
		at += share.Span
		row.Shares = append(row.Shares, share)
	}
	return row
}

func percent(part, of int) string {
	if of == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(of))
}

// bound says what held the network at the last rate.
func bound(r *Report, s *Load) string {
	var what string
	switch {
	case !s.Bends():
		what = "The network did not bend: it took the last rate that was offered. "
	default:
		what = fmt.Sprintf("It bends at %s offered: %s are accepted. ", rate(s.Rate),
			rate(s.TakenRate))
	}
	share := func(cores float64) string { return fmt.Sprintf("%.0f %%", 100*cores/s.Machine) }
	switch {
	case s.Machine == 0:
		return what + "This system does not tell what processes use."
	case s.Machine < 0.9*float64(r.Cores):
		what += fmt.Sprintf("Of %d processors %.2f were busy then: something is waited for. ",
			r.Cores, s.Machine)
	default:
		what += fmt.Sprintf("All %d processors were busy then, and they are the bound. ", r.Cores)
	}
	return what + fmt.Sprintf("Of what was busy, %s were nodes that take acks, %s the committee, "+
		"%s the generator, which shares the machine, and %s other programs.",
		share(s.Cores(RoleFeeding)), share(s.Cores(RoleMember)),
		share(s.Cores(RoleGenerator)), share(max(0, s.Machine-s.Busy)))
}

func (t *loadTable) text(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "\nA network of %d nodes that take acks and %d members, a process "+
		"each, under load:\n", t.Feeding, t.Members); err != nil {
		return err
	}
	var rows [][]string
	for _, r := range t.Rows {
		row := []string{r.Offered, r.Sent, r.Taken, r.Certified, r.Settled, r.Answer, r.Answer99,
			r.Cert, r.Cert99}
		for _, s := range r.Shares {
			row = append(row, s.Cores)
		}
		rows = append(rows, append(row, strings.TrimSpace(r.Refused)))
	}
	text.Table(w, []string{"offered", "sent", "accepted", "certified", "settled", "answer, half",
		"99 %", "certificate, half", "99 %", "cores: nodes", "members", "generator", "others",
		"refusals"}, rows)
	_, err := fmt.Fprintf(w, "  %s\n", t.Bound)
	return err
}
