package client

import (
	"errors"
	"math"
	"sync"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
	"github.com/waybill-network/waybill/rollup/word"
)

// Errors of a book.
var (
	// ErrNoBook says that a client without Config.Book was to sign.
	ErrNoBook = errors.New("client: no book in which to write down what is signed")
	// ErrBookInUse says that another program, or another part of this one, has the book open.
	ErrBookInUse = errors.New("client: the book is open elsewhere")
	// ErrBookDamaged says that a book's file is not what was written into it. Signing would go on
	// without knowing what was signed.
	ErrBookDamaged = errors.New("client: the book is damaged")
	// ErrBookClosed says that a book is used after Close.
	ErrBookClosed = errors.New("client: the book is closed")
)

// How long a book remembers an ack that needs nothing any more, so that its client can co-sign the
// window that it went into, and how many acks at most.
const (
	defaultKeep = 10 * time.Minute
	defaultMost = 1 << 20
)

// Book is what the clients of a program signed: for each delivery the epoch, node, service and
// number, decided before it is signed and never changed. A number is signed once, ever, and sent
// again byte for byte; all counting rests on it. So a book outlives the program that keeps it, and
// one key belongs into one book.
//
// A book whose file is lost is begun anew, empty: then the node is asked which numbers it has not
// seen, and what was signed before stays as it is. Do not restore an old copy of a book: it does
// not know what was signed since, and a number would be signed twice.
//
// A Book is safe for concurrent use, and several Clients may share it.
type Book struct {
	journal *journal // nil: the book is in memory

	mu      sync.Mutex
	keep    time.Duration
	most    int
	places  map[Pin]*place
	indexed []*place
	ids     map[uint64]*entry
	order   []*entry // in the order of their numbers being given
	given   uint64   // entries ever
	swept   int      // length of order after the last sweep
	words   words
	err     error // why nothing can be signed any more
}

// MemoryBook returns a book that is lost when the program ends. It is for those to whom that does
// not matter: what they acknowledged shortly before stays unpaid, and as long as the epoch lasts
// they ask the node which numbers come next.
func MemoryBook() *Book {
	return &Book{keep: defaultKeep, most: defaultMost, places: make(map[Pin]*place),
		ids: make(map[uint64]*entry)}
}

// Remember sets for how long after its number was given an ack is remembered that needs nothing any
// more, and how many acks at most, at about 150 bytes each. By default it is 10 minutes, more than
// windows stay open by default, and 1,048,576. A client signs no offer about acks that its book has
// forgotten.
func (b *Book) Remember(keep time.Duration, acks int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keep, b.most = keep, acks
}

// Close writes down what is left and closes the file. Nothing is signed with the book any more.
func (b *Book) Close() error {
	err := b.sync()
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(b.err, ErrBookClosed) {
		return nil
	}
	b.err = errors.Join(ErrBookClosed, b.err)
	if b.journal != nil {
		err = errors.Join(err, b.journal.close())
	}
	return err
}

// place is what a book has about one node.
type place struct {
	pin   Pin
	index uint16
	// born is the epoch in which the book heard of the node. In it, and in the next one, which may
	// have begun before it was shown, what an earlier book of the same keys signed may be unknown
	// here, and the node is asked for its counters.
	born   uint32
	epoch  uint32 // of the latest number that was given; it moves forward only
	series map[seriesKey]*series
	has    map[epochClient]int // series
	roots  map[windowOf]signedRoot
	heard  map[windowOf]*offered
}

type (
	seriesKey struct {
		epoch   uint32
		client  uint64
		service uint32
	}
	epochClient struct {
		epoch  uint32
		client uint64
	}
	windowOf   struct{ epoch, window uint32 }
	signedRoot struct {
		cosign.Root
		at time.Time
	}
)

// maxNumber is the largest number of an ack.
const maxNumber = math.MaxUint32 - 1

// series is the numbers of one client for one service in one epoch at one node.
type series struct {
	place *place
	key   seriesKey
	next  uint64 // the number that is given next, above maxNumber when there is none
	asked bool   // next is above all numbers that an earlier book may have given
	acks  map[uint32]*entry
}

