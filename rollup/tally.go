package rollup

import (
	"fmt"
	"slices"
)

// tally sums acks by (payer, service). The zero value is ready; sum may be called again and again.
type tally struct {
	rows []Row // sorted
	last int   // the row that was used last
}

// sum checks acks in order, with clients that may sign them, services known and units in range, and
// leaves the sums in t.rows. Errors: ErrUnknownClient, ErrNotValid, ErrNotGranted, ErrNumbers,
// ErrUnknownService, ErrUnits, ErrTooManyRows, ErrOverflow.
func (t *tally) sum(acks Acks, epoch uint32, reg Registry) error {
	t.rows, t.last = t.rows[:0], 0
	var service uint32
	var unitCap uint64
	bodies := acks.bodies()
	for from, run := range acks.Runs() {
		client, err := checkRun(run, epoch, reg)
		if err != nil {
			return at("ack", from, err)
		}
		if from == 0 || run.Service != service {
			limit, ok := reg.UnitCap(run.Service)
			if !ok {
				return at("ack", from, fmt.Errorf("%w %d", ErrUnknownService, run.Service))
			}
			service, unitCap = run.Service, limit
		}
		row, err := t.row(client.Payer, service)
		if err != nil {
			return at("ack", from, err)
		}
		for i := from; i < from+int(run.Count); i++ {
			units := le.Uint64(bodies[i*BodySize:])
			if units == 0 || units > unitCap {
				return at("ack", i, fmt.Errorf("%w: %d, where 1 to %d may be", ErrUnits, units, unitCap))
			}
			if !add(&row.Units, units) {
				return at("ack", i, fmt.Errorf("%w: units of payer %d for service %d", ErrOverflow,
					client.Payer, service))
			}
		}
		row.Acks += uint64(run.Count)
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
