package rotation

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// Chain is the committees of a network, term after term, as far as hand-overs were shown: a light
// client's trust. It begins with the committee of the genesis, and grows by Extend and Restore,
// beside which nothing else may run; all else may run side by side.
type Chain struct {
	network rollup.Network
	first   *rollup.Committee

	state         // after the last hop
	hops  []Hop   // hops[i] leads to term i+1
	every []Seats // the seats of the terms 0, keptEvery, 2·keptEvery, …; nil: no rotation
	now   *rollup.Committee
}

// state is what a hop builds on.
type state struct {
	seats Seats
	epoch int64 // in which they were drawn; −1 for those of the genesis
	past  Terms // with the last one
	keys  map[uint32]*memberKey
}

// memberKey is a key, encoded and decoded.
type memberKey struct {
	encoded [bls.PublicKeySize]byte
	key     *bls.PublicKey
}

// keptEvery is how many terms lie between two of which a Chain keeps all seats. Between them it
// keeps what changed: some 400 bytes a term of 128 seats.
const keptEvery = 64

// Fixed returns the chain of a network whose committee is that of the genesis for ever.
func Fixed(network rollup.Network, genesis *rollup.Committee) *Chain {
	return &Chain{network: network, first: genesis, now: genesis}
}

// NewChain returns the chain of term 0: seats that members of the genesis hold. The committee has
// their keys; its powers do not count.
func NewChain(network rollup.Network, genesis *rollup.Committee, seats Seats) *Chain {
	c := &Chain{network: network, every: []Seats{seats}}
	c.state = state{seats: seats, epoch: -1, keys: make(map[uint32]*memberKey)}
	for _, m := range genesis.Members {
		c.keys[m.Node] = &memberKey{m.Key.Bytes(), m.Key}
	}
	c.first = c.committee(seats, 0)
	c.now = c.first
	c.past.Add(c.root(seats))
	return c
}

// Begin returns the chain of the same network that knows its genesis alone.
func (c *Chain) Begin() *Chain {
	if c.every == nil {
		return Fixed(c.network, c.first)
	}
	return NewChain(c.network, c.first, slices.Clone(c.every[0]))
}

// Network returns the network.
func (c *Chain) Network() rollup.Network { return c.network }

// Rotates reports whether there are terms beyond that of the genesis, ever.
func (c *Chain) Rotates() bool { return c.every != nil }

// Last returns the last term that is known.
func (c *Chain) Last() uint32 { return c.now.Term }

// Committee returns the committee of a term, which must not be changed. The error is
// rollup.ErrUnknownTerm, or rollup.ErrTerm on a network whose committee does not rotate.
func (c *Chain) Committee(term uint32) (*rollup.Committee, error) {
	switch {
	case term == c.first.Term:
		return c.first, nil
	case c.every == nil:
		return nil, fmt.Errorf("%w: %d, not %d", rollup.ErrTerm, term, c.first.Term)
	case term == c.now.Term:
		return c.now, nil
	case term > c.now.Term:
		return nil, fmt.Errorf("%w: %d, where hand-overs lead to term %d", rollup.ErrUnknownTerm, term,
			c.now.Term)
	}
	return c.committee(c.seatsIn(term), term), nil
}

// Seats returns the seats of a term that is known, without their marks; nil when it is not.
func (c *Chain) Seats(term uint32) Seats {
	if c.every == nil || term > c.Last() {
		return nil
	}
	return c.seatsIn(term)
}

// seatsIn returns the seats of a term that is known, for the caller to change.
func (c *Chain) seatsIn(term uint32) Seats {
	from := int(term) / keptEvery
	seats := slices.Clone(c.every[from])
	for _, h := range c.hops[from*keptEvery : term] {
		seats.apply(h.Changes)
	}
	return seats
}

func (s Seats) apply(changes []Change) {
	for _, x := range changes {
		s[x.Seat] = Seat{Holder: x.Holder}
	}
}

// committee returns the committee that holds seats, whose keys are known.
func (s *state) committee(seats Seats, term uint32) *rollup.Committee {
	members, powers := seats.Members(), seats.Powers()
	c := &rollup.Committee{Term: term, Members: make([]rollup.Member, len(members))}
	for i, node := range members {
		c.Members[i] = rollup.Member{Node: node, Power: uint64(powers[i]), Key: s.keys[node].key}
	}
	return c
}