// state is what has become of an ack.
type state uint8

const (
	statePending  state = iota // the node has not said its last word
	stateTaken                 // it holds the ack
	stateForgiven              // it will never take the ack: the delivery stays unpaid
	stateFaulty                // it finds the ack wrong
)

// entry is one number that was given, and what for.
type entry struct {
	series  *series
	number  uint32
	state   state
	refused bool        // the node said once that it never takes it
	code    rollup.Code // of the last word
	units   uint64
	request rollup.Hash
	id      uint64
	owner   *deliverer // that waits for the last word; nil: none
	ordinal uint64     // in which it was given its number
	at      time.Time
}

// ack returns the ack without its signature.
func (e *entry) ack() rollup.Ack {
	k, p := &e.series.key, &e.series.place.pin
	return rollup.Ack{Net: p.Network.Net(), Epoch: k.epoch, Node: p.Node, Client: k.client,
		Service: k.service, Number: e.number, Units: e.units, Request: e.request}
}

// at returns what the book has about a node, of which it may hear in this epoch for the first time.
func (b *Book) at(pin *Pin, epoch uint32) (*place, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.places[*pin]; p != nil {
		return p, nil
	}
	if len(b.indexed) > math.MaxUint16 {
		return nil, errors.New("client: a book has room for 65,536 nodes")
	}
	p := b.addPlace(*pin, epoch)
	b.write(func(j *journal) { j.place(p) })
	return p, nil
}

func (b *Book) addPlace(pin Pin, born uint32) *place {
	p := &place{pin: pin, index: uint16(len(b.indexed)), born: born, epoch: born,
		series: make(map[seriesKey]*series), has: make(map[epochClient]int),
		roots: make(map[windowOf]signedRoot), heard: make(map[windowOf]*offered)}
	b.places[pin], b.indexed = p, append(b.indexed, p)
	return p
}

// epoch returns the latest epoch in which a number of a node was given.
func (b *Book) epoch(pin *Pin) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.places[*pin]; p != nil {
		return p.epoch
	}
	return 0
}

// seriesOf returns a series, which may be new.
func (p *place) seriesOf(k seriesKey) *series {
	l := p.series[k]
	if l == nil {
		l = &series{place: p, key: k, asked: uint64(k.epoch) > uint64(p.born)+1,
			acks: make(map[uint32]*entry)}
		p.series[k] = l
		p.has[epochClient{k.epoch, k.client}]++
	}
	return l
}

// unasked returns the series of an epoch that deliveries go into and whose next number the node has
// to be asked for.
func (b *Book) unasked(p *place, epoch uint32, deliveries []*item) (keys []seriesKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := make(map[*series]bool)
	for _, d := range deliveries {
		l := p.seriesOf(seriesKey{epoch, d.Client, d.Service})
		if !l.asked && !seen[l] {
			seen[l], keys = true, append(keys, l.key)
		}
	}
	return keys
}

// learn takes the node's counter of a series. Numbers that this book gave are never given again,
// whatever the node says.
func (b *Book) learn(p *place, k seriesKey, next uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := p.seriesOf(k)
	l.next, l.asked = max(l.next, uint64(next)), true
}

// give decides for each delivery under which number of the epoch it is signed, durably. It gives
// none to a delivery whose ID the book knows, whose entry is that of the earlier delivery then, and
// none where no number is left.
func (b *Book) give(p *place, epoch uint32, deliveries []*item, owner *deliverer) error {
	if err := b.giveAll(p, epoch, deliveries, owner); err != nil {
		return err
	}
	return b.sync()
}

func (b *Book) giveAll(p *place, epoch uint32, deliveries []*item, owner *deliverer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil:
		return b.err
	case epoch < p.epoch:
		return rollup.Refuse(ReasonEpochBackwards, "%d, after %d", epoch, p.epoch)
	case epoch > p.epoch:
		p.advance(epoch)
		b.write(func(j *journal) { j.epoch(p) })
	}
	now := time.Now()
	b.sweep(now)
	for _, d := range deliveries {
		if known := b.ids[d.ID]; d.ID != 0 && known != nil && !d.rest {
			d.entry = known
			continue
		}
		l := p.seriesOf(seriesKey{epoch, d.Client, d.Service})
		if l.next > maxNumber {
			continue
		}
		e := &entry{series: l, number: uint32(l.next), units: d.units(), request: d.Request,
			id:    d.ID,
			owner: owner, at: now}
		b.enter(e)
		b.write(func(j *journal) { j.ack(e) })
		d.entry, d.given = e, true
	}
	return nil
}

