package rollup

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/poseidon2"
)

// Sizes in bytes of the proof of one segment, and of what it is verified with (section 15).
const (
	ProofSize        = 384
	VerifyingKeySize = 900
)

// ProofVerifier checks the proof of one segment: size is the circuit's, public its single input, in
// the little-endian encoding of elements. Any error means that the proof counts for nothing.
// Implementations are safe for concurrent use.
type ProofVerifier interface {
	VerifyProof(size int, public [32]byte, proof *[ProofSize]byte) error
}

// CircuitSizes are the numbers of statements that one proof can be about, at most.
var CircuitSizes = [...]int{256, 1024, 4096, 16384}

// IsCircuitSize reports whether there is a circuit of that many statements.
func IsCircuitSize(size int) bool { return slices.Contains(CircuitSizes[:], size) }

// segmentLevel returns the level of the tree that the segments of a circuit's size are cut on.
func segmentLevel(size int) int {
	if size <= 1024 {
		return 2
	}
	return 3
}

// segmentNodes returns how many nodes of that level a segment has.
func segmentNodes(size int) int { return size / perNode(segmentLevel(size)) }

func segmentCount(statements, size int) int { return (statements + size - 1) / size }

// Segment is what one proof is about: up to Size consecutive statements of a window (section 15).
// Prover and verifier compute the same from what each of them has.
type Segment struct {
	Size   int                 // of the circuit
	First  int                 // index of the first statement
	List   List                // of its 1 to Size statements
	Payers []uint32            // of their clients
	Nodes  []poseidon2.Element // 2 or 8 of the tree, zero where no statement is below
	// keys of all of the header's rows, sums over the signed statements; acks and units may be zero
	Rows []Row
	Caps []uint64 // of the rows' services

	Table       poseidon2.Element // digest of Rows and Caps
	Signed      poseidon2.Element // digest of the flags in List
	Challenge   poseidon2.Element // the same for all segments
	Fingerprint poseidon2.Element // of List and Payers under the challenge
	Public      poseidon2.Element // input of the circuit: the digest of all this
}

// Segments returns what the proofs of a rollup are about, for a circuit's size. The tree and the
// list are those of the header, the services' caps are the registry's. Errors: ErrList, ErrRows for
// a statement that belongs to no row of the header, ErrUnknownService, ErrStatement, ErrOverflow.
func Segments(h *Header, tree *StatementTree, list List, size int,
	reg Registry) ([]Segment, error) {
	statements := tree.Statements()
	if err := list.of(statements); err != nil {
		return nil, fmt.Errorf("segments: %w", err)
	}
	payers := make([]uint32, len(statements))
	for i := range statements {
		payers[i] = statements[i].Payer
	}
	t, err := newTable(h.Rows, list, payers, reg)
	if err != nil {
		return nil, fmt.Errorf("segments: %w", err)
	}
	segments := t.cut(size)
	for i := range segments {
		s := &segments[i]
		n := segmentNodes(size)
		s.Nodes = tree.nodes(segmentLevel(size), i*n, n)
		s.Rows, err = t.sum(statements, s.First, s.First+len(s.List))
		if err != nil {
			return nil, fmt.Errorf("segments: %w", err)
		}
	}
	finish(h, segments)
	return segments, nil
}

// table is what header and registry say of a list: rows, and where each entry belongs.
type table struct {
	rows   []Row    // the header's
	caps   []uint64 // of their services
	list   List
	payers []uint32 // of each entry's client
	index  []uint8  // of each entry's row
}

