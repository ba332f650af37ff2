package registry

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// audit is the audit path of RFC 9162 section 2.1.3.1, as it is written there, over hashes.
func audit(kind *Kind, m int, d [][]byte) []byte {
	n := len(d)
	if n == 1 {
		return nil
	}
	k := 1
	for 2*k < n {
		k *= 2
	}
	if m < k {
		h := kind.RootOf(bytes.Join(d[k:], nil))
		return append(audit(kind, m, d[:k]), h[:]...)
	}
	h := kind.RootOf(bytes.Join(d[:k], nil))
	return append(audit(kind, m-k, d[k:]), h[:]...)
}

func built(t testing.TB, kind *Kind, n uint64) (*Tree, []byte) {
	t.Helper()
	indices, flat := entries(kind, n)
	tree := New(kind, new(Memory))
	if err := tree.Set(indices, flat); err != nil {
		t.Fatal(err)
	}
	return tree, flat
}

func pick(kind *Kind, flat []byte, indices []uint64) (b []byte) {
	for _, i := range indices {
		b = append(b, flat[i*uint64(kind.width):][:kind.width]...)
	}
	return b
}

// TestPathsOfOne: a proof of one entry is the RFC's audit path.
func TestPathsOfOne(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 8, 63, 64, 65, 66, 127, 130} {
		tree, flat := built(t, Services, uint64(n))
		split := slices.Collect(slices.Chunk(flat, ServiceSize))
		for i := range n {
			proof, err := tree.Prove([]uint64{uint64(i)})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(proof, audit(Services, i, split)) {
				t.Fatalf("entry %d of %d has another path", i, n)
			}
		}
	}
}

// TestAllSets proves every set of entries of every tree of up to nine, and of some around a page's
// border, and shows that no other set, count or proof fits.
func TestAllSets(t *testing.T) {
	for n := uint64(1); n <= 9; n++ {
		tree, flat := built(t, Services, n)
		for set := uint64(1); set < 1<<n; set++ {
			var indices []uint64
			for i := range n {
				if set>>i&1 == 1 {
					indices = append(indices, i)
				}
			}
			checkProof(t, tree, flat, indices)
		}
	}
	tree, flat := built(t, Services, 131)
	for _, indices := range [][]uint64{{63, 64}, {0, 130}, {127, 128}, {64, 65, 66, 129, 130}} {
		checkProof(t, tree, flat, indices)
	}
}

func checkProof(t *testing.T, tree *Tree, flat []byte, indices []uint64) {
	t.Helper()
	kind, head := tree.kind, tree.Head()
	proof, err := tree.Prove(indices)
	if err != nil {
		t.Fatal(err)
	}
	b := pick(kind, flat, indices)
	if err := kind.Verify(head, indices, b, proof); err != nil {
		t.Fatal(err)
	}
	if n, err := ProofHashes(head.Count, indices); err != nil || n*HashSize != len(proof) {
		t.Fatalf("%d hashes, where %d bytes are", n, len(proof))
	}
	want(t, kind.Verify(head, indices, b, append(slices.Clone(proof), make([]byte, 32)...)),
		ReasonLength)
	want(t, kind.Verify(head, indices, b, append(slices.Clone(proof), 0)), ReasonLength)
	if len(proof) > 0 {
		want(t, kind.Verify(head, indices, b, proof[:len(proof)-32]), ReasonLength)
	}
	for i, index := range indices {
		other := slices.Clone(indices)
		if other[i]++; other[i] < head.Count && (i+1 == len(other) || other[i] < other[i+1]) {
			if err := kind.Verify(head, other, b, proof); err == nil {
				t.Fatalf("%v of %d passes as %v", indices, head.Count, other)
			}
		}
		if i > 0 {
			other[i] = indices[i-1]
			want(t, kind.Verify(head, other, b, proof), ReasonOrder)
		}
		other[i] = index + head.Count
		want(t, kind.Verify(head, other[:i+1], b[:(i+1)*kind.width], proof), ReasonGap)
	}
}

// TestEveryByteCounts flips each bit's byte of proof, entries and root.
func TestEveryByteCounts(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, kind := range []*Kind{Clients, Nodes, Services, ProofKeys} {
		tree, flat := built(t, kind, 1000)
		var indices []uint64
		for range 20 {
			indices = append(indices, rng.Uint64N(1000))
		}
		slices.Sort(indices)
		indices = slices.Compact(indices)
		proof, err := tree.Prove(indices)
		if err != nil {
			t.Fatal(err)
		}
		b, head := pick(kind, flat, indices), tree.Head()
		for what, bytes := range map[string][]byte{"proof": proof, "entries": b,
			"root": head.Root[:]} {
			for i := range bytes {
				bytes[i] ^= 1 << (i % 8)
				if err := kind.Verify(head, indices, b, proof); !errors.Is(err, ReasonRoot) {
					t.Fatalf("%v: byte %d of the %s flipped: %v", kind, i, what, err)
				}
				bytes[i] ^= 1 << (i % 8)
			}
		}
		if err := kind.Verify(head, indices, b, proof); err != nil {
			t.Fatal(err)
		}
		for _, other := range []*Kind{Clients, Nodes, Services, ProofKeys} {
			if other == kind {
				continue
			}
			alien := *other
			alien.width = kind.width
			want(t, alien.Verify(head, indices, b, proof), ReasonRoot)
		}
	}
}

