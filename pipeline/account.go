package pipeline

import (
	"fmt"
	"time"

	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
)

// OnAccount bounds what is taken before its signature is verified (ADR 50). Acks of clients that
// are known over a session go straight from the door to their window and are durable when they are
// answered on_account. Before the window is sealed every one of them is covered: by its client's
// co-signature, or by a batch that verified it. What neither covers is dropped, and the session
// that handed it in takes nothing on account any more.
type OnAccount struct {
	Acks     int    // taken over one session and not covered yet; 0: nothing is taken on account
	Units    uint64 // of these acks (no bound)
	AllAcks  int    // the same, over all sessions (16 · Acks)
	AllUnits uint64 // (no bound)
}

const (
	// knownFrom is how many verified acks of a client over a session make it known there. Over the
	// session as much may be taken on account as was covered before, so a lie was paid for.
	knownFrom = 64
	maxKnown  = 1 << 18 // pairs of session and client; beyond them some are forgotten
	maxStruck = 4096    // acks of which it is remembered why they were dropped
	// barTime is for how long nothing is taken on account of a client that sent a forged ack so.
	barTime = time.Hour
	// auditBatches is how many times larger a batch may be for which nobody waits.
	auditBatches = 4
	auditPause   = 100 * time.Millisecond
)

// What a window remembers of each of its acks, when acks are taken on account.
const (
	markAccount uint8 = 1 << iota // taken on account; the store knows it as well
	markOpen                      // and neither verified nor covered by a co-signature yet
	markCovered                   // never verified: its client co-signed, and it is in no sum
	markLost                      // dropped
)

// accounts is what is taken on account, and over whose sessions. It is guarded by windows.mu.
type accounts struct {
	OnAccount                   // the bounds
	known     map[holder]uint32 // covered acks
	tabs      map[Session]*tab
	barred    map[uint64]time.Time    // clients
	pending   map[numberedSeries]int  // open acks
	wanted    map[uint64]bool         // clients that somebody waits for an audit of
	struck    map[ackName]rollup.Code // why acks were dropped
	order     []ackName               // of struck, the oldest first
	acks      int                     // open ones
	units     uint64                  // of them
	counts    AccountCounts
}

// holder is a client behind a session.
type holder struct {
	session Session
	client  uint64
}

// tab is what is open over one session.
type tab struct {
	acks   int
	units  uint64
	good   int // covered acks
	barred bool
}

// numberedSeries is a series of one epoch.
type numberedSeries struct {
	epoch uint32
	series
}

// ackName is what names an ack at a node.
type ackName struct {
	numberedSeries
	number uint32
}

func seriesOf(f rollup.Frame) numberedSeries {
	return numberedSeries{f.Epoch(), series{f.Client(), f.Service()}}
}

// AccountCounts count acks taken on account by what became of them.
type AccountCounts struct {
	Covered  uint64 `json:"covered"`  // by their client's co-signature: never verified themselves
	Verified uint64 `json:"verified"` // before the seal
	Forged   uint64 `json:"forged"`   // did not verify, and were dropped
	Dropped  uint64 `json:"dropped"`  // for following a forged one
}

// Outcomes returns the counts by name.
func (c AccountCounts) Outcomes() []status.Count {
	return []status.Count{{Name: "covered", Count: c.Covered}, {Name: "verified", Count: c.Verified},
		{Name: "forged", Count: c.Forged}, {Name: "dropped", Count: c.Dropped}}
}

// Account is what is taken on account.
type Account struct {
	AccountCounts
	Acks     int    `json:"acks"` // neither verified nor covered yet
	MaxAcks  int    `json:"max_acks"`
	Units    uint64 `json:"units,string"`
	Known    int    `json:"known"`  // pairs of session and client
	Barred   int    `json:"barred"` // clients
	PerAcks  int    `json:"session_max_acks"`
	Sessions int    `json:"sessions"` // over which something was covered
}

func (b *accounts) init(bounds OnAccount) {
	b.OnAccount = bounds
	b.known, b.tabs = make(map[holder]uint32), make(map[Session]*tab)
	b.barred, b.pending = make(map[uint64]time.Time), make(map[numberedSeries]int)
	b.wanted, b.struck = make(map[uint64]bool), make(map[ackName]rollup.Code)
}

// account returns what is taken on account.
func (ws *windows) account() Account {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	b := &ws.accounts
	return Account{AccountCounts: b.counts, Acks: b.acks, MaxAcks: b.AllAcks, Units: b.units,
		Known: len(b.known), Barred: len(b.barred), PerAcks: b.OnAccount.Acks, Sessions: len(b.tabs)}
}

func (b *accounts) on() bool { return b.OnAccount.Acks > 0 }

// complete fills in what follows from the rest.
func (o *OnAccount) complete() error {
	if o.Acks < 0 || o.AllAcks < 0 {
		return fmt.Errorf("%w: OnAccount is %+v", ErrConfig, *o)
	}
	if o.AllAcks == 0 {
		o.AllAcks = 16 * o.Acks
	}
	if o.Units == 0 {
		o.Units = ^uint64(0)
	}
	if o.AllUnits == 0 {
		o.AllUnits = ^uint64(0)
	}
	return nil
}

