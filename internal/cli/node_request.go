package cli

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// A request is what a node's keys sign for an owner whose key is on another machine. It has no
// secret, and is of use to that owner alone.

// asked is what every request names.
type asked struct {
	Network rollup.Network `json:"network"`
	Owner   ledger.Key     `json:"owner"`
}

// nodeAsked asks the owner to register the node.
type nodeAsked struct {
	asked
	Registration *ledger.NodeRegistration `json:"registration"`
}

// standAsked asks the owner to have the node stand, by the transaction with this nonce.
type standAsked struct {
	asked
	Nonce uint64        `json:"nonce"`
	Stand *ledger.Stand `json:"stand"`
}

func nodeRequest() *cobra.Command {
	return group("request", "Have a node ask an owner whose key is on another machine",
		`Writes what the node's keys have to sign. The file holds no secret, and nobody but the
owner that it names can use it. The owner's machine needs neither the node's keys nor
a network ('--out', '--genesis', '--nonce'):

  node$   waybill node request register --home node5 --owner KEY --address HOST:7401 --out reg.json
  owner$  waybill tx register-node --request reg.json --stake 250 --key owner.json
  node$   waybill node request stand --home node5 --owner KEY --index 5 --nonce 1 --out stand.json
  owner$  waybill node stand 5 --request stand.json --key owner.json

A request to stand is for one transaction of the owner: --nonce is how many it has had
executed by then.`, requestRegister(), requestStand())
}

// requestFlags are those of both requests.
type requestFlags struct{ home, genesis, owner, address, out string }

func (f *requestFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.home, "home", ".", "the node's `folder`")
	fl.StringVarP(&f.genesis, "genesis", "g", "", "the network's genesis `file` (default: the home's)")
	fl.StringVar(&f.owner, "owner", "", "the owner's account `key`, 64 hexadecimal digits (required)")
	fl.StringVar(&f.out, "out", "", "write the request to this `file` (required)")
}

// open reads what the flags name.
func (f *requestFlags) open() (a asked, keysDir, password string, err error) {
	if f.owner == "" || f.out == "" {
		return a, "", "", usagef("--owner and --out are required")
	}
	owner, err := decodeHex("--owner", f.owner, len(a.Owner))
	if err != nil {
		return a, "", "", err
	}
	a.Owner = ledger.Key(owner)
	if !a.Owner.Valid() {
		return a, "", "", usagef("--owner: no account has such a key")
	}
	loaded, err := loadConfig(f.home, nil)
	if err != nil {
		return a, "", "", err
	}
	if f.genesis == "" {
		f.genesis = loaded.Path(loaded.Node.Genesis)
	}
	genesis, err := readGenesis(f.genesis)
	if err != nil {
		return a, "", "", err
	}
	a.Network = genesis.Network()
	if loaded.Node.PasswordFile != "" {
		password = loaded.Path(loaded.Node.PasswordFile)
	}
	return a, loaded.Path(loaded.Node.Keys), password, nil
}

func (f *requestFlags) write(cmd *cobra.Command, request any, next string) error {
	b, err := json.MarshalIndent(request, "", "  ")
	if err != nil {
		return err
	}
	if _, err := writeNew(f.out, bytes.NewReader(append(b, '\n'))); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: for the owner, who runs: %s\n", f.out, next)
	return nil
}

func requestRegister() *cobra.Command {
	var f requestFlags
	cmd := &cobra.Command{Use: "register", Args: noArgs, Short: "Ask to be registered"}
	f.add(cmd)
	cmd.Flags().StringVar(&f.address, "address", "",
		"`host:port` where other nodes reach it (required)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		a, dir, password, err := f.open()
		if err != nil {
			return err
		}
		if f.address == "" {
			return usagef("--address is required")
		}
		sk, err := loadBLS(filepath.Join(dir, node.BLSKeyFile), password)
		if err != nil {
			return err
		}
		transport, err := loadEd25519(filepath.Join(dir, node.TransportKeyFile), password)
		if err != nil {
			return err
		}
		return f.write(cmd, nodeAsked{a, nodeRegistration(a.Network, a.Owner, sk, transport, 0,
			f.address)}, fmt.Sprintf("waybill tx register-node --request %s --stake CREDITS --key FILE",
			f.out))
	}
	return cmd
}

