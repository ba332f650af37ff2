package ingest

import (
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// book is what the clients of one process signed, so that they can tell whether a node's statements about them are true.
// It is safe for concurrent use.
type book struct {
	keep    time.Duration // after the last ack of a window was signed, until it is forgotten
	maxAcks int

	mu      sync.Mutex
	windows map[rollup.WindowKey]*windowBook
	acks    int
}

// windowBook is what they signed for one window.
type windowBook struct {
	network rollup.Network
	clients map[uint32]map[uint32]*booked // by client and seq
	acks    int
	last    time.Time
	bound   *bound // what was signed for it
}

// bound is the one root that clients of this process sign for a window.
type bound struct {
	count uint32
	root  rollup.Hash
}

// booked is an ack that a client signed.
type booked struct {
	entry    [rollup.EntrySize]byte
	accepted bool // the node said so
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
		p := b.windows[f.Key()]
		if p == nil {
			p = &windowBook{network: f.Network(), clients: make(map[uint32]map[uint32]*booked)}
			b.windows[f.Key()] = p
		}
		p.last = now
		acks := p.clients[f.Client()]
		if acks == nil {
			acks = make(map[uint32]*booked)
			p.clients[f.Client()] = acks
		}
		entry := [rollup.EntrySize]byte(f.Entry())
		// Of two acks with one seq the node takes one. Which, its answer says.
		if prior := acks[f.Seq()]; prior == nil {
			p.acks++
			b.acks++
			acks[f.Seq()] = &booked{entry: entry}
		} else if !prior.accepted {
			prior.entry = entry
		}
		references = append(references, reference{f.Key(), f.Client(), f.Seq()})
	}
	return references
}

// accept notes that the node holds acks: those of the references whose code says so.
func (b *book) accept(references []reference, codes []rollup.Code) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, r := range references {
		if !codes[i].OK() {
			continue
		}
		if p := b.windows[r.key]; p != nil {
			if ack := p.clients[r.client][r.seq]; ack != nil {
				ack.accepted = true
			}
		}
	}
}

// forget drops windows that nobody signed for lately, and the oldest while there are too many acks. Offers for them are
// refused from then on.
func (b *book) forget(now time.Time) {
	for key, p := range b.windows {
		if now.Sub(p.last) > b.keep {
			b.drop(key)
		}
	}
	for b.acks > b.maxAcks {
		var oldest rollup.WindowKey
		var last time.Time
		for key, p := range b.windows {
			if last.IsZero() || p.last.Before(last) {
				oldest, last = key, p.last
			}
		}
		b.drop(oldest)
	}
}

func (b *book) drop(key rollup.WindowKey) {
	b.acks -= b.windows[key].acks
	delete(b.windows, key)
}