// newTable finds the rows of a list's entries: ErrUnknownService, ErrRows for an entry that has
// none, ErrStatement for one that may have too many units.
func newTable(rows []Row, list List, payers []uint32, reg Registry) (*table, error) {
	t := &table{rows: rows, list: list, payers: payers, caps: make([]uint64, len(rows)),
		index: make([]uint8, len(list))}
	for i, r := range rows {
		unitCap, known := reg.UnitCap(r.Service)
		if !known {
			return nil, at("row", i, fmt.Errorf("%w %d", ErrUnknownService, r.Service))
		}
		t.caps[i] = unitCap
	}
	keys := make([]uint64, len(rows))
	for i, r := range rows {
		keys[i] = r.key()
	}
	last := 0
	for i := range list {
		if key := (Row{Payer: payers[i], Service: list[i].Service}).key(); keys[last] != key {
			j, found := slices.BinarySearch(keys, key)
			if !found {
				return nil, at("list entry", i, fmt.Errorf("%w: there is none of payer %d for service %d",
					ErrRows, payers[i], list[i].Service))
			}
			last = j
		}
		if err := checkStatementAcks(list[i].Count, t.caps[last]); err != nil {
			return nil, at("list entry", i, err)
		}
		t.index[i] = uint8(last)
	}
	return t, nil
}

// empty returns rows of the same keys without acks.
func (t *table) empty() []Row {
	empty := make([]Row, len(t.rows))
	for i, r := range t.rows {
		empty[i] = Row{Payer: r.Payer, Service: r.Service}
	}
	return empty
}

// sum returns the sums over those statements from lo to hi that are signed. A sum beyond 64 bits is
// ErrOverflow.
func (t *table) sum(statements []Statement, lo, hi int) ([]Row, error) {
	rows := t.empty()
	for i := lo; i < hi; i++ {
		if !t.list[i].Signed {
			continue
		}
		r := &rows[t.index[i]]
		r.Acks += uint64(t.list[i].Count) // less than 2^38 in all
		if !add(&r.Units, statements[i].Units) {
			return nil, at("statement", i, fmt.Errorf("%w: payer %d, service %d", ErrOverflow, r.Payer,
				r.Service))
		}
	}
	return rows, nil
}

// check holds sums over the statements from lo to hi to what the list shows: the acks of those that
// are signed, and units within one and the cap for each: ErrRows, ErrUnits.
func (t *table) check(sums []Row, lo, hi int) error {
	acks := make([]uint64, len(t.rows))
	for i := lo; i < hi; i++ {
		if t.list[i].Signed {
			acks[t.index[i]] += uint64(t.list[i].Count)
		}
	}
	for i, r := range sums {
		if r.Acks != acks[i] || r.Units < r.Acks {
			return at("row", i, fmt.Errorf("%w: %d acks, %d units, where entries of %d acks are signed",
				ErrRows, r.Acks, r.Units, acks[i]))
		}
		if hi, most := bits.Mul64(r.Acks, t.caps[i]); hi == 0 && r.Units > most {
			return at("row", i, fmt.Errorf("%w: %d for %d acks, where %d each may be", ErrUnits, r.Units,
				r.Acks, t.caps[i]))
		}
	}
	return nil
}

// cut makes segments that know what the table shows of them.
func (t *table) cut(size int) []Segment {
	segments := make([]Segment, segmentCount(len(t.list), size))
	for i := range segments {
		lo, hi := i*size, min((i+1)*size, len(t.list))
		segments[i] = Segment{Size: size, First: lo, List: t.list[lo:hi], Payers: t.payers[lo:hi],
			Caps: t.caps}
	}
	return segments
}

// finish computes digests, challenge and public inputs of a rollup's segments, whose nodes and rows
// are known.
func finish(h *Header, segments []Segment) {
	gamma := challenge(h, segments)
	for i := range segments {
		s := &segments[i]
		s.Table = tableDigest(s.Rows, s.Caps)
		s.Signed = signedDigest(s.List, s.Size)
		s.Challenge = gamma
		s.Fingerprint = fingerprint(s.List, s.Payers, gamma)
		var x [poseidon2.Width]poseidon2.Element
		copy(x[:8], s.Nodes)
		x[8] = poseidon2.FromUint64s([4]uint64{uint64(len(s.List))})
		x[9], x[10], x[11], x[12] = s.Table, s.Signed, s.Challenge, s.Fingerprint
		s.Public = poseidon2.Compress(&x)
	}
}

var challengeKey = blake3.ContextKey("waybill/proof-challenge/2")

