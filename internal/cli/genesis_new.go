package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

func newGenesisNew() *cobra.Command {
	var chain, treasury, out string
	var epoch time.Duration
	var seats int
	cmd := &cobra.Command{Use: "new ENTRY... --chain-id NAME --out FILE",
		Short: "Make a genesis file of the members' entries, for all to sign",
		Long: `Makes a genesis file of the entries that 'waybill init --json' printed, in this order,
with the rules of a test network. Look at it, and edit it before anybody signs:
what is signed is the whole file. An entry's HOST has to be an address by then.`,
		Example: `  waybill genesis new a.json b.json c.json --chain-id example-1 --out genesis.json`,
		Args:    atLeastOne("one or more entries")}
	cmd.Flags().StringVar(&chain, "chain-id", "", "the network's `name` (required)")
	cmd.Flags().StringVar(&treasury, "treasury", "",
		"`key` that signs deposits (default: the first entry's owner)")
	cmd.Flags().DurationVar(&epoch, "epoch", time.Hour, "`length` of an epoch")
	seatsFlag(cmd.Flags(), &seats)
	cmd.Flags().StringVar(&out, "out", "", "write to this `file` (required)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if chain == "" || out == "" {
			return usagef("--chain-id and --out are required")
		}
		if epoch < time.Second || epoch%time.Second != 0 {
			return usagef("--epoch %v: want whole seconds, at least one", epoch)
		}
		params, err := homes.DefaultParams()
		if err != nil {
			return err
		}
		params.EpochSeconds = uint32(epoch / time.Second)
		if seats != 0 {
			if seats < rotation.MinSeats || seats > rotation.MaxSeats {
				return usagef("--seats %d: want %d to %d, or none", seats, rotation.MinSeats,
					rotation.MaxSeats)
			}
			params.Rotation = ledger.DefaultRotation(uint16(seats))
		}
		g := &ledger.Genesis{Version: ledger.GenesisVersion, ChainID: chain, Params: params,
			GenesisTime: time.Now().UTC().Truncate(time.Second)}
		for _, name := range args {
			member, err := readEntry(name)
			if err != nil {
				return err
			}
			g.Members = append(g.Members, *member)
		}
		g.Treasury = g.Members[0].Owner
		if treasury != "" {
			key, err := decodeHex("--treasury", treasury, len(g.Treasury))
			if err != nil {
				return err
			}
			g.Treasury = ledger.Key(key)
		}
		if _, err := writeNew(out, bytes.NewReader(g.Encode())); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: network %s, which no member has signed yet\n", out,
			g.Network())
		return nil
	}
	return cmd
}

// readEntry reads what init printed for a member.
func readEntry(name string) (*ledger.Member, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, unreadable(fmt.Errorf("entry: %w", err))
	}
	m := new(ledger.Member)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, unreadable(fmt.Errorf("entry: %s: %w", name, err))
	}
	if strings.HasPrefix(m.PeerAddress, "HOST:") || strings.HasPrefix(m.P2PAddress, "HOST:") {
		return nil, unreadable(fmt.Errorf("entry: %s: put the member's address in place of HOST",
			name))
	}
	return m, nil
}
