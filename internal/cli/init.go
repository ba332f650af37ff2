package cli

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/rollup/ledger"
)

func newInit() *cobra.Command {
	var home string
	cmd := &cobra.Command{
		Use:   "init --home FOLDER",
		Short: "Write a new node's home: configuration and keys",
		Long: `Writes a commented configuration file and four keystores: the node's BLS key, its
transport and consensus keys, and the key of its owner's account; and an empty store,
which knows that these keys have signed nothing. Prints the entry by which a genesis
file names this node.

A password file that lies in the home is named in the configuration, so that the node
starts without being asked.

The owner's key receives the rewards and is not needed to run the node: move it
somewhere safer.`,
		Args: noArgs,
	}
	password := passwordFlag(cmd, "the node's keys", true)
	asJSON := jsonFlag(cmd)
	cmd.Flags().StringVar(&home, "home", "", "`folder` to write (required)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if home == "" {
			return usagef("--home is required")
		}
		file := filepath.Join(home, "config.toml")
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already: this home has been initialised", file)
		}
		pass, err := password()
		if err != nil {
			return err
		}
		member, err := writeKeys(filepath.Join(home, "keys"), pass)
		if err != nil {
			return err
		}
		c := config.Default()
		c.Node.PasswordFile = within(home, cmd.Flag("password-file").Value.String())
		if err := homes.MakeStore(filepath.Join(home, c.Store.Path)); err != nil {
			return err
		}
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		if err := errors.Join(config.WriteFile(f, c), f.Sync(), f.Close()); err != nil {
			return err
		}
		member.PeerAddress, member.P2PAddress, member.Stake = "HOST:7401", "HOST:7402",
			homes.Stake
		out := cmd.OutOrStdout()
		if !*asJSON {
			fmt.Fprintf(out,
				"Wrote %s and four keys.\nNext: put the network's genesis file into %s, "+
					"or make one with this committee entry (with your HOST and stake)\n"+
					"and sign it: waybill genesis sign FILE --home %s\n\n",
				file, home, home)
		}
		return printJSON(out, member)
	}
	return cmd
}

// within is a file's path relative to the home, or empty when it lies elsewhere.
func within(home, file string) string {
	if file == "" {
		return ""
	}
	dir, err := filepath.Abs(home)
	if err != nil {
		return ""
	}
	if file, err = filepath.Abs(file); err != nil {
		return ""
	}
	relative, err := filepath.Rel(dir, file)
	if err != nil || !filepath.IsLocal(relative) {
		return ""
	}
	return relative
}

func writeKeys(dir string, pass []byte) (*ledger.Member, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	sk, err := bls.KeyGen(keys.NewSeed())
	if err != nil {
		return nil, err
	}
	if err := keys.CreateBLS(filepath.Join(dir, node.BLSKeyFile), sk, pass,
		keys.Template{Role: "node"}); err != nil {
		return nil, err
	}
	m := &ledger.Member{BLSKey: sk.PublicKey().Bytes()}
	for _, k := range []struct {
		file, role string
		public     *ledger.Key
	}{
		{node.TransportKeyFile, "transport", &m.TransportKey},
		{node.ConsensusKeyFile, "consensus", &m.ConsensusKey},
		{homes.OwnerKeyFile, "owner", &m.Owner},
	} {
		pub, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		if err := keys.CreateEd25519(filepath.Join(dir, k.file), key, pass,
			keys.Template{Role: k.role}); err != nil {
			return nil, err
		}
		*k.public = ledger.Key(pub)
	}
	return m, nil
}

// decodeHex reads n bytes of hexadecimal from a flag or argument.
func decodeHex(name, s string, n int) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != n {
		return nil, usagef("%s %q: want %d hexadecimal digits", name, s, 2*n)
	}
	return b, nil
}
