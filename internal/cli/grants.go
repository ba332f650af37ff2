package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// maxServices is how many services a grant names at most.
const maxServices = len(ledger.Grant{}.Services)

// grantFlags are what a payer allows its clients.
type grantFlags struct {
	services           []uint
	numbers            uint32
	from, until, payer uint32
	blsPassword        string
	out, genesisFile   string
}

func txGrants() *cobra.Command {
	var f grantFlags
	cmd := &cobra.Command{Use: "grants CLIENT...",
		Short: "Let clients use services at the signer's cost",
		Long: `Signs a grant for each client and submits them in one transaction. A grant says: who
holds this key may use these services at my cost, up to so many acks at each node in
each epoch, until this epoch. It makes a client of the key, whose index is printed.
To name a service is to agree to its price, which can only fall. Each client costs the
network's fee of a grant, from the payer's balance; its acks are paid from the payer's
reserve ('waybill tx reserve'), within what the payer allows one node ('waybill tx
allowance').

A CLIENT is a BLS keystore, or a file that its holder has written with 'waybill keys
prove' for this network and this payer; it holds no secret.

A grant has no nonce: it is executed once, in an epoch of --from to --until, whoever
submits it. To end one early: waybill tx revoke. With --out FILE the transaction is
written there, for 'waybill tx send'. To sign on a machine without a network, name
chain, account and epoch by hand: --out FILE --genesis FILE --payer INDEX --from EPOCH.`,
		Example: "  waybill tx grants --key payer.json --service 0 --until 720 client.json",
		Args:    atLeastOne("one or more keystores or proofs of clients")}
	with := nodeFlag(cmd)
	key := ed25519Flag(cmd, "key", "sign with this key, of the payer's account")
	fl := cmd.Flags()
	fl.UintSliceVar(&f.services, "service", nil, "`index` of a service; one to three (required)")
	fl.Uint32Var(&f.numbers, "numbers", math.MaxUint32,
		"most `acks` that a client may sign for a service at one node in one epoch")
	fl.Uint32Var(&f.from, "from", 0, "first `epoch` (default: the one that runs)")
	fl.Uint32Var(&f.until, "until", 0,
		"the `epoch` before which the grant ends (default: as late as the network allows)")
	fl.StringVar(&f.blsPassword, "bls-password-file", "",
		"`file` with the keystores' password (default: the environment, or a prompt)")
	fl.StringVar(&f.out, "out", "",
		"write the transaction to this `file` (hexadecimal) instead of submitting it")
	fl.StringVar(&f.genesisFile, "genesis", "",
		"with --out, --payer and --from: take the network from this `file`, and ask no node")
	fl.Uint32Var(&f.payer, "payer", 0, "with --genesis: `index` of the payer's account")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		offline := f.genesisFile != ""
		if offline != fl.Changed("payer") || offline && (f.out == "" || !fl.Changed("from")) {
			return usagef("--genesis, --payer, --from and --out go together")
		}
		if err := f.check(len(args)); err != nil {
			return err
		}
		k, err := key()
		if err != nil {
			return err
		}
		if offline {
			genesis, err := readGenesis(f.genesisFile)
			if err != nil {
				return err
			}
			f.end(genesis.Params.GrantEpochs)
			_, tx, err := f.build(genesis.Network(), k, args)
			if err != nil {
				return err
			}
			return writeTx(cmd.OutOrStdout(), f.out, tx, *asJSON)
		}
		return with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			net, err := f.ask(ctx, c, ledger.KeyOf(k), fl.Changed("from"))
			if err != nil {
				return err
			}
			grants, tx, err := f.build(net, k, args)
			if err != nil {
				return err
			}
			if f.out != "" {
				return writeTx(cmd.OutOrStdout(), f.out, tx, *asJSON)
			}
			return sendGrants(ctx, cmd.OutOrStdout(), c, grants, tx, *asJSON)
		})
	}
	return cmd
}

