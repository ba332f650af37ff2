// Package mainjob does what the network is for, once, and holds the outcome against the clients'
// own books: it registers payers, services and clients, has the clients fetch the files of a site
// from nodes that stream them against acks, kills a node in the middle, waits for the settlements
// and the proofs, reconciles, exports files, and verifies them offline.
//
// Files: source.go is the workload, site.go the files that it asks for and their origin; visits.go
// fetches them; nodes.go has the nodes' own books, and the node that is killed; settle.go waits for
// the settlements; reconcile.go compares them with the books, for the crash tests too; rungs.go
// counts how acks are shown; export.go exports and verifies; result.go is what came out, as text,
// as JSON, and as a verdict; guard.go ends a job that stands still; deliver.go is a replay, which
// has acks without content.
package mainjob

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/progress"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/homes"
)

// What the job's parties have and cost: deposits cover the charges of any sensible log.
const (
	Deposit = 1_000_000_000 // micro-credits a payer
	Price   = 50_000        // micro-credits per 2^20 bytes
	Rung1   = 20            // percent of the clients stay on rung 1
)

// Config is a network that runs, and what to do on it.
type Config struct {
	Network  *homes.Network
	Nodes    []*node.Node // of the network, by index; nil for one in another process
	Serving  int          // how many of the nodes, from the first, deliver
	Proving  bool         // the first node proves, and no other
	Site     *Site        // the origin of the nodes
	Victim   *Victim      // is killed in the middle; nil: no node is
	Rung1    int          // percentage of the clients that do not co-sign
	Rotates  uint32       // hand-overs that are waited for; 0: the committee stays
	Exports  string       // folder for exported files; empty: one in the network's folder
	Progress io.Writer    // what happens meanwhile, for people
	Guard    *Guard       // is told what the job does
}

// job is the main job on its way.
type job struct {
	Config
	client   *client.Client
	replay   *replay.Replay
	fetching *fetching
	killed   *Killed
	first    NodeBooks // of the victim, until it was killed

	settled atomic.Uint32 // epochs
}

// Run does the job. An error says that it could not be done; whether the outcome is right says
// Result.Check.
func Run(ctx context.Context, c Config) (*Result, error) {
	j := &job{Config: c}
	started := time.Now()
	if err := j.prepare(ctx); err != nil {
		return nil, err
	}
	defer j.replay.Close()
	defer j.client.Close()
	result, err := j.run(ctx)
	if err != nil {
		return nil, j.client.Explain(err)
	}
	result.Seconds = time.Since(started).Seconds()
	return result, nil
}

func (j *job) run(ctx context.Context) (*Result, error) {
	j.Guard.Enter("register payers, services and clients")
	clients, err := j.register(ctx)
	if err != nil {
		return nil, err
	}
	result := j.newResult(clients)
	j.Guard.Enter("deliver content")
	if err := j.deliver(ctx, result); err != nil {
		return nil, err
	}
	j.Guard.Enter("settle what was accepted")
	if err := j.settle(ctx, result); err != nil {
		return nil, err
	}
	j.Guard.Enter("prove what clients have co-signed")
	if err := j.rungs(ctx, result); err != nil {
		return nil, err
	}
	j.Guard.Enter("read the nodes' books")
	if err := j.books(ctx, result); err != nil {
		return nil, err
	}
	j.Guard.Enter("export and verify")
	return result, j.export(ctx, result)
}

// state is what moves while the job does: the registry, the clients' books, the settlements seen.
// Blocks and epochs do not count, since a chain goes on without the job.
func (j *job) state() string {
	view := j.Nodes[0].View()
	proofs, _ := j.proofs()
	return fmt.Sprintf("%d accounts, %d services, %d clients registered; %s; %d epochs settled; "+
		"%d proofs made", view.Accounts(), view.Services(), view.Clients(), j.fetching.state(),
		j.settled.Load(), proofs)
}

