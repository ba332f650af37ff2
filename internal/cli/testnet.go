package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/homes"
)

type testnetInfo struct {
	Dir      string        `json:"dir"`
	ChainID  string        `json:"chain_id"`
	Network  string        `json:"network"`
	Genesis  string        `json:"genesis"`
	Treasury string        `json:"treasury"`
	Nodes    []testnetNode `json:"nodes"`
}

type testnetNode struct {
	Home     string `json:"home"`
	Ingest   string `json:"ingest"`
	Operator string `json:"operator"`
}

func newTestnet() *cobra.Command {
	var o homes.Options
	var proofs int
	cmd := &cobra.Command{
		Use:   "testnet --dir FOLDER",
		Short: "Write the folders of a network on this machine",
		Long: `Writes a genesis file and one home per node: configuration, keys, ports on the
loopback. Start each node with 'waybill start --home FOLDER/nodeN', in its own
terminal or under a supervisor.

Proofs are made and checked with a development key, whose maker could prove
anything; the genesis file says so.

All keys stand under one password in FOLDER/password, and the treasury's key beside
it: a network for trying things out, not for money. To move homes to other machines,
change the addresses in the genesis file, and have each member sign it again:
'waybill genesis sign'.`,
		Example: `  waybill testnet --dir net --nodes 4 --serving 2
  waybill start --home net/node0`,
		Args: noArgs,
	}
	asJSON := jsonFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", "", "`folder` to write, new or empty (required)")
	f.IntVar(&o.Nodes, "nodes", 4, "committee members")
	f.IntVar(&o.Serving, "serving", 0, "how many of them take acks from clients (default all)")
	f.StringVar(&o.ChainID, "chain-id", "", "the network's name (default: a random one)")
	f.StringVar(&o.Host, "host", "127.0.0.1", "address to listen on")
	f.IntVar(&o.BasePort, "base-port", 7400,
		"node i listens on four ports from here plus 10·i; 0 picks free ones")
	f.Uint32Var(&o.EpochSeconds, "epoch", 3600, "length of an epoch in `seconds`")
	f.Uint32Var(&o.GraceSeconds, "grace", 60, "wait before an epoch settles, in `seconds`: what "+
		"a node that was away has not ordered by then is lost")
	seatsFlag(f, &o.Seats)
	proofsFlag(f, &proofs)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if o.Dir == "" {
			return usagef("--dir is required")
		}
		if o.Nodes == 0 {
			return usagef("--nodes 0: want 1 to 100")
		}
		if o.Proofs, err = developmentKeys(proofs, os.TempDir(), cmd.ErrOrStderr()); err != nil {
			return err
		}
		n, err := homes.Write(o)
		switch {
		case errors.Is(err, homes.ErrOptions):
			return usageError{err}
		case errors.Is(err, homes.ErrNotEmpty):
			return fmt.Errorf("%w: name a new one", err)
		case err != nil:
			return err
		}
		info := testnetInfo{Dir: n.Dir, ChainID: n.Genesis.ChainID,
			Network:  n.Genesis.Network().String(),
			Genesis:  filepath.Join(n.Dir, homes.GenesisFile),
			Treasury: filepath.Join(n.Dir, homes.TreasuryFile)}
		for _, node := range n.Nodes {
			info.Nodes = append(info.Nodes, testnetNode{node.Home, node.Ingest, node.Operator})
		}
		out := cmd.OutOrStdout()
		if *asJSON {
			return printJSON(out, info)
		}
		fmt.Fprintf(out, "Network %s (%s) in %s.\n\n", info.ChainID, info.Network, info.Dir)
		rows := make([][]string, len(info.Nodes))
		for i, node := range info.Nodes {
			rows[i] = []string{"waybill start --home " + node.Home, node.Ingest, node.Operator}
		}
		text.Table(out, []string{"start with", "clients", "dashboard"}, rows)
		return nil
	}
	return cmd
}
