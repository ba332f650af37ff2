package exposure_test

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/pipeline/exposure"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// world is a network, the book of its node 0, and what the book should say.
type world struct {
	t    *testing.T
	rng  *rand.Rand
	net  *testnet.Network
	book *exposure.Book
	view *ledger.View // that the book was shown

	payers []payer
	next   map[uint32]uint32           // window, by epoch
	open   map[uint32]*exposure.Rows   // by epoch
	units  map[rollup.WindowKey]amount // of all windows that are not ordered
	sealed []rollup.WindowKey          // of these
	limit  uint64
	lent   uint64 // acks taken
	codes  map[rollup.Code]int
}

type payer struct {
	key   ed25519.PrivateKey
	index uint32
	nonce uint64
}

// amount is the units of a window by payer and service.
type amount map[[2]uint32]uint64

const services = 2

func newWorld(t *testing.T, seed uint64, limit uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 0)), limit: limit,
		net:  testnet.NewAt(t, time.Unix(1_700_000_000, 0), []string{"n:1"}, 1),
		next: make(map[uint32]uint32), open: make(map[uint32]*exposure.Rows),
		units: make(map[rollup.WindowKey]amount), codes: make(map[rollup.Code]int)}
	owner := w.net.Members[0].Owner
	w.net.MustSubmit(t, ledger.NewRegisterService(w.net.ID, owner, 2,
		&ledger.ServiceRegistration{Price: 700_001, UnitCap: testnet.UnitCap, Unit: "byte"}))
	for i := range 3 {
		key := testnet.Key("payer", i)
		w.net.MustSubmit(t, ledger.NewDeposit(w.net.ID, w.net.Treasury, uint64(1+i),
			ledger.KeyOf(key), 60_000_000))
		account, _ := w.net.View().AccountByKey(ledger.KeyOf(key))
		w.payers = append(w.payers, payer{key: key, index: account.Index})
		w.send(i, func(p *payer) []byte {
			return ledger.NewReserve(w.net.ID, p.key, p.nonce, 20_000_000)
		})
	}
	w.restart()
	return w
}

// send has a payer's transaction executed, if the ledger takes it.
func (w *world) send(i int, tx func(p *payer) []byte) {
	p := &w.payers[i]
	if w.net.SubmitTx(w.t.Context(), tx(p)) == nil {
		p.nonce++
	}
}

// restart makes the book anew, from what a store would have.
func (w *world) restart() {
	w.book = exposure.New(0, w.limit)
	w.view = w.net.View()
	w.book.Show(w.view)
	for epoch, r := range w.open {
		key := rollup.WindowKey{Epoch: epoch, Window: w.next[epoch]}
		w.book.Open(key, r)
		for pair, units := range w.units[key] {
			w.book.Restore(r, pair[0], pair[1], units)
		}
	}
	for _, key := range w.sealed {
		w.book.Sealed(key, w.rows(key))
	}
}

func (w *world) rows(key rollup.WindowKey) (rows []rollup.Row) {
	for pair, units := range w.units[key] {
		rows = append(rows, rollup.Row{Payer: pair[0], Service: pair[1], Acks: 1, Units: units})
	}
	slices.SortFunc(rows, func(a, b rollup.Row) int {
		return int(int64(a.Payer)-int64(b.Payer))*2 + int(int64(a.Service)-int64(b.Service))
	})
	return rows
}

// take has the book judge acks.
func (w *world) take() {
	epoch := w.view.Epoch() - uint32(w.rng.IntN(2))
	now := w.net.View()
	late := now.Time().Sub(now.EpochStart()) > 5*time.Second // what is taken can be ordered
	if epoch > w.view.Epoch() || epoch+1 < now.Epoch() || epoch < now.Epoch() && late {
		return
	}
	r := w.open[epoch]
	key := rollup.WindowKey{Epoch: epoch, Window: w.next[epoch]}
	if r == nil {
		r = exposure.NewRows()
		w.open[epoch] = r
		w.book.Open(key, r)
		w.units[key] = make(amount)
	}
	pair := [2]uint32{w.payers[w.rng.IntN(len(w.payers))].index, uint32(w.rng.IntN(services))}
	units := 1 + w.rng.Uint64N(testnet.UnitCap)
	code := w.book.Take(r, pair[0], pair[1], units)
	w.codes[code]++
	if code == rollup.CodeAccepted {
		w.units[key][pair] += units
		w.lent++
	}
}

// seal closes an epoch's open window.
func (w *world) seal(epoch uint32) {
	r := w.open[epoch]
	if r == nil {
		return
	}
	key := rollup.WindowKey{Epoch: epoch, Window: w.next[epoch]}
	w.next[epoch]++
	delete(w.open, epoch)
	if len(w.units[key]) == 0 {
		delete(w.units, key)
		w.book.Close(r)
		return
	}
	w.book.Seal(r)
	w.sealed = append(w.sealed, key)
}

