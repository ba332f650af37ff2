package rollup

import (
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/kernels/poseidon2"
)

// verifyStatements checks the statements part of a rollup whose acks part has the rows acks. All of
// its rules but the last are the same on both rungs: what the list shows is checked here, and of
// the rest the statements or the proofs speak.
func verifyStatements(h *Header, ev *Evidence, acks []Row, reg Registry,
	proofs ProofVerifier) error {
	if err := ev.listed(h); err != nil {
		return err
	}
	payers, signers, err := entitled(ev.List, h.Epoch, reg)
	if err != nil {
		return err
	}
	if err := checkBothParts(ev.Acks, ev.List); err != nil {
		return err
	}
	t, err := newTable(h.Rows, ev.List, payers, reg)
	if err != nil {
		return err
	}
	totals, err := t.totals(acks)
	if err != nil {
		return err
	}
	if ev.Rung == RungStatements {
		err = verifyTree(h, ev, t, totals)
	} else {
		err = verifyProofs(h, ev, t, totals, proofs)
	}
	if err != nil {
		return err
	}
	return verifyCosigned(h, signers)
}

// matchStatements is Match for the statements part.
func (ev *Evidence) matchStatements(h *Header, reg Registry) error {
	if err := ev.listed(h); err != nil {
		return err
	}
	payers := make([]uint32, len(ev.List))
	for i := range ev.List {
		client, known := reg.Client(ev.List[i].Client)
		if !known {
			return at("list entry", i, fmt.Errorf("%w %d", ErrUnknownClient, ev.List[i].Client))
		}
		payers[i] = client.Payer
	}
	if ev.Rung == RungStatements {
		return checkTree(h, ev.withPayers(payers))
	}
	t := &table{list: ev.List, payers: payers}
	segments, err := ev.segments(t)
	if err != nil {
		return err
	}
	return checkNodes(h, segments)
}

// listed checks the statements part by itself and its list against the header.
func (ev *Evidence) listed(h *Header) error {
	if err := ev.checkStatementsPart(); err != nil {
		return err
	}
	if root := ev.List.Root(); root != h.ListRoot {
		return fmt.Errorf("%w: %s, not %s", ErrList, root, h.ListRoot)
	}
	return nil
}

// entitled checks that the clients of a list exist, and of those that signed that they may sign
// these runs in the epoch. It returns the payer of each entry's client, and the key of each client
// that signed. Errors: ErrUnknownClient, ErrNotValid, ErrNotGranted, ErrNumbers.
func entitled(list List, epoch uint32, reg Registry) (payers []uint32, signers []*bls.PublicKey,
	err error) {
	payers = make([]uint32, len(list))
	var client Client
	for i := range list {
		e := &list[i]
		begins := i == 0 || list[i-1].Client != e.Client
		if begins {
			var known bool
			if client, known = reg.Client(e.Client); !known {
				return nil, nil, at("list entry", i, fmt.Errorf("%w %d", ErrUnknownClient, e.Client))
			}
		}
		payers[i] = client.Payer
		if !e.Signed {
			continue
		}
		if err := client.check(e.Run, epoch); err != nil {
			return nil, nil, at("list entry", i, err)
		}
		if begins {
			signers = append(signers, client.Key)
		}
	}
	return payers, signers, nil
}

// checkBothParts requires that the acks part has no run of a client that signed: ErrBothParts. Both
// are in order.
func checkBothParts(acks Acks, list List) error {
	i := 0
	for _, run := range acks.Runs() {
		for i < len(list) && list[i].Client < run.Client {
			i++
		}
		if i < len(list) && list[i].Client == run.Client && list[i].Signed {
			return at("list entry", i, fmt.Errorf("%w: client %d", ErrBothParts, run.Client))
		}
	}
	return nil
}

// totals returns what the statements part has of the header's rows, those of the acks part being
// acks, and holds it to what the list shows. Each row must be that of a run or of an entry:
// ErrRows, ErrUnits.
func (t *table) totals(acks []Row) ([]Row, error) {
	totals, err := subtractRows(t.rows, acks)
	if err != nil {
		return nil, err
	}
	var used [MaxRows]bool
	for _, i := range t.index {
		used[i] = true
	}
	for i, r := range t.rows {
		if _, has := slices.BinarySearchFunc(acks, r, compareRows); !has && !used[i] {
			return nil, at("row", i, fmt.Errorf("%w: nobody has acks of payer %d for service %d", ErrRows,
				r.Payer, r.Service))
		}
	}
	if err := t.check(totals, 0, len(t.list)); err != nil {
		return nil, err
	}
	return totals, nil
}

// subtractRows returns rows with the same keys from which parts are taken away; acks and units may
// come down to zero. The error is ErrRows: a part has no row, or more than it.
func subtractRows(rows, parts []Row) ([]Row, error) {
	rest := slices.Clone(rows)
	for _, p := range parts {
		i, found := slices.BinarySearchFunc(rest, p, compareRows)
		if !found || rest[i].Acks < p.Acks || rest[i].Units < p.Units {
			return nil, fmt.Errorf("%w: %d acks and %d units of payer %d for service %d are not in them",
				ErrRows, p.Acks, p.Units, p.Payer, p.Service)
		}
		rest[i].Acks -= p.Acks
		rest[i].Units -= p.Units
	}
	return rest, nil
}

