package cli

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

func newTx() *cobra.Command {
	return group("tx", "Build, sign and submit registry transactions",
		`Each subcommand builds one transaction, signs it with the key in --key, submits it
to --node, and waits until it was executed. With --out FILE it is written there
instead, for 'waybill tx send'. To sign on a machine without a network, name the
chain and the sender's next nonce by hand: --out FILE --genesis FILE --nonce N.

Amounts are in credits, with up to six decimals; one credit is 1,000,000
micro-credits.`,
		txDeposit(), txTransfer(), txReserve(), txThaw(), txAllowance(), txRegisterNode(),
		txStake(), txUnstake(), txWithdraw(), txRegisterService(),
		txLowerPrice(), txGrants(),
		txRevoke(), txEvidence(), txProofKey(), txSend(), txShow())
}

// pollTime is between two looks for what a transaction did.
const pollTime = 100 * time.Millisecond

// executionTime bounds the wait for a transaction's block.
const executionTime = 30 * time.Second

// builder makes the bytes of a transaction.
type builder func(net rollup.Network, key ed25519.PrivateKey, nonce uint64) ([]byte, error)

// signed is what commands have in common that sign a transaction.
type signed struct {
	use, short string
	args       cobra.PositionalArgs
	// prepare reads the command's own arguments.
	prepare func(args []string) (builder, error)
	// complete asks the node for what is missing of them; nil: nothing. Without a node all are given.
	complete func(ctx context.Context, c *client.Client, args []string) ([]string, error)
	// next says what comes of the executed transaction; nil: there is nothing to say.
	next func(ctx context.Context, c *client.Client, args []string) (string, error)
}

// txCommand is a command that signs a transaction, and says nothing of what comes of it.
func txCommand(use, short string, args cobra.PositionalArgs,
	prepare func(args []string) (builder, error)) *cobra.Command {
	return (&signed{use: use, short: short, args: args, prepare: prepare}).command()
}

func (s *signed) command() *cobra.Command {
	cmd, run := s.flags()
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		done, err := run(cmd, args, *asJSON)
		if done == nil {
			return err
		}
		return errors.Join(err, printExecuted(cmd.OutOrStdout(), *done, *asJSON))
	}
	return cmd
}

// flags makes the command, and what runs it: that returns what was executed, nil when the
// transaction was written to a file, which is said.
func (s *signed) flags() (*cobra.Command,
	func(cmd *cobra.Command, args []string, asJSON bool) (*executed, error)) {
	cmd := &cobra.Command{Use: s.use, Short: s.short, Args: s.args}
	with := nodeFlag(cmd)
	key := ed25519Flag(cmd, "key", "sign with this key")
	var out, genesisFile string
	var nonce uint64
	cmd.Flags().StringVar(&out, "out", "",
		"write the transaction to this `file` (hexadecimal) instead of submitting it")
	cmd.Flags().StringVar(&genesisFile, "genesis", "",
		"with --out and --nonce: take the network from this genesis `file`, and ask no node")
	cmd.Flags().Uint64Var(&nonce, "nonce", 0,
		"with --genesis: how many transactions the sender's key has had executed")
	return cmd, func(cmd *cobra.Command, args []string, asJSON bool) (done *executed, err error) {
		offline := genesisFile != ""
		if offline != cmd.Flags().Changed("nonce") || offline && out == "" {
			return nil, usagef("--genesis, --nonce and --out go together")
		}
		var build builder
		if offline || s.complete == nil {
			if build, err = s.prepare(args); err != nil {
				return nil, err
			}
		}
		k, err := key()
		if err != nil {
			return nil, err
		}
		if offline {
			genesis, err := readGenesis(genesisFile)
			if err != nil {
				return nil, err
			}
			tx, err := build(genesis.Network(), k, nonce)
			if err != nil {
				return nil, err
			}
			return nil, writeTx(cmd.OutOrStdout(), out, tx, asJSON)
		}
		return done, with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			if s.complete != nil {
				if args, err = s.complete(ctx, c, args); err != nil {
					return err
				}
				if build, err = s.prepare(args); err != nil {
					return err
				}
			}
			net, err := networkOf(ctx, c)
			if err != nil {
				return err
			}
			if nonce, err = nextNonce(ctx, c, ledger.KeyOf(k)); err != nil {
				return err
			}
			tx, err := build(net, k, nonce)
			if err != nil {
				return err
			}
			if out != "" {
				return writeTx(cmd.OutOrStdout(), out, tx, asJSON)
			}
			if done, err = executeTx(ctx, c, ledger.KeyOf(k), nonce, tx); err != nil || s.next == nil {
				return err
			}
			done.Next, err = s.next(ctx, c, args)
			return err
		})
	}
}

func writeTx(w io.Writer, name string, tx []byte, asJSON bool) error {
	if err := os.WriteFile(name, []byte(hex.EncodeToString(tx)+"\n"), 0o644); err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, map[string]any{"file": name, "bytes": len(tx)})
	}
	fmt.Fprintf(w, "%s: %s; submit it with: waybill tx send %s\n", name,
		text.Plural(len(tx), "byte"), name)
	return nil
}

