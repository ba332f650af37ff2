package outsider

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/supranational/blst/bindings/go"
	"lukechampine.com/blake3"
)

// statement is one of section 14; payers are not in the evidence.
type statement struct {
	client, payer, service, acks uint32
	units                        uint64
	root                         hash
}

func (s *statement) check() error {
	if s.acks < 1 || s.acks > 65_536 || s.units < uint64(s.acks) || s.units > 1<<56-1 || s.root[31]>>5 != 0 {
		return errors.New("statement out of bounds")
	}
	return nil
}

// elements are e0 and e1: bit fields next to each other, and the root.
func (s *statement) elements() [2]element {
	var e0 element
	for i, field := range []uint32{s.payer, s.service, s.client, s.acks} {
		le.PutUint32(e0[4*i:], field)
	}
	le.PutUint64(e0[16:], s.units)
	return [2]element{e0, s.root}
}

// treeDepth is the level of the root.
func treeDepth(n int) int {
	switch {
	case n <= 2_048:
		return 3
	case n <= 32_768:
		return 4
	}
	return 5
}

func statementRoot(statements []statement) element {
	var level []element
	for i := range statements {
		e := statements[i].elements()
		level = append(level, e[0], e[1])
	}
	for range treeDepth(len(statements)) {
		level = theHash().parents(level)
	}
	return level[0]
}

// leads checks a path of one statement.
func (s *statement) leads(index, n int, path []element, root element) bool {
	if index >= n {
		return false
	}
	e := s.elements()
	own, first, total := e[:], 2*index, 2*n
	for range treeDepth(n) {
		left := first % 16
		right := min((first+len(own)+15)/16*16, total) - first - len(own)
		if len(path) < left+right {
			return false
		}
		for _, node := range path[:left+right] {
			if !theHash().canonical(node) {
				return false
			}
		}
		own = []element{theHash().compress(slices.Concat(path[:left], own, path[left:left+right]))}
		path, first, total = path[left+right:], first/16, (total+15)/16
	}
	return len(path) == 0 && own[0] == root
}

// listEntry is an entry of the client list.
type listEntry struct {
	client uint32
	signed bool
}

// readList reads a client list and nothing after it.
func readList(r *reader) ([]listEntry, error) {
	var list []listEntry
	n := r.u32()
	if n < 1 || n > 65_536 {
		return nil, errors.New("client list: count")
	}
	var client uint64
	for range n {
		var v uint64
		for shift := 0; ; shift += 7 {
			b := r.uint(1)
			if shift == 28 && b > 127 || shift > 0 && b == 0 && !r.short {
				return nil, errors.New("client list: not the shortest form")
			}
			v |= b & 127 << shift
			if b < 128 {
				break
			}
		}
		if client += v >> 1; client > 1<<32-1 {
			return nil, errors.New("client list: client")
		}
		list = append(list, listEntry{uint32(client), v&1 == 1})
	}
	if err := r.end("client list"); err != nil {
		return nil, err
	}
	return list, checkList(list)
}

func checkList(list []listEntry) error {
	anyone := false
	for i, l := range list {
		if i > 0 && list[i-1].client == l.client && list[i-1].signed != l.signed {
			return errors.New("client list: a client signed and did not sign")
		}
		anyone = anyone || l.signed
	}
	if !anyone {
		return errors.New("client list: nobody signed")
	}
	return nil
}

func listDigest(list []listEntry) hash {
	b := le.AppendUint32(nil, uint32(len(list)))
	last := uint32(0)
	for _, l := range list {
		v := 2 * uint64(l.client-last)
		if l.signed {
			v++
		}
		for ; v > 127; v >>= 7 {
			b = append(b, byte(v)|128)
		}
		b, last = append(b, byte(v)), l.client
	}
	return keyed("waybill/client-list/1", b)
}

