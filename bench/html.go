package bench

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"

	"github.com/waybill-network/waybill/internal/text"
)

//go:embed report.html
var reportHTML string

var reportTemplate = template.Must(template.New("report").Parse(reportHTML))

// WriteHTML writes one page that needs nothing else: styles and plots are in it, and it asks no
// network.
func (r *Report) WriteHTML(w io.Writer) error {
	p := page{Report: r, Busy: r.Load > float64(r.Cores)/2, Rungs: tableOf(r.Results),
		Loads: loadsOf(r)}
	if r.Answer != nil {
		p.AcksPerSecond = text.Grouped(int(r.Answer.PerSecond.Center))
	}
	for i := range r.Results {
		res := &r.Results[i]
		for _, g := range res.Goals {
			p.Goals = append(p.Goals, goalRow{g, g.Verdict.Sign(), g.reached(), g.fill()})
			if g.Verdict == Met {
				p.Met++
			}
		}
		for _, s := range res.Samples {
			if s.Kind == KindBound {
				last := res.Samples[len(res.Samples)-1]
				p.Roofline = append(p.Roofline,
					roof{res.Name, last.Contender, 100 * s.Lead.Center,
						nanos(last.Time.Center), nanos(s.Time.Center)})
			}
		}
		for _, s := range res.Samples {
			if res.View == ViewSpeedup {
				p.Speedups = append(p.Speedups, speedup{res.Name, s.Contender, s.Ratio.Center,
					s.Ratio.span(times), res.Cores,
					100 * min(1, s.Ratio.Center/float64(res.Cores))})
			}
		}
		p.compare(res)
		p.plot(res)
		if res.Load != nil { // those have a section of their own
			continue
		}
		if n := len(p.Suites); n == 0 || p.Suites[n-1].Name != res.Suite {
			p.Suites = append(p.Suites, suiteView{Name: res.Suite})
		}
		s := &p.Suites[len(p.Suites)-1]
		s.Results = append(s.Results, view(res))
	}
	for i := range p.Peers {
		p.Peers[i].draw(p.most)
	}
	for i := range p.Plots {
		p.Plots[i].draw(extentOf(&p.Plots[i]))
	}
	p.Plots = slices.DeleteFunc(p.Plots, func(p plot) bool { return len(p.Lines) == 0 })
	return reportTemplate.Execute(w, &p)
}

// page is what the template shows.
type page struct {
	*Report
	AcksPerSecond string // the answer's
	Busy          bool
	Rungs         *rungTable
	Loads         *loadTable
	Goals         []goalRow
	Met           int
	Roofline      []roof
	Peers         []against
	most          float64 // of the ratios of Peers
	Speedups      []speedup
	Plots         []plot
	Suites        []suiteView
}

type goalRow struct {
	Goal
	Sign string
	Got  string
	Fill float64 // of the bar, which holds one and a half times the goal, in percent
}

func (g *Goal) fill() float64 {
	of := g.Reached.Center / max(g.Ratio, g.PerSecond, g.Bytes)
	if g.MaxNs > 0 {
		of = g.MaxNs / g.Reached.Center
	}
	if g.MaxMemory > 0 {
		of = min(of, g.MaxMemory/g.Memory)
	}
	return 100 * min(1, of/1.5)
}

type roof struct {
	Name, Contender string
	Percent         float64
	Time, Bound     string
}

// against is how much faster a comparison's last contender is than a peer, on a logarithmic axis
// from a quarter.
type against struct {
	Name, Peer string // Name only where it differs from the row before
	Ratio      float64
	Between    string  // low and high
	One        float64 // where 1× stands, in percent
	From, Span float64 // of the bar, which begins at 1×
	Faster     bool
}

// compare adds the ratios of a comparison against each peer; rungs are compared in their own table.
func (p *page) compare(res *Result) {
	if res.Window != nil {
		return
	}
	name := res.Name
	for _, s := range res.Samples[:len(res.Samples)-1] {
		if s.Kind != KindPeer || s.Lead.Center <= 0 {
			continue
		}
		p.Peers = append(p.Peers, against{Name: name, Peer: s.Contender, Ratio: s.Lead.Center,
			Between: s.Lead.span(times)})
		p.most, name = max(p.most, s.Lead.Center), ""
	}
}

func (a *against) draw(most float64) {
	at := func(ratio float64) float64 {
		return 100 * min(1, max(0, math.Log(4*ratio)/math.Log(4*max(most, 4))))
	}
	a.One, a.Faster = at(1), a.Ratio >= 1
	a.From, a.Span = min(a.One, at(a.Ratio)), math.Abs(at(a.Ratio)-a.One)
}

type speedup struct {
	Name, Contender string
	Ratio           float64
	Between         string
	Cores           int
	Fill            float64 // of the bar, which is as long as there are cores, in percent
}

type suiteView struct {
	Name    string
	Results []resultView
}

type resultView struct {
	*Result
	Rows []row
}

// row is a contender's bar: its time, with the interval of the median, as parts of the slowest
// one's in percent.
type row struct {
	Contender, Class           string
	Time, Between, Rate, Ratio string
	RatioBetween               string
	Length, Low, Span          float64
}

func view(res *Result) resultView {
	v := resultView{Result: res}
	most := 0.0
	for _, s := range res.Samples {
		most = max(most, s.Time.High)
	}
	for i, s := range res.Samples {
		t := s.Time
		r := row{Contender: s.Contender, Class: cmp.Or(string(s.Kind), "peer"),
			Time: nanos(t.Center), Between: t.span(nanos), Rate: rate(1e9 / t.Center),
			Length: 100 * t.Center / most, Low: 100 * t.Low / most,
			Span: max(0.2, 100*(t.High-t.Low)/most)}
		switch {
		case res.View == ViewParts:
			r.Ratio = fmt.Sprintf("%.1f %%", 100*s.Share)
		case s.Kind == KindBound:
			r.Ratio = fmt.Sprintf("%.1f %% of it", 100*s.Lead.Center)
		case i < len(res.Samples)-1:
			r.Ratio, r.RatioBetween = times(s.Lead.Center), s.Lead.span(times)
		}
		v.Rows = append(v.Rows, r)
	}
	return v
}

// times shows a ratio.
func times(ratio float64) string { return fmt.Sprintf("%.2f×", ratio) }

func rate(perSecond float64) string {
	switch {
	case perSecond >= 1e6:
		return fmt.Sprintf("%.3g M/s", perSecond/1e6)
	case perSecond >= 1e4:
		return fmt.Sprintf("%.0f k/s", perSecond/1e3)
	case perSecond >= 10:
		return fmt.Sprintf("%.0f/s", perSecond)
	}
	return fmt.Sprintf("%.2f/s", perSecond)
}

// plot adds a comparison to the plots of its axes: a line for the first and for the last contender.
func (p *page) plot(res *Result) {
	for _, at := range res.Curves {
		title := fmt.Sprintf("time per %s, by %s", res.Op, at.Axis)
		i := slices.IndexFunc(p.Plots, func(have plot) bool { return have.Title == title })
		if i < 0 {
			i = len(p.Plots)
			p.Plots = append(p.Plots, plot{Title: title, unit: text.Nanos})
		}
		for _, s := range []*Sample{&res.Samples[0], &res.Samples[len(res.Samples)-1]} {
			p.Plots[i].time(s, at.X)
		}
	}
}
