package outsider

import (
	"bytes"
	"errors"
	"fmt"
)

// Records, and the registry under them (sections 3, 5 and 7).

// record is the committee's word about a block.
type record struct {
	raw, network                  []byte
	term, epoch, rollups, settled uint32
	height                        uint64
	order, registry, settlement   hash // roots
}

// readRecord reads 168 bytes that decode.
func readRecord(r *reader) (*record, error) {
	raw := r.take(168)
	if r.short {
		return nil, fmt.Errorf("record: %w", errShort)
	}
	in := &reader{b: raw}
	if string(in.take(8)) != "wb-rec/2" {
		return nil, errors.New("record: tag")
	}
	rec := &record{raw: raw, network: in.take(32), term: in.u32(), height: in.u64()}
	in.u64() // time
	rec.epoch, rec.rollups, rec.order = in.u32(), in.u32(), in.hash()
	rec.registry, rec.settled, rec.settlement = in.hash(), in.u32(), in.hash()
	if (rec.rollups == 0) != (rec.order == hash{}) ||
		rec.settled == none && rec.settlement != (hash{}) {
		return nil, errors.New("record: root of nothing")
	}
	return rec, nil
}

// witness is a record with who signed it.
type witness struct {
	*record
	bitmap, sig []byte
}

func (r *reader) witness() (w witness, err error) {
	if w.record, err = readRecord(r); err != nil {
		return w, err
	}
	w.bitmap, w.sig = r.sum()
	return w, nil
}

// signed checks that the record is the network's.
func (w *witness) signed(g *Genesis) error {
	switch {
	case !bytes.Equal(w.network, g.network[:]):
		return errors.New("record: another network")
	}
	members, err := g.inOffice(w.term, w.epoch)
	if err != nil {
		return err
	}
	return quorumOf(members, w.bitmap, w.sig, w.raw)
}

// anchor is what leads from a record to a rollup's header.
type anchor struct {
	witness
	*header
	position uint32
	path     []hash
}

func (g *Genesis) anchor(r *reader) (a *anchor, err error) {
	a = &anchor{}
	if a.witness, err = r.witness(); err != nil {
		return nil, err
	}
	a.position, a.path = r.u32(), r.path()
	in := r.part()
	if a.header, err = g.header(in); err != nil {
		return nil, err
	}
	return a, in.end("header")
}

// ordered checks that the record's block ordered the rollup.
func (a *anchor) ordered(g *Genesis) error {
	if !tree("rollups").included(a.id[:], a.position, a.rollups, a.path, a.order) {
		return errors.New("record: the rollup is not included")
	}
	return a.signed(g)
}

// head is a tree's number of leaves, and its root.
type head struct {
	count uint64
	root  hash
}

// heads are those of the registry.
type heads struct {
	raw                      []byte
	clients, nodes, services head
	keys                     hash
}

func readHeads(r *reader) (h heads, err error) {
	h.raw = r.take(144)
	if r.short {
		return h, fmt.Errorf("heads: %w", errShort)
	}
	in := &reader{b: h.raw}
	h.clients = head{in.u64(), in.hash()}
	h.nodes = head{uint64(in.u32()), in.hash()}
	h.services = head{uint64(in.u32()), in.hash()}
	h.keys = in.hash()
	for _, t := range []head{h.clients, h.nodes, h.services} {
		if (t.count == 0) != (t.root == hash{}) || t.count > 1<<40 {
			return h, errors.New("heads: count")
		}
	}
	return h, nil
}

// of checks that the heads are those of a record.
func (h *heads) of(rec *record) error {
	if keyed("waybill/registry/2", h.raw) != rec.registry {
		return errors.New("heads: of another registry")
	}
	return nil
}

// leaf is one of a tree of the registry, where it is.
type leaf struct {
	at  uint64
	raw []byte
}

// proof reads the multiproof of leaves that ascend, and checks that it leads to the tree's root.
func (r *reader) proof(t tree, of head, leaves ...leaf) error {
	type node struct {
		at uint64
		h  hash
	}
	var level []node
	for i, l := range leaves {
		if l.at >= of.count || i > 0 && leaves[i-1].at >= l.at {
			return fmt.Errorf("registry: there is no such %s, or twice", string(t))
		}
		level = append(level, node{l.at, t.leaf(l.raw)})
	}
	if level == nil {
		return fmt.Errorf("registry: proof of no %s", string(t))
	}
	for width := of.count; width > 1; width = (width + 1) / 2 {
		var above []node
		for i := 0; i < len(level); i++ {
			x := level[i]
			switch {
			case x.at%2 == 0 && i+1 < len(level) && level[i+1].at == x.at+1:
				x.h = t.node(x.h, level[i+1].h)
				i++
			case x.at^1 >= width: // the last one, alone
			case x.at%2 == 0:
				x.h = t.node(x.h, r.hash())
			default:
				x.h = t.node(r.hash(), x.h)
			}
			above = append(above, node{x.at / 2, x.h})
		}
		level = above
	}
	if r.short {
		return fmt.Errorf("registry: proof of %s: %w", string(t), errShort)
	}
	if level[0].h != of.root {
		return fmt.Errorf("registry: proof of %s does not lead to its root", string(t))
	}
	return nil
}

// service is one of the registry's.
type service struct {
	cap, price, next uint64
	from             uint32
}

func readService(raw []byte) (s service, err error) {
	in := &reader{b: raw[4:]}
	s = service{in.u64(), in.u64(), in.u64(), in.u32()}
	switch {
	case s.cap < 1 || s.cap > 1<<40:
		return s, errors.New("services: cap")
	case s.price > 1<<40 || s.next > s.price:
		return s, errors.New("services: price")
	}
	return s, nil
}

// nodeKeyOf decodes a node's leaf.
func nodeKeyOf(raw []byte) ([]byte, error) {
	in := &reader{b: raw[132:]}
	since, until, _, status, zero := in.u32(), in.u32(), in.u64(), in.uint(1), in.uint(1)
	if since > until || status > 5 || zero != 0 {
		return nil, errors.New("node: leaf")
	}
	return raw[96:128], nil
}

// keyDigest returns the digest of the key for a size and an epoch, of all leaves of proof keys.
func keyDigest(leaves [][]byte, size int, epoch uint32) (digest hash, err error) {
	found := false
	for _, raw := range leaves {
		in := &reader{b: raw}
		s, key, from, until := in.u32(), in.hash(), in.u32(), in.u32()
		if s == 0 {
			return digest, errors.New("proof keys: size")
		}
		if int(s) == size && from <= epoch && epoch < until {
			digest, found = key, true
		}
	}
	if !found {
		return digest, errors.New("verifying key: none for the size and epoch")
	}
	return digest, nil
}