// enter puts an entry where it belongs.
func (b *Book) enter(e *entry) {
	e.ordinal = b.given
	b.given++
	e.series.acks[e.number] = e
	e.series.next, e.series.asked = max(e.series.next, uint64(e.number)+1), true
	b.order = append(b.order, e)
	if e.id != 0 {
		b.ids[e.id] = e
	}
}

// advance moves to a later epoch, in which alone numbers are given from then on.
func (p *place) advance(epoch uint32) {
	p.epoch = epoch
	for _, l := range p.series {
		p.drop(l)
	}
	for w := range p.roots {
		if w.epoch+1 < epoch {
			delete(p.roots, w)
		}
	}
}

// drop forgets a series of an epoch that is over once none of its acks is remembered.
func (p *place) drop(l *series) {
	if l.key.epoch >= p.epoch || len(l.acks) > 0 {
		return
	}
	delete(p.series, l.key)
	c := epochClient{l.key.epoch, l.key.client}
	if p.has[c]--; p.has[c] == 0 {
		delete(p.has, c)
	}
}

// sweep forgets what needs nothing any more and was given long ago, and the oldest of it while
// there is too much.
func (b *Book) sweep(now time.Time) {
	if len(b.order) < 2*b.swept+1024 && len(b.order) < b.most {
		return
	}
	excess, kept := len(b.order)-b.most*3/4, b.order[:0]
	for _, e := range b.order {
		if (excess > 0 || now.Sub(e.at) > b.keep) && e.over() {
			excess--
			b.forget(e)
			continue
		}
		kept = append(kept, e)
	}
	clear(b.order[len(kept):])
	b.order, b.swept = kept, len(kept)
}

// over reports whether nothing is to be done about an entry. A faulty one stands in the way of its
// series as long as its epoch lasts.
func (e *entry) over() bool {
	switch e.state {
	case statePending:
		return false
	case stateFaulty:
		return e.series.key.epoch < e.series.place.epoch
	}
	return e.owner == nil
}

func (b *Book) forget(e *entry) {
	delete(e.series.acks, e.number)
	e.series.place.drop(e.series)
	if e.id != 0 && b.ids[e.id] == e {
		delete(b.ids, e.id)
	}
}

// adopt returns, in the order of their numbers being given, the acks for a node whose last word
// nobody waits for, which a delivery does from then on; and those that the node found wrong, which
// it may take when they are signed right.
func (b *Book) adopt(p *place, owner *deliverer) (pending, faulty []*entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.order {
		if e.series.place != p || e.owner != nil {
			continue
		}
		switch e.state {
		case statePending:
			pending = append(pending, e)
		case stateFaulty:
			if e.series.key.epoch != p.epoch {
				continue
			}
			faulty = append(faulty, e)
		default:
			continue
		}
		e.owner = owner
	}
	return pending, faulty
}

// release lets go of an entry, which another delivery may wait for.
func (b *Book) release(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.owner = nil
}

// answer notes what the node said last. It is written down with, and before, what is signed next:
// when it is lost, the node is asked again.
func (b *Book) answer(e *entry, s state, code rollup.Code) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.state, e.code, e.owner = s, code, nil
	b.write(func(j *journal) { j.answer(e) })
}

// ask has the counter of a series fetched from the node before a number of it is given.
func (b *Book) ask(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.series.asked = false
}

// claim has a delivery wait for an entry's last word, unless that is said or another one waits.
func (b *Book) claim(e *entry, owner *deliverer) (s state, code rollup.Code, claimed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.state == statePending && e.owner == nil {
		e.owner = owner
	}
	return e.state, e.code, e.owner == owner
}

