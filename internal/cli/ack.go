package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/rollup"
)

func newAck() *cobra.Command {
	cmd := group("ack", "Sign, submit and look up single acks",
		`Acks by hand: for trials, for scripts, and for finding out what became of one.
Programs use the library, which keeps a book of what was signed and never gives a
number twice (package client).`)
	cmd.AddCommand(newAckSign(), newAckSubmit(), newAckGet())
	return cmd
}

// ackFlags name an ack.
type ackFlags struct {
	epoch, node, service, number uint32
	client                       uint64
}

func (f *ackFlags) add(cmd *cobra.Command, more ...string) (check func() error) {
	fl := cmd.Flags()
	fl.Uint32Var(&f.epoch, "epoch", 0, "`number` of the epoch")
	fl.Uint64Var(&f.client, "client", 0, "`index` of the client in the registry")
	fl.Uint32Var(&f.service, "service", 0, "`index` of the service")
	fl.Uint32Var(&f.number, "number", 0, "`number` of the ack among the client's of the epoch,"+
		" for the service, at the node")
	return func() error {
		for _, name := range append([]string{"epoch", "client", "service", "number"}, more...) {
			if !fl.Changed(name) {
				return usagef("--%s is required", name)
			}
		}
		return nil
	}
}

func newAckSign() *cobra.Command {
	var f ackFlags
	var genesis, file, request, of string
	var units uint64
	cmd := &cobra.Command{
		Use:   "sign --genesis FILE --key FILE --at NODE --client N …",
		Short: "Sign an ack, without a node",
		Long: `Signs one ack with a client's key and prints it as JSON, which 'waybill ack submit' and
the API take. No node is asked.

An ack says that a node delivered units of a service, and its payer pays for them.
Numbers count from 0 in each epoch, for each service and node, without a gap: 'waybill
ack get' without --number asks a node for the next one. NEVER sign two different acks
under one number: the two together convict the client.`,
		Example: "  waybill ack sign --genesis genesis.json --key client.json --at 0 --client 12 \\\n" +
			"    --service 3 --epoch 7 --number 0 --units 5120 --of request.txt > ack.json",
		Args: noArgs,
	}
	fl := cmd.Flags()
	fl.StringVarP(&genesis, "genesis", "g", "genesis.json", "the network's genesis `file`")
	fl.StringVar(&file, "key", "", "the client's key (keystore `file`)")
	fl.Uint32Var(&f.node, "at", 0, "`index` of the node that delivered")
	fl.Uint64Var(&units, "units", 0, "`units` that were delivered")
	fl.StringVar(&request, "request", "", "the request's `digest` (64 hexadecimal digits)")
	fl.StringVar(&of, "of", "", "`file` whose BLAKE3 digest is the request's; - is standard input")
	check := f.add(cmd, "key", "at", "units")
	password := passwordFlag(cmd, "the client's key", false)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := check(); err != nil {
			return err
		}
		if (request == "") == (of == "") {
			return usagef("--request or --of is required, and not both")
		}
		ack := rollup.Ack{Epoch: f.epoch, Node: f.node, Client: f.client, Service: f.service,
			Number: f.number, Units: units}
		if request != "" {
			if err := ack.Request.UnmarshalText([]byte(request)); err != nil {
				return usagef("--request: %w", err)
			}
		} else {
			b, err := readInput(cmd, of)
			if err != nil {
				return err
			}
			ack.Request = blake3.Sum256(b)
		}
		g, err := readGenesis(genesis)
		if err != nil {
			return err
		}
		pass, err := password()
		if err != nil {
			return err
		}
		key, err := keys.LoadBLS(file, pass)
		if err != nil {
			return err
		}
		network := g.Network()
		ack.Net = network.Net()
		signature := bls.Default.Sign(key, ack.AppendMessage(nil, &network))
		ack.Signature = signature.Bytes()
		return printMessage(cmd.OutOrStdout(),
			&api.SubmitAckRequest{Ack: api.NewAck(&network, &ack)})
	}
	return cmd
}

