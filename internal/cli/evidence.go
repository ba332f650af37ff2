package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/word"
)

func txEvidence() *cobra.Command {
	cmd := &cobra.Command{Use: "evidence FILE",
		Short: "Convict a node by two of its words that exclude each other",
		Long: `FILE holds evidence as docs/lies.md has it, or is a file of type 7, of which only
the evidence is sent. Nobody signs it: the words convict who said them. With --out FILE
the transaction is written there, which takes a file of type 7 or --genesis.`,
		Args: exactly(1, "a file with evidence")}
	with := nodeFlag(cmd)
	var out, genesisFile string
	cmd.Flags().StringVar(&out, "out", "",
		"write the transaction to this `file` (hexadecimal) instead of submitting it")
	cmd.Flags().StringVar(&genesisFile, "genesis", "",
		"with --out: take the network from this genesis `file`")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		evidence, net, err := readEvidence(args[0])
		if err != nil {
			return err
		}
		if genesisFile != "" {
			if out == "" {
				return usagef("--genesis goes with --out")
			}
			genesis, err := readGenesis(genesisFile)
			if err != nil {
				return err
			}
			if id := genesis.Network(); net != nil && *net != id {
				return fmt.Errorf("%s is of network %s, the genesis file of %s", args[0], net, id)
			} else {
				net = &id
			}
		}
		if out != "" {
			if net == nil {
				return usagef("%s names no network: --genesis says which it is", args[0])
			}
			return writeTx(cmd.OutOrStdout(), out, ledger.NewEvidence(*net, evidence), *asJSON)
		}
		return with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			id, err := networkOf(ctx, c)
			if err != nil {
				return err
			}
			if net != nil && *net != id {
				return fmt.Errorf("%s is of network %s, the node of %s", args[0], net, id)
			}
			return sendEvidence(ctx, cmd.OutOrStdout(), c, ledger.NewEvidence(id, evidence), *asJSON)
		})
	}
	return cmd
}

// readEvidence reads evidence of a lie that convicts on chain. A file of type 7 names its network.
func readEvidence(name string) (word.Evidence, *rollup.Network, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, err
	}
	var evidence word.Evidence
	var net *rollup.Network
	if bytes.HasPrefix(b, []byte("wb-exp/2")) {
		file, fileErr := word.ParseFile(b)
		if err = fileErr; err == nil {
			evidence, net = file.Evidence, &file.Network
		}
	} else {
		evidence, err = word.Parse(b)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	if lie := evidence.Lie(); !lie.OnChain() {
		return nil, nil, fmt.Errorf("%s shows %s: that is a file for people, see 'waybill verify'; "+
			"it convicts nobody on chain", name, lie)
	}
	return evidence, net, nil
}

// conviction is what evidence did to a node.
type conviction struct {
	Node  uint32 `json:"node"`
	Taken uint64 `json:"taken,string"` // micro-credits
	Stake uint64 `json:"stake,string"` // that is left
}

// sendEvidence submits evidence, waits until it convicted, and says what that cost.
func sendEvidence(
	ctx context.Context, w io.Writer, c *client.Client, tx []byte, asJSON bool,
) error {
	before, err := stakes(ctx, c)
	if err != nil {
		return err
	}
	hash, err := c.SubmitTx(ctx, tx)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, executionTime)
	defer cancel()
	for !executedEvidence(err) { // sent again, it is refused once it has convicted
		if paused := retry.Pause(waiting, pollTime); paused != nil {
			return fmt.Errorf("transaction %s: %w", hash, errors.Join(paused, err))
		}
		_, err = c.SubmitTx(waiting, tx)
	}
	after, err := stakes(ctx, c)
	if err != nil {
		return err
	}
	convictions := make([]conviction, 0, 1)
	for i := range after {
		if i < len(before) && after[i] < before[i] {
			convictions = append(convictions,
				conviction{uint32(i), before[i] - after[i], after[i]})
		}
	}
	if asJSON {
		return printJSON(w, map[string]any{"hash": hash, "convictions": convictions})
	}
	fmt.Fprintf(w, "executed, hash %s\n", hash)
	for _, c := range convictions {
		fmt.Fprintf(w, "node %d is convicted: it lost %s of its stake, and has %s left\n", c.Node,
			text.Credits(c.Taken), text.Credits(c.Stake))
	}
	return nil
}

// executedEvidence reports whether an answer says that all convictions are done.
func executedEvidence(err error) bool {
	return errors.Is(err, ledger.CodeAlreadyConvicted) ||
		errors.Is(err, ledger.CodeInsufficientBalance)
}

// stakes returns the stakes of all nodes, by index.
func stakes(ctx context.Context, c *client.Client) (list []uint64, err error) {
	for n, err := range pages(func(from uint32) ([]*api.Node, uint32, error) {
		page, err := client.Call(ctx, c.Ledger().GetNodes, &api.GetNodesRequest{From: from})
		return page.GetNodes(), page.GetTotal(), err
	}) {
		if err != nil {
			return nil, err
		}
		list = append(list, n.Stake)
	}
	return list, nil
}
