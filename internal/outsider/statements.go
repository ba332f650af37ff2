package outsider

import (
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/supranational/blst/bindings/go"
)

// listEntry is an entry of the list (section 14).
type listEntry struct {
	client               uint64
	service, first, acks uint32
	signed               bool
}

// leaf is the entry of the tree over the list.
func (l *listEntry) leaf() []byte {
	signed := byte(0)
	if l.signed {
		signed = 1
	}
	return append(append(le.AppendUint64(nil, l.client), u32s(l.service, l.first, l.acks)...),
		signed)
}

// public is p, the public part, with the client's payer.
func (l *listEntry) public(payer uint32) *big.Int {
	p := new(big.Int)
	for _, field := range []struct {
		value uint64
		at    uint
	}{{uint64(payer), 0}, {uint64(l.service), 32}, {l.client, 64}, {uint64(l.first), 108},
		{uint64(l.acks), 141}} {
		p.Add(p, new(big.Int).Lsh(new(big.Int).SetUint64(field.value), field.at))
	}
	return p
}

// statement is what the list does not show of one, and its payer.
type statement struct {
	payer uint32
	units uint64
	root  element
}

// elements are e0 and e1 of the statement behind an entry.
func (s *statement) elements(l *listEntry) [2]element {
	units := new(big.Int).Lsh(new(big.Int).SetUint64(s.units), 165)
	return [2]element{fromInteger(units.Add(units, l.public(s.payer))), s.root}
}

