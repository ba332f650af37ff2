package virtual

import (
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// errGone is what the remains of a process hear of a disk that is not theirs any more.
var errGone = errors.New("virtual: the process was killed")

// trip is a wire before a disk: the machine fails at one of its writes or syncs, before it is done,
// and while others may be half done. Whoever writes later writes nowhere.
type trip struct {
	fail func() Disk // takes the machine from the network, and returns what is on its disk then

	mu    sync.Mutex
	left  int // writes and syncs, with the one that fails; 0: none does
	gone  bool
	after Disk
}

// arm lets the machine fail at a write or sync, counted from now on.
func (t *trip) arm(at int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left = at
}

// tripped returns what is on the disk of a machine that has failed.
func (t *trip) tripped() (Disk, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.after, t.gone
}

func (t *trip) String() string { return "trip" }

// MaybeError implements errorfs.Injector.
func (t *trip) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return errGone
	}
	if t.left == 0 {
		return nil
	}
	if t.left--; t.left > 0 {
		return nil
	}
	t.gone, t.after = true, t.fail()
	return errGone
}
