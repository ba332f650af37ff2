package outsider

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	blst "github.com/supranational/blst/bindings/go"
	"lukechampine.com/blake3"
)

// bareHeader reads a header without its rows, of which nothing else is checked.
func (g *Genesis) bareHeader(r *reader) (*header, error) {
	raw := r.take(286)
	if r.short {
		return nil, fmt.Errorf("header: %w", errShort)
	}
	in := &reader{b: raw}
	if string(in.take(8)) != "wb-rol/2" {
		return nil, errors.New("header: tag")
	}
	if !bytes.Equal(in.take(32), g.network[:]) {
		return nil, errors.New("header: another network")
	}
	h := &header{epoch: in.u32(), window: in.u32(), node: in.u32()}
	h.acks, h.root, h.sigma = in.u32(), in.hash(), in.take(48)
	h.statements, h.statementRoot, h.list = in.u32(), in.hash(), in.hash()
	h.id = keyed("waybill/rollup/2", raw)
	return h, nil
}

// billed is a header that members signed, and an entry of it.
type billed struct {
	*header
	said
	client                uint64
	service, first, count uint32
	ack                   *ackEntry
	units                 uint64
	path                  error // why the entry is not the header's
}

func (l *lie) billed(r *reader) (*billed, error) {
	h, err := l.g.bareHeader(r)
	if err != nil {
		return nil, err
	}
	b := &billed{header: h}
	b.term = r.u32()
	b.bitmap, b.sig = r.sum()
	b.text = l.g.ticketText(b.term, h.epoch, h.node, h.window, h.id[:])
	part, index := r.uint(1), r.u32()
	var leaf []byte
	name, count, root := tree("list"), h.statements, h.list
	switch part {
	case 1:
		leaf = r.take(21)
		e := &reader{b: leaf}
		b.client, b.service, b.first, b.count = e.u64(), e.u32(), e.u32(), e.u32()
		if e.uint(1) != 1 || b.client >= 1<<40 || b.count < 1 || b.count >= 1<<22 {
			return nil, errors.New("entry: not a signed one of a list")
		}
	case 2:
		a := r.ack()
		leaf, b.ack = a.raw, &a
		b.client, b.service, b.first, b.count = a.client, a.service, a.number, 1
		name, count, root = "ack", h.acks, h.root
		if len(leaf) == 64 {
			b.units = le.Uint64(leaf[24:])
		}
	default:
		return nil, errors.New("entry: part")
	}
	if !name.included(leaf, index, count, r.path(), root) {
		b.path = errors.New("entry: not included")
	}
	return b, nil
}

// numberTwice is lie 3.
func (l *lie) numberTwice(r *reader) error {
	a, err := l.billed(r)
	if err != nil {
		return err
	}
	b, err := l.billed(r)
	if err != nil {
		return err
	}
	if bytes.Compare(a.id[:], b.id[:]) >= 0 {
		return errAscend
	}
	l.judge = func(*parties) error {
		for _, x := range []*billed{a, b} {
			if x.path != nil {
				return x.path
			}
			if x.ack != nil && (x.ack.epoch != x.epoch || x.ack.node != x.node) {
				return errors.New("lie: an ack of another epoch or node")
			}
		}
		switch {
		case a.node != b.node || a.epoch != b.epoch || a.client != b.client ||
			a.service != b.service:
			return errors.New("lie: not one node, epoch, client and service")
		case uint64(a.first) >= uint64(b.first)+uint64(b.count) ||
			uint64(b.first) >= uint64(a.first)+uint64(a.count):
			return errors.New("lie: the numbers do not overlap")
		}
		return l.both(&a.said, &b.said)
	}
	return nil
}

// refused is lie 16.
func (l *lie) refused(r *reader) error {
	word := r.take(4 + 4 + 8 + 2 + 32)
	answered, index := r.take(64), r.uint(2)
	said := r.take(1 + 8)
	path := r.path()
	ack := r.take(128)
	h, err := l.g.bareHeader(r)
	if err != nil {
		return err
	}
	position, orderPath := r.u32(), r.path()
	at, ackPath := r.u32(), r.path()
	if r.short {
		return errShort
	}
	w := &reader{b: word}
	node, _, _, count, root := w.u32(), w.u32(), w.u64(), uint32(w.uint(2)), w.hash()
	a := (&reader{b: ack[16:]}).ack()
	l.node, l.asksNode, l.who = node, true, fmt.Sprintf("node %d", node)
	l.judge = func(p *parties) error {
		digest := blake3.Sum256(ack)
		switch {
		case string(ack[:8]) != "wb-ack/2" || !bytes.Equal(ack[8:16], l.g.network[:8]):
			return errors.New("lie: no ack of this network")
		case !slices.Contains([]byte{5, 12, 29, 30}, said[0]):
			return errors.New("lie: the answer is not never")
		case a.node != node || h.node != node || a.epoch != h.epoch:
			return errors.New("lie: not one node and epoch")
		case !tree("answer").included(slices.Concat(digest[:], said), uint32(index), count, path,
			root):
			return errors.New("lie: the answer is not in the message")
		case !tree("rollups").included(h.id[:], position, p.rollups, orderPath, p.order):
			return errors.New("lie: the rollup is not what the block ordered")
		case !tree("ack").included(a.raw, at, h.acks, ackPath, h.root):
			return errors.New("lie: the ack is not in the rollup")
		case !signedEd25519(p.nodeKey, slices.Concat([]byte("wb-ans/2"), l.g.network[:], word),
			answered):
			return errors.New("lie: the answers' word does not verify")
		}
		return nil
	}
	return nil
}