// order has the chain order any window that is sealed.
func (w *world) order() {
	if len(w.sealed) == 0 {
		return
	}
	i := w.rng.IntN(len(w.sealed))
	key := w.sealed[i]
	h := rollup.NewHeader(w.net.ID, key)
	h.Rows = w.rows(key)
	h.AckCount = uint32(len(h.Rows))
	w.net.MustSubmit(w.t, ledger.NewTicket(w.net.ID, w.net.Certificate(w.t, h.Append(nil), 0)))
	w.sealed = slices.Delete(w.sealed, i, i+1)
	delete(w.units, key)
}

// advance moves the chain's time, and has all that would be late ordered first.
func (w *world) advance(d time.Duration) {
	for epoch := range w.net.View().Epoch() {
		w.seal(epoch)
	}
	for slices.ContainsFunc(w.sealed, func(k rollup.WindowKey) bool {
		return k.Epoch < w.net.View().Epoch()
	}) {
		w.order()
	}
	view := w.net.View() // an epoch's end is not missed by more than a second
	w.net.Advance(min(d, view.EpochEnd().Sub(view.Time())+time.Second))
}

// spend has a payer do what it may with its money.
func (w *world) spend() {
	some := w.rng.Uint64N(5_000_000)
	w.send(w.rng.IntN(len(w.payers)), func(p *payer) []byte {
		switch w.rng.IntN(4) {
		case 0:
			return ledger.NewThaw(w.net.ID, p.key, p.nonce, some)
		case 1:
			return ledger.NewReserve(w.net.ID, p.key, p.nonce, some)
		case 2:
			return ledger.NewAllowance(w.net.ID, p.key, p.nonce, 2*some)
		default:
			return ledger.NewTransfer(w.net.ID, p.key, p.nonce,
				ledger.KeyOf(w.net.Members[0].Owner), some)
		}
	})
}

// check compares the book with a count from scratch, and what was ordered with what was paid.
func (w *world) check() {
	w.t.Helper()
	of := make(map[uint32]uint64)
	for key := range w.units {
		if w.view.IsOrdered(key) || w.view.Settled(key.Epoch) {
			continue
		}
		for _, row := range w.rows(key) {
			service, _ := w.view.Service(row.Service)
			of[row.Payer] += rollup.Charge(row.Units, service.PriceIn(key.Epoch))
		}
	}
	for _, p := range w.payers {
		c := w.book.Credit(p.index, w.view.Epoch())
		if w.view.Height() == w.net.View().Height() && c.Exposure != of[p.index] {
			w.t.Fatalf("payer %d: the book has %d, and %d was taken", p.index, c.Exposure,
				of[p.index])
		}
	}
	view := w.net.View()
	for epoch := view.NextToSettle(); epoch <= view.Epoch(); epoch++ {
		paid(w.t, epoch, view.Credits(epoch))
	}
	if epoch := view.NextToSettle(); epoch > 0 {
		if s, ok := view.Settlement(epoch - 1); ok {
			paid(w.t, epoch-1, s.Rows)
		}
	}
}

func paid(t *testing.T, epoch uint32, rows []rollup.SettlementRow) {
	t.Helper()
	for _, r := range rows {
		if r.Charge != r.Allowed || r.Allowed != r.Paid {
			t.Fatalf("epoch %d: payer %d was charged %d by service %d, allowed %d and paid %d",
				epoch, r.Payer, r.Charge, r.Service, r.Allowed, r.Paid)
		}
	}
}

// TestTakenIsPaid: whatever payers do with their money by the rules, and in whichever order windows
// are ordered, all that a book let a node take is charged, allowed and paid; and what the book
// holds is what a book that is made anew holds.
func TestTakenIsPaid(t *testing.T) {
	codes, lent := make(map[rollup.Code]int), uint64(0)
	for seed := range uint64(6) {
		limit := []uint64{0, 1 << 63, 3_000_000}[seed%3]
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed, limit)
			for range 1500 {
				switch n := w.rng.IntN(100); {
				case n < 60:
					w.take()
				case n < 68:
					w.seal(w.view.Epoch())
				case n < 80:
					w.order()
				case n < 88:
					w.spend()
				case n < 92:
					w.advance(time.Duration(w.rng.IntN(testnet.EpochSeconds)) * time.Second)
				default:
					w.view = w.net.View()
					w.book.Show(w.view)
				}
				w.check()
			}
			w.view = w.net.View()
			w.book.Show(w.view)
			before := exposed(w.book)
			w.restart()
			if after := exposed(w.book); !slices.Equal(before, after) {
				t.Errorf("made anew: %v, and it was %v", after, before)
			}
			for code, n := range w.codes {
				codes[code] += n
			}
			lent += w.lent
		})
	}
	for _, code := range []rollup.Code{rollup.CodeAccepted, rollup.CodeInsufficientReserve,
		rollup.CodeInsufficientAllowance, rollup.CodeOwnLimit} {
		if codes[code] < 20 {
			t.Errorf("%d acks were answered %v, of %d that were taken", codes[code], code, lent)
		}
	}
}

