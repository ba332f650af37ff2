package credit

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup/delivery"
)

var (
	start = time.Unix(1_000_000, 0)
	home  = AddressOf(netip.MustParseAddr("192.0.2.7"))
)

func id(n int) ID { return ID{byte(n), byte(n >> 8), byte(n >> 16)} }

func open(t *testing.T, b *Book, n int, client uint64) uint64 {
	t.Helper()
	window, err := b.Open(start, id(n), client, 1, home)
	if err != nil {
		t.Fatal(err)
	}
	return window
}

func take(t *testing.T, b *Book, n int, service uint32, most uint64) (uint64, bool) {
	t.Helper()
	got, ask, err := b.Take(start, id(n), service, most, 1)
	if err != nil {
		t.Fatal(err)
	}
	return got, ask
}

func wants(t *testing.T, err error, want delivery.Reason) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%v, not %v", err, want)
	}
}

const first = 256 << 10

// TestNever: a client that never signs costs the node its first window, once, however many
// sessions it opens.
func TestNever(t *testing.T) {
	b := New(Params{}, nil)
	total := uint64(0)
	for n := range 20 {
		if _, err := b.Open(start, id(n), 7, 1, home); err != nil {
			wants(t, err, delivery.ReasonOwesClient)
			continue
		}
		for {
			got, _, err := b.Take(start, id(n), 0, 100_000, 1)
			if err != nil || got == 0 {
				break
			}
			total += got
		}
	}
	if total != first {
		t.Errorf("%d bytes", total)
	}
	if _, ok := acked(b, start, 7, 0, first); ok || b.Totals().Owed != 0 {
		t.Errorf("%+v", b.Totals())
	}
	if window := open(t, b, 99, 7); window != first {
		t.Errorf("a window of %d after all was paid", window)
	}
}

// TestGrows: the window doubles with what is paid, not with how often.
func TestGrows(t *testing.T) {
	b := New(Params{}, nil)
	open(t, b, 1, 7)
	for range 100 {
		take(t, b, 1, 0, 1)
		acked(b, start, 7, 0, 1)
	}
	if _, window := b.Due(id(1)); window != first {
		t.Errorf("a window of %d for 100 bytes", window)
	}
	for want := uint64(first); want < 8<<20; want *= 2 {
		if _, window := b.Due(id(1)); window != want {
			t.Fatalf("a window of %d, not %d", window, want)
		}
		got, ask := take(t, b, 1, 0, want/2)
		if got != want/2 || !ask {
			t.Fatalf("%d of %d, %v", got, want/2, ask)
		}
		acked(b, start, 7, 0, got)
	}
	got, _ := take(t, b, 1, 0, 1<<30)
	if got != 8<<20 {
		t.Errorf("%d", got)
	}
	if got, _ := take(t, b, 1, 0, 1); got != 0 {
		t.Errorf("%d beyond", got)
	}
	acked(b, start.Add(11*time.Second), 7, 0, 8<<20)
	if _, window := b.Due(id(1)); window != 4<<20 || b.Totals().Late != 1 {
		t.Errorf("a window of %d after a late ack", window)
	}
}

// TestTrusted: with what a client has paid for its window grows on, to an eighth of it and up to a
// bound, and what a payer's clients get so stays within what they may owe together.
func TestTrusted(t *testing.T) {
	const mib = 1 << 20
	b := New(Params{}, nil)
	acks := 0
	pay := func(n int, client, bytes uint64) {
		t.Helper()
		for paid := uint64(0); paid < bytes; acks++ {
			due, window := b.Due(id(n))
			got, _ := take(t, b, n, 0, min(window/2, bytes-paid)-due)
			if got == 0 {
				t.Fatalf("nothing after %d bytes", paid)
			}
			acked(b, start, client, 0, got)
			paid += got
		}
	}
	open(t, b, 1, 7)
	for _, c := range []struct{ paid, window uint64 }{{64, 8}, {120, 15}, {240, 30}, {512, 64},
		{2048, 64}} {
		before := b.Totals().Paid
		pay(1, 7, c.paid*mib-before)
		least := c.window * mib * 3 / 4 // it grows with the ack of half a window
		if _, window := b.Due(id(1)); window > c.window*mib || window < least {
			t.Errorf("%d MiB paid, a window of %d", c.paid, window)
		}
		if c.paid == 512 && acks > 80 {
			t.Errorf("%d acks for half a GiB", acks)
		}
	}
	// another client of the same payer, as well trusted
	open(t, b, 2, 8)
	pay(2, 8, 1024*mib)
	most := uint64(64*mib + 3072*mib/128) // what they may owe
	got, _ := take(t, b, 1, 0, 1<<40)
	if got != 64*mib {
		t.Errorf("%d bytes ahead", got)
	}
	if got, _ := take(t, b, 2, 0, 1<<40); got != most-64*mib {
		t.Errorf("%d bytes ahead, by %d that are left", got, most-64*mib)
	}
	b.End(id(1)) // and away: what it owes counts
	away := AddressOf(netip.MustParseAddr("198.51.100.1"))
	if _, err := b.Open(start, id(3), 9, 0, away); err != nil {
		t.Fatal(err)
	}
	pay(3, 9, 16*mib)
	if got, _ := take(t, b, 3, 0, 1<<40); got != 8*mib {
		t.Errorf("%d bytes ahead without a history", got)
	}
	acked(b, start.Add(11*time.Second), 8, 0, most-64*mib)
	if _, window := b.Due(id(2)); window <= 8*mib || window > 32*mib {
		t.Errorf("a window of %d after a late ack", window)
	}
	if _, err := b.Open(start, id(4), 7, 0, home); !errors.Is(err, delivery.ReasonOwesClient) {
		t.Errorf("who owes 64 MiB: %v", err)
	}
}

