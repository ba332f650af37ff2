package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/keep"
	"github.com/waybill-network/waybill/rollup/ledger"
)

func newRecover() *cobra.Command {
	return group("recover", "Go on as a new network when a third of the committee is gone for good",
		`A chain stands still when members that hold a third of the power are gone. When they
come back, so does the chain: wait for them first. When they never will, those that
are left go on as another network, from the state that they have: accounts, stakes,
clients, nodes, services and proof keys, and what was ordered and is not settled.
Acks that no rollup was ordered of are of the old network, and are not paid.

 1. All stop their nodes. Somebody makes the genesis file: 'waybill recover genesis'.
 2. Each member that it names looks at it ('waybill genesis show') and signs its copy
    ('waybill genesis sign'); somebody joins the copies ('waybill genesis join').
    They must hold more than two thirds of the stake that stands.
 3. Every node, member or not, takes it over: 'waybill recover apply'. Then it starts.

Clients and payers take the new genesis file, as for any network.`,
		newRecoverGenesis(), newRecoverState(), newRecoverApply())
}

// stateFlags say whose state it is about.
type stateFlags struct{ home, state string }

func (f *stateFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.home, "home", ".", "`folder` of a node that does not run")
	cmd.Flags().StringVar(&f.state, "state", "",
		"`file` that 'waybill recover state' wrote (default: what the home has)")
}

// open opens the file, or nothing when none is named.
func (f *stateFlags) open() (*keep.State, error) {
	if f.state == "" {
		return nil, nil
	}
	file, err := os.Open(f.state)
	if err != nil {
		return nil, unreadable(err)
	}
	s, err := keep.ReadState(file)
	if err != nil {
		return nil, unreadable(fmt.Errorf("%s: %w", f.state, errors.Join(err, file.Close())))
	}
	return s.With(file), nil
}

// any opens the file, or else the home's.
func (f *stateFlags) any() (*keep.State, error) {
	s, err := f.open()
	if s != nil || err != nil {
		return s, err
	}
	loaded, err := loadConfig(f.home, nil)
	if err != nil {
		return nil, err
	}
	return keep.OpenState(loaded)
}

func newRecoverGenesis() *cobra.Command {
	var from stateFlags
	var chain, out string
	var nodes []uint
	var begins string
	cmd := &cobra.Command{
		Use:   "genesis --nodes LIST --chain-id NAME --out FILE",
		Short: "Make the genesis file with which a network goes on, for its members to sign",
		Long: `Makes a genesis file of the state in a home, or in a file. Its members are nodes that
the ledger has, by index, with the keys, stakes and addresses that it has of them. All
rules are those of the network before. It begins when the last epoch is over, or with
--begins later; until then nodes wait.`,
		Example: `  waybill recover genesis --home node0 --nodes 0,2,5 \
    --chain-id example-2 --out genesis.json`,
		Args: cobra.NoArgs,
	}
	from.add(cmd)
	cmd.Flags().UintSliceVar(&nodes, "nodes", nil,
		"`indices` of the nodes that are its members (required)")
	cmd.Flags().StringVar(&chain, "chain-id", "",
		"the network's `name`, another than before (required)")
	cmd.Flags().StringVar(&begins, "begins", "",
		"`time` of its first block, as 2026-11-28T12:00:00Z (default: now, or the epoch's end)")
	cmd.Flags().StringVar(&out, "out", "", "write to this `file` (required)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if chain == "" || out == "" || len(nodes) == 0 {
			return usagef("--nodes, --chain-id and --out are required")
		}
		at := time.Time{}
		if begins != "" {
			var err error
			if at, err = time.Parse(time.RFC3339, begins); err != nil {
				return usagef("--begins: %v", err)
			}
		}
		members := make([]uint32, len(nodes))
		for i, n := range nodes {
			if uint64(n) > 1<<32-1 {
				return usagef("--nodes: %d", n)
			}
			members[i] = uint32(n)
		}
		state, err := from.any()
		if err != nil {
			return err
		}
		g, err := state.Propose(chain, at.UTC(), members)
		if err = errors.Join(err, state.Close()); err != nil {
			return err
		}
		if _, err := writeNew(out, bytes.NewReader(g.Encode())); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: network %s, which goes on from block %d of network %s\n"+
			"No member has signed it yet: waybill genesis sign %s --home FOLDER\n", out, g.Network(),
			g.Checkpoint.Height, g.Checkpoint.Network, out)
		return nil
	}
	return cmd
}

func newRecoverState() *cobra.Command {
	var home, out string
	cmd := &cobra.Command{
		Use:   "state --home FOLDER --out FILE",
		Short: "Write the state of a stopped node to a file, for nodes that lost theirs or are new",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().StringVar(&home, "home", ".", "`folder` of a node that does not run")
	cmd.Flags().StringVar(&out, "out", "", "write to this `file` (required)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if out == "" {
			return usagef("--out is required")
		}
		loaded, err := loadConfig(home, nil)
		if err != nil {
			return err
		}
		state, err := keep.OpenState(loaded)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return errors.Join(err, state.Close())
		}
		if err := errors.Join(state.Write(f), f.Sync(), f.Close(), state.Close()); err != nil {
			return errors.Join(err, os.Remove(out))
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: the state of network %s\n", out, state.Genesis.Network())
		return nil
	}
	return cmd
}

func newRecoverApply() *cobra.Command {
	var from stateFlags
	var genesis, network string
	var minority bool
	cmd := &cobra.Command{
		Use:   "apply --home FOLDER --genesis FILE",
		Short: "Make a stopped node's home one of the network that goes on",
		Long: `Takes over the ledger, checks it against the genesis file and its signatures, and puts
both in place. What belongs to the old network is moved to a folder in the home, and
nothing is deleted; keys, settings and content stay. When it is cut off, run it again.
A home without a store, or one that is behind, takes --state.`,
		Example: `  waybill recover apply --home node0 --genesis genesis.json`,
		Args:    cobra.NoArgs,
	}
	from.add(cmd)
	cmd.Flags().StringVar(&genesis, "genesis", "", "the signed genesis `file` (required)")
	networkFlag(cmd, &network)
	cmd.Flags().BoolVar(&minority, "minority", false,
		"go on although those who signed hold two thirds of the stake at most: who follows agreed by "+
			"other means")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if genesis == "" {
			return usagef("--genesis is required")
		}
		g, err := readGenesis(genesis)
		if err == nil {
			err = isNetwork(g, genesis, network)
		}
		if err != nil {
			return err
		}
		loaded, err := loadConfig(from.home, nil)
		if err != nil {
			return err
		}
		done, err := recoverHome(loaded, g, &from, minority)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), done)
		}
		pairs := []string{"network", done.Network.String(),
			"goes on from", fmt.Sprintf("block %d of network %s", done.Height, done.Before)}
		if done.Standing > 0 {
			pairs = append(pairs, "signed by", fmt.Sprintf("%s of %s credits that stand",
				text.Credits(done.Signed), text.Credits(done.Standing)))
		}
		text.Pairs(cmd.OutOrStdout(), append(pairs,
			"before", done.Aside+": what belongs to the old network",
			"next", "waybill start --home "+from.home)...)
		return nil
	}
	return cmd
}

func recoverHome(c *config.Loaded, g *ledger.Genesis, from *stateFlags,
	minority bool) (*keep.Recovered, error) {
	state, err := from.open()
	if err != nil {
		return nil, err
	}
	done, err := keep.Recover(c, g, state, minority)
	if errors.Is(err, keep.ErrMinority) {
		err = fmt.Errorf("%w: if those who follow agreed by other means, --minority", err)
	}
	return done, err
}
