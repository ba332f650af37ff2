package bench

import (
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
