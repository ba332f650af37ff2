// Package outsider is a verifier of Waybill's export files, written from docs/protocol.md alone and sharing no code
// and no cryptographic library with the rest of the project: what both accept, the document says.
package outsider

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"slices"

	"github.com/supranational/blst/bindings/go"
)

var le = binary.LittleEndian

const (
	maxAcks = 65_536
	maxRows = 256
	maxCap  = 1 << 40
)

// Summary says what a valid file proves.
type Summary struct {
	Type                string
	Epoch, Window, Node uint32 // a settlement has an epoch only
	Acks, Units         uint64
	Rows                int
	Root                [32]byte // of the acks, or of the settlement
}

func (s Summary) String() string {
	where := fmt.Sprintf("epoch %d", s.Epoch)
	if s.Type != "settlement" {
		where = fmt.Sprintf("node %d epoch %d window %d", s.Node, s.Epoch, s.Window)
	}
	return fmt.Sprintf("%s, %s: %d acks, %d units, %d rows, root %x", s.Type, where, s.Acks, s.Units, s.Rows, s.Root)
}

// Verify checks one export file (section 10) against a genesis file.
func Verify(genesisJSON, file []byte) (Summary, error) {
	g, err := ParseGenesis(genesisJSON)
	if err != nil {
		return Summary{}, err
	}
	return g.Verify(file)
}

// Verify checks one export file (section 10).
func (g *Genesis) Verify(file []byte) (s Summary, err error) {
	r := &reader{b: file}
	if string(r.take(8)) != "wb-exp/1" {
		return s, errors.New("file: tag")
	}
	if !bytes.Equal(r.take(8), g.network[:]) {
		return s, errors.New("file: another network")
	}
	switch kind := r.take(1); {
	case r.short:
		err = errShort
	case kind[0] == 1:
		s, err = g.ack(r)
	case kind[0] == 2:
		s, err = g.rollup(r)
	case kind[0] == 3:
		s, err = g.settlement(r)
	default:
		err = errors.New("file: unknown type")
	}
	if err != nil {
		return Summary{}, err
	}
	return s, nil
}

var errShort = errors.New("length: too short")

// reader takes fields off the front; after a field that is not there, short is set and all further ones are empty.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if r.short || n > len(r.b) {
		r.short = true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) uint(width int) (v uint64) {
	for i, b := range r.take(width) {
		v |= uint64(b) << (8 * i)
	}
	return v
}

func (r *reader) u32() uint32    { return uint32(r.uint(4)) }
func (r *reader) hash() (h hash) { copy(h[:], r.take(32)); return h }
func (r *reader) end(what string) error {
	switch {
	case r.short:
		return fmt.Errorf("%s: %w", what, errShort)
	case len(r.b) != 0:
		return fmt.Errorf("%s: length: bytes left over", what)
	}
	return nil
}

type pair struct{ payer, service uint32 }

func (a pair) compare(b pair) int {
	return cmp.Or(cmp.Compare(a.payer, b.payer), cmp.Compare(a.service, b.service))
}

type sum struct{ acks, units uint64 }

type header struct {
	place [12]byte // epoch, window, node
	acks  uint32
	root  hash
	sigma *blst.P1Affine
	rows  map[pair]sum
}

func (h *header) summary(kind string) Summary {
	return Summary{Type: kind, Epoch: le.Uint32(h.place[0:]), Window: le.Uint32(h.place[4:]), Node: le.Uint32(h.place[8:]),
		Rows: len(h.rows), Root: h.root}
}

// header reads a rollup header (section 6), with what can be checked of it alone.
func (g *Genesis) header(r *reader) (*header, error) {
	h := &header{rows: map[pair]sum{}}
	tag, network := r.take(8), r.take(8)
	copy(h.place[:], r.take(12))
	h.acks, h.root = r.u32(), r.hash()
	sigma, statements, rows := r.take(48), r.take(4+32+32+48), r.uint(2)
	switch {
	case r.short:
		return nil, fmt.Errorf("header: %w", errShort)
	case string(tag) != "wb-rol/1":
		return nil, errors.New("header: tag")
	case !bytes.Equal(network, g.network[:]):
		return nil, errors.New("header: another network")
	case h.acks < 1 || h.acks > maxAcks:
		return nil, errors.New("header: ack count")
	case !bytes.Equal(statements[:68], make([]byte, 68)) || !bytes.Equal(statements[68:], encodedIdentity):
		return nil, errors.New("header: statements part present")
	case rows < 1 || rows > maxRows:
		return nil, errors.New("header: row count")
	}
	var err error
	if h.sigma, err = decodeSignature(sigma); err != nil {
		return nil, fmt.Errorf("header: aggregate signature %w", err)
	}
	var last pair
	for i := range rows {
		p := pair{r.u32(), r.u32()}
		h.rows[p] = sum{r.uint(8), r.uint(8)}
		if i > 0 && last.compare(p) >= 0 {
			return nil, errors.New("header: rows not sorted")
		}
		last = p
	}
	return h, nil
}

