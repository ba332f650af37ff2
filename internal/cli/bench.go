package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/bench"
	"github.com/waybill-network/waybill/bench/loopback"
	"github.com/waybill-network/waybill/node/telemetry"
)

func newBench() *cobra.Command {
	network := new(loopback.Options)
	delivery := new(loopback.DeliveryOptions)
	b := bench.Command{Suites: append(bench.Suites(bench.Peers{}), loopback.Suite(network),
		loopback.DeliverySuite(delivery)),
		Version: telemetry.BuildInfo().Version}
	var names, list []string
	for _, s := range b.Suites {
		names = append(names, s.Name)
		list = append(list, fmt.Sprintf("  %-10s %s", s.Name, s.What))
	}
	cmd := &cobra.Command{
		Use:   "bench [SUITE...]",
		Short: "Measure this machine: ratios between contenders that take turns",
		Long: `Measures suites of comparisons, all but network and delivery when none is named.
Contenders do the same work and take turns in one process; what counts is their ratio.
Figures are medians, and beside them, low and high, the 95 % confidence interval, or, in
brackets, the range of rounds that are too few for one. A ratio has an interval of its
own, and a goal that lies inside of it is undecided. The time of the processor, on all
cores, is what a neighbour on the machine disturbs less than the clock on the wall.
Libraries in C take part in "make bench", from a checkout of the source. docs/bench.md
has the details.

The suite network starts a network of processes on the loopback and offers it more and
more acks until it bends: some minutes, or 20 seconds with --quick. It ends them itself.
The suite delivery has a node and nginx, where it is installed, deliver the same files
over TLS by turns, to clients that verify them; the node's clients acknowledge.

Suites:
` + strings.Join(list, "\n"),
		Example: `  waybill bench --quick
  waybill bench verify --out results && benchstat -col /contender results/bench.txt`,
		ValidArgs: names,
		Args:      cobra.ArbitraryArgs,
	}
	asJSON := jsonFlag(cmd)
	b.Flags(cmd.Flags())
	cmd.Flags().IntVar(&network.Feeding, "nodes", loopback.DefaultFeeding,
		"suite network: the `number` of nodes that take acks, beside the committee's four")
	cmd.Flags().IntVar(&delivery.Clients, "clients", loopback.DefaultClients,
		"suite delivery: the `number` of clients that fetch at once")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if network.Feeding < 1 || network.Feeding > 100 {
			return usagef("--nodes %d: want 1 to 100", network.Feeding)
		}
		if delivery.Clients < 1 || delivery.Clients > 10_000 {
			return usagef("--clients %d: want 1 to 10000", delivery.Clients)
		}
		b.JSON, b.Out, b.Err = *asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr()
		err := b.Run(cmd.Context(), args...)
		if errors.Is(err, bench.ErrNoSuite) {
			err = usagef("%w; there are %s", err, strings.Join(names, ", "))
		}
		if errors.Is(err, bench.ErrFlag) {
			err = usagef("%w", err)
		}
		return err
	}
	cmd.AddCommand(newBenchCompare())
	return cmd
}

func newBenchCompare() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compare OLD NEW",
		Short: "Hold a report against an older one",
		Long: `Compares two reports, the files bench.json of "waybill bench --out": which of this
program's contenders became faster or slower, and with what probability chance explains
it (Mann-Whitney U over the rounds). A tilde stands where that is 5 % or more.

Two runs are two states of a machine. What another machine, a busy neighbour or another
clock changes least is how a contender stands to the first of its comparison in the same
run; that has a column of its own. What else differs between the two runs, of CPU,
system and build, is said first.`,
		Example: `  waybill bench verify --out before
  waybill bench verify --out after
  waybill bench compare before/bench.json after/bench.json`,
		Args: exactly(2, "two reports"),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var reports [2]*bench.Report
		for i, name := range args {
			r, err := bench.ReadReport(name)
			if err != nil {
				return err
			}
			reports[i] = r
		}
		c := bench.Compare(reports[0], reports[1])
		if *asJSON {
			return c.WriteJSON(cmd.OutOrStdout())
		}
		return c.WriteText(cmd.OutOrStdout())
	}
	return cmd
}
