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

// pointCells converts points to the form of f, each coordinate in a residue below 2p where that is
// given.
func pointCells(f Field, pts []bls12381.G1Affine) []Cell {
	coordinates, index := make([]fp.Element, 2*len(pts)), make([]int32, 2*len(pts))
	for i := range pts {
		coordinates[2*i], coordinates[2*i+1] = pts[i].X, pts[i].Y
	}
	for i := range index {
		index[i] = int32(i)
	}
	cells := make([]Cell, len(index))
	f.Scatter(cells, index, pack(f, coordinates))
	return cells
}

func pointsOf(f Field, cells []Cell) []bls12381.G1Affine {
	index, v := make([]int32, len(cells)), NewVec(len(cells))
	for i := range index {
		index[i] = int32(i)
	}
	f.Gather(v, cells, index)
	coordinates, pts := unpack(f, v, len(cells)), make([]bls12381.G1Affine, len(cells)/2)
	for i := range pts {
		pts[i].X, pts[i].Y = coordinates[2*i], coordinates[2*i+1]
	}
	return pts
}

func randomPoints(r *rand.Rand, n int) []bls12381.G1Affine {
	_, _, g, _ := bls12381.Generators()
	pts := make([]bls12381.G1Affine, n)
	for i := range pts {
		pts[i].ScalarMultiplication(&g, new(big.Int).SetUint64(r.Uint64()|1))
	}
	return pts
}

func TestChordSums(t *testing.T) {
	r := seeded(t)
	pts := randomPoints(r, 64)
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		for _, n := range []int{0, 1, 2, 7, 8, 9, 16, 31} {
			var w ChordSums
			cells, to := pointCells(f, pts), make([]Cell, 2*n)
			want, pairs := make([]bls12381.G1Affine, n), make([]Pair, n)
			order := r.Perm(n)
			for i := range pairs {
				a := r.IntN(len(pts))
				b := (a + 1 + r.IntN(len(pts)-1)) % len(pts)
				pairs[i] = Pair{int32(order[i]), int32(a), int32(b)}
				want[order[i]].Add(&pts[a], &pts[b])
			}
			if !w.Add(f, to, cells, pairs) || !slices.Equal(pointsOf(f, to), want) {
				t.Fatalf("%d sums differ", n)
			}
			// In place, halving, the sums of sums of sums.
			for size := len(pts); size > 1; size /= 2 {
				halves := make([]Pair, size/2)
				for i := range halves {
					halves[i] = Pair{int32(i), int32(2 * i), int32(2*i + 1)}
				}
				if !w.Add(f, cells, cells, halves) {
					t.Fatal("sums in place are refused")
				}
			}
			var total bls12381.G1Jac
			for i := range pts {
				total.AddMixed(&pts[i])
			}
			if got := pointsOf(f, cells[:2])[0]; got != *new(bls12381.G1Affine).FromJacobian(&total) {
				t.Fatal("the sum of all differs")
			}
		}
	})
}

// Coordinates that are as large as they may be: x and y in residues just below 2p.
func TestChordSumsOfLargeResidues(t *testing.T) {
	pts := randomPoints(seeded(t), 32)
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		if _, scalar := f.(generic); scalar {
			t.Skip("always reduced")
		}
		cells, pairs, want := pointCells(f, pts), make([]Pair, 16), make([]bls12381.G1Affine, 16)
		for i := range pairs {
			pairs[i] = Pair{int32(i), int32(i), int32(i + 16)}
			want[i].Add(&pts[i], &pts[i+16])
		}
		for mask := range 16 { // which coordinates are larger by p
			large := slices.Clone(cells)
			for i := range large {
				if mask>>(i%2+2*(i/32))&1 == 1 {
					lift(f, &large[i])
				}
			}
			var w ChordSums
			to := make([]Cell, 32)
			if !w.Add(f, to, large, pairs) || !slices.Equal(pointsOf(f, to), want) {
				t.Fatalf("coordinates %b: sums differ", mask)
			}
			index := make([]int32, len(to))
			for i := range index {
				index[i] = int32(i)
			}
			v := NewVec(len(to))
			f.Gather(v, to, index)
			below(f, v, tight)
		}
	})
}

// What chords cannot add is refused, wherever it stands.
func TestChordSumsRefuse(t *testing.T) {
	pts := randomPoints(seeded(t), 40)
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		for _, at := range []int{0, 7, 8, 16, 18} {
			pairs := make([]Pair, 19)
			for i := range pairs {
				pairs[i] = Pair{int32(i), int32(2 * i), int32(2*i + 1)}
			}
			for what, b := range map[string]func(a bls12381.G1Affine) bls12381.G1Affine{
				"equal":    func(a bls12381.G1Affine) bls12381.G1Affine { return a },
				"opposite": func(a bls12381.G1Affine) bls12381.G1Affine { return *a.Neg(&a) },
				"identity": func(bls12381.G1Affine) bls12381.G1Affine { return bls12381.G1Affine{} },
			} {
				changed := slices.Clone(pts)
				changed[2*at+1] = b(pts[2*at])
				cells := pointCells(f, changed)
				before := slices.Clone(cells)
				var w ChordSums
				if w.Add(f, cells, cells, pairs) || !slices.Equal(cells, before) {
					t.Errorf("%s points in pair %d: added", what, at)
				}
			}
		}
		for _, p := range []Pair{{40, 0, 1}, {0, 40, 1}, {0, 1, 40}, {-1, 0, 1}, {0, -1, 1}, {0, 1, -1}} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("no panic for %v", p)
					}
				}()
				var w ChordSums
				cells := pointCells(f, pts)
				w.Add(f, cells, cells, []Pair{p})
			}()
		}
	})
}

// The trace of the self-test sums all points on every implementation, and sees a wrong sum.
func TestChordTrace(t *testing.T) {
	x := make([]fp.Element, 6)
	for i := range x {
		x[i] = fp.NewElement(uint64(i + 2))
	}
	for name, add := range map[string]func(f Field, to, from []Cell, pairs []Pair) bool{
		"ChordSums": new(ChordSums).Add, "ChordSums2": new(ChordSums2).Add,
	} {
		want := chordTrace(generic{}, add, x)
		if want == ([4]fp.Element{}) {
			t.Fatalf("%s: no sum", name)
		}
		cputest.Each(t, kernel, func(t *testing.T, f Field) {
			if got := chordTrace(f, add, x); got != want {
				t.Errorf("%s: %v, not %v", name, got, want)
			}
			if chordTrace(wrongSums{f}, add, x) == want {
				t.Errorf("%s: wrong sums pass", name)
			}
		})
	}
}

type wrongSums struct{ Field }

func (w wrongSums) sums(to, from []Cell, pairs []Pair, d, x, s Vec) {
	w.Field.sums(to, from, pairs, d, s, x)
}

func (w wrongSums) sums2(to, from []Cell, pairs []Pair, c [][6]Block, inverse Vec) {
	for i := range c {
		c[i][2], c[i][3] = c[i][4], c[i][5]
	}
	w.Field.sums2(to, from, pairs, c, inverse)
}
