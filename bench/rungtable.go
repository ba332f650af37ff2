package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/rollup"
)

// rungTable is the outcome of the rungs suite, window by window.
type rungTable struct {
	Names  []string // of contenders, in the order of the cells
	Sent   []string // those of them for which bytes were received
	Rows   []rungRow
	Capped bool // rung 1 was measured with fewer clients in some rows
	Most   int  // acks in a window of rung 1
	Large  bool // some windows are larger than a node's
	Pairs  [][2]plot

	Circuits []circuitRow
}

// circuitRow is what a proof costs whom.
type circuitRow struct{ Statements, Prove, CPU, Memory, Size, Verify string }

type rungRow struct {
	Clients, Acks string
	Capped        bool
	Times, Bytes  []rungCell // empty where a contender did not take part
}

// rungCell is a figure by ack, and how many times better it is than rung 1, or rung 1 than its
// peer.
type rungCell struct{ Value, Gain string }

// tableOf collects the results that have a window; nil when there are none.
func tableOf(results []Result) *rungTable {
	t := new(rungTable)
	for i := range results {
		res := &results[i]
		if res.Window == nil {
			continue
		}
		for _, s := range res.Samples {
			t.Names = appendNew(t.Names, s.Contender)
			if s.Received > 0 {
				t.Sent = appendNew(t.Sent, s.Contender)
			}
		}
		t.Large = t.Large || res.Window.acks() > rollup.MaxAcks
		if res.Window.capped() {
			t.Capped, t.Most = true, max(t.Most, res.Window.FirstRungClients*res.Window.Acks)
		}
	}
	for i := range results {
		if results[i].Window != nil {
			t.Rows = append(t.Rows, t.row(&results[i]))
		}
	}
	if len(t.Rows) == 0 {
		return nil
	}
	t.plot(results)
	t.circuits(results)
	return t
}

func (t *rungTable) circuits(results []Result) {
	var sizes []int
	for i := range results {
		res := &results[i]
		if res.Circuit == nil {
			continue
		}
		at := slices.Index(sizes, res.Circuit.Statements)
		if at < 0 {
			at = len(sizes)
			sizes = append(sizes, res.Circuit.Statements)
			t.Circuits = append(t.Circuits,
				circuitRow{Statements: text.Grouped(res.Circuit.Statements),
					Size: text.Bytes(float64(res.Circuit.ProofSize))})
		}
		row, s := &t.Circuits[at], &res.Samples[0]
		if s.PeakMemory > 0 {
			row.Prove, row.CPU, row.Memory = text.Nanos(s.Time.Center), text.Nanos(s.CPUNsPerOp),
				text.Bytes(s.PeakMemory)
		} else {
			row.Verify = text.Nanos(s.Time.Center)
		}
	}
}