func requestStand() *cobra.Command {
	var f requestFlags
	var index uint32
	var nonce uint64
	cmd := &cobra.Command{Use: "stand", Args: noArgs, Short: "Ask to stand for the committee"}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.address, "address", "", "`host:port` where other members reach its engine "+
		"(default: consensus.listen of the home, when that names a host)")
	fl.Uint32Var(&index, "index", 0,
		"the node's `index`, which it has since it was registered (required)")
	fl.Uint64Var(&nonce, "nonce", 0, "how many transactions the owner has had executed (required)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !fl.Changed("index") || !fl.Changed("nonce") {
			return usagef("--index and --nonce are required")
		}
		a, _, password, err := f.open()
		if err != nil {
			return err
		}
		key, address, err := standing(f.home, "", f.address, password)
		if err != nil {
			return err
		}
		return f.write(cmd, standAsked{a, nonce, ledger.SignStand(a.Network, a.Owner, nonce, index,
			key, address)}, fmt.Sprintf("waybill node stand %d --request %s --key FILE", index, f.out))
	}
	return cmd
}

// readRequest reads a request. What it does not have stays nil.
func readRequest(file string, into any) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return unreadable(fmt.Errorf("request: %w", err))
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return unreadable(fmt.Errorf("request: %s: %w", file, err))
	}
	return nil
}

var errNoRequest = errors.New("it asks for nothing")

// by checks who signs, and where.
func (a *asked) by(file string, net rollup.Network, owner ed25519.PrivateKey) error {
	switch {
	case a.Network != net:
		return fmt.Errorf("request: %s is for network %s, and this is %s", file, a.Network, net)
	case a.Owner != ledger.KeyOf(owner):
		return fmt.Errorf("request: %s is for the owner %s, and the key is %s", file, a.Owner,
			ledger.KeyOf(owner))
	}
	return nil
}

// requestedNode builds the registration that a request asks for.
func requestedNode(file, stake string) (builder, error) {
	var r nodeAsked
	if err := readRequest(file, &r); err != nil {
		return nil, err
	}
	if r.Registration == nil {
		return nil, unreadable(fmt.Errorf("request: %s: %w", file, errNoRequest))
	}
	micro, err := parseCredits(stake)
	if err != nil {
		return nil, err
	}
	r.Registration.Stake = micro
	return func(net rollup.Network, k ed25519.PrivateKey, nonce uint64) ([]byte, error) {
		return ledger.NewRegisterNode(net, k, nonce, r.Registration), r.by(file, net, k)
	}, nil
}

// requestedStand builds the transaction that a request asks for.
func requestedStand(file string, args []string) (builder, error) {
	var r standAsked
	if err := readRequest(file, &r); err != nil {
		return nil, err
	}
	if r.Stand == nil {
		return nil, unreadable(fmt.Errorf("request: %s: %w", file, errNoRequest))
	}
	if len(args) > 0 && args[0] != fmt.Sprint(r.Stand.Node) {
		return nil, usagef("request: %s is for node %d", file, r.Stand.Node)
	}
	return func(net rollup.Network, k ed25519.PrivateKey, nonce uint64) ([]byte, error) {
		if err := r.by(file, net, k); err != nil {
			return nil, err
		}
		if nonce != r.Nonce {
			return nil, fmt.Errorf("request: %s is for the owner's transaction %d, and the next is %d: "+
				"ask again with --nonce %d", file, r.Nonce, nonce, nonce)
		}
		return ledger.NewSignedStand(net, k, nonce, r.Stand), nil
	}, nil
}
