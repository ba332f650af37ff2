package rollup

import (
	"bytes"
	"fmt"
	"slices"
)

// MaxAcksSize is the size in bytes of the list of a full window's acks.
const MaxAcksSize = 4 + MaxAcks*EntrySize

// Acks is an encoded list of acks without their signatures (section 6): a u32 count, then 52 bytes
// per ack in tree order. It is the archive of a window when it holds all of them, and the evidence
// of a rollup's acks part. Values come from ParseAcks, ParseEvidence and a Sealer; methods on
// anything else may panic.
type Acks []byte

// ParseAcks checks length, limits and order, and that no client uses a seq twice. It does not copy
// b. Errors: ErrMalformed, ErrCount, ErrUnsorted, ErrDuplicateSeq.
func ParseAcks(b []byte) (Acks, error) {
	r := newReader(b)
	acks := r.acks(1)
	err := r.End()
	if err == nil {
		err = acks.checkOrder(nil)
	}
	if err != nil {
		return nil, fmt.Errorf("acks: %w", err)
	}
	return acks, nil
}

// checkLength requires whole acks, as many as the count says and at least least.
func (a Acks) checkLength(least int) error {
	r := newReader(a)
	r.acks(least)
	return r.End()
}

// acks reads a list of at least least acks without looking at their order.
func (r *reader) acks(least int) Acks {
	b := r.B
	n := int(r.U32())
	if r.Err == nil && (n < least || n > MaxAcks) {
		r.Err = fmt.Errorf("%w: %d in the evidence, where %d to %d may be", ErrCount, n, least, MaxAcks)
	}
	r.Next(n * EntrySize)
	if r.Err != nil {
		return nil
	}
	return Acks(b[: 4+n*EntrySize : 4+n*EntrySize])
}

// Len returns the number of acks.
func (a Acks) Len() int { return (len(a) - 4) / EntrySize }

// Entry returns bytes 28 to 79 of ack i in tree order, in place.
func (a Acks) Entry(i int) Entry {
	o := 4 + i*EntrySize
	return Entry(a[o : o+EntrySize : o+EntrySize])
}

// Index returns the position of an ack in tree order.
func (a Acks) Index(client, service, seq uint32) (int, bool) {
	var want [12]byte
	le.PutUint32(want[0:], client)
	le.PutUint32(want[4:], service)
	le.PutUint32(want[8:], seq)
	lo, hi := 0, a.Len()
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if a.Entry(mid).compare(want[:]) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < a.Len() && bytes.Equal(a.Entry(lo)[:12], want[:])
}

// Ack returns ack i, without its signature, of the rollup with header h.
func (a Acks) Ack(h *Header, i int) Ack {
	e := a.Entry(i)
	return Ack{Network: h.Network, Epoch: h.Epoch, Window: h.Window, Node: h.Node, Client: e.Client(),
		Service: e.Service(), Seq: e.Seq(), Units: e.Units(), Request: e.Request()}
}

// endOfClient returns the position after the last ack of the client whose ack is at i.
func (a Acks) endOfClient(i int) int {
	client := a.Entry(i).Client()
	for i++; i < a.Len() && a.Entry(i).Client() == client; i++ {
	}
	return i
}

// Without returns the acks of those clients that did not sign, in memory of its own: the acks part
// of a rollup whose window holds these acks.
func (a Acks) Without(list ClientList) Acks {
	signers := list.Signers()
	rest := make(Acks, 4, len(a))
	for from := 0; from < a.Len(); {
		to := a.endOfClient(from)
		if _, signed := slices.BinarySearch(signers, a.Entry(from).Client()); !signed {
			rest = append(rest, a[4+from*EntrySize:4+to*EntrySize]...)
		}
		from = to
	}
	le.PutUint32(rest, uint32(rest.Len()))
	return rest
}

// Entry is bytes 28 to 79 of an ack in place.
type Entry []byte

// Client returns the client field.
func (e Entry) Client() uint32 { return le.Uint32(e[0:]) }

// Service returns the service field.
func (e Entry) Service() uint32 { return le.Uint32(e[4:]) }

// Seq returns the client's counter.
func (e Entry) Seq() uint32 { return le.Uint32(e[8:]) }

// Units returns the units field.
func (e Entry) Units() uint64 { return le.Uint64(e[12:]) }

// Request returns the hash of the request record.
func (e Entry) Request() Hash { return Hash(e[20:52]) }

// compare orders entries by (client, service, seq), as numbers.
func (e Entry) compare(f Entry) int {
	for o := 0; o < 12; o += 4 {
		if a, b := le.Uint32(e[o:]), le.Uint32(f[o:]); a != b {
			if a < b {
				return -1
			}
			return 1
		}
	}
	return 0
}

// checkOrder requires strict order and that no client uses a seq twice, whatever the service.
// scratch, which may be nil, is reused for the seqs of one client.
func (a Acks) checkOrder(scratch []uint32) error {
	n := a.Len()
	for i := 1; i < n; i++ {
		switch a, b := a.Entry(i-1), a.Entry(i); a.compare(b) {
		case 0:
			return at("ack", i, fmt.Errorf("%w: client %d, seq %d", ErrDuplicateSeq, b.Client(), b.Seq()))
		case 1:
			return at("ack", i, ErrUnsorted)
		}
	}
	for from := 0; from < n; {
		client := a.Entry(from).Client()
		to, services := from+1, 1
		for ; to < n && a.Entry(to).Client() == client; to++ {
			if a.Entry(to).Service() != a.Entry(to-1).Service() {
				services++
			}
		}
		if services > 1 { // within one service the order has shown it already
			scratch = scratch[:0]
			for i := from; i < to; i++ {
				scratch = append(scratch, a.Entry(i).Seq())
			}
			slices.Sort(scratch)
			for i := 1; i < len(scratch); i++ {
				if scratch[i-1] == scratch[i] {
					return at("ack", from, fmt.Errorf("%w: client %d, seq %d", ErrDuplicateSeq, client,
						scratch[i]))
				}
			}
		}
		from = to
	}
	return nil
}
