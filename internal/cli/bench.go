package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/bench"
)

func newBench() *cobra.Command {
	b := bench.Command{Suites: bench.Suites(bench.Peers{})}
	var names, list []string
	for _, s := range b.Suites {
		names = append(names, s.Name)
		list = append(list, fmt.Sprintf("  %-10s %s", s.Name, s.What))
	}
	cmd := &cobra.Command{
		Use:   "bench [SUITE...]",
		Short: "Measure this machine: ratios between contenders that take turns",
		Long: `Measures suites of comparisons, all of them when none is named. Contenders do the
same work and take turns in one process; what counts is their ratio. Figures are
medians with 95 % confidence intervals, or, in brackets, the range of rounds that
are too few for one. The time beside them is what the process used on all its cores,
which a neighbour on the machine disturbs less than the clock on the wall. Libraries
in C take part in "make bench", from a checkout of the source.

Suites:
` + strings.Join(list, "\n"),
		Example: `  waybill bench --quick
  waybill bench verify --out results && benchstat -col /contender results/bench.txt`,
		ValidArgs: names,
		Args:      cobra.ArbitraryArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.Flags().BoolVar(&b.Quick, "quick", false,
		"smaller sizes and fewer rounds: under two minutes on two cores")
	cmd.Flags().StringVar(&b.Dir, "out", "",
		"also write report.html, bench.txt, for benchstat, and bench.json into this `folder`")
	cmd.Flags().StringVar(&b.Gas, "gas", "",
		"the `file` in which \"make solidity\" left what a proof costs on an EVM chain")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b.JSON, b.Out, b.Err = *asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr()
		err := b.Run(cmd.Context(), args...)
		if errors.Is(err, bench.ErrNoSuite) {
			err = usagef("%w; there are %s", err, strings.Join(names, ", "))
		}
		return err
	}
	return cmd
}
