package ed25519

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"filippo.io/edwards25519"

	"github.com/waybill-network/waybill/kernels/cpu/cputest"
)

// verdictsOf verifies signatures of keys whose multiples are made for it, in chunks, as an
// implementation does. Those of keys that are no points are left out.
func verdictsOf(code recurring, all []Signed) (list []*Signed, verdicts []bool) {
	var of []*multiples
	ready := make(map[[32]byte]*multiples)
	for i := range all {
		s := &all[i]
		if _, made := ready[s.Key]; !made {
			ready[s.Key] = negated(&s.Key)
		}
		if m := ready[s.Key]; m != nil {
			list, of = append(list, s), append(of, m)
		}
	}
	verdicts = make([]bool, len(list))
	to := pointers(verdicts)
	for lo := 0; lo < len(list); lo += chunk {
		hi := min(lo+chunk, len(list))
		code.verify(list[lo:hi], of[lo:hi], to[lo:hi])
	}
	return list, verdicts
}

func (s *Signed) standard() bool { return ed25519.Verify(s.Key[:], s.Message, s.Signature[:]) }

// TestRuleOfKnownKeys is TestRule and TestMutations for keys whose multiples stand ready.
func TestRuleOfKnownKeys(t *testing.T) {
	all := crafted(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	for range 200 {
		s := signed(rng)
		for n := range 4 {
			changed := s
			changed.Message = bytes.Clone(s.Message)
			if n > 0 {
				mutate(&changed, 1+rng.IntN(2), rng.Uint32())
			}
			all = append(all, changed)
		}
	}
	cputest.Each(t, again, func(t *testing.T, code recurring) {
		list, verdicts := verdictsOf(code, all)
		taken := 0
		for i, s := range list {
			if verdicts[i] != s.standard() {
				t.Errorf("%x on %x under %x: %v", s.Signature, s.Message, s.Key, verdicts[i])
			}
			if verdicts[i] {
				taken++
			}
		}
		if taken < 300 || taken > len(list)/2 {
			t.Errorf("%d of %d hold", taken, len(list))
		}
	})
}

// TestKeysBecomeKnown: verdicts are the same before and after a key is known, beside whomever.
func TestKeysBecomeKnown(t *testing.T) {
	signed, want := list(t, 70)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 2 * keptAfter {
				if got := VerifyEach(signed); !slices.Equal(got, want) {
					t.Errorf("%v", got)
				}
			}
		})
	}
	wg.Wait()
	for i := range signed {
		if got := signed[i].Verify(); got != want[i] {
			t.Errorf("signature %d alone: %v", i, got)
		}
	}
	if again.Use().keep && known.of(&signed[0].Key) == nil {
		t.Error("a key that came often is not known")
	}
}

// TestKeptKeysAreBounded: however many keys come, few are kept, and each is its own.
func TestKeptKeysAreBounded(t *testing.T) {
	k := newKeys(3)
	signed, _ := list(t, 12)
	for i := range signed {
		s := &signed[i]
		for n := 1; n < keptAfter; n++ {
			if k.of(&s.Key) != nil {
				t.Fatalf("key %d is known after %d signatures", i, n)
			}
		}
		m := k.of(&s.Key)
		if point := negated(&s.Key); (point == nil) != (m == nil) {
			t.Fatalf("key %d: %v", i, m)
		}
		if m == nil {
			continue
		}
		var verdict bool
		withMultiples([]*Signed{s}, []*multiples{m}, []*bool{&verdict})
		if verdict != s.standard() || k.of(&s.Key) != m {
			t.Errorf("key %d: %v", i, verdict)
		}
	}
	for i := range signed { // once each: nobody recurs, and what is counted is bounded too
		k.of(&signed[i].Key)
	}
	if len(k.kept) > 3 || len(k.seen) > 3 {
		t.Errorf("%d kept, %d seen", len(k.kept), len(k.seen))
	}
}