// check decides for every client of an offer whether it may sign; verdicts are by client, and nil stands for yes. When
// any may, the window is bound to the offer's root. payer may be nil, or not know.
func (b *book) check(o *offer, payer func(client uint32) (uint32, bool)) []*Reason {
	verdicts := make([]*Reason, len(o.clients))
	refuse := func(r Reason) []*Reason {
		for i := range verdicts {
			verdicts[i] = &r
		}
		return verdicts
	}
	for i := range o.ranges {
		if !o.ranges[i].under(o.root, o.count) {
			return refuse(ReasonWrongPath)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.windows[o.key]
	switch {
	case p == nil:
		return refuse(ReasonWrongWindow)
	case p.network != o.network:
		return refuse(ReasonWrongNetwork)
	case p.bound != nil && *p.bound != bound{o.count, o.root}:
		return refuse(ReasonRepeated)
	}
	willing := false
	for i := range o.clients {
		c := &o.clients[i]
		if r, ok := p.refuses(o, c, payer); ok {
			verdicts[i] = &r
		} else {
			willing = true
		}
	}
	if willing {
		p.bound = &bound{o.count, o.root}
	}
	return verdicts
}

func (r *provenRange) under(root rollup.Hash, count uint32) bool {
	return rollup.VerifyStatementRange(root, r.statements, r.first, count, r.path) == nil
}

// refuses returns why a client must not sign, if there is a reason.
func (p *windowBook) refuses(o *offer, c *offeredClient, payer func(client uint32) (uint32, bool)) (Reason, bool) {
	signed := p.clients[c.client]
	switch {
	case len(signed) == 0:
		return ReasonWrongWindow, true
	case c.in == nil:
		return ReasonMissingAck, true
	case c.scattered:
		return ReasonExtraStatement, true
	case !c.between(o.count):
		return ReasonNeighbour, true
	}
	seqs, listed := c.seqs, 0
	for i := c.lo; i < c.hi; i++ {
		s := &c.in.statements[i]
		if i > c.lo && s.Service <= c.in.statements[i-1].Service {
			return ReasonExtraStatement, true
		}
		if want, ok := payerOf(payer, c.client); ok && want != s.Payer {
			return ReasonWrongPayer, true
		}
		if r, bad := statementRefused(s, signed, seqs[:s.Acks], o.key, &listed); bad {
			return r, true
		}
		seqs = seqs[s.Acks:]
	}
	accepted := 0
	for _, ack := range signed {
		if ack.accepted {
			accepted++
		}
	}
	return ReasonMissingAck, listed < accepted
}

func payerOf(payer func(uint32) (uint32, bool), client uint32) (uint32, bool) {
	if payer == nil {
		return 0, false
	}
	return payer(client)
}

// between reports whether the statements before and behind the client's run are shown, and of smaller and of larger
// clients: in a tree in order there can be no others in the client's name then.
func (c *offeredClient) between(count uint32) bool {
	statements, first := c.in.statements, uint64(c.in.first)
	if c.lo == 0 && first > 0 || c.hi == len(statements) && first+uint64(c.hi) < uint64(count) {
		return false
	}
	return (c.lo == 0 || statements[c.lo-1].Client < c.client) && (c.hi == len(statements) || statements[c.hi].Client > c.client)
}

// statementRefused holds a statement, and the seqs that are said to be under it, against what the client signed. It adds
// to listed the number of accepted acks among them.
func statementRefused(s *rollup.Statement, signed map[uint32]*booked, seqs []uint32, key rollup.WindowKey, listed *int) (Reason, bool) {
	known := false
	for _, ack := range signed {
		if rollup.Entry(ack.entry[:]).Service() == s.Service {
			known = true
			break
		}
	}
	if !known {
		return ReasonExtraStatement, true
	}
	acks := le.AppendUint32(make([]byte, 0, 4+len(seqs)*rollup.EntrySize), uint32(len(seqs)))
	units := uint64(0)
	for i, seq := range seqs {
		ack := signed[seq]
		if ack == nil || i > 0 && seq <= seqs[i-1] || rollup.Entry(ack.entry[:]).Service() != s.Service {
			return ReasonWrongAcks, true
		}
		if ack.accepted {
			*listed++
		}
		units += rollup.Entry(ack.entry[:]).Units() // at most 2^16 of at most 2^40: a service's cap
		acks = append(acks, ack.entry[:]...)
	}
	switch {
	case units != s.Units:
		return ReasonWrongUnits, true
	case rollup.StatementRoot(rollup.Acks(acks), key) != s.Root:
		return ReasonWrongRoot, true
	}
	return 0, false
}

// signedBy returns what a client signed for a window, in an order that is always the same.
func (b *book) signedBy(key rollup.WindowKey, client uint32) (entries [][rollup.EntrySize]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.windows[key]
	if p == nil {
		return nil
	}
	for _, ack := range p.clients[client] {
		entries = append(entries, ack.entry)
	}
	slices.SortFunc(entries, func(a, b [rollup.EntrySize]byte) int { return slices.Compare(a[:], b[:]) })
	return entries
}
