package outsider

import (
	"errors"
	"math/big"
	"slices"

	"lukechampine.com/blake3"
)

// segment is what one proof of section 15 is about.
type segment struct {
	first, count int // of its statements
	nodes        []element
	rows         map[pair]sum // its table; absent rows are zero
	proof        []byte

	table, signed, challenge, fingerprint, public element
}

// readSegments reads what is left of the evidence on rung 3, for a list of n entries.
func readSegments(ev *reader, n int) (size int, segments []segment, err error) {
	size = int(ev.u32())
	if !slices.Contains([]int{256, 1024, 4096, 16384}, size) {
		return 0, nil, errors.New("evidence: circuit size")
	}
	_, nodes := cutting(size)
	for first := 0; first < n; first += size {
		s := segment{first: first, count: min(size, n-first), rows: map[pair]sum{}}
		for range nodes {
			s.nodes = append(s.nodes, ev.hash())
		}
		if first+size < n {
			if err := s.readRows(ev); err != nil {
				return 0, nil, err
			}
		}
		s.proof = ev.take(384)
		segments = append(segments, s)
	}
	if ev.short {
		return 0, nil, errShort
	}
	return size, segments, nil
}

// cutting is the level that segments are cut on, and how many nodes each has.
func cutting(size int) (level, nodes int) {
	if size <= 1024 {
		return 2, size / 128
	}
	return 3, size / 2048
}

// readRows reads partial rows.
func (s *segment) readRows(ev *reader) error {
	var last pair
	for i := range ev.uint(2) {
		p, v := pair{ev.u32(), ev.u32()}, sum{ev.uint(8), ev.uint(8)}
		if ev.short || i > 0 && slices.Compare(last[:], p[:]) >= 0 || v.acks < 1 ||
			v.units < v.acks {
			return errors.New("evidence: partial rows")
		}
		last, s.rows[p] = p, v
	}
	return nil
}

// lead checks that the segments' nodes lead to the root.
func lead(segments []segment, size, n int, root element) error {
	var level []element
	for _, s := range segments {
		level = append(level, s.nodes...)
	}
	at, _ := cutting(size)
	under := 8 << (4 * (at - 1)) // statements below a node
	exist := (n + under - 1) / under
	for i, node := range level {
		if !theHash().canonical(node) || i >= exist && node != (element{}) {
			return errors.New("evidence: nodes")
		}
	}
	level = level[:exist]
	for range treeDepth(n) - at {
		level = theHash().parents(level)
	}
	if level[0] != root {
		return errors.New("evidence: another statement root")
	}
	return nil
}

// divide gives the last segment what the others leave of the totals.
func divide(segments []segment, totals map[pair]sum) error {
	last := &segments[len(segments)-1]
	for p, t := range totals {
		for _, s := range segments[:len(segments)-1] {
			part := s.rows[p]
			if part.acks > t.acks || part.units > t.units {
				return errors.New("evidence: partial rows above the totals")
			}
			t = sum{t.acks - part.acks, t.units - part.units}
		}
		last.rows[p] = t
	}
	for _, s := range segments {
		for p := range s.rows {
			if _, ok := totals[p]; !ok {
				return errors.New("evidence: a partial row without a total")
			}
		}
	}
	return nil
}

// fold compresses until one element is left.
func fold(x []element) element {
	for {
		if x = theHash().parents(x); len(x) == 1 {
			return x[0]
		}
	}
}

// keysOf are a header's rows in order.
func keysOf(h *header) (keys []pair) {
	for p := range h.rows {
		keys = append(keys, p)
	}
	slices.SortFunc(keys, func(x, y pair) int { return slices.Compare(x[:], y[:]) })
	return keys
}

