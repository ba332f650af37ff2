package rollup

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestStatementRanges(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, n := range []int{1, 2, 7, 8, 9, 127, 128, 129, 2047, 2049, 33000} {
		statements := make([]Statement, n)
		for i := range statements {
			statements[i] = Statement{Client: uint64(i), Payer: 1, Service: 2, Acks: 1, Units: uint64(i + 1)}
		}
		tree := NewStatementTree(statements)
		for range 6 {
			lo := rng.IntN(n)
			hi := lo + 1 + rng.IntN(min(n-lo, 1+rng.IntN(300)))
			path, shown := tree.RangePath(lo, hi), slices.Clone(statements[lo:hi])
			check := func(first, count int, path []Hash) error {
				return VerifyStatementRange(tree.Root(), shown, uint32(first), uint32(count), path)
			}
			wantError(t, check(lo, n, path), nil)
			wantError(t, check(lo+1, n, path), ErrPath)
			if lo > 0 {
				wantError(t, check(lo-1, n, path), ErrPath)
			}
			wantError(t, check(lo, hi-1, path), ErrPath)
			wantError(t, check(lo, MaxStatements+1, path), ErrPath)
			wantError(t, check(lo, n, append(slices.Clone(path), Hash{})), ErrPath)
			if len(path) > 0 {
				wantError(t, check(lo, n, path[1:]), ErrPath)
				i := rng.IntN(len(path))
				other := slices.Clone(path)
				other[i][0] ^= 1
				wantError(t, check(lo, n, other), ErrPath)
				other[i] = Hash(bytes.Repeat([]byte{0xff}, 32))
				wantError(t, check(lo, n, other), ErrPath)
			}
			i := rng.IntN(len(shown))
			shown[i].Units++
			wantError(t, check(lo, n, path), ErrPath)
			shown[i].Root[31] = 0xff
			wantError(t, check(lo, n, path), ErrStatement)
			shown = nil
			wantError(t, check(lo, n, path), ErrPath)
		}
		if all := tree.RangePath(0, n); len(all) != 0 {
			t.Errorf("all %d statements have a path of %d", n, len(all))
		}
	}
}

// TestRestoreEvidence makes the evidence of a co-signed window from its acks and its list.
func TestRestoreEvidence(t *testing.T) {
	for _, c := range []struct{ offered, signed []uint64 }{
		{[]uint64{0, 1, 2, 3, 4}, []uint64{0, 1, 2, 3, 4}},
		{[]uint64{0, 1, 2, 4}, []uint64{1}},
	} {
		w := cosignedWindow(t, c.offered, c.signed)
		archive, err := new(Sealer).Archive(testNet, testKey, frames(testAcks()), registry())
		if err != nil {
			t.Fatal(err)
		}
		list, err := ParseList(w.evidence.List.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		ev, err := RestoreEvidence(archive, testKey, list)
		if err != nil {
			t.Fatal(err)
		}
		wantBytes(t, "evidence", ev.Append(nil), w.evidence.Append(nil))
		list[0].Client = 77
		_, err = RestoreEvidence(archive, testKey, list)
		wantError(t, err, ErrList)
	}
}
