package pipeline

import (
	"errors"
	"slices"
	"sync"

	"github.com/waybill-network/waybill/rollup"
)

// recaller answers signed acks whose windows are in memory no more: known, number_used, or
// past_epoch for a number that was never taken. One goroutine does it, because it reads the disk:
// whoever asks for many old windows keeps one core busy at most, and delays nobody's batch.
type recaller struct {
	mu      sync.Mutex
	filled  sync.Cond
	pending []*chunk
	closed  bool
}

func (r *recaller) init() { r.filled.L = &r.mu }

func (r *recaller) add(c *chunk) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = append(r.pending, c)
	r.filled.Signal()
}

// take waits for chunks; none means that the recaller is closed.
func (r *recaller) take(spare []*chunk) (chunks []*chunk) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.pending) == 0 && !r.closed {
		r.filled.Wait()
	}
	chunks, r.pending = r.pending, spare[:0]
	return chunks
}

func (r *recaller) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.filled.Signal()
}

// recall answers chunk after chunk until the recaller is closed and empty.
func (p *Pipeline) recall() {
	var spare []*chunk
	for {
		chunks := p.recaller.take(spare)
		if len(chunks) == 0 {
			return
		}
		for _, c := range chunks {
			for i, at := range c.at {
				if a := &c.future.answers[at]; a.Code == rollup.CodeAccepted {
					var held rollup.Frame
					if *a, held = p.recallAck(c.frame(i)); held != nil {
						c.future.hold(at, held)
					}
				}
			}
		}
		p.committer.add(chunks)
		clear(chunks)
		spare = chunks
	}
}

// recallAck says what became of the number of a signed ack.
func (p *Pipeline) recallAck(f rollup.Frame) (a rollup.Answer, held rollup.Frame) {
	// Asked before: an epoch that takes nothing more by now has all that it ever took where it is
	// looked for. Asked afterwards, a copy of the ack could have been taken in between.
	over := p.windows.over(f.Epoch())
	at, err := p.taken(f.Epoch(), f.Client(), f.Service(), f.Number())
	switch {
	case err == nil && at.open:
		return rollup.Answer{Code: rollup.CodeBusy}, nil
	case err == nil && sameAck(at.frame, f):
		return rollup.Answer{Code: rollup.CodeKnown}, nil
	case err == nil:
		if at.state == AckPooled {
			held = at.frame
		}
		return rollup.Answer{Code: rollup.CodeNumberUsed}, held
	case !errors.Is(err, rollup.ErrNotFound):
		return rollup.Answer{Code: rollup.CodeStoreFailed}, nil
	case !over:
		return rollup.Answer{Code: rollup.CodeBusy}, nil
	}
	return rollup.Answer{Code: rollup.CodePastEpoch}, nil
}

// over reports whether no ack of an epoch can be taken any more. One that has just ended, with acks
// in flight, is not over.
func (ws *windows) over(number uint32) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return !slices.ContainsFunc(ws.taking, func(e *epoch) bool { return e.number == number })
}

// takenAck is an ack that this node took. All of it but the signature is always there.
type takenAck struct {
	frame   rollup.Frame
	key     rollup.WindowKey
	state   AckState
	durable bool
	open    bool // taken on account, and neither verified nor covered yet
	rollup  rollup.Hash
}

// taken returns the ack that was taken under a number: from memory, or from the window that the
// store names. The error wraps rollup.ErrNotFound when there is none.
func (p *Pipeline) taken(epoch uint32, client uint64, service, number uint32) (takenAck, error) {
	want := rollup.Ack{Net: p.cfg.Network.Net(), Epoch: epoch, Node: p.cfg.Node, Client: client,
		Service: service, Number: number}
	ws := &p.windows
	ws.mu.Lock()
	// A window is in memory, then sealed, then let go: asked in this order, no ack is missed.
	if w, i := ws.find(epoch, want.Append(nil)); w != nil {
		defer ws.mu.Unlock()
		return takenAck{frame: append(rollup.Frame(nil), w.frame(i)...), key: w.key, state: AckPooled,
			durable: i < w.durable, open: w.has(i, markOpen)}, nil
	}
	ws.mu.Unlock()
	window, err := p.store.FindRun(p.cfg.Node, epoch, client, service, number)
	if err != nil {
		return takenAck{}, err
	}
	key := rollup.WindowKey{Node: p.cfg.Node, Epoch: epoch, Window: window}
	s, err := p.sealedWindow(key)
	if err != nil {
		return takenAck{}, unkept(err)
	}
	i, ok := s.acks.Index(client, service, number)
	if !ok {
		return takenAck{}, errUnkept
	}
	want.Units, want.Request = s.acks.Units(i), s.acks.Request(i)
	return takenAck{frame: want.Append(nil), key: key, state: AckSealed, durable: true,
		rollup: s.id}, nil
}

// errUnkept says that a number was taken, and that what was taken under it can not be read.
var errUnkept = errors.New("pipeline: the store names a window that does not have the ack")

// unkept keeps what is missing from looking like a number that was never taken.
func unkept(err error) error {
	if errors.Is(err, rollup.ErrNotFound) {
		return errUnkept
	}
	return err
}
