package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// errDoesNotHold is returned after the reasons were printed.
var errDoesNotHold = errors.New("not everything holds")

type verdict struct {
	File    string         `json:"file"`
	Holds   bool           `json:"holds"`
	Summary string         `json:"summary,omitempty"`
	Error   string         `json:"error,omitempty"`
	Content *rollup.Report `json:"content,omitempty"`
}

// String is one line, with hashes cut short.
func (v verdict) String() string {
	if v.Holds {
		return v.File + ": holds: " + shortHashes(v.Summary)
	}
	return v.File + ": DOES NOT HOLD: " + v.Error
}

func newVerify() *cobra.Command {
	var genesisFile string
	cmd := &cobra.Command{
		Use:   "verify --genesis FILE EXPORT...",
		Short: "Check exported files offline",
		Long: `Checks files written by 'waybill export' without a network connection. The only thing trusted is the genesis
file: it names the committee whose signatures everything leads back to.

An ack inclusion shows that an acknowledgement is in a certified rollup. A rollup is recomputed from its acks: order,
tree, totals, and the aggregate signature of the clients. A settlement is recomputed from its table.

Exit code 0 only when every file holds; each gets a sentence that says what was checked.`,
		Example: "  waybill verify --genesis genesis.json settlement-0.wbx",
		Args:    atLeastOne("one or more exported files"),
	}
	asJSON := jsonFlag(cmd)
	cmd.Flags().StringVarP(&genesisFile, "genesis", "g", "genesis.json", "the network's genesis `file`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		genesis, err := readGenesis(genesisFile)
		if err != nil {
			return err
		}
		verdicts, all := make([]verdict, len(args)), true
		for i, name := range args {
			verdicts[i] = verifyFile(genesis, name)
			all = all && verdicts[i].Holds
		}
		out := cmd.OutOrStdout()
		if *asJSON {
			if err := printJSON(out, verdicts); err != nil {
				return err
			}
		} else {
			for _, v := range verdicts {
				fmt.Fprintln(out, v)
			}
		}
		if !all {
			return errDoesNotHold
		}
		return nil
	}
	return cmd
}

func verifyFile(g *ledger.Genesis, name string) verdict {
	v := verdict{File: name}
	file, err := os.ReadFile(name)
	if err == nil {
		v.Content, err = rollup.VerifyExport(file, g.Network(), g.Committee(), g.Params.Shares)
	}
	var unreadable *fs.PathError
	switch {
	case errors.As(err, &unreadable):
		v.Error = "cannot be read: " + unreadable.Err.Error()
		return v
	case errors.Is(err, rollup.ErrNetwork):
		v.Error = fmt.Sprintf("%v, and the genesis file is of %s", err, g.Network())
		return v
	case err != nil:
		v.Error = err.Error()
		return v
	}
	v.Holds, v.Summary = true, v.Content.Summary()
	return v
}

func readGenesis(name string) (*ledger.Genesis, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("genesis file: %w", err)
	}
	g, err := ledger.ParseGenesis(b)
	if err != nil {
		return nil, fmt.Errorf("genesis file: %s: %w", name, err)
	}
	return g, nil
}
