// Package bench measures Waybill: contenders that do the same work take turns in one process, so
// that every figure is a ratio from one run and a machine's drift touches all of them alike.
//
// A suite is a list of comparisons. The result is kept as samples; medians and confidence intervals
// come from golang.org/x/perf/benchmath, the text is in the Go benchmark format, so benchstat reads
// it.
//
// Files: bench.go runs suites, peers.go is where other libraries come in, report.go, html.go,
// plot.go, rungtable.go and loadtable.go write what came out, command.go serves the programs that
// run suites, load.go is what a suite of its own says, traffic.go and crowd.go make what clients
// sign; each suite has a file of its name.
package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/cpuid/v2"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/kernels/cpu"
)

// Errors that callers branch on.
var (
	ErrNoSuite = errors.New("no such suite")
	ErrNoWork  = errors.New("a contender did no work")
	ErrDiffers = errors.New("contenders came to different results")
)

// Contender does a piece of work once and says how many operations it was.
type Contender struct {
	Name    string
	Run     func() (ops int, err error)
	Prepare func() error // before each Run, not measured; may be nil
	// what Run computed, the same for all contenders that have one; may be nil
	Result  func() []byte
	Receive func() int   // bytes that had to be sent for what Run did; may be nil
	Child   func() Usage // of the processes in which Run had its work done; may be nil
	// how long the work took, where that is not the time of Run; may be nil
	Took func() time.Duration
	Kind Kind
}

// Kind says whose work a contender is.
type Kind string

// Kinds of contenders.
const (
	KindPeer    Kind = ""
	KindOwn     Kind = "own"     // this program's code
	KindBound   Kind = "bound"   // no contender but a limit of the hardware
	KindContext Kind = "context" // other work, for an idea of the scale
)

// View says how the contenders of a comparison are read.
type View string

// Views of comparisons.
const (
	ViewRatios  View = ""        // against the first and the last contender
	ViewParts   View = "parts"   // steps of one work, each a share of the whole
	ViewSpeedup View = "speedup" // one program on ever more cores
)

// Usage is what another process used: processor time for one run, and memory at most in all its
// life.
type Usage struct {
	CPU    time.Duration
	Memory int64
}

// Comparison measures contenders that do the same work, with ratios against the first, the
// baseline, and of the last, which is what the comparison is about; or, as ViewParts, the steps of
// one work, with their shares of the whole.
type Comparison struct {
	Name       string // benchfmt name, CamelCase, no spaces
	What       string // one line for people
	Op         string // what one operation is: "ack", "leaf"
	Cores      int    // GOMAXPROCS during the runs; 0 leaves it
	Contenders []Contender
	View       View
	Goals      []Goal
	Curves     []Point // where the comparison stands on curves of the report
	Window     *Window // the row of the table of the rungs that the comparison is
	Circuit    *Circuit
	// the number of clients whose acks a whole pipeline takes, which is the last contender; else 0
	Pipeline int
	// nothing but computing on one core: its time is the CPU time of the process, which neighbours
	// hardly lengthen
	Compute bool
	Rounds  int  // 0: chosen from Options
	Fixed   bool // Rounds holds whatever Options say: what rounds make, later comparisons need
	Cold    bool // no warm-up round before the measured ones: a round takes many seconds
	Close   func() error
	Extra   func(samples []Sample) string // printed under the result, may be nil
	// asked before the first round: there is nothing left to find out; may be nil
	Skip func() bool
	Load func() *Load // what a network did under a load, asked after the last round
}

