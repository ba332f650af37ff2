package rollup

import (
	"fmt"
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
	Size    int                 // of the circuit
	First   int                 // index of the first statement
	Clients ClientList          // of its 1 to Size statements
	Payers  []uint32            // of the clients
	Nodes   []poseidon2.Element // 2 or 8 of the tree, zero where no statement is below
	// keys of all of the header's rows, sums over the signed statements; acks and units may be zero
	Rows []Row

	Table       poseidon2.Element // digest of Rows
	Signed      poseidon2.Element // digest of the flags in Clients
	Challenge   poseidon2.Element // the same for all segments
	Fingerprint poseidon2.Element // of Clients and Payers under the challenge
	Public      poseidon2.Element // input of the circuit: the digest of all this
}

// Segments returns what the proofs of a rollup are about, for a circuit's size. The tree and the
// list are those of the header. Errors: ErrClientList, ErrRows for a statement that belongs to no
// row of the header, ErrOverflow.
func Segments(h *Header, tree *StatementTree, list ClientList, size int) ([]Segment, error) {
	statements := tree.Statements()
	if err := list.of(statements); err != nil {
		return nil, fmt.Errorf("segments: %w", err)
	}
	payers := make([]uint32, len(statements))
	for i := range statements {
		payers[i] = statements[i].Payer
	}
	segments := cut(list, payers, size)
	for i := range segments {
		s := &segments[i]
		n := segmentNodes(size)
		s.Nodes = tree.nodes(segmentLevel(size), i*n, n)
		s.Rows = emptyRows(h.Rows)
		if err := sumSigned(s.Rows, statements[s.First:s.First+len(s.Clients)], s.Clients); err != nil {
			return nil, fmt.Errorf("segments: %w", err)
		}
	}
	finish(h, segments)
	return segments, nil
}

// cut makes segments that know their statements' clients and payers.
func cut(list ClientList, payers []uint32, size int) []Segment {
	segments := make([]Segment, segmentCount(len(list), size))
	for i := range segments {
		lo, hi := i*size, min((i+1)*size, len(list))
		segments[i] = Segment{Size: size, First: lo, Clients: list[lo:hi], Payers: payers[lo:hi]}
	}
	return segments
}

// finish computes digests, challenge and public inputs of a rollup's segments, whose nodes and rows
// are known.
func finish(h *Header, segments []Segment) {
	gamma := challenge(h, segments)
	for i := range segments {
		s := &segments[i]
		s.Table = tableDigest(s.Rows)
		s.Signed = signedDigest(s.Clients, s.Size)
		s.Challenge = gamma
		s.Fingerprint = fingerprint(s.Clients, s.Payers, gamma)
		var x [poseidon2.Width]poseidon2.Element
		copy(x[:8], s.Nodes)
		x[8] = poseidon2.FromUint64s([3]uint64{uint64(len(s.Clients))})
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
		b = appendRows(b, segments[i].Rows)
	}
	for i := range segments {
		for _, payer := range segments[i].Payers {
			b = le.AppendUint32(b, payer)
		}
	}
	return poseidon2.Truncate(blake3.Keyed(&challengeKey, b))
}

// tableDigest folds the rows of a segment, padded with zeros to MaxRows.
func tableDigest(rows []Row) poseidon2.Element {
	elements := make([]poseidon2.Element, len(rows))
	for i, r := range rows {
		elements[i] = poseidon2.FromUint64s([3]uint64{uint64(r.Payer) | uint64(r.Service)<<32, r.Acks,
			r.Units})
	}
	blocks := poseidon2.ReduceLevel(elements)
	for len(blocks) < MaxRows/poseidon2.Width {
		blocks = append(blocks, noRows)
	}
	return fold(blocks)
}

// noRows is the digest of sixteen zeros.
var noRows = poseidon2.Compress(new([poseidon2.Width]poseidon2.Element))

// bitsPerElement is how many flags an element of the signed digest holds.
const bitsPerElement = 128

// signedDigest folds the flags of a segment, padded with zeros to the circuit's size.
func signedDigest(list ClientList, size int) poseidon2.Element {
	words := make([][3]uint64, size/bitsPerElement)
	for i, c := range list {
		if c.Signed {
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

// fingerprint is the sum of (client + 2^32·payer)·gamma^i over the statements of a segment.
func fingerprint(list ClientList, payers []uint32, gamma poseidon2.Element) poseidon2.Element {
	pairs := make([]uint64, len(list))
	for i, c := range list {
		pairs[i] = c.Client | uint64(payers[i])<<32
	}
	return poseidon2.Evaluate(pairs, gamma)
}

// emptyRows returns rows of the same keys without acks.
func emptyRows(rows []Row) []Row {
	empty := make([]Row, len(rows))
	for i, r := range rows {
		empty[i] = Row{Payer: r.Payer, Service: r.Service}
	}
	return empty
}

// sumSigned adds the signed statements to the rows of their payers and services. Every statement
// must have a row, signed or not: ErrRows. A sum beyond 64 bits is ErrOverflow.
func sumSigned(rows []Row, statements []Statement, list ClientList) error {
	last := 0
	for i := range statements {
		s := &statements[i]
		key := Row{Payer: s.Payer, Service: s.Service}
		if last >= len(rows) || compareRows(rows[last], key) != 0 {
			var found bool
			if last, found = slices.BinarySearchFunc(rows, key, compareRows); !found {
				return at("statement", i, fmt.Errorf("%w: there is none of payer %d for service %d", ErrRows,
					s.Payer, s.Service))
			}
		}
		if !list[i].Signed {
			continue
		}
		if !add(&rows[last].Acks, uint64(s.Acks)) || !add(&rows[last].Units, s.Units) {
			return at("statement", i, fmt.Errorf("%w: payer %d, service %d", ErrOverflow, s.Payer,
				s.Service))
		}
	}
	return nil
}

// ProofEvidence returns the evidence of rung 3 from the acks of the acks part, the rollup's
// segments and a proof of each.
func ProofEvidence(acks Acks, list ClientList, segments []Segment,
	proofs [][ProofSize]byte) *Evidence {
	ev := &Evidence{Acks: acks, Rung: RungProof, Clients: list, Size: segments[0].Size,
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
