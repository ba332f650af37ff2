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
	"slices"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/keys"
)

func newKeys() *cobra.Command {
	return group("keys", "Make, bring in, derive, list and prove keys",
		`Keys are kept in EIP-2335 keystores, one file a key, encrypted under a password that
comes from --password-file, from the environment variable `+keys.PasswordEnv+`,
or from a prompt, in this order. Files are never overwritten.`,
		newKeysNew(), newKeysImport(), newKeysDerive(), newKeysList(), newKeysShow(),
		newKeysProve())
}

// passwordFlag adds --password-file; the returned function gets the password.
func passwordFlag(cmd *cobra.Command, what string, confirm bool) func() ([]byte, error) {
	var file string
	cmd.Flags().StringVar(&file, "password-file", "", "read the password from this `file`")
	return func() ([]byte, error) {
		return keys.PasswordSource{File: file, Env: os.Environ(), Terminal: os.Stdin,
			Prompt: cmd.ErrOrStderr(), What: what, Confirm: confirm}.Password()
	}
}

func newKeysNew() *cobra.Command {
	var kind, role string
	var light bool
	cmd := &cobra.Command{
		Use:   "new FILE",
		Short: "Make a key and write its keystore",
		Example: `  waybill keys new --kind ed25519 --role payer payer.json
  waybill keys new --kind bls12-381 --role client client.json`,
		Args: exactly(1, "the keystore's file name"),
	}
	password := passwordFlag(cmd, "the new key", true)
	cmd.Flags().StringVar(&kind, "kind", string(keys.Ed25519),
		"ed25519 (accounts, transport) or bls12-381 (nodes, clients)")
	cmd.Flags().StringVar(&role, "role", "", "what the key is for, kept in the file in clear")
	cmd.Flags().BoolVar(&light, "light", false,
		"derive the encryption key with PBKDF2 instead of scrypt: faster, weaker against guessing")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if kind != string(keys.Ed25519) && kind != string(keys.BLS) {
			return usagef("--kind %q: want %s or %s", kind, keys.Ed25519, keys.BLS)
		}
		pass, err := password()
		if err != nil {
			return err
		}
		t := keys.Template{Role: role, KDF: keys.Scrypt}
		if light {
			t.KDF = keys.PBKDF2
		}
		if kind == string(keys.Ed25519) {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				return err
			}
			if err := keys.CreateEd25519(args[0], key, pass, t); err != nil {
				return err
			}
		} else {
			key, err := bls.KeyGen(keys.NewSeed())
			if err != nil {
				return err
			}
			if err := keys.CreateBLS(args[0], key, pass, t); err != nil {
				return err
			}
		}
		return showKeys(cmd, *asJSON, args[0])
	}
	return cmd
}

func newKeysDerive() *cobra.Command {
	var seedFile, dir string
	var first, count uint32
	cmd := &cobra.Command{
		Use:   "derive --seed-file FILE --dir FOLDER",
		Short: "Derive many client keys from one seed (EIP-2333)",
		Long: `Derives the keys ` + string(keys.Clients) + `/i from a seed of
32 or more bytes in hexadecimal and writes a keystore for each. The same seed gives
the same keys again. With no --seed-file a seed is drawn, and written to seed.hex in
the folder.`,
		Args: noArgs,
	}
	password := passwordFlag(cmd, "the derived keys", true)
	cmd.Flags().StringVar(&seedFile, "seed-file", "", "`file` with the seed in hexadecimal")
	cmd.Flags().StringVar(&dir, "dir", "", "`folder` for the keystores (required)")
	cmd.Flags().Uint32Var(&first, "first", 0, "index of the first key")
	cmd.Flags().Uint32Var(&count, "count", 1, "how many keys, at most 10000")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if dir == "" {
			return usagef("--dir is required")
		}
		if count == 0 || count > 10000 || uint64(first)+uint64(count) > 1<<32 {
			return usagef("--count %d --first %d: between 1 and 10000 keys with indices below 2^32",
				count, first)
		}
		pass, err := password()
		if err != nil {
			return err
		}
		seed, err := seedFrom(seedFile, dir)
		if err != nil {
			return err
		}
		derived, err := keys.DeriveMany(seed, keys.Clients, first, int(count))
		if err != nil {
			return err
		}
		files := make([]string, len(derived))
		for i, sk := range derived {
			index := first + uint32(i)
			files[i] = filepath.Join(dir, fmt.Sprintf("client-%d.json", index))
			t := keys.Template{Role: "client", Path: keys.Clients.Path(index), KDF: keys.PBKDF2}
			if err := keys.CreateBLS(files[i], sk, pass, t); err != nil {
				return err
			}
		}
		return showKeys(cmd, *asJSON, files...)
	}
	return cmd
}

func seedFrom(file, dir string) ([]byte, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		seed, err := keys.ParseSeed(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return seed, nil
	}
	seed := keys.NewSeed()
	name := filepath.Join(dir, "seed.hex")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s is there already: go on from it with --seed-file %s --first N",
			name, name)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, hex.EncodeToString(seed)); err != nil {
		return nil, err
	}
	return seed, f.Sync()
}

func newKeysList() *cobra.Command {
	cmd := &cobra.Command{Use: "list FOLDER", Short: "List the keystores of a folder",
		Args: exactly(1, "a folder")}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		infos, err := keys.List(args[0])
		if infos == nil && err == nil && !*asJSON {
			fmt.Fprintf(cmd.OutOrStdout(), "No keystores in %s.\n", args[0])
			return nil
		}
		if infos == nil && err != nil {
			return err
		}
		return errors.Join(printKeys(cmd, *asJSON, infos), err)
	}
	return cmd
}

func newKeysShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show FILE...", Short: "Show the public part of keystores",
		Args: atLeastOne("one or more keystores")}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return showKeys(cmd, *asJSON, args...)
	}
	return cmd
}

func showKeys(cmd *cobra.Command, asJSON bool, files ...string) error {
	infos := make([]*keys.Info, len(files))
	for i, f := range files {
		info, err := keys.Inspect(f)
		if err != nil {
			return err
		}
		infos[i] = info
	}
	return printKeys(cmd, asJSON, infos)
}

// printKeys shows a single key in full, and of several keys what tells them apart.
func printKeys(cmd *cobra.Command, asJSON bool, infos []*keys.Info) error {
	if asJSON {
		// none: [] and not null
		return printJSON(cmd.OutOrStdout(), slices.Concat([]*keys.Info{}, infos))
	}
	if len(infos) == 1 {
		k := infos[0]
		text.Pairs(cmd.OutOrStdout(), "file", k.File, "kind", string(k.Kind), "role", k.Role,
			"public key", k.PublicKey)
		return nil
	}
	rows := make([][]string, len(infos))
	for i, k := range infos {
		rows[i] = []string{k.File, string(k.Kind), k.Role, k.PublicKey}
		if k.Kind != keys.Ed25519 { // an account's key is short enough, and wanted whole
			rows[i][3] = text.ShortHashes(k.PublicKey)
		}
	}
	text.Table(cmd.OutOrStdout(), []string{"file", "kind", "role", "public key"}, rows)
	return nil
}