// TestBeyond: what is signed beyond what was sent, twice, or for another service, buys nothing.
func TestBeyond(t *testing.T) {
	b := New(Params{}, nil)
	open(t, b, 1, 7)
	take(t, b, 1, 3, 1000)
	acked(b, start, 7, 4, 1000)
	if due, _ := b.Due(id(1)); due != 1000 {
		t.Error("another service's ack paid")
	}
	acked(b, start, 7, 3, 1<<40)
	acked(b, start, 7, 3, 1000)
	total := b.Totals()
	if total.Paid != 1000 || total.Beyond != 1<<40-1000+2000 {
		t.Errorf("%+v", total)
	}
	if got, _ := take(t, b, 1, 3, 1<<40); got != first {
		t.Errorf("%d bytes ahead", got)
	}
}

// TestLost: what is not paid in time is owed, and a share of a history is let pass.
func TestLost(t *testing.T) {
	b := New(Params{}, nil)
	open(t, b, 1, 7)
	for range 32 {
		n, _ := take(t, b, 1, 0, 1<<20)
		acked(b, start, 7, 0, n)
	}
	n, ask := take(t, b, 1, 0, 8<<20)
	if !ask || n < 1<<20 {
		t.Fatal(n, ask)
	}
	late := start.Add(time.Minute)
	_, _, err := b.Take(late, id(1), 0, 1, 1)
	wants(t, err, delivery.ReasonUnpaid)
	if ended := b.Sweep(late); len(ended) != 1 || b.Totals().Owed != n {
		t.Fatalf("%v, %+v", ended, b.Totals())
	}
	_, _, err = b.Take(late, id(1), 0, 1, 1)
	wants(t, err, delivery.ReasonSession)
	_, err = b.Open(late, id(2), 7, 1, home)
	wants(t, err, delivery.ReasonOwesClient)
	acked(b, late, 7, 0, n-1000)
	if window := open(t, b, 3, 7); window != first {
		t.Errorf("a window of %d, where 1000 bytes are lost", window)
	}
	b.Forgive(7, 0, 1000)
	if b.Totals().Owed != 0 || b.Totals().Forgiven != 1000 {
		t.Errorf("%+v", b.Totals())
	}
	if ended := b.Sweep(late.Add(time.Hour)); len(ended) != 1 || b.Totals().Owed != 0 {
		t.Error("an idle session that owes nothing")
	}
}

// TestCrowd: where too much is owed, clients without a history get nothing; others go on.
func TestCrowd(t *testing.T) {
	b := New(Params{Payer: 4 * first, Address: 2 * first}, nil)
	open(t, b, 1000, 1000)
	acked(b, start, 1000, 0, first) // beyond: no history
	n, _ := take(t, b, 1000, 0, first)
	acked(b, start, 1000, 0, n)
	var err error
	for n := 0; err == nil; n++ {
		if _, err = b.Open(start, id(n), uint64(n), 1, home); err == nil {
			take(t, b, n, 0, first)
			b.End(id(n))
		}
		if n > 100 {
			t.Fatal("no end")
		}
	}
	wants(t, err, delivery.ReasonOwesAddress)
	for n := 200; ; n++ {
		address := AddressOf(netip.AddrFrom4([4]byte{10, 0, byte(n), 1}))
		if _, err = b.Open(start, id(n), uint64(n), 1, address); err != nil {
			break
		}
		take(t, b, n, 0, first)
		b.End(id(n))
	}
	wants(t, err, delivery.ReasonOwesPayer)
	elsewhere := AddressOf(netip.MustParseAddr("10.1.0.1"))
	if _, err := b.Open(start, id(300), 300, 2, elsewhere); err != nil {
		t.Errorf("another payer at another address: %v", err)
	}
	if _, err := b.Open(start, id(301), 1000, 1, home); err != nil {
		t.Errorf("a client that has paid: %v", err)
	}
}

