// Package outsider is a verifier of Waybill's export files, written from docs/protocol.md alone and sharing no code
// and no cryptographic library with the rest of the project: what both accept, the document says.
package outsider

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"math/bits"
	"slices"

	"github.com/supranational/blst/bindings/go"
)

var le = binary.LittleEndian

// Verify checks one export file (section 10) and says, in a line, what it proves.
func (g *Genesis) Verify(file []byte) (string, error) {
	r := &reader{b: file}
	if string(r.take(8)) != "wb-exp/1" {
		return "", errors.New("file: tag")
	}
	if !bytes.Equal(r.take(8), g.network[:]) {
		return "", errors.New("file: another network")
	}
	switch r.uint(1) {
	case 1:
		return g.ack(r)
	case 2:
		return g.rollup(r)
	case 3:
		return g.settlement(r)
	case 4:
		return g.statementAck(r)
	}
	return "", errors.New("file: unknown type")
}

var errShort = errors.New("length: too short")

// reader takes fields off the front; after a field that is not there, short is set and all further ones are empty.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if r.short || uint(n) > uint(len(r.b)) {
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

type (
	pair [2]uint32 // payer, service
	sum  struct{ acks, units uint64 }
)

type header struct {
	place    [12]byte // epoch, window, node
	acks     uint32
	root, id hash
	sigma    []byte // not decoded: for a certificate's validity it is just bytes
	rows     map[pair]sum

	statements          uint32
	statementRoot, list hash
	cosigma             []byte
}

func (h *header) String() string {
	return fmt.Sprintf("node %d, epoch %d, window %d: rollup %x of %d acks and %d statements in %d rows",
		le.Uint32(h.place[8:]), le.Uint32(h.place[0:]), le.Uint32(h.place[4:]), h.id, h.acks, h.statements, len(h.rows))
}

// header reads a rollup header (section 6) that decodes and is this network's.
func (g *Genesis) header(r *reader) (*header, error) {
	h := &header{rows: map[pair]sum{}}
	all := r.b
	tag, network := r.take(8), r.take(8)
	copy(h.place[:], r.take(12))
	h.acks, h.root, h.sigma = r.u32(), r.hash(), r.take(48)
	h.statements, h.statementRoot, h.list, h.cosigma = r.u32(), r.hash(), r.hash(), r.take(48)
	rows := r.uint(2)
	switch {
	case r.short:
		return nil, fmt.Errorf("header: %w", errShort)
	case string(tag) != "wb-rol/1":
		return nil, errors.New("header: tag")
	case !bytes.Equal(network, g.network[:]):
		return nil, errors.New("header: another network")
	case h.acks > 65_536 || h.statements > 65_536 || h.acks+h.statements == 0:
		return nil, errors.New("header: ack or statement count")
	case h.acks == 0 && (h.root != hash{} || !bytes.Equal(h.sigma, encodedIdentity)):
		return nil, errors.New("header: no acks, but a root or signature")
	case h.statements == 0 && (h.statementRoot != hash{} || h.list != hash{} || !bytes.Equal(h.cosigma, encodedIdentity)):
		return nil, errors.New("header: no statements, but a root, digest or signature")
	case rows < 1 || rows > 256:
		return nil, errors.New("header: row count")
	}
	var last pair
	acks := uint64(0)
	for i := range rows {
		p, v := pair{r.u32(), r.u32()}, sum{r.uint(8), r.uint(8)}
		switch {
		case i > 0 && slices.Compare(last[:], p[:]) >= 0:
			return nil, errors.New("header: rows not sorted")
		case v.acks < 1 || v.units < v.acks || acks+v.acks < acks:
			return nil, errors.New("header: acks or units of a row")
		}
		last, acks, h.rows[p] = p, acks+v.acks, v
	}
	if acks < uint64(h.acks) || (acks == uint64(h.acks)) != (h.statements == 0) {
		return nil, errors.New("header: rows have another number of acks")
	}
	h.id = keyed("waybill/rollup/1", all[:len(all)-len(r.b)])
	return h, nil
}

// certificate reads a length and a certificate (section 7).
func (g *Genesis) certificate(file *reader) (*header, error) {
	r := &reader{b: file.take(int(file.u32())), short: file.short}
	h, err := g.header(r)
	if err != nil {
		return nil, err
	}
	bitmap := r.take(int(r.uint(1)))
	sig := r.take(48)
	if err := r.end("certificate"); err != nil {
		return nil, err
	}
	msg := slices.Concat([]byte("wb-crt/1"), g.network[:], h.place[:4], h.id[:])
	return h, g.checkQuorum(bitmap, sig, msg)
}