// Goal is what the project asks of a contender. Limits that are 0 ask nothing.
type Goal struct {
	What string `json:"what"`
	Of   string `json:"of,omitempty"` // a contender, the last one if empty
	// the contender that Ratio is against, the first one if empty
	Against   string  `json:"against,omitempty"`
	Ratio     float64 `json:"ratio,omitempty"`      // at least
	PerSecond float64 `json:"per_second,omitempty"` // operations, at least
	// received by Against over those by Of, at least
	Bytes     float64 `json:"bytes,omitempty"`
	MaxNs     float64 `json:"max_ns,omitempty"`     // an operation, at most
	MaxAllocs float64 `json:"max_allocs,omitempty"` // per operation, at most
	MaxMemory float64 `json:"max_memory,omitempty"` // bytes, at most
	// the ratio of times or bytes, the time of an operation, or else the operations a second
	Reached Interval `json:"reached"`
	Memory  float64  `json:"memory,omitempty"` // bytes, where they are limited
	Verdict Verdict  `json:"verdict"`
}

// judge sets the outcome. It reports false if a contender that the goal speaks of did not take
// part.
func (g *Goal) judge(samples []Sample, time func(Round) float64) bool {
	find := func(name string, otherwise int) *Sample {
		if name == "" {
			return &samples[otherwise]
		}
		if i := slices.IndexFunc(samples,
			func(s Sample) bool { return s.Contender == name }); i >= 0 {
			return &samples[i]
		}
		return nil
	}
	s, peer := find(g.Of, len(samples)-1), find(g.Against, 0)
	if s == nil || peer == nil {
		return false
	}
	ratio, took := s.ratio(peer.Rounds, time), intervalOf(s.column(time))
	rate, received := took.inverse(1e9), exact(peer.Received/s.Received)
	switch g.Reached = rate; {
	case g.Ratio > 0:
		g.Reached = ratio
	case g.Bytes > 0:
		g.Reached = received
	case g.MaxNs > 0:
		g.Reached = took
	}
	if g.MaxMemory > 0 {
		g.Memory = s.PeakMemory
	}
	g.Verdict = worst(ratio.atLeast(g.Ratio), rate.atLeast(g.PerSecond), received.atLeast(g.Bytes),
		took.atMost(g.MaxNs), exact(s.AllocsPerOp).atMost(g.MaxAllocs),
		exact(s.PeakMemory).atMost(g.MaxMemory))
	return true
}

// Point is a place on a curve: comparisons of one Axis become one plot, with a line for the first
// and the last contender.
type Point struct {
	Axis string  `json:"axis"`
	X    float64 `json:"x"`
}

// Suite builds its comparisons when it runs; building is not measured.
type Suite struct {
	Name  string
	What  string
	Sized bool // a quick run measures what a full one does, and its goals are judged
	Apart bool // runs only when it is named
	Build func(ctx context.Context, quick bool) ([]Comparison, error)
}

// Suites lists all, in the order they run, with peers beside those that this module depends on
// anyway. Package loopback has one more, which stands apart.
func Suites(p Peers) []Suite {
	return []Suite{fieldSuite(p), hashSuite(p), contentSuite(p), curveSuite(p), verifySuite(p),
		treeSuite, rungsSuite(p), pipelineSuite, certifySuite,
		memberSuite, cosignSuite}
}

// Select returns the suites of the given names in that order; for none all but those that stand
// apart. The error is ErrNoSuite.
func Select(all []Suite, names ...string) ([]Suite, error) {
	if len(names) == 0 {
		return slices.DeleteFunc(slices.Clone(all), func(s Suite) bool { return s.Apart }), nil
	}
	var out []Suite
	for _, name := range names {
		i := slices.IndexFunc(all, func(s Suite) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("%w: %q", ErrNoSuite, name)
		}
		out = append(out, all[i])
	}
	return out, nil
}

// Options control a run.
type Options struct {
	Quick    bool          // fewer rounds and smaller sizes
	Rounds   int           // of each comparison; 0: as many as its suite thinks right
	Time     time.Duration // rounds go on for so long at least; 0: no longer
	Price    Price
	Version  string // of this program
	Progress func(done, total int, what string)
}

