package rotation

import (
	"fmt"
	"math"
	"slices"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/internal/wire"
)

// Evidence is what decided about the seats of a term: with it anybody draws them again.
type Evidence struct {
	Round      uint8
	Previous   rollup.Hash   // the seed before
	Announced  rollup.Bitmap // of the term before: who signed the beacon's message
	Sum        [rollup.SignatureSize]byte
	Candidates []Candidate
	Ready      rollup.Bitmap // of the winners that held no seat, in the order of their draws
	Gone       []uint32      // of winners and holders of drawn seats, ascending
}

// Draws is the evidence of terms that follow each other, as files carry it (docs/rotation.md).
type Draws struct {
	First uint32 // at least 1
	Marks []Mark // of the seats of the term before, without a mark when that is term 0
	Terms []Evidence
}

// leastEvidence is the size in bytes of the evidence without candidates.
const leastEvidence = 1 + 32 + 1 + 1 + rollup.SignatureSize + 4 + 2 + 2

// Last returns the last term that it is about.
func (d *Draws) Last() uint32 { return d.First + uint32(len(d.Terms)) - 1 }

// Append appends the encoding to dst.
func (d *Draws) Append(dst []byte) []byte {
	dst = le.AppendUint32(le.AppendUint32(dst, d.First), uint32(len(d.Terms)))
	dst = le.AppendUint16(dst, uint16(len(d.Marks)))
	for _, m := range d.Marks {
		dst = append(dst, byte(m))
	}
	for i := range d.Terms {
		dst = d.Terms[i].Append(dst)
	}
	return dst
}

// Append appends the encoding of the evidence of one term to dst.
func (e *Evidence) Append(dst []byte) []byte {
	dst = append(append(dst, e.Round), e.Previous[:]...)
	dst = append(append(dst, byte(len(e.Announced))), e.Announced...)
	dst = le.AppendUint32(append(dst, e.Sum[:]...), uint32(len(e.Candidates)))
	for _, c := range e.Candidates {
		dst = le.AppendUint64(le.AppendUint32(dst, c.Node), c.Weight)
	}
	dst = append(le.AppendUint16(dst, uint16(len(e.Ready))), e.Ready...)
	dst = le.AppendUint16(dst, uint16(len(e.Gone)))
	for _, node := range e.Gone {
		dst = le.AppendUint32(dst, node)
	}
	return dst
}

// ParseDraws decodes what Append wrote, and nothing after it. The error is ErrMalformed of package
// rollup, in a *rollup.DecodeError.
func ParseDraws(b []byte) (*Draws, error) {
	r := &wire.Reader{B: b, Kind: rollup.ErrMalformed}
	d := &Draws{First: r.U32()}
	count := r.U32()
	if r.Err == nil && (d.First == 0 || count == 0 || count > math.MaxUint32-d.First) {
		r.Fail("%d draws from term %d on", count, d.First)
	}
	for _, m := range r.Next(r.Count(uint64(r.U16()), 1)) {
		d.Marks = append(d.Marks, Mark(m))
		if Mark(m) > MarkStayed || d.First == 1 && Mark(m) != MarkNone {
			r.Fail("the mark %d", m)
		}
	}
	d.Terms = make([]Evidence, r.Count(uint64(count), leastEvidence))
	for i := range d.Terms {
		d.Terms[i].read(r)
	}
	if err := r.End(); err != nil {
		return nil, &rollup.DecodeError{Offset: len(b) - r.Mark, Err: fmt.Errorf("draws: %w", err)}
	}
	return d, nil
}

// ParseEvidence decodes the evidence of one term and nothing after it: ErrMalformed of package
// rollup.
func ParseEvidence(b []byte) (*Evidence, error) {
	r, e := &wire.Reader{B: b, Kind: rollup.ErrMalformed}, new(Evidence)
	e.read(r)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("draw: %w", err)
	}
	return e, nil
}

func (e *Evidence) read(r *wire.Reader) {
	e.Round = r.U8()
	r.Fill(e.Previous[:])
	e.Announced = slices.Clone(r.Next(int(r.U8())))
	r.Fill(e.Sum[:])
	e.Candidates = make([]Candidate, r.Count(uint64(r.U32()), candidateSize))
	for i := range e.Candidates {
		e.Candidates[i] = Candidate{r.U32(), r.U64()}
	}
	e.Ready = slices.Clone(r.Next(int(r.U16())))
	e.Gone = make([]uint32, r.Count(uint64(r.U16()), 4))
	for i := range e.Gone {
		e.Gone[i] = r.U32()
		if i > 0 && e.Gone[i-1] >= e.Gone[i] {
			r.Fail("node %d does not ascend", e.Gone[i])
		}
	}
}

