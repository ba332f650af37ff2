package port

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func someone(t *testing.T, address string) *caller {
	near, far := net.Pipe()
	t.Cleanup(func() { far.Close() })
	return &caller{live: &live{Conn: near}, address: block(netip.MustParseAddr(address))}
}

// lost says whether a caller was closed.
func (c *caller) lost() bool {
	_ = c.SetReadDeadline(time.Now().Add(-time.Second))
	_, err := c.Conn.Read(make([]byte, 1))
	return ReasonOf(err) == ReasonClosed ||
		err != nil && err.Error() == "io: read/write on closed pipe"
}

// TestPlaces: a flood displaces itself, and nobody loses a place at once.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(6, 4, time.Second)
		honest := someone(t, "10.0.0.1")
		if !p.enter(honest) {
			t.Fatal("no place in an empty house")
		}
		var crowd []*caller
		for range 4 {
			crowd = append(crowd, someone(t, "10.0.0.2"))
			if !p.enter(crowd[len(crowd)-1]) {
				t.Fatal("no place")
			}
			time.Sleep(time.Millisecond)
		}
		if p.enter(someone(t, "10.0.0.2")) {
			t.Error("a fifth place for one address, before anybody's time was up")
		}
		time.Sleep(time.Second)
		if !p.enter(someone(t, "10.0.0.2")) || !crowd[0].lost() || crowd[1].lost() || honest.lost() {
			t.Error("a crowded address does not lose its oldest")
		}
		if !p.enter(someone(t, "10.0.0.3")) { // the sixth
			t.Error("no place although one is free")
		}
		time.Sleep(time.Second)
		if !p.enter(someone(t, "10.0.0.4")) || !crowd[1].lost() || honest.lost() {
			t.Error("the largest crowd does not make room")
		}
		p.leave(crowd[0]) // lost its place before
		p.leave(honest)
		if p.taken != 5 {
			t.Errorf("%d places taken", p.taken)
		}
		if a, b := someone(t, "2001:db8::1"), someone(t, "2001:db8::2"); a.address != b.address {
			t.Error("one network, two addresses")
		}
	})
}

// TestRates: an address has its own rate, and without tokens takes none from the others.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rates[int]{each: 1, burstEach: 3, all: 2, burst: 4}
		count := func(key, tries int) (n int) {
			for range tries {
				if r.take(key) {
					n++
				}
			}
			return n
		}
		if n := count(1, 100); n != 3 {
			t.Errorf("%d at once", n)
		}
		if n := count(2, 100); n != 1 {
			t.Errorf("%d at once for another: four for all", n)
		}
		time.Sleep(10 * time.Second)
		if n := count(2, 100); n != 3 {
			t.Errorf("%d after a pause", n)
		}
		time.Sleep(time.Second)
		for key := range 3 * maxRates {
			r.take(key)
		}
		if len(r.keys) > maxRates {
			t.Errorf("%d buckets", len(r.keys))
		}
	})
}

// TestAddresses: the number of addresses that are remembered is bounded.
func TestAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAddresses()
		for i := range 2 * maxAddresses {
			a.add(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
			if i == 0 {
				time.Sleep(time.Second)
			}
		}
		if len(a.set) != maxAddresses || a.has(netip.MustParseAddr("10.0.0.0")) {
			t.Errorf("%d addresses", len(a.set))
		}
		if a.add(netip.MustParseAddr("::ffff:10.0.0.1")); !a.has(netip.MustParseAddr("10.0.0.1")) {
			t.Error("one address in two forms")
		}
	})
}
