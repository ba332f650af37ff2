package mainjob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/rollup"
)

// together is how many clients are at the sites at once.
const together = 24

// fetching is what clients do at a site: each of their visits fetches what the workload says that
// it asked for, one request after the other, and has it acknowledged.
type fetching struct {
	site   *Site
	replay *replay.Replay
	show   io.Writer // for people

	mu      sync.Mutex
	left    [][]request      // visits that have not begun
	later   int              // of them, those from the last on that wait for the gate
	gate    chan struct{}    // closed when they may begin
	busy    map[visitor]bool // clients that are on one
	changed chan struct{}    // closed when busy has changed
	served  int              // requests
	bytes   uint64           // of them
	took    []timed          // each of them, to its last byte
	missed  []error          // the first requests that were not served
	misses  int
	over    client.FetchStats // of visits that have ended
	books   map[replay.Account]replay.Sum
	samples []rollup.Ack // one of each node: client, service and node are set
	lost    []error      // of visits that could not settle
	marks   []mark
}

// visitor is who a visit is of.
type visitor struct{ address, payer string }

// timed is how long something took.
type timed struct {
	began time.Time
	took  time.Duration
}

// mark is what happens when so many requests were answered.
type mark struct {
	at int
	do func()
}

func newFetching(site *Site, r *replay.Replay, show io.Writer) *fetching {
	left := site.visits()
	return &fetching{site: site, replay: r, show: show, left: left, later: len(left) / 2,
		gate: make(chan struct{}), busy: make(map[visitor]bool),
		changed: make(chan struct{}), books: make(map[replay.Account]replay.Sum)}
}

// run has all visits made. It returns when all of them are settled.
func (f *fetching) run(ctx context.Context) error {
	var visitors, settling sync.WaitGroup
	for range together {
		visitors.Go(func() {
			for visit := f.next(ctx); visit != nil; visit = f.next(ctx) {
				f.visit(ctx, visit, &settling)
				f.end(visit)
			}
		})
	}
	visitors.Wait()
	settling.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(f.lost...)
}

// next returns the next visit of a client that is on none; nil when no more begin.
func (f *fetching) next(ctx context.Context) []request {
	for {
		f.mu.Lock()
		now, gate := f.left, f.gate
		select {
		case <-gate:
			gate = nil
		default:
			now = f.left[:max(0, len(f.left)-f.later)]
		}
		i := slices.IndexFunc(now, func(v []request) bool { return !f.busy[of(v)] })
		if i >= 0 {
			visit := f.left[i]
			f.left = slices.Delete(f.left, i, i+1)
			f.busy[of(visit)] = true
			f.mu.Unlock()
			return visit
		}
		changed, over := f.changed, len(f.left) == 0
		f.mu.Unlock()
		if over {
			return nil
		}
		select {
		case <-changed:
		case <-gate:
		case <-ctx.Done():
			return nil
		}
	}
}

func of(visit []request) visitor { return visitor{visit[0].Address, visit[0].Payer} }

func (f *fetching) end(visit []request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.busy, of(visit))
	close(f.changed)
	f.changed = make(chan struct{})
}

// visit makes one, and leaves it to be settled: a node that is down keeps its acks waiting.
func (f *fetching) visit(ctx context.Context, requests []request, settling *sync.WaitGroup) {
	v, err := f.replay.Visit(&requests[0].Delivery)
	if err != nil {
		f.miss(err)
		return
	}
	for i := range requests {
		began := time.Now()
		if err := f.fetch(ctx, v, &requests[i]); err != nil {
			f.miss(err)
			continue
		}
		f.serve(&requests[i], timed{began, time.Since(began)})
	}
	settling.Go(func() { f.settle(ctx, v) })
}

// fetch makes one request, and reads what comes to its end. Every byte is verified.
func (f *fetching) fetch(ctx context.Context, v *replay.Visit, r *request) error {
	if r.Units == 0 {
		return nil // an answer without content, of which nothing is streamed
	}
	content, err := v.Open(ctx, r.root)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, content)
	err = errors.Join(err, content.Close())
	if err == nil && uint64(n) != r.Units {
		err = fmt.Errorf("%d bytes, where the workload has %d", n, r.Units)
	}
	return err
}

func (f *fetching) miss(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.misses++; len(f.missed) < maxMissed {
		f.missed = append(f.missed, err)
		fmt.Fprintln(f.show, "Not served:", err)
	}
	f.reach()
}

// maxMissed is how many failures are told.
const maxMissed = 5

// serve notes that a request was served.
func (f *fetching) serve(r *request, took timed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.served++
	f.bytes += r.Units
	f.took = append(f.took, took)
	f.reach()
}

// reach does what is to be done when so many requests were served. The caller holds f.mu.
func (f *fetching) reach() {
	for len(f.marks) > 0 && f.served+f.misses >= f.marks[0].at {
		do := f.marks[0].do
		f.marks = f.marks[1:]
		do()
	}
}

// settle waits until what a visit has received is acknowledged, and books it.
func (f *fetching) settle(ctx context.Context, v *replay.Visit) {
	err := v.Settle(ctx)
	err = errors.Join(err, v.Close())
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		f.lost = append(f.lost, err)
	}
	for _, n := range v.Nodes() {
		f.over.Received += n.Received
		f.over.Signed += n.Signed
		f.over.Charged += n.Charged
		f.over.Refused += n.Refused
		f.over.Acks += n.Acks
		if n.Charged == 0 {
			continue
		}
		account := replay.Account{Node: n.Node, Service: v.Service, Payer: v.Payer}
		f.books[account] = f.books[account].Plus(n.Taken, n.Charged)
		if !slices.ContainsFunc(f.samples, func(a rollup.Ack) bool { return a.Node == n.Node }) {
			f.samples = append(f.samples, rollup.Ack{Node: n.Node, Client: v.Client,
				Service: v.Service})
		}
	}
}

// progress says how far it is.
func (f *fetching) progress() (done, total int, note string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.served + f.misses, len(f.site.requests), text.Bytes(f.bytes)
}

// state is what moves.
func (f *fetching) state() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("%d requests served, %d not, %d bytes acknowledged", f.served, f.misses,
		f.over.Charged)
}

// within returns the time in which a share of the requests was served.
func within(all []timed, share float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	took := make([]time.Duration, len(all))
	for i := range all {
		took[i] = all[i].took
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(share*float64(len(took))))]
}

// slowest returns the longest time of a request that was on its way at a moment.
func slowest(all []timed, at time.Time) (longest time.Duration, count int) {
	for _, t := range all {
		if t.began.Before(at) && t.began.Add(t.took).After(at) {
			longest, count = max(longest, t.took), count+1
		}
	}
	return longest, count
}
