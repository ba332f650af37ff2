package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/node/testnet"
	"github.com/waybill-network/waybill/rollup"
)

// What the job's parties have and cost: deposits cover the charges of any sensible log, except that one payer in the
// table may run out when the log is large, which then shows as arrears.
const (
	jobDeposit = 1_000_000_000 // micro-credits a payer
	jobPrice   = 50_000        // micro-credits per 2^20 bytes
	jobRung1   = 20            // percent of the clients stay on rung 1
)

// job is the main job on a devnet.
type job struct {
	f      *devnetFlags
	net    *testnet.Network
	nodes  []*node.Node
	guard  *guard
	out    io.Writer // results
	errOut io.Writer // progress
	replay *replay.Replay
	client *ingest.Client
	source source

	clients int
	settled atomic.Uint32 // epochs
}

// source opens the workload; it is read more than once.
type source struct {
	what string
	open func() (iter.Seq2[workload.Delivery, error], func() error, error)
}

// source finds out early that a log cannot be read.
func (f *devnetFlags) source() (source, error) {
	if f.log == "" {
		g := workload.Generator{Seed: f.seed, Requests: f.requests}
		return source{fmt.Sprintf("%s generated with seed %d", plural(uint64(f.requests), "request"), f.seed),
			func() (iter.Seq2[workload.Delivery, error], func() error, error) {
				return g.Deliveries(), func() error { return nil }, nil
			}}, nil
	}
	r, err := workload.Open(f.log)
	if err != nil {
		return source{}, fmt.Errorf("access log: %w", err)
	}
	return source{f.log, func() (iter.Seq2[workload.Delivery, error], func() error, error) {
		r, err := workload.Open(f.log)
		if err != nil {
			return nil, nil, err
		}
		return workload.ReadLog(r), r.Close, nil
	}}, r.Close()
}

// each yields the deliveries from index from up to to. Lines that are no requests are counted in bad; err is the first
// failure to read.
func (s source) each(from, to int, bad *int, err *error) iter.Seq[workload.Delivery] {
	return func(yield func(workload.Delivery) bool) {
		deliveries, done, e := s.open()
		if e != nil {
			*err = e
			return
		}
		defer func() { *err = errors.Join(*err, done()) }()
		i := 0
		for d, e := range deliveries {
			var line *workload.LineError
			switch {
			case errors.As(e, &line):
				*bad++
				continue
			case e != nil:
				*err = e
				return
			}
			if i >= to || i >= from && !yield(d) {
				return
			}
			i++
		}
	}
}

func (j *job) run(ctx context.Context, asJSON bool) error {
	started := time.Now()
	if err := j.prepare(ctx); err != nil {
		return err
	}
	defer j.replay.Close()
	defer j.client.Close()
	j.guard.enter("register payers, services and clients")
	total, bad, err := j.register(ctx)
	if err != nil {
		return j.client.Explain(err)
	}
	j.guard.enter("deliver acks")
	if err := j.deliver(ctx, total); err != nil {
		return j.client.Explain(err)
	}
	j.guard.enter("settle what was accepted")
	result, err := j.settle(ctx)
	if err != nil {
		return j.client.Explain(err)
	}
	result.Requests, result.BadLines = total, bad
	j.guard.enter("prove what clients have co-signed")
	if err := j.rungs(ctx, result); err != nil {
		return j.client.Explain(err)
	}
	j.guard.enter("export and verify")
	if err := j.verify(ctx, result); err != nil {
		return j.client.Explain(err)
	}
	result.Seconds = time.Since(started).Seconds()
	if asJSON {
		if err := printJSON(j.out, result); err != nil {
			return err
		}
	} else {
		result.print(j.out)
	}
	return result.check()
}

// state is what moves while the job does: the registry, the clients' books, the settlements seen. Blocks and epochs do not
// count, since a chain goes on without the job.
func (j *job) state() string {
	view, p := j.nodes[0].View(), j.replay.Progress()
	proofs, _ := j.proofs()
	return fmt.Sprintf("%d accounts, %d services, %d clients registered; %d acks received, %d accepted, %d refused; %d epochs settled; %d proofs made",
		view.Accounts(), view.Services(), view.Clients(), p.Received, p.Accepted, p.Refused, j.settled.Load(), proofs)
}

