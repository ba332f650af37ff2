package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
)

//go:embed report.html
var reportHTML string

var report = template.Must(template.New("report").Parse(reportHTML))

// view is a scenario as the page shows it.
type view struct {
	*result
	Stake, Mean, Third, Beyond, Online string
	Trail                              string // the adversary's share over the first epochs
	Power                              string // the power that votes
	Bars                               []bar  // how often the adversary has how many seats
}

// bar is one of a histogram, in percent of its area.
type bar struct {
	X, Width, Height float64
	Class            string
	Title            string
}

const (
	trailEpochs = 400
	width       = 400.0
)

// page writes the report.
func page(w io.Writer, results []*result) error {
	views := make([]view, len(results))
	for i, r := range results {
		views[i] = view{result: r, Stake: percent(r.Share), Mean: percent(r.mean()),
			Third:  often(r.frequency(r.third), r.epochs),
			Beyond: often(r.frequency(r.beyond), r.epochs), Online: percent(r.leastOnline),
			Trail: trail(r.shares), Power: trail(r.online), Bars: r.bars()}
	}
	return report.Execute(w, map[string]any{"Views": views, "Epochs": results[0].epochs,
		"Nodes": nodeCount, "Trail": trailEpochs})
}

func percent(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }

func often(f float64, epochs int) string {
	if f == 0 {
		return fmt.Sprintf("never in %d", epochs)
	}
	return fmt.Sprintf("%.2g of epochs", f)
}

// trail returns the points of a line, of the first epochs, in an area of width by 100.
func trail(values []float64) string {
	var b strings.Builder
	for i, v := range values[:min(len(values), trailEpochs)] {
		fmt.Fprintf(&b, "%.1f,%.1f ", float64(i)*width/trailEpochs, 100-100*v)
	}
	return b.String()
}

// bars are the histogram of the adversary's seats. The highest bar fills the area.
func (r *result) bars() []bar {
	count, most := make([]int, r.Seats+1), 0
	for _, s := range r.shares {
		i := int(s*float64(r.Seats) + 0.5)
		count[i]++
		most = max(most, count[i])
	}
	bars := make([]bar, 0, len(count))
	step := width / float64(len(count))
	for i, n := range count {
		if n == 0 {
			continue
		}
		class := "safe"
		switch {
		case 3*i > 2*r.Seats:
			class = "lies"
		case 3*i >= r.Seats:
			class = "stops"
		}
		bars = append(bars, bar{float64(i) * step, step, 100 * float64(n) / float64(most), class,
			fmt.Sprintf("%d seats: %d epochs", i, n)})
	}
	return bars
}

// Top is the y of a bar's upper edge.
func (b bar) Top() float64 { return 100 - b.Height }
