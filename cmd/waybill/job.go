package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/node/rpc"
	"github.com/waybill-network/waybill/node/testnet"
)

// What the job's parties have and cost: deposits cover the charges of any sensible log, except that one payer in the
// table may run out when the log is large, which then shows as arrears.
const (
	jobDeposit = 1_000_000_000 // micro-credits a payer
	jobPrice   = 50_000        // micro-credits per 2^20 bytes
)

// job is the main job on a devnet.
type job struct {
	f      *devnetFlags
	net    *testnet.Network
	out    io.Writer // results
	errOut io.Writer // progress
	replay *replay.Replay
	client *ingest.Client
	source source
}

// source opens the workload; it is read more than once.
type source struct {
	what string
	open func() (iter.Seq2[workload.Delivery, error], func() error, error)
}

func (f *devnetFlags) source() source {
	if f.log == "" {
		g := workload.Generator{Seed: f.seed, Requests: f.requests}
		return source{fmt.Sprintf("%s generated with seed %d", plural(uint64(f.requests), "request"), f.seed),
			func() (iter.Seq2[workload.Delivery, error], func() error, error) {
				return g.Deliveries(), func() error { return nil }, nil
			}}
	}
	return source{f.log, func() (iter.Seq2[workload.Delivery, error], func() error, error) {
		r, err := workload.Open(f.log)
		if err != nil {
			return nil, nil, err
		}
		return workload.ReadLog(r), r.Close, nil
	}}
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

func runJob(ctx context.Context, f *devnetFlags, net *testnet.Network, out, errOut io.Writer, asJSON bool) error {
	j := &job{f: f, net: net, out: out, errOut: errOut, source: f.source()}
	started := time.Now()
	if err := j.prepare(ctx); err != nil {
		return err
	}
	defer j.replay.Close()
	defer j.client.Close()
	total, bad, err := j.register(ctx)
	if err != nil {
		return err
	}
	if err := j.deliver(ctx, total); err != nil {
		return err
	}
	result, err := j.settle(ctx)
	if err != nil {
		return err
	}
	result.Requests, result.BadLines = total, bad
	if err := j.verify(ctx, result); err != nil {
		return err
	}
	result.Seconds = time.Since(started).Seconds()
	if asJSON {
		if err := printJSON(out, result); err != nil {
			return err
		}
	} else {
		result.print(out)
	}
	return result.check()
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
		Deposit: jobDeposit, Price: jobPrice})
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
	s, err := ingest.Call(ctx, j.client.Ledger().GetStatus, &rpc.GetStatusRequest{})
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
	r := &jobResult{Received: t.Received, Accepted: t.Accepted, Again: t.Again, Refused: map[string]uint64{}}
	for code, n := range t.Refused {
		r.Refused[code.String()] = n
	}
	bar := newProgress(j.errOut, "settle", "acks")
	defer bar.end("")
	last, err := j.epoch(ctx)
	if err != nil {
		return nil, err
	}
	for epoch := uint32(0); ; {
		s, err := ingest.Call(ctx, j.client.Ledger().GetSettlement, &rpc.GetSettlementRequest{Epoch: epoch})
		switch {
		case err == nil && s.Certified:
			r.add(s)
			epoch++
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
	return r, nil
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
	save := func(name string, res *rpc.ExportResponse, err error) error {
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
		res, err := ingest.Call(ctx, lc.ExportSettlement, &rpc.ExportSettlementRequest{Epoch: e.Epoch})
		if err := save(fmt.Sprintf("settlement-%d.wbx", e.Epoch), res, err); err != nil {
			return err
		}
	}
	if ack := j.replay.Tally().Sample; ack != nil {
		res, err := ingest.Call(ctx, lc.ExportAck, &rpc.ExportAckRequest{Node: ack.Node, Epoch: ack.Epoch, Window: ack.Window, Client: ack.Client, Seq: ack.Seq})
		if err := save("ack.wbx", res, err); err != nil {
			return err
		}
		res, err = ingest.Call(ctx, lc.ExportRollup, &rpc.ExportRollupRequest{Node: ack.Node, Epoch: ack.Epoch, Window: ack.Window})
		if err := save("rollup.wbx", res, err); err != nil {
			return err
		}
	}
	return nil
}

// jobResult is what the job found, and its JSON.
type jobResult struct {
	Seconds  float64           `json:"seconds"`
	Requests int               `json:"requests"`
	BadLines int               `json:"bad_lines"`
	Received uint64            `json:"received"`
	Accepted uint64            `json:"accepted"`
	Refused  map[string]uint64 `json:"refused"`
	Again    uint64            `json:"signed_or_sent_again"`
	Settled  uint64            `json:"settled"`
	Pending  uint64            `json:"pending"`
	Epochs   []epochResult     `json:"epochs"`
	Rows     []settledRow      `json:"rows"` // over all epochs
	Differs  []string          `json:"differences"`
	Verified []verdict         `json:"verified"`
}

type epochResult struct {
	Epoch uint32 `json:"epoch"`
	Rows  int    `json:"rows"`
	Acks  uint64 `json:"acks"`
	Paid  uint64 `json:"paid,string"`
	Root  string `json:"root"`
}

type settledRow struct {
	Node    uint32 `json:"node"`
	Service string `json:"service"`
	Payer   string `json:"payer"`
	Acks    uint64 `json:"acks"`
	Units   uint64 `json:"units,string"`
	Charge  uint64 `json:"charge,string"`
	Paid    uint64 `json:"paid,string"`

	service, payer uint32
}

func (r *jobResult) add(s *rpc.GetSettlementResponse) {
	e := epochResult{Epoch: s.Epoch, Rows: len(s.Rows), Root: s.Root}
	for _, row := range s.Rows {
		e.Acks += row.Acks
		e.Paid += row.Paid
		i := slices.IndexFunc(r.Rows, func(have settledRow) bool {
			return have.Node == row.Node && have.service == row.Service && have.payer == row.Payer
		})
		if i < 0 {
			i = len(r.Rows)
			r.Rows = append(r.Rows, settledRow{Node: row.Node, service: row.Service, payer: row.Payer})
		}
		have := &r.Rows[i]
		have.Acks += row.Acks
		have.Units += row.Units
		have.Charge += row.Charge
		have.Paid += row.Paid
	}
	r.Settled += e.Acks
	r.Epochs = append(r.Epochs, e)
}

func (r *jobResult) names(p *replay.Replay) {
	invert := func(m map[string]uint32) map[uint32]string {
		names := make(map[uint32]string, len(m))
		for name, index := range m {
			names[index] = name
		}
		return names
	}
	services, payers := invert(p.Services()), invert(p.Payers())
	for i := range r.Rows {
		r.Rows[i].Service, r.Rows[i].Payer = services[r.Rows[i].service], payers[r.Rows[i].payer]
	}
	slices.SortFunc(r.Rows, func(a, b settledRow) int {
		if a.Node != b.Node {
			return int(a.Node) - int(b.Node)
		}
		if c := strings.Compare(a.Payer, b.Payer); c != 0 {
			return c
		}
		return strings.Compare(a.Service, b.Service)
	})
}

// reconcile holds the settlements against the clients' own account.
func (r *jobResult) reconcile(t *replay.Tally) {
	r.Pending = r.Accepted - min(r.Settled, r.Accepted)
	settled := map[replay.Account]replay.Sum{}
	for _, row := range r.Rows {
		settled[replay.Account{Node: row.Node, Service: row.service, Payer: row.payer}] = replay.Sum{Acks: row.Acks, Units: row.Units}
	}
	for account, want := range t.Accounts {
		if got := settled[account]; got != want {
			r.Differs = append(r.Differs, fmt.Sprintf("%+v: clients have %+v, settled is %+v", account, want, got))
		}
	}
	for account, got := range settled {
		if _, ok := t.Accounts[account]; !ok {
			r.Differs = append(r.Differs, fmt.Sprintf("%+v: settled is %+v, which no client knows", account, got))
		}
	}
	slices.Sort(r.Differs)
}

func (r *jobResult) print(w io.Writer) {
	fmt.Fprintln(w, "\nSettlement, all epochs:")
	rows := make([][]string, len(r.Rows))
	var units, paid uint64
	for i, row := range r.Rows {
		rows[i] = []string{fmt.Sprint(row.Node), row.Service, row.Payer, grouped(row.Acks), grouped(row.Units), credits(row.Paid)}
		units += row.Units
		paid += row.Paid
	}
	rows = append(rows, []string{"", "", "total", grouped(r.Settled), grouped(units), credits(paid)})
	table(w, []string{">node", "service", "payer", ">acks", ">units", ">amount"}, rows)
	fmt.Fprintln(w)
	for _, e := range r.Epochs {
		fmt.Fprintf(w, "epoch %d: %s in %d rows, %s credits paid, root %s…\n", e.Epoch, plural(e.Acks, "ack"), e.Rows, credits(e.Paid), e.Root[:16])
	}
	var refused []string
	for _, name := range slices.Sorted(maps.Keys(r.Refused)) {
		refused = append(refused, fmt.Sprintf("%s %s", grouped(r.Refused[name]), name))
	}
	reasons := "0 refused"
	if len(refused) > 0 {
		reasons = strings.Join(refused, " + ")
	}
	fmt.Fprintf(w, "\nReconciliation: %s received = %s accepted + %s; %s accepted = %s settled + %s pending\n",
		grouped(r.Received), grouped(r.Accepted), reasons, grouped(r.Accepted), grouped(r.Settled), grouped(r.Pending))
	if r.BadLines > 0 {
		fmt.Fprintf(w, "%s of the log could not be read as requests.\n", plural(uint64(r.BadLines), "line"))
	}
	fmt.Fprintln(w, "\nVerified offline, from the genesis file alone:")
	for _, v := range r.Verified {
		if v.Holds {
			fmt.Fprintf(w, "  %s: %s\n", filepath.Base(v.File), v.Summary)
		} else {
			fmt.Fprintf(w, "  %s: DOES NOT HOLD: %s\n", filepath.Base(v.File), v.Error)
		}
	}
	fmt.Fprintf(w, "\n%s in %.1f s.\n", plural(uint64(r.Requests), "request"), r.Seconds)
}

// check is the job's verdict.
func (r *jobResult) check() error {
	var refused uint64
	for _, n := range r.Refused {
		refused += n
	}
	switch {
	case r.Received != uint64(r.Requests):
		return fmt.Errorf("%d requests, but %d received", r.Requests, r.Received)
	case r.Received != r.Accepted+refused:
		return fmt.Errorf("%d received, but %d accepted and %d refused", r.Received, r.Accepted, refused)
	case r.Settled != r.Accepted:
		return fmt.Errorf("%d accepted, but %d settled", r.Accepted, r.Settled)
	case len(r.Differs) > 0:
		return fmt.Errorf("the settlement differs from the clients' account:\n  %s", strings.Join(r.Differs, "\n  "))
	case len(r.Epochs) < 2:
		return fmt.Errorf("%d epochs settled, want at least 2", len(r.Epochs))
	}
	for _, v := range r.Verified {
		if !v.Holds {
			return errDoesNotHold
		}
	}
	return nil
}