// statementsPart checks everything about the statements part of a rollup but what clients and acks part share; clients have
// messages when they are in the acks part, of which rows are the sums.
func (g *Genesis) statementsPart(h *header, ev *reader, clients []client, acks map[pair]sum, key []byte) error {
	var list []listEntry
	var statements []statement
	var err error
	rung := ev.uint(1)
	switch rung {
	case 2:
		statements, list, err = readStatements(ev)
	case 3:
		list, err = readList(&reader{b: ev.take(int(ev.u32())), short: ev.short})
	default:
		err = errors.New("evidence: rung")
	}
	switch {
	case err != nil:
		return err
	case len(list) != int(h.statements):
		return errors.New("evidence: statement count")
	case listDigest(list) != h.list:
		return errors.New("evidence: another client list")
	}
	signers, payers, err := listedClients(list, clients)
	if err != nil {
		return err
	}
	totals, err := statementRows(h, acks)
	if err != nil {
		return err
	}
	if rung == 2 {
		err = checkStatements(h, statements, list, payers, totals)
	} else {
		err = g.checkProofs(h, ev, list, payers, totals, key)
	}
	if err != nil {
		return err
	}
	return g.cosigned(h, signers)
}

// checkStatements is rung 2.
func checkStatements(h *header, statements []statement, list []listEntry, payers []uint32, totals map[pair]sum) error {
	sums := map[pair]sum{}
	for i := range statements {
		s := &statements[i]
		s.payer = payers[i]
		p := pair{s.payer, s.service}
		if _, ok := h.rows[p]; !ok {
			return errors.New("evidence: a statement without a row")
		}
		if list[i].signed {
			units := sums[p].units + s.units
			if units < s.units {
				return errors.New("evidence: a sum overflows")
			}
			sums[p] = sum{sums[p].acks + uint64(s.acks), units}
		}
	}
	maps.DeleteFunc(totals, func(_ pair, t sum) bool { return t == sum{} })
	if !maps.Equal(sums, totals) {
		return errors.New("evidence: rows are not the sums")
	}
	if statementRoot(statements) != h.statementRoot {
		return errors.New("evidence: another statement root")
	}
	return nil
}

// checkProofs is rung 3.
func (g *Genesis) checkProofs(h *header, ev *reader, list []listEntry, payers []uint32, totals map[pair]sum, encoded []byte) error {
	size, segments, err := readSegments(ev, len(list))
	if err != nil {
		return err
	}
	if err := lead(segments, size, len(list), h.statementRoot); err != nil {
		return err
	}
	if err := divide(segments, totals); err != nil {
		return err
	}
	g.publicInputs(h, size, segments, list, payers)
	if digest, ok := g.keys[size]; !ok || digest != blake3.Sum256(encoded) {
		return errors.New("verifying key: not the network's")
	}
	key, err := parseVerifyingKey(encoded, size)
	if err != nil {
		return err
	}
	for _, s := range segments {
		if err := key.verify(s.public, s.proof); err != nil {
			return err
		}
	}
	return nil
}

// readStatements reads what is left of the evidence on rung 2.
func readStatements(ev *reader) ([]statement, []listEntry, error) {
	n := int(ev.u32())
	if n < 1 || n > 65_536 || len(ev.b) != 52*n+(n+7)/8 {
		return nil, nil, errors.New("evidence: statement count")
	}
	statements, list := make([]statement, n), make([]listEntry, n)
	for i := range statements {
		s := statement{client: ev.u32(), service: ev.u32(), acks: ev.u32(), units: ev.uint(8), root: ev.hash()}
		if err := s.check(); err != nil {
			return nil, nil, fmt.Errorf("evidence: %w", err)
		}
		if i > 0 && slices.Compare([]uint32{statements[i-1].client, statements[i-1].service}, []uint32{s.client, s.service}) >= 0 {
			return nil, nil, errors.New("evidence: statements not sorted")
		}
		statements[i] = s
	}
	bitmap := ev.take((n + 7) / 8)
	for i := range 8 * len(bitmap) {
		signed := bitmap[i/8]>>(i%8)&1 == 1
		if i < n {
			list[i] = listEntry{statements[i].client, signed}
		} else if signed {
			return nil, nil, errors.New("evidence: a bit beyond the last statement")
		}
	}
	return statements, list, checkList(list)
}

