package cli

import (
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/internal/verdict"
	"github.com/waybill-network/waybill/rollup/ledger"
)

func newVerify() *cobra.Command {
	var genesisFile, network string
	var terms []string
	cmd := &cobra.Command{
		Use:   "verify --genesis FILE EXPORT...",
		Short: "Check exported files offline",
		Long: `Checks files written by 'waybill export' without a network connection. The only
thing trusted is the genesis file: it names the committee whose signatures
everything leads back to. Its digest, the network's identifier, is printed first: get
it from somebody you trust, or pass it as --network.

An ack inclusion shows that an acknowledgement is in a certified rollup, by itself
or under a statement that its client signed at the close of the window. A settlement
is recomputed from its table. A rollup is checked on the rungs on which it stands,
each of which needs no trust in anybody:

  rung 1  the acks themselves: order, tree, totals, and the aggregate of their
          clients' signatures
  rung 2  statements: one for each client and service, their tree, totals, and one
          signature of all who signed its root
  rung 3  proofs: the totals are shown by proofs in the statements' place, the
          signature is checked as on rung 2

Where the committee changes, files of later terms need the hand-overs that lead to
them from the genesis, which 'waybill export terms' writes: pass them with --terms, or
as the first of the files. Each committee's signature of the next one is checked.

A lie is shown by two signed words that exclude each other, or by one that cannot be
true: the file holds when who is named lied.

Each file that holds gets a sentence that says what it shows, and one for each thing
that was checked, how long it took, and how many bytes it needed. With --json each
that does not has a code, and an offset where it cannot be decoded.

Exit code 0: every file holds. 1: one at least does not: somebody claims what is not
so. 3: none does not hold, but a file, or the genesis file, cannot be read, is not one
of these, or is of another network, so nothing is said about it.`,
		Example: "  waybill verify --genesis genesis.json settlement-0.wbx",
		Args:    atLeastOne("one or more exported files"),
	}
	asJSON := jsonFlag(cmd)
	cmd.Flags().StringVarP(&genesisFile, "genesis", "g", "genesis.json",
		"the network's genesis `file`")
	cmd.Flags().StringSliceVar(&terms, "terms", nil,
		"`files` of hand-overs, checked before all others")
	networkFlag(cmd, &network)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		genesis, err := readGenesis(genesisFile)
		if err != nil {
			return err
		}
		if err := isNetwork(genesis, genesisFile, network); err != nil {
			return err
		}
		judge := verdict.NewJudge(genesis)
		var verdicts []verdict.Verdict
		for _, name := range slices.Concat(terms, args) {
			verdicts = append(verdicts, judge.Of(name))
		}
		out := cmd.OutOrStdout()
		if *asJSON {
			if err := printJSON(out, verdicts); err != nil {
				return err
			}
		} else {
			fmt.Fprintf(out, "Trusting %s, the genesis file of network %s:\n", genesisFile,
				genesis.Network())
			for _, v := range verdicts {
				fmt.Fprintln(out, v)
			}
		}
		return verdict.Worst(verdicts)
	}
	return cmd
}

func readGenesis(name string) (*ledger.Genesis, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, unreadable(fmt.Errorf("genesis file: %w", err))
	}
	g, err := ledger.ParseGenesis(b)
	if err != nil {
		return nil, unreadable(fmt.Errorf("genesis file: %s: %w", name, err))
	}
	return g, nil
}