func (j *job) prepare(ctx context.Context) (err error) {
	seed := make([]byte, 32)
	rand.Read(seed) // never fails
	var urls []string
	for i := range j.f.serving {
		urls = append(urls, j.net.Nodes[i].Ingest)
	}
	fmt.Fprintf(j.errOut, "A committee of %d runs, %d serve clients. Dashboards:", j.f.nodes, j.f.serving)
	for _, n := range j.net.Nodes {
		fmt.Fprintf(j.errOut, " %s", n.Operator)
	}
	fmt.Fprintf(j.errOut, "\nWorkload: %s\n", j.source.what)
	if j.client, err = ingest.NewClient(ingest.ClientConfig{URL: j.net.Nodes[0].Ingest}); err != nil {
		return err
	}
	j.replay, err = replay.New(ctx, replay.Config{Network: j.net.Genesis.Network(), Nodes: urls, Treasury: j.net.Treasury, Seed: seed,
		Deposit: jobDeposit, Price: jobPrice, Rung1: j.f.rung1, Evidence: filepath.Join(j.net.Dir, "offers")})
	if err == nil {
		j.guard.observe(j.state)
	}
	return err
}

func (j *job) register(ctx context.Context) (total, bad int, err error) {
	bar := newProgress(j.errOut, "register", "clients")
	count := func(yield func(workload.Delivery) bool) {
		for d := range j.source.each(0, int(^uint(0)>>1), &bad, &err) {
			total++
			if !yield(d) {
				return
			}
		}
	}
	parties, e := j.replay.Register(ctx, count, func(done, total int) { bar.set(done, total, "") })
	if err = errors.Join(err, e); err != nil {
		bar.end("")
		return 0, 0, err
	}
	j.clients = int(parties.Clients)
	if total == 0 {
		bar.end("")
		return 0, 0, fmt.Errorf("%s: no requests", j.source.what)
	}
	bar.end(fmt.Sprintf("%d payers, %d services, %s with proofs of possession", parties.Payers, parties.Services, plural(uint64(parties.Clients), "client")))
	return total, bad, nil
}

