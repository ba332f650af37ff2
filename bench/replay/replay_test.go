package replay_test

import (
	"bytes"
	"context"
	"iter"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/rollup"
)

// network runs one node.
func network(t *testing.T) (*homes.Network, *node.Node) {
	t.Helper()
	net, err := homes.Write(homes.Options{Dir: t.TempDir() + "/net", Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(net.Nodes[0].Config, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := node.LoadIdentity(loaded.Config, []byte(net.Password))
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Start(t.Context(), loaded.Config, id, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	return net, n
}

func configOf(net *homes.Network) replay.Config {
	return replay.Config{
		Genesis:  net.Genesis,
		Nodes:    []string{net.Nodes[0].Ingest},
		Treasury: net.Treasury,
		Seed:     bytes.Repeat([]byte{9}, 32),
		Deposit:  1_000_000,
		Price:    1000,
		Batch:    16,
	}
}

func deliveries(g workload.Generator) iter.Seq[workload.Delivery] {
	return func(yield func(workload.Delivery) bool) {
		for d := range g.Deliveries() {
			if !yield(d) {
				return
			}
		}
	}
}

// run registers and delivers a workload, and holds the books against it.
func run(t *testing.T, cfg replay.Config, g workload.Generator) (replay.Parties, *replay.Tally) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := replay.New(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	clients := 0
	parties, err := r.Register(ctx, deliveries(g), func(done, total int) { clients = done })
	if err != nil {
		t.Fatal(err)
	}
	if clients != parties.Clients || len(r.Payers()) != parties.Payers ||
		len(r.Services()) != parties.Services {
		t.Errorf(
			"%d clients done, %+v, payers %v, services %v",
			clients,
			parties,
			r.Payers(),
			r.Services(),
		)
	}
	if err := r.Deliver(ctx, deliveries(g)); err != nil {
		t.Fatal(err)
	}
	var units, acks uint64
	for d := range deliveries(g) {
		units += d.Units
		acks++
	}
	tally := r.Tally()
	for _, sum := range tally.Accounts {
		units -= sum.Units
		acks -= sum.Acks
	}
	if units != 0 || acks != 0 || tally.Received != uint64(g.Requests) ||
		tally.Accepted != tally.Received ||
		len(tally.Refused) != 0 ||
		tally.Sample == nil {
		t.Errorf("%d units and %d acks are missing in %+v", units, acks, tally)
	}
	if p := r.Progress(); p.Accepted != tally.Accepted || p.Refused != 0 ||
		p.Received != tally.Received {
		t.Errorf("%+v after %+v", p, tally)
	}
	return parties, tally
}

// TestReplay replays twice with one seed: the second run finds its parties registered and signs
// other acks.
func TestReplay(t *testing.T) {
	net, n := network(t)
	g := workload.Generator{Seed: 1, Requests: 60}
	parties, first := run(t, configOf(net), g)
	view := n.View()
	if view.Clients() != uint64(parties.Clients) || view.Services() != parties.Services {
		t.Errorf(
			"registered are %d clients and %d services of %+v",
			view.Clients(),
			view.Services(),
			parties,
		)
	}
	again, second := run(t, configOf(net), g)
	if now := n.View(); again != parties || now.Clients() != view.Clients() ||
		now.Services() != view.Services() ||
		now.Accounts() != view.Accounts() {
		t.Errorf("the second run registered anew: %+v after %+v", again, parties)
	}
	a, b := first.Sample, second.Sample
	if a.Client == b.Client && a.Service == b.Service && a.Epoch == b.Epoch &&
		a.Number == b.Number {
		t.Errorf("both runs used number %d of client %d", a.Number, a.Client)
	}
	// The node must have taken every ack for new: none of the second run's was known.
	for _, a := range n.Snapshot().Pipeline.Answers {
		want := uint64(0)
		if a.Name == rollup.CodeAccepted.String() {
			want = 2 * uint64(g.Requests)
		}
		if a.Count != want {
			t.Errorf("%d acks were answered %s, want %d", a.Count, a.Name, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	net, _ := network(t)
	foreign := *net.Genesis
	foreign.ChainID += "-2"
	for want, spoil := range map[string]func(*replay.Config){
		"no nodes":      func(c *replay.Config) { c.Nodes = nil },
		"fewer than 32": func(c *replay.Config) { c.Seed = c.Seed[:31] },
		"does not answer": func(c *replay.Config) {
			c.Nodes = []string{"http://127.0.0.1:1"}
		},
		"not http://host:port": func(c *replay.Config) {
			c.Nodes = []string{"localhost"}
		},
		", not " + foreign.Network().String(): func(c *replay.Config) { c.Genesis = &foreign },
		"answers, but not as the client port": func(c *replay.Config) {
			c.Nodes = []string{net.Nodes[0].Operator}
		},
	} {
		cfg := configOf(net)
		spoil(&cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := replay.New(ctx, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		cancel()
	}
	cfg := configOf(net)
	cfg.Treasury = nil
	r, err := replay.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	g := workload.Generator{Seed: 1, Requests: 5}
	if _, err := r.Register(t.Context(), deliveries(g), nil); err == nil ||
		!strings.Contains(err.Error(), "treasury") {
		t.Errorf("payers without a treasury: %v", err)
	}
	if err := r.Deliver(t.Context(), deliveries(g)); err == nil ||
		!strings.Contains(err.Error(), "not registered") {
		t.Errorf("deliveries of strangers: %v", err)
	}
}