func appendNew(list []string, name string) []string {
	if slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

func (res *Result) sample(name string) *Sample {
	i := slices.IndexFunc(res.Samples, func(s Sample) bool { return s.Contender == name })
	if i < 0 {
		return nil
	}
	return &res.Samples[i]
}

func (t *rungTable) row(res *Result) rungRow {
	row := rungRow{Clients: text.Grouped(res.Window.Clients), Acks: fmt.Sprint(res.Window.Acks),
		Capped: res.Window.capped(),
		Times:  make([]rungCell, len(t.Names)), Bytes: make([]rungCell, len(t.Sent))}
	first := res.sample(rung1Name)
	for i, name := range t.Names {
		s := res.sample(name)
		if s == nil {
			continue
		}
		row.Times[i].Value = text.Nanos(s.Time.Center)
		switch {
		case first == nil:
		case s != first && s.Kind == KindOwn:
			row.Times[i].Gain = rounded(s.ratio(first.Rounds, res.time()).Center)
		case s == first && res.Samples[0].Contender != name:
			row.Times[i].Gain = rounded(s.Ratio.Center)
		}
	}
	for i, name := range t.Sent {
		s := res.sample(name)
		if s == nil {
			continue
		}
		row.Bytes[i].Value = text.Bytes(s.Received)
		if first != nil && s != first {
			row.Bytes[i].Gain = rounded(first.Received / s.Received)
		}
	}
	return row
}

// rounded shows a ratio with two or three figures.
func rounded(ratio float64) string {
	if ratio >= 10 {
		return fmt.Sprintf("%.0f×", ratio)
	}
	return fmt.Sprintf("%.1f×", ratio)
}

// plot makes two plots for each number of clients, of time and of bytes.
func (t *rungTable) plot(results []Result) {
	var clients []int
	for i := range results {
		res := &results[i]
		if res.Window == nil {
			continue
		}
		at := slices.Index(clients, res.Window.Clients)
		if at < 0 {
			at = len(clients)
			clients = append(clients, res.Window.Clients)
			by := fmt.Sprintf(", by acks of each of %s clients", text.Grouped(res.Window.Clients))
			t.Pairs = append(t.Pairs, [2]plot{{Title: "time per ack" + by, unit: text.Nanos},
				{Title: "bytes per ack" + by, unit: text.Bytes[float64]}})
		}
		for j := range res.Samples {
			s, x := &res.Samples[j], float64(res.Window.Acks)
			t.Pairs[at][0].time(s, x)
			if s.Received > 0 {
				t.Pairs[at][1].add(s.Contender, s.Kind == KindOwn,
					sampled{x, s.Received, s.Received, s.Received})
			}
		}
	}
	// no curve
	t.Pairs = slices.DeleteFunc(t.Pairs,
		func(pair [2]plot) bool { return len(pair[0].series[0].points) < 2 })
	for column := range 2 {
		var all []*plot
		for i := range t.Pairs {
			all = append(all, &t.Pairs[i][column])
		}
		e := extentOf(all...)
		for _, p := range all {
			p.draw(e)
		}
	}
}

// text writes the table for people.
func (t *rungTable) text(w io.Writer) error {
	p := printer{w: w}
	p.printf("\nThe rungs: time and received bytes per ack; in brackets how many times less than " +
		"on rung 1\n")
	lines := [][]string{append([]string{"clients", "acks each"}, t.Names...)}
	for _, name := range t.Sent {
		lines[0] = append(lines[0], "bytes, "+name)
	}
	for _, row := range t.Rows {
		line := []string{row.Clients, row.Acks}
		if row.Capped {
			line[1] += " *"
		}
		for i, c := range slices.Concat(row.Times, row.Bytes) {
			if s := c.Value; c.Gain != "" && !(i < len(t.Names) && t.Names[i] == rung1Name) {
				line = append(line, s+" ("+c.Gain+")")
			} else {
				line = append(line, s)
			}
		}
		lines = append(lines, line)
	}
	p.columns(lines)
	if note := t.Note(); note != "" {
		p.printf("  %s\n", note)
	}
	if len(t.Circuits) > 0 {
		p.printf("\nProofs: time on all cores, processor time, peak memory, size, and the check " +
			"on one core\n")
		lines = [][]string{{"statements", "proving", "processor", "memory", "proof", "verifying"}}
		for _, c := range t.Circuits {
			lines = append(lines,
				[]string{c.Statements, c.Prove, c.CPU, c.Memory, c.Size, c.Verify})
		}
		p.columns(lines)
	}
	return p.err
}

// columns prints lines of as many cells, flush right.
func (p *printer) columns(lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, s := range line {
			widths[i] = max(widths[i], len([]rune(s)))
		}
	}
	for _, line := range lines {
		for i, s := range line {
			p.printf("  %s%s", strings.Repeat(" ", widths[i]-len([]rune(s))), s)
		}
		p.printf("\n")
	}
}

// Note says what is behind the rows that are marked, and what is beyond the node that makes
// windows.
func (t *rungTable) Note() string {
	var notes []string
	if t.Capped {
		notes = append(notes, fmt.Sprintf("* A window of rung 1 was filled with up to %s acks; "+
			"here it has fewer clients, with as many acks each.", text.Grouped(t.Most)))
	}
	if t.Large {
		notes = append(notes, fmt.Sprintf("Rollups of more than %s acks are valid on rungs 2 and "+
			"3, but a node closes its window there.", text.Grouped(rollup.MaxAcks)))
	}
	return strings.Join(notes, " ")
}
