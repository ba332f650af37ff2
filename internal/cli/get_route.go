package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// routed is a candidate as waybill get --route shows it.
type routed struct {
	Node  uint32      `json:"node"`
	Key   rollup.Hash `json:"key"`
	URL   string      `json:"url"`
	Stake uint64      `json:"stake"`
	// Micros is how long the answer to a small question took, on a connection that was there.
	Micros int64  `json:"micros"`
	Error  string `json:"error,omitempty"`
}

// directory finds nodes by the list that the committee signed.
func (f *getFlags) directory(genesis *ledger.Genesis, book *client.Book, terms *client.Terms,
) (*client.Directory, error) {
	d, err := client.NewDirectory(client.DirectoryConfig{Genesis: genesis.Encode(), Ask: f.ask,
		Node: client.Config{Book: book, Terms: terms}})
	if err != nil {
		return nil, usagef("--ask: %w", err)
	}
	return d, nil
}

// showRoute prints the candidates of a content.
func (f *getFlags) showRoute(cmd *cobra.Command, ref string, asJSON bool) error {
	root, err := client.ParseContent(ref)
	if err != nil {
		return usagef("%w", err)
	}
	if len(f.ask) == 0 {
		return usagef("--route takes --ask")
	}
	genesis, err := readGenesis(f.genesis)
	if err != nil {
		return err
	}
	d, err := f.directory(genesis, client.MemoryBook(), nil)
	if err != nil {
		return err
	}
	defer d.Close()
	candidates, err := d.Candidates(cmd.Context(), root)
	if err != nil {
		return err
	}
	list := measured(cmd.Context(), candidates)
	if asJSON {
		return printJSON(cmd.OutOrStdout(), list)
	}
	rows := make([][]string, len(list))
	for i, c := range list {
		answer := cmp.Or(c.Error, fmt.Sprintf("%.1f ms", float64(c.Micros)/1000))
		rows[i] = []string{fmt.Sprint(i + 1), fmt.Sprint(c.Node), text.Line(c.URL),
			text.Credits(c.Stake), text.Line(answer)}
	}
	text.Table(cmd.OutOrStdout(), []string{">place", ">node", "URL", ">stake", ">answers in"}, rows)
	return nil
}

// measured asks each candidate something small, twice: the second question finds a connection.
func measured(ctx context.Context, candidates []client.Candidate) []routed {
	list := make([]routed, len(candidates))
	var group sync.WaitGroup
	for i, c := range candidates {
		list[i] = routed{Node: c.Pin.Node, Key: c.Pin.Key, URL: c.URL, Stake: c.Stake}
		group.Go(func() {
			took, err := ping(ctx, &c)
			if list[i].Micros = took.Microseconds(); err != nil {
				list[i].Error = err.Error()
			}
		})
	}
	group.Wait()
	return list
}

func ping(ctx context.Context, at *client.Candidate) (took time.Duration, err error) {
	c, err := client.New(client.Config{URL: at.URL, Pin: &at.Pin})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for range 2 {
		if took, err = c.Ping(ctx); err != nil {
			var node *client.NodeError
			if errors.As(err, &node) {
				err = node.Err // the table names the node
			}
			return 0, err
		}
	}
	return took, nil
}