// Draw returns the seats that follow from these by the evidence of an epoch, of which the committee
// that holds them made the beacon: with a seed that it gives, and the rules. It costs two pairings.
// Errors: rollup.ErrSeats, rollup.ErrBitmap, rollup.ErrSignature.
func (s Seats) Draw(e *Evidence, network rollup.Network, committee *rollup.Committee, epoch uint32,
	seed rollup.Hash, termEpochs int) (Seats, error) {
	candidates, err := NewCandidates(e.Candidates)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", rollup.ErrSeats, err)
	}
	beacon := Beacon{Network: network, Epoch: epoch, Round: e.Round, Previous: e.Previous,
		Candidates: candidates.Root(), Announced: e.Announced}
	if err := beacon.Verify(committee, &e.Sum); err != nil {
		return nil, err
	}
	if got := Seed(&e.Sum); got != seed {
		return nil, fmt.Errorf("%w: the seed is %s, not %s", rollup.ErrSeats, got, seed)
	}
	drawn, err := s.DrawAll(candidates, seed, epoch, termEpochs)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", rollup.ErrSeats, err)
	}
	asked := s.Asked(drawn)
	if len(asked) > 0 && e.Ready.Validate(len(asked)) != nil || len(asked) == 0 && len(e.Ready) > 0 {
		return nil, fmt.Errorf("%w: %d bytes of who is ready, of %d", rollup.ErrSeats, len(e.Ready),
			len(asked))
	}
	for _, node := range e.Gone {
		if !slices.ContainsFunc(drawn, func(d Drawn) bool {
			return d.Winner == node || s[d.Seat].Holder == node
		}) {
			return nil, fmt.Errorf("%w: node %d is gone, and it was about none of its seats",
				rollup.ErrSeats, node)
		}
	}
	next, _, err := s.Next(drawn, &shown{asked, e})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", rollup.ErrSeats, err)
	}
	return next, nil
}

// shown is what evidence says of nodes.
type shown struct {
	asked []uint32
	e     *Evidence
}

// Ready implements Nodes.
func (n *shown) Ready(node uint32) bool { return n.e.Ready.Has(slices.Index(n.asked, node)) }

// Gone implements Nodes.
func (n *shown) Gone(node uint32) bool {
	_, gone := slices.BinarySearch(n.e.Gone, node)
	return gone
}

// Show returns the parts of evidence that say of nodes what Next asked.
func (s Seats) Show(drawn []Drawn, nodes Nodes) (ready rollup.Bitmap, gone []uint32) {
	asked := s.Asked(drawn)
	ready = rollup.NewBitmap(len(asked))
	for i, node := range asked {
		if nodes.Ready(node) {
			ready.Set(i)
		}
	}
	for _, d := range drawn {
		for _, node := range [...]uint32{d.Winner, s[d.Seat].Holder} {
			if node != NoHolder && nodes.Gone(node) {
				gone = append(gone, node)
			}
		}
	}
	slices.Sort(gone)
	return ready, slices.Compact(gone)
}

// Redraw draws the seats of terms that the chain knows again: each must be what hand-overs said.
// It returns the seats after the last one, with their marks. The errors are rollup.ErrUnknownTerm,
// and those of Seats.Draw in a *rollup.VerifyError that tells the term.
func (c *Chain) Redraw(d *Draws, termEpochs int) (Seats, error) {
	switch {
	case c.every == nil:
		return nil, fmt.Errorf("draws: %w: %w", rollup.ErrTerm, errFixed)
	case d.First == 0 || len(d.Terms) == 0 || d.Last() > c.Last():
		return nil, fmt.Errorf("draws: %w: %d to %d, where hand-overs lead to term %d",
			rollup.ErrUnknownTerm, d.First, d.Last(), c.Last())
	case len(d.Marks) != len(c.seats):
		return nil, fmt.Errorf("draws: %w: marks of %d seats", rollup.ErrSeats, len(d.Marks))
	}
	seats := c.seatsIn(d.First - 1)
	for i := range seats {
		seats[i].Mark = d.Marks[i]
	}
	for i := range d.Terms {
		term := d.First + uint32(i)
		committee, err := c.Committee(term - 1)
		if err != nil {
			return nil, err
		}
		hop := &c.hops[term-1]
		next, err := seats.Draw(&d.Terms[i], c.network, committee, hop.Epoch, hop.Seed, termEpochs)
		if err == nil && next.Digest() != c.seatsIn(term).Digest() {
			err = fmt.Errorf("%w: they go to others than was handed over", rollup.ErrSeats)
		}
		if err != nil {
			return nil, fmt.Errorf("draws: %w",
				&rollup.VerifyError{What: "term", Index: int(term), Err: err})
		}
		seats = next
	}
	return seats, nil
}
