package bls

import (
	"math/big"
	"testing"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// curvePoints are points of g1's curve: the identity, points of the subgroup, of small orders, and
// of both mixed.
func curvePoints(t *testing.T) (inside, outside []affine) {
	_, _, g, _ := bls12381.Generators()
	inside = append(inside, affine{}, g, *new(affine).Neg(&g))
	// by doubling and adding, which holds outside the subgroup too
	multiple := func(p *affine, k *big.Int) affine {
		var j jacobian
		for i := k.BitLen() - 1; i >= 0; i-- {
			if g1.double(&j); k.Bit(i) == 1 {
				g1.addMixed(&j, p)
			}
		}
		return j.affine()
	}
	for _, p := range somePoints(&g1, seeded(t), 40) {
		inside = append(inside, clearCofactor(p))
		torsion := multiple(&p, fr.Modulus())
		for _, q := range []affine{p, torsion, *new(affine).Add(&torsion, &g)} {
			if !q.IsInSubGroup() {
				outside = append(outside, q)
			}
		}
	}
	var axis affine // of order 3
	axis.Y.SetUint64(2)
	outside = append(outside, axis, *new(affine).Neg(&axis), *new(affine).Add(&axis, &g))
	cofactor, _ := new(big.Int).SetString("396c8c005555e1568c00aaab0000aaab", 16)
	for _, prime := range []int64{11, 10177, 859267, 52437899} { // whose squares divide it
		for _, p := range somePoints(&g1, seeded(t), 4) {
			rest := new(big.Int).Mul(cofactor, fr.Modulus())
			rest.Div(rest, big.NewInt(prime*prime))
			if q := multiple(&p, rest); !q.IsInfinity() {
				outside = append(outside, q, *new(affine).Add(&q, &g))
				if q = multiple(&q, big.NewInt(prime)); !q.IsInfinity() {
					outside = append(outside, q)
				}
			}
		}
	}
	return inside, outside
}

func TestWideIsogeny(t *testing.T) {
	pts := append(somePoints(&iso, seeded(t), 90), affine{})
	eachWide(t, func(t *testing.T, w *wide) {
		for _, n := range []int{1, 7, 8, 9, 31, 32, 33, len(pts)} {
			got := append([]affine(nil), pts[len(pts)-n:]...)
			w.toG1(got)
			for i, p := range pts[len(pts)-n:] {
				if want := toG1(p); got[i] != want {
					t.Fatalf("%v goes to %v, not %v", p, got[i], want)
				}
			}
		}
	})
}

func TestWideClearCofactors(t *testing.T) {
	inside, outside := curvePoints(t)
	pts := append(inside, outside...)
	eachWide(t, func(t *testing.T, w *wide) {
		for _, n := range []int{1, 8, 9, 33, len(pts)} {
			got := append([]affine(nil), pts[len(pts)-n:]...)
			w.clearCofactors(got)
			for i, p := range pts[len(pts)-n:] {
				if want := clearCofactor(p); got[i] != want {
					t.Fatalf("%v goes to %v, not %v", p, got[i], want)
				}
			}
		}
	})
}

func TestWideInSubgroup(t *testing.T) {
	inside, outside := curvePoints(t)
	eachWide(t, func(t *testing.T, w *wide) {
		if !w.inSubgroup(nil) || !w.inSubgroup(inside) || !w.inSubgroup(inside[:1]) {
			t.Error("points of the subgroup are outside")
		}
		for i, p := range outside {
			pts := append([]affine(nil), inside...)
			at := i % len(pts)
			if pts[at] = p; w.inSubgroup(pts) || w.inSubgroup(pts[at:at+1]) {
				t.Errorf("%v is inside", p)
			}
		}
	})
}

// Combinations of ordinary bit sums, and of those that make the formulas fail: equal, opposite and
// missing ones.
func TestWideCombine(t *testing.T) {
	r := seeded(t)
	pts := somePoints(&iso, r, 200)
	var arrays [][coefficientBits]affine
	for kind := range 70 {
		var bits [coefficientBits]affine
		for k := range bits {
			switch p := pts[r.IntN(len(pts))]; {
			case kind < 30:
				bits[k] = p
			case kind < 40 && r.IntN(10) == 0, kind < 45 && k == kind%coefficientBits,
				kind == 46 && k == 0, kind == 47 && k == coefficientBits-1:
				bits[k] = p
			case kind >= 50: // few points: sums of equal and opposite ones
				if bits[k] = pts[kind]; r.IntN(2) == 0 {
					bits[k].Neg(&bits[k])
				}
				if k < coefficientBits/2 || kind%2 == 0 && r.IntN(3) == 0 {
					bits[k] = affine{}
				}
			}
		}
		arrays = append(arrays, bits)
	}
	double := pts[len(pts)-1]
	for i := 0; double.IsInfinity(); i++ {
		double = pts[i]
	}
	twice := *new(jacobian)
	iso.addMixed(&twice, &double)
	iso.double(&twice)
	same := twice.affine()
	opposite := *new(affine).Neg(&same)
	for _, low := range []affine{same, opposite} {
		arrays = append(arrays, [coefficientBits]affine{0: low, 1: double}) // 2P + 2P and 2P − 2P
	}
	eachWide(t, func(t *testing.T, w *wide) {
		bits := make([][coefficientBits]widePoint, len(arrays))
		for i := range arrays {
			w.widen(bits[i][:], arrays[i][:])
		}
		for _, n := range []int{1, 8, 33, len(arrays)} {
			got := make([]affine, n)
			w.combineIso(got, bits[len(bits)-n:])
			for i := range got {
				if want := toG1(iso.combine(&arrays[len(bits)-n+i])); got[i] != want {
					t.Errorf("array %d: %v, not %v", len(bits)-n+i, got[i], want)
				}
			}
		}
	})
}

// Runs of many lengths, together and by themselves.
func TestWideRuns(t *testing.T) {
	r := seeded(t)
	pts := somePoints(&iso, r, 700)
	coef, runs := make([]coefficient, len(pts)), []segment(nil)
	for i := range coef {
		coef[i] = coefficient{r.Uint64(), r.Uint64()}
	}
	for at, n := 0, 0; at+n <= len(pts); at, n = at+n, n+1 {
		runs = append(runs, segment{at, n})
	}
	eachWide(t, func(t *testing.T, w *wide) {
		var l workspace
		var got [coefficientBits]affine
		for i, bits := range w.bitSums(&iso, pts, coef, runs) {
			w.narrow(got[:], bits[:])
			run := runs[i]
			if l.scalarBitSums(&iso, pts[run.start:][:run.n],
				coef[run.start:][:run.n]); got != l.bits[0] {
				t.Fatalf("run %d differs", i)
			}
		}
	})
}
