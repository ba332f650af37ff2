package rotation

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func candidates(t testing.TB, list ...Candidate) *Candidates {
	t.Helper()
	c, err := NewCandidates(list)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// equal returns n candidates of one weight.
func equal(t testing.TB, n int, weight uint64) *Candidates {
	t.Helper()
	list := make([]Candidate, n)
	for i := range list {
		list[i] = Candidate{uint32(i), weight}
	}
	return candidates(t, list...)
}

func seedOf(n uint64) rollup.Hash { return blake3.Sum256(le.AppendUint64(nil, n)) }

// drawn is the rule of the package's document, in big integers.
func drawn(c []Candidate, seed rollup.Hash, epoch uint32, seat, k int) uint32 {
	total := new(big.Int)
	for _, v := range c {
		total.Add(total, new(big.Int).SetUint64(v.Weight))
	}
	bound := func(s int) *big.Int {
		b := new(big.Int).Mul(total, big.NewInt(int64(s)))
		return b.Div(b, big.NewInt(int64(k)))
	}
	lo, hi := bound(seat), bound(seat+1)
	width := new(big.Int).Sub(hi, lo)
	word := new(big.Int).Lsh(big.NewInt(1), 64)
	least := new(big.Int).Mod(word, width)
	key := blake3.ContextKey("waybill/seat/2")
	for count := uint32(0); ; count++ {
		b := le.AppendUint32(slices.Clone(seed[:]), epoch)
		digest := blake3.Keyed(&key, le.AppendUint32(le.AppendUint32(b, uint32(seat)), count))
		u := new(big.Int).SetUint64(le.Uint64(digest[:]))
		if u.Cmp(least) < 0 {
			continue
		}
		x, sum := u.Add(lo, u.Mod(u, width)), new(big.Int)
		for _, v := range c {
			if sum.Add(sum, new(big.Int).SetUint64(v.Weight)); sum.Cmp(x) > 0 {
				return v.Node
			}
		}
		panic("nobody")
	}
}

func TestDrawIsTheRule(t *testing.T) {
	r := rng(1)
	for range 300 {
		k := MinSeats + r.IntN(MaxSeats-MinSeats+1)
		list := make([]Candidate, 1+r.IntN(40))
		left := uint64(math.MaxUint64)
		for i := range list {
			weight := 1 + r.Uint64()>>(r.IntN(30)+7)
			list[i] = Candidate{uint32(3*i + 1), min(weight, left/2)}
			left -= list[i].Weight
		}
		switch r.IntN(4) { // bounds: a weight of K·m, and one beside it; as much as there can be
		case 0:
			list = []Candidate{{5, uint64(k) * MinWeight}, {9, 1}}
		case 1:
			list = []Candidate{{5, uint64(k)*MinWeight - 1}}
		case 2:
			list = []Candidate{{5, 1 << 63}, {7, 1<<63 - 1}}
		}
		c := candidates(t, list...)
		if c.Weight() < MinWeight {
			continue
		}
		for range 20 {
			seed, epoch, seat := seedOf(r.Uint64()), r.Uint32(), r.IntN(k)
			if got, want := c.Draw(seed, epoch, seat, k), drawn(list, seed, epoch, seat, k); got != want {
				t.Fatalf("%v: seat %d of %d: %d, not %d", list, seat, k, got, want)
			}
		}
	}
}

// TestPoint tries widths beside powers of two, among them those at which nearly half of all words
// are refused: every point is inside, and both halves are met about as often.
func TestPoint(t *testing.T) {
	for _, width := range []uint64{1, 2, 3, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1<<62 + 1, 1<<63 - 1,
		1 << 63, 1<<63 + 1, math.MaxUint64} {
		low := 0
		const tries = 2000
		for i := range uint64(tries) {
			lo := min(i, math.MaxUint64-width)
			x := point(seedOf(i), 7, 3, lo, lo+width)
			if x < lo || x-lo >= width {
				t.Fatalf("width %d: %d", width, x-lo)
			}
			if x-lo < width/2 {
				low++
			}
		}
		if width > 3 && (low < tries*2/5 || low > tries*3/5) {
			t.Errorf("width %d: %d of %d in the lower half", width, low, tries)
		}
	}
}

// TestDrawIsFair: shares of seats are shares of stake, also for a node that is split in ten.
func TestDrawIsFair(t *testing.T) {
	const k, epochs = 64, 3000
	list := []Candidate{{0, 300e9}, {1, 100e9}}
	for i := range 10 {
		list = append(list, Candidate{uint32(2 + i), 30e9})
	}
	list = append(list, Candidate{12, 40e9})
	c := candidates(t, list...)
	got := make([]int, len(list))
	for e := range uint32(epochs) {
		for s := range k {
			got[c.Draw(seedOf(uint64(e)), e, s, k)]++
		}
	}
	split := 0
	for i := range 10 {
		split += got[2+i]
	}
	for _, share := range []struct {
		name  string
		seats int
		stake float64
	}{{"whole", got[0], 300}, {"one", got[1], 100}, {"split", split, 300}, {"last", got[12], 40}} {
		want := share.stake / 740 * k * epochs
		if math.Abs(float64(share.seats)-want) > 3*math.Sqrt(want) {
			t.Errorf("%s: %d seats, %.0f by stake", share.name, share.seats, want)
		}
	}
}

func TestCandidatesRefuse(t *testing.T) {
	for name, c := range map[string]struct {
		list []Candidate
		want Reason
	}{
		"twice":       {[]Candidate{{1, 5}, {1, 5}}, ReasonOrder},
		"descending":  {[]Candidate{{2, 5}, {1, 5}}, ReasonOrder},
		"weightless":  {[]Candidate{{1, 0}}, ReasonField},
		"overflowing": {[]Candidate{{1, math.MaxUint64}, {2, 1}}, ReasonField},
		"nobody":      {[]Candidate{{NoHolder, 5}}, ReasonField},
	} {
		if _, err := NewCandidates(c.list); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, not %v", name, err, c.want)
		}
	}
	few := equal(t, 3, 1000)
	if _, err := First(few, rollup.Hash{}, 16); !errors.Is(err, ReasonWeight) {
		t.Errorf("first seats: %v", err)
	}
	if _, err := make(Seats, 16).DrawAll(few, rollup.Hash{}, 1, 4); !errors.Is(err, ReasonWeight) {
		t.Errorf("draw: %v", err)
	}
}

func TestCandidateRoot(t *testing.T) {
	if root := candidates(t).Root(); root != (rollup.Hash{}) {
		t.Errorf("of none: %s", root)
	}
	c := candidates(t, Candidate{3, 7}, Candidate{9, 8})
	entries := []byte{3, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0}
	if want := rollup.RootOf(CandidateTreeKind, entries, 12); c.Root() != want {
		t.Errorf("root %s, not %s", c.Root(), want)
	}
}

// TestFirst: of four equal members each holds a quarter, whatever the seed.
func TestFirst(t *testing.T) {
	members := equal(t, 4, MinWeight)
	for i := range uint64(20) {
		seats, err := First(members, seedOf(i), 16)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(seats.Powers(), []int{4, 4, 4, 4}) {
			t.Fatalf("powers %v", seats.Powers())
		}
	}
}

func BenchmarkDraw(b *testing.B) {
	c := equal(b, 100_000, 1e9)
	for b.Loop() {
		for s := range 64 {
			c.Draw(rollup.Hash{}, 1, s, 128)
		}
	}
}
