package ledger

import (
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// Snapshot is what a committee says of the stream of records (package snapshot) of the state after
// a block. The zero value is none. A State cannot make it: nodes do, beside the blocks that follow.
type Snapshot struct {
	Height uint64      `json:"snapshot_height"`
	Bytes  uint64      `json:"snapshot_bytes"`
	Root   rollup.Hash `json:"snapshot_root"`
}

// snapshotHeight returns the first block of the epoch that the rotation is about, after which the
// snapshot of its hand-over is taken; 0 when that is forgotten.
func (w *world) snapshotHeight() uint64 {
	epoch := w.rotation.epoch
	if epoch < w.unsettled || epoch > w.epoch() {
		return 0
	}
	return uint64(w.starts[epoch-w.unsettled].height)
}

// judgeSnapshot refuses a hand-over with a snapshot of another block, and one without any while the
// epoch lasts. Later none may be said: of members that lost theirs, a quorum must still hand over.
func (w *world) judgeSnapshot(s *Snapshot) error {
	switch height := w.snapshotHeight(); {
	case *s == Snapshot{}:
		if w.epoch() == w.rotation.epoch && height > 0 {
			return refuse(CodeOutOfRange, "no snapshot, before the end of epoch %d", w.epoch())
		}
	case s.Height != height || s.Bytes == 0:
		return refuse(CodeOutOfRange, "a snapshot of %d bytes after block %d, and not after %d", s.Bytes,
			s.Height, height)
	}
	return nil
}

// message returns what the committee of the last term signs of the next one.
func (w *world) message(s *Snapshot) []byte {
	r := w.rotation
	next := w.seated(r.next, w.elected().Term+1)
	h := rotation.HandOver{Network: w.id, Term: next.Term, Epoch: r.epoch, Committee: next.Root(),
		Seats: r.next.Digest(), Seed: r.seed, Terms: r.past.Root(), SnapshotHeight: s.Height,
		SnapshotBytes: s.Bytes, SnapshotRoot: s.Root}
	return h.Append(nil)
}

// HandOver returns the term that the elected committee hands over to, and the block after which the
// snapshot has to be that members sign with it: 0 when they sign none any more, as the epoch is
// over. ok is false unless a hand-over is waited for.
func (v *View) HandOver() (term uint32, snapshot uint64, ok bool) {
	if v.rotation == nil || v.rotation.phase != PhaseHandOver {
		return 0, 0, false
	}
	if v.epoch() == v.rotation.epoch {
		snapshot = v.snapshotHeight()
	}
	return v.elected().Term + 1, snapshot, true
}

// HandOverMessage returns what members sign when HandOver is ok, with the snapshot that it asks
// for.
func (v *View) HandOverMessage(s Snapshot) []byte { return v.message(&s) }

// Snapshots reports whether a snapshot is to be taken of this state: it is that after the first
// block of an epoch, of a committee that rotates.
func (v *View) Snapshots() bool {
	return v.rotation != nil && v.height > 0 && v.begin().height == v.height
}