// TestForgiven: acks that are refused for good, which a client can make at will, bring little.
func TestForgiven(t *testing.T) {
	b := New(Params{}, nil)
	total := uint64(0)
	for n := range 20 {
		if _, err := b.Open(start, id(n), 7, 1, home); err != nil {
			break
		}
		got, _, err := b.Take(start, id(n), 0, 1<<20, 1)
		if err != nil {
			break
		}
		total += got
		b.Forgive(7, 0, 1<<40)
		b.Forgive(7, 0, 1<<40)
	}
	if total != 2*first || b.Totals().Forgiven != first {
		t.Errorf("%d bytes, %+v", total, b.Totals())
	}
}

func TestAddressOf(t *testing.T) {
	for in, want := range map[string]string{"192.0.2.7": "192.0.2.0/24",
		"::ffff:192.0.2.7": "192.0.2.0/24", "2001:db8:1:2::9%eth0": "2001:db8:1::/48"} {
		if got := AddressOf(netip.MustParseAddr(in)); got.String() != want {
			t.Errorf("%s: %v", in, got)
		}
	}
}

// TestForgets: the tables are bounded, and what forgotten clients owe stays with their payer.
func TestForgets(t *testing.T) {
	b := New(Params{Clients: 100}, nil)
	for n := range 1000 {
		address := AddressOf(netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 1}))
		if _, err := b.Open(start, id(n), uint64(n), 1, address); err != nil {
			t.Fatal(err)
		}
		take(t, b, n, 0, 1000)
		b.End(id(n))
	}
	total := b.Totals()
	if total.Clients > 100 || len(b.addresses) > 200 || total.Owed+total.WrittenOff != 1_000_000 ||
		b.payers[1].owed != 1_000_000 {
		t.Errorf("%+v, %d addresses, %+v", total, len(b.addresses), b.payers[1])
	}
	c := New(Params{Clients: 100}, nil)
	for e := range b.State() {
		c.Replay(e)
	}
	if c.payers[1].owed != 1_000_000 {
		t.Errorf("after a start the payer owes %d", c.payers[1].owed)
	}
}

// books checks the sums of a book.
func books(b *Book) error {
	t := b.Totals()
	left := t.Outstanding + t.Owed + t.WrittenOff
	if t.Sent+t.Recalled != t.Paid+t.Forgiven+t.Returned+left {
		return fmt.Errorf("the books do not add up: %+v", t)
	}
	outstanding, owed := uint64(0), uint64(0)
	for _, s := range b.sessions {
		outstanding += s.sum
		sum := uint64(0)
		for _, l := range s.claims {
			sum += l.bytes
		}
		if sum != s.sum || b.clients[s.client.index] != s.client || s.client.session != s {
			return fmt.Errorf("session %x of client %d", s.id[:3], s.client.index)
		}
	}
	byPayer := make(map[uint32]uint64)
	for _, c := range b.clients {
		sum := uint64(0)
		for _, d := range c.debts {
			sum += d.bytes
		}
		if sum != c.owed {
			return fmt.Errorf("client %d owes %d, not %d", c.index, c.owed, sum)
		}
		owed += c.owed
		byPayer[c.payer] += c.owed
	}
	for payer, n := range byPayer {
		if n > 0 && b.payers[payer].owed < n {
			return fmt.Errorf("payer %d owes %d, its clients %d", payer, b.payers[payer].owed, n)
		}
	}
	if outstanding != t.Outstanding || owed != t.Owed {
		return fmt.Errorf("%d outstanding, %d owed: %+v", outstanding, owed, t)
	}
	return nil
}

