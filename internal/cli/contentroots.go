package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/node/content"
	"github.com/waybill-network/waybill/node/content/remote"
	"github.com/waybill-network/waybill/rollup"
)

// onRoots is a command that does one thing to some contents, and says so.
func onRoots(verb remote.Verb, short, long, done string) *cobra.Command {
	cmd := &cobra.Command{Use: string(verb) + " ROOT...", Short: short, Long: long}
	forRoots(cmd, done, func(s remote.Store, root rollup.Hash) error {
		return s.Do(cmd.Context(), verb, root)
	})
	return cmd
}

// forRoots gives a command what it does to each of the roots that follow it.
func forRoots(cmd *cobra.Command, done string, do func(remote.Store, rollup.Hash) error) {
	cmd.Args = atLeastOne("one or more roots")
	with := storeFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		roots, err := parseRoots(args)
		if err != nil {
			return err
		}
		return with(cmd.Context(), func(s remote.Store) error {
			for _, root := range roots {
				if err := do(s, root); err != nil {
					return err
				}
				if !*asJSON {
					fmt.Fprintf(cmd.OutOrStdout(), "%s %v\n", done, root)
				}
			}
			if *asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]any{done: roots})
			}
			return nil
		})
	}
}

func contentRemove() *cobra.Command {
	return onRoots(remote.Remove, "Remove contents; pinned ones are refused",
		"Removes contents. A node that runs delivers to the end what is on its way.", "removed")
}

func contentPurge() *cobra.Command {
	return onRoots(remote.Purge, "Remove contents even if they are pinned",
		`Removes contents, and their pins, because their owner or a court asked for it. A node
that runs ends deliveries of them that are under way. So that they do not come back
with the next request, put their roots on the deny list (setting content.deny): a
running node reads it within seconds.`, "purged")
}

func contentPin(pin bool) *cobra.Command {
	if !pin {
		return onRoots(remote.Unpin, "Let contents make room again", "", "unpinned")
	}
	return onRoots(remote.Pin, "Keep contents, however long nobody asks for them", "", "pinned")
}

const payersHelp = "have it only clients of these `accounts`, by index, such as 4,7"

func parsePayers(text string) ([]uint32, error) {
	payers, err := content.ParsePayers(text)
	if err != nil {
		return nil, usagef("--payers %q: want indices of accounts, such as 4,7: 'waybill wallet' "+
			"shows them", text)
	}
	return payers, nil
}

func contentPrivate() *cobra.Command {
	var text string
	var payers []uint32
	cmd := &cobra.Command{
		Use:   "private --payers ACCOUNTS ROOT...",
		Short: "Give contents only to clients of certain payers",
		Long: `Says of which payers the clients may have contents, in place of what was said before.
A client shows whose it is by the session that it opens with its key. All others get
401 or 403 in words that do not tell whether the content is here; nothing is fetched
for them, and what they are being sent ends. The store need not have the content yet.

It holds for this node: say it on each that has the content, and keep the content's
origin from the public, too. Manifests stay public, with path, size and root.`,
		Example: "  waybill content private --home net/node0 --payers 4,7 2d1f…",
	}
	cmd.Flags().StringVar(&text, "payers", "", payersHelp)
	_ = cmd.MarkFlagRequired("payers") // it is there
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		payers, err = parsePayers(text)
		return err
	}
	forRoots(cmd, "private", func(s remote.Store, root rollup.Hash) error {
		return s.SetPrivate(cmd.Context(), root, payers)
	})
	return cmd
}

func contentPublic() *cobra.Command {
	cmd := &cobra.Command{Use: "public ROOT...", Short: "Give contents to everybody again"}
	forRoots(cmd, "public", func(s remote.Store, root rollup.Hash) error {
		return s.SetPrivate(cmd.Context(), root, nil)
	})
	return cmd
}
