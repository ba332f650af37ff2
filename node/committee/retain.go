package committee

import (
	"time"

	"github.com/cometbft/cometbft/types"
)

// blocks is the engine's block store, as far as retention looks into it.
type blocks interface {
	Base() int64                            // the lowest height that is kept, 0 when there is none
	LoadBlockMeta(h int64) *types.BlockMeta // nil when it is not there
}

// retention says which blocks the engine may forget: those that are older than the operator wants
// to keep for peers that were away, and whose signers can not be convicted any more. Were a block
// dropped within the age of evidence, the engine would keep its header and commit for that, and
// never look at them again.
type retention struct {
	keep     time.Duration // by block time; 0: all
	evidence types.EvidenceParams
	blocks   blocks // nil while the engine is built
	next     int64  // nothing below may be kept any more
	// joining returns the block behind which nodes may still begin, 0 for none: they need what is kept
	// for that block, and all blocks behind it; may be nil
	joining func() int64
}

// retainSteps is how many more blocks may go at a commit, which waits for it.
const retainSteps = 100

// height returns the lowest height to keep once a block is committed, 0 when nothing is to go.
func (r *retention) height(committed int64, now time.Time) int64 {
	if r.keep == 0 || r.blocks == nil {
		return 0
	}
	if r.joining != nil {
		if from := r.joining(); from > 0 && from < committed {
			committed = from
			if meta := r.blocks.LoadBlockMeta(from); meta != nil {
				now = meta.Header.Time
			}
		}
	}
	base := r.blocks.Base()
	cutoff := now.Add(-max(r.keep, r.evidence.MaxAgeDuration))
	h := max(r.next, base)
	for end := min(h+retainSteps, committed-r.evidence.MaxAgeNumBlocks); h < end; h++ {
		if meta := r.blocks.LoadBlockMeta(h); meta != nil && !meta.Header.Time.Before(cutoff) {
			break
		}
	}
	r.next = h
	if h <= base {
		return 0
	}
	return h
}