func (g *Genesis) ack(r *reader) (string, error) {
	h, err := g.certificate(r)
	if err != nil {
		return "", err
	}
	entry, index := r.take(64), r.u32()
	path := make([]hash, r.uint(1))
	for i := range path {
		path[i] = r.hash()
	}
	if err := r.end("file"); err != nil {
		return "", err
	}
	if !bytes.Equal(entry[:12], h.place[:]) {
		return "", errors.New("ack: another epoch, window or node")
	}
	if !tree("ack").included(entry, index, h.acks, path, h.root) {
		return "", errors.New("ack: not included")
	}
	return fmt.Sprintf("ack %d of %v", index, h), nil
}

// client is one of the registry extract, with the messages that the evidence has of it.
type client struct {
	index, payer uint32
	key          []byte
	messages     [][]byte
	seen         bool // in the evidence
}

func byIndex(c client, index uint32) int { return cmp.Compare(c.index, index) }

func (g *Genesis) rollup(r *reader) (string, error) {
	h, err := g.certificate(r)
	if err != nil {
		return "", err
	}
	ev := &reader{b: r.take(int(r.u32())), short: r.short}
	if count := ev.u32(); count != h.acks || len(ev.b) < 52*int(count) || h.statements == 0 && len(ev.b) > 52*int(count) {
		return "", errors.New("evidence: ack count")
	}
	var clients []client
	for range min(r.u32(), 2*65_536+1) {
		clients = append(clients, client{index: r.u32(), payer: r.u32(), key: r.take(96)})
		if i := len(clients) - 1; i > 0 && clients[i-1].index >= clients[i].index {
			return "", errors.New("clients: not sorted")
		}
	}
	var key []byte
	if acks := 52 * int(h.acks); len(ev.b) > acks && ev.b[acks] == 3 {
		key = r.take(900)
	}
	if err := r.end("file"); err != nil {
		return "", err
	}
	if err := g.evidence(h, ev, clients, key); err != nil {
		return "", err
	}

	if h.acks > 0 {
		if err := aggregated(h, clients); err != nil {
			return "", err
		}
	}
	return fmt.Sprint("rollup of ", h), nil
}

// aggregated checks the acks' signature.
func aggregated(h *header, clients []client) error {
	sigma, err := decodeSignature(h.sigma)
	if err != nil {
		return fmt.Errorf("header: aggregate signature %w", err)
	}
	var keys []*blst.P2Affine
	var messages [][][]byte
	for _, c := range clients {
		if c.messages == nil {
			continue
		}
		key, err := decodeKey(c.key)
		if err != nil {
			return fmt.Errorf("clients: key of %d %w", c.index, err)
		}
		keys, messages = append(keys, key), append(messages, c.messages)
	}
	if !verifyAggregate(sigma, keys, messages) {
		return errors.New("evidence: aggregate signature does not verify")
	}
	return nil
}

// evidence checks all of section 6's rules but the acks' signature, and gives the clients their messages. The
// verifying key is there on rung 3.
func (g *Genesis) evidence(h *header, ev *reader, clients []client, key []byte) error {
	rows, err := g.acksPart(h, ev, clients)
	if err != nil {
		return err
	}
	if h.statements == 0 {
		if !maps.Equal(rows, h.rows) {
			return errors.New("evidence: rows are not the sums")
		}
	} else if err := g.statementsPart(h, ev, clients, rows, key); err != nil {
		return err
	}
	for _, c := range clients {
		if !c.seen {
			return errors.New("clients: not those of the evidence")
		}
	}
	return nil
}

// acksPart checks the acks and returns their sums.
func (g *Genesis) acksPart(h *header, ev *reader, clients []client) (map[pair]sum, error) {
	rows := map[pair]sum{}
	entries := make([][]byte, h.acks)
	var previous [3]uint32 // client, service, seq
	var used map[uint32]bool
	var c *client
	for i := range entries {
		e := ev.take(52)
		place := [3]uint32{le.Uint32(e), le.Uint32(e[4:]), le.Uint32(e[8:])}
		if i > 0 && slices.Compare(previous[:], place[:]) >= 0 {
			return nil, errors.New("evidence: not sorted")
		}
		if i == 0 || previous[0] != place[0] {
			j, ok := slices.BinarySearchFunc(clients, place[0], byIndex)
			if !ok {
				return nil, errors.New("clients: not those of the evidence")
			}
			c, used = &clients[j], map[uint32]bool{}
			c.seen = true
		}
		previous = place
		units := le.Uint64(e[12:])
		switch {
		case used[place[2]]:
			return nil, errors.New("evidence: seq used twice")
		case units < 1 || units > 1<<40:
			return nil, errors.New("evidence: units")
		}
		used[place[2]] = true
		p := pair{c.payer, place[1]}
		rows[p] = sum{rows[p].acks + 1, rows[p].units + units} // at most 2^16 · 2^40
		entries[i] = append(slices.Clone(h.place[:]), e...)
		c.messages = append(c.messages, slices.Concat([]byte("wb-ack/1"), g.network[:], entries[i]))
	}
	if h.acks > 0 && tree("ack").root(entries) != h.root {
		return nil, errors.New("evidence: another root")
	}
	return rows, nil
}