// listedClients marks the clients of the list, and returns those who signed, and each entry's payer.
func listedClients(list []listEntry, clients []client) (signers []*client, payers []uint32, err error) {
	for i, l := range list {
		j, ok := slices.BinarySearchFunc(clients, l.client, byIndex)
		if !ok {
			return nil, nil, errors.New("clients: not those of the evidence")
		}
		c := &clients[j]
		payers = append(payers, c.payer)
		switch {
		case i > 0 && list[i-1].client == l.client:
		case l.signed && c.messages != nil:
			return nil, nil, errors.New("evidence: a client that signed has acks in the acks part")
		case !l.signed && c.messages == nil:
			return nil, nil, errors.New("evidence: a listed client neither signed nor has acks")
		case l.signed:
			signers = append(signers, c)
		}
		c.seen = true
	}
	return signers, payers, nil
}

// statementRows is T: the rows without the acks part; they may come down to zero.
func statementRows(h *header, acks map[pair]sum) (map[pair]sum, error) {
	rest := map[pair]sum{}
	for p, r := range h.rows {
		a := acks[p]
		t := sum{r.acks - a.acks, r.units - a.units}
		switch {
		case r.acks < a.acks || r.units < a.units:
			return nil, errors.New("evidence: rows are less than the acks")
		case t.units < t.acks:
			return nil, errors.New("evidence: acks or units of the statements")
		case t.acks < 1<<24 && t.units > t.acks<<40: // 2^64 and more is beyond what fits
			return nil, errors.New("evidence: units above any cap")
		}
		rest[p] = t
	}
	for p := range acks {
		if _, ok := h.rows[p]; !ok {
			return nil, errors.New("evidence: rows are less than the acks")
		}
	}
	return rest, nil
}

// cosigned checks the multi-signature.
func (g *Genesis) cosigned(h *header, signers []*client) error {
	keys := make([]*blst.P2Affine, len(signers))
	for i, c := range signers {
		var err error
		if keys[i], err = decodeKey(c.key); err != nil {
			return fmt.Errorf("clients: key of %d %w", c.index, err)
		}
	}
	msg := slices.Concat([]byte("wb-win/1"), g.network[:], h.place[:], le.AppendUint32(nil, h.statements), h.statementRoot[:])
	if err := verifySame(h.cosigma, keys, msg, dstSign); err != nil {
		return fmt.Errorf("header: multi-signature %w", err)
	}
	return nil
}

// statementAck checks type 4.
func (g *Genesis) statementAck(r *reader) (string, error) {
	h, err := g.certificate(r)
	if err != nil {
		return "", err
	}
	list, err := readList(&reader{b: r.take(int(r.u32())), short: r.short})
	if err != nil {
		return "", err
	}
	entry, index := r.take(64), r.u32()
	path := make([]hash, r.uint(1))
	for i := range path {
		path[i] = r.hash()
	}
	s := statement{payer: r.u32(), acks: r.u32(), units: r.uint(8)}
	at := r.u32()
	statementPath := make([]hash, r.uint(1))
	for i := range statementPath {
		statementPath[i] = r.hash()
	}
	if err := r.end("file"); err != nil {
		return "", err
	}
	s.client, s.service = le.Uint32(entry[12:]), le.Uint32(entry[16:])
	root, ok := tree("ack").rootFrom(entry, index, s.acks, path)
	s.root = root
	s.root[31] &= 0x1f
	switch {
	case string(entry[:12]) != string(h.place[:]):
		return "", errors.New("ack: another epoch, window or node")
	case len(list) != int(h.statements) || listDigest(list) != h.list:
		return "", errors.New("ack: another client list")
	case int(at) >= len(list) || list[at] != listEntry{s.client, true}:
		return "", errors.New("ack: its client did not sign this statement")
	case !ok:
		return "", errors.New("ack: not included")
	case s.check() != nil:
		return "", s.check()
	case !s.leads(int(at), len(list), statementPath, h.statementRoot):
		return "", errors.New("ack: its statement is not included")
	}
	return fmt.Sprintf("ack %d of statement %d of %v", index, at, h), nil
}
