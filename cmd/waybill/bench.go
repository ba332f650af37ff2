package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/bench"
	"golang.org/x/term"
)

func newBench() *cobra.Command {
	var quick bool
	var dir string
	var names, list []string
	for _, s := range bench.Suites() {
		names = append(names, s.Name)
		list = append(list, fmt.Sprintf("  %-10s %s", s.Name, s.What))
	}
	cmd := &cobra.Command{
		Use:   "bench [SUITE...]",
		Short: "Measure this machine: ratios between contenders that take turns",
		Long: `Measures suites of comparisons, all of them when none is named. Contenders do the same work and take turns in one
process; what counts is their ratio. Figures are medians with 95 % confidence intervals, or, in brackets, the range
of rounds that are too few for one. The time beside them is what the process used on all its cores, which a
neighbour on the machine disturbs less than the clock on the wall.

Suites:
` + strings.Join(list, "\n"),
		Example:   "  waybill bench --quick\n  waybill bench verify --out results && benchstat -col /contender results/bench.txt",
		ValidArgs: names,
		Args:      cobra.ArbitraryArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.Flags().BoolVar(&quick, "quick", false, "smaller sizes and fewer rounds: under two minutes instead of eight on two cores")
	cmd.Flags().StringVar(&dir, "out", "", "also write bench.txt, for benchstat, and bench.json into this `folder`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		suites, err := bench.Select(args...)
		if err != nil {
			return usagef("%w; there are %s", err, strings.Join(names, ", "))
		}
		if dir != "" {
			if err := os.MkdirAll(dir, 0o777); err != nil {
				return err
			}
		}
		show, end := benchProgress(cmd.ErrOrStderr())
		report, err := bench.Run(cmd.Context(), suites, bench.Options{Quick: quick, Progress: show})
		end()
		return errors.Join(err, publish(cmd.OutOrStdout(), report, *asJSON, dir)) // what was measured before an error counts
	}
	return cmd
}

func publish(w io.Writer, r *bench.Report, asJSON bool, dir string) error {
	write := r.WriteText
	if asJSON {
		write = r.WriteJSON
	}
	if err := write(w); err != nil || dir == "" {
		return err
	}
	return errors.Join(writeFile(filepath.Join(dir, "bench.txt"), r.WriteBenchfmt), writeFile(filepath.Join(dir, "bench.json"), r.WriteJSON))
}

// benchProgress shows a bar on a terminal, and a line a step elsewhere.
func benchProgress(w io.Writer) (show func(done, total int, what string), end func()) {
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
	bar := progressbar.NewOptions(1, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(barWidth), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(true), progressbar.OptionFullWidth())
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
