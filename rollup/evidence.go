package rollup

import (
	"fmt"
	"slices"
)

// Rung is how a rollup's statements part is shown (section 1).
type Rung uint8

// The rungs of evidence. A rollup's id does not depend on it.
const (
	RungAcks       Rung = 1 // there is no statements part
	RungStatements Rung = 2 // by the statements
	RungProof      Rung = 3 // by proofs
)

// String returns "rung 1" and so on.
func (r Rung) String() string { return fmt.Sprintf("rung %d", uint8(r)) }

// MaxEvidenceSize is the size in bytes of the largest evidence that decodes: that of rung 2, for
// acks and for statements.
const MaxEvidenceSize = MaxAcksSize + 1 + 4 + MaxListSize + MaxStatements*privateSize

// Evidence shows that a rollup's header is right (section 6).
type Evidence struct {
	Acks Acks // of the acks part; none when the header has no such part
	Rung Rung

	List       List           // rungs 2 and 3: what everybody sees of the statements
	Statements []Statement    // rung 2; their payers are not in the encoding, and not looked at
	Size       int            // rung 3: how many statements a proof is about, at most
	Segments   []SegmentProof // rung 3: one for every Size statements
}

// AcksEvidence returns the evidence of a rollup that has nothing but an acks part.
func AcksEvidence(acks Acks) *Evidence { return &Evidence{Acks: acks, Rung: RungAcks} }

// SegmentProof is the proof of one segment of the statements.
type SegmentProof struct {
	Nodes []Hash // see Segment
	// sums over the signed statements of the segment; the last segment has what is left instead
	Rows  []Row
	Proof [ProofSize]byte
}

// Append appends the encoding to dst.
func (ev *Evidence) Append(dst []byte) []byte {
	dst = append(dst, ev.Acks...)
	if ev.Rung == RungAcks {
		return dst
	}
	dst = append(dst, byte(ev.Rung))
	start := len(dst)
	dst = ev.List.Append(append(dst, 0, 0, 0, 0))
	le.PutUint32(dst[start:], uint32(len(dst)-start-4))
	if ev.Rung == RungStatements {
		for i := range ev.Statements {
			dst = ev.Statements[i].appendPrivate(dst)
		}
		return dst
	}
	dst = le.AppendUint32(dst, uint32(ev.Size))
	for i := range ev.Segments {
		s := &ev.Segments[i]
		for _, node := range s.Nodes {
			dst = append(dst, node[:]...)
		}
		if i < len(ev.Segments)-1 {
			dst = appendRows(dst, s.Rows)
		}
		dst = append(dst, s.Proof[:]...)
	}
	return dst
}

// ParseEvidence decodes evidence and checks limits and orders; it does not copy the acks. Whether
// it belongs to a header, Verify decides. Errors: ErrMalformed, ErrCount, ErrUnsorted,
// ErrNumbers, ErrStatement, ErrList, ErrRows, ErrOverflow.
func ParseEvidence(b []byte) (*Evidence, error) {
	ev := &Evidence{Rung: RungAcks}
	r := newReader(b)
	ev.Acks = r.acks(0)
	if len(r.B) > 0 {
		r.statementsPart(ev)
	}
	err := r.End()
	if err == nil {
		err = ev.check()
	}
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	return ev, nil
}

// RungOf returns the rung of encoded evidence, and looks at nothing but the acks' runs:
// ErrMalformed and what ParseAcks may answer.
func RungOf(b []byte) (Rung, error) {
	r := newReader(b)
	r.acks(0)
	if r.Err != nil {
		return 0, fmt.Errorf("evidence: %w", r.Err)
	}
	if len(r.B) == 0 {
		return RungAcks, nil
	}
	if rung := Rung(r.B[0]); rung == RungStatements || rung == RungProof {
		return rung, nil
	}
	return 0, fmt.Errorf("evidence: %w: there is no rung %d", ErrMalformed, r.B[0])
}

func (r *reader) statementsPart(ev *Evidence) {
	ev.Rung = Rung(r.U8())
	if ev.Rung != RungStatements && ev.Rung != RungProof {
		r.Fail("there is no %s here", ev.Rung)
	}
	list := newReader(r.Next(int(r.U32())))
	if r.Err != nil {
		return
	}
	ev.List = list.list()
	if r.Err = list.End(); r.Err != nil {
		return
	}
	if ev.Rung == RungStatements {
		r.statements(ev)
	} else {
		r.proofs(ev)
	}
}

func (r *reader) statements(ev *Evidence) {
	ev.Statements = make([]Statement, r.Count(uint64(len(ev.List)), privateSize))
	for i := range ev.Statements {
		e := &ev.List[i]
		ev.Statements[i] = Statement{Client: e.Client, Service: e.Service, First: e.First, Acks: e.Count,
			Units: r.U64(), Root: r.hash()}
	}
}

func (r *reader) proofs(ev *Evidence) {
	ev.Size = int(r.U32())
	if r.Err == nil && !IsCircuitSize(ev.Size) {
		r.Fail("there is no circuit of %d statements", ev.Size)
	}
	if r.Err != nil {
		return
	}
	ev.Segments = make([]SegmentProof, segmentCount(len(ev.List), ev.Size))
	for i := range ev.Segments {
		s := &ev.Segments[i]
		s.Nodes = make([]Hash, r.Count(uint64(segmentNodes(ev.Size)), len(Hash{})))
		if r.Err != nil {
			return
		}
		for j := range s.Nodes {
			s.Nodes[j] = r.hash()
		}
		if i < len(ev.Segments)-1 {
			s.Rows = r.rows()
		}
		r.Fill(s.Proof[:])
	}
}

// check holds the rules that need no header.
func (ev *Evidence) check() error {
	least := 1
	if ev.Rung != RungAcks {
		least = 0
	}
	if err := ev.Acks.check(least); err != nil {
		return err
	}
	return ev.checkStatementsPart()
}

// checkStatementsPart holds those about the statements part.
func (ev *Evidence) checkStatementsPart() error {
	if ev.Rung == RungAcks {
		return nil
	}
	if err := ev.List.check(); err != nil {
		return err
	}
	switch ev.Rung {
	case RungStatements:
		return ev.List.of(ev.Statements)
	case RungProof:
		return ev.checkSegments()
	}
	return fmt.Errorf("%w: there is no %s", ErrParts, ev.Rung)
}

func (ev *Evidence) checkSegments() error {
	if !IsCircuitSize(ev.Size) || len(ev.Segments) != segmentCount(len(ev.List), ev.Size) {
		return fmt.Errorf("%w: %d segments of %d statements", ErrMalformed, len(ev.Segments), ev.Size)
	}
	for i := range ev.Segments {
		if _, err := sumRows(ev.Segments[i].Rows, false); err != nil {
			return at("segment", i, err)
		}
	}
	return nil
}

// AllClients returns the clients of both parts, ascending, each once.
func (ev *Evidence) AllClients() []uint64 {
	clients := append(ev.List.Clients(), ev.Acks.Clients()...)
	slices.Sort(clients)
	return slices.Compact(clients)
}
