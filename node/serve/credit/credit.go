// Package credit decides how many bytes a node sends ahead of acknowledgements, and remembers what
// it was not paid for.
//
// # Windows
//
// Credit belongs to a session, of which a client has one at a time. It may be sent a window of
// bytes that are not acknowledged: 256 KiB at first. The window doubles when half of it was
// acknowledged since it last grew, up to 8 MiB, and halves when an ack comes late. Every ack
// counts for what is outstanding of its own service, for another one may be cheaper; what a client
// signs beyond that buys nothing.
//
// Who has paid much is trusted with more, so that one long stream needs few acks: the window of a
// client grows on to an eighth of all that it paid for, up to 64 MiB, while what its payer's
// clients owe and have outstanding stays within what they may owe.
//
// At every instant: what was taken to be sent − what was acknowledged, forgiven or given back =
// what is outstanding in sessions + what is owed + what was written off. What is outstanding in a
// session is never above the window that it had when the last byte was taken.
//
// # Debts
//
// What is outstanding when a session ends, or is not acknowledged for too long, is owed: by the
// client, by its payer, and by the address that it was sent to. A client that owes has that much
// less of a first window. What a broken line swallows is never acknowledged by honest clients
// either, so a share of what they have paid for is let pass. Where a payer's clients or an address
// owe too much, clients without any history there get nothing.
//
// A later ack pays a debt; a delivery that the node itself refused for good is forgiven in all of
// these books, within bounds.
//
// # What is durable
//
// Each change is an Event. Whoever writes them down before it acts, and replays them, has the
// debts of before a crash: what was outstanding then is owed. An ack is durable before it is
// counted. So the events say of each window how many of its acks were counted, and whoever hands
// in all acks of the open windows again after a crash has counted each of them once.
//
// The tables are bounded: the client
// that was heard of longest ago is forgotten, and what it owes is written off, but stays with its
// payer.
//
// A Book reads no clock and is not safe for concurrent use.
package credit

import (
	"container/list"
	"iter"
	"maps"
	"net/netip"
	"time"

	"github.com/waybill-network/waybill/rollup/delivery"
)

// Params are a node's own rules. Zero values stand for the defaults.
type Params struct {
	First   uint64        // the window of a client without a history, 256 KiB
	Most    uint64        // the largest window without much of a history, 8 MiB
	Grown   uint64        // the largest window, 64 MiB; no more than Most: none is larger
	Part    uint64        // of how many bytes that a client paid for one makes a window so large, 8
	Least   uint64        // the smallest window that is of use, 16 KiB: a group
	Share   uint64        // one of how many bytes that were paid for may be lost, 128
	Payer   uint64        // what clients of one payer may owe, beside that share, 64 MiB
	Address uint64        // what clients at one address may owe, beside that share, 4 MiB
	Late    time.Duration // from an ask to an ack that is not late, 10 s
	Lost    time.Duration // from an ask until what is outstanding is owed, 60 s
	Idle    time.Duration // of a session in which nothing happens, 10 min
	Clients int           // that are remembered, and as many addresses, 65,536
	Open    int           // sessions at once, 16,384
}

func (p *Params) complete() {
	or(&p.First, 256<<10)
	or(&p.Most, 8<<20)
	or(&p.Grown, 64<<20)
	or(&p.Part, 8)
	or(&p.Least, 16<<10)
	or(&p.Share, 128)
	or(&p.Payer, 64<<20)
	or(&p.Address, 4<<20)
	or(&p.Late, 10*time.Second)
	or(&p.Lost, time.Minute)
	or(&p.Idle, 10*time.Minute)
	or(&p.Clients, 1<<16)
	or(&p.Open, 1<<14)
}

func or[T comparable](v *T, standard T) {
	var zero T
	if *v == zero {
		*v = standard
	}
}

// ID names a session.
type ID [16]byte

// line is what somebody paid for and owes.
type line struct{ paid, owed uint64 }

