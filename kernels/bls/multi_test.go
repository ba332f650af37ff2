package bls

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// newMulti has n signers sign one message.
func newMulti(t testing.TB, n int) (*Multi, []*SecretKey) {
	t.Helper()
	m := &Multi{Message: []byte("one message"),
		Signatures: Column{make([]byte, n*SignatureSize), SignatureSize, SignatureSize}}
	secrets := make([]*SecretKey, n)
	for i := range secrets {
		seed := sha256Sum(fmt.Sprint("multi ", i))
		sk, err := KeyGen(seed[:])
		if err != nil {
			t.Fatal(err)
		}
		secrets[i], m.Keys = sk, append(m.Keys, sk.PublicKey())
		m.set(i, Default.Sign(sk, m.Message))
	}
	return m, secrets
}

func (m *Multi) set(i int, s Signature) {
	b := s.Bytes()
	copy(m.Signatures.At(i), b[:])
}

func (m *Multi) clone() *Multi {
	c := *m
	c.Signatures.Data = slices.Clone(m.Signatures.Data)
	return &c
}

// verify checks what holds of every answer: the sum is a multi-signature of the valid parts.
func (m *Multi) verify(t testing.TB, workers int) ([]Verdict, Report) {
	t.Helper()
	verdicts := make([]Verdict, m.parts())
	sum, report, err := NewVerifier(Default, workers).VerifyMulti(m, verdicts)
	if err != nil {
		t.Fatal(err)
	}
	var keys []*PublicKey
	var sigs []Signature
	for part, verdict := range verdicts {
		if verdict != VerdictValid {
			continue
		}
		from, to := m.bounds(part, part+1)
		keys = append(keys, m.Keys[from:to]...)
		for i := from; i < to; i++ {
			s, err := ParseSignature(m.Signatures.At(i))
			if err != nil {
				t.Fatal(err)
			}
			sigs = append(sigs, s)
		}
	}
	if want := AggregateSignatures(sigs); sum != want {
		t.Error("the sum is not that of the valid parts' signatures")
	}
	if valid := Default.FastAggregateVerify(keys, m.Message, &sum); valid != (len(keys) > 0) {
		t.Errorf("the sum of %d signatures verifies: %v", len(keys), valid)
	}
	return verdicts, report
}

func TestVerifyMulti(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, n := range []int{0, 1, 2, 3, 17, 130} {
		m, secrets := newMulti(t, n)
		for _, workers := range []int{1, 2} {
			verdicts, report := m.verify(t, workers)
			if slices.ContainsFunc(verdicts, func(v Verdict) bool { return v != VerdictValid }) ||
				report.Invalid != 0 || report.Checks != min(n, 1) {
				t.Errorf("%d good signers: %v, %+v", n, verdicts, report)
			}
		}
		for _, share := range []float64{0.02, 0.5, 1} {
			c := m.clone()
			want := make([]Verdict, n)
			for i := range want {
				want[i] = VerdictValid
				if rng.Float64() >= share {
					continue
				}
				switch want[i] = []Verdict{VerdictBadSignature, VerdictBadSignature,
					VerdictBadEncoding, VerdictIdentity, VerdictNotOnCurve}[rng.IntN(5)]; want[i] {
				case VerdictBadSignature:
					c.set(i, Default.Sign(secrets[i], []byte("another message")))
				case VerdictBadEncoding:
					c.Signatures.At(i)[0] &^= flagCompressed
				case VerdictIdentity:
					copy(c.Signatures.At(i), IdentitySignature[:])
				case VerdictNotOnCurve:
					copy(c.Signatures.At(i), notOnCurve(t))
				}
			}
			if verdicts, report := c.verify(t, 2); !slices.Equal(verdicts, want) ||
				report.Checks > n*13/10+2 {
				t.Errorf("%d signers: %v, want %v, %+v", n, verdicts, want, report)
			}
		}
	}
}

// notOnCurve is an encoding without a point.
func notOnCurve(t testing.TB) []byte {
	b := make([]byte, SignatureSize)
	b[0] = flagCompressed
	for ; ; b[SignatureSize-1]++ {
		if _, err := ParseSignature(b); errors.Is(err, VerdictNotOnCurve) {
			return b
		}
	}
}

// TestVerifyMultiParts: a part is taken or left as a whole.
func TestVerifyMultiParts(t *testing.T) {
	m, secrets := newMulti(t, 12)
	m.Parts = []int{3, 4, 9, 12}
	for i := range 12 {
		for _, garbage := range []bool{false, true} {
			c := m.clone()
			want := []Verdict{VerdictValid, VerdictValid, VerdictValid, VerdictValid}
			part := slices.IndexFunc(m.Parts, func(end int) bool { return i < end })
			if garbage {
				c.Signatures.At(i)[0], want[part] = 0, VerdictBadEncoding
			} else {
				c.set(i, Default.Sign(secrets[i], nil))
				want[part] = VerdictBadSignature
			}
			if verdicts, _ := c.verify(t, 1); !slices.Equal(verdicts, want) {
				t.Errorf("signer %d: %v, want %v", i, verdicts, want)
			}
		}
	}
}

