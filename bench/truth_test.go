package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestGoalInsideTheInterval: what the rounds do not decide is called neither met nor missed.
func TestGoalInsideTheInterval(t *testing.T) {
	base := rounds(700, 800, 900, 1000, 1100, 1000, 900, 800, 1040)
	one := rounds(100, 100, 100, 100, 100, 100, 100, 100, 100)
	res := Result{Samples: []Sample{{Rounds: base}, {Rounds: one}}}
	res.summarise()
	r := res.Samples[1].Ratio
	if r.Center != 9 || r.Confidence < 0.95 || r.Low <= 7 || r.Low > 8 || r.High < 10 {
		t.Fatalf("ratio %+v", r)
	}
	for limit, want := range map[float64]Verdict{7.5: Met, 9: Undecided, 8.5: Undecided,
		10: Undecided, 10.9: Missed} {
		g := Goal{Ratio: limit}
		if !g.judge(res.Samples, res.time()) || g.Verdict != want {
			t.Errorf("at least %v: %s, not %s", limit, g.Verdict, want)
		}
	}
	if v := worst(Met, Undecided, Missed); v != Missed {
		t.Errorf("one of three is missed: %s", v)
	}
	if s := Met.Sign() + Missed.Sign() + Undecided.Sign(); s != "✓✗?" {
		t.Error(s)
	}
}

// TestQuickIsJudgedAtItsSizes: a quick run is held to goals only where it measured what a full one
// does.
func TestQuickIsJudgedAtItsSizes(t *testing.T) {
	for _, c := range []struct {
		sized, quick bool
		goals        int
	}{{false, false, 1}, {false, true, 0}, {true, true, 1}} {
		s := suiteOf("s", Comparison{Name: "A", Rounds: 1,
			Contenders: []Contender{new(script).contender("a", nil)},
			Goals:      []Goal{{What: "any"}}})
		s.Sized = c.sized
		r, err := Run(t.Context(), []Suite{s}, Options{Quick: c.quick})
		if err != nil || len(r.Results[0].Goals) != c.goals {
			t.Errorf("%+v: %v, %+v", c, err, r.Results)
		}
	}
}

func TestRounds(t *testing.T) {
	run := func(o Options) int {
		c := Comparison{Name: "A", Contenders: []Contender{new(script).contender("a", nil)}}
		r, err := Run(t.Context(), []Suite{suiteOf("s", c)}, o)
		if err != nil {
			t.Fatal(err)
		}
		return len(r.Results[0].Samples[0].Rounds)
	}
	if full, quick, three := run(Options{}), run(Options{Quick: true}),
		run(Options{Rounds: 3}); full != 9 || quick != 6 || three != 3 {
		t.Errorf("%d, %d and %d rounds", full, quick, three)
	}
	synctest.Test(t, func(t *testing.T) { // a warm-up and three rounds take 20 ms
		c := Comparison{Name: "A", Contenders: []Contender{{Name: "a", Run: func() (int, error) {
			time.Sleep(5 * time.Millisecond)
			return 1, nil
		}}}}
		r, err := Run(t.Context(), []Suite{suiteOf("s", c)},
			Options{Rounds: 1, Time: 20 * time.Millisecond})
		if err != nil || len(r.Results[0].Samples[0].Rounds) != 3 {
			t.Errorf("%v: %+v", err, r.Results)
		}
	})
}

