package outsider

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/supranational/blst/bindings/go"
	"lukechampine.com/blake3"
)

// Committees that rotate: docs/rotation.md.

const nobody = none // holder of an empty seat

// seat is a holder and a mark: 0, 1 for due, 2 for stayed.
type seat struct {
	holder uint32
	mark   byte
}

// candidate is a node and its weight.
type candidate struct {
	node   uint32
	weight uint64
}

// term is a committee, and how it came about.
type term struct {
	epoch   uint32 // of the hop
	seed    hash
	seats   []seat // without marks
	members []member
}

// winner is the section "Draw", in integers without bounds.
func winner(seed []byte, epoch uint32, s, k int, among []candidate) uint32 {
	total := new(big.Int)
	for _, c := range among {
		total.Add(total, new(big.Int).SetUint64(c.weight))
	}
	bound := func(s int) *big.Int {
		b := new(big.Int).Mul(total, big.NewInt(int64(s)))
		return b.Div(b, big.NewInt(int64(k)))
	}
	lo := bound(s)
	width := new(big.Int).Sub(bound(s+1), lo)
	least := new(big.Int).Mod(new(big.Int).Lsh(big.NewInt(1), 64), width)
	for c := uint32(0); ; c++ {
		digest := keyed("waybill/seat/2", seed, u32s(epoch, uint32(s), c))
		u := new(big.Int).SetUint64(le.Uint64(digest[:]))
		if u.Cmp(least) < 0 {
			continue
		}
		x, sum := new(big.Int).Add(lo, u.Mod(u, width)), new(big.Int)
		for _, c := range among {
			if sum.Add(sum, new(big.Int).SetUint64(c.weight)); sum.Cmp(x) > 0 {
				return c.node
			}
		}
	}
}

func heldBy(seats []seat, node uint32) (n int) {
	for _, s := range seats {
		if s.holder == node {
			n++
		}
	}
	return n
}

func holders(seats []seat) (all []uint32) {
	for _, s := range seats {
		if s.holder != nobody && !slices.Contains(all, s.holder) {
			all = append(all, s.holder)
		}
	}
	slices.Sort(all)
	return all
}

// stay are the two reasons for which seats stay as they were.
func stay(before, next []seat) bool {
	if len(holders(next)) < min(4, len(holders(before))) {
		return true
	}
	return slices.ContainsFunc(holders(next), func(m uint32) bool {
		return 3*heldBy(next, m) >= len(next) && 3*heldBy(before, m) < len(next)
	})
}

// turn is a seat that is drawn, and who won it.
type turn struct {
	seat   int
	winner uint32
	due    bool
}

// turns draws what an epoch gives anew, the due seats first.
func turns(before []seat, seed []byte, epoch uint32, among []candidate, r int) []turn {
	var due, vacated []turn
	for i, s := range before {
		t := turn{seat: i}
		is := func(c candidate) bool { return c.node == s.holder }
		switch {
		case i%r == (int(epoch)+1)%r || s.mark != 0:
			t.winner, t.due = winner(seed, epoch, i, len(before), among), true
			due = append(due, t)
		case s.holder == nobody || !slices.ContainsFunc(among, is):
			t.winner = winner(seed, epoch, i, len(before), among)
			vacated = append(vacated, t)
		}
	}
	return append(due, vacated...)
}

// handedOver is the section "Hand-over of seats"; false when the seats stay as they were.
func handedOver(before []seat, all []turn, ready, gone func(uint32) bool) ([]seat, bool) {
	next, changed := slices.Clone(before), 0
	for _, t := range all {
		now := before[t.seat]
		there := heldBy(before, t.winner) > 0 || ready(t.winner) || now.mark == 2
		var then seat
		switch {
		case !gone(t.winner) && t.winner == now.holder:
			then = seat{now.holder, 0}
		case !gone(t.winner) && there:
			then = seat{t.winner, 0}
		case now.holder != nobody && gone(now.holder):
			then = seat{nobody, 2}
		default:
			then = seat{now.holder, 2}
		}
		switch {
		case then.holder == now.holder:
			next[t.seat] = then
		case changed < (len(before)+2)/3-1:
			next[t.seat] = then
			changed++
		case t.due && now.mark == 0:
			next[t.seat].mark = 1
		}
	}
	if stay(before, next) {
		return before, false
	}
	return next, true
}

