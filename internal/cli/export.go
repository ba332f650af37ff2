package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup/export"
	"golang.org/x/term"
)

func newExport() *cobra.Command {
	return group("export",
		"Get proofs out of a node, as files that 'waybill verify' checks offline", "",
		exportCommand("ack NODE EPOCH WINDOW CLIENT SERVICE NUMBER",
			"The proof that an ack is in a certified rollup", 6,
			func(ctx context.Context, c *client.Client, n []uint64) (*api.ExportResponse, error) {
				return client.Call(ctx, c.Ledger().ExportAck, &api.ExportAckRequest{
					Node: uint32(n[0]), Epoch: uint32(n[1]), Window: uint32(n[2]),
					Client: n[3], Service: uint32(n[4]), Number: uint32(n[5])})
			}),
		exportRollup(),
		exportCommand("settlement EPOCH", "The certified settlement of an epoch", 1,
			func(ctx context.Context, c *client.Client, n []uint64) (*api.ExportResponse, error) {
				return client.Call(ctx, c.Ledger().ExportSettlement,
					&api.ExportSettlementRequest{Epoch: uint32(n[0])})
			}),
		exportTerms(),
	)
}

func exportRollup() *cobra.Command {
	var rung uint32
	cmd := exportCommand("rollup NODE EPOCH WINDOW",
		"A certified rollup with everything needed to recompute it", 3,
		func(ctx context.Context, c *client.Client, n []uint64) (*api.ExportResponse, error) {
			return client.Call(ctx, c.Ledger().ExportRollup, &api.ExportRollupRequest{
				Node: uint32(n[0]), Epoch: uint32(n[1]), Window: uint32(n[2]), Rung: rung})
		})
	cmd.Flags().Uint32Var(&rung, "rung", 0, "evidence: 2 with co-signed statements, 3 with "+
		"proofs of them (default: the best that the node keeps)")
	return cmd
}

func exportTerms() *cobra.Command {
	var draws bool
	cmd := exportCommand("terms FIRST",
		"The hand-overs to all committees from term FIRST on; 1: from the genesis", 1,
		func(ctx context.Context, c *client.Client, n []uint64) (*api.ExportResponse, error) {
			return client.Call(ctx, c.Ledger().ExportTerms,
				&api.ExportTermsRequest{First: uint32(n[0]), Draws: draws})
		})
	cmd.Flags().BoolVar(&draws, "draws", false, "how their seats were drawn, instead: seeds, "+
		"candidates and who was ready, as far as the node keeps them")
	return cmd
}

func exportCommand(use, short string, numbers int,
	get func(context.Context, *client.Client, []uint64) (*api.ExportResponse, error),
) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short,
		Args: exactly(numbers, use[strings.Index(use, " ")+1:]+", as numbers")}
	with := nodeFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false,
		"write a JSON rendering for people instead of the file that verify checks")
	wait := cmd.Flags().Duration("wait", 5*time.Second, "how long to wait for what has not "+
		"happened yet, like the committee's signature of the record of a block")
	var out string
	cmd.Flags().StringVarP(&out, "out", "o", "",
		"write to this `file` (default: standard output, unless that is a terminal)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		n := make([]uint64, numbers)
		for i, a := range args {
			name, bits := strings.Fields(use)[i+1], 32
			if name == "CLIENT" {
				bits = 40
			}
			v, err := strconv.ParseUint(a, 10, bits)
			if err != nil {
				return usagef("%s %q: want a number below 2^%d", name, a, bits)
			}
			n[i] = v
		}
		if f, ok := raw(cmd).(*os.File); ok && out == "" && !*asJSON &&
			term.IsTerminal(int(f.Fd())) {
			return usagef("the file is binary: name one with --out, or ask for --json")
		}
		return with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			res, err := patiently(ctx, *wait, func() (*api.ExportResponse, error) {
				return get(ctx, c, n)
			})
			if err != nil {
				return err
			}
			return writeExport(cmd.OutOrStdout(), out, res.File, *asJSON)
		})
	}
	return cmd
}

// patiently makes a call until what it asks for has happened, or the wait is over.
func patiently[T any](ctx context.Context, wait time.Duration, call func() (T, error)) (T, error) {
	for until := time.Now().Add(wait); ; {
		answer, err := call()
		if !client.NotReady(err) || time.Now().After(until) {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return answer, err
		case <-time.After(min(wait, time.Second/4)):
		}
	}
}

func writeExport(w io.Writer, name string, file []byte, asJSON bool) error {
	if asJSON {
		export, err := export.Parse(file)
		if err != nil {
			return err
		}
		var document bytes.Buffer
		if err := printJSON(&document, export); err != nil {
			return err
		}
		file = document.Bytes()
	}
	if name == "" {
		_, err := w.Write(file)
		return err
	}
	if err := os.WriteFile(name, file, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: %s\n", name, text.Plural(len(file), "byte"))
	return nil
}
