package exposure

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// Rows are a window's sums of units by (payer, service), and what they cost. They are used again
// for other windows.
type Rows struct {
	key   rollup.WindowKey
	off   bool // taken off the book: they count no more
	index map[uint64]int
	rows  []row
	last  uint64
	at    int
}

type row struct {
	line   *line
	price  uint64
	units  uint64
	charge uint64
}

// NewRows returns rows that are of no use before Open.
func NewRows() *Rows { return &Rows{index: make(map[uint64]int, rollup.MaxRows)} }

// Len returns how many pairs of payer and service there are.
func (r *Rows) Len() int { return len(r.rows) }

// Open empties rows and makes them those of a window, which has none.
func (b *Book) Open(key rollup.WindowKey, r *Rows) {
	clear(r.index)
	clear(r.rows)
	r.key, r.rows, r.off = key, r.rows[:0], false
	b.windows[key] = &window{rows: r}
}

// row returns the row of a pair, which is new when it has no units. Full: there are too many.
func (b *Book) row(r *Rows, payer, service uint32) (*row, rollup.Code) {
	pair := uint64(payer)<<32 | uint64(service)
	if len(r.rows) > 0 && pair == r.last {
		return &r.rows[r.at], rollup.CodeAccepted
	}
	at, ok := r.index[pair]
	if !ok {
		if len(r.rows) == rollup.MaxRows {
			return nil, Full
		}
		at = len(r.rows)
		of, _ := b.view.Service(service)
		r.index[pair] = at
		r.rows = append(r.rows, row{line: b.line(payer, r.key.Epoch),
			price: of.PriceIn(r.key.Epoch)})
	}
	r.last, r.at = pair, at
	return &r.rows[at], rollup.CodeAccepted
}

// undo takes back a new row that has no units.
func (r *Rows) undo() {
	if n := len(r.rows) - 1; n >= 0 && r.rows[n].units == 0 {
		delete(r.index, r.last)
		r.rows = r.rows[:n]
		r.last, r.at = 0, 0
		for pair, at := range r.index { // order-free: any that is there
			r.last, r.at = pair, at
			break
		}
	}
}

// Take adds an ack of a payer's client for a service to a window that takes acks. What it does not
// answer with Accepted changes nothing: Full, Overflow for a sum that other acks have used up, or
// one of the three codes of credit.
func (b *Book) Take(r *Rows, payer, service uint32, units uint64) rollup.Code {
	return b.add(r, payer, service, units, true)
}

// Restore is Take for an ack that was taken in an earlier run.
func (b *Book) Restore(r *Rows, payer, service uint32, units uint64) rollup.Code {
	return b.add(r, payer, service, units, false)
}

func (b *Book) add(r *Rows, payer, service uint32, units uint64, judge bool) rollup.Code {
	x, code := b.row(r, payer, service)
	if code != rollup.CodeAccepted {
		return code
	}
	sum, carry := bits.Add64(x.units, units, 0)
	if carry != 0 {
		return rollup.CodeOverflow
	}
	charge := rollup.Charge(sum, x.price)
	more := charge - x.charge
	if judge && more > 0 {
		if code := b.refuse(x.line, more); code != rollup.CodeAccepted {
			r.undo()
			return code
		}
	}
	x.units, x.charge = sum, charge
	if !r.off {
		x.line.charge(more)
	}
	return rollup.CodeAccepted
}

// Close forgets a window that took no acks.
func (b *Book) Close(r *Rows) { b.Drop(r.key) }

// Seal notes that a window's rows are used for another one from now on. What they cost stays in the
// sums until the window is ordered.
func (b *Book) Seal(r *Rows) {
	w := b.windows[r.key]
	if r.off || w == nil {
		return // ordered meanwhile
	}
	w.rows, w.shares = nil, make([]due, len(r.rows))
	for i := range r.rows {
		w.shares[i] = due{r.rows[i].line, r.rows[i].charge}
	}
}

// Sealed adds a window of an earlier run that waits for its order.
func (b *Book) Sealed(key rollup.WindowKey, rows []rollup.Row) {
	if b.windows[key] != nil || b.view.Settled(key.Epoch) || b.view.IsOrdered(key) {
		return
	}
	w := &window{shares: make([]due, len(rows))}
	for i, row := range rows {
		of, _ := b.view.Service(row.Service)
		x := due{b.line(row.Payer, key.Epoch), rollup.Charge(row.Units, of.PriceIn(key.Epoch))}
		x.line.charge(x.charge)
		w.shares[i] = x
	}
	b.windows[key] = w
}

// Drop takes a window off the sums: it is ordered, or never will be.
func (b *Book) Drop(key rollup.WindowKey) {
	w := b.windows[key]
	if w == nil {
		return
	}
	delete(b.windows, key)
	for _, x := range w.shares {
		x.line.give(x.charge)
	}
	if r := w.rows; r != nil {
		r.off = true
		for i := range r.rows {
			r.rows[i].line.give(r.rows[i].charge)
		}
	}
}

// Windows returns the windows in the sums, sorted.
func (b *Book) Windows() []rollup.WindowKey {
	keys := make([]rollup.WindowKey, 0, len(b.windows))
	for key := range b.windows { // order-free: sorted below
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b rollup.WindowKey) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Window, b.Window))
	})
	return keys
}

// Return takes an ack out of its window again, with what it cost.
func (b *Book) Return(r *Rows, payer, service uint32, units uint64) {
	at, ok := r.index[uint64(payer)<<32|uint64(service)]
	if !ok {
		return
	}
	x := &r.rows[at]
	x.units -= min(x.units, units)
	charge := rollup.Charge(x.units, x.price)
	if !r.off {
		x.line.give(x.charge - charge)
	}
	x.charge = charge
}