// payment is one row of a settlement: node, service, payer; then acks, units, charge, paid, to node, to service.
type payment struct {
	who                                          [3]uint32
	acks, units, charge, paid, toNode, toService uint64
}

func (g *Genesis) settlement(r *reader) (string, error) {
	epoch, count := r.take(4), int(r.u32())
	if r.short || count > len(r.b)/60 {
		return "", errShort
	}
	raw, rows := make([][]byte, count), make([]payment, count)
	var acks, paid, overAcks, overPaid uint64
	for i := range rows {
		raw[i] = r.b[:60]
		p := payment{[3]uint32{r.u32(), r.u32(), r.u32()}, r.uint(8), r.uint(8), r.uint(8), r.uint(8), r.uint(8), r.uint(8)}
		rows[i] = p
		acks, overAcks = bits.Add64(acks, p.acks, 0)
		paid, overPaid = bits.Add64(paid, p.paid, 0)
		switch {
		case overAcks+overPaid > 0:
			return "", errors.New("settlement: a sum overflows")
		case i > 0 && slices.Compare(rows[i-1].who[:], p.who[:]) >= 0:
			return "", errors.New("settlement: rows not sorted")
		case p.acks < 1 || p.units < p.acks:
			return "", errors.New("settlement: acks or units")
		case p.paid > p.charge:
			return "", errors.New("settlement: paid more than the charge")
		case p.toNode != share(p.paid, g.shares.Node) || p.toService != share(p.paid, g.shares.Service):
			return "", errors.New("settlement: shares")
		}
	}
	next := r.hash()
	bitmap := r.take(int(r.uint(1)))
	sig := r.take(48)
	if err := r.end("file"); err != nil {
		return "", err
	}
	if next != g.committeeRoot() {
		return "", errors.New("settlement: another next committee")
	}
	byPayer := map[uint32][]payment{}
	for _, p := range rows {
		byPayer[p.who[2]] = append(byPayer[p.who[2]], p)
	}
	for _, owed := range byPayer {
		if !apportioned(owed) {
			return "", errors.New("settlement: a short payer's balance is not divided by largest remainders")
		}
	}
	root := tree("settlement").root(raw)
	msg := slices.Concat([]byte("wb-set/1"), g.network[:], epoch, root[:], next[:])
	if err := g.checkQuorum(bitmap, sig, msg); err != nil {
		return "", err
	}
	return fmt.Sprintf("settlement %x of epoch %d: %d acks, %d paid, in %d rows", root, le.Uint32(epoch), acks, paid, count), nil
}

// share is ⌊paid · basisPoints / 10000⌋.
func share(paid uint64, basisPoints uint16) uint64 {
	hi, lo := bits.Mul64(paid, uint64(basisPoints))
	q, _ := bits.Div64(hi, lo, 10_000)
	return q
}

// apportioned checks step 2 of section 9 for one payer, as far as the table shows it: what they paid in all is the sum
// of the charges, or it was the whole balance and is divided by largest remainders.
func apportioned(rows []payment) bool {
	number := func(v uint64) *big.Int { return new(big.Int).SetUint64(v) }
	sum, balance := new(big.Int), new(big.Int)
	for _, p := range rows {
		sum.Add(sum, number(p.charge))
		balance.Add(balance, number(p.paid))
	}
	if sum.Cmp(balance) == 0 { // none paid more than its charge, so each is paid in full
		return true
	}
	type part struct{ paid, due, remainder *big.Int }
	parts := make([]part, len(rows))
	left := new(big.Int).Set(balance)
	for i, p := range rows {
		due, remainder := new(big.Int).QuoRem(new(big.Int).Mul(number(p.charge), balance), sum, new(big.Int))
		parts[i] = part{number(p.paid), due, remainder}
		left.Sub(left, due)
	}
	slices.SortStableFunc(parts, func(x, y part) int { return y.remainder.Cmp(x.remainder) })
	for i, p := range parts {
		if int64(i) < left.Int64() {
			p.due.Add(p.due, big.NewInt(1))
		}
		if p.paid.Cmp(p.due) != 0 {
			return false
		}
	}
	return true
}