// root returns the committee's root without encoding its keys again.
func (s *state) root(seats Seats) rollup.Hash {
	const size = 4 + 8 + bls.PublicKeySize
	members, powers := seats.Members(), seats.Powers()
	b := make([]byte, 0, len(members)*size)
	for i, node := range members {
		b = le.AppendUint64(le.AppendUint32(b, node), uint64(powers[i]))
		b = append(b, s.keys[node].encoded[:]...)
	}
	return rollup.RootOf(rollup.CommitteeTreeKind, b, size)
}

// Verify checks that the committee of a record's term signed it, and was in office then:
// rollup.ErrUnknownTerm, rollup.ErrOffice, and what rollup.RecordCertificate.Verify refuses. It
// costs two pairings.
//
// A term begins in an epoch after the one in which its seats were drawn, and the next but one is
// drawn in an epoch that begins after it ended. So who stole keys of a committee that is long out
// of office can make no records of today.
func (c *Chain) Verify(record *rollup.Record, certificate *rollup.RecordCertificate) error {
	if record.Network != c.network {
		return fmt.Errorf("%w: %s", rollup.ErrNetwork, record.Network)
	}
	committee, err := c.Signers(record)
	if err != nil {
		return err
	}
	return certificate.Verify(record, c.network, committee)
}

// Signers returns the committee that signs a record: rollup.ErrUnknownTerm, rollup.ErrOffice.
func (c *Chain) Signers(record *rollup.Record) (*rollup.Committee, error) {
	committee, err := c.Committee(record.Term)
	if err != nil || c.every == nil {
		return committee, err
	}
	from, until, term := int64(0), int64(math.MaxUint32), int(record.Term)
	if term > 0 {
		from = int64(c.hops[term-1].Epoch) + 1
	}
	if term+1 < len(c.hops) {
		until = int64(c.hops[term+1].Epoch)
	}
	if e := int64(record.Epoch); e < from || e > until {
		return nil, fmt.Errorf("%w: term %d in epoch %d, where %d to %d may be", rollup.ErrOffice,
			term, e, from, until)
	}
	return committee, nil
}

// HandOvers returns the hand-overs from a term to another, false when the chain does not have them
// all.
func (c *Chain) HandOvers(first, last uint32) (*HandOvers, bool) {
	if first == 0 || first > last || int64(last) > int64(len(c.hops)) {
		return nil, false
	}
	h := &HandOvers{First: first, Hops: slices.Clone(c.hops[first-1 : last])}
	for _, node := range Newcomers(c.seatsIn(first-1), h.Hops) {
		h.Keys = append(h.Keys, NodeKey{node, c.keys[node].encoded})
	}
	return h, true
}

// Newcomers returns the nodes whose keys belong into a file of hand-overs: those that get a seat by
// its hops and have none of the seats before the first one, ascending.
func Newcomers(before Seats, hops []Hop) (nodes []uint32) {
	sitting := before.sitting()
	for i := range hops {
		for _, x := range hops[i].Changes {
			if x.Holder != NoHolder && !sitting[x.Holder] {
				sitting[x.Holder] = true
				nodes = append(nodes, x.Holder)
			}
		}
	}
	slices.Sort(nodes)
	return nodes
}

var errFixed = errors.New("the committee is that of the genesis for ever")

// Extend verifies hand-overs, all of them, and takes over those to terms that are not known yet; or
// none, when one does not hold. A quorum of each term must have signed the next, whose seats follow
// by the rules; a file that the chain has in part must say the same. workers bounds goroutines, 0
// means 1. Errors: rollup.ErrTerm on a network whose committee does not rotate,
// rollup.ErrGap, rollup.ErrSeats, rollup.ErrFork, and rollup.ErrHandOver, which wraps ErrBitmap,
// ErrQuorum or ErrSignature; a *rollup.VerifyError in between tells the term.
func (c *Chain) Extend(h *HandOvers, workers int) error { return c.extend(h, workers, true) }

// Restore is Extend without signatures, for what this program verified before and kept where nobody
// else writes.
func (c *Chain) Restore(h *HandOvers) error { return c.extend(h, 0, false) }

func (c *Chain) extend(h *HandOvers, workers int, signed bool) error {
	if c.every == nil {
		return fmt.Errorf("hand-overs: %w: %w", rollup.ErrTerm, errFixed)
	}
	known := c.hops
	if int64(h.First) > int64(len(known))+1 || h.First == 0 || len(h.Hops) == 0 {
		return fmt.Errorf("hand-overs: %w: they begin with term %d, and term %d is the last that is "+
			"known", rollup.ErrGap, h.First, len(known))
	}
	v := verifier{state: c.before(h.First), network: c.network, file: h, signed: signed,
		workers: max(1, workers)}
	if err := v.run(); err != nil {
		return fmt.Errorf("hand-overs: %w", err)
	}
	for i := range h.Hops {
		if at := int(h.First) - 1 + i; at < len(known) && !known[at].same(&h.Hops[i]) {
			return fmt.Errorf("hand-overs: %w", v.at(i, rollup.ErrFork))
		}
	}
	if int64(h.Last()) > int64(len(known)) {
		c.take(&v)
	}
	return nil
}