// TestBooksCanFail is the companion of the check above.
func TestBooksCanFail(t *testing.T) {
	for name, spoil := range map[string]func(*Book){
		"sent":    func(b *Book) { b.totals.Sent++ },
		"session": func(b *Book) { b.sessions[id(1)].sum++ },
		"client":  func(b *Book) { b.clients[8].owed++ },
		"payer":   func(b *Book) { b.payers[1].owed = 0 },
	} {
		b := New(Params{}, nil)
		open(t, b, 1, 7)
		take(t, b, 1, 0, 1000)
		open(t, b, 2, 8)
		take(t, b, 2, 0, 1000)
		b.End(id(2))
		if err := books(b); err != nil {
			t.Fatal(err)
		}
		if spoil(b); books(b) == nil {
			t.Errorf("%s: not seen", name)
		}
	}
}

// TestScheduler plays clients that never, late, twice, beyond and for others sign, in any order,
// with crashes of the node. At every instant the books add up; what is outstanding is within the
// window when it is taken; what each client was sent and never signed is within its first window
// and what its history lets pass.
func TestScheduler(t *testing.T) {
	for seed := range uint64(200) {
		run(t, rand.New(rand.NewPCG(seed, 5)), 3000)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzScheduler(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) { run(t, rand.New(rand.NewPCG(a, b)), 2000) })
}

// small has windows that a run's clients outgrow.
var small = Params{Most: 1 << 20, Grown: 4 << 20, Payer: 2 << 20}

func run(t *testing.T, r *rand.Rand, steps int) {
	const clients = 8
	var journal []byte
	write := func(e Event) { journal = e.Append(journal) }
	b, now := New(small, write), start
	sent, paid := make(map[uint64]uint64), make(map[uint64]uint64)
	unpaid := make(map[uint64]map[uint32]uint64)
	open, next := make(map[uint64]ID), 0
	for c := range uint64(clients) {
		unpaid[c] = make(map[uint32]uint64)
	}
	for range steps {
		c := r.Uint64N(clients)
		service := uint32(r.IntN(2))
		now = now.Add(time.Duration(r.IntN(3000)) * time.Millisecond)
		switch r.IntN(12) {
		case 0:
			next++
			if _, err := b.Open(now, id(next), c, uint32(c%2), home); err == nil {
				open[c] = id(next)
			}
		case 1, 2, 3, 4, 5:
			n, _, err := b.Take(now, open[c], service, r.Uint64N(1<<20), 1+r.Uint64N(1<<15))
			if err == nil && n > 0 {
				due, window := b.Due(open[c])
				if due > window {
					t.Errorf("%d of %d outstanding", due, window)
				}
			}
			sent[c] += n
			unpaid[c][service] += n
		case 6, 7, 8: // client 0 never signs
			n := unpaid[c][service]
			if c == 0 {
				continue
			}
			if c == 1 { // signs little
				n /= 4
			}
			unpaid[c][service] -= n
			paid[c] += n
			if c == 2 { // and beyond
				n += r.Uint64N(1 << 22)
			}
			acked(b, now, c, service, n)
			if c == 3 { // twice
				acked(b, now, c, service, n)
			}
		case 9:
			n := r.Uint64N(1 + unpaid[c][service])
			if c == 5 { // has acks refused for good, again and again
				b.Forgive(c, service, 1<<30)
			}
			if c == 4 {
				b.Return(c, service, n)
				unpaid[c][service] -= n
				sent[c] -= n
			}
		case 10:
			b.Sweep(now)
		case 11:
			if r.IntN(20) == 0 {
				b = again(t, b, journal, write)
				clear(open)
			}
		}
		if err := books(b); err != nil {
			t.Fatal(err)
		}
		for index, p := range b.payers {
			// windows of any client, and beside them no more than they may owe together
			most, used := p.tolerated(small.Payer, 128), p.owed
			for i, c := range b.clients {
				if uint32(i%2) == index {
					most += small.Most + 2*(first+c.paid/128)
				}
			}
			for _, l := range p.claims {
				used += l.bytes
			}
			if used > most {
				t.Errorf("clients of payer %d owe or were lent %d, not %d", index, used, most)
			}
		}
	}
	if sent[0] > first {
		t.Errorf("a client that never signed was sent %d bytes", sent[0])
	}
	for c := range uint64(clients) {
		// The largest window that its history can have brought it, once.
		// What was forgiven comes on top, as much again.
		window := max(min(small.Most, first+2*paid[c]), min(small.Grown, paid[c]/8))
		if most := window + 2*(first+paid[c]/128); sent[c]-paid[c] > most {
			t.Errorf("client %d was sent %d bytes and paid %d", c, sent[c], paid[c])
		}
	}
}