func TestFlagsAreChecked(t *testing.T) {
	for name, c := range map[string]Command{
		"rounds": {Rounds: -1}, "time": {Time: -1}, "price": {Price: Price{PerHour: -1}},
		"watts": {Price: Price{Watts: -1}},
	} {
		c.Suites, c.Out, c.Err = []Suite{suiteOf("s")}, io.Discard, io.Discard
		if err := c.Run(t.Context()); !errors.Is(err, ErrFlag) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnswer(t *testing.T) {
	r := report()
	if r.answer() != nil {
		t.Error("an answer without a pipeline")
	}
	for cores, ns := range map[int]float64{1: 20_000, 2: 11_000} {
		res := Result{Suite: "pipeline", Name: "Pipeline", Op: "ack", Cores: cores, Pipeline: 256,
			Samples: []Sample{{Rounds: rounds(ns / 2)}, {Rounds: rounds(ns)}}}
		res.summarise()
		r.Results = append(r.Results, res)
	}
	r.Price = Price{PerHour: 0.5, Watts: 100}
	a := r.answer()
	if a == nil || a.Cores != 2 || int(a.PerSecond.Center) != 90_909 ||
		int(a.PerCore.Center) != 45_454 || int(a.PerDollar) != 654_545_454 ||
		int(a.PerWattHour) != 3_272_727 {
		t.Fatalf("%+v", a)
	}
	r.Answer = a
	var page, text strings.Builder
	if err := errors.Join(r.WriteHTML(&page), r.WriteText(&text)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"90\u202f909", "2 cores, 45\u202f454 a core", "acks a dollar",
		"acks a watt-hour", "waybill devel"} {
		if !strings.Contains(page.String(), want) || !strings.Contains(text.String(), want) {
			t.Errorf("no %q", want)
		}
	}
}

// saved writes a report as bench.json, with the second contender's times multiplied.
func saved(t *testing.T, factor float64, change func(*Report)) string {
	t.Helper()
	base := []float64{300, 310, 305, 295, 300, 306, 302, 299, 301}
	own := make([]float64, len(base))
	for i, v := range base {
		own[i] = v / 3 * factor * (1 + float64(i)/1000)
	}
	res := Result{Suite: "verify", Name: "BatchVerify", Op: "ack", Cores: 1,
		Samples: []Sample{{Contender: "blst", Rounds: rounds(base...)},
			{Contender: "ours", Kind: KindOwn, Rounds: rounds(own...)}}}
	res.summarise()
	r := &Report{Schema: Schema, CPU: "Some CPU", Results: []Result{res}}
	if change != nil {
		change(r)
	}
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "bench.json")
	if err := os.WriteFile(name, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestCompare(t *testing.T) {
	read := func(name string) *Report {
		r, err := ReadReport(name)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	old := read(saved(t, 1, nil))
	faster := Compare(old, read(saved(t, 0.5, func(r *Report) { r.CPU = "Other CPU" })))
	same := Compare(old, read(saved(t, 1, nil)))
	var text, again strings.Builder
	if err := errors.Join(faster.WriteText(&text), same.WriteText(&again)); err != nil {
		t.Fatal(err)
	}
	if c := faster.Changes; len(c) != 2 || c[1].Ratio < 1.9 || c[1].P > 0.01 || c[0].P < 0.5 ||
		c[1].AgainstRatio < 1.9 || c[1].AgainstP > 0.01 || c[0].AgainstRatio != 0 {
		t.Errorf("%+v", c)
	}
	if s := text.String(); !strings.Contains(s, "differs: CPU: Some CPU, now Other CPU") ||
		strings.Count(s, "2.00×") != 2 || strings.Contains(s, "blst") {
		t.Errorf("\n%s", s)
	}
	if s := again.String(); strings.Count(s, "~") != 2 || strings.Contains(s, "differs") {
		t.Errorf("\n%s", s)
	}
	other := Compare(old, read(saved(t, 1, func(r *Report) { r.Results[0].Name = "Other" })))
	if len(other.Changes) != 0 || len(other.Alone) != 2 {
		t.Errorf("%+v", other)
	}
	var b bytes.Buffer
	if err := faster.WriteJSON(&b); err != nil || !json.Valid(b.Bytes()) {
		t.Error(err)
	}
}

func TestReadReportRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"text": "hello", "none": `{"schema": 1}`,
		"list": `[]`} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadReport(file); !errors.Is(err, ErrReport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadReport(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestMachine(t *testing.T) {
	m := describe()
	if m.Threads < 1 || !strings.Contains(m.System, "/") {
		t.Errorf("%+v", m)
	}
	if b := built("v1"); b.Version != "v1" || !strings.HasPrefix(b.String(), "waybill v1") {
		t.Errorf("%+v", b)
	}
}

// TestSpeedupHeld: what the machine takes is told from what the program does on one core alone.
func TestSpeedupHeld(t *testing.T) {
	samples := func(machine, reached float64) []Sample {
		return []Sample{{}, {Ratio: exact(machine)}, {Ratio: exact(reached)}}
	}
	for _, c := range []struct {
		machine, reached float64
		want             string
	}{{2, 2, " 0.0 %"}, {2, 1.6, " 25.0 %"}, {1.6, 1.6, " 0.0 %"}, {1.6, 1.7, " 0.0 %"},
		{0.9, 0.9, "no serial part"}} {
		if got := speedupHeld(2)(samples(c.machine, c.reached)); !strings.Contains(got, c.want) {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
