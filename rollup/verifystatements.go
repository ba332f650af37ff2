package rollup

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/kernels/poseidon2"
)

// verifyStatements checks the statements part of a rollup whose acks part has the rows acks.
func verifyStatements(h *Header, ev *Evidence, acks []Row, reg Registry,
	proofs ProofVerifier) error {
	payers, err := ev.listed(h, reg)
	if err != nil {
		return err
	}
	if err := checkClients(ev.Acks, ev.Clients); err != nil {
		return err
	}
	totals, err := subtractRows(h.Rows, acks)
	if err != nil {
		return err
	}
	if err := checkTotals(totals, reg); err != nil {
		return err
	}
	if ev.Rung == RungStatements {
		err = verifyTree(h, ev, payers, totals)
	} else {
		err = verifyProofs(h, ev, payers, totals, proofs)
	}
	if err != nil {
		return err
	}
	return verifyCosigned(h, ev.Clients.Signers(), reg)
}

// matchStatements is Match for the statements part.
func (ev *Evidence) matchStatements(h *Header, reg Registry) error {
	payers, err := ev.listed(h, reg)
	if err != nil {
		return err
	}
	if ev.Rung == RungStatements {
		return checkTree(h, ev.withPayers(payers))
	}
	segments, err := ev.segments(payers)
	if err != nil {
		return err
	}
	return checkNodes(h, segments)
}

// listed checks the statements part by itself and its client list against the header, and returns
// who pays for each of the list's clients.
func (ev *Evidence) listed(h *Header, reg Registry) ([]uint32, error) {
	if err := ev.checkStatementsPart(); err != nil {
		return nil, err
	}
	if digest := ev.Clients.Digest(); digest != h.ListRoot {
		return nil, fmt.Errorf("%w: %s, not %s", ErrClientList, digest, h.ListRoot)
	}
	return payersOf(ev.Clients, reg)
}

// of checks that the list is one for the statements: ErrClientList, or what check answers.
func (l ClientList) of(statements []Statement) error {
	if len(l) != len(statements) {
		return fmt.Errorf("%w: %d entries for %d statements", ErrClientList, len(l), len(statements))
	}
	for i := range l {
		if l[i].Client != statements[i].Client {
			return at("list entry", i, fmt.Errorf("%w: client %d, in place of %d", ErrClientList,
				l[i].Client, statements[i].Client))
		}
	}
	return l.check()
}

// checkClients requires that the acks part holds acks of each listed client that did not sign, and
// none of those that did: ErrBothParts, ErrClientList. Both are in order.
func checkClients(acks Acks, list ClientList) error {
	clients := acks.Clients()
	for j, c := range list {
		_, has := slices.BinarySearch(clients, c.Client)
		if has && c.Signed {
			return at("list entry", j, fmt.Errorf("%w: client %d", ErrBothParts, c.Client))
		}
		if !has && !c.Signed {
			return at("list entry", j, fmt.Errorf("%w: client %d neither signed nor has acks", ErrClientList,
				c.Client))
		}
	}
	return nil
}

// payersOf returns who pays for each entry's client: ErrUnknownClient.
func payersOf(list ClientList, reg Registry) ([]uint32, error) {
	payers := make([]uint32, len(list))
	for i, c := range list {
		if i > 0 && list[i-1].Client == c.Client {
			payers[i] = payers[i-1]
			continue
		}
		client, ok := reg.Client(c.Client)
		if !ok {
			return nil, at("list entry", i, fmt.Errorf("%w %d", ErrUnknownClient, c.Client))
		}
		payers[i] = client.Payer
	}
	return payers, nil
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

// checkTotals checks the rows of the statements part, which may be zero: ErrRows,
// ErrUnknownService, ErrUnits.
func checkTotals(totals []Row, reg Registry) error {
	for i, r := range totals {
		unitCap, known := reg.UnitCap(r.Service)
		if !known {
			return at("row", i, fmt.Errorf("%w %d", ErrUnknownService, r.Service))
		}
		if r.Units < r.Acks {
			return at("row", i, fmt.Errorf("%w: %d acks, %d units", ErrRows, r.Acks, r.Units))
		}
		if hi, most := bits.Mul64(r.Acks, unitCap); hi == 0 && r.Units > most {
			return at("row", i, fmt.Errorf("%w: %d for %d acks, where %d each may be", ErrUnits, r.Units,
				r.Acks, unitCap))
		}
	}
	return nil
}

// withPayers returns the statements with payers.
func (ev *Evidence) withPayers(payers []uint32) []Statement {
	statements := slices.Clone(ev.Statements)
	for i := range statements {
		statements[i].Payer = payers[i]
	}
	return statements
}

// verifyTree checks the statements of rung 2 against root and totals: ErrRows, ErrOverflow,
// ErrRoot.
func verifyTree(h *Header, ev *Evidence, payers []uint32, totals []Row) error {
	statements := ev.withPayers(payers)
	sums := emptyRows(totals)
	if err := sumSigned(sums, statements, ev.Clients); err != nil {
		return err
	}
	if !slices.Equal(sums, totals) {
		return ErrRows
	}
	return checkTree(h, statements)
}

func checkTree(h *Header, statements []Statement) error {
	if root := NewStatementTree(statements).Root(); root != h.StatementRoot {
		return fmt.Errorf("%w: %s, not %s", ErrRoot, root, h.StatementRoot)
	}
	return nil
}

// verifyProofs checks the proofs of rung 3: ErrNoProofs, ErrRows, ErrRoot, ErrProof.
func verifyProofs(h *Header, ev *Evidence, payers []uint32, totals []Row,
	proofs ProofVerifier) error {
	if proofs == nil {
		return ErrNoProofs
	}
	segments, err := ev.segments(payers)
	if err != nil {
		return err
	}
	if err := checkNodes(h, segments); err != nil {
		return err
	}
	for i := range segments {
		if i == len(segments)-1 {
			segments[i].Rows = totals // what is left
			break
		}
		parts := ev.Segments[i].Rows
		if totals, err = subtractRows(totals, parts); err != nil {
			return at("segment", i, err)
		}
		segments[i].Rows = emptyRows(totals)
		for _, r := range parts {
			j, _ := slices.BinarySearchFunc(totals, r, compareRows) // subtractRows found it
			segments[i].Rows[j] = r
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
func (ev *Evidence) segments(payers []uint32) ([]Segment, error) {
	segments := cut(ev.Clients, payers, ev.Size)
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

// verifyCosigned checks the multi-signature of the clients that signed: ErrUnknownClient,
// ErrSignature.
func verifyCosigned(h *Header, signers []uint64, reg Registry) error {
	sum, err := parseSum(&h.StatementSignature)
	if err != nil {
		return err
	}
	keys := make([]*bls.PublicKey, len(signers))
	for i, client := range signers {
		c, ok := reg.Client(client)
		if !ok {
			return at("client", i, fmt.Errorf("%w %d", ErrUnknownClient, client))
		}
		keys[i] = c.Key
	}
	message := CosignMessage(h.Network, h.Key(), h.StatementCount, h.StatementRoot)
	if !bls.Default.FastAggregateVerify(keys, message[:], &sum) {
		return fmt.Errorf("%w: of the clients that co-signed", ErrSignature)
	}
	return nil
}
