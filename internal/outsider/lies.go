package outsider

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	blst "github.com/supranational/blst/bindings/go"
)

// Evidence of lies (docs/lies.md).

// lie is evidence while it is read and judged.
type lie struct {
	g    *Genesis
	kind uint64
	who  string // is convicted

	node                     uint32
	client                   uint64
	service, priced          uint32
	asksNode, asksClient     bool
	asksService, asksAnEpoch bool

	judge func(p *parties) error
}

// parties are what a file shows of the registry.
type parties struct {
	*record // nil: the genesis file tells of the parties
	nodeKey []byte
	client  *client
	service
}

var (
	errAscend = errors.New("lie: the two do not ascend")
	errNobody = errors.New("lie: nobody is convicted")
)

// lie checks type 7.
func (g *Genesis) lie(r *reader) (string, error) {
	l := &lie{g: g, kind: r.uint(1)}
	var err error
	switch l.kind {
	case 1, 17, 22:
		err = l.twice(r)
	case 2:
		err = l.twoTickets(r)
	case 3:
		err = l.numberTwice(r)
	case 4:
		err = l.twoRecords(r)
	case 5:
		err = l.twoHandOvers(r)
	case 16:
		err = l.refused(r)
	case 18:
		err = l.price(r)
	case 19:
		err = l.content(r)
	case 20:
		err = l.invalid(r)
	case 21:
		err = l.twoAcks(r)
	default:
		err = errors.New("lie: there is no evidence of this one")
	}
	if r.short {
		return "", fmt.Errorf("lie: %w", errShort)
	}
	if err != nil {
		return "", err
	}
	p, err := l.parties(r)
	if err == nil {
		err = r.end("file")
	}
	if err == nil {
		err = l.judge(p)
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("lie %d: %s", l.kind, l.who), nil
}

// parties reads the witness.
func (l *lie) parties(r *reader) (*parties, error) {
	p := &parties{}
	asked := l.asksNode || l.asksClient || l.asksService
	switch there := r.uint(1); {
	case there == 0 && !l.asksClient && !l.asksService && l.kind != 16:
		at := slices.IndexFunc(l.g.members,
			func(m member) bool { return uint64(m.node) == uint64(l.node) })
		if l.asksNode && at >= 0 {
			p.nodeKey = l.g.members[at].nodeKey
		} else if l.asksNode {
			return nil, errors.New("witness: none, and the genesis file does not have the node")
		}
		return p, nil
	case there != 1 || !asked:
		return nil, errors.New("witness: missing, or not asked for")
	}
	w, err := r.witness()
	if err != nil {
		return nil, err
	}
	h, err := readHeads(r)
	if err == nil {
		err = h.of(w.record)
	}
	if err == nil && l.asksAnEpoch && w.epoch != l.priced {
		err = errors.New("witness: a record of another epoch")
	}
	if err == nil {
		err = w.signed(l.g)
	}
	if err != nil {
		return nil, err
	}
	p.record = w.record
	if l.asksNode {
		raw, err := r.party("node", 150, h.nodes, uint64(l.node))
		if err != nil {
			return nil, err
		}
		if p.nodeKey, err = nodeKeyOf(raw); err != nil {
			return nil, err
		}
	}
	if l.asksClient {
		raw, err := r.party("client", 128, h.clients, l.client)
		if err != nil {
			return nil, err
		}
		if p.client, err = readClient(l.client, raw); err != nil {
			return nil, err
		}
		if err := p.client.decode(); err != nil {
			return nil, err
		}
	}
	if l.asksService {
		raw, err := r.party("service", 32, h.services, uint64(l.service))
		if err != nil {
			return nil, err
		}
		if p.service, err = readService(raw); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// party reads a leaf and its path.
func (r *reader) party(name tree, size int, of head, at uint64) ([]byte, error) {
	raw := r.take(size)
	if r.short {
		return nil, fmt.Errorf("witness: %w", errShort)
	}
	return raw, r.proof(name, of, leaf{at, raw})
}

// sum reads a bitmap with its length, and an aggregate.
func (r *reader) sum() (bitmap, sig []byte) {
	bitmap = r.take(int(r.uint(1)))
	return bitmap, r.take(48)
}

// said is what some members signed.
type said struct {
	term              uint32
	bitmap, sig, text []byte
}

// members checks the signatures, quorum or not, and returns who signed, as a bitmap.
func (l *lie) members(s *said) ([]byte, error) {
	if s.term != 0 {
		return nil, errors.New("lie: of a term that the genesis file does not have")
	}
	keys, _, err := l.g.signers(s.bitmap)
	if err != nil {
		return nil, err
	}
	if err := verifySame(s.sig, keys, s.text, dstSign); err != nil {
		return nil, fmt.Errorf("lie: members' signature %w", err)
	}
	return s.bitmap, nil
}

// both convicts who signed two things.
func (l *lie) both(a, b *said) error {
	first, err := l.members(a)
	if err != nil {
		return err
	}
	second, err := l.members(b)
	if err != nil {
		return err
	}
	var convicted []int
	for i := range l.g.members {
		if first[i/8]&second[i/8]>>(i%8)&1 == 1 {
			convicted = append(convicted, i)
		}
	}
	if convicted == nil {
		return errNobody
	}
	l.who = fmt.Sprintf("members %d", convicted)
	return nil
}

// twice is lies 1, 17 and 22: two signatures about one window.
func (l *lie) twice(r *reader) error {
	if l.kind == 22 {
		l.client, l.asksClient = r.u64(), true
	}
	node, epoch, window := r.u32(), r.u32(), r.u32()
	size, signature := 36, 64
	switch l.kind {
	case 1:
		size = 32
	case 22:
		signature = 48
	}
	a, as := r.take(size), r.take(signature)
	b, bs := r.take(size), r.take(signature)
	if bytes.Compare(a, b) >= 0 {
		return errAscend
	}
	text := func(said []byte) []byte {
		switch l.kind {
		case 1:
			return slices.Concat([]byte("wb-own/2"), l.g.network[:], u32s(node, epoch, window),
				said)
		case 17:
			return slices.Concat([]byte("wb-off/2"), l.g.network[:], u32s(node, epoch, window),
				said)
		}
		return slices.Concat([]byte("wb-win/2"), l.g.network[:], u32s(epoch, window, node), said)
	}
	if l.kind != 22 {
		l.node, l.asksNode = node, true
	}
	l.judge = func(p *parties) error {
		if l.kind == 22 {
			l.who = fmt.Sprintf("client %d", l.client)
			for i, sig := range [][]byte{as, bs} {
				if err := verifySame(sig, []*blst.P2Affine{p.client.key}, text([][]byte{a, b}[i]),
					dstSign); err != nil {
					return fmt.Errorf("lie: co-signature %w", err)
				}
			}
			return nil
		}
		l.who = fmt.Sprintf("node %d", node)
		if !signedEd25519(p.nodeKey, text(a), as) || !signedEd25519(p.nodeKey, text(b), bs) {
			return errors.New("lie: a word does not verify")
		}
		return nil
	}
	return nil
}

func (g *Genesis) ticketText(term, epoch, node, window uint32, id []byte) []byte {
	return slices.Concat([]byte("wb-tkt/2"), g.network[:], u32s(term, epoch, node, window), id)
}

// twoTickets is lie 2.
func (l *lie) twoTickets(r *reader) error {
	node, epoch, window := r.u32(), r.u32(), r.u32()
	var two [2]said
	var ids [2][]byte
	for i := range two {
		two[i].term, ids[i] = r.u32(), r.take(32)
		two[i].bitmap, two[i].sig = r.sum()
		two[i].text = l.g.ticketText(two[i].term, epoch, node, window, ids[i])
	}
	if bytes.Compare(ids[0], ids[1]) >= 0 {
		return errAscend
	}
	l.judge = func(*parties) error { return l.both(&two[0], &two[1]) }
	return nil
}

// twoRecords is lie 4.
func (l *lie) twoRecords(r *reader) error {
	var two [2]said
	var records [2]*record
	var rest [2][]byte
	for i := range two {
		rec, err := readRecord(r)
		if err != nil {
			return err
		}
		two[i] = said{term: rec.term, text: rec.raw}
		two[i].bitmap, two[i].sig = r.sum()
		records[i], rest[i] = rec, slices.Concat(rec.raw[:40], rec.raw[44:])
	}
	if bytes.Compare(rest[0], rest[1]) >= 0 {
		return errAscend
	}
	l.judge = func(*parties) error {
		for _, rec := range records {
			if !bytes.Equal(rec.network, l.g.network[:]) || rec.height != records[0].height {
				return errors.New("lie: records of another network or height")
			}
		}
		return l.both(&two[0], &two[1])
	}
	return nil
}

// twoHandOvers is lie 5. The last 48 bytes of a hand-over are its snapshot.
func (l *lie) twoHandOvers(r *reader) error {
	var two [2]said
	for i := range two {
		two[i].text = r.take(224)
		two[i].bitmap, two[i].sig = r.sum()
	}
	if r.short {
		return errShort
	}
	a, b := two[0].text, two[1].text
	if bytes.Compare(a, b) >= 0 {
		return errAscend
	}
	for i := range two {
		in := &reader{b: two[i].text}
		if string(in.take(8)) != "wb-han/2" {
			return errors.New("lie: no hand-over")
		}
		network, term := in.take(32), in.u32()
		if term == 0 {
			return errors.New("lie: a hand-over to the genesis file's committee")
		}
		if two[i].term = term - 1; !bytes.Equal(network, l.g.network[:]) {
			return errors.New("lie: a hand-over of another network")
		}
	}
	none := make([]byte, 48)
	l.judge = func(*parties) error {
		switch {
		case two[0].term != two[1].term:
			return errors.New("lie: hand-overs to two terms")
		case bytes.Equal(a[:176], b[:176]) &&
			(bytes.Equal(a[176:], none) || bytes.Equal(b[176:], none)):
			return errors.New("lie: a hand-over with a snapshot, and without, is none")
		}
		return l.both(&two[0], &two[1])
	}
	return nil
}