// tolerated is how much may be owed without a consequence.
func (l *line) tolerated(base, share uint64) uint64 { return base + l.paid/share }

// payer is what a payer's clients paid for and owe, and what is outstanding in their sessions.
type payer struct {
	line
	claims []claim
}

// client is a client that is remembered.
type client struct {
	index uint64
	payer uint32
	line
	forgiven uint64
	debts    []debt
	session  *session
	used     *list.Element // in Book.order; the one that was heard of longest ago is in front
}

// debt is what a client owes for a service, for what was sent to an address.
type debt struct {
	service uint32
	address netip.Prefix
	bytes   uint64
}

// session is a session with a window.
type session struct {
	id      ID
	client  *client
	address netip.Prefix
	window  uint64
	sum     uint64 // of what is outstanding
	grown   uint64 // acknowledged since the window last changed
	claims  []claim
	asked   time.Time // when an ack was asked for that has not come; zero: none
	used    time.Time
}

// claim is what is outstanding for a service.
type claim struct {
	service uint32
	bytes   uint64
}

// Totals are sums since the book was made, and what is outstanding and owed now. Sent + Recalled =
// Paid + Forgiven + Returned + Outstanding + Owed + WrittenOff.
type Totals struct {
	Sent        uint64 // taken to be sent
	Recalled    uint64 // owed by events of an earlier run
	Paid        uint64 // acknowledged, of what was sent
	Beyond      uint64 // acknowledged and never sent
	Forgiven    uint64
	Returned    uint64 // taken, and not sent
	WrittenOff  uint64 // owed by clients that are forgotten
	Outstanding uint64
	Owed        uint64
	Sessions    int
	Clients     int // that are remembered
	Debtors     int // of them, that owe
	Late        uint64
	Lost        uint64 // sessions
}

// Book is the credit of all clients of a node.
type Book struct {
	params    Params
	write     func(Event)
	clients   map[uint64]*client
	order     list.List
	sessions  map[ID]*session
	payers    map[uint32]*payer
	addresses map[netip.Prefix]*line
	counted   map[window]uint32
	totals    Totals
}

// window names a window of the node.
type window struct{ epoch, number uint32 }

// New returns an empty book that hands each change to write before it is made.
func New(params Params, write func(Event)) *Book {
	params.complete()
	if write == nil {
		write = func(Event) {}
	}
	return &Book{params: params, write: write, clients: make(map[uint64]*client),
		sessions: make(map[ID]*session), payers: make(map[uint32]*payer),
		addresses: make(map[netip.Prefix]*line), counted: make(map[window]uint32)}
}

// Totals returns the sums.
func (b *Book) Totals() Totals {
	t := b.totals
	t.Sessions, t.Clients = len(b.sessions), len(b.clients)
	for _, c := range b.clients {
		if c.owed > 0 {
			t.Debtors++
		}
	}
	return t
}

// AddressOf returns the prefix that shares debts with an address: 24 bits of IPv4, 48 of IPv6.
func AddressOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	prefix, _ := a.Prefix(bits)
	return prefix
}

// Open opens a session and ends the client's last one. It returns the window; reasons: the client,
// its payer or its address owes too much, or there are too many sessions.
func (b *Book) Open(now time.Time, id ID, index uint64, payer uint32, address netip.Prefix) (
	window uint64, err error) {
	if b.sessions[id] != nil {
		return 0, delivery.Refuse(delivery.ReasonMalformed, "a session of this name is open")
	}
	c := b.client(index, payer)
	if c.session != nil {
		b.end(c.session)
	}
	if len(b.sessions) >= b.params.Open {
		return 0, delivery.ReasonStreams
	}
	s := &session{id: id, client: c, address: address, window: b.params.First, used: now}
	if window, err = b.limit(s); err != nil {
		return 0, err
	}
	c.session, b.sessions[id] = s, s
	return window, nil
}

