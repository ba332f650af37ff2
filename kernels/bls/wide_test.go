package bls

import (
	"math/big"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/internal/kernelbench"
	"github.com/waybill-network/waybill/kernels/fp381"
)

func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// eachWide runs f with a workspace of every implementation of the field that this CPU has.
func eachWide(t *testing.T, f func(t *testing.T, w *wide)) {
	for name, field := range kernelbench.Each[fp381.Field]("fp381") {
		t.Run(name,
			func(t *testing.T) { f(t, &wide{f: field, wideConstants: newWideConstants(field)}) })
	}
}

// encodings are proper and improper ones of every kind.
func encodings(r *rand.Rand) (es [][]byte) {
	add := func(e [SignatureSize]byte) { es = append(es, e[:]) }
	withX := func(x *big.Int, flags byte) {
		var e [SignatureSize]byte
		x.FillBytes(e[:])
		e[0] |= flags
		add(e)
	}
	p := fp.Modulus()
	for _, flags := range []byte{0, flagCompressed, flagCompressed | flagLargest,
		flagCompressed | flagInfinity, flagMask, flagInfinity, flagLargest} {
		withX(new(big.Int), flags) // x = 0 is on the curve, outside the subgroup
		for d := int64(-3); d <= 3; d++ {
			withX(new(big.Int).Add(p, big.NewInt(d)), flags)
			withX(big.NewInt(d&3+1), flags)
		}
		withX(new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 381), big.NewInt(1)), flags)
	}
	for range 200 { // half of these are on the curve
		var e [SignatureSize]byte
		for i := range e {
			e[i] = byte(r.Uint32())
		}
		e[0] = flagCompressed | e[0]&flagLargest | e[0]&0x0f
		add(e)
	}
	return es
}

func TestWideDecode(t *testing.T) {
	r := seeded(t)
	es := encodings(r)
	eachWide(t, func(t *testing.T, w *wide) {
		seen := map[Verdict]bool{}
		for _, n := range []int{1, 2, 7, 8, 9, 64, len(es)} {
			r.Shuffle(len(es), func(i, j int) { es[i], es[j] = es[j], es[i] })
			column := Column{Stride: SignatureSize + 5, Width: SignatureSize}
			for _, e := range es[:n] {
				column.Data = append(append(column.Data, e...), "other"...)
			}
			lo := n / 3
			if n == len(es) {
				lo = 0
			}
			got, verdicts := make([]Signature, n), make([]Verdict, n)
			w.decode(got, verdicts, column, lo, n)
			for i := lo; i < n; i++ {
				var want affine
				if verdict := decodeG1(&want, es[i]); verdicts[i] != verdict || got[i].p != want {
					t.Fatalf("%x: %v, %v; scalar %v, %v", es[i], verdicts[i], got[i].p, verdict,
						want)
				}
				seen[verdicts[i]] = true
			}
		}
		for _, verdict := range []Verdict{VerdictPending, VerdictBadEncoding, VerdictNotOnCurve,
			VerdictIdentity} {
			if !seen[verdict] {
				t.Errorf("no encoding was %v", verdict)
			}
		}
	})
}

func TestWideMapToIso(t *testing.T) {
	r := seeded(t)
	var one, minusOne, exceptional fp.Element
	one.SetOne()
	minusOne.Neg(&one)
	u := []fp.Element{{}, one, minusOne, swuZ, swuSqrt}
	exceptional.Inverse(&swuZ).Neg(&exceptional) // u² = -1/Z
	if exceptional.Sqrt(&exceptional) != nil {
		u = append(u, exceptional)
	}
	for range 120 {
		var e fp.Element
		e.SetBigInt(new(big.Int).SetBytes([]byte(new(big.Int).SetUint64(r.Uint64()).String())))
		u = append(u, e)
	}
	eachWide(t, func(t *testing.T, w *wide) {
		for _, n := range []int{1, 5, 8, 9, len(u)} {
			got, want := make([]affine, n), make([]affine, n)
			w.mapToIso(got, u[:n])
			new(workspace).mapToIso(want, u[:n])
			for i := range n {
				if got[i] != want[i] {
					t.Fatalf("u = %s: %v, scalar %v", u[i].String(), got[i], want[i])
				}
			}
			var both []fp.Element // in pairs, among them equal and opposite ones
			for i := range n {
				other := u[n-1-i]
				if i%3 == 1 {
					other.Neg(&u[i])
				}
				both = append(both, u[i], other)
			}
			points := make([]affine, len(both))
			new(workspace).mapToIso(points, both)
			w.hashToIso(got, both)
			for i := range got {
				if sum := sumOn(&iso, points[2*i], points[2*i+1]); got[i] != sum {
					t.Fatalf("sum %d of %d: %v, scalar %v", i, n, got[i], sum)
				}
			}
		}
	})
}

func sumOn(c *curve, a, b affine) affine {
	var j jacobian
	c.addMixed(&j, &a)
	c.addMixed(&j, &b)
	return j.affine()
}

