package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/node/rpc"
	"github.com/waybill-network/waybill/rollup"
)

func newExport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Get proofs out of a node, as files that 'waybill verify' checks offline",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		exportCommand("ack NODE EPOCH WINDOW CLIENT SEQ", "The proof that an ack is in a certified rollup", 5,
			func(ctx context.Context, c *ingest.Client, n []uint32) (*rpc.ExportResponse, error) {
				return ingest.Call(ctx, c.Ledger().ExportAck, &rpc.ExportAckRequest{Node: n[0], Epoch: n[1], Window: n[2], Client: n[3], Seq: n[4]})
			}),
		exportCommand("rollup NODE EPOCH WINDOW", "A certified rollup with everything needed to recompute it", 3,
			func(ctx context.Context, c *ingest.Client, n []uint32) (*rpc.ExportResponse, error) {
				return ingest.Call(ctx, c.Ledger().ExportRollup, &rpc.ExportRollupRequest{Node: n[0], Epoch: n[1], Window: n[2]})
			}),
		exportCommand("settlement EPOCH", "The certified settlement of an epoch", 1,
			func(ctx context.Context, c *ingest.Client, n []uint32) (*rpc.ExportResponse, error) {
				return ingest.Call(ctx, c.Ledger().ExportSettlement, &rpc.ExportSettlementRequest{Epoch: n[0]})
			}),
	)
	return cmd
}

func exportCommand(use, short string, numbers int, get func(context.Context, *ingest.Client, []uint32) (*rpc.ExportResponse, error)) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: exactly(numbers, fmt.Sprintf("%d number(s): %s", numbers, use))}
	connect := nodeFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "write a JSON rendering for people instead of the file that verify checks")
	var out string
	cmd.Flags().StringVarP(&out, "out", "o", "", "write to this `file` (default: standard output, unless that is a terminal)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		n := make([]uint32, numbers)
		for i, a := range args {
			v, err := strconv.ParseUint(a, 10, 32)
			if err != nil {
				return usagef("%q: want a number below 2^32", a)
			}
			n[i] = uint32(v)
		}
		c, err := connect()
		if err != nil {
			return err
		}
		defer c.Close()
		res, err := get(cmd.Context(), c, n)
		if err != nil {
			return err
		}
		return writeExport(cmd, out, res.File, *asJSON)
	}
	return cmd
}

func writeExport(cmd *cobra.Command, out string, file []byte, asJSON bool) error {
	if asJSON {
		export, err := rollup.ParseExport(file)
		if err != nil {
			return err
		}
		if out == "" {
			return printJSON(cmd.OutOrStdout(), export)
		}
		f, err := os.Create(out)
		if err != nil {
			return err
		}
		defer f.Close()
		return printJSON(f, export)
	}
	if out == "" {
		if info, err := os.Stdout.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return usagef("the file is binary: name one with --out, or ask for --json")
		}
		_, err := cmd.OutOrStdout().Write(file)
		return err
	}
	if err := os.WriteFile(out, file, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes\n", out, len(file))
	return nil
}