// Round is one measured run of a contender, by operation.
type Round struct {
	Ns float64 `json:"ns"` // wall clock
	// of the processes at work, on all cores: what the time would be without neighbours
	CPUNs  float64 `json:"cpu_ns"`
	Bytes  float64 `json:"bytes"` // allocated
	Allocs float64 `json:"allocs"`

	Received float64 `json:"received,omitempty"` // bytes that had to be sent
	// bytes, of another process, at most so far; not by operation
	PeakMemory float64 `json:"peak_memory,omitempty"`
}

// Sample is one contender's measurement.
type Sample struct {
	Contender   string   `json:"contender"`
	Rounds      []Round  `json:"rounds"`
	Time        Interval `json:"ns_per_op"`
	CPUNsPerOp  float64  `json:"cpu_ns_per_op"`
	BytesPerOp  float64  `json:"bytes_per_op"`
	AllocsPerOp float64  `json:"allocs_per_op"`
	Received    float64  `json:"received_bytes_per_op,omitempty"`
	PeakMemory  float64  `json:"peak_memory_bytes,omitempty"`
	// baseline's time over this one's, of the rounds' ratios: above 1 is faster
	Ratio    Interval `json:"ratio"`
	CPURatio Interval `json:"cpu_ratio"` // the same of the CPU times
	// this one's time over the last one's, in the same way: how far ahead that is
	Lead Interval `json:"lead"`
	// of a part: its median over the sum of all parts' medians
	Share float64 `json:"share,omitempty"`
	Kind  Kind    `json:"kind,omitempty"`
}

// Result is one comparison's outcome.
type Result struct {
	Suite   string   `json:"suite"`
	Name    string   `json:"name"`
	What    string   `json:"what"`
	Op      string   `json:"op"`
	Cores   int      `json:"cores"`
	Compute bool     `json:"compute,omitempty"` // times and ratios are of CPU time
	View    View     `json:"view,omitempty"`
	Goals   []Goal   `json:"goals,omitempty"`
	Curves  []Point  `json:"curves,omitempty"`
	Window  *Window  `json:"window,omitempty"`
	Circuit *Circuit `json:"circuit,omitempty"`
	// the number of clients whose acks a whole pipeline takes, which is the last sample
	Pipeline int      `json:"pipeline_clients,omitempty"`
	Load     *Load    `json:"load,omitempty"`
	Extra    string   `json:"extra,omitempty"`
	Samples  []Sample `json:"samples"`
}

// Schema is the version of a report's JSON. docs/bench.md describes it.
const Schema = 2

// Report is a whole run.
type Report struct {
	Schema  int     `json:"schema"`
	Machine Machine `json:"machine"`
	Build   Build   `json:"build"`
	Price   Price   `json:"price,omitzero"`
	Answer  *Answer `json:"answer,omitempty"`

	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
	// of the machine when the run began, in busy cores; 0 where it is unknown
	Load    float64   `json:"load"`
	Go      string    `json:"go"`
	Kernels []string  `json:"kernels"` // what each kernel of this program runs on this CPU
	Quick   bool      `json:"quick"`
	Started time.Time `json:"started"`
	Gas     *Gas      `json:"gas,omitempty"`
	Results []Result  `json:"results"`
}

// Gas is what a verifier contract costs on an EVM chain, for every circuit the same.
type Gas struct {
	Deploy uint64 `json:"deploy"`
	Verify uint64 `json:"verify"` // a transaction with one proof
}

// String says it in words.
func (g *Gas) String() string {
	return fmt.Sprintf("On an EVM chain a transaction that verifies a proof takes %s gas, and "+
		"the contract %s to deploy.", text.Grouped(int(g.Verify)), text.Grouped(int(g.Deploy)))
}

// load is the average of the last minute, as Linux tells it.
func load() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), " ")
	l, _ := strconv.ParseFloat(first, 64)
	return l
}

