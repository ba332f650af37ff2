package word

import (
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// TwoHandOvers are two hand-overs of one term, each signed by members of the term before. They
// ascend as bytes.
type TwoHandOvers struct {
	HandOvers [2]rotation.HandOver
	Sums      [2]Sum
}

// Lie implements Evidence.
func (e *TwoHandOvers) Lie() Lie { return LieTwoHandovers }

func (e *TwoHandOvers) append(dst []byte) []byte {
	for i := range e.HandOvers {
		dst = e.Sums[i].append(e.HandOvers[i].Append(dst))
	}
	return dst
}

func (r *reader) handOver() (h rotation.HandOver) {
	b := r.Next(rotation.HandOverSize)
	if r.Err != nil {
		return h
	}
	parsed, err := rotation.ParseHandOver(b)
	if err != nil {
		r.Fail("%w", err)
		return h
	}
	return *parsed
}

func (r *reader) twoHandOvers() Evidence {
	e := new(TwoHandOvers)
	for i := range e.HandOvers {
		e.HandOvers[i], e.Sums[i] = r.handOver(), r.sum()
	}
	r.ascend(e.HandOvers[0].Append(nil), e.HandOvers[1].Append(nil))
	return e
}

// Judge implements Evidence. The members that signed both are convicted; a quorum is not asked for.
// Who signs a hand-over without a snapshot, when its epoch is over, may have signed it with one
// before: that is no lie. Two different snapshots are, as two committees are.
func (e *TwoHandOvers) Judge(network *rollup.Network, reg Registry) (v Verdict, err error) {
	a, b := e.HandOvers[0], e.HandOvers[1]
	switch {
	case a.Network != *network || b.Network != *network:
		return v, refuse(ReasonNetwork, "a hand-over")
	case a.Term != b.Term:
		return v, refuse(ReasonSlot, "hand-overs to terms %d and %d", a.Term, b.Term)
	case a == b:
		return v, refuse(ReasonSame, "a hand-over to term %d", a.Term)
	case withoutSnapshot(a) == b || withoutSnapshot(b) == a:
		return v, refuse(ReasonTrue, "a hand-over to term %d with a snapshot, and without", a.Term)
	}
	return judgeBoth(e, reg, a.Epoch, &[2]said{{a.Term - 1, &e.Sums[0], a.Append(nil)},
		{b.Term - 1, &e.Sums[1], b.Append(nil)}})
}

func (e *TwoHandOvers) needs() needs { return needs{} }

// withoutSnapshot is what members sign in its place when the epoch is over.
func withoutSnapshot(h rotation.HandOver) rotation.HandOver {
	h.SnapshotHeight, h.SnapshotBytes, h.SnapshotRoot = 0, 0, rollup.Hash{}
	return h
}
