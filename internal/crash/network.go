//go:build linux

package crash

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/rollup"
)

// Serving is how many of a network's nodes take acks; they come first.
const Serving = 2

// poll is how often what is waited for is asked for.
const poll = 50 * time.Millisecond

// Network is some nodes, each a process, and a connection to each.
type Network struct {
	*homes.Network
	ID        rollup.Network
	Processes []*Process
	Clients   []*client.Client
	Deserved  []string // complaints that contain one of these are no failure

	terms *client.Terms // that committees handed over; nil where the committee stays
	wires *wires        // between the nodes; nil when all share this machine's network

	signers map[rollup.WindowKey][]uint32 // nodes, of ordered rollups
}

// Binary returns the program under test; it skips the test when there is none.
func Binary(t testing.TB) string {
	binary := os.Getenv("WAYBILL")
	if binary == "" {
		if os.Getenv("REQUIRE_WAYBILL") != "" {
			t.Fatal("WAYBILL does not name the program to test")
		}
		t.Skip("WAYBILL does not name the program to test; make crash does")
	}
	return binary
}

// Start writes a network of four nodes, or as many as the options say, starts them and waits until
// all answer. It is torn down with the test.
func Start(ctx context.Context, t testing.TB, o homes.Options) *Network {
	t.Helper()
	return start(ctx, t, o, nil)
}

// start is Start for nodes in namespaces of their own, unless wires is nil.
func start(ctx context.Context, t testing.TB, o homes.Options, w *wires) *Network {
	t.Helper()
	binary := Binary(t)
	o.Dir, o.Nodes, o.Serving = t.TempDir(), cmp.Or(o.Nodes, 4), Serving
	o.GenesisTime = time.Now()
	configure := o.Configure
	o.Configure = func(i int, c *config.Config) {
		c.Store.MinFree = 0 // of a disk that others use too
		if configure != nil {
			configure(i, c)
		}
	}
	written, err := homes.Write(o)
	if err != nil {
		t.Fatal(err)
	}
	n := &Network{Network: written, ID: written.Genesis.Network(), wires: w}
	if o.Seats > 0 {
		if n.terms, err = client.OpenTerms(written.Genesis.Encode(), n.ID, ""); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { n.close(t) })
	for i, node := range written.Nodes {
		p := &Process{Node: node, binary: binary,
			log: filepath.Join(written.Dir, "node"+strconv.Itoa(i)+".log")}
		if w != nil {
			p.within = w.within(i)
		}
		n.Processes = append(n.Processes, p)
		client, err := client.New(client.Config{URL: node.Ingest, Backoff: poll})
		if err != nil {
			t.Fatal(err)
		}
		n.Clients = append(n.Clients, client)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n.Processes {
		if err := n.Ready(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// Stop asks all nodes to stop, and requires that they do so in good order.
func (n *Network) Stop(ctx context.Context, t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for i, p := range n.Processes {
		all.Go(func() {
			if err := p.Terminate(ctx); err != nil {
				t.Errorf("node %d, asked to stop: %v", i, err)
			}
		})
	}
	all.Wait()
}

func (n *Network) close(t testing.TB) {
	for i, p := range n.Processes {
		if err := p.Err(); err != nil {
			t.Error(err)
		}
		p.Kill()
		for _, line := range p.Complaints() {
			if !slices.ContainsFunc(n.Deserved,
				func(text string) bool { return strings.Contains(line, text) }) {
				t.Errorf("node %d complained: %s", i, line)
			}
		}
		if i < len(n.Clients) {
			n.Clients[i].Close()
		}
		if t.Failed() {
			t.Logf("%s, the end of its log:\n%s", filepath.Base(p.Node.Home), p.LogTail(40))
		}
	}
}

// Ready waits until a node answers and has executed a block.
func (n *Network) Ready(ctx context.Context, i int) error {
	return n.await(ctx, fmt.Sprintf("node %d", i), func() (bool, error) {
		status, err := n.Status(ctx, i)
		return err == nil && status.Height > 0, err
	})
}

// Alive returns an error when a node ended by itself.
func (n *Network) Alive() error {
	var errs []error
	for _, p := range n.Processes {
		errs = append(errs, p.Err())
	}
	return errors.Join(errs...)
}

// errNotYet is an error of what is waited for that passes.
var errNotYet = errors.New("not yet")

// await asks until done answers true. Errors that may pass count as not yet; the last one is told
// when time is over.
func (n *Network) await(ctx context.Context, what string, done func() (bool, error)) error {
	var last error
	for {
		ok, err := done()
		switch {
		case ok:
			return nil
		case err != nil && ctx.Err() == nil && !passes(err):
			return fmt.Errorf("%s: %w", what, err)
		case err != nil:
			last = err
		}
		if err := n.Alive(); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; last: %v", what, context.Cause(ctx), last)
		}
	}
}

func passes(err error) bool {
	return client.Temporary(err) || client.NotReady(err) || client.NotFound(err) ||
		errors.Is(err, errNotYet)
}

// Pin is what clients know of a node before they sign for it.
func (n *Network) Pin(i int) *client.Pin {
	return &client.Pin{Network: n.ID, Node: uint32(i), Key: n.Genesis.Members[i].TransportKey}
}

// Status asks a node for its state.
func (n *Network) Status(ctx context.Context, i int) (*api.GetStatusResponse, error) {
	return client.Call(ctx, n.Clients[i].Ledger().GetStatus, &api.GetStatusRequest{})
}

// Account asks a node for an account by its index.
func (n *Network) Account(ctx context.Context, node int, index uint32,
) (*api.GetAccountResponse, error) {
	return client.Call(ctx, n.Clients[node].Ledger().GetAccount,
		&api.GetAccountRequest{By: &api.GetAccountRequest_Index{Index: index}})
}

// Balances returns all the money of each account as a node knows it: its balance, its reserve, what
// is committed, and what thaws.
func (n *Network) Balances(ctx context.Context, node int) ([]uint64, error) {
	var balances []uint64
	for {
		account, err := n.Account(ctx, node, uint32(len(balances)))
		if client.NotFound(err) {
			return balances, nil
		}
		if err != nil {
			return nil, err
		}
		balances = append(balances,
			account.Balance+account.Reserve+account.Committed+account.Thawing)
	}
}