func newAckSubmit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "submit [FILE]",
		Short: "Hand an ack in at its node",
		Long: `Hands in an ack, as 'waybill ack sign' prints it, from a file or from standard input.
"accepted" means that the node has verified it and that it survives a crash of the
node; "known", that it had it already. A refusal says why, and whether another try can
change it: not_now, never, or faulty.`,
		Example: "  waybill ack submit ack.json\n  waybill ack sign … | waybill ack submit --json",
		Args:    atMostOne("one file"),
	}
	with := nodeFlag(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := "-"
		if len(args) > 0 {
			name = args[0]
		}
		b, err := readInput(cmd, name)
		if err != nil {
			return err
		}
		req := new(api.SubmitAckRequest)
		if err := api.FromJSON(b, req); err != nil {
			return unreadable(fmt.Errorf("%s: not an ack as 'waybill ack sign' prints it: %w",
				name, err))
		}
		if _, _, err := req.Ack.Decode(); err != nil {
			return unreadable(fmt.Errorf("%s: %w", name, err))
		}
		return with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			res, err := client.Call(ctx, c.Ingest().SubmitAck, req)
			if refusal, ok := client.Detail[*api.AckRefusal](err); ok {
				return ackRefused(cmd.OutOrStdout(), refusal, err, *asJSON)
			}
			if err != nil {
				return err
			}
			if *asJSON {
				return printMessage(cmd.OutOrStdout(), res)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", text.Name(res.Code),
				text.Line(res.Meaning))
			return err
		})
	}
	return cmd
}

// ackRefused shows a refusal in full; the command fails by its cause.
func ackRefused(w io.Writer, refusal *api.AckRefusal, cause error, asJSON bool) error {
	if asJSON {
		return errors.Join(printMessage(w, refusal), cause)
	}
	class := map[string]string{
		"not_now": "Another try may succeed.",
		"never":   "It will not be taken, whatever is tried.",
		"faulty":  "The ack is not what it should be.",
	}[refusal.Class]
	text.Pairs(w, "refused", refusal.Code, "meaning", strings.TrimSpace(refusal.Meaning+". "+class))
	if c := refusal.Credit; c != nil {
		text.Pairs(w, "payer", fmt.Sprint(c.Payer), "left", text.Credits(c.Left), "again",
			fmt.Sprintf("at height %d", c.Height))
	}
	return cause
}

func newAckGet() *cobra.Command {
	var f ackFlags
	cmd := &cobra.Command{
		Use:   "get --epoch N --client N --service N [--number N]",
		Short: "What became of an ack, or which number comes next",
		Long: `Asks a node what became of an ack: pooled (verified and durable), sealed (in a rollup
that waits for its ticket), ordered (the chain has the rollup, and its payer is
charged), or unknown. Nobody signs the answer; what can be held against a node is
'waybill export ack'.

Without --number: the number that the node takes next.`,
		Example: "  waybill ack get --epoch 7 --client 12 --service 3\n" +
			"  waybill ack get --epoch 7 --client 12 --service 3 --number 0 --json",
		Args: noArgs,
	}
	with := nodeFlag(cmd)
	asJSON := jsonFlag(cmd)
	check := f.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		numbered := cmd.Flags().Changed("number")
		cmd.Flags().Lookup("number").Changed = true
		if err := check(); err != nil {
			return err
		}
		return with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			w := cmd.OutOrStdout()
			if !numbered {
				next, err := c.Counter(ctx, f.epoch, f.client, f.service)
				if err != nil {
					return err
				}
				if *asJSON {
					return printJSON(w, map[string]uint32{"next": next})
				}
				_, err = fmt.Fprintf(w, "next number: %d\n", next)
				return err
			}
			res, err := client.Call(ctx, c.Ingest().GetAck, &api.GetAckRequest{Epoch: f.epoch,
				Client: f.client, Service: f.service, Number: f.number})
			if err != nil {
				return err
			}
			if *asJSON {
				return printMessage(w, res)
			}
			printAck(w, res)
			return nil
		})
	}
	return cmd
}

func printAck(w io.Writer, a *api.GetAckResponse) {
	state := strings.ToLower(strings.TrimPrefix(a.State.String(), "ACK_STATE_"))
	if a.State == api.AckState_ACK_STATE_UNKNOWN {
		text.Pairs(w, "state", state)
		return
	}
	if a.State == api.AckState_ACK_STATE_REFUSED {
		text.Pairs(w, "state", state+" after all: it was taken on account and did not stand",
			"code", a.Code)
		return
	}
	if a.Code != "" {
		state += ", " + a.Code
	}
	text.Pairs(w, "state", state, "units", fmt.Sprint(a.Units), "request", a.Request)
	if a.RollupId != "" {
		text.Pairs(w, "window", fmt.Sprint(a.Window), "rollup", a.RollupId)
	}
}

// printMessage prints a message as the API gives it.
func printMessage(w io.Writer, m api.Message) error {
	b, err := api.JSON(m)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// readInput reads a file, or standard input for -.
func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		b, err := io.ReadAll(cmd.InOrStdin())
		return b, unreadable(err)
	}
	b, err := os.ReadFile(name)
	return b, unreadable(err)
}