// TestRecode: digits are odd, small, and apart, and sum up to the part.
func TestRecode(t *testing.T) {
	values := []uint32{0, 1, 2, math.MaxUint32, math.MaxUint32 - 1, 1 << 31, 0x88888888, 0x80808080,
		0x77777777, 0xfffffff8, 0xffffff80}
	for range 1000 {
		values = append(values, rand.Uint32())
	}
	for _, width := range []int{keyWidth, baseWidth} {
		for _, value := range values {
			var got term
			got.recode(value, width)
			var sum int64
			last := -width
			for i, digit := range got.digits {
				sum += int64(digit) << i
				if digit == 0 {
					continue
				}
				if digit%2 == 0 || int(digit) >= 1<<(width-1) || int(digit) <= -1<<(width-1) ||
					i-last < width {
					t.Fatalf("%#x, width %d: %v", value, width, got.digits)
				}
				last = i
			}
			if sum != int64(value) {
				t.Fatalf("%#x, width %d: digits of %#x", value, width, sum)
			}
		}
	}
}

// TestSumProducts holds sums to the library's, at the ends of scalars and for small orders.
func TestSumProducts(t *testing.T) {
	scalars := [][32]byte{{}, {1}, {2}, {0: 0xff, 1: 0xff, 2: 0xff, 3: 0xff}, {4: 1}, {31: 0x10},
		[32]byte(decremented(order))}
	points := [][32]byte{smallOrder[0], smallOrder[1], smallOrder[2], smallOrder[3]}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 4 {
		points = append(points, signed(rng).Key)
		var random [32]byte
		for i := range 15 {
			binary.LittleEndian.PutUint16(random[2*i:], uint16(rng.Uint32()))
		}
		scalars = append(scalars, random)
	}
	base := edwards25519.NewGeneratorPoint()
	for _, encoding := range points {
		a, err := new(edwards25519.Point).SetBytes(encoding[:])
		if err != nil {
			t.Fatal(err)
		}
		of := newMultiples(a, keyWidth)
		for _, first := range scalars {
			for _, second := range scalars {
				s, k := mustScalar(t, first), mustScalar(t, second)
				want := new(edwards25519.Point).ScalarMult(s, base)
				want.Add(want, new(edwards25519.Point).ScalarMult(k, a))
				sums := make([]projective, 1)
				sums[0].sumProducts(s, k, of)
				normalize(sums)
				if got := sums[0].encoded(); got != [32]byte(want.Bytes()) {
					t.Errorf("[%x]B + [%x]%x = %x, expected %x", first, second, encoding, got,
						want.Bytes())
				}
			}
		}
	}
}

func mustScalar(t testing.TB, b [32]byte) *edwards25519.Scalar {
	s, err := new(edwards25519.Scalar).SetCanonicalBytes(b[:])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// FuzzVerify holds every implementation to crypto/ed25519: any bytes, and good signatures with
// bytes of them changed.
func FuzzVerify(f *testing.F) {
	for _, s := range samples() {
		f.Add(s.Key[:], s.Message, s.Signature[:], false)
		f.Add(make([]byte, 32), s.Message, s.Signature[:3], true)
	}
	f.Fuzz(func(t *testing.T, key, message, signature []byte, good bool) {
		var s Signed
		if good { // the key is a seed, and the signature is what changes a good one
			secret := ed25519.NewKeyFromSeed(append(key, make([]byte, 32)...)[:32])
			s.Key, s.Message = [32]byte(secret.Public().(ed25519.PublicKey)), message
			s.Signature = [64]byte(ed25519.Sign(secret, message))
			for i, b := range signature[:min(len(signature), 64)] {
				s.Signature[i] ^= b
			}
		} else {
			copy(s.Key[:], key)
			copy(s.Signature[:], signature)
			s.Message = message
		}
		want := s.standard()
		if got := kernel.Use()(&s); got != want {
			t.Errorf("%x on %x under %x: %v", s.Signature, s.Message, s.Key, got)
		}
		if list, verdicts := verdictsOf(recurring{true, withMultiples}, []Signed{s, s}); len(list) > 0 &&
			(verdicts[0] != want || verdicts[1] != want) {
			t.Errorf("%x on %x under the known key %x: %v", s.Signature, s.Message, s.Key, verdicts)
		}
	})
}