// before returns the state that the hop to a term builds on.
func (c *Chain) before(term uint32) state {
	if int(term) == len(c.hops)+1 {
		s := c.state
		s.seats, s.past, s.keys = slices.Clone(s.seats), s.past.clone(), maps.Clone(s.keys)
		return s
	}
	s := state{seats: slices.Clone(c.every[0]), epoch: -1, keys: maps.Clone(c.keys)}
	s.past.Add(c.root(s.seats))
	for i := range term - 1 {
		s.seats.apply(c.hops[i].Changes)
		s.past.Add(c.root(s.seats))
		s.epoch = int64(c.hops[i].Epoch)
	}
	return s
}

func (t *Terms) clone() Terms { return Terms{t.count, slices.Clone(t.peaks)} }

// same reports whether two hops from the same term say the same, whoever signed.
func (h *Hop) same(other *Hop) bool {
	return h.Epoch == other.Epoch && slices.Equal(h.Changes, other.Changes) && h.Seed == other.Seed &&
		h.SnapshotHeight == other.SnapshotHeight && h.SnapshotBytes == other.SnapshotBytes &&
		h.SnapshotRoot == other.SnapshotRoot
}

// take takes over what a verifier found to follow, and is not known.
func (c *Chain) take(v *verifier) {
	c.hops = append(c.hops[:len(c.hops):len(c.hops)], v.file.Hops[len(c.hops)+1-int(v.file.First):]...)
	for _, seats := range v.every {
		if int(seats.term) == len(c.every)*keptEvery {
			c.every = append(c.every, seats.seats)
		}
	}
	c.state = v.state
	c.now = c.committee(c.seats, v.file.Last())
}

// verifier checks the hops of a file, each of which builds on the ones before: after run, the state
// is that after the last one.
type verifier struct {
	state
	network rollup.Network
	file    *HandOvers
	workers int
	signed  bool
	every   []termSeats // those of every keptEvery-th term
}

type termSeats struct {
	term  uint32
	seats Seats
}

func (v *verifier) at(i int, err error) error {
	return &rollup.VerifyError{What: "term", Index: int(v.file.First) + i, Err: err}
}

// together is how many hops are verified at once: enough for all that a batch can save, and no
// more memory than some megabytes.
const together = 1024

func (v *verifier) run() error {
	if err := v.takeKeys(); err != nil {
		return err
	}
	for from := 0; from < len(v.file.Hops); from += together {
		if err := v.some(from, min(from+together, len(v.file.Hops))); err != nil {
			return err
		}
	}
	return nil
}

// some verifies some of the hops: what depends on the hop before one by one, and the rest side by
// side.
func (v *verifier) some(from, to int) error {
	hops := v.file.Hops[from:to]
	seats := []Seats{v.seats} // seats[i] sign hop i
	for i := range hops {
		next, err := v.follow(&hops[i])
		if err != nil {
			return v.at(from+i, err)
		}
		seats = append(seats, next)
		if term := v.file.First + uint32(from+i); term%keptEvery == 0 {
			v.every = append(v.every, termSeats{term, next})
		}
	}
	var batch bls.Batch
	var sums []*bls.PublicKey
	if v.signed {
		var err error
		if sums, err = v.sums(from, hops, seats); err != nil {
			return err
		}
	}
	for i := range hops {
		hop, root := &hops[i], v.root(seats[i+1])
		message := HandOver{Network: v.network, Term: v.file.First + uint32(from+i), Epoch: hop.Epoch,
			Committee: root, Seats: seats[i+1].Digest(), Seed: hop.Seed, Terms: v.past.Root(),
			SnapshotHeight: hop.SnapshotHeight, SnapshotBytes: hop.SnapshotBytes,
			SnapshotRoot: hop.SnapshotRoot}
		v.past.Add(root)
		if v.signed {
			batch.Append(sums[i], message.Append(nil), hop.Signature[:])
		}
	}
	if !v.signed {
		return nil
	}
	return v.signatures(from, &batch)
}