// checkProofs is rung 3.
func (g *Genesis) checkProofs(h *header, a *acts, x *extract, totals map[pair]sum) error {
	payers := make([]uint32, len(a.list))
	for i, l := range a.list {
		c, err := x.client(l.client)
		if err != nil {
			return err
		}
		payers[i] = c.payer
	}
	if err := lead(a.segments, a.size, len(a.list), h.statementRoot); err != nil {
		return err
	}
	if err := divide(a.segments, totals); err != nil {
		return err
	}
	for i := range a.segments {
		s := &a.segments[i]
		if err := s.plausible(a.list[s.first:s.first+s.count], payers[s.first:], x.caps,
			totals); err != nil {
			return err
		}
	}
	g.publicInputs(h, a, payers, x.caps)
	digest, err := keyDigest(x.keys, a.size, h.epoch)
	if err != nil {
		return err
	}
	if digest != blake3.Sum256(x.key) {
		return errors.New("verifying key: not the registry's")
	}
	key, err := parseVerifyingKey(x.key, a.size)
	if err != nil {
		return err
	}
	for _, s := range a.segments {
		if err := key.verify(s.public, s.proof); err != nil {
			return err
		}
	}
	return nil
}

// plausible is section 6's rule 4 for the segment's table.
func (s *segment) plausible(list []listEntry, payers []uint32, caps map[uint32]uint64,
	totals map[pair]sum) error {
	acks := map[pair]uint64{}
	for i, l := range list {
		if l.signed {
			acks[pair{payers[i], l.service}] += uint64(l.acks)
		}
	}
	for p := range totals {
		row := s.rows[p]
		if row.acks != acks[p] {
			return errors.New("evidence: acks of a segment's row are not the sums")
		}
		if row.units < row.acks || row.units > row.acks*caps[p[1]] {
			return errors.New("evidence: units of a segment's row")
		}
	}
	return nil
}

// publicInputs completes the segments; payers are those of the list's entries.
func (g *Genesis) publicInputs(h *header, a *acts, payers []uint32, caps map[uint32]uint64) {
	keys := keysOf(h)
	x := slices.Concat(g.network[:], u32s(h.epoch, h.window, h.node, h.statements),
		h.statementRoot[:], h.list[:],
		u32s(uint32(a.size)))
	for _, s := range a.segments {
		for _, node := range s.nodes {
			x = append(x, node[:]...)
		}
	}
	for _, s := range a.segments {
		x = le.AppendUint16(x, uint16(len(keys)))
		for _, p := range keys {
			row := s.row(p, caps)
			x = append(x, row[:]...)
		}
	}
	x = append(x, u32s(payers...)...)
	challenge := keyed("waybill/proof-challenge/2", x)
	challenge[31] &= 0x1f
	for i := range a.segments {
		s := &a.segments[i]
		s.challenge = challenge
		s.finish(a.size, keys, a.list[s.first:s.first+s.count], payers[s.first:], caps)
	}
}

// row is a row of the table with its cap, as it is hashed; the element has the same bytes.
func (s *segment) row(p pair, caps map[uint32]uint64) (e element) {
	le.PutUint32(e[0:], p[0])
	le.PutUint32(e[4:], p[1])
	le.PutUint64(e[8:], s.rows[p].acks)
	le.PutUint64(e[16:], s.rows[p].units)
	le.PutUint64(e[24:], caps[p[1]])
	return e
}

func (s *segment) finish(size int, keys []pair, list []listEntry, payers []uint32,
	caps map[uint32]uint64) {
	table := make([]element, 256)
	for i, p := range keys {
		table[i] = s.row(p, caps)
	}
	s.table = fold(table)
	flags := make([]element, size/128)
	f, power, gamma := new(big.Int), big.NewInt(1), integer(s.challenge)
	for i, l := range list {
		if l.signed {
			flags[i/128][i%128/8] |= 1 << (i % 8)
		}
		f.Add(f, new(big.Int).Mul(l.public(payers[i]), power))
		power.Mod(power.Mul(power, gamma), theHash().r)
	}
	s.signed = fold(flags)
	s.fingerprint = fromInteger(f.Mod(f, theHash().r))
	in := make([]element, 16)
	copy(in, s.nodes)
	le.PutUint32(in[8][:], uint32(s.count))
	in[9], in[10], in[11], in[12] = s.table, s.signed, s.challenge, s.fingerprint
	s.public = theHash().compress(in)
}
