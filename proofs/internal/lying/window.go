package lying

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/poseidon2"
	"github.com/waybill-network/waybill/rollup"
)

var le = binary.LittleEndian

const (
	epoch   = 7
	numbers = 1 << 31 // that a client may use
)

// Window is a window with a statements part in plain terms. Header and evidence follow from it, so
// whoever changes one thing of it gets a lie that is told consistently.
type Window struct {
	World      *World
	Statements []rollup.Statement // public parts are the list's, the others those under the root
	Signed     []bool             // of each statement, what the list says
	Under      []rollup.Statement // what stands under the root; nil: Statements
	Signers    []uint64           // whose signatures are there; nil: of those who signed
	Acks       []Acked
	Rows       []rollup.Row
	Edit       func(*rollup.Header) // the last word; may be nil
}

// Clone returns a window that shares nothing with it.
func (w *Window) Clone() *Window {
	c := *w
	c.World = &World{Clients: maps.Clone(w.World.Clients), Caps: maps.Clone(w.World.Caps)}
	c.Statements, c.Signed = slices.Clone(w.Statements), slices.Clone(w.Signed)
	c.Rows = slices.Clone(w.Rows)
	c.Under, c.Signers, c.Acks = slices.Clone(w.Under), slices.Clone(w.Signers), slices.Clone(w.Acks)
	return &c
}

func compareRows(a, b rollup.Row) int {
	return cmp.Or(cmp.Compare(a.Payer, b.Payer), cmp.Compare(a.Service, b.Service))
}

// row finds the row of a pair, or makes it.
func (w *Window) row(payer, service uint32) *rollup.Row {
	key := rollup.Row{Payer: payer, Service: service}
	i, found := slices.BinarySearchFunc(w.Rows, key, compareRows)
	if !found {
		w.Rows = slices.Insert(w.Rows, i, key)
	}
	return &w.Rows[i]
}

// Total makes the rows that follow from statements and acks.
func (w *Window) Total() {
	w.Rows = nil
	for i, s := range w.Statements {
		if r := w.row(s.Payer, s.Service); w.Signed[i] {
			r.Acks += uint64(s.Acks)
			r.Units += s.Units
		}
	}
	for _, a := range w.Acks {
		r := w.row(w.World.Clients[a.Client].Payer, a.Service)
		for _, units := range a.Units {
			r.Acks++
			r.Units += units
		}
	}
}

// under returns what stands under the root.
func (w *Window) under() []rollup.Statement {
	if w.Under != nil {
		return w.Under
	}
	return w.Statements
}

// List returns the list.
func (w *Window) List() rollup.List {
	list := make(rollup.List, len(w.Statements))
	for i := range list {
		list[i] = rollup.ListEntry{Run: w.Statements[i].Run(), Signed: w.Signed[i]}
	}
	return list
}

// Show returns the header, and evidence of rung 2.
func (w *Window) Show() (*rollup.Header, *rollup.Evidence) {
	h := rollup.NewHeader(Network, rollup.WindowKey{Node: 3, Epoch: epoch, Window: 5})
	acks := w.acksPart(h)
	list := w.List()
	h.Rows = slices.Clone(w.Rows)
	h.StatementCount = uint32(len(list))
	h.StatementRoot = rollup.NewStatementTree(w.under()).Root()
	h.ListRoot = list.Root()
	signers := w.Signers
	if signers == nil {
		signers = list.Signers()
	}
	message := rollup.CosignMessage(Network, h.Key(), h.StatementCount, h.StatementRoot)
	h.StatementSignature = signature(message[:], signers)
	if w.Edit != nil {
		w.Edit(h)
	}
	return h, &rollup.Evidence{Acks: acks, Rung: rollup.RungStatements, List: list,
		Statements: slices.Clone(w.Statements)}
}

// Choice is what a liar chooses on rung 3: the statements of its wires are those that the list
// names or those under the root, and its caps the registry's or, as it needs them, higher ones.
type Choice struct{ Under, Caps bool }

// Claim is what the proof of one segment would be about. Of the segment only what wires are made
// of is there; its public input is the verifier's.
type Claim struct {
	Segment    rollup.Segment
	Statements []rollup.Statement
}

// Prove shows a window on rung 3, for circuits of a size. In place of a proof each segment has the
// index of its claim in the first byte.
func (w *Window) Prove(h *rollup.Header, second *rollup.Evidence, size int, c Choice) (
	*rollup.Evidence, []Claim) {
	level, per := 2, 128
	if size > 1024 {
		level, per = 3, 2048
	}
	nodes := nodesOf(w.under(), level)
	wires := w.Statements
	if c.Under {
		wires = w.under()
	}
	ev := &rollup.Evidence{Acks: second.Acks, Rung: rollup.RungProof, List: second.List, Size: size}
	rest := w.statementRows()
	var claims []Claim
	for lo := 0; lo < len(w.Statements); lo += size {
		hi := min(lo+size, len(w.Statements))
		claim := Claim{Statements: wires[min(lo, len(wires)):min(hi, len(wires))]}
		s := &claim.Segment
		s.Size, s.First, s.List = size, lo, second.List[lo:hi]
		for i := range size / per {
			var node poseidon2.Element
			if at := lo/per + i; at < len(nodes) && at*per < len(w.under()) {
				node = nodes[at]
			}
			s.Nodes = append(s.Nodes, node)
		}
		s.Rows, s.Caps = w.table(claim.Statements, w.Signed[lo:hi], c.Caps)
		if hi == len(w.Statements) {
			s.Rows = rest
		} else {
			w.fit(s.Rows, rest)
		}
		rest = subtract(rest, s.Rows)
		claims = append(claims, claim)
		proof := rollup.SegmentProof{Proof: [rollup.ProofSize]byte{byte(len(claims) - 1)}}
		for _, node := range s.Nodes {
			proof.Nodes = append(proof.Nodes, node.Bytes())
		}
		for _, r := range s.Rows {
			if r.Acks > 0 && hi < len(w.Statements) {
				proof.Rows = append(proof.Rows, r)
			}
		}
		ev.Segments = append(ev.Segments, proof)
	}
	gamma := w.challenge(h, ev, claims)
	for i := range claims {
		claims[i].Segment.Challenge = gamma
	}
	return ev, claims
}

