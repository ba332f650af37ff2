package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

func newGenesis() *cobra.Command {
	return group("genesis", "Make, show, sign and put together a network's genesis file",
		`The network's identifier is a digest of the whole genesis file, without the members'
proofs and signatures, which sign it. So a network begins in this order: each member
writes its home with 'waybill init' and hands in the entry that this prints; somebody
makes the genesis file of them; each member signs it; somebody joins the copies.`,
		newGenesisNew(), newGenesisShow(), newGenesisSign(), newGenesisJoin())
}

// draft reads a genesis file in which proofs and signatures may be missing.
func draft(name string) (*ledger.Genesis, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, unreadable(fmt.Errorf("genesis file: %w", err))
	}
	g := new(ledger.Genesis)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(g); err != nil {
		return nil, unreadable(fmt.Errorf("genesis file: %s: %w", name, err))
	}
	return g, nil
}

// unsigned are the members whose signatures a genesis lacks.
func unsigned(g *ledger.Genesis) (members []uint32) {
	for i, m := range g.Members {
		if m.Proof == (ledger.BLSSignature{}) || m.NodeSignature == (ledger.Signature{}) {
			members = append(members, uint32(i))
		}
	}
	return members
}

// genesisInfo is what genesis show prints.
type genesisInfo struct {
	Network  string          `json:"network"`
	Unsigned []uint32        `json:"unsigned"` // members
	Error    string          `json:"error,omitempty"`
	Genesis  *ledger.Genesis `json:"genesis"`
}

func newGenesisShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show FILE",
		Short: "Show the network's identifier and what the file says",
		Args:  exactly(1, "a genesis file")}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		g, err := draft(args[0])
		if err != nil {
			return err
		}
		info := genesisInfo{g.Network().String(), append([]uint32{}, unsigned(g)...), "", g}
		if len(info.Unsigned) == 0 {
			_, err = readGenesis(args[0])
		}
		if err != nil {
			info.Error = err.Error()
		}
		if *asJSON {
			return errors.Join(err, printJSON(cmd.OutOrStdout(), info))
		}
		p := &g.Params
		text.Pairs(cmd.OutOrStdout(),
			"network", info.Network,
			"chain", g.ChainID,
			"begins", g.GenesisTime.Format(time.RFC3339),
			"epochs", fmt.Sprintf("of %v; settled %v and %s after their end",
				time.Duration(p.EpochSeconds)*time.Second,
				time.Duration(p.GraceSeconds)*time.Second, text.Plural(p.GraceBlocks, "block")),
			"a conviction", fmt.Sprintf("costs %.2f %% of the stake",
				float64(p.SlashEquivocation)/100),
			"an unstaked stake", fmt.Sprintf("is free after %v, and when its epoch is settled",
				time.Duration(p.UnbondSeconds)*time.Second),
			"committee", fmt.Sprintf("%s; %s", text.Plural(len(g.Members), "member"),
				signedText(info.Unsigned)),
			"seats", rotationText(p.Rotation),
			"proofs", proofText(&p.Proofs))
		if c := g.Checkpoint; c != nil {
			text.Pairs(cmd.OutOrStdout(), "goes on", fmt.Sprintf("from block %d of network %s, with "+
				"nodes %s as members; application hash %s", c.Height, c.Network, text.Ranges(c.Nodes),
				c.AppHash))
		}
		return err
	}
	return cmd
}

func signedText(unsigned []uint32) string {
	if len(unsigned) == 0 {
		return "all have signed"
	}
	return fmt.Sprintf("%s %s must sign: waybill genesis sign",
		text.Noun(len(unsigned), "number"), text.Ranges(unsigned))
}

func rotationText(r *ledger.Rotation) string {
	if r == nil {
		return "none: the committee stays"
	}
	return fmt.Sprintf("%d, each drawn anew after %s among nodes with a stake of %s credits",
		r.Seats, text.Plural(uint32(r.TermEpochs), "epoch"),
		text.Credits(r.MinStake))
}

func proofText(p *ledger.Proofs) string {
	line := "none are accepted"
	for i, k := range p.Keys {
		if i == 0 {
			line = "accepted for "
		} else {
			line += ", "
		}
		line += strconv.Itoa(int(k.Statements))
	}
	if len(p.Keys) > 0 {
		line += " statements"
	}
	if p.Development {
		line += ", with keys for DEVELOPMENT"
	}
	return line
}

