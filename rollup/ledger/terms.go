package ledger

import (
	"math"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// term is a committee and its time in office. It is immutable.
type term struct {
	committee *rollup.Committee
	seats     rotation.Seats // of which it is; nil for term 0
	height    int64          // of the first block that it votes for
	epoch     uint32         // the first whose rollups it judges, until that has settled
}

// terms are those that something may still be judged by, ascending. The last one may not be in
// office yet. The slice is replaced when it changes.
type terms []*term

// last returns the last of the terms for which a condition holds, which holds for the first ones.
// That of the oldest is not asked for: what is older is judged by nobody.
func (t terms) last(holds func(*term) bool) *rollup.Committee {
	for i := len(t) - 1; i > 0; i-- {
		if holds(t[i]) {
			return t[i].committee
		}
	}
	return t[0].committee
}

// voting returns the committee that votes for the block of a height.
func (t terms) voting(height int64) *rollup.Committee {
	return t.last(func(x *term) bool { return x.height <= height })
}

// of returns the committee that judges the rollups of an epoch, until it has settled: that of when
// the epoch began, whoever is in office meanwhile.
func (t terms) of(epoch uint32) *rollup.Committee {
	return t.last(func(x *term) bool { return x.epoch <= epoch })
}

// numbered returns the committee of a term.
func (t terms) numbered(number uint32) (*rollup.Committee, bool) {
	for _, x := range t {
		if x.committee.Term == number {
			return x.committee, true
		}
	}
	return nil, false
}

// inOffice returns the committee that votes for the next block, and so signs what this one did.
func (w *world) inOffice() *rollup.Committee { return w.terms.voting(w.height + 1) }

// Committee returns the committee in office, which votes for the next block; it must not be
// changed.
func (v *View) Committee() *rollup.Committee { return v.inOffice() }

// CommitteeOf returns the committee that judges the rollups of an epoch that is not settled. It is
// known once the epoch has begun. It must not be changed.
func (v *View) CommitteeOf(epoch uint32) *rollup.Committee { return v.terms.of(epoch) }

// CommitteeAt returns the committee of a term that something may still be judged by. It must not
// be changed.
func (v *View) CommitteeAt(term uint32) (*rollup.Committee, bool) { return v.terms.numbered(term) }

// Judges reports whether a node is a member of a committee that something may still be judged by:
// one that lost its seats signs on for what its committee began.
func (v *View) Judges(node uint32) bool {
	for _, x := range v.terms {
		if _, is := x.committee.Position(node); is {
			return true
		}
	}
	return false
}

// convicts returns whether the words of a committee with a node convict it, and until which epoch
// has settled; forever while it has seats.
func (w *world) convicts(node uint32) (until uint64, convicts bool) {
	for i := len(w.terms) - 1; i >= 0; i-- {
		if _, is := w.terms[i].committee.Position(node); !is {
			continue
		}
		if i+1 == len(w.terms) {
			return math.MaxUint64, true
		}
		return uint64(w.terms[i+1].epoch) + uint64(w.params.Rotation.EvidenceEpochs), true
	}
	return 0, false
}

// CommitteeVoting returns the committee that votes for the block of a height: the one after the
// last, the last, or an earlier one of which something may still be judged. It must not be changed.
func (v *View) CommitteeVoting(height int64) *rollup.Committee { return v.terms.voting(height) }