func exposed(b *exposure.Book) (list [][4]uint64) {
	for _, c := range b.Credits() {
		if c.Exposure > 0 && c.OfEpoch > 0 {
			list = append(list, [4]uint64{uint64(c.Payer), uint64(c.Epoch), c.Exposure, c.OfEpoch})
		}
	}
	return list
}

// TestThawing: what thaws counts for acks of its epoch, until one was taken for a later epoch,
// which finds nothing but the reserve that the earlier ones spend first.
func TestThawing(t *testing.T) {
	w := newWorld(t, 1, 1<<63)
	w.send(0, func(p *payer) []byte {
		return ledger.NewThaw(w.net.ID, p.key, p.nonce, 10_000_000)
	})
	view := w.net.View()
	w.net.Advance(view.EpochEnd().Sub(view.Time()) + time.Second)
	w.view = w.net.View()
	w.book.Show(w.view)
	left := func(epoch uint32, want uint64) {
		t.Helper()
		if c := w.book.Credit(w.payers[0].index, epoch); c.Left != want {
			t.Errorf("epoch %d: %+v, want %d left", epoch, c, want)
		}
	}
	old, now := exposure.NewRows(), exposure.NewRows()
	w.book.Open(rollup.WindowKey{}, old)
	w.book.Open(rollup.WindowKey{Epoch: 1}, now)
	left(0, 20_000_000)
	left(1, 10_000_000)
	w.book.Restore(old, w.payers[0].index, 0, 12_000_000)
	left(0, 8_000_000)
	left(1, 0)
	w.book.Drop(rollup.WindowKey{})
	w.book.Restore(now, w.payers[0].index, 0, 6_000_000)
	left(0, 4_000_000)
	left(1, 4_000_000)
}

// TestUncheckedIsUnpaid is the companion of TestTakenIsPaid: a node that asks no book is not paid
// for what it takes.
func TestUncheckedIsUnpaid(t *testing.T) {
	w := newWorld(t, 1, 0)
	key := rollup.WindowKey{}
	w.units[key] = amount{{w.payers[0].index, 0}: 30_000_000}
	w.sealed = []rollup.WindowKey{key}
	w.order()
	rows := w.net.View().Credits(0)
	if len(rows) != 1 || rows[0].Paid != 20_000_000 || rows[0].Charge != 30_000_000 {
		t.Errorf("%+v", rows)
	}
}

// TestGivenUp: a window that will never be ordered, and one whose epoch has settled without it,
// leave nothing behind.
func TestGivenUp(t *testing.T) {
	w := newWorld(t, 1, 0)
	for len(w.units[rollup.WindowKey{}]) < 3 {
		w.take()
	}
	w.seal(0)
	for w.units[rollup.WindowKey{Window: 1}] == nil || w.book.Credits()[0].Exposure < 1_000_000 {
		w.take()
	}
	both := total(w.book)
	w.book.Drop(rollup.WindowKey{})
	w.book.Drop(rollup.WindowKey{})
	if one := total(w.book); one == 0 || one >= both {
		t.Errorf("%d, and it was %d", one, both)
	}
	w.net.Advance(testnet.EpochSeconds * time.Second)
	w.net.Advance(time.Minute)
	w.net.Advance(time.Minute)
	w.book.Show(w.net.View())
	if !w.net.View().Settled(0) || total(w.book) != 0 || len(w.book.Windows()) != 0 {
		t.Errorf("%v is left in %v", w.book.Credits(), w.book.Windows())
	}
	// Acks that were verified when their epoch settled count nowhere.
	r := w.open[0]
	code := w.book.Restore(r, w.payers[0].index, 0, 1<<20)
	if code != rollup.CodeAccepted || total(w.book) != 0 {
		t.Errorf("%v, %d", code, total(w.book))
	}
	w.book.Seal(r)
	if total(w.book) != 0 {
		t.Errorf("%d", total(w.book))
	}
}

func total(b *exposure.Book) (sum uint64) {
	for _, c := range b.Credits() {
		sum += c.OfEpoch
	}
	return sum
}

// TestTakesWithoutAllocation: what an ack costs is sums.
func TestTakesWithoutAllocation(t *testing.T) {
	w := newWorld(t, 1, 1<<63)
	r := exposure.NewRows()
	w.book.Open(rollup.WindowKey{Window: 9}, r)
	payers := slices.Collect(maps.Keys(map[uint32]bool{w.payers[0].index: true,
		w.payers[1].index: true}))
	i := 0
	take := func() {
		i++
		if code := w.book.Take(r, payers[i%2], uint32(i/2%2), 1000); code != rollup.CodeAccepted {
			t.Fatal(code)
		}
	}
	for range 8 {
		take()
	}
	if n := testing.AllocsPerRun(1000, take); n != 0 {
		t.Errorf("%v allocations an ack", n)
	}
}
