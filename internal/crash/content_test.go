//go:build linux

package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/serve/credit"
	"github.com/waybill-network/waybill/rollup"
)

// debts is what a node has written down of its clients, over the runs of its process.
type debts struct {
	file string
	next int // events with which the next run's journal begins: the state that it found

	sent, paid, forgiven uint64 // of all runs
	unpaid, had          map[uint64]uint64
}

func newDebts(home string) *debts {
	return &debts{file: filepath.Join(home, "delivery", "debts.log"),
		unpaid: map[uint64]uint64{}, had: map[uint64]uint64{}}
}

// The windows of package credit, whose first one grows by what was acknowledged in it.
const (
	firstWindow = 256 << 10
	mostWindow  = 8 << 20
)

// read takes the run that has ended: it began with the debts that the run before it left, and at
// no event of it was more sent than a window beyond what was acknowledged.
func (d *debts) read() error {
	file, err := os.ReadFile(d.file)
	if err != nil {
		return err
	}
	book := credit.New(credit.Params{}, func(credit.Event) {})
	found := map[uint64]uint64{}
	i := 0
	for ; len(file) >= credit.EventSize; i++ {
		e, err := credit.ParseEvent(file[:credit.EventSize])
		if err != nil {
			return fmt.Errorf("event %d of %s: %w", i, d.file, err)
		}
		file = file[credit.EventSize:]
		book.Replay(e)
		if i < d.next {
			if e.Kind == credit.EventSent {
				found[e.Client] += e.Bytes
			}
			continue
		}
		if i == d.next {
			if err := d.same(found); err != nil {
				return err
			}
		}
		if err := d.take(&e); err != nil {
			return fmt.Errorf("event %d of %s: %w", i, d.file, err)
		}
	}
	if i < d.next {
		return fmt.Errorf("%s has %d events, and began with %d", d.file, i, d.next)
	}
	d.next = 0
	for range book.State() {
		d.next++
	}
	return nil
}

// same compares what a run found with what the one before it left.
func (d *debts) same(found map[uint64]uint64) error {
	for client, left := range d.unpaid {
		if found[client] != left {
			return fmt.Errorf("%s: client %d owed %d bytes when the node was killed, and %d when it "+
				"was back", d.file, client, left, found[client])
		}
	}
	return nil
}

func (d *debts) take(e *credit.Event) error {
	left := d.unpaid[e.Client]
	if e.Kind != credit.EventSent && e.Bytes > left {
		return fmt.Errorf("kind %d: %d bytes of client %d, which had %d", e.Kind, e.Bytes, e.Client,
			left)
	}
	switch e.Kind {
	case credit.EventSent:
		left += e.Bytes
		d.sent += e.Bytes
	case credit.EventReturned:
		left -= e.Bytes
		d.sent -= e.Bytes
	case credit.EventPaid:
		left -= e.Bytes
		d.paid += e.Bytes
		d.had[e.Client] += e.Bytes
	case credit.EventForgiven:
		left -= e.Bytes
		d.forgiven += e.Bytes
	default:
		return nil
	}
	d.unpaid[e.Client] = left
	if most := min(firstWindow+2*d.had[e.Client], mostWindow); left > most {
		return fmt.Errorf("client %d was sent %d bytes beyond what it signed, where %d may be",
			e.Client, left, most)
	}
	return nil
}

func (d *debts) left() (sum uint64) {
	for _, n := range d.unpaid { // order-free
		sum += n
	}
	return sum
}

// fetching is clients that fetch content, one after the other, until they are stopped.
type fetching struct {
	fetchers []*client.Fetcher
	received atomic.Uint64 // whole contents, in bytes
	stop     context.CancelFunc
	all      sync.WaitGroup
}

// fetch begins to fetch contents, from the nodes that serve, for each of the parties' clients.
func (n *Network) fetch(ctx context.Context, p *Parties, roots []rollup.Hash, size uint64,
) (*fetching, error) {
	f := new(fetching)
	ctx, f.stop = context.WithCancel(ctx)
	for i, c := range p.Clients {
		cfg := client.FetchConfig{Client: c.Index, Key: c.Secret, Silence: 5 * time.Second}
		for node := range Serving {
			k, err := client.New(client.Config{URL: n.Nodes[node].Content, Pin: n.Pin(node),
				Committee: n.Genesis.Committee(), Book: client.MemoryBook(), Backoff: poll})
			if err != nil {
				return nil, err
			}
			cfg.Nodes = append(cfg.Nodes, k)
		}
		fetcher, err := client.NewFetcher(cfg)
		if err != nil {
			return nil, err
		}
		f.fetchers = append(f.fetchers, fetcher)
		f.all.Go(func() {
			for turn := i; ctx.Err() == nil; turn++ {
				root := roots[turn%len(roots)]
				err := whole(ctx, fetcher, root)
				switch {
				case err == nil:
					f.received.Add(size)
				case ctx.Err() == nil:
					pause(ctx, poll) // nobody was there, or sends this client any more for now
				}
			}
		})
	}
	return f, nil
}