// withPayers returns the statements with payers.
func (ev *Evidence) withPayers(payers []uint32) []Statement {
	statements := slices.Clone(ev.Statements)
	for i := range statements {
		statements[i].Payer = payers[i]
	}
	return statements
}

// verifyTree checks the statements of rung 2 against bounds, root and totals: ErrStatement,
// ErrRows, ErrOverflow, ErrRoot.
func verifyTree(h *Header, ev *Evidence, t *table, totals []Row) error {
	statements := ev.withPayers(t.payers)
	for i := range statements {
		s := &statements[i]
		if err := s.checkPrivate(uint64(s.Acks) * t.caps[t.index[i]]); err != nil {
			return at("statement", i, err)
		}
	}
	sums, err := t.sum(statements, 0, len(statements))
	if err != nil {
		return err
	}
	if !slices.Equal(sums, totals) {
		return ErrRows
	}
	return checkTree(h, statements)
}

func checkTree(h *Header, statements []Statement) error {
	tree, err := newStatementTree(statements)
	if err != nil {
		return err
	}
	if root := tree.Root(); root != h.StatementRoot {
		return fmt.Errorf("%w: %s, not %s", ErrRoot, root, h.StatementRoot)
	}
	return nil
}

// verifyProofs checks the proofs of rung 3: ErrNoProofs, ErrRows, ErrUnits, ErrRoot, ErrProof.
func verifyProofs(h *Header, ev *Evidence, t *table, totals []Row, proofs ProofVerifier) error {
	if proofs == nil {
		return ErrNoProofs
	}
	segments, err := ev.segments(t)
	if err != nil {
		return err
	}
	if err := checkNodes(h, segments); err != nil {
		return err
	}
	for i := range segments {
		s := &segments[i]
		if s.Rows = totals; i < len(segments)-1 { // the last has what is left
			parts := ev.Segments[i].Rows
			if totals, err = subtractRows(totals, parts); err != nil {
				return at("segment", i, err)
			}
			s.Rows = t.empty()
			for _, r := range parts {
				j, _ := slices.BinarySearchFunc(totals, r, compareRows) // subtractRows found it
				s.Rows[j] = r
			}
		}
		if err := t.check(s.Rows, s.First, s.First+len(s.List)); err != nil {
			return at("segment", i, err)
		}
	}
	finish(h, segments)
	for i := range segments {
		if err := proofs.VerifyProof(ev.Size, segments[i].Public.Bytes(),
			&ev.Segments[i].Proof); err != nil {
			return at("segment", i, fmt.Errorf("%w: %w", ErrProof, err))
		}
	}
	return nil
}

// segments returns the segments of rung 3 without their rows: ErrMalformed.
func (ev *Evidence) segments(t *table) ([]Segment, error) {
	segments := t.cut(ev.Size)
	for i := range segments {
		var err error
		if segments[i].Nodes, err = parseNodes(ev.Segments[i].Nodes, ev.Size); err != nil {
			return nil, at("segment", i, err)
		}
	}
	return segments, nil
}

// parseNodes decodes the nodes of one segment: ErrMalformed.
func parseNodes(encoded []Hash, size int) ([]poseidon2.Element, error) {
	if len(encoded) != segmentNodes(size) {
		return nil, fmt.Errorf("%w: %d nodes, where %d belong", ErrMalformed, len(encoded),
			segmentNodes(size))
	}
	nodes := make([]poseidon2.Element, len(encoded))
	for i := range encoded {
		var err error
		if nodes[i], err = poseidon2.ParseElement(encoded[i][:]); err != nil {
			return nil, fmt.Errorf("%w: node %d: %w", ErrMalformed, i, err)
		}
	}
	return nodes, nil
}

// checkNodes checks that the segments' nodes lead to the header's root, and that none stands where
// no statement is: ErrRoot.
func checkNodes(h *Header, segments []Segment) error {
	var nodes []poseidon2.Element
	for i := range segments {
		nodes = append(nodes, segments[i].Nodes...)
	}
	level, count := segmentLevel(segments[0].Size), int(h.StatementCount)
	present := (count + perNode(level) - 1) / perNode(level)
	for i, node := range nodes[present:] {
		if node != (poseidon2.Element{}) {
			return fmt.Errorf("%w: node %d is there, and there are %d statements", ErrRoot, present+i, count)
		}
	}
	nodes = nodes[:present]
	for range depthOf(count) - level {
		nodes = poseidon2.ReduceLevel(nodes)
	}
	if root := Hash(nodes[0].Bytes()); root != h.StatementRoot {
		return fmt.Errorf("%w: %s, not %s", ErrRoot, root, h.StatementRoot)
	}
	return nil
}

// verifyCosigned checks the multi-signature under the keys of the clients that signed:
// ErrSignature.
func verifyCosigned(h *Header, signers []*bls.PublicKey) error {
	sum, err := parseSum(&h.StatementSignature)
	if err != nil {
		return err
	}
	message := CosignMessage(h.Network, h.Key(), h.StatementCount, h.StatementRoot)
	if !bls.Default.FastAggregateVerify(signers, message[:], &sum) {
		return fmt.Errorf("%w: of the clients that co-signed", ErrSignature)
	}
	return nil
}
