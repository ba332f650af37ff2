package store

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/waybill-network/waybill/rollup"
)

// proof is evidence of rung 3 without acks, by its beginning.
func proof(tag byte) []byte { return []byte{0, 0, 0, 0, byte(rollup.RungProof), tag} }

// TestProofs keeps a proof beside what is there: of an own window without acks, of another node's
// as it came.
func TestProofs(t *testing.T) {
	s := open(t, vfs.NewMem())
	k := key(0, 3, 1)
	h, kept, statements := cosigned(t, k)
	id, encoded := h.ID(), h.Append(nil)
	is(t, s.PutProof(k, proof(1)), ErrNotFound)
	ok(t, s.PutSealed(kept))
	list, err := s.Unheld()
	windows(t, list, err, k)
	_, err = s.Holder(k)
	is(t, err, ErrNotFound)
	ok(t, s.PutProof(k, proof(1)))
	ok(t, s.PutProof(k, proof(2)))
	proven := append(kept.Acks.Without(kept.List.Signers()), proof(2)[4:]...)
	ok(t, s.PutEvidence(id, encoded, proven)) // the member in this node has it already
	ok(t, s.PutHolder(k, 2))
	for range 2 {
		got, err := s.Sealed(k)
		ok(t, err)
		if !bytes.Equal(got.Proof, proof(2)) {
			t.Errorf("kept %x", got.Proof)
		}
		for rung, want := range map[rollup.Rung][]byte{0: proven, rollup.RungProof: proven,
			rollup.RungStatements: statements, rollup.RungAcks: nil} {
			header, evidence, there, err := evidenceOf(s, id, rung)
			ok(t, err)
			if there != (want != nil) || there && (!bytes.Equal(header, encoded) ||
				!bytes.Equal(evidence, want)) {
				t.Errorf("rung %d: %v, %d bytes", rung, there, len(evidence))
			}
			if has, err := s.HasEvidence(id, rung); err != nil || has != there && rung != rollup.RungAcks {
				t.Errorf("rung %d: %v, %v", rung, has, err)
			}
		}
		if w, err := windowOf(s, k); err != nil || !bytes.Equal(w.Evidence, proven) ||
			!bytes.Equal(w.Acks, kept.Acks) {
			t.Errorf("%+v, %v", w, err)
		}
		if rung, err := s.Rung(id); rung != rollup.RungProof || err != nil {
			t.Error(rung, err)
		}
		list, err = s.Unheld()
		windows(t, list, err)
		if node, err := s.Holder(k); err != nil || node != 2 {
			t.Error(node, err)
		}
		s = reopen(t, s)
	}

	member := open(t, vfs.NewMem())
	if rung, err := member.Rung(id); rung != 0 || err != nil {
		t.Error(rung, err)
	}
	for i, put := range [][]byte{proven, statements, proven} {
		ok(t, member.PutEvidence(id, encoded, put))
		if rung, err := member.Rung(id); rung != rollup.RungProof || err != nil {
			t.Error(rung, err)
		}
		for rung, want := range map[rollup.Rung][]byte{0: proven, 3: proven, 2: statements, 1: nil} {
			_, evidence, there, err := evidenceOf(member, id, rung)
			ok(t, err)
			if expected := want != nil && (rung != 2 || i > 0); there != expected || there &&
				!bytes.Equal(evidence, want) {
				t.Errorf("after %d: rung %d: %v, %d bytes", i, rung, there, len(evidence))
			}
		}
	}

	ok(t, s.MarkOrdered(k))
	for _, pruned := range []*Store{s, member} {
		_, err := pruned.Prune(4)
		ok(t, err)
		for key := range contents(t, pruned) {
			if bytes.IndexByte([]byte{keyProof, keyHolder, keyUnheld, keyEvidence}, key[0]) >= 0 {
				t.Errorf("%x is left", key)
			}
		}
	}
	is(t, s.PutProof(k, proof(1)), ErrPruned)
}