// whole fetches content to its end. What the fetcher hands on is verified.
func whole(ctx context.Context, f *client.Fetcher, root rollup.Hash) error {
	r, err := f.Open(ctx, root)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

// TestCrashContent kills nodes that deliver, at random moments in the middle of streams. Over all
// runs of a node, what it sent is what was acknowledged, is in credit, and was given up; a debt
// outlives the process to the byte; at no event was more sent than a window beyond what was signed;
// and what the nodes count as paid is what their clients were charged, and what the settlements
// pay for: no byte is paid twice, and none for nothing.
func TestCrashContent(t *testing.T) {
	Binary(t)
	ctx := deadline(t, 2*time.Minute, 30*time.Second)
	seed := number(t, "CRASH_SEED", uint64(time.Now().UnixNano())%1_000_000)
	t.Logf("CRASH_SEED=%d, %d rounds", seed, rounds(t))
	rng := rand.New(rand.NewPCG(seed, 1))
	folder, size := t.TempDir(), uint64(1<<20+12_345)
	roots, err := origin(folder, 6, int(size))
	if err != nil {
		t.Fatal(err)
	}
	o := short()
	o.Content = true
	configure := o.Configure
	o.Configure = func(i int, c *config.Config) {
		configure(i, c)
		c.Content.Origin, c.Content.Rate = folder, 6<<20
	}
	n := Start(ctx, t, o)
	parties, err := n.Register(ctx, 3, 6)
	if err != nil {
		t.Fatal(err)
	}
	var books []*debts
	for i := range Serving {
		books = append(books, newDebts(n.Nodes[i].Home))
	}
	f, err := n.fetch(ctx, parties, roots, size)
	if err != nil {
		t.Fatal(err)
	}
	defer f.stop()
	owed := uint64(0)
	for round := range rounds(t) {
		from := f.received.Load()
		if err := n.await(ctx, "contents", func() (bool, error) {
			return f.received.Load() >= from+4*size, nil
		}); err != nil {
			t.Fatal(err)
		}
		pause(ctx, time.Duration(rng.Int64N(int64(2*time.Second))))
		victim := (round + int(seed)) % Serving
		n.Processes[victim].Kill()
		if err := books[victim].read(); err != nil {
			t.Fatal(err)
		}
		t.Logf("killed node %d, which was owed %d bytes", victim, books[victim].left())
		owed += books[victim].left()
		pause(ctx, time.Duration(rng.Int64N(int64(time.Second))))
		if err := n.Processes[victim].Start(); err != nil {
			t.Fatal(err)
		}
		if err := n.Ready(ctx, victim); err != nil {
			t.Fatal(err)
		}
	}
	if owed == 0 {
		t.Error("nobody was killed in the middle of anything")
	}
	n.settledContent(ctx, t, f, books)
}

// origin writes contents to where nodes look for what they lack.
func origin(folder string, count, size int) (roots []rollup.Hash, err error) {
	if err := os.Mkdir(filepath.Join(folder, "b3"), 0o700); err != nil {
		return nil, err
	}
	for i := range count {
		data := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(data) // it never fails
		root := rollup.Hash(blake3.Sum256(data))
		if err := os.WriteFile(filepath.Join(folder, "b3", root.String()), data,
			0o600); err != nil {
			return nil, err
		}
		roots = append(roots, root)
	}
	return roots, nil
}

// settledContent stops the clients, waits for the settlements, kills the nodes, and holds all books
// against each other.
func (n *Network) settledContent(ctx context.Context, t *testing.T, f *fetching, books []*debts) {
	t.Helper()
	f.stop()
	f.all.Wait()
	clients := make([]client.FetchStats, Serving)
	for i, fetcher := range f.fetchers {
		if err := fetcher.Close(); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
		for _, s := range fetcher.Nodes() {
			of := &clients[s.Node]
			of.Received += s.Received
			of.Signed += s.Signed
			of.Charged += s.Charged
			of.Refused += s.Refused
		}
	}
	a := new(Audit)
	if err := n.awaitSettled(ctx, a); err != nil {
		t.Fatal(err)
	}
	for i := range books { // who stops in good order sums up what it wrote down
		n.Processes[i].Kill()
	}
	settled := make([]uint64, Serving)
	for _, row := range slices.Concat(a.Rows...) {
		settled[row.Node] += row.Units
		if err := compareRow(&row); err != nil {
			t.Error(err)
		}
	}
	for i, b := range books {
		if err := b.read(); err != nil {
			t.Error(err)
			continue
		}
		c := &clients[i]
		t.Logf("node %d, killed %d times: %d bytes sent, %d paid, %d in credit, %d written off; its "+
			"clients had %d, signed for %d, were charged %d; %d settled", i, n.Processes[i].Kills(), b.sent,
			b.paid, b.left(), b.forgiven, c.Received, c.Signed, c.Charged, settled[i])
		switch {
		case b.sent != b.paid+b.left()+b.forgiven:
			t.Errorf("node %d: what was sent is not what was paid, is in credit and was given up", i)
		case c.Signed != c.Received || c.Charged+c.Refused != c.Signed:
			t.Errorf("node %d: its clients' books: %+v", i, *c)
		case c.Received > b.sent:
			t.Errorf("node %d: its clients had more than it wrote down", i)
		case b.paid != c.Charged || settled[i] != c.Charged:
			t.Errorf("node %d: paid is not what clients were charged and settlements pay for", i)
		}
	}
}