// limit is how much may be outstanding in a session, which is not 0.
func (b *Book) limit(s *session) (uint64, error) {
	c := s.client
	if c.paid == 0 {
		if p := b.payers[c.payer]; p != nil && p.owed > p.tolerated(b.params.Payer, b.params.Share) {
			return 0, delivery.Refuse(delivery.ReasonOwesPayer, "%d bytes", p.owed)
		}
		a := b.addresses[s.address]
		if a != nil && a.owed > a.tolerated(b.params.Address, b.params.Share) {
			return 0, delivery.Refuse(delivery.ReasonOwesAddress, "%d bytes at %v", a.owed,
				s.address)
		}
	}
	if c.owed <= c.tolerated(0, b.params.Share) {
		return b.trusted(s), nil
	}
	most := c.tolerated(b.params.First, b.params.Share)
	if c.owed+b.params.Least > most {
		return 0, delivery.Refuse(delivery.ReasonOwesClient, "%d bytes", c.owed)
	}
	return min(s.window, most-c.owed), nil
}

// trusted is a session's window as far as its payer's clients may owe it. What is outstanding may
// be above it, when others of them have got more meanwhile.
func (b *Book) trusted(s *session) uint64 {
	if s.window <= b.params.Most {
		return s.window
	}
	p := b.payer(s.client.payer)
	used := p.owed
	for _, l := range p.claims {
		used += l.bytes
	}
	most := p.tolerated(b.params.Payer, b.params.Share)
	return min(s.window, max(b.params.Most, s.sum+most-min(most, used)))
}

// Take takes up to so many bytes that are about to be sent for a service, in whole units unless it
// takes all. None means that an ack has to come first. With ask the client has to be asked for one:
// half of the window is used. Reasons: there is no such session, or it was not paid for too long,
// or the client owes too much.
func (b *Book) Take(now time.Time, id ID, service uint32, most, unit uint64) (n uint64, ask bool,
	err error) {
	s := b.sessions[id]
	if s == nil {
		return 0, false, delivery.ReasonSession
	}
	if b.lost(now, s) {
		return 0, false, delivery.ReasonUnpaid
	}
	limit, err := b.limit(s)
	if err != nil && s.sum == 0 {
		return 0, false, err
	}
	s.used = now
	if s.sum < limit {
		n = min(most, limit-s.sum)
	}
	if n < most {
		n -= n % unit
	}
	if ask = (n < most || 2*(s.sum+n) >= limit) && s.asked.IsZero(); ask {
		s.asked = now
	}
	if n > 0 {
		b.write(Event{Kind: EventSent, Client: s.client.index, Payer: s.client.payer,
			Service: service, Address: s.address, Bytes: n})
		s.add(service, n)
		lend(&b.payer(s.client.payer).claims, service, n)
		b.totals.Sent += n
		b.totals.Outstanding += n
	}
	return n, ask, nil
}

// Due returns what is outstanding in a session, and how much may be.
func (b *Book) Due(id ID) (due, window uint64) {
	if s := b.sessions[id]; s != nil {
		due = s.sum
		window, _ = b.limit(s)
	}
	return due, window
}

// Return gives back what was taken for a client and not sent.
func (b *Book) Return(index uint64, service uint32, bytes uint64) {
	if c := b.clients[index]; c != nil {
		b.totals.Returned += b.settle(c, Event{Kind: EventReturned, Service: service}, bytes)
	}
}

// Paid notes that an ack was taken, with which so many acks of its window are; one that was noted
// before counts for nothing. It returns the session whose credit grew, if there is one.
func (b *Book) Paid(now time.Time, place Place, index uint64, service uint32, units uint64) (
	ID, bool) {
	if place.Acks <= b.counted[window{place.Epoch, place.Window}] {
		return ID{}, false
	}
	b.count(place)
	c := b.clients[index]
	if c == nil {
		b.totals.Beyond += units
		return ID{}, false
	}
	n := b.settle(c, Event{Kind: EventPaid, Service: service, Counted: place}, units)
	b.totals.Paid += n
	b.totals.Beyond += units - n
	b.pay(c, n)
	s := c.session
	if s == nil {
		return ID{}, false
	}
	b.grow(now, s, n)
	return s.id, true
}

