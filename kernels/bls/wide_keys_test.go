package bls

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"runtime"
	"testing"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/waybill-network/waybill/internal/kernelbench"
	"github.com/waybill-network/waybill/kernels/fp381"
)

// eachDecoder runs f with a workspace of every implementation of the field that this CPU has.
func eachDecoder(t *testing.T, f func(t *testing.T, w *keyDecoder)) {
	for name, field := range kernelbench.Each[fp381.Field]("fp381") {
		t.Run(name, func(t *testing.T) {
			f(t, &keyDecoder{f: field, keyConstants: newKeyConstants(field)})
		})
	}
}

// twistMultiple is k·p by doubling and adding, which holds outside the subgroup too.
func twistMultiple(p *bls12381.G2Affine, k *big.Int) (q bls12381.G2Affine) {
	var sum, point bls12381.G2Jac
	point.FromAffine(p)
	for i := k.BitLen() - 1; i >= 0; i-- {
		if sum.DoubleAssign(); k.Bit(i) == 1 {
			sum.AddAssign(&point)
		}
	}
	q.FromJacobian(&sum)
	return q
}

// twistCofactor is h with h·r points on the twist:
// (x⁸ − 4x⁷ + 5x⁶ − 4x⁴ + 6x³ − 4x² − 4x + 13)/9.
func twistCofactor() *big.Int {
	x := new(big.Int).Neg(new(big.Int).SetUint64(loopParameter))
	h := new(big.Int)
	for _, c := range []int64{1, -4, 5, 0, -4, 6, -4, -4, 13} {
		h.Mul(h, x).Add(h, big.NewInt(c))
	}
	return h.Div(h, big.NewInt(9))
}

// twistPoint is a point of the twist with a random x, outside the subgroup.
func twistPoint(r *rand.Rand) (p bls12381.G2Affine) {
	for {
		if decodeG2(&p, randomKey(r)) == VerdictPending {
			return p
		}
	}
}

// randomKey is the encoding of a random x, half of which have a point.
func randomKey(r *rand.Rand) []byte {
	b := make([]byte, PublicKeySize)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	b[0] = flagCompressed | b[0]&flagLargest | b[0]&0x0f
	b[fp.Bytes] &= 0x0f
	return b
}

// keyEncodings are proper and improper encodings of every kind.
func keyEncodings(t *testing.T, r *rand.Rand) (es [][]byte) {
	point := func(p bls12381.G2Affine) {
		for range 2 {
			b := p.Bytes()
			es = append(es, b[:])
			p.Neg(&p)
		}
	}
	for i := range uint32(40) {
		b := testKey(t, i).PublicKey().Bytes()
		es = append(es, b[:])
	}
	_, _, _, g := bls12381.Generators()
	point(g)
	order := new(big.Int).Mul(twistCofactor(), fr.Modulus())
	for range 6 {
		p := twistPoint(r)
		if q := twistMultiple(&p, order); !q.IsInfinity() {
			t.Fatal("not the order of the twist")
		}
		point(p)
		torsion := twistMultiple(&p, fr.Modulus())
		point(torsion)
		point(*new(bls12381.G2Affine).Add(&torsion, &g))
		for _, prime := range []int64{13, 23, 2713, 11953, 262069} {
			rest := new(big.Int).Div(order, big.NewInt(prime))
			if prime < 30 { // whose squares divide it
				rest.Div(rest, big.NewInt(prime))
			}
			small := twistMultiple(&p, rest)
			for ; !small.IsInfinity(); small = twistMultiple(&small, big.NewInt(prime)) {
				point(small)
				point(*new(bls12381.G2Affine).Add(&small, &g))
			}
		}
	}
	for range 200 {
		es = append(es, randomKey(r))
	}
	return append(append(es, realSquares(r)...), improperKeys()...)
}

// realSquares are points whose y² has no imaginary part, so that y is real or imaginary.
func realSquares(r *rand.Rand) (es [][]byte) {
	for len(es) < 40 {
		var x bls12381.E2
		x.A1.SetUint64(r.Uint64())
		var v, three fp.Element // x0² = (x1³ − 4)/3x1 takes 3x0²x1 − x1³ + 4 to zero
		three.SetUint64(3)
		v.Square(&x.A1).Mul(&v, &x.A1).Sub(&v, &g1.b)
		v.Div(&v, three.Mul(&three, &x.A1))
		if x.A0.Sqrt(&v) == nil {
			continue
		}
		im, re := x.A1.Bytes(), x.A0.Bytes()
		b := append(im[:], re[:]...)
		b[0] |= flagCompressed | byte(len(es)%2*flagLargest)
		es = append(es, b)
	}
	return es
}

