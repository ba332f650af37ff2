package rollup

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
)

func TestSealAgainstForge(t *testing.T) {
	acks := testAcks()
	wantHeader, wantEvidence := forge(t, testKey, acks)
	h, ev, err := Seal(testNet, testKey, frames(acks), aggregate(t, acks), registry())
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, "header", h.Append(nil), wantHeader.Append(nil))
	wantBytes(t, "evidence", ev, wantEvidence)
	if err := Verify(h, AcksEvidence(ev), testNet, registry(), nil, 1); err != nil {
		t.Fatal(err)
	}
	if got := AckTree(ev, h.Key()).Root(); got != h.AckRoot {
		t.Fatalf("AckTree %s, header %s", got, h.AckRoot)
	}
	for i := range ev.Len() {
		a := ev.Ack(h, i)
		if j, ok := ev.Index(a.Client, a.Service, a.Number); !ok || i != j {
			t.Fatalf("ack %d is found at %d, %v", i, j, ok)
		}
	}
	if _, ok := ev.Index(0, 0, 99); ok {
		t.Fatal("an ack that is not there is found")
	}
}

// randomServices are over the whole range.
var randomServices = [3]uint32{0, 1 << 24, NoService - 1}

// randomWindow returns unsigned acks with clients, services and numbers over the whole of their
// ranges, in random order.
func randomWindow(n int, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	var used Numbers
	var b []byte
	for range n {
		a := Ack{Net: testNet.Net(), Epoch: testKey.Epoch, Node: testKey.Node,
			Client:  rng.Uint64N(MaxClients) >> rng.IntN(40),
			Service: randomServices[rng.IntN(len(randomServices))], Units: 1 + rng.Uint64N(1<<40)}
		if a.Number = used.Next(a.Client, a.Service); a.Number == 0 {
			a.Number = rng.Uint32() >> 1 >> rng.IntN(32)
		}
		used.Take(Run{a.Client, a.Service, a.Number, 1})
		binary.LittleEndian.PutUint64(a.Request[:], rng.Uint64())
		b = a.Append(b)
	}
	return shuffle(b, rng)
}

// openRegistry knows every client, and grants it randomServices.
type openRegistry struct{ payers uint64 }

func (r openRegistry) Client(client uint64) (Client, bool) {
	return Client{Payer: uint32(client % r.payers), Until: math.MaxUint32, Numbers: math.MaxUint32,
		Services: randomServices}, true
}
func (openRegistry) UnitCap(uint32) (uint64, bool)   { return MaxUnitCap, true }
func (openRegistry) NodeKey(uint32) ([32]byte, bool) { return [32]byte{}, true }

func shuffle(frames []byte, rng *rand.Rand) (shuffled []byte) {
	for _, i := range rng.Perm(len(frames) / AckSize) {
		shuffled = append(shuffled, frame(frames, i)...)
	}
	return shuffled
}

// TestSealInAnyOrder: the same acks give the same bytes in whatever order they came, at whatever
// parallelism, with a fresh or a used Sealer.
func TestSealInAnyOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	var used Sealer
	for _, n := range []int{1, 2, 3, 255, 5000, 9001} {
		acks := randomWindow(n, seed+uint64(n))
		reg := openRegistry{payers: 40}
		h, ev, err := Seal(testNet, testKey, acks, bls.IdentitySignature, reg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseEvidence(ev); err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(h.Rows, compareRows) {
			t.Fatal("rows are not sorted")
		}
		for _, procs := range []int{1, 3} {
			before := runtime.GOMAXPROCS(procs)
			h2, ev2, err := used.Seal(testNet, testKey, shuffle(acks, rng), bls.IdentitySignature, reg)
			runtime.GOMAXPROCS(before)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(ev, ev2) || h.ID() != h2.ID() {
				t.Fatalf("%d acks: another rollup after a shuffle, on %d processors", n, procs)
			}
		}
	}
}

