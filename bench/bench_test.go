package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/perf/benchfmt"
)

func rounds(ns ...float64) []Round {
	out := make([]Round, len(ns))
	for i, v := range ns {
		out[i] = Round{Ns: v, CPUNs: v / 2, Bytes: 16, Allocs: float64(i)}
	}
	return out
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	for _, c := range []struct {
		base, other []float64
		want        float64
	}{
		// 3, 2, 2: not the ratio of sorted times
		{[]float64{300, 100, 200}, []float64{100, 50, 100}, 2},
		{[]float64{100, 400}, []float64{50, 100}, 3}, // the mean of 2 and 4
		{[]float64{100}, []float64{200}, 0.5},
		{[]float64{10, 1000, 20}, []float64{10, 1000, 20}, 1}, // drift that touches both
	} {
		res := Result{Samples: []Sample{{Rounds: rounds(c.base...)}, {Rounds: rounds(c.other...)}}}
		res.summarise()
		if got := res.Samples[1].Ratio.Center; got != c.want {
			t.Errorf("%v over %v: %v, want %v", c.base, c.other, got, c.want)
		}
		if got := res.Samples[1].CPURatio.Center; got != c.want {
			t.Errorf("CPU time of %v over %v: %v, want %v", c.base, c.other, got, c.want)
		}
		if res.Samples[0].Ratio.Center != 1 || res.Samples[0].Share != 0 {
			t.Errorf("baseline: %+v", res.Samples[0])
		}
		if res.Samples[0].Rounds[0].Ns != c.base[0] {
			t.Error("rounds were put in another order")
		}
	}
}

func TestSummary(t *testing.T) {
	res := Result{View: ViewParts,
		Samples: []Sample{{Rounds: rounds(9, 1, 5)}, {Rounds: rounds(12, 18, 15)}}}
	res.summarise()
	few := res.Samples[0]
	if few.Time != (Interval{5, 1, 9, 0}) {
		t.Errorf("three rounds: %+v", few)
	}
	if few.CPUNsPerOp != 2.5 || few.AllocsPerOp != 1 || few.BytesPerOp != 16 {
		t.Errorf("three rounds: %+v", few)
	}
	if few.Share != 0.25 || res.Samples[1].Share != 0.75 {
		t.Errorf("shares %v and %v", few.Share, res.Samples[1].Share)
	}
	res = Result{Samples: []Sample{{Rounds: rounds(1, 2, 3, 4, 5, 6, 7, 8, 100)}}}
	res.summarise()
	many := res.Samples[0]
	if many.Time.Center != 5 || many.Time.Confidence < 0.95 || many.Time.Low <= 1 ||
		many.Time.High >= 100 || many.Time.Low > 5 || many.Time.High < 5 {
		t.Errorf("nine rounds: %+v", many)
	}
}

func TestGoal(t *testing.T) {
	res := Result{Samples: []Sample{{Contender: "peer", Rounds: rounds(2800, 2800)},
		{Contender: "other", Rounds: rounds(7000, 7000)},
		{Contender: "ours", Rounds: rounds(2000, 2000)}}}
	res.summarise()
	samples := res.Samples
	samples[2].AllocsPerOp = 0.05
	for _, c := range []struct {
		goal Goal
		want Verdict
	}{
		{Goal{Ratio: 1.4}, Met},
		{Goal{Ratio: 1.5}, Missed},
		{Goal{Ratio: 3.5, Against: "other"}, Met},
		{Goal{Ratio: 3.6, Against: "other"}, Missed},
		{Goal{Ratio: 0.4, Of: "other"}, Met},
		{Goal{Ratio: 0.41, Of: "other"}, Missed},
		{Goal{PerSecond: 500_000}, Met},
		{Goal{PerSecond: 500_001}, Missed},
		{Goal{PerSecond: 500_000, MaxAllocs: 0.04}, Missed},
		{Goal{PerSecond: 500_000, MaxAllocs: 0.05}, Met},
	} {
		got := c.goal
		if took := got.judge(samples, res.time()); !took || got.Verdict != c.want ||
			got.Reached.Center == 0 {
			t.Errorf("%+v: %v", c.goal, got)
		}
	}
}