// executeTx submits a transaction, waits for its execution, and returns what it made; nil when it
// was not executed.
func executeTx(ctx context.Context, c *client.Client, sender ledger.Key, nonce uint64, tx []byte,
) (*executed, error) {
	hash := api.TxHash(tx)
	waiting, cancel := context.WithTimeout(ctx, executionTime)
	defer cancel()
	if err := c.Execute(waiting, sender, nonce, tx); err != nil {
		return nil, fmt.Errorf("transaction %s: %w", hash, err)
	}
	entries, err := registered(ctx, c, sender, tx)
	return &executed{Hash: hash, Nonce: &nonce, Registered: entries}, err
}

// sendTx executes a transaction and says what it made.
func sendTx(ctx context.Context, w io.Writer, c *client.Client, sender ledger.Key, nonce uint64,
	tx []byte, asJSON bool) error {
	done, err := executeTx(ctx, c, sender, nonce, tx)
	if done == nil {
		return err
	}
	return errors.Join(err, printExecuted(w, *done, asJSON))
}

// executed is what a transaction did.
type executed struct {
	Hash       string  `json:"hash"`
	Nonce      *uint64 `json:"nonce,omitempty"` // of the sender, where there is one
	Registered []entry `json:"registered,omitempty"`
	Next       string  `json:"next,omitempty"` // what comes of it
}

func printExecuted(w io.Writer, e executed, asJSON bool) error {
	if asJSON {
		return printJSON(w, e)
	}
	fmt.Fprintf(w, "executed, hash %s\n", text.Name(e.Hash))
	for _, r := range e.Registered {
		fmt.Fprintf(w, "%s %d: %s\n", text.Name(r.Kind), r.Index,
			text.Name(text.ShortHashes(r.Name)))
	}
	if e.Next != "" {
		fmt.Fprintln(w, text.Lines(e.Next))
	}
	return nil
}

// parseCredits reads "12.5" as 12,500,000 micro-credits.
func parseCredits(s string) (uint64, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) > 6 {
		return 0, usagef("amount %q: at most six decimals", s)
	}
	micro, err := strconv.ParseUint(whole+fraction+strings.Repeat("0", 6-len(fraction)), 10, 64)
	if err != nil {
		return 0, usagef("amount %q: want credits, such as 12.5, below 2^64 micro-credits", s)
	}
	return micro, nil
}

func parseKey(s string) (ledger.Key, error) {
	b, err := decodeHex("account key", s, len(ledger.Key{}))
	if err != nil {
		return ledger.Key{}, err
	}
	return ledger.Key(b), nil
}

func payment(args []string) (to ledger.Key, amount uint64, err error) {
	if to, err = parseKey(args[0]); err != nil {
		return to, 0, err
	}
	amount, err = parseCredits(args[1])
	return to, amount, err
}

func txDeposit() *cobra.Command {
	return txPayment("deposit", "Create credits on an account (signed by the treasury)",
		ledger.NewDeposit)
}

func txTransfer() *cobra.Command {
	return txPayment("transfer", "Move credits to another account", ledger.NewTransfer)
}

func txPayment(
	use, short string,
	sign func(rollup.Network, ed25519.PrivateKey, uint64, ledger.Key, uint64) []byte,
) *cobra.Command {
	return txCommand(use+" ACCOUNT-KEY CREDITS", short, exactly(2, "an account key and an amount"),
		func(args []string) (builder, error) {
			to, amount, err := payment(args)
			return func(net rollup.Network, k ed25519.PrivateKey, nonce uint64) ([]byte, error) {
				return sign(net, k, nonce, to, amount), nil
			}, err
		})
}

func txRegisterNode() *cobra.Command {
	var blsFile, transport, address, stake, password, request string
	cmd := txCommand("register-node", "Register a node that the signer owns", noArgs,
		func([]string) (builder, error) {
			if request != "" {
				return requestedNode(request, stake)
			}
			if blsFile == "" || transport == "" || address == "" {
				return nil, usagef("--bls-key, --transport-key and --address are required, or " +
					"--request")
			}
			sk, err := loadBLS(blsFile, password)
			if err != nil {
				return nil, err
			}
			transportKey, err := loadEd25519(transport, password)
			if err != nil {
				return nil, err
			}
			micro, err := parseCredits(stake)
			if err != nil {
				return nil, err
			}
			return func(net rollup.Network, k ed25519.PrivateKey, nonce uint64) ([]byte, error) {
				return ledger.NewRegisterNode(net, k, nonce,
					nodeRegistration(net, ledger.KeyOf(k), sk, transportKey, micro, address)), nil
			}, nil
		})
	cmd.Flags().StringVar(&blsFile, "bls-key", "", "the node's BLS keystore `file` (required)")
	cmd.Flags().StringVar(&transport, "transport-key", "",
		"the node's transport keystore `file` (required)")
	cmd.Flags().StringVar(&password, "node-password-file", "",
		"`file` with the password of these keystores (default: the environment, or a prompt)")
	cmd.Flags().StringVar(&address, "address", "",
		"`host:port` where other nodes reach it (required)")
	cmd.Flags().StringVar(&request, "request", "",
		"`file` of 'waybill node request register', in place of the node's keys and address")
	cmd.Flags().StringVar(&stake, "stake", "0",
		"stake in `credits`, taken from the signer's balance; the genesis file says how much it takes "+
			"to serve")
	return cmd
}

