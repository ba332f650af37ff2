package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/proofs/verifier"
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

	// Took has the microseconds that each of the content's checks took, by name.
	Took map[string]int64 `json:"took_us,omitempty"`
}

// String is a line, with hashes cut short, and another for each check when the file holds.
func (v verdict) String() string {
	if !v.Holds {
		return v.File + ": DOES NOT HOLD: " + v.Error
	}
	var b strings.Builder
	b.WriteString(v.File + ": holds: " + shortHashes(v.Summary))
	for _, c := range v.Content.Checks {
		took := time.Duration(v.Took[c.Name]) * time.Microsecond
		fmt.Fprintf(&b, "\n  %s: %s; it took %v and %s.", c.Name, c.What, took, plural(uint64(c.Bytes), "byte"))
	}
	return b.String()
}

// stopwatch adds up how long each check took.
type stopwatch struct {
	last time.Time
	took map[string]time.Duration
}

func (w *stopwatch) checked(name string) {
	now := time.Now()
	w.took[name] += now.Sub(w.last)
	w.last = now
}

func (w *stopwatch) microseconds() map[string]int64 {
	us := make(map[string]int64, len(w.took))
	for name, took := range w.took {
		us[name] = took.Microseconds()
	}
	return us
}

func newVerify() *cobra.Command {
	var genesisFile string
	cmd := &cobra.Command{
		Use:   "verify --genesis FILE EXPORT...",
		Short: "Check exported files offline",
		Long: `Checks files written by 'waybill export' without a network connection. The only thing trusted is the genesis
file: it names the committee whose signatures everything leads back to.

An ack inclusion shows that an acknowledgement is in a certified rollup, by itself or under a statement that its client
signed at the close of the window. A settlement is recomputed from its table. A rollup is checked on the rungs on which it
stands, each of which needs no trust in anybody:

  rung 1  the acks themselves: order, tree, totals, and the aggregate of their clients' signatures
  rung 2  statements: one for each client and service, their tree, totals, and one signature of all who signed its root
  rung 3  proofs: the totals are shown by proofs in the statements' place, the signature is checked as on rung 2

Exit code 0 only when every file holds; each gets a sentence that says what it shows, and one for each thing that was
checked, how long it took, and how many bytes it needed.`,
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
		trust := g.Trust()
		watch := stopwatch{last: time.Now(), took: make(map[string]time.Duration)}
		trust.Checked = watch.checked
		trust.Proofs = verifier.OfKey
		v.Content, err = rollup.VerifyExport(file, trust)
		v.Took = watch.microseconds()
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
