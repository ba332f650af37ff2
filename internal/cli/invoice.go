package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup/export"
)

func newInvoice() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invoice PAYER EPOCH",
		Short: "What a payer was charged in an epoch, as a file for its accounts",
		Long: `Writes what an epoch's settlement charged a payer: for each node and service the
deliveries, units and price, the amount, what was cut from it because it was above the
payer's allowance (which is not owed) or not in its reserve (which is), and what was
debited. Amounts are micro-credits, a price is for 2^20 units, and the sum of what was
debited is exactly what the ledger took.

The file is CSV or JSON, by the name's ending. It holds the settlement that the committee
signed, so that 'waybill verify' checks it offline: a line that was moved, changed or left
out is named, and the file is refused. In a table of CSV that is what the lines 'proof'
are for; those of 'delivery' are the invoice.`,
		Example: "  waybill invoice 3 0 --out invoice.csv\n" +
			"  waybill verify --genesis genesis.json invoice.csv",
		Args: exactly(2, "PAYER EPOCH, as numbers"),
	}
	with := nodeFlag(cmd)
	wait := cmd.Flags().Duration("wait", 5*time.Second, "how long to wait for what has not "+
		"happened yet, like the committee's signature of the record of a block")
	asJSON := cmd.Flags().Bool("json", false, "write JSON, whatever the file is called")
	var out string
	cmd.Flags().StringVarP(&out, "out", "o", "",
		"write to this `file`, JSON if it ends in .json (default: CSV to standard output)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var n [2]uint32
		for i, name := range []string{"PAYER", "EPOCH"} {
			v, err := strconv.ParseUint(args[i], 10, 32)
			if err != nil {
				return usagef("%s %q: want a number below 2^32", name, args[i])
			}
			n[i] = uint32(v)
		}
		format := export.CSV
		if *asJSON || strings.EqualFold(filepath.Ext(out), ".json") {
			format = export.JSON
		}
		return with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			res, err := patiently(ctx, *wait, func() (*api.ExportResponse, error) {
				return client.Call(ctx, c.Ledger().ExportSettlement,
					&api.ExportSettlementRequest{Epoch: n[1]})
			})
			if err != nil {
				return err
			}
			invoice, err := invoiceOf(res.File, n[0], n[1], format)
			if err != nil {
				return err
			}
			return writeExport(cmd.OutOrStdout(), out, invoice.Append(nil), false)
		})
	}
	return cmd
}

// invoiceOf makes an invoice from what a node answered.
func invoiceOf(file []byte, payer, epoch uint32, f export.Format) (*export.Invoice, error) {
	parsed, err := export.Parse(file)
	if err != nil {
		return nil, fmt.Errorf("the node's settlement: %w", err)
	}
	settlement, ok := parsed.(*export.Settlement)
	if !ok || settlement.Record.SettledEpoch != epoch {
		return nil, fmt.Errorf("the node answered with something else than the settlement "+
			"of epoch %d", epoch)
	}
	return export.NewInvoice(settlement, payer, f)
}
