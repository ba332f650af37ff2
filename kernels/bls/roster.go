package bls

import (
	"fmt"
	"math/bits"

	"github.com/waybill-network/waybill/kernels/fp381"
)

// Roster is keys of which sums sign: those of a committee, say, all of which have proved
// possession. It is immutable and safe for concurrent use.
type Roster struct{ keys []*PublicKey }

// NewRoster returns a roster of keys, in their order. One that is nil or the identity gives an
// error that wraps [ErrBatch].
func NewRoster(keys []*PublicKey) (*Roster, error) {
	for i, key := range keys {
		if key == nil || key.p.IsInfinity() {
			return nil, fmt.Errorf("%w: key %d of a roster is not usable", ErrBatch, i)
		}
	}
	return &Roster{keys}, nil
}

// sumOf names keys of a roster: bit i%8 of byte i/8 stands for key i.
type sumOf struct {
	roster *Roster // nil: there is none
	bits   string
}

func (s *sumOf) has(i int) bool { return i/8 < len(s.bits) && s.bits[i/8]>>(i%8)&1 == 1 }

// valid reports whether the bits name keys, and nothing but keys.
func (s *sumOf) valid() bool {
	count := 0
	for i := range len(s.bits) {
		b := s.bits[i]
		if b != 0 && 8*i+bits.Len8(b) > len(s.roster.keys) {
			return false
		}
		count += bits.OnesCount8(b)
	}
	return count > 0
}

func (s *sumOf) keys() (keys []*PublicKey) {
	for i, key := range s.roster.keys {
		if s.has(i) {
			keys = append(keys, key)
		}
	}
	return keys
}

// AppendSum is [Batch.Append] for a signature under the sum of some keys of a roster: key i where
// bit i%8 of byte i/8 is set. The sum is not computed unless it is needed. Keys that cancel give
// VerdictIdentity. Bits that name no key, or none of the roster's, make the batch malformed
// (ErrBatch).
func (b *Batch) AppendSum(of *Roster, bits, message, signature []byte) {
	s := sumOf{of, string(bits)}
	place, known := b.sumPlaces[s]
	if !known {
		if b.sumPlaces == nil {
			b.sumPlaces = make(map[sumOf]uint32)
		}
		place = uint32(len(b.Keys))
		b.sumPlaces[s] = place
		b.sums = append(b.sums, make([]sumOf, len(b.Keys)-len(b.sums))...)
		b.Keys, b.sums = append(b.Keys, nil), append(b.sums, s)
	}
	b.append(place, message, signature)
}

// sum is the sum that stands for key i, if there is one.
func (b *Batch) sum(i uint32) *sumOf {
	if int(i) < len(b.sums) && b.sums[i].roster != nil && b.Keys[i] == nil {
		return &b.sums[i]
	}
	return nil
}

// addsPerLoop is how many additions of points take at most what a Miller loop takes, whichever the
// kernel: they take 1/600 to 1/400.
const addsPerLoop = 256

// pairUp sets v.p and v.q to what is paired: each group's h with its key. By bilinearity
//
//	Π e(h_g, Σ_{j∈g} pk_j) = Π e(Σ_{g∋j} h_g, pk_j),
//
// so that groups of sums of a roster's keys take a loop for each of these keys instead, if that is
// less work, and nobody computes the sums.
func (v *Verifier) pairUp() {
	v.spreads = v.spreads[:0]
	for i := range v.groups {
		if g := &v.groups[i]; g.sum == nil {
			v.p, v.q = append(v.p, g.h), append(v.q, g.key.p)
		} else {
			v.spreadOf(g.sum.roster).take(i, g.sum)
		}
	}
	for _, s := range v.spreads {
		if s.count(); s.worthwhile() {
			v.spread(s)
			continue
		}
		v.sumKeys(s.groups)
		for _, i := range s.groups {
			v.p, v.q = append(v.p, v.groups[i].h), append(v.q, v.groups[i].key.p)
		}
	}
}

// spread is the groups of sums of a roster's keys, which may become loops of these keys.
type spread struct {
	of     *Roster
	groups []int // in v.groups
	counts []int // groups that a key is in
	adds   int   // additions
	loops  int
}

func (v *Verifier) spreadOf(of *Roster) *spread {
	for _, s := range v.spreads {
		if s.of == of {
			return s
		}
	}
	v.spreads = append(v.spreads, &spread{of: of, counts: make([]int, len(of.keys))})
	return v.spreads[len(v.spreads)-1]
}

func (s *spread) take(group int, sum *sumOf) {
	s.groups = append(s.groups, group)
	for at := range len(sum.bits) {
		for b := sum.bits[at]; b != 0; b &= b - 1 {
			s.counts[8*at+bits.TrailingZeros8(b)]++
		}
	}
}