// nodeRegistration has both keys of a node consent to its owner: a copy of it registers the node
// for nobody else.
func nodeRegistration(net rollup.Network, owner ledger.Key, sk *bls.SecretKey,
	transport ed25519.PrivateKey, stake uint64, address string) *ledger.NodeRegistration {
	key := ledger.BLSKey(sk.PublicKey().Bytes())
	return &ledger.NodeRegistration{BLSKey: key,
		Proof:         ledger.ProvePossession(sk, net, rollup.RoleNode, owner),
		TransportKey:  ledger.KeyOf(transport),
		NodeSignature: ledger.SignNode(net, owner, key, transport),
		Stake:         stake, PeerAddress: address}
}

func txRegisterService() *cobra.Command {
	var price, unitCap uint64
	cmd := txCommand("register-service UNIT",
		"Register a service that the signer owns, by the name of its unit",
		exactly(1, "the unit's name"),
		func(args []string) (builder, error) {
			return func(net rollup.Network, k ed25519.PrivateKey, nonce uint64) ([]byte, error) {
				return ledger.NewRegisterService(net, k, nonce,
					&ledger.ServiceRegistration{Price: price, UnitCap: unitCap, Unit: args[0]}), nil
			}, nil
		})
	cmd.Flags().Uint64Var(&price, "price", 0, "`micro-credits` per 2^20 units; it can only fall")
	cmd.Flags().Uint64Var(&unitCap, "unit-cap", 1<<32, "most `units` of one ack")
	return cmd
}

func loadBLS(file, passwordFile string) (*bls.SecretKey, error) {
	pass, err := keys.PasswordSource{File: passwordFile, Env: os.Environ(), Terminal: os.Stdin,
		Prompt: os.Stderr, What: file}.Password()
	if err != nil {
		return nil, err
	}
	return keys.LoadBLS(file, pass)
}

func loadEd25519(file, passwordFile string) (ed25519.PrivateKey, error) {
	pass, err := keys.PasswordSource{File: passwordFile, Env: os.Environ(), Terminal: os.Stdin,
		Prompt: os.Stderr, What: file}.Password()
	if err != nil {
		return nil, err
	}
	return keys.LoadEd25519(file, pass)
}

func readTx(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	tx, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s is no transaction: not hexadecimal", file)
	}
	return tx, nil
}

func txSend() *cobra.Command {
	cmd := &cobra.Command{Use: "send FILE",
		Short: "Submit a transaction that was written with --out, and wait until it was executed",
		Args:  exactly(1, "a file with a transaction in hexadecimal")}
	with := nodeFlag(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := readTx(args[0])
		if err != nil {
			return err
		}
		tx, err := ledger.ParseTx(b)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		grants, ok := tx.Body.(*ledger.Grants)
		_, evidence := tx.Body.(*ledger.Evidence)
		proofKey, byQuorum := tx.Body.(*ledger.ProofKeyChange)
		plan, plans := tx.Body.(*ledger.Plan)
		if tx.Signed == nil && !ok && !evidence && !byQuorum && !plans {
			return fmt.Errorf("%s: a %v is sent by nodes, not by people", args[0], tx.Kind)
		}
		return with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			if ok {
				return sendGrants(ctx, cmd.OutOrStdout(), c, grants.Grants, b, *asJSON)
			}
			if byQuorum {
				return sendProofKey(ctx, cmd.OutOrStdout(), c, proofKey, b, *asJSON)
			}
			if plans {
				return sendPlan(ctx, cmd.OutOrStdout(), c, plan, b, *asJSON)
			}
			if evidence {
				return sendEvidence(ctx, cmd.OutOrStdout(), c, b, *asJSON)
			}
			if _, err := nextNonce(ctx, c, tx.Signed.Sender); err != nil {
				return err // at once, where sending would insist
			}
			return sendTx(ctx, cmd.OutOrStdout(), c, tx.Signed.Sender, tx.Signed.Nonce, b, *asJSON)
		})
	}
	return cmd
}

func txShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show FILE",
		Short: "Show what a transaction says, without sending it",
		Args:  exactly(1, "a file with a transaction in hexadecimal")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := readTx(args[0])
		if err != nil {
			return err
		}
		tx, err := ledger.ParseTx(b)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		return printJSON(cmd.OutOrStdout(), tx)
	}
	return cmd
}