// check refuses what no ledger would execute.
func (f *grantFlags) check(clients int) error {
	slices.Sort(f.services)
	f.services = slices.Compact(f.services)
	last := cmp.Or(len(f.services), 1) - 1
	switch {
	case clients > ledger.MaxGrants:
		return usagef("%d clients: at most %d in one transaction", clients, ledger.MaxGrants)
	case len(f.services) == 0 || len(f.services) > maxServices:
		return usagef("--service: want one to three services, got %d", len(f.services))
	case uint64(f.services[last]) >= math.MaxUint32:
		return usagef("--service %d: want a number below 2^32 - 1", f.services[last])
	case f.until > 0 && f.from >= f.until:
		return usagef("--from %d --until %d: want an epoch between them", f.from, f.until)
	case f.numbers == 0:
		return usagef("--numbers 0: want at least one ack")
	}
	return nil
}

// end lets grants end as late as the network allows, when nothing else was said.
func (f *grantFlags) end(epochs uint32) {
	if f.until == 0 {
		f.until = uint32(min(uint64(f.from)+uint64(epochs), math.MaxUint32))
	}
}

// ask asks the node for what the grants need to say and the flags do not.
func (f *grantFlags) ask(ctx context.Context, c *client.Client, payer ledger.Key, from bool,
) (net rollup.Network, err error) {
	status, err := client.Call(ctx, c.Ledger().GetStatus, &api.GetStatusRequest{})
	if err != nil {
		return net, err
	}
	if !from {
		f.from = status.Epoch
	}
	f.end(status.GetMoney().GetGrantEpochs())
	account, err := client.Call(ctx, c.Ledger().GetAccount,
		&api.GetAccountRequest{By: &api.GetAccountRequest_Key{Key: payer.String()}})
	switch {
	case client.NotFound(err) || err == nil && account.Index == nil:
		return net, fmt.Errorf("key %s has no account yet: it needs a deposit or a transfer first",
			payer)
	case err != nil:
		return net, err
	}
	f.payer = account.GetIndex()
	return net, net.UnmarshalText([]byte(status.Network))
}

// build signs the grants.
func (f *grantFlags) build(net rollup.Network, payer ed25519.PrivateKey, clients []string,
) (grants []ledger.Grant, tx []byte, err error) {
	var list []uint32
	for _, service := range f.services {
		list = append(list, uint32(service))
	}
	services := ledger.Services(list...)
	for _, file := range clients {
		proof, err := f.proofOf(net, ledger.KeyOf(payer), file)
		if err != nil {
			return nil, nil, err
		}
		grants = append(grants, ledger.NewGrant(net, payer, ledger.Grant{
			Payer: f.payer, Key: proof.Key, Proof: proof.Proof, Services: services,
			Numbers: f.numbers, From: f.from, Until: f.until}))
	}
	return grants, ledger.NewGrants(net, grants), nil
}

// possession is what a client gives to a payer: its key, and the proof that it holds it.
type possession struct {
	Key   ledger.BLSKey       `json:"bls_key"`
	Proof ledger.BLSSignature `json:"proof"`
}

// prove proves to a payer that the caller holds a client's key.
func prove(net rollup.Network, sk *bls.SecretKey, payer ledger.Key) possession {
	return possession{sk.PublicKey().Bytes(),
		ledger.ProvePossession(sk, net, rollup.RoleClient, payer)}
}

// proofOf reads a client's proof from its file, or makes it with the key from its keystore.
func (f *grantFlags) proofOf(net rollup.Network, payer ledger.Key, file string,
) (p possession, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(b, &p); err == nil && p != (possession{}) {
		return p, nil
	}
	sk, err := loadBLS(file, f.blsPassword)
	if err != nil {
		return p, err
	}
	return prove(net, sk, payer), nil
}