// inBounds is section 14's rule; limit is the service's cap.
func inBounds(acks uint32, units, limit uint64) error {
	switch {
	case acks < 1 || acks >= 1<<22:
		return errors.New("statement: acks out of bounds")
	case units < uint64(acks) || units > uint64(acks)*limit || units > 1<<44:
		return errors.New("statement: units out of bounds")
	}
	return nil
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

func statementRoot(list []listEntry, statements []statement) element {
	var level []element
	for i := range statements {
		e := statements[i].elements(&list[i])
		level = append(level, e[0], e[1])
	}
	for range treeDepth(len(statements)) {
		level = theHash().parents(level)
	}
	return level[0]
}

// leads checks a path of one statement, with the elements e.
func leads(e [2]element, index, n int, path []element, root element) bool {
	if index >= n {
		return false
	}
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

// leb128 reads a number below 2^bits in its shortest form.
func (r *reader) leb128(bits int) (v uint64, err error) {
	for shift := 0; ; shift += 7 {
		b := r.uint(1)
		switch {
		case r.short:
			return 0, fmt.Errorf("list: %w", errShort)
		case shift > 0 && b == 0:
			return 0, errors.New("list: not the shortest form")
		case shift > 35 || shift+7 > bits && b&127>>max(bits-shift, 0) != 0:
			return 0, errors.New("list: number out of range")
		}
		if v |= b & 127 << shift; b < 128 {
			return v, nil
		}
	}
}

// readList reads a list and nothing after it.
func readList(r *reader) ([]listEntry, error) {
	n := r.u32()
	if n < 1 || n > 65_536 {
		return nil, errors.New("list: count")
	}
	var list []listEntry
	var client uint64
	for range n {
		var fields [4]uint64
		for i, bits := range []int{41, 32, 32, 22} {
			var err error
			if fields[i], err = r.leb128(bits); err != nil {
				return nil, err
			}
		}
		if client += fields[0] >> 1; client >= 1<<40 {
			return nil, errors.New("list: client")
		}
		list = append(list, listEntry{client, uint32(fields[1]), uint32(fields[2]),
			uint32(fields[3]), fields[0]&1 == 1})
	}
	if err := r.end("list"); err != nil {
		return nil, err
	}
	return list, checkList(list)
}

func checkList(list []listEntry) error {
	anyone := false
	for i, l := range list {
		switch {
		case l.acks == 0:
			return errors.New("list: no acks")
		case i == 0:
		case !after(list[i-1].client, list[i-1].service, l.client, l.service):
			return errors.New("list: not sorted")
		case list[i-1].client == l.client && list[i-1].signed != l.signed:
			return errors.New("list: a client signed and did not sign")
		}
		anyone = anyone || l.signed
	}
	if !anyone {
		return errors.New("list: nobody signed")
	}
	return nil
}

func listRoot(list []listEntry) hash {
	entries := make([][]byte, len(list))
	for i := range list {
		entries[i] = list[i].leaf()
	}
	return tree("list").root(entries)
}

// readStatements reads what the evidence has of the statements part.
func (a *acts) readStatements(ev *reader, h *header) (err error) {
	if a.rung = ev.uint(1); a.rung != 2 && a.rung != 3 {
		return errors.New("evidence: rung")
	}
	if a.list, err = readList(ev.part()); err != nil {
		return err
	}
	switch {
	case len(a.list) != int(h.statements):
		return errors.New("evidence: statement count")
	case listRoot(a.list) != h.list:
		return errors.New("evidence: another list root")
	case a.rung == 3:
		a.size, a.segments, err = readSegments(ev, len(a.list))
		return err
	}
	for range a.list {
		s := statement{units: ev.u64(), root: ev.hash()}
		if ev.short {
			return fmt.Errorf("evidence: %w", errShort)
		}
		if !theHash().canonical(s.root) {
			return errors.New("evidence: a statement's root is not canonical")
		}
		a.statements = append(a.statements, s)
	}
	return nil
}

// listed checks what the list shows, adds its pairs, and returns the signed acks of each, and who
// signed. Clients have messages when they are in the acks part.
func (g *Genesis) listed(h *header, list []listEntry, x *extract,
	pairs map[pair]bool) (map[pair]uint64, []*client, error) {
	signed := map[pair]uint64{}
	var signers []*client
	for i := range list {
		l := &list[i]
		c, err := x.client(l.client)
		if err != nil {
			return nil, nil, err
		}
		p := pair{c.payer, l.service}
		if _, ok := h.rows[p]; !ok {
			return nil, nil, errors.New("rows: none for an entry")
		}
		if uint64(l.acks)*x.caps[l.service] > 1<<44 {
			return nil, nil, errors.New("list: acks out of bounds")
		}
		pairs[p] = true
		if !l.signed {
			continue
		}
		if err := c.may(h.epoch, l.service, l.first, l.acks); err != nil {
			return nil, nil, err
		}
		if c.messages != nil {
			return nil, nil, errors.New("list: a client that signed has acks in the acks part")
		}
		if signed[p] += uint64(l.acks); i == 0 || list[i-1].client != l.client {
			signers = append(signers, c)
		}
	}
	return signed, signers, nil
}

// checkStatements is rung 2.
func (a *acts) checkStatements(h *header, x *extract, totals map[pair]sum) error {
	units := map[pair]uint64{}
	for i := range a.statements {
		s, l := &a.statements[i], &a.list[i]
		c, err := x.client(l.client)
		if err != nil {
			return err
		}
		s.payer = c.payer
		if err := inBounds(l.acks, s.units, x.caps[l.service]); err != nil {
			return err
		}
		if l.signed {
			units[pair{s.payer, l.service}] += s.units // at most 2^16 · 2^44
		}
	}
	for p, t := range totals {
		if t.units != units[p] {
			return errors.New("rows: units are not the sums")
		}
	}
	if statementRoot(a.list, a.statements) != h.statementRoot {
		return errors.New("evidence: another statement root")
	}
	return nil
}

// cosigned checks the multi-signature.
func (g *Genesis) cosigned(h *header, signers []*client) error {
	keys := make([]*blst.P2Affine, len(signers))
	for i, c := range signers {
		keys[i] = c.key
	}
	msg := slices.Concat([]byte("wb-win/2"), g.network[:],
		u32s(h.epoch, h.window, h.node, h.statements), h.statementRoot[:])
	if err := verifySame(h.cosigma, keys, msg, dstSign); err != nil {
		return fmt.Errorf("header: multi-signature %w", err)
	}
	return nil
}

// statementAck checks type 4.
func (g *Genesis) statementAck(r *reader) (string, error) {
	h, err := g.anchor(r)
	if err != nil {
		return "", err
	}
	a, path := r.ack(), r.path()
	s := statement{payer: r.u32()}
	l := listEntry{client: a.client, service: a.service, first: r.u32(), acks: r.u32(),
		signed: true}
	s.units = r.u64()
	index, listPath, statementPath := r.u32(), r.path(), r.path()
	if err := r.end("file"); err != nil {
		return "", err
	}
	if a.epoch != h.epoch || a.node != h.node {
		return "", errors.New("ack: another epoch or node")
	}
	if a.number < l.first || uint64(a.number) >= uint64(l.first)+uint64(l.acks) {
		return "", errors.New("ack: its number is not one of the statement's")
	}
	if !tree("list").included(l.leaf(), index, h.statements, listPath, h.list) {
		return "", errors.New("ack: its list entry is not included")
	}
	root, ok := tree("ack").rootFrom(a.raw, a.number-l.first, l.acks, path)
	if !ok {
		return "", errors.New("ack: not included")
	}
	s.root = root
	s.root[31] &= 0x1f
	if err := inBounds(l.acks, s.units, 1<<40); err != nil {
		return "", err
	}
	if l.client >= 1<<40 || !leads(s.elements(&l), int(index), int(h.statements), statementPath,
		h.statementRoot) {
		return "", errors.New("ack: its statement is not included")
	}
	return fmt.Sprintf("ack %d of client %d under a statement of %v", a.number, a.client, h.header),
		h.ordered(g)
}
