package fp381

import (
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/kernels/cpu/cputest"
)

// twistCells converts points of the twist to the form of f. The residues of coordinates named by
// mask are larger by p.
func twistCells(f Field, pts []bls12381.G2Affine, mask int) []Cell {
	coordinates, index := make([]fp.Element, 0, 4*len(pts)), make([]int32, 4*len(pts))
	for i := range pts {
		coordinates = append(coordinates, pts[i].X.A0, pts[i].X.A1, pts[i].Y.A0, pts[i].Y.A1)
	}
	for i := range index {
		index[i] = int32(i)
	}
	cells := make([]Cell, len(index))
	f.Scatter(cells, index, pack(f, coordinates))
	for i := range cells {
		if mask>>(i%4)&1 == 1 {
			lift(f, &cells[i])
		}
	}
	return cells
}

func twistPoints(t *testing.T, f Field, cells []Cell) []bls12381.G2Affine {
	index, v := make([]int32, len(cells)), NewVec(len(cells))
	for i := range index {
		index[i] = int32(i)
	}
	f.Gather(v, cells, index)
	below(f, v, tight)
	e, pts := unpack(f, v, len(cells)), make([]bls12381.G2Affine, len(cells)/4)
	for i := range pts {
		pts[i].X.A0, pts[i].X.A1, pts[i].Y.A0, pts[i].Y.A1 = e[4*i], e[4*i+1], e[4*i+2], e[4*i+3]
	}
	return pts
}

func randomTwistPoints(r *rand.Rand, n int) []bls12381.G2Affine {
	_, _, _, g := bls12381.Generators()
	pts := make([]bls12381.G2Affine, n)
	for i := range pts {
		pts[i].ScalarMultiplication(&g, new(big.Int).SetUint64(r.Uint64()|1))
	}
	return pts
}

func TestChordSums2(t *testing.T) {
	r := seeded(t)
	pts := randomTwistPoints(r, 64)
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		masks := 16
		if _, scalar := f.(generic); scalar {
			masks = 1 // always reduced
		}
		for mask := range masks {
			for _, n := range []int{0, 1, 7, 8, 9, 31} {
				var w ChordSums2
				cells, to := twistCells(f, pts, mask), make([]Cell, 4*n)
				want, pairs, order := make([]bls12381.G2Affine, n), make([]Pair, n), r.Perm(n)
				for i := range pairs {
					a := r.IntN(len(pts))
					b := (a + 1 + r.IntN(len(pts)-1)) % len(pts)
					pairs[i] = Pair{int32(order[i]), int32(a), int32(b)}
					want[order[i]].Add(&pts[a], &pts[b])
				}
				if !w.Add(f, to, cells, pairs) || !slices.Equal(twistPoints(t, f, to), want) {
					t.Fatalf("mask %b: %d sums differ", mask, n)
				}
				for size := len(pts); size > 1; size /= 2 { // in place
					halves := make([]Pair, size/2)
					for i := range halves {
						halves[i] = Pair{int32(i), int32(2 * i), int32(2*i + 1)}
					}
					if !w.Add(f, cells, cells, halves) {
						t.Fatal("sums in place are refused")
					}
				}
				var total bls12381.G2Jac
				for i := range pts {
					total.AddMixed(&pts[i])
				}
				if got := twistPoints(t, f, cells[:4])[0]; got != *new(bls12381.G2Affine).FromJacobian(&total) {
					t.Fatal("the sum of all differs")
				}
			}
		}
	})
}

func TestChordSums2Refuse(t *testing.T) {
	pts := randomTwistPoints(seeded(t), 40)
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		for _, at := range []int{0, 8, 18} {
			pairs := make([]Pair, 19)
			for i := range pairs {
				pairs[i] = Pair{int32(i), int32(2 * i), int32(2*i + 1)}
			}
			for what, b := range map[string]func(a bls12381.G2Affine) bls12381.G2Affine{
				"equal":    func(a bls12381.G2Affine) bls12381.G2Affine { return a },
				"opposite": func(a bls12381.G2Affine) bls12381.G2Affine { return *a.Neg(&a) },
				"identity": func(bls12381.G2Affine) bls12381.G2Affine { return bls12381.G2Affine{} },
			} {
				changed := slices.Clone(pts)
				changed[2*at+1] = b(pts[2*at])
				cells := twistCells(f, changed, 0)
				before := slices.Clone(cells)
				var w ChordSums2
				if w.Add(f, cells, cells, pairs) || !slices.Equal(cells, before) {
					t.Errorf("%s points in pair %d: added", what, at)
				}
			}
		}
	})
}
