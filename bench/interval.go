package bench

import (
	"fmt"
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

// Interval is the median of rounds, and where it lies with 95 % confidence.
type Interval struct {
	Center float64 `json:"center"`
	// of the confidence interval; of all rounds when Confidence is 0
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// of the interval, 0 when there are too few rounds for 95 %
	Confidence float64 `json:"confidence"`
}

// intervalOf summarises values without assuming a distribution.
func intervalOf(values []float64) Interval {
	s := benchmath.AssumeNothing.Summary(benchmath.NewSample(slices.Clone(values),
		&benchmath.DefaultThresholds), 0.95)
	v := Interval{s.Center, s.Lo, s.Hi, s.Confidence}
	if math.IsInf(v.Low, 0) || math.IsInf(v.High, 0) {
		v.Low, v.High, v.Confidence = slices.Min(values), slices.Max(values), 0
	}
	return v
}

// inverse is the interval of n divided by the value.
func (v Interval) inverse(n float64) Interval {
	return Interval{n / v.Center, n / v.High, n / v.Low, v.Confidence}
}

// span shows low and high, in brackets where they are those of too few rounds.
func (v Interval) span(show func(float64) string) string {
	if v.Confidence == 0 {
		return fmt.Sprintf("[%s … %s]", show(v.Low), show(v.High))
	}
	return fmt.Sprintf("%s … %s", show(v.Low), show(v.High))
}

// Verdict is what became of a goal.
type Verdict string

// The verdicts. A goal inside of the interval is undecided: more rounds may decide it.
const (
	Met       Verdict = "met"
	Missed    Verdict = "missed"
	Undecided Verdict = "undecided"
)

// Sign is the verdict as a sign.
func (v Verdict) Sign() string {
	switch v {
	case Met:
		return "✓"
	case Missed:
		return "✗"
	}
	return "?"
}

// atLeast judges a limit from below; 0 asks nothing.
func (v Interval) atLeast(limit float64) Verdict {
	switch {
	case limit == 0 || v.Low >= limit:
		return Met
	case v.High < limit:
		return Missed
	}
	return Undecided
}

// atMost judges a limit from above; 0 asks nothing.
func (v Interval) atMost(limit float64) Verdict {
	switch {
	case limit == 0 || v.High <= limit:
		return Met
	case v.Low > limit:
		return Missed
	}
	return Undecided
}

// exact is a value without spread.
func exact(v float64) Interval { return Interval{Center: v, Low: v, High: v, Confidence: 1} }

// worst is the verdict on several limits together.
func worst(verdicts ...Verdict) Verdict {
	for _, v := range [...]Verdict{Missed, Undecided} {
		if slices.Contains(verdicts, v) {
			return v
		}
	}
	return Met
}
