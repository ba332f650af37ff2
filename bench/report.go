package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"

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
	if r.Answer != nil {
		p.printf("%s\n", r.Answer)
	}
	p.printf("%s\n", r.Build.String())
	for _, k := range r.Kernels {
		p.printf("%s\n", k)
	}
	for _, res := range r.Results {
		if res.Load == nil { // those have a table of their own
			p.result(&res)
		}
	}
	if t := loadsOf(r); t != nil && p.err == nil {
		p.err = t.text(w)
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
	for i, s := range res.Samples {
		p.printf("  %-*s %11s/%s  %-24s", width, s.Contender, nanos(s.Time.Center), res.Op,
			s.Time.span(nanos))
		perSecond := 1e9 / s.Time.Center
		switch {
		case res.View == ViewParts:
			p.printf(" %5.1f %%", 100*s.Share)
		case s.Kind == KindBound:
			p.printf(" %30.1f %% of it", 100*s.Lead.Center)
		case s.Kind == KindContext:
			p.printf(" %11.0f/s %28s", perSecond, "")
		case i > 0:
			p.printf(" %11.0f/s %7s  %-19s", perSecond, times(s.Ratio.Center), s.Ratio.span(times))
		case len(res.Samples) > 1:
			p.printf(" %11.0f/s %28s", perSecond, "")
		default:
			p.printf(" %11.0f/s", perSecond)
		}
		if !res.Compute {
			p.printf("   cpu %11s", nanos(s.CPUNsPerOp))
		}
		if !res.Compute && res.View != ViewParts && len(res.Samples) > 1 {
			p.printf(" %7s", times(s.CPURatio.Center))
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
		p.printf("  goal %s: %s (%s)\n", g.Verdict, g.What, g.reached())
	}
	if res.Extra != "" {
		p.printf("  %s\n", res.Extra)
	}
}

// reached is what was measured, in the unit of the goal: low and high.
func (g *Goal) reached() string {
	show := rate
	switch {
	case g.MaxNs > 0:
		show = text.Nanos
	case g.Ratio > 0 && g.Ratio < 1:
		show = func(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }
	case g.Ratio > 0 || g.Bytes > 0:
		show = times
	}
	got := show(g.Reached.Center)
	if g.Reached.Low != g.Reached.High {
		got += ", " + g.Reached.span(show)
	}
	if g.MaxMemory > 0 {
		got += ", " + text.Bytes(g.Memory)
	}
	return got
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
	p.printf("goos: %s\ngoarch: %s\npkg: github.com/waybill-network/waybill/bench\ncpu: %s\n",
		runtime.GOOS, runtime.GOARCH, r.CPU)
	p.printf("waybill: %s\ngo: %s\nsystem: %s\nmicrocode: %s\n", r.Build.Version, r.Go,
		r.Machine.System, r.Machine.Microcode)
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