// firstTerm draws the seats of term 0 among the members of the genesis.
func (g *Genesis) firstTerm(f *genesisFile) error {
	r := f.Params.Rotation
	if r == nil {
		g.terms = []term{{members: g.members}}
		return nil
	}
	g.every, g.reward = int(r.TermEpochs), r.Reward
	all := g.network[:]
	var among []candidate
	total := new(big.Int)
	for i := range f.Committee {
		all = append(all[:len(all):len(all)], f.Committee[i].BLSKey...)
		among = append(among, candidate{f.node(i), min(f.Committee[i].Stake, r.StakeCap)})
		total.Add(total, new(big.Int).SetUint64(among[i].weight))
	}
	if total.Cmp(big.NewInt(100_000_000)) < 0 {
		return errors.New("stakes: too little to draw from")
	}
	t := term{seed: keyed("waybill/seed/2", all)}
	for s := range int(r.Seats) {
		t.seats = append(t.seats, seat{winner(t.seed[:], 0, s, int(r.Seats), among), 0})
	}
	g.keys = map[uint32]member{}
	for _, m := range g.members {
		g.keys[m.node] = m
	}
	t.members = g.seated(t.seats, g.keys)
	g.terms = []term{t}
	return nil
}

func (g *Genesis) seated(seats []seat, keys map[uint32]member) (members []member) {
	for _, node := range holders(seats) {
		m := keys[node]
		m.node, m.power = node, uint64(heldBy(seats, node))
		members = append(members, m)
	}
	return members
}

func rootOfMembers(members []member) hash {
	var entries [][]byte
	for _, m := range members {
		entries = append(entries, append(le.AppendUint64(u32s(m.node), m.power), m.raw...))
	}
	return tree("committee").root(entries)
}

// inOffice returns the committee of a record's term.
func (g *Genesis) inOffice(number, epoch uint32) ([]member, error) {
	at := int(number)
	switch {
	case int64(number) >= int64(len(g.terms)):
		return nil, errors.New("record: term")
	case at > 0 && epoch <= g.terms[at].epoch, at+2 < len(g.terms) && epoch > g.terms[at+2].epoch:
		return nil, errors.New("record: its term was not in office")
	}
	return g.terms[at].members, nil
}

// handOvers checks type 5, and knows its terms from then on.
func (g *Genesis) handOvers(r *reader) (string, error) {
	first, count := r.u32(), r.u32()
	if r.short || first == 0 || count == 0 || uint64(first)+uint64(count) > 1<<32 {
		return "", errors.New("hand-overs: length: none, or beyond the last term")
	}
	if g.every == 0 || int64(first) > int64(len(g.terms)) {
		return "", errors.New("hand-overs: the term before the first is not known")
	}
	keys, named, err := g.readKeys(r)
	if err != nil {
		return "", err
	}
	terms := slices.Clone(g.terms[:first])
	sits := map[uint32]bool{}
	for _, node := range holders(terms[first-1].seats) {
		sits[node] = true
	}
	var new []uint32
	for i := range count {
		next, err := g.hop(r, terms, keys)
		if err != nil {
			return "", fmt.Errorf("term %d: %w", first+i, err)
		}
		for _, node := range holders(next.seats) {
			if !sits[node] {
				new, sits[node] = append(new, node), true
			}
		}
		terms = append(terms, next)
	}
	if err := r.end("hand-overs"); err != nil {
		return "", err
	}
	if slices.Sort(new); !slices.Equal(new, named) {
		return "", errors.New("hand-overs: keys of others than who gets a seat")
	}
	for i := int(first); i < min(len(terms), len(g.terms)); i++ {
		if rootOfMembers(terms[i].members) != rootOfMembers(g.terms[i].members) {
			return "", errors.New("hand-overs: others than are known")
		}
	}
	if len(terms) > len(g.terms) {
		g.terms, g.keys = terms, keys
	}
	return fmt.Sprintf("terms %d to %d: %d members", first, first+count-1,
		len(terms[len(terms)-1].members)), nil
}