func newGenesisSign() *cobra.Command {
	var home, out, network string
	cmd := &cobra.Command{Use: "sign FILE --home FOLDER",
		Short: "Sign a genesis file as the member whose home this is",
		Long: `Fills in this member's proof and signature, which both its keys make for this
network alone. Look at the file first: 'waybill genesis show'. With --network it is
signed only if that is its identifier.`,
		Args: exactly(1, "a genesis file")}
	cmd.Flags().StringVar(&home, "home", "", "the member's `folder` (required)")
	cmd.Flags().StringVar(&out, "out", "", "write to this `file` (default: over the one read)")
	networkFlag(cmd, &network)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if home == "" {
			return usagef("--home is required")
		}
		g, err := draft(args[0])
		if err == nil {
			err = isNetwork(g, args[0], network)
		}
		if err != nil {
			return err
		}
		loaded, err := loadConfig(home, nil)
		if err != nil {
			return err
		}
		password := loaded.Path(loaded.Node.PasswordFile)
		dir := loaded.Path(loaded.Node.Keys)
		sk, err := loadBLS(filepath.Join(dir, node.BLSKeyFile), password)
		if err != nil {
			return err
		}
		transport, err := loadEd25519(filepath.Join(dir, node.TransportKeyFile), password)
		if err != nil {
			return err
		}
		for i := range g.Members {
			m := &g.Members[i]
			if m.TransportKey != ledger.KeyOf(transport) {
				continue
			}
			if m.BLSKey != ledger.BLSKey(sk.PublicKey().Bytes()) {
				return fmt.Errorf("%s: member %d has this home's transport key and another BLS key",
					args[0], i)
			}
			g.Sign(i, sk, transport)
			if out == "" {
				out = args[0]
			}
			if err := os.WriteFile(out, g.Encode(), 0o644); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: signed as member %d of network %s\n", out, i,
				g.Network())
			return nil
		}
		return fmt.Errorf("%s: no member has the transport key of %s", args[0], home)
	}
	return cmd
}

func newGenesisJoin() *cobra.Command {
	var out string
	cmd := &cobra.Command{Use: "join FILE... --out FILE",
		Short: "Put the signed copies of a genesis file together",
		Args:  atLeastOne("the members' copies")}
	cmd.Flags().StringVar(&out, "out", "", "write to this `file` (required)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if out == "" {
			return usagef("--out is required")
		}
		var joined *ledger.Genesis
		for _, name := range args {
			g, err := draft(name)
			switch {
			case err != nil:
				return err
			case joined == nil:
				joined = g
				continue
			case g.Network() != joined.Network():
				return fmt.Errorf("%s is of network %s, and %s of %s: they are copies of different "+
					"files", name, g.Network(), args[0], joined.Network())
			}
			joinSignatures(joined, g)
		}
		if missing := unsigned(joined); len(missing) > 0 {
			return fmt.Errorf("the signatures of %s %s are missing",
				text.Noun(len(missing), "member"), text.Ranges(missing))
		}
		if err := joined.Validate(); err != nil {
			return err
		}
		if err := os.WriteFile(out, joined.Encode(), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: network %s\n", out, joined.Network())
		return nil
	}
	return cmd
}

// joinSignatures takes over the signatures that another copy of the same genesis has.
func joinSignatures(to, from *ledger.Genesis) {
	for i := range to.Members {
		if m := &from.Members[i]; m.NodeSignature != (ledger.Signature{}) {
			to.Members[i].Proof, to.Members[i].NodeSignature = m.Proof, m.NodeSignature
		}
	}
}

// networkFlag adds --network.
func networkFlag(cmd *cobra.Command, network *string) {
	cmd.Flags().StringVar(network, "network", "",
		"go on only if the genesis file is that of this network (64 hexadecimal `digits`)")
}

// isNetwork refuses a genesis file that is not of the network named; none is named by "".
func isNetwork(g *ledger.Genesis, file, network string) error {
	if network == "" {
		return nil
	}
	if _, err := decodeHex("--network", network, len(g.Network())); err != nil {
		return err
	}
	if got := g.Network().String(); got != network {
		return unreadable(fmt.Errorf("%s is the genesis file of network %s, not of %s", file, got,
			network))
	}
	return nil
}

// seatsFlag is how many seats a committee that rotates shares.
func seatsFlag(f *pflag.FlagSet, seats *int) {
	f.IntVar(seats, "seats", 0, fmt.Sprintf("seats of a committee that is drawn anew, %d to %d "+
		"(default: the committee stays)", rotation.MinSeats, rotation.MaxSeats))
}