// certificate reads a length and a certificate (section 7).
func (g *Genesis) certificate(file *reader) (*header, error) {
	r := &reader{b: file.take(int(file.u32())), short: file.short}
	all := r.b
	h, err := g.header(r)
	if err != nil {
		return nil, err
	}
	id := keyed("waybill/rollup/1", all[:len(all)-len(r.b)])
	bitmap := r.take(int(r.uint(1)))
	sig := r.take(48)
	if err := r.end("certificate"); err != nil {
		return nil, err
	}
	msg := slices.Concat([]byte("wb-crt/1"), g.network[:], h.place[:4], id[:])
	return h, g.checkQuorum(bitmap, sig, msg)
}

func (g *Genesis) ack(r *reader) (s Summary, err error) {
	h, err := g.certificate(r)
	if err != nil {
		return s, err
	}
	entry, index := r.take(64), r.u32()
	path := make([]hash, r.uint(1))
	for i := range path {
		path[i] = r.hash()
	}
	if err := r.end("file"); err != nil {
		return s, err
	}
	if !bytes.Equal(entry[:12], h.place[:]) {
		return s, errors.New("ack: another epoch, window or node")
	}
	units := le.Uint64(entry[24:])
	if units < 1 || units > maxCap {
		return s, errors.New("ack: units")
	}
	if !tree("ack").included(entry, index, h.acks, path, h.root) {
		return s, errors.New("ack: not included")
	}
	s = h.summary("ack")
	s.Acks, s.Units = 1, units
	return s, nil
}

func (g *Genesis) rollup(r *reader) (s Summary, err error) {
	h, err := g.certificate(r)
	if err != nil {
		return s, err
	}
	ev := &reader{b: r.take(int(r.u32())), short: r.short}
	count := ev.u32()
	if int(count) != len(ev.b)/52 || len(ev.b)%52 != 0 || count != h.acks {
		return s, errors.New("evidence: ack count")
	}
	// The clients come last in the file and are needed first.
	type client struct {
		payer    uint32
		key      []byte
		messages [][]byte
	}
	clients := map[uint32]*client{}
	keys := map[string]bool{}
	last := int64(-1)
	for range min(int(r.u32()), maxAcks+1) {
		index, payer, raw := r.u32(), r.u32(), r.take(96)
		if r.short {
			break
		}
		if int64(index) <= last {
			return s, errors.New("clients: not sorted")
		}
		last = int64(index)
		if keys[string(raw)] {
			return s, errors.New("clients: key used twice")
		}
		keys[string(raw)] = true
		clients[index] = &client{payer: payer, key: raw}
	}
	if err := r.end("file"); err != nil {
		return s, err
	}

	s = h.summary("rollup")
	type use struct{ client, seq uint32 }
	used := map[use]bool{}
	rows := map[pair]sum{}
	entries := make([][]byte, count)
	var previous [3]uint32
	for i := range entries {
		e := ev.take(52)
		place := [3]uint32{le.Uint32(e), le.Uint32(e[4:]), le.Uint32(e[8:])} // client, service, seq
		if i > 0 && slices.Compare(previous[:], place[:]) >= 0 {
			return s, errors.New("evidence: not sorted")
		}
		previous = place
		if u := (use{place[0], place[2]}); used[u] {
			return s, errors.New("evidence: seq used twice")
		} else {
			used[u] = true
		}
		c := clients[place[0]]
		if c == nil {
			return s, errors.New("evidence: client not in the file")
		}
		units := le.Uint64(e[12:])
		if units < 1 || units > maxCap {
			return s, errors.New("evidence: units")
		}
		p := pair{c.payer, place[1]}
		rows[p] = sum{rows[p].acks + 1, rows[p].units + units} // at most 2^16 · 2^40
		s.Acks, s.Units = s.Acks+1, s.Units+units
		entries[i] = append(slices.Clone(h.place[:]), e...)
		c.messages = append(c.messages, slices.Concat([]byte("wb-ack/1"), g.network[:], entries[i]))
	}
	if tree("ack").root(entries) != h.root {
		return s, errors.New("evidence: another root")
	}
	if len(rows) != len(h.rows) {
		return s, errors.New("evidence: rows are not the sums")
	}
	for p, v := range rows {
		if got, ok := h.rows[p]; !ok || got != v {
			return s, errors.New("evidence: rows are not the sums")
		}
	}
	var pks []*blst.P2Affine
	var messages [][][]byte
	for index, c := range clients {
		if len(c.messages) == 0 {
			return s, errors.New("clients: one without acks")
		}
		key, err := decodeKey(c.key)
		if err != nil {
			return s, fmt.Errorf("clients: key of %d %w", index, err)
		}
		pks, messages = append(pks, key), append(messages, c.messages)
	}
	if !verifyAggregate(h.sigma, pks, messages) {
		return s, errors.New("evidence: aggregate signature does not verify")
	}
	return s, nil
}