// readKeys reads the keys of a file of hand-overs, beside those that are known.
func (g *Genesis) readKeys(r *reader) (keys map[uint32]member, named []uint32, err error) {
	keys = map[uint32]member{}
	for node, m := range g.keys {
		keys[node] = m
	}
	for range r.u32() {
		node, raw := r.u32(), r.take(96)
		switch {
		case r.short:
			return nil, nil, fmt.Errorf("hand-overs: %w", errShort)
		case len(named) > 0 && named[len(named)-1] >= node:
			return nil, nil, errors.New("hand-overs: keys not sorted")
		}
		key, err := decodeKey(raw)
		if err != nil {
			return nil, nil, fmt.Errorf("hand-overs: key of node %d %w", node, err)
		}
		if known, ok := keys[node]; ok && !bytes.Equal(known.raw, raw) {
			return nil, nil, fmt.Errorf("hand-overs: another key of node %d", node)
		}
		keys[node], named = member{raw: raw, key: key}, append(named, node)
	}
	return keys, named, nil
}

// hop reads the hop that follows some terms, and checks it.
func (g *Genesis) hop(r *reader, terms []term, keys map[uint32]member) (next term, err error) {
	before := terms[len(terms)-1]
	next.epoch, next.seats = r.u32(), slices.Clone(before.seats)
	changes, last := int(r.uint(2)), -1
	for range changes {
		at, holder := int(r.uint(2)), r.u32()
		_, known := keys[holder]
		switch {
		case r.short:
			return next, errShort
		case at <= last || at >= len(next.seats):
			return next, errors.New("changes: not sorted, or no such seat")
		case before.seats[at].holder == holder || !known && holder != nobody:
			return next, errors.New("changes: no change, or nobody's key")
		}
		next.seats[at].holder, last = holder, at
	}
	next.seed = r.hash()
	snapshot := r.take(8 + 8 + 32)
	bitmap, sig := r.sum()
	number := len(terms)
	switch {
	case r.short:
		return next, errShort
	case changes > (len(next.seats)+2)/3-1:
		return next, errors.New("changes: a third, or more")
	case number > 1 && next.epoch <= before.epoch:
		return next, errors.New("epoch: not above that before")
	case stay(before.seats, next.seats):
		return next, errors.New("changes: seats that must stay")
	}
	next.members = g.seated(next.seats, keys)
	var digest []byte
	for _, s := range next.seats {
		digest = append(digest, u32s(s.holder)...)
	}
	var entries [][]byte
	for i, t := range terms {
		root := rootOfMembers(t.members)
		entries = append(entries, append(u32s(uint32(i)), root[:]...))
	}
	root, past := rootOfMembers(next.members), tree("term").root(entries)
	return next, quorumOf(before.members, bitmap, sig, slices.Concat([]byte("wb-han/2"),
		g.network[:], u32s(uint32(number), next.epoch), root[:], plain(digest), next.seed[:],
		past[:], snapshot))
}

// draws checks type 6: every seat is drawn again.
func (g *Genesis) draws(r *reader) (string, error) {
	first, count := r.u32(), r.u32()
	marks := r.take(int(r.uint(2)))
	switch {
	case r.short || first == 0 || count == 0:
		return "", errors.New("draws: length: none")
	case uint64(first)+uint64(count) > uint64(len(g.terms)):
		return "", errors.New("draws: of a term that is not known")
	case len(marks) != len(g.terms[0].seats):
		return "", errors.New("draws: marks: of another number of seats")
	}
	seats := slices.Clone(g.terms[first-1].seats)
	for i, m := range marks {
		if m > 2 || first == 1 && m != 0 {
			return "", errors.New("draws: marks")
		}
		seats[i].mark = m
	}
	drawn := 0
	for number := first; number < first+count; number++ {
		next, n, err := g.draw(r, int(number), seats)
		if err != nil {
			return "", fmt.Errorf("draws: term %d: %w", number, err)
		}
		seats, drawn = next, drawn+n
	}
	return fmt.Sprintf("terms %d to %d: %d seats drawn again", first, first+count-1, drawn),
		r.end("draws")
}