// from returns the acks of an entry's series with the numbers from first up to before the entry's
// own that are remembered, in order, and what has become of them.
func (b *Book) from(e *entry, first uint64) (acks []*entry, states []state) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n := first; n < uint64(e.number) && n < first+maxResent; n++ {
		if prior := e.series.acks[uint32(n)]; prior != nil {
			acks, states = append(acks, prior), append(states, prior.state)
		}
	}
	return acks, states
}

// maxResent bounds how many acks are sent again because the node names one of them.
const maxResent = 4096

// check decides for every client of an offer, which the node signed, whether it may sign. When any
// may, no other root is signed for the window from then on, and that is durable when check returns.
// So is what the node offered.
func (b *Book) check(pin *Pin, o *cosign.Offer, signature word.Signature,
	payer func(client uint64) (uint32, bool)) ([]cosign.Verdict, error) {
	verdicts, err := b.checkAll(pin, o, signature, payer)
	if err != nil {
		return nil, err
	}
	return verdicts, b.sync()
}

func (b *Book) checkAll(pin *Pin, o *cosign.Offer, signature word.Signature,
	payer func(client uint64) (uint32, bool)) ([]cosign.Verdict, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil, b.err
	}
	p := b.places[*pin]
	if p == nil || o.Key.Node != pin.Node {
		return o.Check(nil, payer), nil
	}
	if o.Network == pin.Network {
		b.hear(&offered{p, offerWord(o), signature})
	}
	signed := &cosign.Signed{Network: pin.Network, Book: remembered{p, o.Key.Epoch}}
	w := windowOf{o.Key.Epoch, o.Key.Window}
	if root, ok := p.roots[w]; ok {
		signed.Root = &root.Root
	}
	verdicts := o.Check(signed, payer)
	for _, v := range verdicts {
		if v.Refused || signed.Root != nil {
			continue
		}
		root := signedRoot{o.Tree(), time.Now()}
		signed.Root = &root.Root
		p.roots[w] = root
		b.write(func(j *journal) { j.root(p, w, root) })
	}
	return verdicts, nil
}

// remembered is what a book has of one node and epoch, for package cosign.
type remembered struct {
	place *place
	epoch uint32
}

// Has implements cosign.Book.
func (r remembered) Has(client uint64) bool { return r.place.has[epochClient{r.epoch, client}] > 0 }

// AppendRun implements cosign.Book.
func (r remembered) AppendRun(dst []byte, run rollup.Run) ([]byte, bool) {
	l := r.place.series[seriesKey{r.epoch, run.Client, run.Service}]
	if l == nil || uint64(run.Count) > uint64(len(l.acks)) {
		return dst, false
	}
	for n := uint64(run.First); n < run.End(); n++ {
		e := l.acks[uint32(n)]
		if e == nil {
			return dst, false
		}
		dst = le.AppendUint64(dst, e.units)
		dst = append(dst, e.request[:]...)
	}
	return dst, true
}

// Refused implements cosign.Book.
func (r remembered) Refused(run rollup.Run) bool {
	l := r.place.series[seriesKey{r.epoch, run.Client, run.Service}]
	for n := uint64(run.First); l != nil && n < run.End(); n++ {
		if e := l.acks[uint32(n)]; e != nil && (e.refused || e.state == stateForgiven) {
			return true
		}
	}
	return false
}

// signedBy returns the last acks, at most so many, that a client signed for a node in an epoch and
// that are remembered.
func (b *Book) signedBy(pin *Pin, epoch uint32, client uint64, most int) (acks []rollup.Ack) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.places[*pin]
	if p == nil {
		return nil
	}
	for _, e := range b.order {
		k := &e.series.key
		if e.series.place == p && k.epoch == epoch && k.client == client {
			acks = append(acks, e.ack())
		}
	}
	return acks[max(0, len(acks)-most):]
}

// write adds to the journal, if there is one.
func (b *Book) write(record func(*journal)) {
	if b.journal != nil {
		record(b.journal)
	}
}

// sync returns when all that was written before is on disk.
func (b *Book) sync() error {
	if b.journal == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.err
	}
	return b.journal.sync(b)
}
