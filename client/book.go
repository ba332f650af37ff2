package client

import (
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
)

// book is what the clients of one process signed, so that they can tell whether a node's statements
// about them are true. It is safe for concurrent use.
type book struct {
	keep    time.Duration // after the last ack of a window was signed, until it is forgotten
	maxAcks int

	mu      sync.Mutex
	windows map[rollup.WindowKey]*windowBook
	acks    int
}

// windowBook is what they signed for one window.
type windowBook struct {
	cosign.Signed
	acks int
	last time.Time
}

// reference names an ack in the book.
type reference struct {
	key         rollup.WindowKey
	client, seq uint32
}

func newBook(keep time.Duration, maxAcks int) *book {
	return &book{keep: keep, maxAcks: maxAcks, windows: make(map[rollup.WindowKey]*windowBook)}
}

// sign books acks before they are sent, and returns what accept takes.
func (b *book) sign(frames []byte) []reference {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.forget(now)
	references := make([]reference, 0, len(frames)/rollup.AckSize)
	for ; len(frames) >= rollup.AckSize; frames = frames[rollup.AckSize:] {
		f := rollup.Frame(frames[:rollup.AckSize])
		b.signOne(f, now)
		references = append(references, reference{f.Key(), f.Client(), f.Seq()})
	}
	return references
}

func (b *book) signOne(f rollup.Frame, now time.Time) {
	w := b.windows[f.Key()]
	if w == nil {
		w = &windowBook{}
		w.Network, w.Clients = f.Network(), make(map[uint32]map[uint32]cosign.Ack)
		b.windows[f.Key()] = w
	}
	w.last = now
	acks := w.Clients[f.Client()]
	if acks == nil {
		acks = make(map[uint32]cosign.Ack)
		w.Clients[f.Client()] = acks
	}
	prior, known := acks[f.Seq()]
	if !known {
		w.acks++
		b.acks++
	}
	if !prior.Accepted { // of two acks with one seq the node takes one: its answer says which
		acks[f.Seq()] = cosign.Ack{Entry: [rollup.EntrySize]byte(f.Entry())}
	}
}

// accept notes that the node holds acks: those of the references whose code says so.
func (b *book) accept(references []reference, codes []rollup.Code) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, r := range references {
		w := b.windows[r.key]
		if !codes[i].OK() || w == nil {
			continue
		}
		if ack, ok := w.Clients[r.client][r.seq]; ok {
			ack.Accepted = true
			w.Clients[r.client][r.seq] = ack
		}
	}
}

// forget drops windows that nobody signed for lately, and the oldest while there are too many acks.
// Offers for them are refused from then on.
func (b *book) forget(now time.Time) {
	for key, w := range b.windows {
		if now.Sub(w.last) > b.keep {
			b.drop(key)
		}
	}
	for b.acks > b.maxAcks {
		var oldest rollup.WindowKey
		var last time.Time
		for key, w := range b.windows {
			if last.IsZero() || w.last.Before(last) {
				oldest, last = key, w.last
			}
		}
		b.drop(oldest)
	}
}

func (b *book) drop(key rollup.WindowKey) {
	b.acks -= b.windows[key].acks
	delete(b.windows, key)
}

// check decides for every client of an offer whether it may sign. When any may, no other root is
// signed for the window from then on.
func (b *book) check(o *cosign.Offer, payer func(client uint32) (uint32, bool)) []cosign.Verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.windows[o.Key]
	if w == nil {
		return o.Check(nil, payer)
	}
	verdicts := o.Check(&w.Signed, payer)
	if slices.ContainsFunc(verdicts, func(v cosign.Verdict) bool { return !v.Refused }) {
		root := o.Tree()
		w.Root = &root
	}
	return verdicts
}

// signedBy returns what a client signed for a window, in an order that is always the same.
func (b *book) signedBy(key rollup.WindowKey, client uint32) (entries [][rollup.EntrySize]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.windows[key]
	if w == nil {
		return nil
	}
	for _, ack := range w.Clients[client] {
		entries = append(entries, ack.Entry)
	}
	slices.SortFunc(entries, func(a, b [rollup.EntrySize]byte) int {
		return slices.Compare(a[:], b[:])
	})
	return entries
}