// sendGrants submits grants and waits until each has made a client.
func sendGrants(ctx context.Context, w io.Writer, c *client.Client, grants []ledger.Grant,
	tx []byte, asJSON bool) error {
	before, err := clientsOf(ctx, c, grants)
	if err != nil {
		return err
	}
	hash, err := c.SubmitTx(ctx, tx)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, executionTime)
	defer cancel()
	for {
		now, err := clientsOf(ctx, c, grants)
		if err != nil {
			return err
		}
		entries := newClients(grants, before, now)
		if len(entries) == len(grants) {
			return printExecuted(w, executed{Hash: hash, Registered: entries}, asJSON)
		}
		if err := retry.Pause(waiting, pollTime); err != nil {
			return fmt.Errorf("transaction %s: %d of %d grants made a client in %v; a key may be "+
				"taken: %w", hash, len(entries), len(grants), executionTime, err)
		}
	}
}

// clientsOf asks for the clients of the grants' keys.
func clientsOf(ctx context.Context, c *client.Client, grants []ledger.Grant,
) ([]*api.Client, error) {
	req := &api.GetClientsRequest{}
	for i := range grants {
		req.Keys = append(req.Keys, grants[i].Key.String())
	}
	found, err := client.Call(ctx, c.Ledger().GetClients, req)
	if err != nil {
		return nil, err
	}
	return found.Clients, nil
}

// newClients are the clients that there are now and were not before.
func newClients(grants []ledger.Grant, before, now []*api.Client) (entries []entry) {
	for i, c := range now {
		had := before[i]
		if c.Index == nil || had.Index != nil && had.GetIndex() == c.GetIndex() {
			continue
		}
		entries = append(entries, entry{"client", c.GetIndex(), grants[i].Key.String()})
	}
	return entries
}

func txRevoke() *cobra.Command {
	return txCommand("revoke CLIENT-INDEX...",
		"End grants of the signer from the next epoch on",
		atLeastOne("one or more indices of clients"),
		func(args []string) (builder, error) {
			if len(args) > ledger.MaxGrants {
				return nil, usagef("%d clients: at most %d in one transaction", len(args),
					ledger.MaxGrants)
			}
			clients := make([]uint64, len(args))
			for i, a := range args {
				index, err := strconv.ParseUint(a, 10, 64)
				if err != nil {
					return nil, usagef("client index %q: want a number", a)
				}
				clients[i] = index
			}
			slices.Sort(clients)
			clients = slices.Compact(clients)
			return func(net rollup.Network, k ed25519.PrivateKey, nonce uint64) ([]byte, error) {
				return ledger.NewRevoke(net, k, nonce, clients), nil
			}, nil
		})
}

// newKeysProve is the client's side of tx grants.
func newKeysProve() *cobra.Command {
	var payer, genesisFile, out string
	cmd := &cobra.Command{Use: "prove KEYSTORE",
		Short: "Prove to a payer that you hold a client's key",
		Long: `Writes the public key and a proof that you hold it. The proof is for one network and
one payer's account; 'waybill tx grants' takes it in place of the keystore, so that
the secret stays with you.`,
		Example: "  waybill keys prove client.json --payer KEY --genesis genesis.json --out client.proof",
		Args:    exactly(1, "a client's BLS keystore")}
	password := passwordFlag(cmd, "the client's key", false)
	cmd.Flags().StringVar(&payer, "payer", "",
		"public `key` of the payer's account, hexadecimal (required)")
	cmd.Flags().StringVarP(&genesisFile, "genesis", "g", "genesis.json",
		"the network's genesis `file`")
	cmd.Flags().StringVar(&out, "out", "", "write to this `file` (default: standard output)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if payer == "" {
			return usagef("--payer is required")
		}
		to, err := parseKey(payer)
		if err != nil {
			return err
		}
		genesis, err := readGenesis(genesisFile)
		if err != nil {
			return err
		}
		pass, err := password()
		if err != nil {
			return err
		}
		sk, err := keys.LoadBLS(args[0], pass)
		if err != nil {
			return err
		}
		p := prove(genesis.Network(), sk, to)
		if out == "" {
			return printJSON(cmd.OutOrStdout(), p)
		}
		var file bytes.Buffer
		if err := printJSON(&file, p); err != nil {
			return err
		}
		return os.WriteFile(out, file.Bytes(), 0o644)
	}
	return cmd
}
