package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/keep"
	"github.com/waybill-network/waybill/node/keys"
)

func newBackup() *cobra.Command {
	var home string
	var recipients []string
	var encrypt bool
	var o keep.Options
	cmd := &cobra.Command{
		Use:   "backup --home FOLDER FILE",
		Short: "Write a home into one file, while its node runs",
		Long: `Writes settings, genesis file, store and alarms into FILE, as they are at one moment;
the node may run. What is not asked for stays out: keystores (--keys), the store of
content (--content), keys of proofs (--proofs). The password file is never in it.
FILE is a tar, compressed with zstd; - is the standard output. It appears whole or not
at all, and replaces nothing.

--recipient age1… encrypts it with age to a public key (of age-keygen), whose secret the
machine need not have; --encrypt with a password, from --password-file, ` + keys.PasswordEnv + `
or a prompt. With keys in it, encrypt it: the keystores are encrypted themselves, and
no more than their password holds off.

'waybill restore' makes a home of it, which cannot sign twice: it knows that its node may
have signed more than the backup has.`,
		Example: `  waybill backup --home net/node0 node0.wbk
  waybill backup --home net/node0 --keys --recipient age1… - | ssh vault 'cat > node0.wbk'`,
		Args: exactly(1, "the file to write, or -"),
	}
	cmd.Flags().StringVar(&home, "home", ".", "the node's `folder`")
	cmd.Flags().BoolVar(&o.Keys, "keys", false, "put the keystores in, too")
	cmd.Flags().BoolVar(&o.Content, "content", false, "put the store of content in, too")
	cmd.Flags().BoolVar(&o.Proofs, "proofs", false, "put the keys of proofs in, too")
	cmd.Flags().StringArrayVar(&recipients, "recipient", nil,
		"encrypt it to this public `key` of age; may be given again")
	cmd.Flags().BoolVar(&encrypt, "encrypt", false, "encrypt it with a password")
	password := passwordFlag(cmd, "the backup", true)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if encrypt && len(recipients) > 0 {
			return usagef("--encrypt and --recipient: want one of them")
		}
		loaded, err := loadConfig(home, nil)
		if err != nil {
			return err
		}
		if o.To, err = recipientsOf(recipients, encrypt, password); err != nil {
			return err
		}
		o.Program = programVersion()
		var head *keep.Head
		err = writeArchive(raw(cmd), args[0], func(w io.Writer) (err error) {
			head, err = keep.Backup(cmd.Context(), loaded, w, o)
			return err
		})
		if err != nil {
			return explainHome(home, err)
		}
		return printArchive(cmd, *asJSON, args[0], head)
	}
	return cmd
}

// recipientsOf is whom an archive is encrypted to; nobody for one in clear.
func recipientsOf(public []string, encrypt bool, password func() ([]byte, error)) ([]age.Recipient,
	error) {
	if encrypt {
		pass, err := password()
		if err != nil {
			return nil, err
		}
		r, err := age.NewScryptRecipient(string(pass))
		return []age.Recipient{r}, err
	}
	if len(public) == 0 {
		return nil, nil
	}
	list, err := age.ParseRecipients(strings.NewReader(strings.Join(public, "\n")))
	if err != nil {
		return nil, usagef("--recipient: %w", err)
	}
	return list, nil
}