// price is lie 18.
func (l *lie) price(r *reader) error {
	word := r.take(4 + 4 + 8 + 8 + 16 + 4 + 8 + 3*32 + 3*8)
	sig := r.take(64)
	if r.short {
		return errShort
	}
	w := &reader{b: word}
	l.node, l.priced = w.u32(), w.u32()
	w.take(8 + 8 + 16)
	l.service = w.u32()
	price := w.u64()
	l.asksNode, l.asksService, l.asksAnEpoch, l.who = true, true, true,
		fmt.Sprintf("node %d", l.node)
	l.judge = func(p *parties) error {
		right := p.price
		if l.priced >= p.from {
			right = p.next
		}
		if price <= right {
			return errors.New("lie: the price is not above the service's")
		}
		if !signedEd25519(p.nodeKey, slices.Concat([]byte("wb-hed/2"), l.g.network[:], word), sig) {
			return errors.New("lie: the head does not verify")
		}
		return nil
	}
	return nil
}

// content is lie 19.
func (l *lie) content(r *reader) error {
	word := r.take(4 + 4 + 8 + 8 + 16 + 4 + 8 + 3*32 + 3*8)
	sig := r.take(64)
	signed, index := r.take(92), r.u32()
	entry := r.take(int(r.uint(2)))
	path := r.path()
	if r.short || len(entry) < 2 || len(entry) < 2+int(le.Uint16(entry))+32 {
		return errShort
	}
	name := entry[2:][:le.Uint16(entry)]
	e := &reader{b: entry[2+len(name):]}
	root := e.take(32)
	if size := e.u64(); size > 1<<50 {
		return errors.New("lie: no size of a content")
	}
	e.u32()
	e.take(int(e.uint(1)))
	if err := e.end("entry"); err != nil {
		return err
	}
	m := &reader{b: signed}
	if string(m.take(8)) != "wb-man/2" {
		return errors.New("lie: no manifest")
	}
	network := m.take(32)
	m.take(4 + 8 + 4)
	count, over := m.u32(), m.hash()
	w := &reader{b: word}
	l.node, l.asksNode = w.u32(), true
	l.who = fmt.Sprintf("node %d", l.node)
	w.take(4 + 8 + 8 + 16 + 4 + 8)
	content, digest, at := w.take(32), w.take(32), w.take(32)
	manifest, named := keyed("waybill/manifest/2", signed), keyed("waybill/path/2", name)
	l.judge = func(p *parties) error {
		switch {
		case !bytes.Equal(network, l.g.network[:]):
			return errors.New("lie: a manifest of another network")
		case !bytes.Equal(digest, manifest[:]) || !bytes.Equal(at, named[:]):
			return errors.New("lie: the head is of another manifest or path")
		case bytes.Equal(content, root):
			return errors.New("lie: the content is the manifest's")
		case !tree("manifest").included(entry, index, count, path, over):
			return errors.New("lie: the manifest does not have the entry")
		case !signedEd25519(p.nodeKey, slices.Concat([]byte("wb-hed/2"), l.g.network[:], word), sig):
			return errors.New("lie: the head does not verify")
		}
		return nil
	}
	return nil
}

// invalid is lie 20.
func (l *lie) invalid(r *reader) error {
	b, err := l.billed(r)
	if err != nil {
		return err
	}
	l.client, l.asksClient = b.client, true
	l.service, l.asksService = b.service, b.ack != nil
	l.judge = func(p *parties) error {
		if b.path != nil {
			return b.path
		}
		bad := p.client.may(b.epoch, b.service, b.first, b.count) != nil
		if b.ack != nil {
			bad = bad || b.ack.epoch != b.epoch || b.ack.node != b.node || b.units < 1 ||
				b.units > p.cap
		}
		if !bad {
			return errors.New("lie: the entry may be valid")
		}
		return l.both(&b.said, &b.said)
	}
	return nil
}

// twoAcks is lie 21.
func (l *lie) twoAcks(r *reader) error {
	a, b := r.take(128), r.take(128)
	if r.short {
		return errShort
	}
	if bytes.Compare(a[16:80], b[16:80]) >= 0 {
		return errAscend
	}
	l.client, l.asksClient = (&reader{b: a[24:]}).u64(), true
	l.who = fmt.Sprintf("client %d", l.client)
	l.judge = func(p *parties) error {
		if string(a[:8]) != "wb-ack/2" || !bytes.Equal(a[8:16], l.g.network[:8]) ||
			!bytes.Equal(a[:40], b[:40]) {
			return errors.New("lie: not one number of this network")
		}
		for _, ack := range [][]byte{a, b} {
			text := slices.Concat([]byte("wb-ack/2"), l.g.network[:], ack[16:80])
			if err := verifySame(ack[80:], []*blst.P2Affine{p.client.key}, text,
				dstSign); err != nil {
				return fmt.Errorf("lie: an ack's signature %w", err)
			}
		}
		return nil
	}
	return nil
}
