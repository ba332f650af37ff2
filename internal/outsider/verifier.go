// Package outsider is a verifier of Waybill's export files, written from docs/protocol.md alone and
// sharing no code and no cryptographic library with the rest of the project: what both accept, the
// document says.
package outsider

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

var le = binary.LittleEndian

// Verify checks one export file (section 10) and says, in a line, what it proves.
func (g *Genesis) Verify(file []byte) (string, error) {
	if bytes.HasPrefix(file, []byte("line,")) || bytes.HasPrefix(file, []byte("{")) {
		return g.invoice(file)
	}
	r := &reader{b: file}
	if string(r.take(8)) != "wb-exp/2" {
		return "", errors.New("file: tag")
	}
	if of := r.take(32); !bytes.Equal(of, g.network[:]) { // before its bytes are suspected
		return "", fmt.Errorf("file: another network: it is of %x, the genesis file of %x", of,
			g.network)
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
	case 5:
		return g.handOvers(r)
	case 6:
		return g.draws(r)
	case 7:
		return g.lie(r)
	}
	return "", errors.New("file: unknown type")
}

var errShort = errors.New("length: too short")

// reader takes fields off the front; after a field that is not there, short is set and all further
// ones are empty.
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

// part is what a length before it says.
func (r *reader) part() *reader {
	b := r.take(int(r.u32()))
	return &reader{b: b, short: r.short}
}

// path is a count of one byte and as many hashes.
func (r *reader) path() []hash {
	path := make([]hash, r.uint(1))
	for i := range path {
		path[i] = r.hash()
	}
	return path
}

func (r *reader) u32() uint32    { return uint32(r.uint(4)) }
func (r *reader) u64() uint64    { return r.uint(8) }
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
	epoch, window, node uint32
	acks                uint32
	root, id            hash
	sigma               []byte // not decoded: for an anchor it is just bytes
	rows                map[pair]sum

	statements          uint32
	statementRoot, list hash
	cosigma             []byte
}

func (h *header) String() string {
	return fmt.Sprintf(
		"node %d, epoch %d, window %d: rollup %x of %d acks and %d statements in %d rows",
		h.node, h.epoch, h.window, h.id, h.acks, h.statements, len(h.rows))
}

// header reads a rollup header and its rows (section 6) that decode and are this network's.
func (g *Genesis) header(r *reader) (*header, error) {
	h := &header{rows: map[pair]sum{}}
	all := r.b
	tag, network := r.take(8), r.take(32)
	h.epoch, h.window, h.node = r.u32(), r.u32(), r.u32()
	h.acks, h.root, h.sigma = r.u32(), r.hash(), r.take(48)
	h.statements, h.statementRoot, h.list, h.cosigma = r.u32(), r.hash(), r.hash(), r.take(48)
	count, root := r.uint(2), r.hash()
	switch {
	case r.short:
		return nil, fmt.Errorf("header: %w", errShort)
	case string(tag) != "wb-rol/2":
		return nil, errors.New("header: tag")
	case !bytes.Equal(network, g.network[:]):
		return nil, errors.New("header: another network")
	case h.acks > 65_536 || h.statements > 65_536 || h.acks+h.statements == 0:
		return nil, errors.New("header: ack or statement count")
	case h.acks == 0 && (h.root != hash{} || !bytes.Equal(h.sigma, encodedIdentity)):
		return nil, errors.New("header: no acks, but a root or signature")
	case h.statements == 0 && (h.statementRoot != hash{} || h.list != hash{} ||
		!bytes.Equal(h.cosigma, encodedIdentity)):
		return nil, errors.New("header: no statements, but a root or signature")
	case count < 1 || count > 256:
		return nil, errors.New("header: row count")
	}
	h.id = keyed("waybill/rollup/2", all[:len(all)-len(r.b)])
	return h, h.readRows(r, int(count), root)
}

// readRows reads the rows behind a header.
func (h *header) readRows(r *reader, count int, root hash) error {
	var last pair
	var entries [][]byte
	acks := uint64(0)
	for i := range count {
		entries = append(entries, r.take(24))
		if r.short {
			return fmt.Errorf("rows: %w", errShort)
		}
		row := &reader{b: entries[i]}
		p, v := pair{row.u32(), row.u32()}, sum{row.u64(), row.u64()}
		switch {
		case i > 0 && slices.Compare(last[:], p[:]) >= 0:
			return errors.New("rows: not sorted")
		case v == sum{} && h.statements > 0:
		case v.acks < 1 || v.units < v.acks || acks+v.acks < acks:
			return errors.New("rows: acks or units of a row")
		}
		last, acks, h.rows[p] = p, acks+v.acks, v
	}
	if tree("row").root(entries) != root {
		return errors.New("rows: another root")
	}
	if acks < uint64(h.acks) || (acks == uint64(h.acks)) != (h.statements == 0) {
		return errors.New("rows: another number of acks")
	}
	return nil
}

func u32s(values ...uint32) (b []byte) {
	for _, v := range values {
		b = le.AppendUint32(b, v)
	}
	return b
}

// ackEntry is bytes 16 to 79 of an ack (section 4).
type ackEntry struct {
	raw             []byte
	epoch, node     uint32
	client          uint64
	service, number uint32
}

func (r *reader) ack() (a ackEntry) {
	a.raw = r.take(64)
	e := &reader{b: a.raw}
	a.epoch, a.node, a.client, a.service, a.number = e.u32(), e.u32(), e.u64(), e.u32(), e.u32()
	return a
}

// ack checks type 1.
func (g *Genesis) ack(r *reader) (string, error) {
	h, err := g.anchor(r)
	if err != nil {
		return "", err
	}
	a, index, path := r.ack(), r.u32(), r.path()
	if err := r.end("file"); err != nil {
		return "", err
	}
	if a.epoch != h.epoch || a.node != h.node {
		return "", errors.New("ack: another epoch or node")
	}
	if !tree("ack").included(a.raw, index, h.acks, path, h.root) {
		return "", errors.New("ack: not included")
	}
	return fmt.Sprintf("ack %d of client %d of %v", a.number, a.client, h.header), h.ordered(g)
}