// draw reads what decided about the seats of a term, and decides again.
func (g *Genesis) draw(r *reader, number int, before []seat) ([]seat, int, error) {
	t, signing := g.terms[number], g.terms[number-1].members
	round, previous := r.take(1), r.take(32)
	announced, sum := r.sum()
	raw := r.take(12 * int(r.u32()))
	ready, gone := r.take(int(r.uint(2))), r.take(4*int(r.uint(2)))
	if r.short {
		return nil, 0, errShort
	}
	var among []candidate
	var entries [][]byte
	for in := (&reader{b: raw}); len(in.b) > 0; {
		entries = append(entries, in.b[:12])
		c := candidate{in.u32(), in.u64()}
		if n := len(among); n > 0 && among[n-1].node >= c.node || c.weight == 0 {
			return nil, 0, errors.New("candidates: not sorted, or weightless")
		}
		among = append(among, c)
	}
	root := tree("candidate").root(entries)
	keys, _, err := signersOf(signing, announced)
	if err != nil {
		return nil, 0, err
	}
	if err := verifySame(sum, keys, slices.Concat([]byte("wb-bcn/2"), g.network[:], u32s(t.epoch),
		round, previous, root[:], plain(announced)), dstSign); err != nil {
		return nil, 0, fmt.Errorf("beacon: signature %w", err)
	}
	if keyed("waybill/seed/2", sum) != t.seed {
		return nil, 0, errors.New("beacon: another seed")
	}
	all := turns(before, t.seed[:], t.epoch, among, g.every)
	left, err := readGone(gone, before, all)
	if err != nil {
		return nil, 0, err
	}
	asked := askedOf(before, all)
	n := len(asked)
	if len(ready) != (n+7)/8 || n%8 != 0 && ready[n/8]>>(n%8) != 0 {
		return nil, 0, errors.New("ready: of another number of winners")
	}
	next, ok := handedOver(before, all, func(node uint32) bool {
		at := slices.Index(asked, node)
		return at >= 0 && ready[at/8]>>(at%8)&1 == 1
	}, func(node uint32) bool { return slices.Contains(left, node) })
	same := func(a, b seat) bool { return a.holder == b.holder }
	if !ok || !slices.EqualFunc(next, t.seats, same) {
		return nil, 0, errors.New("other seats than were handed over")
	}
	return next, len(all), nil
}

// askedOf are the winners that held no seat, in the order of their draws.
func askedOf(before []seat, all []turn) (asked []uint32) {
	for _, t := range all {
		if heldBy(before, t.winner) == 0 && !slices.Contains(asked, t.winner) {
			asked = append(asked, t.winner)
		}
	}
	return asked
}

// readGone reads who is gone: somebody who won or held a drawn seat.
func readGone(raw []byte, before []seat, all []turn) (gone []uint32, err error) {
	for in := (&reader{b: raw}); len(in.b) > 0; {
		node := in.u32()
		if n := len(gone); n > 0 && gone[n-1] >= node || !slices.ContainsFunc(all, func(t turn) bool {
			return t.winner == node || before[t.seat].holder == node
		}) {
			return nil, errors.New("gone: not sorted, or not about its seats")
		}
		gone = append(gone, node)
	}
	return gone, nil
}

// plain is B3 of the document's notation.
func plain(b []byte) []byte { sum := blake3.Sum256(b); return sum[:] }

// signersOf checks a bitmap's form, and returns the keys of the members in it, and their power.
func signersOf(members []member, bitmap []byte) (keys []*blst.P2Affine, power uint64, err error) {
	if len(bitmap) != (len(members)+7)/8 {
		return nil, 0, errors.New("bitmap: wrong length")
	}
	if n := len(members); n%8 != 0 && bitmap[n/8]>>(n%8) != 0 {
		return nil, 0, errors.New("bitmap: bit beyond the last member")
	}
	for i, m := range members {
		if bitmap[i/8]>>(i%8)&1 == 1 {
			power += m.power
			keys = append(keys, m.key)
		}
	}
	return keys, power, nil
}

// quorumOf checks a bitmap's form and power, and the set's signature.
func quorumOf(members []member, bitmap, sig, msg []byte) error {
	keys, set, err := signersOf(members, bitmap)
	if err != nil {
		return err
	}
	var all uint64 // of stakes that fit in 64 bits, a millionth, or of seats: three times fits, too
	for _, m := range members {
		all += m.power
	}
	if 3*set <= 2*all {
		return errors.New("certificate: no quorum")
	}
	if err := verifySame(sig, keys, msg, dstSign); err != nil {
		return fmt.Errorf("certificate: signature %w", err)
	}
	return nil
}
