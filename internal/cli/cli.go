// Package cli is the command line of the program waybill: one file a command, which parses its
// flags and calls the room that does the work. What a command prints, and how its errors read, is
// decided here.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/internal/text"
)

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Run executes one command line, args without the program's name, and returns its exit code. The
// context's end interrupts the command.
func Run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot(text.NewGuard(out))
	root.SetArgs(args)
	root.SetIn(in)
	root.SetErr(errOut)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, new(usageError)):
		message := "waybill: " + err.Error()
		if strings.HasPrefix(err.Error(), "waybill ") { // it begins with the command
			message = err.Error()
		}
		fmt.Fprintf(errOut, "%s\nTry '%s --help'.\n", text.Lines(message),
			strings.TrimSuffix(cmd.CommandPath(), " help"))
		return exitUsage
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) ||
		errors.Is(err, context.Cause(ctx))):
		fmt.Fprintln(errOut, "waybill: interrupted")
		return exitFailed
	}
	fmt.Fprintf(errOut, "waybill: %s\n", text.Lines(err.Error()))
	return exitCode(err)
}

// Command is the command line as it stands, for what is made of it: man pages.
func Command() *cobra.Command { return newRoot(io.Discard) }

// newRoot makes the commands. Where they print has to be known: cobra's completion takes it now.
func newRoot(out io.Writer) *cobra.Command {
	root := group("waybill", "Provable delivery for edge networks",
		`Waybill makes delivery provable. Clients sign an acknowledgement for what they
received; a node verifies, keeps and rolls up acks window by window; a committee
certifies the rollups, and each epoch settles: payers are debited and nodes
rewarded, exactly.

  waybill devnet --job          see it all at work in one process, then verify the result offline
  waybill testnet --dir net     write the folders of a network, then: waybill start --home net/node0
  waybill verify FILE           check what a node exported, trusting nothing but the genesis file`)
	root.SetOut(out)
	root.SilenceUsage, root.SilenceErrors = true, true
	root.Version = programVersion()
	root.SetVersionTemplate("waybill {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%s: %w", cmd.CommandPath(), err)}
	})
	root.AddGroup(
		&cobra.Group{ID: "node", Title: "Run a node or a network:"},
		&cobra.Group{ID: "use", Title: "Use a network:"},
		&cobra.Group{ID: "check", Title: "Check and measure:"},
	)
	for id, commands := range map[string][]*cobra.Command{
		"node": {newInit(), newGenesis(), newTestnet(), newStart(), newDevnet(), newKeys(),
			newContent(), newBackup(), newRestore(), newMove(), newSigner(), newUpgrade(),
			newRecover(), newCeremony(), newNode()},
		"use": {newStatus(), newTx(), newWallet(), newAck(), newGet(), newCompute(),
			newReplay(), newEvents(), newExport(), newInvoice(), newComplain()},
		"check": {newVerify(), newDoctor(), newTrace(), newBench(), newVersion()},
	} {
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	root.AddCommand(newProveWorker())
	root.SetHelpCommand(newHelp())
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			strict(c)
		}
		versioned(c, root.Version)
	}
	return root
}

// strict gives cobra's completion command the errors of all others.
func strict(completion *cobra.Command) {
	own := group(completion.Use, completion.Short, completion.Long)
	completion.Args, completion.RunE = own.Args, own.RunE
	completion.SuggestionsMinimumDistance = own.SuggestionsMinimumDistance
	for _, shell := range completion.Commands() {
		shell.Args = noArgs
	}
}

// versioned lets a command and those under it answer --version, too, without a line in their help.
func versioned(cmd *cobra.Command, version string) {
	if cmd.Name() == "help" { // of cobra, with arguments of its own
		return
	}
	cmd.Version = version
	cmd.Flags().Bool("version", false, "print the version")
	if err := cmd.Flags().MarkHidden("version"); err != nil {
		panic(err) // the flag was just made
	}
	for _, c := range cmd.Commands() {
		versioned(c, version)
	}
}

// group is a command that only holds others, and shows its help when none is named.
func group(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, SuggestionsMinimumDistance: 2,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

func unknownCommand(cmd *cobra.Command, name string) error {
	hint := ""
	if near := slices.Sorted(slices.Values(cmd.SuggestionsFor(name))); len(near) > 0 {
		hint = ", did you mean " + strings.Join(near, " or ") + "?"
	}
	return usagef("%s has no command %q%s", cmd.CommandPath(), name, hint)
}

// newHelp is cobra's help command, except that an unknown topic is an error.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND...]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(about, args[len(args)-max(1, len(rest))])
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
}

// exactly, atLeastOne and atMostOne are cobra's argument checks with a usage error that says what
// is expected.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("%s takes %s", cmd.CommandPath(), what)
		}
		return nil
	}
}

func atLeastOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("%s takes %s", cmd.CommandPath(), what)
		}
		return nil
	}
}

func atMostOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usagef("%s takes %s at most", cmd.CommandPath(), what)
		}
		return nil
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
	}
	return nil
}
