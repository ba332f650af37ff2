package rollup

import (
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
)

// Registry answers for clients and services at the time of the header's epoch. Implementations must
// be safe for concurrent use when the caller is.
type Registry interface {
	// ClientKey returns the key of a registered client.
	ClientKey(client uint32) (*bls.PublicKey, bool)
	// Payer returns the account that pays for the client's acks of the epoch.
	Payer(client, epoch uint32) (uint32, bool)
	// UnitCap returns the most units that one ack of the service may have; at most MaxUnitCap.
	UnitCap(service uint32) (uint64, bool)
}

// tally sums acks by (payer, service). The zero value is ready; sum may be called again and again.
type tally struct {
	rows []Row // sorted
	last int   // the row that was used last
	seqs []uint32
}

// sum checks evidence in order, with clients and services known and units in range, and leaves the
// sums in t.rows. Errors: ErrUnsorted, ErrDuplicateSeq, ErrUnknownClient, ErrUnknownService,
// ErrUnits, ErrTooManyRows, ErrOverflow.
func (t *tally) sum(acks Acks, epoch uint32, reg Registry) error {
	if t.seqs == nil {
		t.seqs = make([]uint32, 0, acks.Len())
	}
	if err := acks.checkOrder(t.seqs); err != nil {
		return err
	}
	t.rows, t.last = t.rows[:0], 0
	var client, payer, service uint32
	var unitCap uint64
	for i := range acks.Len() {
		e := acks.Entry(i)
		if c := e.Client(); i == 0 || c != client {
			p, ok := reg.Payer(c, epoch)
			if !ok {
				return at("ack", i, fmt.Errorf("%w %d", ErrUnknownClient, c))
			}
			client, payer = c, p
		}
		if s := e.Service(); i == 0 || s != service {
			limit, ok := reg.UnitCap(s)
			if !ok {
				return at("ack", i, fmt.Errorf("%w %d", ErrUnknownService, s))
			}
			service, unitCap = s, limit
		}
		units := e.Units()
		if units == 0 || units > unitCap {
			return at("ack", i, fmt.Errorf("%w: %d, where 1 to %d may be", ErrUnits, units, unitCap))
		}
		row, err := t.row(payer, service)
		if err != nil {
			return at("ack", i, err)
		}
		row.Acks++
		if !add(&row.Units, units) {
			return at("ack", i, fmt.Errorf("%w: units of payer %d for service %d", ErrOverflow, payer,
				service))
		}
	}
	return nil
}

// row finds or makes the row of a pair.
func (t *tally) row(payer, service uint32) (*Row, error) {
	if t.last < len(t.rows) {
		if r := &t.rows[t.last]; r.Payer == payer && r.Service == service {
			return r, nil
		}
	}
	i, found := slices.BinarySearchFunc(t.rows, Row{Payer: payer, Service: service}, compareRows)
	if !found {
		if len(t.rows) == MaxRows {
			return nil, ErrTooManyRows
		}
		if t.rows == nil {
			t.rows = make([]Row, 0, MaxRows)
		}
		t.rows = slices.Insert(t.rows, i, Row{Payer: payer, Service: service})
	}
	t.last = i
	return &t.rows[i], nil
}