// TestVerifyMultiTogether: errors that cancel out are valid together, alone they are not; a sum
// that is the identity is nobody's multi-signature.
func TestVerifyMultiTogether(t *testing.T) {
	m, secrets := newMulti(t, 6)
	shift := Default.Sign(secrets[0], []byte("shift"))
	move := func(i int, by Signature) {
		s := Default.Sign(secrets[i], m.Message)
		s.p.Add(&s.p, &by.p)
		m.set(i, s)
	}
	minus := shift
	minus.p.Neg(&minus.p)
	move(1, shift)
	move(4, minus)
	if verdicts, _ := m.verify(t, 1); slices.Contains(verdicts, VerdictBadSignature) {
		t.Errorf("errors that cancel: %v", verdicts)
	}
	m.set(3, shift)
	if verdicts, _ := m.verify(t, 1); verdicts[3] == VerdictValid || verdicts[0] != VerdictValid ||
		verdicts[2] != VerdictValid || verdicts[5] != VerdictValid {
		t.Errorf("with a bad one besides: %v", verdicts)
	}

	two, secrets := newMulti(t, 2)
	opposite := *secrets[0]
	opposite.s.Neg(&opposite.s)
	two.Keys[1] = opposite.PublicKey()
	two.set(1, Default.Sign(&opposite, two.Message))
	if verdicts, _ := two.verify(t, 1); slices.Equal(verdicts,
		[]Verdict{VerdictValid, VerdictValid}) {
		t.Errorf("signatures that cancel: %v", verdicts)
	}
}

// TestVerifyMultiSubgroup: the sum of points outside the subgroup is no multi-signature, though the
// pairing ignores it.
func TestVerifyMultiSubgroup(t *testing.T) {
	m, _ := newMulti(t, 5)
	s, err := ParseSignature(m.Signatures.At(2))
	if err != nil {
		t.Fatal(err)
	}
	outside := torsion()
	s.p.Add(&s.p, &outside)
	m.set(2, s)
	if verdicts, _ := m.verify(t, 1); !slices.Equal(verdicts,
		[]Verdict{VerdictValid, VerdictValid, VerdictBadSignature, VerdictValid, VerdictValid}) {
		t.Errorf("%v", verdicts)
	}
}

func TestVerifyMultiRefuses(t *testing.T) {
	good, _ := newMulti(t, 4)
	for name, spoil := range map[string]func(*Multi){
		"key missing": func(m *Multi) { m.Keys = slices.Clone(m.Keys); m.Keys[2] = nil },
		"identity key": func(m *Multi) {
			m.Keys = slices.Clone(m.Keys)
			m.Keys[2] = new(
				PublicKey)
		},
		"signature missing": func(
			m *Multi) {
			m.Signatures.Data = m.Signatures.Data[:3*SignatureSize]
		},
		"width":           func(m *Multi) { m.Signatures.Width = 47 },
		"empty part":      func(m *Multi) { m.Parts = []int{2, 2, 4} },
		"parts go back":   func(m *Multi) { m.Parts = []int{3, 2, 4} },
		"parts too short": func(m *Multi) { m.Parts = []int{1, 3} },
		"parts too long":  func(m *Multi) { m.Parts = []int{1, 5} },
	} {
		m := *good
		spoil(&m)
		if _, _, err := NewVerifier(Default, 1).VerifyMulti(&m,
			make([]Verdict, m.parts())); !errors.Is(err, ErrBatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := NewVerifier(Default, 1).VerifyMulti(good, make([]Verdict, 3)); !errors.Is(err,
		ErrBatch) {
		t.Error(err)
	}
}

func TestAddEncoded(t *testing.T) {
	for _, n := range []int{1, 2, 127, 128, 300} {
		f := newFixture(t, n, 3)
		var want, got Sum
		for i := range n {
			s := f.sig(t, i)
			want.Add(&s)
		}
		extra := Default.Sign(f.secrets[0], nil)
		got.Add(&extra)
		v := NewVerifier(Default, 2)
		if err := v.AddEncoded(&got, f.Signatures); err != nil {
			t.Fatal(err)
		}
		var minus Sum
		minus.Add(&extra)
		got.Subtract(&minus)
		if got.Signature() != want.Signature() {
			t.Errorf("the sum of %d signatures is another", n)
		}
		f.Signatures.At(n - 1)[0] = 0
		if err := v.AddEncoded(&got, f.Signatures); !errors.Is(err, VerdictBadEncoding) ||
			got.Signature() != want.Signature() {
			t.Errorf("a signature that is none: %v", err)
		}
	}
}

func BenchmarkVerifyMulti(b *testing.B) {
	for _, n := range []int{256, 4096} {
		m, secrets := newMulti(b, n)
		for _, bad := range []int{0, 1} {
			b.Run(fmt.Sprintf("%d/bad=%d", n, bad), func(b *testing.B) {
				c := m.clone()
				for i := range bad {
					c.set(i*7, Default.Sign(secrets[0], nil))
				}
				v := NewVerifier(Default, 1)
				verdicts := make([]Verdict, n)
				for b.Loop() {
					if _, _, err := v.VerifyMulti(c, verdicts); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
