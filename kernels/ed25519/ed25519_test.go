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