// improperKeys are encodings at the bounds of their fields, most of them of nothing.
func improperKeys() (es [][]byte) {
	p := fp.Modulus()
	numbers := []*big.Int{new(big.Int), big.NewInt(1), big.NewInt(2), p,
		new(big.Int).Sub(p, big.NewInt(1)), new(big.Int).Add(p, big.NewInt(1)),
		new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 381), big.NewInt(1))}
	for _, flags := range []byte{0, flagCompressed, flagCompressed | flagLargest,
		flagCompressed | flagInfinity, flagMask, flagInfinity, flagLargest} {
		for _, im := range numbers {
			for _, re := range numbers {
				b := make([]byte, PublicKeySize)
				im.FillBytes(b[:fp.Bytes])
				re.FillBytes(b[fp.Bytes:])
				b[0] |= flags
				es = append(es, b)
			}
		}
	}
	return es
}

// TestWideDecodeKeys: keys in lanes get the verdicts and points of scalar code, whatever is beside
// them.
func TestWideDecodeKeys(t *testing.T) {
	r := seeded(t)
	es := keyEncodings(t, r)
	want := make(map[string]*PublicKey, len(es))
	verdict := make(map[string]Verdict, len(es))
	for _, e := range es {
		pk := new(PublicKey)
		verdict[string(e)] = pk.decode(e)
		want[string(e)] = pk
	}
	eachDecoder(t, func(t *testing.T, w *keyDecoder) {
		seen := map[Verdict]int{}
		r.Shuffle(len(es), func(i, j int) { es[i], es[j] = es[j], es[i] })
		for lo, n := 0, 1; lo < len(es); lo, n = lo+n, n%keyChunk+1 {
			some := es[lo:min(lo+n, len(es))]
			column := Column{Data: make([]byte, PublicKeySize), Stride: PublicKeySize + 5,
				Width: PublicKeySize}
			for _, e := range some { // behind another
				column.Data = append(append(column.Data, "other"...), e...)
			}
			keys, verdicts := make([]PublicKey, 1+len(some)), make([]Verdict, 1+len(some))
			w.decode(keys, verdicts, column, 1, 1+len(some))
			for i, e := range some {
				got, is := &keys[1+i], verdicts[1+i]
				pk, verdict := want[string(e)], verdict[string(e)]
				if is != verdict || is == VerdictValid && !got.Equal(pk) {
					t.Fatalf("%x: %v, %v; scalar %v, %v", e, is, got.p, verdict, pk.p)
				}
				seen[is]++
			}
		}
		for _, verdict := range []Verdict{VerdictValid, VerdictBadEncoding, VerdictNotOnCurve,
			VerdictNotInSubgroup, VerdictIdentity} {
			if seen[verdict] == 0 {
				t.Errorf("no encoding was %v", verdict)
			}
		}
	})
}

// TestWideDecodeFallsBack: the multiples of a point of order 13 come to 12P + P, for which the
// formulas have no answer. The decoder notices.
func TestWideDecodeFallsBack(t *testing.T) {
	r := seeded(t)
	rest := new(big.Int).Mul(twistCofactor(), fr.Modulus())
	rest.Div(rest, big.NewInt(13*13))
	var p bls12381.G2Affine
	for p.IsInfinity() {
		p = twistPoint(r)
		p = twistMultiple(&p, rest)
		if multiple := twistMultiple(&p, big.NewInt(13)); !multiple.IsInfinity() {
			p = multiple
		}
	}
	b := p.Bytes()
	column := Column{Data: b[:], Stride: PublicKeySize, Width: PublicKeySize}
	eachDecoder(t, func(t *testing.T, w *keyDecoder) {
		var keys [1]PublicKey
		var verdicts [1]Verdict
		w.decode(keys[:], verdicts[:], column, 0, 1)
		if verdicts[0] != VerdictNotInSubgroup || !w.scalar.Has(0) {
			t.Errorf("%v, by scalar code: %v", verdicts[0], w.scalar.Has(0))
		}
	})
}

