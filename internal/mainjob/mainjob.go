// Package mainjob does what the network is for, once, and holds the outcome against the clients'
// own books: it registers payers, services and clients, delivers a workload over two epochs, waits
// for the settlements and the proofs, reconciles, exports files, and verifies them offline.
//
// Files: source.go is the workload; deliver.go registers and delivers, for a replay without a job
// too; settle.go waits for the settlements; reconcile.go compares them with the books, for the
// crash tests too; rungs.go counts how acks are shown; export.go exports and verifies; result.go is
// what came out, as text, as JSON, and as a verdict; guard.go ends a job that stands still.
package mainjob

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/homes"
)

// What the job's parties have and cost: deposits cover the charges of any sensible log, except that
// one payer in the table may run out when the log is large, which then shows as arrears.
const (
	Deposit = 1_000_000_000 // micro-credits a payer
	Price   = 50_000        // micro-credits per 2^20 bytes
	Rung1   = 20            // percent of the clients stay on rung 1
)

// Config is a network that runs, and what to do on it.
type Config struct {
	Network  *homes.Network
	Nodes    []*node.Node // all of the network's
	Serving  int          // how many of the nodes, from the first, take acks
	Proving  bool         // the first node proves, and no other
	Workload Source
	Rung1    int       // percentage of the clients that do not co-sign
	Exports  string    // folder for exported files; empty: one in the network's folder
	Progress io.Writer // what happens meanwhile, for people
	Guard    *Guard    // is told what the job does
}

// job is the main job on its way.
type job struct {
	Config
	crowd
	client *client.Client

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
	found, err := j.register(ctx)
	if err != nil {
		return nil, err
	}
	j.Guard.Enter("deliver acks")
	if err := j.deliver(ctx, found.requests); err != nil {
		return nil, err
	}
	j.Guard.Enter("settle what was accepted")
	result, err := j.settle(ctx, found)
	if err != nil {
		return nil, err
	}
	j.Guard.Enter("prove what clients have co-signed")
	if err := j.rungs(ctx, result); err != nil {
		return nil, err
	}
	j.Guard.Enter("export and verify")
	return result, j.export(ctx, result)
}

// state is what moves while the job does: the registry, the clients' books, the settlements seen.
// Blocks and epochs do not count, since a chain goes on without the job.
func (j *job) state() string {
	view, p := j.Nodes[0].View(), j.replay.Progress()
	proofs, _ := j.proofs()
	return fmt.Sprintf("%d accounts, %d services, %d clients registered; "+
		"%d acks received, %d accepted, %d refused; %d epochs settled; %d proofs made",
		view.Accounts(), view.Services(), view.Clients(),
		p.Received, p.Accepted, p.Refused, j.settled.Load(), proofs)
}

func (j *job) prepare(ctx context.Context) (err error) {
	seed := make([]byte, 32)
	rand.Read(seed) // never fails
	nodes := j.Network.Nodes
	var urls []string
	for i := range j.Serving {
		urls = append(urls, nodes[i].Ingest)
	}
	fmt.Fprintf(j.Progress, "A committee of %d runs, %d serve clients. Dashboards:", len(nodes),
		j.Serving)
	for _, n := range nodes {
		fmt.Fprintf(j.Progress, " %s", n.Operator)
	}
	fmt.Fprintf(j.Progress, "\nWorkload: %s\n", text.Line(j.Workload.what))
	if j.client, err = client.New(client.Config{URL: nodes[0].Ingest}); err != nil {
		return err
	}
	r, err := replay.New(ctx, replay.Config{
		Genesis: j.Network.Genesis, Nodes: urls, Treasury: j.Network.Treasury, Seed: seed,
		Deposit: Deposit, Price: Price, Rung1: j.Rung1,
		Evidence: filepath.Join(j.Network.Dir, "offers"),
	})
	if err != nil {
		return err
	}
	j.crowd = crowd{r, j.Workload, j.Progress}
	j.Guard.Observe(j.state)
	return nil
}
