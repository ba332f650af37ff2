package rollup

import (
	"errors"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/kernels/bls"
)

// cosign has clients sign a tree of statements and returns the sum.
func cosign(t testing.TB, tree *StatementTree, clients ...uint32) [SignatureSize]byte {
	t.Helper()
	m := CosignMessage(testNet, testKey, uint32(tree.Len()), tree.Root())
	var sum bls.Sum
	for _, c := range clients {
		sig := bls.Default.Sign(registry().secrets[c], m[:])
		sum.Add(&sig)
	}
	sig := sum.Signature()
	return sig.Bytes()
}

// cosigned is the test window with statements of the offered clients, of whom some signed.
type cosigned struct {
	header   *Header
	evidence *Evidence
	tree     *StatementTree
}

func cosignedWindow(t testing.TB, offered, signed []uint32) cosigned {
	t.Helper()
	in := func(clients []uint32) func(uint32) bool {
		return func(c uint32) bool { return slices.Contains(clients, c) }
	}
	var s Sealer
	archive, err := s.Archive(testNet, testKey, frames(testAcks()), registry())
	if err != nil {
		t.Fatal(err)
	}
	statements, err := Statements(archive, testKey, registry(), in(offered))
	if err != nil {
		t.Fatal(err)
	}
	tree := NewStatementTree(statements)
	rest := slices.DeleteFunc(slices.Clone(testAcks()), func(a Ack) bool { return slices.Contains(signed, a.Client) })
	h, ev, err := s.SealCosigned(testNet, archive, testKey, tree, NewClientList(statements, in(signed)),
		cosign(t, tree, signed...), aggregate(t, rest), registry())
	if err != nil {
		t.Fatal(err)
	}
	return cosigned{h, ev, tree}
}

func TestCosigned(t *testing.T) {
	for _, c := range []struct{ offered, signed []uint32 }{
		{[]uint32{0, 1, 2, 3, 4}, []uint32{0, 1, 2, 3, 4}},
		{[]uint32{0, 1, 2, 3, 4}, []uint32{3}},
		{[]uint32{1, 4}, []uint32{1, 4}},
		{[]uint32{0}, []uint32{0}},
	} {
		w := cosignedWindow(t, c.offered, c.signed)
		ev, err := ParseEvidence(w.evidence.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(w.header, ev, testNet, registry(), nil, 1); err != nil {
			t.Fatalf("offered %d, signed %d: %v", c.offered, c.signed, err)
		}
		if err := ev.Match(w.header, registry()); err != nil {
			t.Fatal(err)
		}
		if h, err := ParseHeader(w.header.Append(nil)); err != nil || h.ID() != w.header.ID() {
			t.Fatal(err)
		}
		for _, size := range CircuitSizes {
			segments, err := Segments(w.header, w.tree, ev.Clients, size)
			if err != nil {
				t.Fatal(err)
			}
			proofs := make([][ProofSize]byte, len(segments))
			third, err := ParseEvidence(ProofEvidence(ev.Acks, ev.Clients, segments, proofs).Append(nil))
			if err != nil {
				t.Fatal(err)
			}
			wantError(t, Verify(w.header, third, testNet, registry(), nil, 1), ErrNoProofs)
			wantError(t, Verify(w.header, third, testNet, registry(), refuseAll{}, 1), ErrProof)
			wantError(t, Verify(w.header, third, testNet, registry(), &expect{segments: segments}, 1), nil)
			wantError(t, third.Match(w.header, registry()), nil)
		}
	}
}

type refuseAll struct{}

func (refuseAll) VerifyProof(int, [32]byte, *[ProofSize]byte) error { return errors.New("no") }

// expect accepts the public inputs of given segments, in their order.
type expect struct {
	segments []Segment
	next     int
}

func (e *expect) VerifyProof(size int, public [32]byte, _ *[ProofSize]byte) error {
	if s := e.segments[e.next]; size != s.Size || public != s.Public.Bytes() {
		return errors.New("another public input")
	}
	e.next++
	return nil
}

func TestStatementPaths(t *testing.T) {
	for _, n := range []int{1, 8, 9, 128, 129, 2048, 2049, 32769} {
		statements := make([]Statement, n)
		for i := range statements {
			statements[i] = Statement{Client: uint32(i), Payer: 1, Service: 2, Acks: 1, Units: uint64(i + 1)}
		}
		tree := NewStatementTree(statements)
		for _, i := range []int{0, n / 2, n - 1} {
			path := tree.Path(i)
			check := func(index, count int, s Statement) error {
				return VerifyStatementPath(tree.Root(), &s, uint32(index), uint32(count), path)
			}
			wantError(t, check(i, n, statements[i]), nil)
			wantError(t, check(i^1, n, statements[i]), ErrPath)
			other := statements[i]
			other.Units++
			wantError(t, check(i, n, other), ErrPath)
			path[len(path)-1][0] ^= 1
			wantError(t, check(i, n, statements[i]), ErrPath)
			path = path[1:]
			wantError(t, check(i, n, statements[i]), ErrPath)
		}
	}
}
