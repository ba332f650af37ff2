package verifier_test

import (
	"errors"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	curve "github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark-crypto/ecc/bn254/fp"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"

	"github.com/waybill-network/waybill/kernels/poseidon2"
	"github.com/waybill-network/waybill/proofs/prooftest"
	"github.com/waybill-network/waybill/proofs/prover"
	. "github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
)

type fixture struct {
	key    *Key
	public [32]byte
	proof  [rollup.ProofSize]byte
}

// proved returns a proof and its key.
var proved = sync.OnceValue(func() func(testing.TB) fixture {
	var f fixture
	return func(tb testing.TB) fixture {
		tb.Helper()
		if f.key != nil {
			return f
		}
		pair := prooftest.Keys(tb, 256)
		with, err := pair.Proving()
		if err != nil {
			tb.Fatal(err)
		}
		w := prooftest.NewWindow(tb, 200, 256, 5)
		f.public = w.Segments[0].Public.Bytes()
		if f.proof, err = prover.Prove(with, &w.Segments[0], w.Statements(0)); err != nil {
			tb.Fatal(err)
		}
		f.key = pair.Verifying
		return f
	}
})

func newVerifier(tb testing.TB, keys ...*Key) *Verifier {
	tb.Helper()
	v, err := New(keys...)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func TestVerify(t *testing.T) {
	f := proved()(t)
	v := newVerifier(t, f.key)
	if sizes := v.Sizes(); !slices.Equal(sizes, []int{256}) {
		t.Errorf("sizes %v", sizes)
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 2 {
				if err := v.VerifyProof(256, f.public, &f.proof); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := v.VerifyProof(1024, f.public, &f.proof); !errors.Is(err, ErrKey) {
		t.Errorf("a size without a key: %v", err)
	}
	if _, err := New(f.key, f.key); !errors.Is(err, ErrKey) {
		t.Errorf("two keys of one size: %v", err)
	}
	if err := newVerifier(t).VerifyProof(256, f.public, &f.proof); !errors.Is(err, ErrKey) {
		t.Errorf("no keys: %v", err)
	}
}

func TestOtherInputs(t *testing.T) {
	f := proved()(t)
	v := newVerifier(t, f.key)
	for bit := 0; bit < 256; bit += 17 {
		public := f.public
		public[bit/8] ^= 1 << (bit % 8)
		if v.VerifyProof(256, public, &f.proof) == nil {
			t.Errorf("input with bit %d changed: accepted", bit)
		}
	}
	// The input plus the order of the field is the same element, and no canonical encoding of it.
	little := func(b [32]byte) *big.Int { slices.Reverse(b[:]); return new(big.Int).SetBytes(b[:]) }
	sum := new(big.Int).Add(little(f.public), fr.Modulus())
	if sum.BitLen() <= 256 {
		var public [32]byte
		sum.FillBytes(public[:])
		slices.Reverse(public[:])
		if err := v.VerifyProof(256, public, &f.proof); !errors.Is(err, ErrEncoding) {
			t.Errorf("an input above the order: %v", err)
		}
	}
	if other := poseidon2.Truncate([32]byte{1}); v.VerifyProof(256, other.Bytes(),
		&f.proof) == nil {
		t.Error("another input: accepted")
	}
}

// TestMutatedProofs changes every coordinate of a proof in ways that decoding, and in ways that
// only the pairing can see.
func TestMutatedProofs(t *testing.T) {
	f := proved()(t)
	v := newVerifier(t, f.key)
	refused := func(name string, proof [rollup.ProofSize]byte, want error) {
		t.Helper()
		if err := v.VerifyProof(256, f.public, &proof); !errors.Is(err, want) {
			t.Errorf("%s: %v, not %v", name, err, want)
		}
	}
	for at := 0; at < rollup.ProofSize; at += fp.Bytes {
		proof := f.proof
		proof[at+fp.Bytes-1] ^= 1
		refused("another coordinate", proof, ErrPoint)
		proof = f.proof
		value := new(big.Int).SetBytes(proof[at : at+fp.Bytes])
		if value.Add(value, fp.Modulus()); value.BitLen() <= 256 {
			value.FillBytes(proof[at : at+fp.Bytes])
			refused("a coordinate above the order", proof, ErrEncoding)
		}
		for _, flag := range []byte{0x40, 0x80, 0xc0} { // gnark's flags of compressed points
			proof = f.proof
			proof[at] |= flag
			refused("a flag", proof, ErrEncoding)
		}
	}
	for _, part := range [][2]int{{0, 64}, {64, 192}, {192, 256}, {256, 320}, {320, 384}} {
		proof := f.proof
		clear(proof[part[0]:part[1]])
		refused("the identity", proof, ErrPoint)
	}
	p, err := ParseProof(&f.proof)
	if err != nil {
		t.Fatal(err)
	}
	if p.Bytes() != f.proof {
		t.Error("a proof has two encodings")
	}
	for name, change := range map[string]func(p *Proof){
		"Ar":         func(p *Proof) { p.Ar.Add(&p.Ar, &p.Krs) },
		"Ar negated": func(p *Proof) { p.Ar.Neg(&p.Ar) },
		"Bs":         func(p *Proof) { p.Bs.Double(&p.Bs) },
		"Krs":        func(p *Proof) { p.Krs.Add(&p.Krs, &p.Ar) },
		"Commitment": func(p *Proof) { p.Commitment.Double(&p.Commitment) },
		"Known":      func(p *Proof) { p.Known.Neg(&p.Known) },
		"both of them": func(p *Proof) {
			p.Commitment.Double(&p.Commitment)
			p.Known.Double(
				&p.Known)
		},
		"Ar and Krs": func(p *Proof) { p.Ar, p.Krs = p.Krs, p.Ar },
		"all doubled": func(p *Proof) {
			p.Ar.Double(&p.Ar)
			p.Krs.Double(&p.Krs)
			p.Bs.Double(
				&p.Bs)
		},
		"of other wires": func(p *Proof) { p.Commitment, p.Known = p.Known, p.Commitment },
	} {
		q := *p
		change(&q)
		refused(name, q.Bytes(), ErrProof)
	}
	// Malleable, as every proof of Groth's: it must verify, so that nobody takes proof bytes for a
	// name.
	q := *p
	q.Ar.Neg(&q.Ar)
	q.Bs.Neg(&q.Bs)
	if proof := q.Bytes(); v.VerifyProof(256, f.public, &proof) != nil {
		t.Error("the negated pair does not verify")
	}
}

// TestOutsideTheSubgroup has a point of the twist that is on the curve and not in the group.
func TestOutsideTheSubgroup(t *testing.T) {
	f := proved()(t)
	p, err := ParseProof(&f.proof)
	if err != nil {
		t.Fatal(err)
	}
	for x := uint64(1); ; x++ {
		var b, y curve.E2
		p.Bs.X.A0.SetUint64(x)
		p.Bs.X.A1.SetOne()
		_, b2 := twist()
		b.Square(&p.Bs.X).Mul(&b, &p.Bs.X).Add(&b, &b2)
		if b.Legendre() != 1 {
			continue
		}
		p.Bs.Y = *y.Sqrt(&b)
		if p.Bs.IsOnCurve() && !p.Bs.IsInSubGroup() {
			break
		}
	}
	proof := p.Bytes()
	if err := newVerifier(t, f.key).VerifyProof(256, f.public, &proof); !errors.Is(err, ErrPoint) {
		t.Error(err)
	}
}

// twist returns a generator and the constant b of the twist's equation y² = x³ + b.
func twist() (g curve.G2Affine, b curve.E2) {
	_, _, _, g = curve.Generators()
	var x3 curve.E2
	x3.Square(&g.X).Mul(&x3, &g.X)
	b.Square(&g.Y).Sub(&b, &x3)
	return g, b
}

func TestKeys(t *testing.T) {
	f := proved()(t)
	b := f.key.Bytes()
	if len(b) != KeySize {
		t.Fatalf("%d bytes", len(b))
	}
	k, err := ParseKey(b)
	if err != nil {
		t.Fatal(err)
	}
	if *k != *f.key || k.Hash() != f.key.Hash() {
		t.Error("another key after a round trip")
	}
	for _, cut := range [][]byte{nil, b[:KeySize-1], append(slices.Clone(b), 0)} {
		if _, err := ParseKey(cut); !errors.Is(err, ErrEncoding) {
			t.Errorf("%d bytes: %v", len(cut), err)
		}
	}
	wrong := slices.Clone(b)
	wrong[0]++
	if _, err := ParseKey(wrong); !errors.Is(err, ErrEncoding) {
		t.Errorf("of 257 statements: %v", err)
	}
	for at := 4; at < KeySize; at += fp.Bytes {
		wrong := slices.Clone(b)
		wrong[at+fp.Bytes-1] ^= 1
		if _, err := ParseKey(wrong); !errors.Is(err, ErrPoint) {
			t.Errorf("coordinate at %d: %v", at, err)
		}
	}
	other := *k
	other.K[1].Double(&other.K[1])
	if newVerifier(t, &other).VerifyProof(256, f.public, &f.proof) == nil {
		t.Error("a proof holds under another key")
	}

	var h KeyHash
	text, _ := k.Hash().MarshalText()
	if err := h.UnmarshalText(text); err != nil || h != k.Hash() {
		t.Errorf("the hash as text: %v", err)
	}
	for _, bad := range []string{"", "00", strings.Repeat("g", 64), string(text) + "00"} {
		if err := h.UnmarshalText([]byte(bad)); !errors.Is(err, ErrEncoding) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	fix := proved()(f)
	v := newVerifier(f, fix.key)
	f.Add(fix.proof[:])
	f.Add(make([]byte, rollup.ProofSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		var proof [rollup.ProofSize]byte
		copy(proof[:], b)
		err := v.VerifyProof(256, fix.public, &proof)
		p, parsed := ParseProof(&proof)
		if err == nil && parsed != nil {
			t.Fatal("it verifies, and does not decode")
		}
		if parsed == nil && p.Bytes() != proof {
			t.Fatal("two encodings of a proof")
		}
	})
}

func BenchmarkVerifyProof(b *testing.B) {
	f := proved()(b)
	v := newVerifier(b, f.key)
	for b.Loop() {
		if err := v.VerifyProof(256, f.public, &f.proof); err != nil {
			b.Fatal(err)
		}
	}
}