// reserve reports whether a submission may be taken on account, and lends it its room. All of it
// is taken so or nothing: what a client numbered in one submission is judged in one order.
func (b *accounts) reserve(s Session, frames []byte) bool {
	t := b.tabs[s]
	n := len(frames) / rollup.AckSize
	if t == nil || t.barred || t.acks+n > min(b.Acks, t.good) || b.acks+n > b.AllAcks {
		return false
	}
	var units uint64
	last, now := ^uint64(0), time.Time{}
	for ; len(frames) > 0; frames = frames[rollup.AckSize:] {
		f := rollup.Frame(frames[:rollup.AckSize])
		sum := units + f.Units()
		if sum < units {
			return false
		}
		units = sum
		if client := f.Client(); client != last {
			last = client
			if b.known[holder{s, client}] < knownFrom {
				return false
			}
			if until, bad := b.barred[client]; bad {
				if now.IsZero() {
					now = time.Now()
				}
				if now.Before(until) {
					return false
				}
				delete(b.barred, client)
			}
		}
	}
	if units > b.Units-min(b.Units, t.units) || units > b.AllUnits-min(b.AllUnits, b.units) {
		return false
	}
	t.acks, t.units = t.acks+n, t.units+units
	b.acks, b.units = b.acks+n, b.units+units
	return true
}

// release gives room back.
func (b *accounts) release(s Session, acks int, units uint64) {
	t := b.tabs[s]
	t.acks, t.units = t.acks-acks, t.units-units
	b.acks, b.units = b.acks-acks, b.units-units
}

// earn counts a covered ack of a client over a session.
func (b *accounts) earn(s Session, client uint64) {
	if !b.on() || s == NoSession {
		return
	}
	t := b.tabs[s]
	if t == nil {
		b.forget()
		t = new(tab)
		b.tabs[s] = t
	}
	t.good = min(t.good+1, b.Acks)
	h := holder{s, client}
	good, ok := b.known[h]
	if !ok && len(b.known) >= maxKnown {
		b.forget()
	}
	if good < knownFrom {
		b.known[h] = good + 1
	}
}

// forget makes room for those that come: whoever is forgotten is verified first, and known again
// after that.
func (b *accounts) forget() {
	for h := range b.known { // order-free: any of them
		if len(b.known) < maxKnown {
			break
		}
		delete(b.known, h)
	}
	for s, t := range b.tabs { // order-free: any without anything open
		if len(b.tabs) < maxKnown/4 {
			break
		}
		if t.acks == 0 {
			delete(b.tabs, s)
		}
	}
}

// bar takes the standing of a client and of the session over which it lied.
func (b *accounts) bar(s Session, client uint64) {
	if t := b.tabs[s]; t != nil {
		t.barred = true
	}
	delete(b.known, holder{s, client})
	if len(b.barred) >= maxQuarantined {
		for other := range b.barred { // order-free: any
			delete(b.barred, other)
			break
		}
	}
	b.barred[client] = time.Now().Add(barTime)
}

// strike remembers why an ack was dropped.
func (b *accounts) strike(f rollup.Frame, code rollup.Code) {
	name := ackName{seriesOf(f), f.Number()}
	if _, ok := b.struck[name]; !ok {
		if len(b.order) == maxStruck {
			delete(b.struck, b.order[0])
			b.order = b.order[1:]
		}
		b.order = append(b.order, name)
	}
	b.struck[name] = code
	if code == rollup.CodeDropped {
		b.counts.Dropped++
	} else {
		b.counts.Forged++
	}
}

// struckWith returns why an ack was dropped, while that is remembered.
func (ws *windows) struckWith(epoch uint32, client uint64, service, number uint32) (
	code rollup.Code, ok bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	code, ok = ws.accounts.struck[ackName{numberedSeries{epoch, series{client, service}}, number}]
	return code, ok
}

// close ends the time in which an ack was open. The caller holds windows.mu.
func (ws *windows) close(w *window, i int) {
	f := w.frame(i)
	w.marks[i] &^= markOpen
	w.open--
	ws.accounts.release(w.sessions[i], 1, f.Units())
	s := seriesOf(f)
	if ws.accounts.pending[s]--; ws.accounts.pending[s] <= 0 {
		delete(ws.accounts.pending, s)
	}
}

// mark notes how the ack was taken that its window has just taken. Windows have no marks while
// nothing is taken on account. The caller holds windows.mu.
func (w *window) mark(m uint8) {
	if m == 0 && len(w.marks) == 0 {
		return
	}
	for len(w.marks) < w.acks()-1 {
		w.marks = append(w.marks, 0)
	}
	w.marks = append(w.marks, m)
	if m&markOpen != 0 {
		w.open++
	}
}

func (w *window) has(i int, m uint8) bool { return i < len(w.marks) && w.marks[i]&m != 0 }

// live returns the frames that were not dropped.
func (w *window) live() []byte {
	if w.lost == 0 {
		return w.frames
	}
	kept := make([]byte, 0, len(w.frames)-w.lost*rollup.AckSize)
	for i := range w.acks() {
		if !w.has(i, markLost) {
			kept = append(kept, w.frame(i)...)
		}
	}
	return kept
}

// settleOnAccount takes a chunk on account, in the goroutine that handed it in.
func (p *Pipeline) settleOnAccount(c *chunk) {
	defer p.workers.Done()
	v := verdict{codes: make([]rollup.Code, len(c.at)), payers: make([]uint32, len(c.at))}
	last, payer := ^uint64(0), uint32(0)
	for i := range c.at {
		v.codes[i] = rollup.CodeOnAccount
		if client := c.frame(i).Client(); client != last {
			known, _ := c.view.Client(client) // the door found it there
			last, payer = client, known.Payer
		}
		v.payers[i] = payer
	}
	w := &worker{p: p}
	w.settle(c, v)
	w.finish()
}
