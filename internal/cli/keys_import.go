package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/node/keys"
)

func newKeysImport() *cobra.Command {
	var kind, role, newFile string
	var light bool
	cmd := &cobra.Command{
		Use:   "import SOURCE FILE",
		Short: "Bring in a key from another program's file",
		Long: `Reads the key in SOURCE and writes it into FILE, a new keystore of this program.
SOURCE is one of

  a keystore of EIP-2335, as deposit-cli, ethdo, Lighthouse, Prysm and this program
  write it, with 0x before hexadecimal text or without; its password comes from
  --password-file, ` + keys.PasswordEnv + ` or a prompt;
  Prysm's all-accounts.keystore.json: of several keys the second goes to FILE with -1
  before its extension, and so on;
  a file with a secret of 32 bytes in hexadecimal, of the kind that --kind says.

The new keystore has the same password, or another: --new-password-file. The public
key that SOURCE names is compared. A secret that validates elsewhere, too, signs here
in the other group of the curve: neither network can use a signature of the other.`,
		Example: `  waybill keys import keystore-m_12381_3600_0_0_0-1600000000.json client.json
  waybill keys import --kind ed25519 --role payer secret.hex payer.json`,
		Args: exactly(2, "the file to read and the keystore to write"),
	}
	password := passwordFlag(cmd, "the file that is read", false)
	cmd.Flags().StringVar(&newFile, "new-password-file", "",
		"read the new keystore's password from this `file`")
	cmd.Flags().StringVar(&kind, "kind", string(keys.BLS),
		"of a secret in hexadecimal: bls12-381 (nodes, clients) or ed25519 (accounts, transport)")
	cmd.Flags().StringVar(&role, "role", "", "what the key is for, kept in the file in clear")
	cmd.Flags().BoolVar(&light, "light", false,
		"derive the encryption key with PBKDF2 instead of scrypt: faster, weaker against guessing")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if kind != string(keys.Ed25519) && kind != string(keys.BLS) {
			return usagef("--kind %q: want %s or %s", kind, keys.Ed25519, keys.BLS)
		}
		var pass []byte // of the source, and of the keystore if there is no other
		asked := func() (_ []byte, err error) { pass, err = password(); return pass, err }
		found, err := keys.Import(args[0], keys.Kind(kind), asked)
		if err != nil {
			return err
		}
		if newFile != "" || pass == nil {
			if pass, err = newPassword(cmd, newFile, password); err != nil {
				return err
			}
		}
		t := keys.Template{Role: role, KDF: keys.Scrypt}
		if light {
			t.KDF = keys.PBKDF2
		}
		files := numbered(args[1], len(found))
		for i := range found {
			if err := found[i].Create(files[i], pass, t); err != nil {
				return err
			}
		}
		return showKeys(cmd, *asJSON, files...)
	}
	return cmd
}

// newPassword gets the password of a new keystore. Without a file of its own it is the one password
// of the command, for a secret that had none.
func newPassword(cmd *cobra.Command, file string, password func() ([]byte, error)) ([]byte, error) {
	if file == "" && !cmd.Flags().Changed("password-file") {
		return keys.PasswordSource{Env: os.Environ(), Terminal: os.Stdin,
			Prompt: cmd.ErrOrStderr(), What: "the new keystore", Confirm: true}.Password()
	}
	if file == "" {
		return password()
	}
	return keys.PasswordSource{File: file}.Password()
}

// numbered returns the names for several keystores.
func numbered(file string, n int) []string {
	names := []string{file}
	extension := filepath.Ext(file)
	for i := 1; i < n; i++ {
		names = append(names, fmt.Sprintf("%s-%d%s", strings.TrimSuffix(file, extension), i,
			extension))
	}
	return names
}
