package ed25519

import (
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"

	"github.com/waybill-network/waybill/kernels/cpu/cputest"
)

// crafted is signatures that rules for Ed25519 differ in: keys and R of small and of mixed order,
// in every encoding, and S at the ends of its range. A signer who knows the secret part makes those
// that hold with the cofactor, so that what is left is a part of small order or nothing.
func crafted(t testing.TB) (list []Signed) {
	var encodings [][32]byte
	for _, p := range curve.EIGHT_TORSION {
		encodings = append(encodings, encode(t, p))
	}
	encodings = append(encodings, smallOrder[:]...)
	add := func(key [32]byte, message []byte, r [32]byte, s []byte) {
		list = append(list, Signed{Key: key, Message: message,
			Signature: [64]byte(append(r[:], s...))})
	}
	ends := [][]byte{make([]byte, 32), order[:], decremented(order), {31: 0x10}, {31: 0x20}}
	for i, key := range encodings {
		for j, r := range encodings {
			for _, s := range ends {
				add(key, binary.LittleEndian.AppendUint32(nil, uint32(j)), r, s)
			}
			for n := range uint32(4) { // [k]A runs through what A generates
				add(key, binary.LittleEndian.AppendUint32([]byte{byte(i)}, n), r, ends[0])
			}
		}
	}
	secret, nonce := scalarOf(t, "secret"), scalarOf(t, "nonce")
	for _, of := range curve.EIGHT_TORSION {
		var a curve.EdwardsPoint
		a.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, secret).Add(&a, of)
		key := encode(t, &a)
		for _, with := range curve.EIGHT_TORSION {
			var point curve.EdwardsPoint
			point.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, nonce).Add(&point, with)
			r := encode(t, &point)
			for n := range uint32(8) {
				message := binary.LittleEndian.AppendUint32(nil, n)
				digest := sha512.Sum512(append(append(r[:], key[:]...), message...))
				k, err := scalar.NewFromBytesModOrderWide(digest[:])
				if err != nil {
					t.Fatal(err)
				}
				s, err := k.Add(k.Mul(k, secret), nonce).MarshalBinary()
				if err != nil {
					t.Fatal(err)
				}
				add(key, message, r, s)
			}
		}
	}
	return list
}

func decremented(b [32]byte) []byte { b[0]--; return b[:] }

func encode(t testing.TB, p *curve.EdwardsPoint) [32]byte {
	b, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return [32]byte(b)
}

func scalarOf(t testing.TB, name string) *scalar.Scalar {
	digest := sha512.Sum512([]byte(name))
	s, err := scalar.NewFromBytesModOrderWide(digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRule holds every implementation to crypto/ed25519 where other rules differ from its own.
func TestRule(t *testing.T) {
	list := crafted(t)
	taken := 0
	for i := range list {
		if ed25519.Verify(list[i].Key[:], list[i].Message, list[i].Signature[:]) {
			taken++
		}
	}
	if taken < 100 || taken > len(list)/2 {
		t.Fatalf("%d of %d hold: they tell no rules apart", taken, len(list))
	}
	cputest.Each(t, kernel, func(t *testing.T, code verify) {
		for i := range list {
			s := &list[i]
			want := ed25519.Verify(s.Key[:], s.Message, s.Signature[:])
			if got := code(s); got != want {
				t.Errorf("%x on %x under %x: %v", s.Signature, s.Message, s.Key, got)
			}
		}
	})
}

// TestMutations does the same for what chance makes of good signatures.
func TestMutations(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	cputest.Each(t, kernel, func(t *testing.T, code verify) {
		rng := rand.New(rand.NewPCG(seed, 1))
		for range 500 {
			s := signed(rng)
			for range rng.IntN(3) {
				mutate(&s, rng.IntN(3), rng.Uint32())
			}
			want := ed25519.Verify(s.Key[:], s.Message, s.Signature[:])
			if got := code(&s); got != want {
				t.Fatalf("%x on %x under %x: %v", s.Signature, s.Message, s.Key, got)
			}
		}
	})
}

func signed(rng *rand.Rand) Signed {
	key := ed25519.NewKeyFromSeed(fmt.Appendf(nil, "%032d", rng.Uint64()))
	s := Signed{Key: [32]byte(key.Public().(ed25519.PublicKey)),
		Message: make([]byte, rng.IntN(300))}
	for i := range s.Message {
		s.Message[i] = byte(rng.Uint32())
	}
	s.Signature = [64]byte(ed25519.Sign(key, s.Message))
	return s
}

func mutate(s *Signed, part int, bit uint32) {
	b := [][]byte{s.Key[:], s.Message, s.Signature[:]}[part]
	if len(b) > 0 {
		b[bit/8%uint32(len(b))] ^= 1 << (bit % 8)
	}
}

// TestCheckFindsFaults: the check at start-up refuses each rule that is not this one.
func TestCheckFindsFaults(t *testing.T) {
	wrong := map[string]verify{
		"everything":      func(*Signed) bool { return true },
		"nothing":         func(*Signed) bool { return false },
		"no message":      func(s *Signed) bool { return standard(s) || len(s.Message) == 0 },
		"no small orders": func(s *Signed) bool { return standard(s) && len(s.Message) > 0 },
	}
	for name, rule := range wrong {
		if check(rule, standard) == nil {
			t.Errorf("%s passes", name)
		}
	}
	if err := check(standard, standard); err != nil {
		t.Error(err)
	}
	for name, rule := range wrong {
		code := recurring{true, func(list []*Signed, _ []*multiples, verdicts []*bool) {
			for i, s := range list {
				*verdicts[i] = rule(s)
			}
		}}
		if checkRecurring(code, recurring{false, eachStandard}) == nil {
			t.Errorf("%s passes for known keys", name)
		}
	}
}