// Counted has the events say that a window's acks were noted so far, whomever they were of.
func (b *Book) Counted(place Place) {
	if place.Acks == b.counted[window{place.Epoch, place.Window}] {
		b.write(Event{Kind: EventCounted, Counted: place})
	}
}

// epochsCounted is for how many epochs places are kept: a node takes acks of two at most.
const epochsCounted = 3

// count raises a window's place. With a new window it forgets those that no ack can be of.
func (b *Book) count(place Place) {
	at := window{place.Epoch, place.Window}
	if _, known := b.counted[at]; !known {
		maps.DeleteFunc(b.counted, func(w window, _ uint32) bool { // order-free
			return uint64(w.epoch)+epochsCounted <= uint64(at.epoch)
		})
	}
	b.counted[at] = max(b.counted[at], place.Acks)
}

// pay adds to the histories.
func (b *Book) pay(c *client, n uint64) {
	c.paid += n
	b.payer(c.payer).paid += n
	if c.session != nil {
		b.address(c.session.address).paid += n
	}
}

// grow changes a session's window after an ack.
func (b *Book) grow(now time.Time, s *session, n uint64) {
	s.used = now
	if n == 0 {
		return
	}
	s.grown += n
	switch {
	case !s.asked.IsZero() && now.Sub(s.asked) > b.params.Late:
		b.totals.Late++
		s.window, s.grown = max(s.window/2, b.params.First/4), 0
	case s.grown >= s.window/2:
		most := max(b.params.Most, min(s.client.paid/b.params.Part, b.params.Grown))
		s.window, s.grown = max(s.window, min(2*s.window, most)), 0
	}
	s.asked = time.Time{}
	if 2*s.sum >= s.window {
		s.asked = now
	}
}

// Forgive notes that the node refused an ack for good: nobody will be paid for it. A client could
// sign such acks on purpose, so no more is forgiven in all than a first window and the share of
// what it has paid for that may be lost.
func (b *Book) Forgive(index uint64, service uint32, units uint64) (ID, bool) {
	c := b.clients[index]
	if c == nil {
		return ID{}, false
	}
	most := c.tolerated(b.params.First, b.params.Share)
	n := b.settle(c, Event{Kind: EventForgiven, Service: service},
		min(units, most-min(most, c.forgiven)))
	b.totals.Forgiven += n
	c.forgiven += n
	if c.session == nil {
		return ID{}, false
	}
	if c.session.sum == 0 {
		c.session.asked = time.Time{}
	}
	return c.session.id, true
}

// Client returns whose session that is, if it is open.
func (b *Book) Client(id ID) (index uint64, open bool) {
	s := b.sessions[id]
	if s == nil {
		return 0, false
	}
	return s.client.index, true
}

// Owed returns what a client owes.
func (b *Book) Owed(index uint64) uint64 {
	if c := b.clients[index]; c != nil {
		return c.owed
	}
	return 0
}

// End ends a session: what is outstanding is owed.
func (b *Book) End(id ID) {
	if s := b.sessions[id]; s != nil {
		b.end(s)
	}
}

// Sweep ends sessions that were not paid for too long, or in which nothing happens. It returns
// them.
func (b *Book) Sweep(now time.Time) (ended []ID) {
	for _, s := range b.sessions { // order-free
		if b.lost(now, s) || now.Sub(s.used) >= b.params.Idle {
			b.end(s)
			ended = append(ended, s.id)
		}
	}
	return ended
}

func (b *Book) lost(now time.Time, s *session) bool {
	return !s.asked.IsZero() && now.Sub(s.asked) >= b.params.Lost
}