// count finds the work.
func (s *spread) count() {
	s.adds = len(s.groups)
	for key, n := range s.counts {
		if s.most(key) {
			n = len(s.groups) - n + 1
		}
		if n > 0 {
			s.adds += n
			s.loops++
		}
	}
}

func (s *spread) worthwhile() bool { return s.loops+s.adds/addsPerLoop < len(s.groups) }

// most reports whether a key is in so many groups that it takes less to subtract the others from
// the sum of all.
func (s *spread) most(key int) bool { return s.counts[key] > len(s.groups)-s.counts[key]+1 }

// spread appends the pairs to v.p and v.q.
func (v *Verifier) spread(s *spread) {
	n := len(s.groups)
	v.points = grow(v.points, 2*n+1) // all h, what is opposite to them, and their sum
	for i, group := range s.groups {
		h := v.groups[group].h
		v.points[i] = h
		v.points[n+i].Neg(&h)
	}
	l := v.spaces[0]
	l.points = append(l.points[:0], v.points[:n]...)
	v.points[2*n] = l.total()
	first := len(v.p)
	var keys []int
	for key, count := range s.counts {
		if count > 0 {
			keys = append(keys, key)
			v.p, v.q = append(v.p, affine{}), append(v.q, s.of.keys[key].p)
		}
	}
	const most = 1 << 18 // indices at a time
	part := max(1, min((len(keys)+len(v.spaces)-1)/len(v.spaces), most/(n/2+1)))
	v.each((len(keys)+part-1)/part, func(l *workspace, task int) {
		lo, hi := part*task, min(len(keys), part*(task+1))
		var order []int32
		segments := make([]segment, 0, hi-lo)
		for _, key := range keys[lo:hi] {
			start := len(order)
			order = v.choose(order, s, key)
			segments = append(segments, segment{start, len(order) - start})
		}
		l.sumSubsets(v.p[first+lo:first+hi], v.points, order, segments)
	})
}

// choose appends which of v.points add up to the sum of the h of the groups that a key is in.
func (v *Verifier) choose(order []int32, s *spread, key int) []int32 {
	n, most := len(s.groups), s.most(key)
	if most {
		order = append(order, int32(2*n))
	}
	for i, group := range s.groups {
		switch has := v.groups[group].sum.has(key); {
		case has && !most:
			order = append(order, int32(i))
		case !has && most:
			order = append(order, int32(n+i))
		}
	}
	return order
}

// sumSubsets sets dst[i] to the sum of the points of G1 that segment i of order names.
func (l *workspace) sumSubsets(dst, pts []affine, order []int32, segments []segment) {
	if w := l.wideFor(len(order)); w != nil && len(order) >= adderFrom {
		s := &w.sums
		s.converted = grow(s.converted, len(pts))
		w.widen(s.converted, pts)
		s.sumChosen(&s.points, s.converted, order, segments, wideAddBlock,
			func(to, from []widePoint, pairs []fp381.Pair) { w.addPairs(&g1, to, from, pairs) })
		for i, seg := range segments {
			if dst[i] = (affine{}); seg.n == 1 {
				w.narrow(dst[i:i+1], s.points[seg.start:seg.start+1])
			}
		}
		return
	}
	to := &l.sums.points
	l.sumChosen(to, pts, order, segments, addBlock,
		func(to, from []affine, pairs []fp381.Pair) { l.addPairs(&g1, to, from, pairs) })
	for i, seg := range segments {
		if dst[i] = (affine{}); seg.n == 1 {
			dst[i] = (*to)[seg.start]
		}
	}
}

// sumKeys computes the keys of groups that are sums.
func (v *Verifier) sumKeys(groups []int) {
	var sets [][]*PublicKey
	var to []*group
	for _, i := range groups {
		if g := &v.groups[i]; g.key == nil {
			sets, to = append(sets, g.sum.keys()), append(to, g)
		}
	}
	for i, key := range AggregateEach(sets, len(v.spaces)) {
		to[i].key = key
	}
}

// allSumKeys is sumKeys of all groups.
func (v *Verifier) allSumKeys() {
	for _, s := range v.spreads {
		v.sumKeys(s.groups)
	}
}

// cancelled gives VerdictIdentity to the entries of keys that cancel. None of them is valid: what
// is left of their equation is that the signature is the identity, and none that decodes is.
func (v *Verifier) cancelled(verdicts []Verdict) {
	for _, g := range v.groups {
		if g.sum == nil || g.key == nil || !g.key.p.IsInfinity() {
			continue
		}
		for _, i := range v.entry[g.lo:g.hi] {
			verdicts[i] = VerdictIdentity
		}
	}
}
