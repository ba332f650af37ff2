package bench

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rungResults is what the suite finds for two windows, the second with a rung that the first lacks.
func rungResults() []Result {
	result := func(w Window, samples ...Sample) Result {
		res := Result{Suite: "rungs", Name: "Rungs", Op: "ack", Cores: 1, Compute: true, Window: &w,
			Samples: samples}
		for i := range samples {
			for j := range samples[i].Rounds {
				r := &samples[i].Rounds[j]
				r.CPUNs, r.Received = r.Ns, samples[i].Received
			}
		}
		res.summarise()
		return res
	}
	them := Sample{Contender: groupedName, Rounds: rounds(60000)}
	first := Sample{Contender: rung1Name, Kind: KindOwn, Received: 52, Rounds: rounds(10000)}
	return []Result{
		result(Window{1024, 1, 1024}, them, first,
			Sample{Contender: rung2Name, Kind: KindOwn, Received: 52, Rounds: rounds(1000)}),
		result(Window{1024, 16, 256}, them, first,
			Sample{Contender: rung2Name, Kind: KindOwn, Received: 3.25, Rounds: rounds(62.5)},
			Sample{Contender: rung3Name, Kind: KindOwn, Received: 0.125, Rounds: rounds(31.25)}),
		ofCircuit(Round{Ns: 4e9, CPUNs: 7e9, PeakMemory: 1 << 30},
			Round{Ns: 6e9, CPUNs: 7e9, PeakMemory: 3 << 29}),
		ofCircuit(Round{Ns: 1.5e6, CPUNs: 1.5e6}),
	}
}

func ofCircuit(rounds ...Round) Result {
	res := Result{Suite: "rungs", Name: "Proof", Op: "proof", Circuit: &Circuit{4096, 384},
		Samples: []Sample{{Contender: "own", Kind: KindOwn, Rounds: rounds}}}
	res.summarise()
	return res
}

func TestRungTable(t *testing.T) {
	if tableOf(report().Results) != nil {
		t.Error("a table without windows")
	}
	table := tableOf(rungResults())
	if len(table.Names) != 4 || len(table.Sent) != 3 || len(table.Rows) != 2 || !table.Capped ||
		table.Most != 4096 {
		t.Fatalf("%+v", table)
	}
	if note := table.Note(); !strings.HasPrefix(note, "* A window") ||
		strings.Contains(note, "closes") {
		t.Error(note)
	}
	large := rungResults()[1]
	large.Window = &Window{Clients: 4097, Acks: 16, FirstRungClients: 4097}
	if note := tableOf([]Result{large}).Note(); !strings.HasPrefix(note,
		"Rollups of more than 65\u202f536 acks") {
		t.Error(note)
	}
	last := table.Rows[1]
	if last.Clients != "1\u202f024" || last.Times[1] != (rungCell{"10 µs", "6.0×"}) ||
		last.Times[3] != (rungCell{"31.2 ns", "320×"}) ||
		last.Bytes[2] != (rungCell{"0.125 B", "416×"}) || table.Rows[0].Times[3] != (rungCell{}) {
		t.Errorf("%+v", table.Rows)
	}
	if n := len(table.Pairs); n != 1 {
		t.Fatalf("plots of %d numbers of clients", n)
	}
	if times, bytes := table.Pairs[0][0], table.Pairs[0][1]; len(times.Lines) != 4 ||
		len(bytes.Lines) != 3 || len(times.Lines[0].Dots) != 2 {
		t.Errorf("%+v\n%+v", times, bytes)
	}
	want := circuitRow{"4\u202f096", "5 s", "7 s", "1.5 GiB", "384 B", "1.5 ms"}
	if len(table.Circuits) != 1 || table.Circuits[0] != want {
		t.Errorf("%+v, want %+v", table.Circuits, want)
	}
	var b strings.Builder
	if err := table.text(&b); err != nil || !strings.Contains(b.String(), "16 *") ||
		!strings.Contains(b.String(), "31.2 ns (320×)") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// TestRungsAreShown: in the page, the text and the benchmark format, and not among the ratios
// against peers.
func TestRungsAreShown(t *testing.T) {
	r := report()
	r.Results = append(r.Results, rungResults()...)
	r.Gas = &Gas{Deploy: 1234567, Verify: 345678}
	var page, text, fmt strings.Builder
	for _, err := range []error{r.WriteHTML(&page), r.WriteText(&text), r.WriteBenchfmt(&fmt)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"Three rungs", "by acks of each of 1\u202f024 clients",
		"bytes per ack", "320×", "up to 4\u202f096 acks", "345\u202f678 gas", `class="own first"`} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %q in the page", want)
		}
	}
	if strings.Count(page.String(), "<polyline") != 7 ||
		strings.Contains(page.String(), "ZgotmplZ") || strings.Contains(page.String(), "NaN") {
		t.Error("plots are wrong")
	}
	if _, after, _ := strings.Cut(page.String(), "Against each peer"); strings.Count(after,
		`class="faster"`) != 1 {
		t.Error("rungs stand among the peers")
	}
	if !strings.Contains(text.String(), "345\u202f678 gas") ||
		!strings.Contains(text.String(), "bytes, rung 3: proofs") ||
		!strings.Contains(fmt.String(), "0.1250 received-B/op") {
		t.Errorf("%s\n%s", text.String(), fmt.String())
	}
}

func TestGoalOfBytes(t *testing.T) {
	res := rungResults()[1]
	for ratio, want := range map[float64]Verdict{26: Met, 27: Missed} {
		g := Goal{Of: rung3Name, Against: rung2Name, Bytes: ratio}
		if !g.judge(res.Samples, res.time()) || g.Verdict != want ||
			g.Reached.Center != 26 ||
			g.reached() != "26.00×" {
			t.Errorf("%+v", g)
		}
	}
}

// TestGoalOfProofs: time and memory, each at most.
func TestGoalOfProofs(t *testing.T) {
	res := rungResults()[2]
	for _, c := range []struct {
		ns, memory float64
		want       Verdict
	}{{6e9, 1.7e9, Met}, {5e9, 1.7e9, Undecided}, {3.9e9, 1.7e9, Missed},
		{6e9, 1.6e9, Missed}} {
		g := Goal{MaxNs: c.ns, MaxMemory: c.memory}
		if !g.judge(res.Samples, res.time()) || g.Verdict != c.want || g.reached() !=
			"5 s, [4 s … 6 s], 1.5 GiB" ||
			c.want == Met && g.fill() < 66.6 {
			t.Errorf("%+v: %+v, %s, %.1f %%", c, g, g.reached(), g.fill())
		}
	}
}

func TestGasIsRead(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]*Gas{`{"deploy":5,"verify":7}`: {5, 7}, `{`: nil} {
		c := Command{Gas: filepath.Join(dir, "gas.json")}
		if err := os.WriteFile(c.Gas, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		got, err := c.gas()
		if (err == nil) != (want != nil) || want != nil && *got != *want {
			t.Errorf("%s: %v, %v", content, got, err)
		}
	}
	if gas, err := new(Command).gas(); gas != nil || err != nil {
		t.Error(gas, err)
	}
	c := Command{Gas: filepath.Join(dir, "none"), Suites: []Suite{suiteOf("s")}, Out: io.Discard,
		Err: io.Discard}
	if err := c.Run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
