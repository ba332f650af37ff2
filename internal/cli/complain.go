package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/word"
)

func newComplain() *cobra.Command {
	var genesisFile, network, url, out string
	cmd := &cobra.Command{
		Use:   "complain --genesis FILE BOOK [ROLLUP...]",
		Short: "Show that a node lied to a client, in files that anybody checks",
		Long: `Holds what a node said to the clients of a program, as the program's book has it,
against rollups of that node. The book is read as it lies there; the program may
have it open meanwhile.

A node signs its answers to acks, and what it offers clients to co-sign. Two lies
show in that. One is an ack that the node refused for good, and bills: that takes
the node's signed answer, which the book keeps, and the rollup which has the ack.
The other is one window that it offered twice, in two ways: both offers are in the
book, and any rollup of the node says whose key signed them.

Rollups are files of 'waybill export rollup', or come from a node with --node. Each
lie becomes a file of at most 4 KiB, which 'waybill verify' takes. Without rollups
the command says what the book has.

Exit code 0 when everything could be read and every rollup holds, whether or not a
lie was found.`,
		Example: "  waybill complain --genesis genesis.json acks.book rollup-3.wbx\n" +
			"  waybill complain --genesis genesis.json acks.book --node http://node:7400",
		Args: atLeastOne("a book, and rollups"),
	}
	cmd.Flags().StringVarP(&genesisFile, "genesis", "g", "genesis.json",
		"the network's genesis `file`")
	networkFlag(cmd, &network)
	cmd.Flags().StringVar(&url, "node", "", "`URL` of the client port of a node that keeps rollups "+
		"of the liar: any member may")
	cmd.Flags().StringVarP(&out, "out", "o", ".", "write files into this `folder`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		genesis, err := readGenesis(genesisFile)
		if err != nil {
			return err
		}
		if err := isNetwork(genesis, genesisFile, network); err != nil {
			return err
		}
		book, err := client.ReadBook(args[0])
		if err != nil {
			return err
		}
		trust := export.TrustOf(genesis)
		trust.Proofs, trust.Workers = verifier.OfKey, runtime.GOMAXPROCS(0)
		c := &complaint{book: book, trust: trust, folder: out, out: cmd.OutOrStdout(),
			written: make(map[string]bool)}
		c.announce()
		for _, name := range args[1:] {
			file, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			if err := c.hold(name, file); err != nil {
				return err
			}
		}
		if url != "" {
			if err := c.fetch(cmd.Context(), url); err != nil {
				return err
			}
		}
		if c.rollups > 0 && len(c.written) == 0 {
			fmt.Fprintf(c.out, "No lie shows in %s.\n", text.Plural(c.rollups, "rollup"))
		}
		return nil
	}
	return cmd
}

// complaint is a book that is held against rollups.
type complaint struct {
	book    *client.Book
	trust   *export.Trust
	folder  string
	out     io.Writer
	rollups int
	written map[string]bool
}

// announce says what the book has, and how to get what it is held against.
func (c *complaint) announce() {
	refusals, dropped := c.book.Refusals()
	twice := c.book.OfferedTwice()
	for _, r := range refusals {
		fmt.Fprintf(c.out, "Node %d refused %s of epoch %d for good ('waybill export rollup %d %d "+
			"WINDOW').\n", r.Pin.Node, text.Plural(r.Acks, "ack"), r.Epoch, r.Pin.Node, r.Epoch)
	}
	for _, w := range twice {
		fmt.Fprintf(c.out, "Node %d offered window %d of epoch %d twice, in two ways.\n", w.Node,
			w.Window, w.Epoch)
	}
	if dropped > 0 {
		fmt.Fprintf(c.out, "The book has let go of %s, to keep the newest.\n",
			text.Plural(int(dropped), "older refusal"))
	}
	if len(refusals)+len(twice) == 0 {
		fmt.Fprintln(c.out, "The book has nothing that could convict a node.")
	}
}

// hold holds a rollup against the book, and writes a file for each lie.
func (c *complaint) hold(name string, file []byte) error {
	report, err := export.Verify(file, c.trust)
	if err != nil {
		return fmt.Errorf("%s does not hold: %w", name, err)
	}
	r, ok := report.File.(*export.Rollup)
	if !ok {
		return fmt.Errorf("%s is no rollup: %s", name, report.Type)
	}
	c.rollups++
	for _, lie := range c.book.Complain(r) {
		name := filepath.Join(c.folder, lieName(lie.Evidence))
		if c.written[name] {
			continue
		}
		shown, err := export.Verify(lie.Append(nil), c.trust)
		if err != nil {
			return fmt.Errorf("a lie that does not show: %w", err)
		}
		if err := os.MkdirAll(c.folder, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, lie.Append(nil), 0o644); err != nil {
			return err
		}
		c.written[name] = true
		fmt.Fprintf(c.out, "%s: %s\n", name, shown.Summary())
	}
	return nil
}

// lieName names the file of a lie.
func lieName(e word.Evidence) string {
	switch e := e.(type) {
	case *word.Refused:
		ack := rollup.Frame(e.Ack[:])
		return fmt.Sprintf("lie-16-node-%d-epoch-%d-client-%d-service-%d-number-%d.wbx", ack.Node(),
			ack.Epoch(), ack.Client(), ack.Service(), ack.Number())
	case *word.TwoOffers:
		return fmt.Sprintf("lie-17-node-%d-epoch-%d-window-%d.wbx", e.Node, e.Epoch, e.Window)
	}
	return fmt.Sprintf("lie-%d.wbx", uint8(e.Lie()))
}

// fetch gets the rollups that the book asks for from a node, the newest that it keeps.
func (c *complaint) fetch(ctx context.Context, url string) error {
	node, err := client.New(client.Config{URL: url})
	if err != nil {
		return usagef("--node: %w", err)
	}
	defer node.Close()
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	list, err := client.Call(ctx, node.Ledger().ListRollups, &api.ListRollupsRequest{Count: 1024})
	if err != nil {
		return node.Explain(err)
	}
	for _, r := range list.Rollups {
		if !c.asksFor(r) {
			continue
		}
		res, err := client.Call(ctx, node.Ledger().ExportRollup, &api.ExportRollupRequest{
			Node: r.Node, Epoch: r.Epoch, Window: r.Window})
		if client.NotFound(err) || client.NotReady(err) {
			fmt.Fprintf(c.out, "Window %d of epoch %d of node %d is not exported: %v\n", r.Window,
				r.Epoch, r.Node, node.Explain(err))
			continue
		}
		if err != nil {
			return node.Explain(err)
		}
		name := fmt.Sprintf("window %d of epoch %d of node %d", r.Window, r.Epoch, r.Node)
		if err := c.hold(name, res.File); err != nil {
			return err
		}
	}
	return nil
}

// asksFor reports whether a rollup may show a lie.
func (c *complaint) asksFor(r *api.Rollup) bool {
	refusals, _ := c.book.Refusals()
	return slices.ContainsFunc(refusals, func(x client.Refusals) bool {
		return x.Pin.Node == r.Node && x.Epoch == r.Epoch
	}) || slices.ContainsFunc(c.book.OfferedTwice(), func(w rollup.WindowKey) bool {
		return w.Node == r.Node
	})
}