func (b *Book) end(s *session) {
	delete(b.sessions, s.id)
	s.client.session = nil
	if s.sum > 0 {
		b.totals.Lost++
	}
	for _, l := range s.claims {
		if l.bytes > 0 {
			b.totals.Outstanding -= l.bytes
			redeem(b.payer(s.client.payer).claims, l.service, l.bytes)
			b.owe(s.client, l.service, s.address, l.bytes)
		}
	}
}

// owe adds to what a client owes.
func (b *Book) owe(c *client, service uint32, address netip.Prefix, bytes uint64) {
	b.totals.Owed += bytes
	c.owed += bytes
	b.payer(c.payer).owed += bytes
	b.address(address).owed += bytes
	for i := range c.debts {
		if d := &c.debts[i]; d.service == service && d.address == address {
			d.bytes += bytes
			return
		}
	}
	c.debts = append(c.debts, debt{service, address, bytes})
}

// settle takes bytes off what is outstanding for an event's service, and then off what is owed for
// it, and writes the event. It returns how much that was.
func (b *Book) settle(c *client, e Event, bytes uint64) (n uint64) {
	service := e.Service
	if c.session != nil {
		n = min(bytes, c.session.outstanding(service))
	}
	owed := uint64(0)
	for _, d := range c.debts {
		if d.service == service {
			owed += d.bytes
		}
	}
	owed = min(bytes-n, owed)
	if n+owed == 0 {
		return 0
	}
	e.Client, e.Payer, e.Bytes = c.index, c.payer, n+owed
	b.write(e)
	if n > 0 {
		c.session.take(service, n)
		redeem(b.payer(c.payer).claims, service, n)
		b.totals.Outstanding -= n
	}
	b.reduce(c, service, owed)
	return n + owed
}

// reduce takes bytes off what a client owes for a service.
func (b *Book) reduce(c *client, service uint32, bytes uint64) {
	kept := c.debts[:0]
	for _, d := range c.debts {
		if d.service == service {
			n := min(d.bytes, bytes)
			bytes, d.bytes = bytes-n, d.bytes-n
			c.owed -= n
			b.totals.Owed -= n
			b.lower(&b.payer(c.payer).line, n)
			b.lower(b.address(d.address), n)
		}
		if d.bytes > 0 {
			kept = append(kept, d)
		}
	}
	c.debts = kept
}

// lower takes off what somebody owes, who may have been forgotten meanwhile.
func (b *Book) lower(l *line, n uint64) { l.owed -= min(l.owed, n) }

func (s *session) add(service uint32, n uint64) {
	s.sum += n
	lend(&s.claims, service, n)
}

// lend adds to what is outstanding for a service.
func lend(list *[]claim, service uint32, n uint64) {
	for i := range *list {
		if (*list)[i].service == service {
			(*list)[i].bytes += n
			return
		}
	}
	*list = append(*list, claim{service, n})
}

// redeem takes off what is outstanding for a service.
func redeem(list []claim, service uint32, n uint64) {
	for i := range list {
		if list[i].service == service {
			list[i].bytes -= n
		}
	}
}

// Outstanding yields what is outstanding in the sessions of a payer's clients, by service.
func (b *Book) Outstanding(of uint32) iter.Seq2[uint32, uint64] {
	return func(yield func(service uint32, bytes uint64) bool) {
		p := b.payers[of]
		if p == nil {
			return
		}
		for _, l := range p.claims {
			if l.bytes > 0 && !yield(l.service, l.bytes) {
				return
			}
		}
	}
}

func (s *session) outstanding(service uint32) uint64 {
	for i := range s.claims {
		if s.claims[i].service == service {
			return s.claims[i].bytes
		}
	}
	return 0
}

func (s *session) take(service uint32, n uint64) {
	s.sum -= n
	redeem(s.claims, service, n)
}