// TestGoalsOfTheAbsent: a goal against a peer that does not take part is neither met nor missed.
func TestGoalsOfTheAbsent(t *testing.T) {
	c := Comparison{Name: "A", Rounds: 1, Contenders: []Contender{new(script).contender("a", nil)},
		Goals: []Goal{{Against: "blst", Ratio: 1}, {Of: "avx2", Ratio: 1}, {What: "its own"}}}
	r, err := Run(t.Context(), []Suite{suiteOf("s", c)}, Options{})
	if err != nil || len(r.Results[0].Goals) != 1 || r.Results[0].Goals[0].Verdict != Met {
		t.Errorf("%v: %+v", err, r.Results)
	}
}

// TestComputingIsCPUTime: work on one core is judged by what the process used.
func TestComputingIsCPUTime(t *testing.T) {
	samples := func() []Sample {
		return []Sample{{Rounds: []Round{{Ns: 900, CPUNs: 300}, {Ns: 300, CPUNs: 300}}},
			{Rounds: []Round{{Ns: 100, CPUNs: 100}, {Ns: 900, CPUNs: 100}}}}
	}
	res := Result{Compute: true, Samples: samples()}
	res.summarise()
	if s := res.Samples; s[0].Time.Center != 300 || s[1].Time.Center != 100 ||
		s[1].Ratio.Center != 3 || s[0].Lead.Center != 3 {
		t.Errorf("%+v", s)
	}
	res = Result{Samples: samples()}
	res.summarise()
	if s := res.Samples; s[0].Time.Center != 600 || s[1].Ratio.Center == 3 ||
		s[1].CPURatio.Center != 3 {
		t.Errorf("wall: %+v", s)
	}
}

// script records who ran when.
type script struct{ calls []string }

func (s *script) contender(name string, err error) Contender {
	return Contender{Name: name,
		Prepare: func() error { s.calls = append(s.calls, "prepare "+name); return nil },
		Run: func() (int, error) {
			s.calls = append(s.calls, name)
			for range 1000 { // something that takes time
				runtime.Gosched()
			}
			return 10, err
		}}
}

func suiteOf(name string, comparisons ...Comparison) Suite {
	return Suite{Name: name,
		Build: func(context.Context, bool) ([]Comparison, error) { return comparisons, nil }}
}

