package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/api"
)

func newEvents() *cobra.Command {
	var url, from string
	var filter client.EventFilter
	var payers, nodes []uint
	var once bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Follow what blocks do: orders, charges, settlements, grants, refusals",
		Long: `Follows what blocks do, one line an event, from the blocks to come or from a place on:
a height, or a height and an index, as they stand in front of each line. An event has
the same place at every node, so whoever was cut off goes on where it was:

  waybill events --from 1 --once                 all that the node keeps, and an end
  waybill events --from 4711.3 --payer 1 --json  one line of JSON an event, and no end

docs/api.md explains the kinds.`,
		Args: noArgs,
	}
	cmd.Flags().StringVar(&url, "node", defaultNode, "`URL` of a node's client port")
	cmd.Flags().StringVar(&from, "from", "",
		"the first event that is wanted: `HEIGHT[.INDEX]` (default: of the blocks to come)")
	cmd.Flags().UintSliceVar(&payers, "payer", nil, "only events about these `accounts`")
	cmd.Flags().UintSliceVar(&nodes, "of-node", nil, "only events about these `nodes`")
	cmd.Flags().StringSliceVar(&filter.Kinds, "kind", nil, "only events of these `kinds`")
	cmd.Flags().BoolVar(&once, "once", false, "end at the newest block")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cursor, err := parseCursor(from)
		if err != nil {
			return usagef("--from %.40q: %w", from, err)
		}
		if filter.Payers, err = indices(payers); err != nil {
			return usagef("--payer: %w", err)
		}
		if filter.Nodes, err = indices(nodes); err != nil {
			return usagef("--of-node: %w", err)
		}
		c, err := client.New(client.Config{URL: url, Patience: answerTimeout})
		if err != nil {
			return usagef("--node: %w", err)
		}
		defer c.Close()
		head := uint64(0)
		if once {
			status, err := client.Call(cmd.Context(), c.Ledger().GetStatus,
				&api.GetStatusRequest{})
			if err != nil {
				return c.Explain(err)
			}
			head = uint64(status.Height)
		}
		var failed error
		err = c.Events(cmd.Context(), cursor, filter,
			func(list []*api.Event, next client.EventCursor) bool {
				for _, e := range list {
					if failed = printEvent(cmd.OutOrStdout(), e, *asJSON); failed != nil {
						return false
					}
				}
				return !once || next.Height <= head
			})
		return c.Explain(errors.Join(failed, err))
	}
	return cmd
}

var errCursor = errors.New("want a height, or a height and an index: 4711 or 4711.3")

// parseCursor reads HEIGHT or HEIGHT.INDEX; nothing is no cursor.
func parseCursor(s string) (*client.EventCursor, error) {
	if s == "" {
		return nil, nil
	}
	height, index, both := strings.Cut(s, ".")
	h, err := strconv.ParseUint(height, 10, 63)
	if err != nil {
		return nil, errCursor
	}
	cursor := &client.EventCursor{Height: h}
	if both {
		i, err := strconv.ParseUint(index, 10, 32)
		if err != nil {
			return nil, errCursor
		}
		cursor.Index = uint32(i)
	}
	return cursor, nil
}

func indices(list []uint) (out []uint32, err error) {
	for _, n := range list {
		if uint(uint32(n)) != n {
			return nil, fmt.Errorf("%d: want numbers below 2^32", n)
		}
		out = append(out, uint32(n))
	}
	return out, nil
}

func printEvent(w io.Writer, e *api.Event, asJSON bool) error {
	if asJSON {
		line, err := client.EventJSON(e)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", line)
		return err
	}
	_, err := fmt.Fprintf(w, "%-10s %s  %-16s%s\n", fmt.Sprintf("%d.%d", e.Height, e.Index),
		time.UnixMilli(int64(e.TimeMs)).UTC().Format(time.RFC3339), text.Line(e.Kind), details(e))
	return err
}

// details lists what an event has, in one order for all kinds.
func details(e *api.Event) string {
	var b strings.Builder
	add := func(name, value string) { fmt.Fprintf(&b, " %s %s,", name, text.Line(value)) }
	number := func(name string, v *uint32) {
		if v != nil {
			add(name, fmt.Sprint(*v))
		}
	}
	grouped := func(name string, v *uint64) {
		if v != nil {
			add(name, text.Grouped(*v))
		}
	}
	credits := func(name string, v *uint64) {
		if v != nil {
			add(name, text.Credits(*v))
		}
	}
	words := func(name string, v *string) {
		if v != nil && *v != "" {
			add(name, text.ShortHashes(*v))
		}
	}
	words("because", e.Code)
	words("kind", e.TxKind)
	number("epoch", e.Epoch)
	number("payer", e.Payer)
	number("account", e.Account)
	number("node", e.Node)
	number("service", e.Service)
	number("window", e.Window)
	grouped("acks", e.Acks)
	grouped("units", e.Units)
	credits("amount", e.Amount)
	credits("charge", e.Charge)
	credits("allowed", e.Allowed)
	credits("paid", e.Paid)
	grouped("first", e.First)
	grouped("count", e.Count)
	number("until", e.Until)
	if len(e.Clients) > 0 {
		add("clients", fmt.Sprint(e.Clients))
	}
	words("id", e.Id)
	words("tx", e.Tx)
	words("says", e.Text)
	return strings.TrimSuffix(b.String(), ",")
}
