package bench

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

// TestHTML: the page shows everything, and needs nothing from elsewhere.
func TestHTML(t *testing.T) {
	r := report()
	r.Results[0].View = ViewSpeedup
	r.Kernels = []string{"fp381: generic (avx512ifma: CPU lacks <AVX512IFMA>)"}
	add := func(x float64, ns ...float64) {
		res := Result{Suite: "verify", Name: "At", Op: "ack", Cores: 1, Compute: true,
			Curves: []Point{{"acks", x}},
			Samples: []Sample{{Contender: "them", Rounds: rounds(ns...)},
				{Contender: "limit", Kind: KindBound, Rounds: rounds(ns[0] / 4)},
				{Contender: "us", Kind: KindOwn, Rounds: rounds(ns[0] / 2)}}}
		res.summarise()
		r.Results = append(r.Results, res)
	}
	add(16, 400)
	add(1024, 100)
	var b strings.Builder
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"Some CPU", "&lt;AVX512IFMA&gt;", "0 of 1 met", "? undecided",
		"at least 3×", "2.00×", "50.0 % of it", "<polyline", "by acks", "1024", "by cores"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Count(page, "<polyline") != 2 || strings.Contains(page, "ZgotmplZ") ||
		strings.Contains(page, "NaN") {
		t.Error("plots are wrong")
	}
	if found := regexp.MustCompile(`(?i)https?:|<script|<link|@import|url\(|src=`).FindString(
		page); found != "" {
		t.Errorf("the page asks for more: %q", found)
	}
}

// TestLoads: the section of a network under load has its figures, a chart, and says what the bound
// is.
func TestLoads(t *testing.T) {
	r := report()
	step := func(rate, taken, machine float64) *Load {
		return &Load{Rate: rate, Offered: int(rate), Sent: int(taken), Taken: int(taken),
			TakenRate: taken, Certified: int(taken), Settled: int(taken), Machine: machine, Busy: 1.5,
			ToAnswer:    Percentiles{P50: 12, P99: 34},
			ToCertified: Percentiles{P50: 560, P99: 780},
			Refused:     map[string]int{"overloaded": 1234},
			Processes: []Process{{Name: "a", Role: RoleFeeding, Cores: 1},
				{Name: "b", Role: RoleMember, Cores: 0.4},
				{Name: "c", Role: RoleGenerator, Cores: 0.1}}}
	}
	for _, s := range []*Load{step(1000, 1000, 1), step(2000, 1500, 2)} {
		res := r.Results[0]
		res.Suite, res.Load = "network", s
		r.Results = append(r.Results, res)
	}
	r.Cores = 2
	var page, words strings.Builder
	if err := errors.Join(r.WriteHTML(&page), r.WriteText(&words)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"It bends at 2000/s offered: 1500/s are accepted.",
		"they are the bound", "50 % were nodes that take acks", "20 % the committee",
		"5 % the generator", "25 % other programs", "780.00 ms"} {
		if !strings.Contains(page.String(), want) || !strings.Contains(words.String(), want) {
			t.Errorf("no %q", want)
		}
	}
	if !strings.Contains(words.String(), "1\u202f234×overloaded") ||
		strings.Count(page.String(), "<polyline") != 6 ||
		strings.Contains(page.String(), "ZgotmplZ") {
		t.Errorf("%d lines in the plots", strings.Count(page.String(), "<polyline"))
	}
	r.Results[len(r.Results)-1].Load.Machine = 1.2
	if b := bound(r, r.Results[len(r.Results)-1].Load); !strings.Contains(b, "1.20 were busy") {
		t.Error(b)
	}
	if b := bound(r, step(1000, 1000, 0)); !strings.Contains(b, "did not bend") ||
		!strings.Contains(b, "does not tell") {
		t.Error(b)
	}
}