// Sums of ordinary points, equal and opposite ones, identities, and points with x = 0.
func TestWideSums(t *testing.T) {
	r := seeded(t)
	for name, c := range map[string]*curve{"g1": &g1, "iso": &iso} {
		kinds := map[string][]affine{"mixed": somePoints(c, r, 1500), "equal": make([]affine, 100),
			"opposite": make([]affine, 100), "identity": make([]affine, 40)}
		one := kinds["mixed"][0]
		for i := 1; one.IsInfinity(); i++ {
			one = kinds["mixed"][i]
		}
		for i := range 100 {
			kinds["equal"][i], kinds["opposite"][i] = one, one
			if i%2 == 1 {
				kinds["opposite"][i].Neg(&one)
			}
		}
		if c == &g1 {
			var axis affine // of order 3
			axis.Y.SetUint64(2)
			kinds["axis"] = []affine{axis, {}, axis, axis, {}, *new(affine).Neg(&axis), axis, {},
				{}, axis, axis, axis}
		}
		for kind, pts := range kinds {
			for _, n := range []int{1, 2, 3, 7, 9, 40, 1500} {
				pts := pts[:min(n, len(pts))]
				coef := make([]coefficient, len(pts))
				for i := range coef {
					coef[i] = coefficient{r.Uint64(), r.Uint64()}
				}
				var l workspace
				l.scalarBitSums(c, pts, coef)
				eachWide(t, func(t *testing.T, w *wide) {
					var bits [coefficientBits]affine
					if w.narrow(bits[:],
						w.bitSums(c, pts, coef,
							[]segment{{0, len(pts)}})[0][:]); bits != l.bits[0] {
						t.Errorf("%s: sums of %d points, %s, differ", name, len(pts), kind)
					}
				})
			}
		}
	}
}

// Sums of distinct, equal, opposite and missing keys.
func TestWideKeys(t *testing.T) {
	r := seeded(t)
	var distinct []*PublicKey
	_, _, _, g := bls12381.Generators()
	var step bls12381.G2Jac
	step.FromAffine(&g)
	for range 300 {
		pk := new(PublicKey)
		pk.p.FromJacobian(&step)
		distinct = append(distinct, pk)
		if step.AddMixed(&g); len(distinct)%50 == 0 {
			step.DoubleAssign().DoubleAssign()
		}
	}
	pick := func(n, of int, signs, missing bool) (pks []*PublicKey) {
		for range n {
			pk := new(PublicKey)
			pk.p = distinct[r.IntN(of)].p
			if signs && r.IntN(2) == 0 {
				pk.p.Neg(&pk.p)
			}
			if missing && r.IntN(3) == 0 {
				pk.p = bls12381.G2Affine{}
			}
			pks = append(pks, pk)
		}
		return pks
	}
	for name, pks := range map[string][]*PublicKey{
		"none": nil, "one": distinct[:1], "two": distinct[:2], "nine": distinct[:9],
		"distinct": distinct,
		"equal":    pick(100, 1, false, false), "opposite": pick(100, 1, true, false),
		"missing": pick(1, 1, false, true),
		"few":     pick(500, 4, true, true), "many": pick(2*wideKeys+77, 300, true, true),
	} {
		var want bls12381.G2Jac
		for _, pk := range pks {
			want.AddMixed(&pk.p)
		}
		eachWide(t, func(t *testing.T, w *wide) {
			var got bls12381.G2Jac
			sums := newWideSums2(w.f)
			sums.sumKeys(&got, pks)
			if !got.Equal(&want) {
				t.Errorf("the sum of %d keys, %s, differs", len(pks), name)
			}
			// some as the first sum left them, in another order, and some new
			again := make([]*PublicKey, len(pks))
			for i, at := range r.Perm(len(pks)) {
				if again[i] = pks[at]; i%3 == 0 {
					again[i] = &PublicKey{p: pks[at].p}
				}
			}
			got = bls12381.G2Jac{}
			sums.sumKeys(&got, again)
			if !got.Equal(&want) {
				t.Errorf("the sum of %d keys, %s, of which some were summed before, differs",
					len(pks), name)
			}
		})
	}
}

// Sums that meet the same keys for the first time, at the same time, agree.
func TestAggregateConcurrently(t *testing.T) {
	var keys []*PublicKey
	for i := range 8 {
		keys = append(keys, testKey(t, uint32(i)).PublicKey())
	}
	for len(keys) < 2*scalarSharedFrom {
		keys = append(keys, &PublicKey{p: keys[len(keys)-8].p})
	}
	var sums [4]*PublicKey
	var wg sync.WaitGroup
	for i := range sums {
		wg.Go(func() { sums[i] = AggregatePublicKeys(keys) })
	}
	wg.Wait()
	var want bls12381.G2Jac
	for _, pk := range keys {
		want.AddMixed(&pk.p)
	}
	var p bls12381.G2Affine
	p.FromJacobian(&want)
	for i := range sums {
		if !sums[i].p.Equal(&p) {
			t.Errorf("sum %d differs", i)
		}
	}
}

// Whole batches, with every kind of bad entry, get the same verdicts and points whatever computes.
func TestWideVerdicts(t *testing.T) {
	fx := newFixture(t, 150, 7)
	es := encodings(seeded(t))
	for i := 0; i < 150; i += 11 {
		copy(fx.Signatures.At(i), es[i%len(es)])
	}
	fx.Signatures.At(75)[20] ^= 1
	copy(fx.Signatures.At(77), fx.Signatures.At(78))
	run := func(w *wide) ([]Verdict, []Signature) {
		v := NewVerifier(Default, 1)
		v.spaces[0].wide = w
		verdicts := make([]Verdict, 150)
		if _, err := v.Verify(&fx.Batch, verdicts); err != nil {
			t.Fatal(err)
		}
		return verdicts, v.Signatures()
	}
	want, points := run(nil)
	eachWide(t, func(t *testing.T, w *wide) {
		got, decoded := run(w)
		for i := range want {
			one, err := ParseSignature(fx.Signatures.At(i))
			if valid := err == nil && Default.Verify(fx.Keys[fx.Signer[i]], fx.Messages.At(i),
				&one); valid != (got[i] == VerdictValid) {
				t.Errorf("entry %d: %v, alone %v", i, got[i], valid)
			}
			if got[i] != want[i] || got[i] == VerdictValid && decoded[i] != points[i] {
				t.Errorf("entry %d: %v, not %v", i, got[i], want[i])
			}
		}
	})
}