// Run measures the suites one after another. After an error the report holds what was measured
// before it.
func Run(ctx context.Context, suites []Suite, o Options) (*Report, error) {
	r := &Report{Schema: Schema, Machine: describe(), Build: built(o.Version), Price: o.Price,
		CPU: strings.TrimSpace(cpuid.CPU.BrandName), Cores: runtime.GOMAXPROCS(0),
		Load: load(), Go: runtime.Version(), Quick: o.Quick, Started: time.Now().UTC()}
	defer func() { r.Answer = r.answer() }()
	for _, c := range cpu.Selected() {
		r.Kernels = append(r.Kernels, c.String())
	}
	for i, s := range suites {
		p := progress{o.Progress, i, len(suites), s.Name}
		p.step(0, 1, "preparing")
		comparisons, err := s.Build(ctx, o.Quick)
		for j, c := range comparisons {
			if err != nil {
				break
			}
			if c.Skip != nil && c.Skip() {
				continue
			}
			var res *Result
			res, err = measure(ctx, c, &o, s.Sized || !o.Quick, func(round, rounds int) {
				p.step(j*rounds+round, len(comparisons)*rounds, c.Name)
			})
			if err != nil {
				err = fmt.Errorf("%s: %w", c.Name, err)
				break
			}
			res.Suite = s.Name
			r.Results = append(r.Results, *res)
		}
		for _, c := range comparisons {
			if c.Close != nil {
				err = errors.Join(err, c.Close())
			}
		}
		if err != nil {
			return r, fmt.Errorf("suite %s: %w", s.Name, err)
		}
	}
	return r, nil
}

// progress places the steps of one suite among all.
type progress struct {
	report       func(done, total int, what string)
	index, total int
	suite        string
}

func (p *progress) step(done, total int, what string) {
	if p.report != nil {
		p.report(1000*p.index+1000*done/total, 1000*p.total, p.suite+": "+what)
	}
}

// measure lets the contenders take turns. Goals are judged only at the sizes that they speak of.
func measure(ctx context.Context, c Comparison, o *Options, sized bool,
	step func(round, rounds int)) (*Result, error) {
	rounds := o.rounds(&c)
	res := &Result{Name: c.Name, What: c.What, Op: c.Op, Cores: c.Cores, Compute: c.Compute,
		View: c.View, Curves: c.Curves,
		Window: c.Window, Circuit: c.Circuit, Pipeline: c.Pipeline,
		Samples: make([]Sample, len(c.Contenders))}
	if c.Cores > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(c.Cores))
	} else {
		res.Cores = runtime.GOMAXPROCS(0)
	}
	first := -1 // a warm-up
	if c.Cold {
		first = 0
	}
	began := time.Now()
	for round := first; round < rounds || !c.Fixed && time.Since(began) < o.Time; round++ {
		step(min(round, rounds-1)-first, rounds-first)
		for i, contender := range c.Contenders {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			measured, err := contender.measure()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", contender.Name, err)
			}
			if round >= 0 {
				res.Samples[i].Rounds = append(res.Samples[i].Rounds, measured)
			}
		}
		if round == first {
			if err := sameResults(c.Contenders); err != nil {
				return nil, err
			}
		}
	}
	for i, contender := range c.Contenders {
		s := &res.Samples[i]
		s.Contender, s.Kind = contender.Name, contender.Kind
	}
	res.summarise()
	for _, g := range c.Goals {
		if sized && g.judge(res.Samples, res.time()) {
			res.Goals = append(res.Goals, g)
		}
	}
	if c.Extra != nil {
		res.Extra = c.Extra(res.Samples)
	}
	if c.Load != nil {
		res.Load = c.Load()
	}
	return res, nil
}

// rounds is how often each contender of a comparison has its turn.
func (o *Options) rounds(c *Comparison) int {
	switch {
	case c.Fixed:
		return c.Rounds
	case o.Rounds > 0:
		return o.Rounds
	case c.Rounds > 0:
		return c.Rounds
	case o.Quick:
		return 6 // the fewest with a 95 % confidence interval
	}
	return 9
}

