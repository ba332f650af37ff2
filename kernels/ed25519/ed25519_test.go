package ed25519

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
)

// list is messages of keys, some of them with something wrong, and the verdicts.
func list(t testing.TB, n int) (signed []Signed, want []bool) {
	for i := range n {
		key := ed25519.NewKeyFromSeed(fmt.Appendf(nil, "%032d", i))
		s := Signed{Key: [32]byte(key.Public().(ed25519.PublicKey)),
			Message: fmt.Append(nil, "message ", i)}
		s.Signature = [64]byte(ed25519.Sign(key, s.Message))
		switch i % 7 {
		case 2:
			s.Signature[i%64] ^= 1
		case 3:
			s.Message = append(s.Message, 0)
		case 5:
			s.Key[i%32] ^= 1
		}
		signed, want = append(signed, s), append(want, i%7 != 2 && i%7 != 3 && i%7 != 5)
		if ok := ed25519.Verify(s.Key[:], s.Message, s.Signature[:]); ok != want[i] {
			t.Fatalf("signature %d: %v", i, ok)
		}
	}
	return signed, want
}

func TestVerifyEach(t *testing.T) {
	for _, n := range []int{0, 1, 2 * share, 100} {
		signed, want := list(t, n)
		if got := VerifyEach(signed); !slices.Equal(got, want) {
			t.Errorf("%d signatures: %v", n, got)
		}
	}
}

// BenchmarkVerify compares the implementations: ns a signature, on one core.
func BenchmarkVerify(b *testing.B) {
	signed, _ := list(b, 7)
	for _, name := range kernel.Names() {
		code, err := kernel.Implementation(name)
		if err != nil {
			continue // not on this CPU
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				code(&signed[0])
			}
		})
	}
}

// BenchmarkKnown is ns a signature of keys whose multiples stand ready, on one core: of one key,
// and of 10,000 by turns, whose multiples no cache holds. The last is what those of a key cost.
func BenchmarkKnown(b *testing.B) {
	run := func(name string, keys, each int) {
		signed, _ := list(b, 1)
		list := make([]*Signed, max(keys, each))
		of := make([]*multiples, len(list))
		for i := range list {
			list[i], of[i] = &signed[0], of[0]
			if i < keys {
				of[i] = negated(&signed[0].Key)
			}
		}
		to := pointers(make([]bool, each))
		b.Run(name, func(b *testing.B) {
			at := 0
			for b.Loop() {
				if at+each > len(list) {
					at = 0
				}
				withMultiples(list[at:at+each], of[at:at+each], to)
				at += each
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*each), "ns/signature")
		})
	}
	run("alone", 1, 1)
	run("together", 1, chunk)
	run("keys=10000", 10_000, chunk)
	signed, _ := list(b, 1)
	b.Run("multiples", func(b *testing.B) {
		for b.Loop() {
			negated(&signed[0].Key)
		}
	})
}