func (j *job) prepare(ctx context.Context) (err error) {
	seed := make([]byte, 32)
	rand.Read(seed) // never fails
	nodes := j.Network.Nodes
	var urls []string
	for i := range j.Serving {
		urls = append(urls, nodes[i].Content)
	}
	fmt.Fprintf(j.Progress, "A committee of %d runs, %d deliver content. Dashboards:", len(nodes),
		j.Serving)
	for _, n := range nodes {
		fmt.Fprintf(j.Progress, " %s", n.Operator)
	}
	fmt.Fprintf(j.Progress, "\nWorkload: %s for %s; their origin has %s, %s\n",
		text.Line(j.Site.what), text.Bytes(j.Site.bytes), text.Plural(len(j.Site.files), "file"),
		text.Bytes(j.Site.stored))
	if j.client, err = client.New(client.Config{URL: nodes[0].Ingest}); err != nil {
		return err
	}
	j.replay, err = replay.New(ctx, replay.Config{
		Genesis: j.Network.Genesis, Nodes: urls, Treasury: j.Network.Treasury, Seed: seed,
		Deposit: Deposit, Price: Price, Rung1: j.Rung1, Patience: patience,
		Evidence: filepath.Join(j.Network.Dir, "offers"),
	})
	if err != nil {
		return err
	}
	j.fetching = newFetching(j.Site, j.replay, j.Progress)
	j.Guard.Observe(j.state)
	return nil
}

// patience is for how long acks wait for a node that was killed.
const patience = time.Minute

// register returns how many clients there are.
func (j *job) register(ctx context.Context) (int, error) {
	bar := progress.New(j.Progress, "register", "clients")
	defer bar.End("")
	shown := func(done, total int) { bar.Set(done, total, "") }
	all := func(yield func(workload.Delivery) bool) {
		for i := range j.Site.requests {
			if !yield(j.Site.requests[i].Delivery) {
				return
			}
		}
	}
	parties, err := j.replay.Register(ctx, all, shown)
	if err == nil {
		err = j.replay.Ready(ctx)
	}
	if err != nil {
		return 0, err
	}
	bar.End(fmt.Sprintf("%d payers, each with a site, and %s by grants of theirs", parties.Payers,
		text.Plural(parties.Clients, "client")))
	return parties.Clients, nil
}

// deliver has the workload fetched: one half in the epoch that runs, the other one in a later one.
func (j *job) deliver(ctx context.Context, r *Result) error {
	f, n := j.fetching, len(j.Site.requests)
	first, err := j.epoch(ctx)
	if err != nil {
		return err
	}
	kill := make(chan struct{})
	f.marks = []mark{{6 * n / 10, func() { close(kill) }}}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	bar := progress.New(j.Progress, "deliver", "requests")
	stop := bar.Follow(f.progress)
	defer stop()
	began := time.Now()
	var beside sync.WaitGroup
	besides := func(do func() error) {
		beside.Go(func() {
			if err := do(); err != nil {
				cancel(err)
			}
		})
	}
	besides(func() error { return j.openGate(ctx, first) })
	over := make(chan struct{})
	besides(func() error {
		for {
			select {
			case <-over:
				return nil
			default:
			}
			if err := j.take(ctx, r); err != nil {
				return err
			}
		}
	})
	if j.Victim != nil {
		besides(func() error { return j.outage(ctx, kill) })
	}
	if err := f.run(ctx); err != nil {
		cancel(err)
	}
	took := time.Since(began)
	close(over)
	beside.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	stop()
	r.Killed = j.killed
	r.fetched(f, took)
	bar.End(fmt.Sprintf("%s served, %s by %s", text.Plural(r.Served, "request"),
		text.Bytes(r.Bytes), text.Plural(r.Acks, "ack")))
	return nil
}

// openGate lets the second half of the visits begin when another epoch runs.
func (j *job) openGate(ctx context.Context, first uint32) error {
	for {
		now, err := j.epoch(ctx)
		if err != nil {
			return err
		}
		if now > first {
			close(j.fetching.gate)
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func (j *job) epoch(ctx context.Context) (uint32, error) {
	s, err := client.Retry(ctx, j.client.Ledger().GetStatus, &api.GetStatusRequest{})
	if err != nil {
		return 0, err
	}
	return s.Epoch, nil
}