// deliver submits one half of the workload in the current epoch and the other half in a later one.
func (j *job) deliver(ctx context.Context, total int) error {
	first, err := j.epoch(ctx)
	if err != nil {
		return err
	}
	bar := newProgress(j.errOut, "deliver", "acks")
	stop := bar.follow(func() (int, int, string) {
		p := j.replay.Progress()
		return int(p.Accepted + p.Refused), total, fmt.Sprintf("%s accepted, %s refused", grouped(p.Accepted), grouped(p.Refused))
	})
	defer stop()
	half := func(from, to int) error {
		var bad int
		var readErr error
		return errors.Join(j.replay.Deliver(ctx, j.source.each(from, to, &bad, &readErr)), readErr)
	}
	if err := half(0, (total+1)/2); err != nil {
		return err
	}
	for {
		now, err := j.epoch(ctx)
		if err != nil {
			return err
		}
		if now > first {
			break
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	if err := half((total+1)/2, total); err != nil {
		return err
	}
	stop()
	t := j.replay.Tally()
	bar.end(fmt.Sprintf("%s accepted, %s refused", plural(t.Accepted, "ack"), grouped(t.Received-t.Accepted)))
	return nil
}

func (j *job) epoch(ctx context.Context) (uint32, error) {
	s, err := ingest.Call(ctx, j.client.Ledger().GetStatus, &api.GetStatusRequest{})
	if err != nil {
		return 0, err
	}
	return s.Epoch, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settle waits until everything accepted is in a certified settlement, for three epochs at most.
func (j *job) settle(ctx context.Context) (*jobResult, error) {
	t := j.replay.Tally()
	r := &jobResult{replayResult: newReplayResult(0, 0, t), want: j.f.wanted(j.clients)}
	bar := newProgress(j.errOut, "settle", "acks")
	defer bar.end("")
	last, err := j.epoch(ctx)
	if err != nil {
		return nil, err
	}
	for epoch := uint32(0); ; {
		s, err := j.settlement(ctx, epoch)
		switch {
		case err == nil && s.Certified:
			r.add(s)
			epoch++
			j.settled.Store(epoch)
		case err != nil && !ingest.NotReady(err):
			return nil, err
		default:
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return nil, err
			}
		}
		bar.set(int(r.Settled), int(r.Accepted), fmt.Sprintf("%d epochs", epoch))
		if r.Settled >= r.Accepted && epoch >= 2 || epoch > last+3 {
			break
		}
	}
	bar.end(fmt.Sprintf("%s in %d epochs", plural(r.Settled, "ack"), len(r.Epochs)))
	r.names(j.replay)
	r.reconcile(t)
	return r, j.cosigned()
}

// cosigned is an error when a client refused an offer, for the nodes are honest, or could not follow offers.
func (j *job) cosigned() error {
	did, err := j.replay.Cosigned()
	for reason, n := range did.Refused {
		if reason != ingest.ReasonDeclined {
			err = errors.Join(err, fmt.Errorf("%s refused to co-sign: %v", plural(n, "client"), reason))
		}
	}
	return err
}

// settlement asks for the rows of an epoch page by page.
func (j *job) settlement(ctx context.Context, epoch uint32) (*api.GetSettlementResponse, error) {
	all, err := ingest.Call(ctx, j.client.Ledger().GetSettlement, &api.GetSettlementRequest{Epoch: epoch})
	for err == nil && len(all.Rows) < int(all.Total) {
		var next *api.GetSettlementResponse
		if next, err = ingest.Call(ctx, j.client.Ledger().GetSettlement, &api.GetSettlementRequest{Epoch: epoch, From: uint32(len(all.Rows))}); err == nil {
			if len(next.Rows) == 0 {
				return nil, fmt.Errorf("epoch %d: %d of %d rows", epoch, len(all.Rows), all.Total)
			}
			all.Rows = append(all.Rows, next.Rows...)
		}
	}
	return all, err
}

// verify exports the settlements (and a rollup and an ack, when asked for files) and checks them as anyone could.
func (j *job) verify(ctx context.Context, r *jobResult) error {
	dir := j.f.exports
	if dir == "" {
		dir = filepath.Join(j.net.Dir, "exports")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	save := func(name string, res *api.ExportResponse, err error) error {
		if err != nil {
			return fmt.Errorf("export %s: %w", name, err)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, res.File, 0o644); err != nil {
			return err
		}
		r.Verified = append(r.Verified, verifyFile(j.net.Genesis, file))
		return nil
	}
	if err := os.WriteFile(filepath.Join(dir, testnet.GenesisFile), j.net.Genesis.Encode(), 0o644); err != nil {
		return err
	}
	lc := j.client.Ledger()
	for _, e := range r.Epochs {
		res, err := ingest.Call(ctx, lc.ExportSettlement, &api.ExportSettlementRequest{Epoch: e.Epoch})
		if err := save(fmt.Sprintf("settlement-%d.wbx", e.Epoch), res, err); err != nil {
			return err
		}
	}
	ack := j.replay.Tally().Sample
	if ack == nil {
		return nil
	}
	// Of acks under statements only the node has all that took them.
	own, err := ingest.NewClient(ingest.ClientConfig{URL: j.net.Nodes[ack.Node].Ingest})
	if err != nil {
		return err
	}
	defer own.Close()
	res, err := once(ctx, func() (*api.ExportResponse, error) {
		return ingest.Call(ctx, own.Ledger().ExportAck, &api.ExportAckRequest{Node: ack.Node, Epoch: ack.Epoch, Window: ack.Window, Client: ack.Client, Seq: ack.Seq})
	})
	if err := save("ack.wbx", res, err); err != nil {
		return err
	}
	res, err = j.exportRollup(ctx, &api.ExportRollupRequest{Node: ack.Node, Epoch: ack.Epoch, Window: ack.Window, Rung: r.besides(ack)})
	if err := save("rollup.wbx", res, err); err != nil {
		return err
	}
	if p := r.proven; p != nil {
		res, err := j.exportRollup(ctx, &api.ExportRollupRequest{Node: p.Node, Epoch: p.Epoch, Window: p.Window, Rung: uint32(rollup.RungProof)})
		return save("proof.wbx", res, err)
	}
	return nil
}

// exportRollup asks a rollup's own node.
func (j *job) exportRollup(ctx context.Context, req *api.ExportRollupRequest) (*api.ExportResponse, error) {
	own, err := ingest.NewClient(ingest.ClientConfig{URL: j.net.Nodes[req.Node].Ingest})
	if err != nil {
		return nil, err
	}
	defer own.Close()
	return once(ctx, func() (*api.ExportResponse, error) { return ingest.Call(ctx, own.Ledger().ExportRollup, req) })
}

// once returns the answer to a call, once what it asks for has happened: a node's chain may be a block behind another's.
func once[T any](ctx context.Context, call func() (T, error)) (T, error) {
	for {
		answer, err := call()
		if !ingest.NotReady(err) {
			return answer, err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return answer, err
		}
	}
}