// again is a node that was killed: it has its journal, and nothing else.
func again(t *testing.T, old *Book, journal []byte, write func(Event)) *Book {
	b, c := New(small, write), New(small, write)
	for at := 0; at < len(journal); at += EventSize {
		e, err := ParseEvent(journal[at : at+EventSize])
		if err != nil {
			t.Fatal(err)
		}
		b.Replay(e)
	}
	for e := range old.State() {
		c.Replay(e)
	}
	was, is, short := old.Totals(), b.Totals(), c.Totals()
	if is.Owed != was.Owed+was.Outstanding || short.Owed != is.Owed {
		t.Errorf("owed and outstanding %+v, after a start %+v, from a state %+v", was, is, short)
	}
	for index, l := range b.payers {
		if o := c.payers[index]; o == nil && l.line != (line{}) || o != nil && o.line != l.line {
			t.Errorf("payer %d: %+v, from a state %+v", index, l, o)
		}
	}
	return b
}

func FuzzParseEvent(f *testing.F) {
	e := Event{Kind: EventSent, Client: 1, Payer: 2, Service: 3, Address: home, Bytes: 5}
	f.Add(e.Append(nil))
	e.Address = AddressOf(netip.MustParseAddr("2001:db8::1"))
	f.Add(e.Append(nil))
	f.Add((&Event{Kind: EventPaid}).Append(nil))
	f.Add((&Event{Kind: EventCounted, Counted: Place{1, 2, 3}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := ParseEvent(b); err == nil && !bytes.Equal(e.Append(nil), b) {
			t.Errorf("%x became %x", b, e.Append(nil))
		}
	})
}

// acked notes the next ack of one window.
func acked(b *Book, now time.Time, client uint64, service uint32, units uint64) (ID, bool) {
	return b.Paid(now, Place{Acks: b.counted[window{}] + 1}, client, service, units)
}

// TestCountedOnce: whatever of the events a crash leaves, acks that are handed in again from the
// first of their window on count once each.
func TestCountedOnce(t *testing.T) {
	var journal []byte
	b := New(Params{}, func(e Event) { journal = e.Append(journal) })
	open(t, b, 1, 7)
	take(t, b, 1, 0, 1000)
	hand := func(b *Book, window, acks uint32) {
		for i := range acks {
			client := uint64(7)
			if i%3 == 1 {
				client = 8 // of whom nothing is known: no event says that it was counted
			}
			b.Paid(start, Place{3, window, i + 1}, client, 0, 10)
		}
		b.Counted(Place{3, window, acks})
	}
	hand(b, 4, 9)
	hand(b, 5, 6)
	if b.Totals().Outstanding != 1000-100 {
		t.Fatalf("%+v", b.Totals())
	}
	for end := EventSize; end <= len(journal); end += EventSize {
		c := New(Params{}, nil)
		for at := 0; at < end; at += EventSize {
			e, err := ParseEvent(journal[at : at+EventSize])
			if err != nil {
				t.Fatal(err)
			}
			c.Replay(e)
		}
		d := New(Params{}, nil)
		for e := range c.State() {
			d.Replay(e)
		}
		for _, b := range []*Book{c, d} {
			hand(b, 4, 9)
			hand(b, 5, 6)
			if owed := b.Totals().Owed; owed != 1000-100 {
				t.Errorf("after %d events %d bytes are owed", end/EventSize, owed)
			}
		}
	}
	b.Paid(start, Place{3 + epochsCounted, 0, 1}, 7, 0, 0)
	if len(b.counted) != 1 {
		t.Errorf("places of windows that are long over are kept: %v", b.counted)
	}
}

// TestPayers: the first are those whose clients have most that is not acknowledged.
func TestPayers(t *testing.T) {
	b := New(Params{}, nil)
	for c := range uint64(6) {
		if _, err := b.Open(start, id(int(c)), c, uint32(c), home); err != nil {
			t.Fatal(err)
		}
		take(t, b, int(c), 0, 1000*(c+1))
		acked(b, start, c, 0, 1000)
	}
	b.End(id(4))
	want := []Payer{{5, 1000, 5000, 0}, {4, 1000, 0, 4000}, {3, 1000, 3000, 0}}
	if got := b.Payers(3); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if got := b.Payers(9); len(got) != 6 || got[5] != (Payer{Index: 0, Paid: 1000}) {
		t.Errorf("%+v", got)
	}
}