// nodesOf returns a level of the tree.
func nodesOf(statements []rollup.Statement, level int) []poseidon2.Element {
	var nodes []poseidon2.Element
	for i := range statements {
		fields, root, err := statements[i].Elements()
		if err != nil {
			panic(err)
		}
		nodes = append(nodes, fields, root)
	}
	for range level {
		nodes = poseidon2.ReduceLevel(nodes)
	}
	return nodes
}

// statementRows is what the header's rows leave for the statements part.
func (w *Window) statementRows() []rollup.Row {
	part := Window{World: w.World, Acks: w.Acks}
	part.Total()
	return subtract(w.Rows, part.Rows)
}

// subtract takes parts away from rows, as far as they have them.
func subtract(rows, parts []rollup.Row) []rollup.Row {
	rest := slices.Clone(rows)
	for _, p := range parts {
		if i, found := slices.BinarySearchFunc(rest, p, compareRows); found {
			rest[i].Acks -= min(rest[i].Acks, p.Acks)
			rest[i].Units -= min(rest[i].Units, p.Units)
		}
	}
	return rest
}

// table is a segment's: sums over its signed statements, and the caps of the rows' services. When
// raised, a service's cap is as high as the statements need it.
func (w *Window) table(statements []rollup.Statement, signed []bool, raised bool) (
	rows []rollup.Row, caps []uint64) {
	for _, r := range w.Rows {
		row := rollup.Row{Payer: r.Payer, Service: r.Service}
		unitCap := w.World.Caps[r.Service]
		for i, s := range statements {
			if s.Payer != r.Payer || s.Service != r.Service {
				continue
			}
			if raised && s.Acks > 0 {
				unitCap = max(unitCap, (s.Units-1)/uint64(s.Acks)+1)
			}
			if signed[i] {
				row.Acks += uint64(s.Acks)
				row.Units += s.Units
			}
		}
		rows, caps = append(rows, row), append(caps, unitCap)
	}
	return rows, caps
}

// fit moves the units of a segment's rows so that what it leaves of the rest can be shown, if there
// is a way: within one and the cap for each ack.
func (w *Window) fit(rows, rest []rollup.Row) {
	for i := range rows {
		r, left := &rows[i], rest[i]
		unitCap := w.World.Caps[r.Service]
		if left.Acks < r.Acks || left.Units < left.Acks || left.Units > left.Acks*unitCap {
			continue
		}
		later := left.Acks - r.Acks
		least := left.Units - min(left.Units, later*unitCap)
		r.Units = min(max(r.Units, least, r.Acks), left.Units-later, r.Acks*unitCap)
	}
}

// challenge is that of section 15 of the protocol, from what the verifier sees.
func (w *Window) challenge(h *rollup.Header, ev *rollup.Evidence,
	claims []Claim) poseidon2.Element {
	x := slices.Clone(h.Network[:])
	for _, v := range []uint32{h.Epoch, h.Window, h.Node, h.StatementCount} {
		x = le.AppendUint32(x, v)
	}
	x = append(append(x, h.StatementRoot[:]...), h.ListRoot[:]...)
	x = le.AppendUint32(x, uint32(ev.Size))
	for _, s := range ev.Segments {
		for _, node := range s.Nodes {
			x = append(x, node[:]...)
		}
	}
	for _, c := range claims {
		x = le.AppendUint16(x, uint16(len(c.Segment.Rows)))
		for _, r := range c.Segment.Rows {
			x = le.AppendUint32(le.AppendUint32(x, r.Payer), r.Service)
			x = le.AppendUint64(le.AppendUint64(x, r.Acks), r.Units)
			x = le.AppendUint64(x, w.World.Caps[r.Service])
		}
	}
	for _, e := range ev.List {
		x = le.AppendUint32(x, w.World.Clients[e.Client].Payer)
	}
	key := blake3.ContextKey("waybill/proof-challenge/2")
	return poseidon2.Truncate(blake3.Keyed(&key, x))
}

// Verify decides on evidence of a window, as it is and once more as it was encoded: both must
// agree.
func (w *Window) Verify(h *rollup.Header, ev *rollup.Evidence, proofs rollup.ProofVerifier) error {
	err := rollup.Verify(h, ev, Network, w.World, proofs, 1)
	if decoded := w.decoded(h, ev, proofs); (decoded == nil) != (err == nil) {
		panic(fmt.Sprintf("as it is: %v; encoded: %v", err, decoded))
	}
	return err
}

func (w *Window) decoded(h *rollup.Header, ev *rollup.Evidence, proofs rollup.ProofVerifier) error {
	header, err := rollup.ParseHeader(h.Append(nil))
	if err != nil {
		return err
	}
	evidence, err := rollup.ParseEvidence(ev.Append(nil))
	if err != nil {
		return err
	}
	return rollup.Verify(header, evidence, Network, w.World, proofs, 1)
}