// takeKeys decodes the file's keys: exactly those of who gets a seat and had none.
func (v *verifier) takeKeys() error {
	file, encoded := v.file.Keys, make([]byte, 0, len(v.file.Keys)*bls.PublicKeySize)
	for _, x := range v.file.Hops {
		for _, change := range x.Changes {
			if int(change.Seat) >= len(v.seats) {
				return fmt.Errorf("%w: there is no seat %d", rollup.ErrSeats, change.Seat)
			}
		}
	}
	want := Newcomers(v.seats, v.file.Hops)
	for i := range max(len(want), len(file)) {
		if i >= len(want) || i >= len(file) || file[i].Node != want[i] {
			return fmt.Errorf("%w: keys of %d nodes, which are not those of the %d that get a seat",
				rollup.ErrSeats, len(file), len(want))
		}
		if known, ok := v.keys[file[i].Node]; ok && known.encoded != file[i].Key {
			return fmt.Errorf("%w: node %d has another key", rollup.ErrSeats, file[i].Node)
		}
		encoded = append(encoded, file[i].Key[:]...)
	}
	keys, verdicts, err := bls.ParsePublicKeys(bls.Column{Data: encoded, Stride: bls.PublicKeySize,
		Width: bls.PublicKeySize}, v.workers)
	if err != nil {
		panic(fmt.Sprintf("rotation: a column of keys: %v", err)) // all have the size of one
	}
	for i, key := range keys {
		if key == nil {
			return fmt.Errorf("%w: the key of node %d: %w", rollup.ErrSeats, file[i].Node,
				verdicts[i].Err())
		}
		v.keys[file[i].Node] = &memberKey{file[i].Key, key}
	}
	return nil
}

// follow returns the seats after a hop, by the rules that need no more than the seats:
// rollup.ErrSeats.
func (v *verifier) follow(hop *Hop) (Seats, error) {
	before := v.seats
	next := slices.Clone(before)
	for i, x := range hop.Changes {
		switch {
		case i > 0 && hop.Changes[i-1].Seat >= x.Seat:
			return nil, fmt.Errorf("%w: seat %d does not ascend", rollup.ErrSeats, x.Seat)
		case before[x.Seat].Holder == x.Holder:
			return nil, fmt.Errorf("%w: node %d has seat %d already", rollup.ErrSeats, x.Holder, x.Seat)
		}
	}
	next.apply(hop.Changes)
	switch {
	case int64(hop.Epoch) <= v.epoch:
		return nil, fmt.Errorf("%w: drawn in epoch %d, not after epoch %d", rollup.ErrSeats, hop.Epoch,
			v.epoch)
	case len(hop.Changes) > before.MaxMoves():
		return nil, fmt.Errorf("%w: %d of %d change, where %d may", rollup.ErrSeats, len(hop.Changes),
			len(before), before.MaxMoves())
	}
	if err := before.check(next); err != nil {
		return nil, fmt.Errorf("%w: %w", rollup.ErrSeats, err)
	}
	v.seats, v.epoch = next, int64(hop.Epoch)
	return next, nil
}

// sums returns, for each hop, the sum of the keys of those who signed it.
func (v *verifier) sums(from int, hops []Hop, seats []Seats) ([]*bls.PublicKey, error) {
	sets := make([][]*bls.PublicKey, len(hops))
	for i := range hops {
		c := v.committee(seats[i], 0)
		if err := c.Enough(hops[i].Signers); err != nil {
			return nil, v.at(from+i, fmt.Errorf("%w: %w", rollup.ErrHandOver, err))
		}
		for at, m := range c.Members {
			if hops[i].Signers.Has(at) {
				sets[i] = append(sets[i], m.Key)
			}
		}
	}
	sums := bls.AggregateEach(sets, v.workers)
	for i, sum := range sums {
		if sum.IsIdentity() { // of keys that cancel, which sign nothing
			return nil, v.at(from+i, fmt.Errorf("%w: %w", rollup.ErrHandOver, rollup.ErrSignature))
		}
	}
	return sums, nil
}

// signatures verifies the signatures of hops together.
func (v *verifier) signatures(from int, batch *bls.Batch) error {
	verdicts := make([]bls.Verdict, len(batch.Signer))
	if _, err := bls.NewVerifier(bls.Default, v.workers).Verify(batch, verdicts); err != nil {
		panic(fmt.Sprintf("rotation: a batch of hand-overs: %v", err)) // its columns fit
	}
	for i, verdict := range verdicts {
		if err := verdict.Err(); err != nil {
			return v.at(from+i, fmt.Errorf("%w: %w: %w", rollup.ErrHandOver, rollup.ErrSignature, err))
		}
	}
	return nil
}
