//go:build linux

package crash

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/rollup"
)

const (
	floodStreams = 8
	floodAcks    = api.MaxSubmission // in a submission
	floodRatio   = 10                // acks sent for one that is verified
	politeAcks   = 600
	fairShare    = 4       // a client that behaves delivers at a quarter of its rate, or faster
	memoryBound  = 3 << 29 // 1.5 GiB
)

// TestOverload: a client that sends far more than the node can verify is told to come back later,
// costs it no more than its budgets, and leaves room for a client that behaves.
func TestOverload(t *testing.T) {
	Binary(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	n := Start(ctx, t, homes.Options{Configure: func(_ int, c *config.Config) {
		c.Pipeline.WindowAge = 20 * time.Second
		c.Pipeline.MaxAcks = 2 * floodAcks // two of the flood's hundred submissions
	}})
	p, err := n.Register(ctx, 3, 40)
	if err != nil {
		t.Fatal(err)
	}
	books, book := NewBooks(p), client.MemoryBook()
	polite, rude := p.Clients[:8], p.Clients[8:]
	alone := deliver(ctx, t, n, p, books, book, polite)

	f := &flood{network: n, books: books}
	f.prepare(ctx, t, p, rude)
	stop := make(chan struct{})
	var streams errgroup.Group
	for range floodStreams {
		streams.Go(func() error { return f.stream(ctx, stop) })
	}
	if err := n.await(ctx, "pushback",
		func() (bool, error) { return f.overloaded.Load() > 0, nil }); err != nil {
		t.Fatal(err)
	}
	onset := deliver(ctx, t, n, p, books, book, polite) // while the flood runs
	later := deliver(ctx, t, n, p, books, book, polite)
	// this machine may be busy with other things, too
	for try := 0; try < 10 && later > fairShare*alone; try++ {
		later = deliver(ctx, t, n, p, books, book, polite)
	}
	err = n.await(ctx, "the flood to be one",
		func() (bool, error) { return f.sent.Load() >= floodRatio*f.verified(), nil })
	close(stop)
	if err = errors.Join(err, streams.Wait()); err != nil {
		t.Fatal(err)
	}
	f.book()
	peak, err := n.Processes[0].PeakMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the flood sent %d acks: %d accepted, %d known, %d with a bad signature, %d "+
		"overloaded; %d for one verified; longest delay asked %v", f.sent.Load(), f.accepted.Load(),
		f.known.Load(), f.bad.Load(),
		f.overloaded.Load(), f.sent.Load()/max(1, f.verified()),
		time.Duration(f.delay.Load()))
	t.Logf("%d acks of a client that behaves: %v alone, %v when the flood came, %v later, %d "+
		"submitted again; "+
		"the node's memory peaked at %d MiB", politeAcks, alone.Round(time.Millisecond),
		onset.Round(time.Millisecond),
		later.Round(time.Millisecond), books.Tally.Again, peak>>20)
	if later > fairShare*alone {
		t.Errorf("%d acks of a client that behaves take %v, and %v beside the flood", politeAcks,
			alone, later)
	}
	if f.delay.Load() == 0 {
		t.Error("no overloaded ack was given a delay")
	}
	if peak > memoryBound {
		t.Errorf("the node took %d MiB of memory, more than %d", peak>>20, memoryBound>>20)
	}
	audit, err := n.AuditAcks(ctx, books)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d acks in %d ordered rollups, as in the clients' books", len(audit.Ordered),
		audit.Rollups)
}

// deliver has clients deliver in small batches until all is accepted, and returns how long it took.
func deliver(ctx context.Context, t *testing.T, n *Network, p *Parties, books *Books,
	book *client.Book, clients []*Client) time.Duration {
	t.Helper()
	start, from := time.Now(), books.Count()
	polite, err := client.New(client.Config{URL: n.Nodes[0].Ingest, Batch: 32, Pin: n.Pin(0),
		Committee: n.Genesis.Committee(), Book: book})
	if err != nil {
		t.Fatal(err)
	}
	defer polite.Close()
	deliveries := func(yield func(client.Delivery) bool) {
		for i := range politeAcks {
			c := clients[i%len(clients)]
			request := blake3.Sum256(fmt.Appendf(nil, "GET /%d/%d/%d", c.Index, from, i))
			books.deliver(c.Index, 1)
			if !yield(client.Delivery{Client: c.Index, Service: p.Services[0], Units: 1,
				Request: request}) {
				return
			}
		}
	}
	load := &Load{Books: books}
	if err := polite.Deliver(ctx, deliveries, load.signer(), books.report); err != nil {
		t.Fatal(err)
	}
	if err := books.Err(); err != nil {
		t.Fatal(err)
	}
	if n := books.Count() - from; n != politeAcks {
		t.Fatalf("%d of %d acks were accepted", n, politeAcks)
	}
	return time.Since(start)
}