// sameResults compares what contenders computed, so that none is fast by doing something else.
func sameResults(contenders []Contender) error {
	var first *Contender
	var want []byte
	for i := range contenders {
		switch c := &contenders[i]; {
		case c.Result == nil:
		case first == nil:
			first, want = c, c.Result()
		case !bytes.Equal(c.Result(), want):
			return fmt.Errorf("%s and %s: %w", first.Name, c.Name, ErrDiffers)
		}
	}
	return nil
}

// measure runs the contender once. Garbage of the one before is collected first.
func (c *Contender) measure() (Round, error) {
	if c.Prepare != nil {
		if err := c.Prepare(); err != nil {
			return Round{}, fmt.Errorf("preparing: %w", err)
		}
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, start := cpuTime(), time.Now()
	ops, err := c.Run()
	took, cpu := time.Since(start), cpuTime()-cpu
	if c.Took != nil {
		took = c.Took()
	}
	runtime.ReadMemStats(&after)
	if err == nil && (ops <= 0 || took <= 0) {
		err = ErrNoWork
	}
	n, received, child := float64(ops), 0, Usage{}
	if c.Receive != nil && err == nil {
		received = c.Receive()
	}
	if c.Child != nil {
		child = c.Child()
	}
	return Round{Ns: float64(took) / n, CPUNs: float64(cpu+child.CPU) / n,
		Bytes:  float64(after.TotalAlloc-before.TotalAlloc) / n,
		Allocs: float64(after.Mallocs-before.Mallocs) / n, Received: float64(received) / n,
		PeakMemory: float64(child.Memory)}, err
}

// cpuTime is what this process has used, in user and kernel mode.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// summarise computes from the rounds everything else in the samples.
func (res *Result) summarise() {
	base, sum := res.Samples[0].Rounds, 0.0
	time, last := res.time(), &res.Samples[len(res.Samples)-1]
	for i := range res.Samples {
		s := &res.Samples[i]
		s.Time = intervalOf(s.column(time))
		s.CPUNsPerOp = median(s.column(func(r Round) float64 { return r.CPUNs }))
		s.BytesPerOp = median(s.column(func(r Round) float64 { return r.Bytes }))
		s.AllocsPerOp = median(s.column(func(r Round) float64 { return r.Allocs }))
		s.Received = median(s.column(func(r Round) float64 { return r.Received }))
		s.PeakMemory = slices.Max(s.column(func(r Round) float64 { return r.PeakMemory }))
		s.Ratio = s.ratio(base, time)
		s.Lead = last.ratio(s.Rounds, time)
		s.CPURatio = s.ratio(base, func(r Round) float64 { return r.CPUNs })
		sum += s.Time.Center
	}
	if res.View == ViewParts {
		for i := range res.Samples {
			res.Samples[i].Share = res.Samples[i].Time.Center / sum
		}
	}
}

// time is what counts as the time of a round.
func (res *Result) time() func(Round) float64 {
	if res.Compute {
		return func(r Round) float64 { return r.CPUNs }
	}
	return func(r Round) float64 { return r.Ns }
}

func (s *Sample) column(of func(Round) float64) []float64 {
	out := make([]float64, len(s.Rounds))
	for i, r := range s.Rounds {
		out[i] = of(r)
	}
	return out
}

// ratio is that of a baseline to s, of the rounds' ratios.
func (s *Sample) ratio(base []Round, of func(Round) float64) Interval {
	return intervalOf(s.ratios(base, of))
}

func (s *Sample) ratios(base []Round, of func(Round) float64) []float64 {
	ratios := make([]float64, len(base))
	for i, b := range base {
		// CPU time comes in ticks, and short work may take none
		if mine := of(s.Rounds[i]); mine > 0 {
			ratios[i] = of(b) / mine
		}
	}
	return ratios
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
