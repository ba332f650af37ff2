package lying

import (
	"math/rand/v2"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// Tell changes a window. It returns false when the window has not what that needs.
type Tell func(w *Window, rng *rand.Rand) bool

// Lie is one thing that may be said of a window: a lie, or something that changes nothing.
type Lie struct {
	Name string
	Tell Tell
	// The reasons of the two rungs; nil for what is no lie.
	Second, Third error
}

// Cut is where the generator prefers to lie: between two segments of a circuit of this size.
const Cut = 256

// at chooses a statement that fits, near the cut in every second case.
func (w *Window) at(rng *rand.Rand, fits func(i int) bool) (int, bool) {
	var all, near []int
	for i := range w.Statements {
		if fits(i) {
			all = append(all, i)
			if i >= Cut-2 && i < Cut+2 {
				near = append(near, i)
			}
		}
	}
	if len(near) > 0 && rng.IntN(2) == 0 {
		all = near
	}
	if len(all) == 0 {
		return 0, false
	}
	return all[rng.IntN(len(all))], true
}

func (w *Window) signs(signed bool) func(int) bool {
	return func(i int) bool { return w.Signed[i] == signed }
}

// edit returns a lie about one statement, signed or not. The rows follow it.
func edit(signed bool, change func(w *Window, s *rollup.Statement) bool) Tell {
	return func(w *Window, rng *rand.Rand) bool {
		i, ok := w.at(rng, w.signs(signed))
		if !ok || !change(w, &w.Statements[i]) {
			return false
		}
		w.Total()
		return w.decodes()
	}
}

// decodes reports whether the rows are what a header may have.
func (w *Window) decodes() bool {
	some := false
	for _, r := range w.statementRows() {
		some = some || r.Acks > 0
	}
	for _, r := range w.Rows {
		if r.Units < r.Acks || r.Acks == 0 && r.Units > 0 {
			return false
		}
	}
	return some
}

// admitting returns a lie about the client of one statement.
func admitting(signed bool, change func(c *rollup.Client, s *rollup.Statement)) Tell {
	return func(w *Window, rng *rand.Rand) bool {
		i, ok := w.at(rng, func(i int) bool {
			return w.Signed[i] == signed && !w.acknowledged(w.Statements[i].Client)
		})
		if ok {
			s := &w.Statements[i]
			w.World.edit(s.Client, func(c *rollup.Client) { change(c, s) })
		}
		return ok
	}
}

// acknowledged reports whether the acks part has acks of a client.
func (w *Window) acknowledged(client uint64) bool {
	return slices.ContainsFunc(w.Acks, func(a Acked) bool { return a.Client == client })
}

// under returns a lie in what stands under the root, of which the list says otherwise.
func under(change func(w *Window, s *rollup.Statement)) Tell {
	return func(w *Window, rng *rand.Rand) bool {
		i := rng.IntN(len(w.Statements))
		w.Under = slices.Clone(w.Statements)
		change(w, &w.Under[i])
		return w.Under[i] != w.Statements[i]
	}
}

// inRow returns a lie about a row of the statements part, in which some client signed. It keeps
// what everybody can see: the units stay within one and the cap for each ack.
func inRow(change func(w *Window, r, part *rollup.Row, most uint64) bool) Tell {
	return func(w *Window, rng *rand.Rand) bool {
		parts := w.statementRows()
		for _, i := range rng.Perm(len(parts)) {
			p := &parts[i]
			if p.Acks > 0 && change(w, &w.Rows[i], p, p.Acks*w.World.Caps[p.Service]) {
				return true
			}
		}
		return false
	}
}

// exchange moves units between two rows, as far as what everybody can see lets it.
func exchange(w *Window, rng *rand.Rand) bool {
	parts := w.statementRows()
	for _, i := range rng.Perm(len(parts)) {
		for j := range parts {
			most := parts[j].Acks * w.World.Caps[parts[j].Service]
			if i != j && parts[i].Units > parts[i].Acks && parts[j].Acks > 0 && parts[j].Units < most {
				by := min(parts[i].Units-parts[i].Acks, most-parts[j].Units)
				by = 1 + rng.Uint64N(by)
				w.Rows[i].Units -= by
				w.Rows[j].Units += by
				return true
			}
		}
	}
	return false
}

// pair returns a lie about two statements whose clients signed, or not, and which share a row, so
// that its sums can stay as they are.
func pair(signed bool, change func(w *Window, a, b *rollup.Statement) bool) Tell {
	return func(w *Window, rng *rand.Rand) bool {
		for range 30 {
			i, ok := w.at(rng, w.signs(signed))
			if !ok {
				return false
			}
			a := &w.Statements[i]
			j, ok := w.at(rng, func(j int) bool {
				b := &w.Statements[j]
				return i != j && w.Signed[j] == signed && a.Payer == b.Payer && a.Service == b.Service
			})
			if ok && change(w, a, &w.Statements[j]) {
				w.Total()
				return w.decodes()
			}
		}
		return false
	}
}

// swap exchanges neighbours that fit.
func swap(fits func(a, b *rollup.Statement) bool) Tell {
	return func(w *Window, rng *rand.Rand) bool {
		i, ok := w.at(rng, func(i int) bool {
			return i > 0 && fits(&w.Statements[i-1], &w.Statements[i])
		})
		if ok {
			s, f := w.Statements, w.Signed
			s[i-1], s[i] = s[i], s[i-1]
			f[i-1], f[i] = f[i], f[i-1]
		}
		return ok
	}
}

// repeat says a statement twice, with numbers of its own the second time.
func repeat(signed bool) Tell {
	return func(w *Window, rng *rand.Rand) bool {
		i, ok := w.at(rng, w.signs(signed))
		if !ok {
			return false
		}
		again := w.statement(rng, w.Statements[i].Client, w.Statements[i].Service, signed)
		w.Statements = slices.Insert(w.Statements, i+1, again)
		w.Signed = slices.Insert(w.Signed, i+1, signed)
		w.Total()
		return true
	}
}

// header returns a lie of the header alone.
func header(change func(h *rollup.Header)) Tell {
	return func(w *Window, _ *rand.Rand) bool {
		w.Edit = change
		return true
	}
}