// writeArchive makes a file appear whole or not at all.
func writeArchive(stdout io.Writer, file string, write func(io.Writer) error) error {
	if file == "-" {
		return write(stdout)
	}
	if exists(file) {
		return fmt.Errorf("%s is there already: nothing is replaced", file)
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// printArchive says what an archive holds, on the standard error when the archive itself went to
// the standard output.
func printArchive(cmd *cobra.Command, asJSON bool, file string, h *keep.Head) error {
	out := cmd.OutOrStdout()
	if file == "-" {
		out = cmd.ErrOrStderr()
	}
	if asJSON {
		return printJSON(out, h)
	}
	fmt.Fprintf(out, "Wrote %s: chain %s at height %d, with %s.\n", text.Line(file),
		text.Name(h.ChainID), h.Height,
		text.Line(strings.Join(slices.Concat([]string{"settings", "genesis file"}, h.Holds), ", ")))
	if len(h.Lacks) > 0 {
		fmt.Fprintf(out, "Not in it: %s.\n", text.Line(strings.Join(h.Lacks, ", ")))
	}
	return nil
}

func newRestore() *cobra.Command {
	var home, identity string
	var above int64
	cmd := &cobra.Command{
		Use:   "restore [FILE] --home FOLDER",
		Short: "Make a home of a backup, or of a copy, that cannot sign twice",
		Long: `Makes FOLDER, which must not exist or be empty, of a backup; - is the standard input.
It appears whole or not at all. A backup is older than its node: the node may have
signed more. So what comes out of one

  takes no acks and signs no rollups before an epoch that begins after its start;
  does not vote before that either, nor while blocks carry votes of its key: then another
  home has the key, and the node ends and says so;
  has lost the acks of windows that were open, because the other home may have sealed them.

Without FILE it does the same to a home that was copied, or lost its record of votes.
A disk that comes from elsewhere, or back from a backup of files, is such a copy.

--vote-above HEIGHT is for a chain that stands still because this node does not vote: it
votes at once, on blocks above HEIGHT. You say by it that no other home of the node will
ever run again, and that it never voted above HEIGHT. If that is wrong, the node is
convicted of signing twice.

An encrypted backup opens with --identity, a file of age-keygen, or a password.`,
		Example: `  waybill restore node0.wbk --home net/node0-again
  waybill restore --home net/copied`,
		Args: atMostOne("one archive"),
	}
	cmd.Flags().StringVar(&home, "home", "", "the `folder` (required)")
	cmd.Flags().StringVar(&identity, "identity", "", "`file` with the secret key of age")
	cmd.Flags().Int64Var(&above, "vote-above", 0,
		"vote at once, above this `height`: no other home of this node will run again")
	password := passwordFlag(cmd, "the backup", false)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if home == "" {
			return usagef("--home is required")
		}
		if above < 0 || above > 0 && len(args) > 0 {
			return usagef("--vote-above %d: want a height above 0, for a home that is restored",
				above)
		}
		done, err := restore(cmd, home, args, above, identity, password)
		if err != nil {
			return explainHome(home, err)
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), done)
		}
		printRestored(cmd.OutOrStdout(), home, done, above)
		return nil
	}
	return cmd
}

func restore(cmd *cobra.Command, home string, args []string, above int64, identity string,
	password func() ([]byte, error)) (*keep.Restored, error) {
	if len(args) == 0 {
		loaded, err := loadConfig(home, nil)
		if err != nil {
			return nil, err
		}
		if above > 0 {
			return new(keep.Restored), keep.VoteAbove(loaded, above)
		}
		return keep.Adopt(loaded)
	}
	in, err := openArchive(cmd.InOrStdin(), args[0])
	if err != nil {
		return nil, err
	}
	defer in.Close()
	with, err := identities(in, identity, password)
	if err != nil {
		return nil, err
	}
	return keep.Restore(in, home, with)
}

// identities are what opens an archive. A password is asked for when it is encrypted with one.
func identities(in *archiveFile, file string, password func() ([]byte, error)) ([]age.Identity,
	error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		list, err := age.ParseIdentities(f)
		if err != nil {
			return nil, unreadable(fmt.Errorf("--identity %s: %w", file, err))
		}
		return list, nil
	}
	if !in.byPassword() {
		return nil, nil
	}
	pass, err := password()
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(string(pass))
	return []age.Identity{id}, err
}

func printRestored(out io.Writer, home string, done *keep.Restored, above int64) {
	home = text.Line(home)
	if above > 0 {
		fmt.Fprintf(out, "%s votes from its next start on, on blocks above %d.\n", home, above)
		return
	}
	fmt.Fprintf(out, "%s is a home, with the chain up to height %d.\n", home, done.Height)
	if f := done.Forgotten; f.Windows > 0 {
		fmt.Fprintf(out, "Left out: %s of %s that were open: another home may have "+
			"sealed them.\n", text.Plural(f.Acks, "ack"), text.Plural(f.Windows, "window"))
	}
	if len(done.Rewritten) > 0 {
		fmt.Fprintf(out, "Settings that name other paths now: %s. config.toml.before is the old "+
			"file.\n", text.Line(strings.Join(done.Rewritten, ", ")))
	}
	fmt.Fprint(out, "It takes and signs nothing before an epoch begins after its start, and votes "+
		"only if no other\nhome of this node does. Keep the other one off for good.\n")
	if !done.Keys {
		fmt.Fprintf(out, "The keystores are not in it: put them into %s.\n",
			filepath.Join(home, "keys"))
	}
	fmt.Fprintf(out, "Next: waybill doctor --home %s, then waybill start --home %s\n", home, home)
}
