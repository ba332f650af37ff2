package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/waybill-network/waybill/node/serve/credit"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// Accounts are the credit of all clients, safe for concurrent use, and durable: each event is
// written to the journal before what it is about is done. They are there before the pipeline, which
// tells Taken of every ack that it has made durable, and are closed after it.
type Accounts struct {
	log *slog.Logger

	mu       sync.Mutex
	book     *credit.Book
	journal  *journal
	sessions map[credit.ID]*session
	byClient map[uint64]*session
	opened   chan struct{} // closed when a session opens
}

// session is a session that is open.
type session struct {
	id      credit.ID
	client  uint64
	payer   uint32
	streams map[*Call]rollup.Hash // that run, by the digest of their heads; guarded by Accounts.mu
	changed chan struct{}         // closed when credit may have grown; guarded by Accounts.mu
}

// OpenAccounts reads the journal in a directory, of which the accounts are the only user until
// Close, and goes on with it. A nil logger discards.
func OpenAccounts(dir string, params credit.Params, log *slog.Logger) (*Accounts, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	a := &Accounts{log: log, sessions: make(map[credit.ID]*session),
		byClient: make(map[uint64]*session), opened: make(chan struct{})}
	a.book = credit.New(params, func(e credit.Event) { a.journal.write(e) })
	j, err := openJournal(dir, a.book)
	if err != nil {
		return nil, fmt.Errorf("serve: debts: %w", err)
	}
	a.journal = j
	return a, nil
}

// open opens a session in place of the client's last one, and returns its window.
func (a *Accounts) open(now time.Time, id credit.ID, client uint64, payer uint32,
	address netip.Addr) (window, owed uint64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	window, err = a.book.Open(now, id, client, payer, credit.AddressOf(address))
	if old := a.byClient[client]; old != nil {
		if _, open := a.book.Client(old.id); !open {
			a.drop(old)
		}
	}
	owed = a.book.Owed(client)
	if err != nil {
		return 0, owed, err
	}
	s := &session{id: id, client: client, payer: payer, changed: make(chan struct{}),
		streams: make(map[*Call]rollup.Hash)}
	a.sessions[id], a.byClient[client] = s, s
	close(a.opened)
	a.opened = make(chan struct{})
	return window, owed, nil
}

// drop forgets a session that has ended, and has its streams see that.
func (a *Accounts) drop(s *session) {
	delete(a.sessions, s.id)
	if a.byClient[s.client] == s {
		delete(a.byClient, s.client)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// await returns a session that is open, or opens within some time.
func (a *Accounts) await(ctx context.Context, id credit.ID, most time.Duration) (*session, error) {
	var over <-chan time.Time
	for {
		a.mu.Lock()
		s, opened := a.sessions[id], a.opened
		a.mu.Unlock()
		if s != nil {
			return s, nil
		}
		if over == nil {
			timer := time.NewTimer(most)
			defer timer.Stop()
			over = timer.C
		}
		select {
		case <-opened:
		case <-over:
			return nil, delivery.ReasonSession
		case <-ctx.Done():
			return nil, delivery.ReasonSession
		}
	}
}

// enter notes that a stream of a session begins; leave must follow.
func (a *Accounts) enter(o *Call, head rollup.Hash, most int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(o.session.streams) >= most {
		return delivery.Refuse(delivery.ReasonStreams, "%d of this session", most)
	}
	o.session.streams[o] = head
	return nil
}

func (a *Accounts) leave(o *Call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(o.session.streams, o)
}

// stop has the streams with a head end.
func (a *Accounts) stop(id credit.ID, head rollup.Hash) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[id]
	if s == nil {
		return delivery.ReasonSession
	}
	for o, digest := range s.streams { // order-free
		if digest == head {
			o.stop(delivery.ReasonStopped)
		}
	}
	return nil
}

// take takes bytes that are about to be sent, in whole units unless all are taken. When there is
// none, changed is closed when that may be different. With ask the client is to be asked for an
// ack. What the payer can afford bounds it.
func (a *Accounts) take(now time.Time, s *session, service uint32, most, unit uint64,
	afford func(least uint64) (uint64, error)) (n uint64, ask bool, changed <-chan struct{},
	err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	paid, err := afford(min(most, unit))
	if err != nil {
		return 0, false, s.changed, err
	}
	if paid < most {
		most = paid - paid%unit
	}
	n, ask, err = a.book.Take(now, s.id, service, most, unit)
	if err == nil {
		err = a.journal.err
	}
	return n, ask, s.changed, err
}

func (a *Accounts) due(s *session) (due, window uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.book.Due(s.id)
}

// giveBack returns what was taken and not sent.
func (a *Accounts) giveBack(s *session, service uint32, bytes uint64) {
	if bytes == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.book.Return(s.client, service, bytes)
	a.wake(s.id)
}

// Taken counts acks that lie durable in the pool, each once: those that a run before this one has
// counted are known by their places. Of a window they come in order.
func (a *Accounts) Taken(chunks []rollup.Chunk) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.journal.together(func() {
		for _, c := range chunks {
			place := credit.Place{Epoch: c.Key.Epoch, Window: c.Key.Window, Acks: c.First}
			for b := c.Frames; len(b) > 0; b = b[rollup.AckSize:] {
				f := rollup.Frame(b)
				place.Acks++
				if id, ok := a.book.Paid(now, place, f.Client(), f.Service(), f.Units()); ok {
					a.wake(id)
				}
			}
			a.book.Counted(place)
		}
	})
}

func (a *Accounts) forgive(client uint64, service uint32, units uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if id, ok := a.book.Forgive(client, service, units); ok {
		a.wake(id)
	}
}

func (a *Accounts) wake(id credit.ID) {
	if s := a.sessions[id]; s != nil {
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

func (a *Accounts) sweep(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range a.book.Sweep(now) {
		if s := a.sessions[id]; s != nil {
			a.drop(s)
		}
	}
	if err := a.journal.shorten(a.book); err != nil {
		a.log.Warn("the journal of debts was not shortened", "err", err)
	}
}

func (a *Accounts) totals(payers int) (credit.Totals, []credit.Payer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.book.Totals(), a.book.Payers(payers)
}

func (a *Accounts) sync() error {
	a.mu.Lock()
	j := a.journal
	a.mu.Unlock()
	return j.sync()
}

// Close writes the journal down as short as it can be.
func (a *Accounts) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.journal.close(a.book)
}
