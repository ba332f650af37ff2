package bench

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/waybill-network/waybill/internal/text"
)

// WriteText writes the report for people: times and rates with their spread, ratios or shares,
// allocations, CPU time.
func (r *Report) WriteText(w io.Writer) error {
	p := printer{w: w}
	p.printf("%s, %d cores, %s\n", r.CPU, r.Cores, r.Go)
	if r.Load > float64(r.Cores)/2 {
		p.printf("The machine was busy when this began (load %.1f): times suffer, ratios less; "+
			"those of work on one core are of CPU time and suffer least.\n", r.Load)
	}
	for _, k := range r.Kernels {
		p.printf("%s\n", k)
	}
	for _, res := range r.Results {
		p.result(&res)
	}
	if t := tableOf(r.Results); t != nil && p.err == nil {
		p.err = t.text(w)
		if r.Gas != nil && len(t.Circuits) > 0 {
			p.printf("  %s\n", r.Gas)
		}
	}
	return p.err
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) result(res *Result) {
	cores := fmt.Sprintf("%d cores", res.Cores)
	if res.Cores == 1 {
		cores = "1 core"
	}
	p.printf("\n%s/%s: %s (%s)\n", res.Suite, res.Name, res.What, cores)
	width := 0
	for _, s := range res.Samples {
		width = max(width, len([]rune(s.Contender)))
	}
	for _, s := range res.Samples {
		p.printf("  %-*s %11s/%s %-9s", width, s.Contender, nanos(s.Median), res.Op, s.spread())
		switch {
		case res.View == ViewParts:
			p.printf(" %5.1f %%", 100*s.Share)
		case s.Kind == KindBound:
			p.printf(" %19.1f %% of it", 100*s.Lead)
		case s.Kind == KindContext:
			p.printf(" %11.0f/s %8s", 1e9/s.Median, "")
		case len(res.Samples) > 1:
			p.printf(" %11.0f/s %7.2f×", 1e9/s.Median, s.Ratio)
		default:
			p.printf(" %11.0f/s", 1e9/s.Median)
		}
		if !res.Compute {
			p.printf("   cpu %11s", nanos(s.CPUNsPerOp))
		}
		if !res.Compute && res.View != ViewParts && len(res.Samples) > 1 {
			p.printf(" %6.2f×", s.CPURatio)
		}
		p.printf("  %8.4g allocs/%s", s.AllocsPerOp, res.Op)
		if s.Received > 0 {
			p.printf("  %s/%s", text.Bytes(s.Received), res.Op)
		}
		if s.PeakMemory > 0 {
			p.printf("  %s at most", text.Bytes(s.PeakMemory))
		}
		p.printf("\n")
	}
	for _, g := range res.Goals {
		verdict := "missed"
		if g.Met {
			verdict = "met"
		}
		p.printf("  goal %s: %s (%s)\n", verdict, g.What, g.reached())
	}
	if res.Extra != "" {
		p.printf("  %s\n", res.Extra)
	}
}

// reached is what was measured, in the unit of the goal.
func (g *Goal) reached() string {
	switch {
	case g.MaxNs > 0 && g.MaxMemory > 0:
		return text.Nanos(g.Reached) + ", " + text.Bytes(g.Memory)
	case g.MaxNs > 0:
		return text.Nanos(g.Reached)
	case g.Ratio > 0 && g.Ratio < 1:
		return fmt.Sprintf("%.1f %%", 100*g.Reached)
	case g.Ratio > 0 || g.Bytes > 0:
		return fmt.Sprintf("%.2f×", g.Reached)
	}
	return rate(g.Reached)
}

// spread is half the confidence interval, or, in brackets, half the range of too few rounds.
func (s *Sample) spread() string {
	half := 50 * (s.High - s.Low) / s.Median
	if s.Confidence == 0 {
		return fmt.Sprintf("[±%.1f%%]", half)
	}
	return fmt.Sprintf("±%.1f%%", half)
}

func nanos(ns float64) string {
	switch {
	case ns >= 1e9:
		return fmt.Sprintf("%.2f s", ns/1e9)
	case ns >= 1e6:
		return fmt.Sprintf("%.2f ms", ns/1e6)
	case ns >= 1e4:
		return fmt.Sprintf("%.2f µs", ns/1e3)
	}
	return fmt.Sprintf("%.1f ns", ns)
}

// WriteBenchfmt writes every round in the Go benchmark format, for benchstat.
func (r *Report) WriteBenchfmt(w io.Writer) error {
	p := printer{w: w}
	p.printf("pkg: github.com/waybill-network/waybill/bench\ncpu: %s\n", r.CPU)
	for _, res := range r.Results {
		for _, s := range res.Samples {
			for _, m := range s.Rounds {
				p.printf("Benchmark%s/contender=%s-%d\t1\t%.2f ns/op\t%.2f cpu-ns/op\t%.4f "+
					"B/op\t%.4f allocs/op",
					res.Name, token(s.Contender), res.Cores, m.Ns, m.CPUNs, m.Bytes, m.Allocs)
				if m.Received > 0 {
					p.printf("\t%.4f received-B/op", m.Received)
				}
				if m.PeakMemory > 0 {
					p.printf("\t%.0f peak-B", m.PeakMemory)
				}
				p.printf("\n")
			}
		}
	}
	return p.err
}

// token makes a name fit for the benchmark format, which splits at spaces.
func token(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c <= ' ' || c == '/' || c == '=' {
			b[i] = '_'
		}
	}
	return string(b)
}

// WriteJSON writes everything.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
