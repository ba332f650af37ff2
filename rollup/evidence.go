package rollup

import (
	"bytes"
	"fmt"
	"slices"
)

// MaxEvidenceSize is the size in bytes of the evidence of a full window.
const MaxEvidenceSize = 4 + MaxAcks*EntrySize

// Evidence is the encoded evidence of a rollup's acks part (section 6): a u32 count, then 52 bytes per ack in tree
// order. Values come from ParseEvidence and Sealer.Seal; methods on anything else may panic.
type Evidence []byte

// ParseEvidence checks length, limits and order, and that no client uses a seq twice. It does not copy b. Errors:
// ErrMalformed, ErrCount, ErrUnsorted, ErrDuplicateSeq.
func ParseEvidence(b []byte) (Evidence, error) {
	ev := Evidence(b[:len(b):len(b)])
	if err := ev.checkLength(); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	if err := ev.checkOrder(nil); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	return ev, nil
}

func (ev Evidence) checkLength() error {
	r := newReader(ev)
	n := int(r.U32())
	if r.Err == nil && (n == 0 || n > MaxAcks) {
		return fmt.Errorf("%w: %d in the evidence, where 1 to %d may be", ErrCount, n, MaxAcks)
	}
	r.Next(n * EntrySize)
	return r.End()
}

// Len returns the number of acks.
func (ev Evidence) Len() int { return (len(ev) - 4) / EntrySize }

// Entry returns bytes 28 to 79 of ack i in tree order, in place.
func (ev Evidence) Entry(i int) Entry {
	o := 4 + i*EntrySize
	return Entry(ev[o : o+EntrySize : o+EntrySize])
}

// Index returns the position of an ack in tree order.
func (ev Evidence) Index(client, service, seq uint32) (int, bool) {
	var want [12]byte
	le.PutUint32(want[0:], client)
	le.PutUint32(want[4:], service)
	le.PutUint32(want[8:], seq)
	lo, hi := 0, ev.Len()
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if ev.Entry(mid).compare(want[:]) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < ev.Len() && bytes.Equal(ev.Entry(lo)[:12], want[:])
}

// Ack returns ack i, without its signature, of the rollup with header h.
func (ev Evidence) Ack(h *Header, i int) Ack {
	e := ev.Entry(i)
	return Ack{Network: h.Network, Epoch: h.Epoch, Window: h.Window, Node: h.Node, Client: e.Client(),
		Service: e.Service(), Seq: e.Seq(), Units: e.Units(), Request: e.Request()}
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

// checkOrder requires strict order and that no client uses a seq twice, whatever the service. scratch, which may be
// nil, is reused for the seqs of one client.
func (ev Evidence) checkOrder(scratch []uint32) error {
	n := ev.Len()
	for i := 1; i < n; i++ {
		switch a, b := ev.Entry(i-1), ev.Entry(i); a.compare(b) {
		case 0:
			return at("ack", i, fmt.Errorf("%w: client %d, seq %d", ErrDuplicateSeq, b.Client(), b.Seq()))
		case 1:
			return at("ack", i, ErrUnsorted)
		}
	}
	for from := 0; from < n; {
		client := ev.Entry(from).Client()
		to, services := from+1, 1
		for ; to < n && ev.Entry(to).Client() == client; to++ {
			if ev.Entry(to).Service() != ev.Entry(to-1).Service() {
				services++
			}
		}
		if services > 1 { // within one service the order has shown it already
			scratch = scratch[:0]
			for i := from; i < to; i++ {
				scratch = append(scratch, ev.Entry(i).Seq())
			}
			slices.Sort(scratch)
			for i := 1; i < len(scratch); i++ {
				if scratch[i-1] == scratch[i] {
					return at("ack", from, fmt.Errorf("%w: client %d, seq %d", ErrDuplicateSeq, client, scratch[i]))
				}
			}
		}
		from = to
	}
	return nil
}
