package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// plot is a quantity against another, both axes logarithmic. Places are in percent of its area,
// from the lower left.
type plot struct {
	Title  string
	Lines  []line
	XTicks []tick
	YTicks []tick
	series []series
	unit   func(float64) string
}

type series struct {
	name   string
	own    bool
	points []sampled
}

type sampled struct{ x, y, low, high float64 }

type line struct {
	Name, Class, Path string // Path is from the upper left
	Dots              []dot
}

type dot struct {
	X, Y      float64
	Low, High float64 // of the interval, from above
	Title     string
}

type tick struct {
	At    float64
	Label string
}

func (p *plot) add(name string, own bool, v sampled) {
	i := slices.IndexFunc(p.series, func(have series) bool { return have.name == name })
	if i < 0 {
		i = len(p.series)
		p.series = append(p.series, series{name: name, own: own})
	}
	p.series[i].points = append(p.series[i].points, v)
}

func (p *plot) time(s *Sample, x float64) {
	p.add(s.Contender, s.Kind == KindOwn, sampled{x, s.Time.Center, s.Time.Low, s.Time.High})
}

// extent is what a plot shows. That of plots to be compared is one.
type extent struct{ minX, maxX, minY, maxY float64 }

func extentOf(plots ...*plot) extent {
	e := extent{minX: math.Inf(1), minY: math.Inf(1)}
	for _, p := range plots {
		for _, s := range p.series {
			for _, v := range s.points {
				e.minX, e.maxX = min(e.minX, v.x), max(e.maxX, v.x)
				e.minY, e.maxY = min(e.minY, v.low), max(e.maxY, v.high)
			}
		}
	}
	e.minY, e.maxY = e.minY/1.3, e.maxY*1.3
	return e
}

// draw places everything; a plot of fewer than two values of x stays empty.
func (p *plot) draw(e extent) {
	if !(e.minX < e.maxX) || e.minY <= 0 {
		return
	}
	x := func(v float64) float64 { return 100 * math.Log(v/e.minX) / math.Log(e.maxX/e.minX) }
	y := func(v float64) float64 { return 100 * math.Log(v/e.minY) / math.Log(e.maxY/e.minY) }
	for i, s := range p.series {
		slices.SortFunc(s.points, func(a, b sampled) int { return int(math.Copysign(1, a.x-b.x)) })
		l := line{Name: s.name, Class: p.class(i)}
		var path strings.Builder
		for _, v := range s.points {
			fmt.Fprintf(&path, "%.2f,%.2f ", x(v.x), 100-y(v.y))
			l.Dots = append(l.Dots, dot{x(v.x), y(v.y), 100 - y(v.low), 100 - y(v.high),
				fmt.Sprintf("%s at %g: %s", s.name, v.x, p.unit(v.y))})
			if label := (tick{x(v.x), fmt.Sprintf("%g", v.x)}); !slices.Contains(p.XTicks, label) {
				p.XTicks = append(p.XTicks, label)
			}
		}
		l.Path = path.String()
		p.Lines = append(p.Lines, l)
	}
	steps := []float64{1, 2, 5}
	if e.maxY/e.minY > 300 {
		steps = steps[:1]
	}
	for decade := math.Pow(10, math.Floor(math.Log10(e.minY))); decade < e.maxY; decade *= 10 {
		for _, step := range steps {
			if v := decade * step; v > e.minY && v < e.maxY {
				p.YTicks = append(p.YTicks, tick{y(v), p.unit(v)})
			}
		}
	}
}

// class is the colour of a line: this program's own lines have one each, the last of them that of
// the program.
func (p *plot) class(i int) string {
	if !p.series[i].own {
		return "peer"
	}
	after := 0
	for _, s := range p.series[i+1:] {
		if s.own {
			after++
		}
	}
	return [...]string{"own", "own before", "own first"}[min(after, 2)]
}