func TestSealRefuses(t *testing.T) {
	honest := testAcks()
	reg := registry()
	change := func(i int, f func(*Ack)) []byte {
		acks := slices.Clone(honest)
		f(&acks[i])
		return frames(acks)
	}
	many := func(n int) []byte { return bytes.Repeat(frames(honest[:1]), n) }
	for _, c := range []struct {
		name   string
		frames []byte
		reg    Registry
		want   error
	}{
		{"no acks", nil, reg, ErrCount},
		{"too many acks", many(MaxAcks + 1), reg, ErrCount},
		{"half an ack", frames(honest)[:200], reg, ErrMalformed},
		{"no tag", append([]byte("wb-ack/0"), frames(honest)[8:]...), reg, ErrMalformed},
		{"another network", change(3, func(a *Ack) { a.Net[7]++ }), reg, ErrNetwork},
		{"another epoch", change(3, func(a *Ack) { a.Epoch++ }), reg, ErrWindow},
		{"another node", change(3, func(a *Ack) { a.Node++ }), reg, ErrWindow},
		{"the same ack twice", many(2), reg, ErrNumbers},
		// the second of client 0 for service 0
		{"a number left out", change(5, func(a *Ack) { a.Service, a.Number = 0, 2 }), reg, ErrNumbers},
		{"a client beyond 2^40", change(3, func(a *Ack) { a.Client = MaxClients }), reg, ErrMalformed},
		{"a service that was not granted", change(3, func(a *Ack) { a.Service = 2 }), reg, ErrNotGranted},
		{"before the client is valid", frames(honest), clientsWith(func(c *Client) { c.Since = 2 }),
			ErrNotValid},
		{"after it was", frames(honest), clientsWith(func(c *Client) { c.Until = 1 }), ErrNotValid},
		{"numbers beyond the limit", frames(honest), clientsWith(func(c *Client) { c.Numbers = 3 }),
			ErrNumbers},
		{"unknown client", change(3, func(a *Ack) { a.Client = 5 }), reg, ErrUnknownClient},
		{"unknown service", change(3, func(a *Ack) { a.Service = 2 }),
			clientsWith(func(c *Client) { c.Services[2] = 2 }), ErrUnknownService},
		{"no units", change(3, func(a *Ack) { a.Units = 0 }), reg, ErrUnits},
		{"excess units", change(0, func(a *Ack) { a.Units = 1<<20 + 1 }), reg, ErrUnits},
		{"257 pairs", randomWindow(4000, 1), openRegistry{payers: 86}, ErrTooManyRows},
		{"overflow", change(0, func(a *Ack) { a.Units = math.MaxUint64 }), capless{reg}, ErrOverflow},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := Seal(testNet, testKey, c.frames, bls.IdentitySignature, c.reg)
			wantError(t, err, c.want)
		})
	}
	if _, _, err := Seal(testNet, testKey, randomWindow(4000, 1), bls.IdentitySignature,
		openRegistry{payers: 85}); err != nil {
		t.Fatalf("255 pairs: %v", err)
	}
}

// clientsWith is the registry with all clients changed.
func clientsWith(change func(*Client)) Registry { return changed{registry(), change} }

type changed struct {
	Registry
	change func(*Client)
}

func (r changed) Client(client uint64) (Client, bool) {
	c, ok := r.Registry.Client(client)
	r.change(&c)
	return c, ok
}

// capless sets no cap on units.
type capless struct{ Registry }

func (capless) UnitCap(uint32) (uint64, bool) { return math.MaxUint64, true }

// benchWindow is a full window: clients in the ten thousands, two services, a counter per client.
func benchWindow(n, clients int) []byte {
	rng := rand.New(rand.NewPCG(7, 7))
	var used Numbers
	b := make([]byte, 0, n*AckSize)
	for range n {
		c := rng.IntN(clients)
		a := Ack{Net: testNet.Net(), Epoch: testKey.Epoch, Node: testKey.Node, Client: uint64(c),
			Service: randomServices[rng.IntN(2)], Units: 1 + rng.Uint64N(1<<20)}
		a.Number = used.Next(a.Client, a.Service)
		used.Take(Run{a.Client, a.Service, a.Number, 1})
		binary.LittleEndian.PutUint64(a.Request[:], rng.Uint64())
		b = a.Append(b)
	}
	return b
}

func TestSealerAllocates(t *testing.T) {
	var s Sealer
	for _, n := range []int{1000, 20000} {
		acks := benchWindow(n, 5000)
		seal := func() {
			if _, _, err := s.Seal(testNet, testKey, acks, bls.IdentitySignature,
				openRegistry{payers: 3}); err != nil {
				t.Fatal(err)
			}
		}
		seal()
		// A few per call of the hash function, none per ack.
		if got := testing.AllocsPerRun(5, seal); got > 64 {
			t.Errorf("sealing %d acks allocates %v times", n, got)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	acks := benchWindow(MaxAcks, 50000)
	reg := openRegistry{payers: 100}
	perAck := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/MaxAcks, "ns/ack")
	}
	b.Run("whole", func(b *testing.B) {
		var s Sealer
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := s.Seal(testNet, testKey, acks, bls.IdentitySignature, reg); err != nil {
				b.Fatal(err)
			}
		}
		perAck(b)
	})
	b.Run("tree", func(b *testing.B) { // the hashing in it
		var s Sealer
		if _, _, err := s.Seal(testNet, testKey, acks, bls.IdentitySignature, reg); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			s.root(s.archive, testKey)
		}
		perAck(b)
	})
}
