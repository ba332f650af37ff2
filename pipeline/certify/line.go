package certify

import (
	"sync"

	"github.com/waybill-network/waybill/rollup"
)

// line is a window's place in the order in which the members hear of an epoch's windows. The job of
// the next window looks at it; a nil one says that nothing is before.
type line struct {
	begun chan struct{} // closed when the window is pushed, or will not be
	over  chan struct{} // closed when the window needs no answers any more

	mu      sync.Mutex
	members map[uint32]chan struct{} // by node; closed when it has answered for good
	instead *line                    // what counts in place of a window that will not be certified
}

func newLine() *line {
	return &line{begun: make(chan struct{}), over: make(chan struct{}),
		members: make(map[uint32]chan struct{})}
}

var passed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// hasBegun returns a channel that is closed when the next window may be pushed.
func (l *line) hasBegun() <-chan struct{} {
	if l == nil {
		return passed
	}
	return l.begun
}

// answers returns a channel that is closed when a member may hear of the next window. The window
// itself has begun.
func (l *line) answers(node uint32) <-chan struct{} {
	if l == nil {
		return passed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.over:
		return l.over
	default:
	}
	if l.instead != nil {
		return l.instead.answers(node)
	}
	return l.member(node)
}

func (l *line) member(node uint32) chan struct{} {
	c := l.members[node]
	if c == nil {
		c = make(chan struct{})
		l.members[node] = c
	}
	return c
}

// answered says that a member has nothing more to say.
func (l *line) answered(node uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	closeOnce(l.member(node))
}

// begin says that the window is pushed now.
func (l *line) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	closeOnce(l.begun)
}

// end says that the window needs no answers any more, nor any that it waited for.
func (l *line) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	closeOnce(l.begun)
	closeOnce(l.over)
	for _, c := range l.members {
		closeOnce(c)
	}
}

// skip says that the window will not be certified: who waits for its members' answers waits for
// what it waited for itself. Otherwise a member would hear of the windows behind it too early, and
// refuse those before it.
func (l *line) skip(before *line) {
	if before == nil {
		l.end()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.over: // it was certified
		return
	default:
	}
	closeOnce(l.begun)
	l.instead = before
	for node := range l.members {
		go func() { // until the job before is at its end, at the latest
			<-before.answers(node)
			l.answered(node)
		}()
	}
}

// closeOnce closes a channel. The caller holds the lock of whoever closes it.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// behind returns the line of the last window before one in its epoch that is not at its end. The
// caller holds the outbox's lock.
func (o *Outbox) behind(key rollup.WindowKey) *line {
	var last *line
	for _, j := range o.jobs {
		if j.key.Epoch == key.Epoch && j.key.Window < key.Window {
			last = j.line
		}
	}
	return last
}