// payment is one row of a settlement: node, service, payer; then acks, units, charge, paid, to node, to service.
type payment struct {
	who [3]uint32
	v   [6]uint64
}

const (
	acks = iota
	units
	charge
	paid
	toNode
	toService
)

func (g *Genesis) settlement(r *reader) (s Summary, err error) {
	epoch, count := r.take(4), int(r.u32())
	if r.short || count > len(r.b)/60 {
		return s, errShort
	}
	raw := make([][]byte, count)
	rows := make([]payment, count)
	var totals [6]uint64
	for i := range rows {
		raw[i] = r.b[:60]
		p := &rows[i]
		p.who = [3]uint32{r.u32(), r.u32(), r.u32()}
		for j := range p.v {
			p.v[j] = r.uint(8)
			var carry uint64
			if totals[j], carry = bits.Add64(totals[j], p.v[j], 0); carry != 0 {
				return s, errors.New("settlement: a sum overflows")
			}
		}
		switch {
		case i > 0 && slices.Compare(rows[i-1].who[:], p.who[:]) >= 0:
			return s, errors.New("settlement: rows not sorted")
		case p.v[acks] < 1 || p.v[units] < p.v[acks]:
			return s, errors.New("settlement: acks or units")
		case p.v[paid] > p.v[charge]:
			return s, errors.New("settlement: paid more than the charge")
		case p.v[toNode] != share(p.v[paid], g.shareNode) || p.v[toService] != share(p.v[paid], g.shareService):
			return s, errors.New("settlement: shares")
		}
	}
	next := r.hash()
	bitmap := r.take(int(r.uint(1)))
	sig := r.take(48)
	if err := r.end("file"); err != nil {
		return s, err
	}
	if next != g.committeeRoot() {
		return s, errors.New("settlement: another next committee")
	}
	if err := checkApportionment(rows); err != nil {
		return s, err
	}
	root := tree("settlement").root(raw)
	msg := slices.Concat([]byte("wb-set/1"), g.network[:], epoch, root[:], next[:])
	s = Summary{Type: "settlement", Epoch: le.Uint32(epoch), Acks: totals[acks], Units: totals[units], Rows: count, Root: root}
	return s, g.checkQuorum(bitmap, sig, msg)
}

// share is ⌊paid · basisPoints / 10000⌋.
func share(paid, basisPoints uint64) uint64 {
	hi, lo := bits.Mul64(paid, basisPoints)
	q, _ := bits.Div64(hi, lo, 10_000)
	return q
}

// checkApportionment checks step 2 of section 9, as far as the table shows it: what a payer paid in all is the charges'
// sum, or it was the whole balance and is divided by largest remainders.
func checkApportionment(rows []payment) error {
	type bill struct {
		rows          []payment
		charged, paid big.Int
	}
	bills := map[uint32]*bill{}
	for _, p := range rows {
		b := bills[p.who[2]]
		if b == nil {
			b = &bill{}
			bills[p.who[2]] = b
		}
		b.rows = append(b.rows, p)
		b.charged.Add(&b.charged, new(big.Int).SetUint64(p.v[charge]))
		b.paid.Add(&b.paid, new(big.Int).SetUint64(p.v[paid]))
	}
	for _, b := range bills {
		if b.charged.Cmp(&b.paid) == 0 {
			continue
		}
		type part struct {
			paid, got uint64
			rest      *big.Int
		}
		parts := make([]part, len(b.rows))
		left := new(big.Int).Set(&b.paid)
		for i, p := range b.rows {
			q := new(big.Int).SetUint64(p.v[charge])
			q, rest := q.Mul(q, &b.paid).QuoRem(q, &b.charged, new(big.Int))
			parts[i] = part{q.Uint64(), p.v[paid], rest}
			left.Sub(left, q)
		}
		slices.SortStableFunc(parts, func(x, y part) int { return y.rest.Cmp(x.rest) })
		for i, p := range parts {
			if int64(i) < left.Int64() {
				p.paid++
			}
			if p.paid != p.got {
				return errors.New("settlement: a short payer's balance is not divided by largest remainders")
			}
		}
	}
	return nil
}
