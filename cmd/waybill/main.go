// Command waybill runs and operates a node, and verifies what the network signed.
//
// Exit codes: 0 done, 1 failed or does not hold, 2 wrong usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set when the program is linked.
var version = "unknown"

// usageError marks a mistake in how a command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return 0
	case errors.As(err, new(usageError)):
		fmt.Fprintf(os.Stderr, "waybill: %v\nTry 'waybill help'.\n", err)
		return 2
	default:
		fmt.Fprintf(os.Stderr, "waybill: %v\n", err)
		return 1
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "waybill",
		Short: "Provable delivery for edge networks",
		Long: `Waybill makes delivery provable. Clients sign an acknowledgement for what they received; a node verifies,
keeps and rolls up acks window by window; a committee certifies the rollups, and each epoch settles: payers
are debited and nodes rewarded, exactly.

  waybill devnet --job          see it all at work in one process, then verify the result offline
  waybill testnet --dir net     write the folders of a network, start each with: waybill start --home net/node0
  waybill verify FILE           check what a node exported, trusting nothing but the genesis file`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("no command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%s: %w", cmd.CommandPath(), err)}
	})
	root.AddGroup(
		&cobra.Group{ID: "node", Title: "Run a node or a network:"},
		&cobra.Group{ID: "use", Title: "Use a network:"},
		&cobra.Group{ID: "check", Title: "Check and measure:"},
	)
	for group, commands := range map[string][]*cobra.Command{
		"node":  {newInit(), newTestnet(), newStart(), newDevnet(), newKeys()},
		"use":   {newStatus(), newTx(), newReplay(), newExport()},
		"check": {newVerify(), newDoctor(), newBench(), newVersion()},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	return root
}

// exactly and atMost are cobra's argument checks with a usage error that says what is expected.
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

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
	}
	return nil
}
