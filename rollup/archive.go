package rollup

import (
	"errors"
	"fmt"
	"slices"
)

// ErrNotFound says that something is not kept: a rung of an archive, an entry of a store.
var ErrNotFound = errors.New("rollup: not found")

// Chunk is acks of one window that lie side by side, in the order in which the window took them.
type Chunk struct {
	Key    WindowKey
	First  uint32 // index of the first ack in the window
	Frames []byte // 128 bytes each; borrowed for the call
	// OnAccount says that the signatures were not verified when the acks were taken.
	OnAccount bool
}

// Archive is what a node keeps of a rollup. Of a window that it sealed it has all acks, and
// evidence of every rung is made from them. Of another node's rollup it has evidence as it was
// received. An archive is not changed once it is made, so it may be shared.
type Archive struct {
	Header *Header
	Acks   Acks // all of the window's; nil when they were not received
	List   List // of the statements part; nil when there is none
	// Proof is the evidence of rung 3 without its acks; nil until the window is proved.
	Proof []byte
	// Tree is that of the statements part. It is nil in an archive that was read back: what needs
	// statements then makes them again from the acks, which costs a hash of each.
	Tree *StatementTree

	received [][]byte // evidence of another node's rollup, the best first; nil for an own one
}

// NewArchive returns the archive of a window that was just sealed. Tree and list are those of its
// statements part, or nil. The archive keeps what it is given.
func NewArchive(h *Header, acks Acks, tree *StatementTree, list List) *Archive {
	return &Archive{Header: h, Acks: acks, List: list, Tree: tree}
}

// ParseArchive reads an archive back: the header, the acks, and for a window with a statements
// part the list and the proof, when there is one. It keeps acks and proof, and does not
// check that the parts belong together: Evidence does. The error is that of the part that does
// not decode.
func ParseArchive(header, acks, list, proof []byte) (a *Archive, err error) {
	a = new(Archive)
	if a.Header, err = ParseHeader(header); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	if a.Acks, err = ParseAcks(acks); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	if list == nil {
		return a, nil
	}
	if a.List, err = ParseList(list); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	if proof != nil && len(proof) <= len(noAcks) {
		return nil, fmt.Errorf("archive: %w: a proof of %d bytes", ErrMalformed, len(proof))
	}
	a.Proof = proof
	return a, nil
}

// ReceivedArchive returns the archive of another node's rollup, which has the given evidence and
// no more. Both may be nil: it is of rung 1 or 2, and of rung 3. What does not decode is an error;
// that header and evidence belong together is for [Verify].
func ReceivedArchive(header, evidence, proof []byte) (*Archive, error) {
	h, err := ParseHeader(header)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	a := &Archive{Header: h, received: [][]byte{}}
	for i, encoded := range [][]byte{proof, evidence} {
		if encoded == nil {
			continue
		}
		rung, err := RungOf(encoded)
		if err == nil && (rung == RungProof) != (i == 0) {
			err = fmt.Errorf("%w: %v in the wrong place", ErrMalformed, rung)
		}
		if err != nil {
			return nil, fmt.Errorf("archive: %w", err)
		}
		if rung == RungAcks {
			a.Acks = encoded
		}
		a.received = append(a.received, encoded)
	}
	return a, nil
}

// Key names the window.
func (a *Archive) Key() WindowKey { return a.Header.Key() }

// Stated reports whether the rollup has a statements part.
func (a *Archive) Stated() bool { return a.List != nil }

// Rungs returns the rungs of which there is evidence, the best first.
func (a *Archive) Rungs() (rungs []Rung) {
	switch {
	case a.received != nil:
		for _, encoded := range a.received {
			rung, _ := RungOf(encoded)
			rungs = append(rungs, rung)
		}
		return rungs
	case !a.Stated():
		return []Rung{RungAcks}
	case a.Proof == nil:
		return []Rung{RungStatements}
	}
	return []Rung{RungProof, RungStatements}
}

// Evidence returns the encoded evidence of a rung, of the best that there is when that is 0.
// Errors: ErrNotFound for a rung that is not among Rungs, ErrList for an archive whose list
// is not that of its acks.
func (a *Archive) Evidence(rung Rung) ([]byte, error) {
	rungs := a.Rungs()
	at := slices.Index(rungs, rung)
	if rung == 0 && len(rungs) > 0 {
		at, rung = 0, rungs[0]
	}
	switch {
	case at < 0:
		return nil, fmt.Errorf("%w: evidence of %v", ErrNotFound, rung)
	case a.received != nil:
		return a.received[at], nil
	case rung == RungAcks:
		return a.Acks, nil
	case rung == RungProof:
		return slices.Concat(a.Acks.Without(a.List.Signers()), a.Proof[len(noAcks):]), nil
	case a.Tree != nil:
		ev := &Evidence{Acks: a.Acks.Without(a.List.Signers()), Rung: RungStatements,
			List: a.List, Statements: a.Tree.Statements()}
		return ev.Append(nil), nil
	}
	ev, err := RestoreEvidence(a.Acks, a.Key(), a.List)
	if err != nil {
		return nil, err
	}
	return ev.Append(nil), nil
}

// WithTree returns the archive with the tree over its statements, which it makes when there is
// none. Errors: ErrUnknownClient, ErrUnknownService, ErrList.
func (a *Archive) WithTree(reg Registry) (*Archive, error) {
	if a.Tree != nil {
		return a, nil
	}
	statements, err := Statements(a.Acks, a.Key(), reg, a.List.Has())
	if err == nil && len(statements) == 0 {
		err = fmt.Errorf("%w: no statements", ErrList)
	}
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	grown := *a
	grown.Tree = NewStatementTree(statements)
	return &grown, nil
}

// Segments returns what is to be proved about a window with a statements part, for a circuit's
// size. The archive must have its tree, see WithTree. Errors: those of [Segments].
func (a *Archive) Segments(size int, reg Registry) ([]Segment, error) {
	return Segments(a.Header, a.Tree, a.List, size, reg)
}

// WithProof returns the archive with the evidence of rung 3 that segments and a proof of each make.
func (a *Archive) WithProof(segments []Segment, proofs [][ProofSize]byte) *Archive {
	proved := *a
	proved.Proof = ProofEvidence(noAcks, a.List, segments, proofs).Append(nil)
	return &proved
}

// Clone returns a copy that shares nothing with the header.
func (h *Header) Clone() *Header {
	c := *h
	c.Rows = slices.Clone(h.Rows)
	return &c
}
