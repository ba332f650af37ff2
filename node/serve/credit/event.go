package credit

import (
	"encoding/binary"
	"hash/crc32"
	"iter"
	"net/netip"
	"slices"

	"github.com/waybill-network/waybill/rollup/delivery"
)

// EventKind says what an event changes.
type EventKind uint8

// The kinds of events.
const (
	EventSent     EventKind = iota + 1 // bytes were taken to be sent
	EventPaid                          // an ack was accepted
	EventForgiven                      // an ack was refused for good
	EventReturned                      // bytes were not sent after all
	EventHistory                       // bytes that a client had paid for before
	EventPayer                         // bytes that a payer's forgotten clients owe
	EventPardons                       // bytes that a client was forgiven before
	EventCounted                       // a window's acks were counted so far
)

// Event is a change of what is owed.
type Event struct {
	Kind    EventKind
	Client  uint64
	Payer   uint32
	Service uint32
	Address netip.Prefix // of what was sent
	Bytes   uint64
	Counted Place // with EventPaid and EventCounted
}

// Place says how many acks of one of the node's windows have been counted.
type Place struct{ Epoch, Window, Acks uint32 }

// EventSize is the size in bytes of an event.
const EventSize = 1 + 8 + 4 + 4 + 17 + 8 + 4

var le = binary.LittleEndian

// Append appends the encoding, with a checksum, to dst.
func (e *Event) Append(dst []byte) []byte {
	at := len(dst)
	dst = le.AppendUint64(append(dst, byte(e.Kind)), e.Client)
	dst = le.AppendUint32(le.AppendUint32(dst, e.Payer), e.Service)
	var address [17]byte
	switch {
	case e.places():
		le.PutUint32(address[1:], e.Counted.Epoch)
		le.PutUint32(address[5:], e.Counted.Window)
		le.PutUint32(address[9:], e.Counted.Acks)
	case e.Address.IsValid():
		sixteen := e.Address.Addr().As16()
		address[0] = byte(e.Address.Bits()) + 1
		if e.Address.Addr().Is4() {
			address[0] |= 0x80
		}
		copy(address[1:], sixteen[:])
	}
	dst = le.AppendUint64(append(dst, address[:]...), e.Bytes)
	return le.AppendUint32(dst, crc32.ChecksumIEEE(dst[at:]))
}

// ParseEvent decodes exactly EventSize bytes: delivery.ReasonMalformed.
func ParseEvent(b []byte) (e Event, err error) {
	bad := func(what string) (Event, error) {
		return Event{}, delivery.Refuse(delivery.ReasonMalformed, "an event: %s", what)
	}
	if len(b) != EventSize {
		return bad("its length")
	}
	if crc32.ChecksumIEEE(b[:EventSize-4]) != le.Uint32(b[EventSize-4:]) {
		return bad("its checksum")
	}
	e = Event{Kind: EventKind(b[0]), Client: le.Uint64(b[1:]), Payer: le.Uint32(b[9:]),
		Service: le.Uint32(b[13:]), Bytes: le.Uint64(b[34:])}
	if e.Kind == 0 || e.Kind > EventCounted {
		return bad("its kind")
	}
	switch {
	case e.places():
		if b[17] != 0 || le.Uint32(b[30:]) != 0 {
			return bad("its place")
		}
		e.Counted = Place{le.Uint32(b[18:]), le.Uint32(b[22:]), le.Uint32(b[26:])}
	case b[17] != 0:
		addr, bits := netip.AddrFrom16([16]byte(b[18:34])), int(b[17]&0x7f)-1
		if b[17]&0x80 != 0 {
			addr = addr.Unmap()
		}
		prefix, perr := addr.Prefix(bits)
		if perr != nil || prefix.Addr() != addr || (b[17]&0x80 != 0) != addr.Is4() {
			return bad("its address")
		}
		e.Address = prefix
	case [17]byte(b[17:34]) != [17]byte{}:
		return bad("its address")
	}
	return e, nil
}

// places says that an event has a place where others have an address.
func (e *Event) places() bool { return e.Kind == EventPaid || e.Kind == EventCounted }

// Replay makes a change of an earlier run again: what was sent is owed. It writes nothing. Only a
// book without sessions may replay.
func (b *Book) Replay(e Event) {
	write := b.write
	b.write = func(Event) {}
	defer func() { b.write = write }()
	switch e.Kind {
	case EventSent:
		b.totals.Recalled += e.Bytes
		b.owe(b.client(e.Client, e.Payer), e.Service, e.Address, e.Bytes)
	case EventPaid, EventForgiven, EventReturned:
		c := b.client(e.Client, e.Payer)
		n := b.settle(c, Event{Kind: EventForgiven, Service: e.Service}, e.Bytes)
		b.totals.Recalled -= n
		switch e.Kind {
		case EventPaid:
			b.pay(c, n)
			b.count(e.Counted)
		case EventForgiven:
			c.forgiven += n
		default:
		}
	case EventHistory:
		b.pay(b.client(e.Client, e.Payer), e.Bytes)
	case EventPardons:
		b.client(e.Client, e.Payer).forgiven += e.Bytes
	case EventPayer:
		b.payer(e.Payer).owed += e.Bytes
	case EventCounted:
		b.count(e.Counted)
	}
}

// State returns the events that make an empty book what this one is, but for its sessions, whose
// outstanding bytes are owed there. It is what a journal is replaced by.
func (b *Book) State() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		kept := make(map[uint32]uint64)
		for at := b.order.Front(); at != nil; at = at.Next() {
			c := at.Value.(*client)
			if c.paid > 0 && !yield(Event{Kind: EventHistory, Client: c.index, Payer: c.payer,
				Bytes: c.paid}) {
				return
			}
			if c.forgiven > 0 && !yield(Event{Kind: EventPardons, Client: c.index, Payer: c.payer,
				Bytes: c.forgiven}) {
				return
			}
			kept[c.payer] += c.owed
			if !b.owes(c, yield) {
				return
			}
		}
		for payer, l := range b.payers { // order-free
			if l.owed > kept[payer] && !yield(Event{Kind: EventPayer, Payer: payer,
				Bytes: l.owed - kept[payer]}) {
				return
			}
		}
		for w, acks := range b.counted { // order-free
			place := Place{w.epoch, w.number, acks}
			if !yield(Event{Kind: EventCounted, Counted: place}) {
				return
			}
		}
	}
}

func (b *Book) owes(c *client, yield func(Event) bool) bool {
	debts := slices.Clone(c.debts)
	if s := c.session; s != nil {
		for _, l := range s.claims {
			debts = append(debts, debt{l.service, s.address, l.bytes})
		}
	}
	for _, d := range debts {
		if d.bytes > 0 && !yield(Event{Kind: EventSent, Client: c.index, Payer: c.payer,
			Service: d.service, Address: d.address, Bytes: d.bytes}) {
			return false
		}
	}
	return true
}
