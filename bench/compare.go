package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"

	"golang.org/x/perf/benchmath"
)

// ErrReport is a file that holds no report of this schema.
var ErrReport = errors.New("bench: no report of this schema")

// ReadReport reads what WriteJSON wrote.
func ReadReport(name string) (*Report, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrReport, err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("%s: %w: it is %d, not %d", name, ErrReport, r.Schema, Schema)
	}
	return r, nil
}

// Change is one contender in two reports. Ratios are old over new: above 1 is faster now.
type Change struct {
	Suite     string   `json:"suite"`
	Name      string   `json:"name"`
	Contender string   `json:"contender"`
	Kind      Kind     `json:"kind,omitempty"`
	Old       Interval `json:"old_ns_per_op"`
	New       Interval `json:"new_ns_per_op"`
	Ratio     float64  `json:"ratio"`
	// the probability of such a difference by chance (Mann–Whitney U)
	P float64 `json:"p"`
	// the same of the ratio to the comparison's first contender, which a slower machine or a busy
	// neighbour changes least; 0 for that contender itself
	AgainstRatio float64 `json:"against_first,omitempty"`
	AgainstP     float64 `json:"against_first_p,omitempty"`
}

// Comparisons are two reports beside each other.
type Comparisons struct {
	Differences []string `json:"differences,omitempty"` // of machine and build, in words
	Changes     []Change `json:"changes"`
	Alone       []string `json:"alone,omitempty"` // comparisons that only one of them has
}

// Compare holds a report against an older one.
func Compare(old, now *Report) *Comparisons {
	c := &Comparisons{Differences: differences(old, now)}
	for i := range now.Results {
		res := &now.Results[i]
		before := find(old.Results, res)
		if before == nil {
			c.Alone = append(c.Alone, "new: "+res.Suite+"/"+res.Name)
			continue
		}
		for j := range res.Samples {
			if was := before.sample(res.Samples[j].Contender); was != nil {
				c.Changes = append(c.Changes, change(res, before, &res.Samples[j], was))
			}
		}
	}
	for i := range old.Results {
		if find(now.Results, &old.Results[i]) == nil {
			c.Alone = append(c.Alone, "old: "+old.Results[i].Suite+"/"+old.Results[i].Name)
		}
	}
	return c
}

func find(list []Result, res *Result) *Result {
	i := slices.IndexFunc(list, func(v Result) bool {
		return v.Suite == res.Suite && v.Name == res.Name && v.Cores == res.Cores
	})
	if i < 0 {
		return nil
	}
	return &list[i]
}

func change(res, before *Result, s, was *Sample) Change {
	c := Change{Suite: res.Suite, Name: res.Name, Contender: s.Contender, Kind: s.Kind,
		Old: was.Time, New: s.Time, Ratio: was.Time.Center / s.Time.Center,
		P: chance(was.column(before.time()), s.column(res.time()))}
	first := &res.Samples[0]
	if base := before.sample(first.Contender); s != first && base != nil {
		now, then := s.ratios(first.Rounds, res.time()), was.ratios(base.Rounds, before.time())
		c.AgainstRatio, c.AgainstP = median(now)/median(then), chance(then, now)
	}
	return c
}

func chance(a, b []float64) float64 {
	t := &benchmath.DefaultThresholds
	return benchmath.AssumeNothing.Compare(benchmath.NewSample(slices.Clone(a), t),
		benchmath.NewSample(slices.Clone(b), t)).P
}

// differences says what else than the code may have changed a figure.
func differences(old, now *Report) (list []string) {
	add := func(what string, a, b any) {
		if x, y := fmt.Sprint(a), fmt.Sprint(b); x != y {
			list = append(list, fmt.Sprintf("%s: %s, now %s", what, x, y))
		}
	}
	add("version", old.Build.Version, now.Build.Version)
	add("CPU", old.CPU, now.CPU)
	add("microcode", old.Machine.Microcode, now.Machine.Microcode)
	add("cores", old.Cores, now.Cores)
	add("system", old.Machine.System, now.Machine.System)
	add("governor", old.Machine.Governor, now.Machine.Governor)
	add("Go", old.Go, now.Go)
	add("build", old.Build.Settings, now.Build.Settings)
	add("modules", old.Build.Modules, now.Build.Modules)
	add("kernels", old.Kernels, now.Kernels)
	add("quick", old.Quick, now.Quick)
	return list
}

// significant is the probability below which a difference is called one.
const significant = 0.05

// WriteText writes a table: this program's contenders, what changed first.
func (c *Comparisons) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, d := range c.Differences {
		fmt.Fprintf(t, "differs: %s\n", d)
	}
	if len(c.Changes) == 0 {
		fmt.Fprintln(t, "The reports have no comparison in common.")
	} else {
		fmt.Fprintln(t, "comparison\tcontender\told\tnow\tfaster by\tp\tagainst the first\tp")
	}
	own := slices.DeleteFunc(slices.Clone(c.Changes),
		func(v Change) bool { return v.Kind != KindOwn })
	slices.SortStableFunc(own, func(a, b Change) int { return weight(b) - weight(a) })
	for _, v := range own {
		fmt.Fprintf(t, "%s/%s\t%s\t%s\t%s\t%s\t%.3f", v.Suite, v.Name, v.Contender,
			nanos(v.Old.Center), nanos(v.New.Center), said(v.Ratio, v.P), v.P)
		if v.AgainstRatio > 0 {
			fmt.Fprintf(t, "\t%s\t%.3f", said(v.AgainstRatio, v.AgainstP), v.AgainstP)
		}
		fmt.Fprintln(t)
	}
	for _, name := range c.Alone {
		fmt.Fprintf(t, "only in the %s\n", name)
	}
	return t.Flush()
}

func weight(c Change) int {
	if c.P < significant || c.AgainstRatio > 0 && c.AgainstP < significant {
		return 1
	}
	return 0
}

// said is a ratio, or ~ for what chance explains.
func said(ratio, p float64) string {
	if p >= significant {
		return "~"
	}
	return times(ratio)
}

// WriteJSON writes all changes, those of other contenders too.
func (c *Comparisons) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(c)
}