func TestParsePublicKeys(t *testing.T) {
	es := keyEncodings(t, seeded(t))
	column := Column{bytes.Join(es, nil), PublicKeySize, PublicKeySize}
	for _, workers := range []int{0, 1, 3} {
		keys, verdicts, err := ParsePublicKeys(column, workers)
		if err != nil || len(keys) != len(es) || len(verdicts) != len(es) {
			t.Fatal(len(keys), len(verdicts), err)
		}
		for i, e := range es {
			want, err := ParsePublicKey(e)
			switch {
			case err == nil:
				if verdicts[i] != VerdictValid || !keys[i].Equal(want) {
					t.Fatalf("%x: %v, %v", e, verdicts[i], keys[i])
				}
			case keys[i] != nil || !errors.Is(err, verdicts[i]):
				t.Fatalf("%x: %v, %v, alone %v", e, keys[i], verdicts[i], err)
			}
		}
	}
	if keys, _, err := ParsePublicKeys(Column{}, 1); len(keys) != 0 || err != nil {
		t.Errorf("no keys: %v, %v", keys, err)
	}
	if _, _, err := ParsePublicKeys(Column{column.Data, 48, 48}, 1); !errors.Is(err, ErrLength) {
		t.Errorf("keys of 48 bytes: %v", err)
	}
}

// FuzzParsePublicKeys: a key in lanes among others gets the verdict that gnark-crypto's decoder has
// for it. The first byte says where it stands.
func FuzzParsePublicKeys(f *testing.F) {
	good := testKey(f, 0).PublicKey().Bytes()
	f.Add(byte(3), good[:])
	for _, e := range append(improperKeys()[:60], realSquares(rand.New(rand.NewPCG(1, 2)))...) {
		f.Add(byte(9), e)
	}
	fields := map[string]*keyDecoder{}
	for name, field := range kernelbench.Each[fp381.Field]("fp381") {
		fields[name] = &keyDecoder{f: field, keyConstants: newKeyConstants(field)}
	}
	f.Fuzz(func(t *testing.T, at byte, in []byte) {
		if len(in) != PublicKeySize {
			return
		}
		var p bls12381.G2Affine
		n, err := p.SetBytes(in)
		accepted := err == nil && n == PublicKeySize && !p.IsInfinity()
		data := bytes.Repeat(good[:], keyChunk)
		place := int(at) % keyChunk
		copy(data[place*PublicKeySize:], in)
		for name, w := range fields {
			var keys [keyChunk]PublicKey
			var verdicts [keyChunk]Verdict
			w.decode(keys[:], verdicts[:], Column{data, PublicKeySize, PublicKeySize}, 0, keyChunk)
			for i, verdict := range verdicts {
				switch {
				case i != place && verdict != VerdictValid:
					t.Fatalf("%s: %x made a good key %v", name, in, verdict)
				case i == place && (verdict == VerdictValid) != accepted,
					i == place && accepted && !keys[i].p.Equal(&p):
					t.Fatalf("%s: %x: %v, %v; peer %v", name, in, verdict, keys[i].p, err)
				}
			}
		}
	})
}

// BenchmarkParseKeys is of one core, on each kernel. In turns, for medians:
//
//	go test -run '^$' -cpu 1 -bench ParseKeys -count 6 ./kernels/bls | benchstat -col /kernel -
func BenchmarkParseKeys(b *testing.B) {
	var data []byte
	for i := range uint32(256) {
		key := testKey(b, i).PublicKey().Bytes()
		data = append(data, key[:]...)
	}
	for _, n := range []int{1, 2, 4, 8, 16, 256} {
		column := Column{data[:n*PublicKeySize], PublicKeySize, PublicKeySize}
		run := func(kernel string, decode func() error) {
			b.Run(fmt.Sprintf("keys=%d/kernel=%s", n, kernel), func(b *testing.B) {
				for b.Loop() {
					if err := decode(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "keys/s")
			})
		}
		run("scalar", func() error {
			for i := range n {
				if _, err := ParsePublicKey(column.At(i)); err != nil {
					return err
				}
			}
			return nil
		})
		keys, verdicts := make([]PublicKey, n), make([]Verdict, n)
		for name, field := range kernelbench.Each[fp381.Field]("fp381") {
			w := &keyDecoder{f: field, keyConstants: newKeyConstants(field)}
			run(name, func() error {
				for lo := 0; lo < n; lo += keyChunk {
					w.decode(keys, verdicts, column, lo, min(n, lo+keyChunk))
				}
				return verdicts[n-1].Err()
			})
		}
		runtime.KeepAlive(keys)
	}
}
