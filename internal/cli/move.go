package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/keep"
)

func newMove() *cobra.Command {
	return group("move", "Take a node to another machine, for good",
		`A node moves in three steps. At no moment can it sign in both places, and a step that
is cut off is finished by the same command.

  there$ waybill move address --home NEW            prints an address, age1…
  here$  waybill move send --home OLD --to age1… node.wbm
  there$ waybill move receive --home NEW node.wbm

'send' fences the old home for ever, and then writes all that the node knows, with its
keys, for that address alone. Nothing is lost and nothing waits: the node goes on where
it was, acks that are in no rollup yet among it. Change addresses of the node with
'waybill tx' where the ledger has them, and listen at the same ports.`,
		moveAddress(), moveSend(), moveReceive())
}

func moveAddress() *cobra.Command {
	var home string
	cmd := &cobra.Command{
		Use:   "address --home FOLDER",
		Short: "Prepare a folder that a home arrives in, and print its address",
		Long: `Makes FOLDER, which must not exist or be empty, with a key that only the home to
come needs, and prints the address that 'waybill move send' takes. Asked again, it
prints the same, until the home has arrived.`,
		Args: noArgs,
	}
	cmd.Flags().StringVar(&home, "home", "", "`folder` of the home to come (required)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if home == "" {
			return usagef("--home is required")
		}
		address, err := keep.Address(home)
		if err != nil {
			return explainHome(home, err)
		}
		fmt.Fprintln(cmd.OutOrStdout(), address)
		return nil
	}
	return cmd
}

func moveSend() *cobra.Command {
	var home, to string
	var o keep.Options
	cmd := &cobra.Command{
		Use:   "send --home FOLDER --to ADDRESS FILE",
		Short: "Fence a home for ever, and write it for one address",
		Long: `Fences the home of a node that does not run: it never starts here again. Then writes
all of it, keystores and a password file in the home included, into FILE, encrypted to
the address; - is the standard output. If FILE is lost on the way, the command may be
run again, for the same address.`,
		Example: `  waybill move send --home /var/lib/waybill --to age1… - | ssh there 'cat > node.wbm'`,
		Args:    exactly(1, "the file to write, or -"),
	}
	cmd.Flags().StringVar(&home, "home", ".", "the node's `folder`")
	cmd.Flags().StringVar(&to, "to", "", "the `address` that 'waybill move address' printed")
	cmd.Flags().BoolVar(&o.Content, "content", false, "take the store of content along")
	cmd.Flags().BoolVar(&o.Proofs, "proofs", false, "take the keys of proofs along")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if to == "" {
			return usagef("--to is required")
		}
		loaded, err := loadConfig(home, nil)
		if err != nil {
			return err
		}
		if args[0] != "-" && exists(args[0]) {
			return fmt.Errorf("%s is there already: nothing is replaced", args[0])
		}
		o.Program = programVersion()
		var head *keep.Head
		err = writeArchive(raw(cmd), args[0], func(w io.Writer) (err error) {
			head, err = keep.Send(loaded, to, w, o)
			return err
		})
		if err != nil {
			return explainHome(home, err)
		}
		if err := printArchive(cmd, *asJSON, args[0], head); err != nil || *asJSON {
			return err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s is fenced: the node never starts there again.\n",
			text.Line(home))
		return nil
	}
	return cmd
}

func moveReceive() *cobra.Command {
	var home string
	cmd := &cobra.Command{
		Use:   "receive --home FOLDER FILE",
		Short: "Make a home of what was sent to its address",
		Long: `Makes the home in FOLDER, where 'waybill move address' was run, of what was sent to it;
- is the standard input. The key of the address is destroyed: nothing arrives twice.`,
		Args: exactly(1, "the file that was sent, or -"),
	}
	cmd.Flags().StringVar(&home, "home", "", "`folder` of the home to come (required)")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if home == "" {
			return usagef("--home is required")
		}
		in, err := openArchive(cmd.InOrStdin(), args[0])
		if err != nil {
			return err
		}
		defer in.Close()
		done, err := keep.Receive(in, home)
		if err != nil {
			return explainHome(home, err)
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), done)
		}
		out, home := cmd.OutOrStdout(), text.Line(home)
		fmt.Fprintf(out, "%s has arrived.\n", home)
		if len(done.Rewritten) > 0 {
			fmt.Fprintf(out, "Settings that name other paths now: %s. config.toml.before is the "+
				"old file.\n", strings.Join(done.Rewritten, ", "))
		}
		fmt.Fprintf(out, "Next: waybill doctor --home %s, then waybill start --home %s\n", home,
			home)
		return nil
	}
	return cmd
}