func TestContendersTakeTurns(t *testing.T) {
	for _, cold := range []bool{false, true} {
		var s script
		closed := false
		before := runtime.GOMAXPROCS(0)
		c := Comparison{Name: "A", Rounds: 2, Cores: before + 1, Cold: cold,
			Contenders: []Contender{s.contender("a", nil), s.contender("b", nil)},
			Close:      func() error { closed = true; return nil }}
		inside := 0
		run := c.Contenders[1].Run
		c.Contenders[1].Run = func() (int, error) { inside = runtime.GOMAXPROCS(0); return run() }
		r, err := Run(t.Context(), []Suite{suiteOf("s", c)}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		turns := 3
		if cold {
			turns = 2
		}
		if want := slices.Repeat([]string{"prepare a", "a", "prepare b", "b"},
			turns); !slices.Equal(s.calls, want) {
			t.Errorf("cold %v: %q", cold, s.calls)
		}
		if got := r.Results[0]; len(got.Samples[0].Rounds) != 2 ||
			len(got.Samples[1].Rounds) != 2 || got.Suite != "s" || got.Cores != before+1 {
			t.Errorf("%+v", got)
		}
		if inside != before+1 || runtime.GOMAXPROCS(0) != before {
			t.Errorf("%d cores inside, %d after, %d before", inside, runtime.GOMAXPROCS(0), before)
		}
		if !closed {
			t.Error("comparison was not closed")
		}
	}
}

// TestFixedRounds: flags change the rounds of comparisons, but for those whose rounds make what
// others need.
func TestFixedRounds(t *testing.T) {
	for _, o := range []Options{{Rounds: 1}, {Rounds: 5}, {Time: time.Millisecond}} {
		for _, fixed := range []bool{false, true} {
			c := Comparison{Name: "A", Rounds: 3, Fixed: fixed, Cold: true,
				Contenders: []Contender{{Name: "a", Run: func() (int, error) {
					runtime.Gosched()
					return 1, nil
				}}}}
			r, err := Run(t.Context(), []Suite{suiteOf("s", c)}, o)
			if err != nil {
				t.Fatal(err)
			}
			n := len(r.Results[0].Samples[0].Rounds)
			if fixed && n != 3 || !fixed && o.Rounds > 0 && n != o.Rounds {
				t.Errorf("%+v, fixed %v: %d rounds", o, fixed, n)
			}
		}
	}
}

func TestFailuresSurface(t *testing.T) {
	broken := errors.New("broken")
	good := Comparison{Name: "Good", Rounds: 1,
		Contenders: []Contender{new(script).contender("a", nil)}}
	says := func(name, result string) Contender {
		c := new(script).contender(name, nil)
		c.Result = func() []byte { return []byte(result) }
		return c
	}
	differing := Comparison{Name: "Bad",
		Contenders: []Contender{says("a", "one"), new(script).contender("b", nil),
			says("c", "two")}}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx   context.Context
		suite Suite
		want  error
	}{
		"run": {t.Context(),
			suiteOf("bad", good,
				Comparison{Name: "Bad",
					Contenders: []Contender{new(script).contender("a", broken)}}),
			broken},
		"no work": {t.Context(),
			suiteOf("bad",
				Comparison{Name: "Bad",
					Contenders: []Contender{{Run: func() (int, error) { return 0, nil }}}}),
			ErrNoWork},
		"prepare": {t.Context(),
			suiteOf("bad",
				Comparison{Name: "Bad",
					Contenders: []Contender{{Prepare: func() error { return broken }}}}), broken},
		"close": {t.Context(),
			suiteOf("bad",
				Comparison{Name: "Bad", Contenders: good.Contenders,
					Close: func() error { return broken }}), broken},
		"different": {t.Context(), suiteOf("bad", differing), ErrDiffers},
		"build": {t.Context(),
			Suite{Name: "bad", Build: func(context.Context, bool) ([]Comparison, error) {
				return nil, broken
			}}, broken},
		"context": {cancelled, suiteOf("bad", good), context.Canceled},
	} {
		closed := false
		first := good
		first.Close = func() error { closed = true; return nil }
		r, err := Run(c.ctx, []Suite{suiteOf("first", first), c.suite}, Options{Quick: true})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if c.want != context.Canceled && (len(r.Results) == 0 || r.Results[0].Suite != "first" ||
			!strings.Contains(err.Error(), "suite bad")) {
			t.Errorf("%s: %v, results %+v", name, err, r.Results)
		}
		if !closed {
			t.Errorf("%s: not closed", name)
		}
	}
}

func TestSelect(t *testing.T) {
	suites := append(Suites(Peers{}), Suite{Name: "apart", Apart: true})
	all, err := Select(suites)
	if err != nil || len(all) != len(suites)-1 ||
		slices.ContainsFunc(all, func(s Suite) bool { return s.Apart }) {
		t.Fatal(len(all), err)
	}
	if one, err := Select(suites, "apart"); err != nil || len(one) != 1 {
		t.Error(one, err)
	}
	two, err := Select(suites, "tree", "verify")
	if err != nil || len(two) != 2 || two[0].Name != "tree" || two[1].Name != "verify" {
		t.Error(two, err)
	}
	if _, err := Select(suites, "tree", "speed"); !errors.Is(err, ErrNoSuite) {
		t.Error(err)
	}
}

func TestProgressOnlyGrows(t *testing.T) {
	c := Comparison{Name: "A", Rounds: 3, Contenders: []Contender{new(script).contender("a", nil)}}
	last, steps := -1, 0
	_, err := Run(t.Context(), []Suite{suiteOf("s", c, c), suiteOf("t", c)},
		Options{Progress: func(done, total int, what string) {
			steps++
			if done < last || done > total || total != 2000 {
				t.Errorf("%d of %d after %d: %s", done, total, last, what)
			}
			last = done
		}})
	if err != nil || steps != 2+3*4 {
		t.Errorf("%d steps, %v", steps, err)
	}
}