// challenge is a digest of everything that the segments say and that a prover could choose.
func challenge(h *Header, segments []Segment) poseidon2.Element {
	b := append([]byte(nil), h.Network[:]...)
	b = le.AppendUint32(b, h.Epoch)
	b = le.AppendUint32(b, h.Window)
	b = le.AppendUint32(b, h.Node)
	b = le.AppendUint32(b, h.StatementCount)
	b = append(b, h.StatementRoot[:]...)
	b = append(b, h.ListRoot[:]...)
	b = le.AppendUint32(b, uint32(segments[0].Size))
	for i := range segments {
		for _, node := range segments[i].Nodes {
			encoded := node.Bytes()
			b = append(b, encoded[:]...)
		}
	}
	for i := range segments {
		b = le.AppendUint16(b, uint16(len(segments[i].Rows)))
		for j := range segments[i].Rows {
			b = appendRowEntries(b, segments[i].Rows[j:j+1])
			b = le.AppendUint64(b, segments[i].Caps[j])
		}
	}
	for i := range segments {
		for _, payer := range segments[i].Payers {
			b = le.AppendUint32(b, payer)
		}
	}
	return poseidon2.Truncate(blake3.Keyed(&challengeKey, b))
}

// tableDigest folds the rows of a segment, padded with zeros to MaxRows.
func tableDigest(rows []Row, caps []uint64) poseidon2.Element {
	elements := make([]poseidon2.Element, len(rows))
	for i, r := range rows {
		elements[i] = RowElement(r, caps[i])
	}
	blocks := poseidon2.ReduceLevel(elements)
	for len(blocks) < MaxRows/poseidon2.Width {
		blocks = append(blocks, noRows)
	}
	return fold(blocks)
}

// RowElement returns the element that stands for a row of a service with a cap in the table digest.
func RowElement(r Row, unitCap uint64) poseidon2.Element {
	return poseidon2.FromUint64s([4]uint64{uint64(r.Payer) | uint64(r.Service)<<32, r.Acks, r.Units,
		unitCap})
}

// noRows is the digest of sixteen zeros.
var noRows = poseidon2.Compress(new([poseidon2.Width]poseidon2.Element))

// bitsPerElement is how many flags an element of the signed digest holds.
const bitsPerElement = 128

// signedDigest folds the flags of a segment, padded with zeros to the circuit's size.
func signedDigest(list List, size int) poseidon2.Element {
	words := make([][4]uint64, size/bitsPerElement)
	for i := range list {
		if list[i].Signed {
			words[i/bitsPerElement][i%bitsPerElement/64] |= 1 << (i % 64)
		}
	}
	elements := make([]poseidon2.Element, len(words))
	for i, w := range words {
		elements[i] = poseidon2.FromUint64s(w)
	}
	return fold(elements)
}

// fold compresses sixteen to one until one is left, at least once; absent elements are zero.
func fold(elements []poseidon2.Element) poseidon2.Element {
	for {
		if elements = poseidon2.ReduceLevel(elements); len(elements) == 1 {
			return elements[0]
		}
	}
}

// fingerprint is the sum of p_i·gamma^i over the public parts of a segment's statements.
func fingerprint(list List, payers []uint32, gamma poseidon2.Element) poseidon2.Element {
	parts := make([][3]uint64, len(list))
	for i := range list {
		parts[i] = publicPart(payers[i], &list[i].Run)
	}
	return poseidon2.Evaluate(parts, gamma)
}

// ProofEvidence returns the evidence of rung 3 from the acks of the acks part, the rollup's
// segments and a proof of each.
func ProofEvidence(acks Acks, list List, segments []Segment,
	proofs [][ProofSize]byte) *Evidence {
	ev := &Evidence{Acks: acks, Rung: RungProof, List: list, Size: segments[0].Size,
		Segments: make([]SegmentProof, len(segments))}
	for i := range segments {
		p := &ev.Segments[i]
		p.Proof = proofs[i]
		for _, node := range segments[i].Nodes {
			p.Nodes = append(p.Nodes, node.Bytes())
		}
		if i == len(segments)-1 {
			break
		}
		for _, r := range segments[i].Rows {
			if r.Acks > 0 {
				p.Rows = append(p.Rows, r)
			}
		}
	}
	return ev
}
