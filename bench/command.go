package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Command is a run of suites as a program offers it.
type Command struct {
	Suites  []Suite // to choose from
	Quick   bool
	Rounds  int
	Time    time.Duration
	Price   Price
	Version string // of the program that runs them
	JSON    bool   // to Out, instead of text
	// the file in which "make solidity" left what a proof costs on an EVM chain; empty for none
	Gas string
	Dir string // also receives bench.txt, bench.json and report.html; empty for none
	Out io.Writer
	Err io.Writer // shows the progress
}

// flags is a set of flags, of the standard library or of another one.
type flags interface {
	BoolVar(p *bool, name string, value bool, usage string)
	IntVar(p *int, name string, value int, usage string)
	Float64Var(p *float64, name string, value float64, usage string)
	StringVar(p *string, name, value, usage string)
	DurationVar(p *time.Duration, name string, value time.Duration, usage string)
}

// Flags adds the flags of the command, all but that for JSON.
func (c *Command) Flags(f flags) {
	f.BoolVar(&c.Quick, "quick", false,
		"smaller sizes and fewer rounds: under two minutes on two cores")
	f.IntVar(&c.Rounds, "rounds", 0, "`rounds` of each comparison, in place of what its suite "+
		"chooses; six are the fewest with a 95 % confidence interval")
	f.DurationVar(&c.Time, "time", 0, "go on with each comparison for at least this `time`")
	f.Float64Var(&c.Price.PerHour, "price", 0,
		"what this machine costs an hour, in `dollars`: the report says acks a dollar")
	f.Float64Var(&c.Price.Watts, "watts", 0,
		"what this machine draws under load, in `watts`: the report says acks a watt-hour")
	f.StringVar(&c.Dir, "out", "",
		"also write report.html, bench.txt, for benchstat, and bench.json into this `folder`")
	f.StringVar(&c.Gas, "gas", "",
		"the `file` in which \"make solidity\" left what a proof costs on an EVM chain")
}

// ErrFlag is a flag with a value that it cannot have.
var ErrFlag = errors.New("bench: a flag cannot have this value")

func (c *Command) check() error {
	switch {
	case c.Rounds < 0 || c.Time < 0:
		return fmt.Errorf("%w: rounds and time are not negative", ErrFlag)
	case !(c.Price.PerHour >= 0 && c.Price.Watts >= 0):
		return fmt.Errorf("%w: price and watts are not negative", ErrFlag)
	}
	return nil
}

// Run measures the suites of the given names, all for none, and publishes the report, also what was
// measured before an error. Before anything is done, an unknown name is ErrNoSuite, and a value
// that a flag cannot have is ErrFlag.
func (c *Command) Run(ctx context.Context, names ...string) error {
	suites, err := Select(c.Suites, names...)
	if err = cmp.Or(err, c.check()); err != nil {
		return err
	}
	if c.Dir != "" {
		if err := os.MkdirAll(c.Dir, 0o777); err != nil {
			return err
		}
	}
	gas, err := c.gas()
	if err != nil {
		return err
	}
	show, end := progressOn(c.Err)
	report, err := Run(ctx, suites, Options{Quick: c.Quick, Rounds: c.Rounds, Time: c.Time,
		Price: c.Price, Version: c.Version, Progress: show})
	end()
	report.Gas = gas
	return errors.Join(err, c.publish(report))
}

func (c *Command) gas() (*Gas, error) {
	if c.Gas == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.Gas)
	if err != nil {
		return nil, err
	}
	gas := new(Gas)
	if err := json.Unmarshal(b, gas); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Gas, err)
	}
	return gas, nil
}

func (c *Command) publish(r *Report) error {
	write := r.WriteText
	if c.JSON {
		write = r.WriteJSON
	}
	err := write(c.Out)
	if c.Dir != "" {
		for name, write := range map[string]func(io.Writer) error{"bench.txt": r.WriteBenchfmt,
			"bench.json": r.WriteJSON, "report.html": r.WriteHTML} {
			err = errors.Join(err, writeFile(filepath.Join(c.Dir, name), write))
		}
	}
	return err
}

const barWidth = 24

// progressOn shows a bar on a terminal, and a line a step elsewhere.
func progressOn(w io.Writer) (show func(done, total int, what string), end func()) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		last := ""
		return func(_, _ int, what string) {
			if what != last {
				fmt.Fprintln(w, what)
				last = what
			}
		}, func() {}
	}
	bar := progressbar.NewOptions(1, progressbar.OptionSetWriter(w),
		progressbar.OptionSetWidth(barWidth), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(true),
		progressbar.OptionFullWidth())
	return func(done, total int, what string) {
		bar.ChangeMax(total)
		bar.Describe(what)
		_ = bar.Set(done) // a bar that cannot be drawn is no reason to stop
	}, func() { _ = bar.Clear() }
}

// writeFile creates a file from what write gives.
func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