// TestProofRefuses is about calls that cannot be answered.
func TestProofRefuses(t *testing.T) {
	tree, flat := built(t, Services, 70)
	for _, c := range []struct {
		indices []uint64
		reason  Reason
	}{{nil, ReasonNone}, {[]uint64{2, 1}, ReasonOrder}, {[]uint64{70}, ReasonGap},
		{[]uint64{1, 1 << 63}, ReasonGap}} {
		_, err := tree.Prove(c.indices)
		want(t, err, c.reason)
		_, err = ProofHashes(70, c.indices)
		want(t, err, c.reason)
		err = Services.Verify(tree.Head(), c.indices, make([]byte, len(c.indices)*ServiceSize), nil)
		want(t, err, c.reason)
	}
	want(t, Services.Verify(tree.Head(), []uint64{1}, flat[:31], nil), ReasonLength)
	_, err := New(Services, new(Memory)).Prove([]uint64{0})
	want(t, err, ReasonGap)
}

// TestProofSizes states what proofs of a million clients take, at random and in a row. The figures
// are exact: they follow from counts and seed alone.
func TestProofSizes(t *testing.T) {
	const n = 1 << 20
	rng := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct{ k, random, row int }{
		{64, 824, 20}, {4096, 29_240, 22}, {65_536, 213_944, 20},
	} {
		chosen := map[uint64]bool{}
		for len(chosen) < c.k {
			chosen[rng.Uint64N(n)] = true
		}
		var indices []uint64
		for i := range chosen {
			indices = append(indices, i)
		}
		slices.Sort(indices)
		random, err := ProofHashes(n, indices)
		if err != nil {
			t.Fatal(err)
		}
		for i := range indices {
			indices[i] = uint64(i) + 12345
		}
		row, err := ProofHashes(n, indices)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d of %d: %d KB of hashes at random, %d bytes in a row, %d KB of entries", c.k, n,
			random*32/1000, row*32, c.k*ClientSize/1000)
		if random != c.random || row != c.row {
			t.Errorf("%d of %d: %d hashes at random, %d in a row", c.k, n, random, row)
		}
	}
}

// FuzzVerify: of one root, count and set of indices, only one proof and one set of entries verify.
func FuzzVerify(f *testing.F) {
	const n = 77
	tree, flat := built(f, Services, n)
	for _, indices := range [][]uint64{{0}, {3, 4, 76}, {63, 64, 65}} {
		proof, err := tree.Prove(indices)
		if err != nil {
			f.Fatal(err)
		}
		var b []byte
		for _, i := range indices {
			b = append(b, byte(i))
		}
		f.Add(uint64(n), b, pick(Services, flat, indices), proof)
	}
	f.Fuzz(func(t *testing.T, count uint64, set, b, proof []byte) {
		var indices []uint64
		for _, i := range set {
			indices = append(indices, uint64(i))
		}
		if Services.Verify(Head{count, tree.Root()}, indices, b, proof) != nil || count != n {
			return
		}
		honest, err := tree.Prove(indices)
		same := bytes.Equal(honest, proof) && bytes.Equal(b, pick(Services, flat, indices))
		if err != nil || !same {
			t.Fatalf("%v of %d with %x and %x: %v", indices, n, b, proof, err)
		}
	})
}

func BenchmarkSet(b *testing.B) {
	const n = 1 << 20
	tree, _ := built(b, Clients, n)
	rng := rand.New(rand.NewPCG(2, 2))
	for _, c := range []string{"random", "appended"} {
		b.Run(fmt.Sprintf("1000 %s of a million", c), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				var indices []uint64
				for len(indices) < 1000 {
					indices = append(indices, rng.Uint64N(n))
					if c == "appended" {
						indices[len(indices)-1] = tree.Count() + uint64(len(indices)-1)
					}
				}
				slices.Sort(indices)
				indices = slices.Compact(indices)
				leaves := make([]byte, len(indices)*ClientSize)
				b.StartTimer()
				if err := tree.Set(indices, leaves); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkProof(b *testing.B) {
	const n = 1 << 20
	tree, flat := built(b, Clients, n)
	for _, k := range []int{64, 4096, 65536} {
		chosen := rand.New(rand.NewPCG(3, 3)).Perm(n)[:k]
		slices.Sort(chosen)
		indices := make([]uint64, k)
		for i := range chosen {
			indices[i] = uint64(chosen[i])
		}
		proof, err := tree.Prove(indices)
		if err != nil {
			b.Fatal(err)
		}
		entries := pick(Clients, flat, indices)
		b.Run(fmt.Sprintf("prove %d", k), func(b *testing.B) {
			for b.Loop() {
				if _, err := tree.Prove(indices); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("verify %d", k), func(b *testing.B) {
			for b.Loop() {
				if err := Clients.Verify(tree.Head(), indices, entries, proof); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