// flood is a client that does not listen. It sends the same valid acks over all streams at once,
// and then acks whose signatures are good points for other messages, which have to be verified to
// be refused.
type flood struct {
	network *Network
	books   *Books
	acks    []rollup.Ack
	valid   []byte
	other   atomic.Uint64 // units of acks with bad signatures

	sent, accepted, known, bad, overloaded, delay atomic.Int64

	mu   sync.Mutex
	held [floodAcks]bool
}

func (f *flood) verified() int64 { return f.accepted.Load() + f.bad.Load() }

// prepare signs a submission of valid acks for the epoch that runs.
func (f *flood) prepare(ctx context.Context, t *testing.T, p *Parties, clients []*Client) {
	t.Helper()
	status, err := f.network.Status(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.acks = make([]rollup.Ack, floodAcks)
	var signers errgroup.Group
	signers.SetLimit(runtime.GOMAXPROCS(0))
	for i, c := range clients {
		signers.Go(func() error {
			for j := i; j < len(f.acks); j += len(clients) {
				f.acks[j] = rollup.Ack{Net: f.network.ID.Net(), Epoch: status.Epoch,
					Service: p.Services[1], Units: 1,
					Request: blake3.Sum256(fmt.Appendf(nil, "GET /flood/%d", j))}
				c.Sign(&f.acks[j])
				f.books.deliver(c.Index, 1)
				f.books.sign(&f.acks[j])
			}
			return nil
		})
	}
	_ = signers.Wait() // no error is possible
	for i := range f.acks {
		f.valid = f.acks[i].Append(f.valid)
	}
}

// stream sends as much as the connection takes until stop.
func (f *flood) stream(ctx context.Context, stop <-chan struct{}) error {
	c, err := client.New(client.Config{URL: f.network.Nodes[0].Ingest})
	if err != nil {
		return err
	}
	defer c.Close()
	s := c.Open(ctx)
	type submission struct {
		*client.Pending
		valid bool
	}
	var flying []submission
	frames := slices.Clone(f.valid)
	for i := 0; ; i++ {
		select {
		case <-stop:
			for _, sub := range flying {
				if err := f.land(ctx, sub.Pending, sub.valid); err != nil {
					return err
				}
			}
			return s.Close(ctx)
		default:
		}
		valid := i < 8
		if !valid {
			for at := rollup.SignatureOffset; at < len(frames); at += rollup.AckSize {
				binary.LittleEndian.PutUint64(frames[at-40:], 2+f.other.Add(1)%unitCap/2)
			}
		}
		pending, err := s.Submit(ctx, frames)
		if err != nil {
			return err
		}
		f.sent.Add(floodAcks)
		if flying = append(flying, submission{pending, valid}); len(flying) == api.InFlight {
			if err := f.land(ctx, flying[0].Pending, flying[0].valid); err != nil {
				return err
			}
			flying = flying[1:]
		}
	}
}

func (f *flood) land(ctx context.Context, pending *client.Pending, valid bool) error {
	answer, err := pending.Wait(ctx)
	if err != nil {
		return err
	}
	var accepted, known, bad, overloaded int64
	for i, a := range answer.Answers {
		code := a.Code
		switch code {
		case rollup.CodeAccepted:
			accepted++
		case rollup.CodeKnown:
			known++
		case rollup.CodeBadSignature:
			bad++
		case rollup.CodeOverloaded:
			overloaded++
		case rollup.CodeGap: // behind one that had no room
		default:
			return fmt.Errorf("the flood was answered %v", code)
		}
		if !code.OK() {
			continue
		}
		if !valid {
			return fmt.Errorf("an ack with a signature for another message was answered %v", code)
		}
		f.mu.Lock()
		f.held[i] = true
		f.mu.Unlock()
	}
	f.accepted.Add(accepted)
	f.known.Add(known)
	f.bad.Add(bad)
	f.overloaded.Add(overloaded)
	if overloaded > 0 {
		f.delay.Store(max(f.delay.Load(), int64(answer.RetryAfter)))
	}
	return nil
}

// book enters the flood's accepted acks.
func (f *flood) book() {
	for i, held := range f.held {
		if held {
			f.books.report(&client.Outcome{Ack: f.acks[i], Code: rollup.CodeAccepted, Attempts: 1})
		}
	}
}