func report() *Report {
	res := Result{Suite: "verify", Name: "BatchVerify/acks=8/clients=2", What: "something",
		Op: "ack", Cores: 2,
		Samples: []Sample{{Contender: "gnark-crypto, one by one", Rounds: rounds(300, 100, 200)},
			{Contender: "a/b=c", Rounds: rounds(100, 50, 100)}}}
	res.summarise()
	res.Goals = []Goal{{What: "at least 3×", Ratio: 3}}
	res.Goals[0].judge(res.Samples, res.time())
	return &Report{CPU: "Some CPU", Cores: 2, Go: "go1", Results: []Result{res}}
}

func TestBenchfmtParses(t *testing.T) {
	var text bytes.Buffer
	if err := report().WriteBenchfmt(&text); err != nil {
		t.Fatal(err)
	}
	reader := benchfmt.NewReader(&text, "bench.txt")
	var got []float64
	names := map[string]int{}
	for reader.Scan() {
		r, ok := reader.Result().(*benchfmt.Result)
		if !ok {
			t.Fatalf("%v", reader.Result())
		}
		names[r.Name.String()]++
		if string(r.Name.Base()) != "BatchVerify" || r.GetConfig("cpu") != "Some CPU" {
			t.Errorf("%s on %q", r.Name, r.GetConfig("cpu"))
		}
		seconds, ok := r.Value("sec/op")
		allocs, ok2 := r.Value("allocs/op")
		if _, ok3 := r.Value("B/op"); !ok || !ok2 || !ok3 {
			t.Errorf("%s: %v", r.Name, r.Values)
		}
		got = append(got, math.Round(seconds*1e9), allocs)
	}
	if err := reader.Err(); err != nil {
		t.Fatal(err)
	}
	if want := []float64{300, 0, 100, 1, 200, 2, 100, 0, 50, 1, 100, 2}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, name := range []string{
		"BatchVerify/acks=8/clients=2/contender=gnark-crypto,_one_by_one-2",
		"BatchVerify/acks=8/clients=2/contender=a_b_c-2"} {
		if names[name] != 3 {
			t.Errorf("%q is not 3 times in %v", name, names)
		}
	}
}

func TestJSONHoldsEverything(t *testing.T) {
	want := report()
	var b bytes.Buffer
	if err := want.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got Report
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if s := got.Results[0].Samples[1]; s.Ratio.Center != 2 || len(s.Rounds) != 3 ||
		s.Rounds[1].Ns != 50 || got.Results[0].Goals[0].Verdict == Met {
		t.Errorf("%+v", got.Results[0])
	}
}

type full struct{}

var errFull = errors.New("full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestText(t *testing.T) {
	r := report()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Some CPU, 2 cores, go1\n",
		"verify/BatchVerify/acks=8/clients=2: something (2 cores)", "200.0 ns/ack", "2.00×",
		"5000000/s",
		"goal undecided: at least 3× (2.00×, [2.00× … 3.00×])",
		"[100.0 ns … 300.0 ns]", "waybill devel"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "busy") {
		t.Error("a machine without load is called busy")
	}
	r.Load, r.Results[0].View = 3, ViewParts
	r.Results[0].summarise()
	b.Reset()
	if err := r.WriteText(&b); err != nil || !strings.Contains(b.String(), "busy") ||
		!strings.Contains(b.String(), "66.7 %") || strings.Contains(b.String(), "×  ") {
		t.Errorf("%v\n%s", err, b.String())
	}
	for _, write := range []func() error{func() error { return r.WriteText(full{}) },
		func() error { return r.WriteBenchfmt(full{}) },
		func() error { return r.WriteJSON(full{}) }, func() error { return r.WriteHTML(full{}) }} {
		if err := write(); !errors.Is(err, errFull) {
			t.Errorf("a failed write gave %v", err)
		}
	}
}
