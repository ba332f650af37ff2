package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// sealWindows turns drained windows into rollups, one after the other, in the order in which they
// were closed: members take no window after a higher one, and no number after one that follows it.
func (p *Pipeline) sealWindows() {
	var sealer rollup.Sealer
	ready := make(map[*window]closing)
	for {
		select {
		case c := <-p.windows.toSeal:
			ready[c.window] = c
		case <-p.ctx.Done():
			return
		}
		for w := p.windows.oldest(); w != nil && p.ctx.Err() == nil; w = p.windows.oldest() {
			c, ok := ready[w]
			if !ok || p.failed() { // then what is in the window is not what is in the store
				break
			}
			delete(ready, w)
			if w.lost == w.acks() { // its pool stays, so that its number is not used again
				p.log.Warn("nothing of a window stands: all of it was forged", "epoch", w.key.Epoch,
					"window", w.key.Window, "acks", w.acks())
				p.release(w)
				continue
			}
			start := time.Now()
			a, err := p.seal(&sealer, c)
			if err != nil {
				p.fail(fmt.Sprintf("sealing %v", w.key), err)
				break
			}
			p.handOver(w, a, time.Since(start))
		}
	}
}

// oldest returns the window that is to be sealed next, nil when there is none.
func (ws *windows) oldest() *window {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.draining) == 0 {
		return nil
	}
	return ws.draining[0]
}

// seal builds the rollup of a window and makes it durable. Only sealWindows touches a drained
// window that is not offered.
func (p *Pipeline) seal(sealer *rollup.Sealer, c closing) (*rollup.Archive, error) {
	a, err := p.archive(sealer, c)
	if err != nil {
		return nil, err
	}
	return a, p.store.PutSealed(a)
}

func (p *Pipeline) archive(sealer *rollup.Sealer, c closing) (*rollup.Archive, error) {
	w, view := c.window, p.chain.View()
	if o := c.cosigned; o != nil {
		h, _, err := sealer.SealCosigned(p.cfg.Network, o.archive, w.key, o.tree, o.list,
			o.signature, o.rest, view)
		if err != nil {
			return nil, err
		}
		return rollup.NewArchive(h.Clone(), o.archive, o.tree, o.list), nil
	}
	aggregate := w.sum.Signature()
	h, acks, err := sealer.Seal(p.cfg.Network, w.key, w.live(), aggregate.Bytes(), view)
	if err != nil {
		return nil, err
	}
	// The sealer uses its memory again.
	return rollup.NewArchive(h.Clone(), slices.Clone(acks), nil, nil), nil
}

// handOver gives a sealed window to the outbox and takes its memory back.
func (p *Pipeline) handOver(w *window, a *rollup.Archive, took time.Duration) {
	s := newSealedWindow(a)
	p.sealed.put(s)
	acks := a.Acks.Len()
	co := acks - int(a.Header.AckCount)
	p.counters.cosign.Settle(co, 0)
	p.counters.seal.Batch(acks, took)
	p.counters.seal.Settle(acks, 0)
	p.log.Info("window sealed", "epoch", w.key.Epoch, "window", w.key.Window, "acks", acks,
		"cosigned", co, "rollup", s.id, "took", took)
	p.windows.mu.Lock()
	status := w.status
	p.windows.mu.Unlock()
	status.Closes = p.closes(&status)
	status.Sealed = time.Now()
	p.outbox.Put(a, status) // before it leaves this room: a window is always in sight
	p.release(w)
}

// sealedWindow is the acks of a rollup of this node.
type sealedWindow struct {
	key  rollup.WindowKey
	id   rollup.Hash
	acks rollup.Acks // all that the window has, whatever the rung
}

func newSealedWindow(a *rollup.Archive) *sealedWindow {
	return &sealedWindow{key: a.Key(), id: a.Header.ID(), acks: a.Acks}
}

// sealedCache keeps the windows that were asked for last. Their acks are 3.4 MB when they are full.
type sealedCache struct {
	mu     sync.Mutex
	recent []*sealedWindow // latest last
}

const sealedCacheSize = 8

func (c *sealedCache) put(s *sealedWindow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(s)
}

func (c *sealedCache) add(s *sealedWindow) {
	if len(c.recent) == sealedCacheSize {
		c.recent = slices.Delete(c.recent, 0, 1)
	}
	c.recent = append(c.recent, s)
}

// sealedWindow returns a sealed window of this node, or nil: with ErrNotFound when there was
// none, with another error when it is pruned or can not be read. Under the cache's lock there is
// at most one read of the store at a time, so asking for many windows keeps one core busy at
// most.
func (p *Pipeline) sealedWindow(key rollup.WindowKey) (*sealedWindow, error) {
	if key.Node != p.cfg.Node {
		return nil, rollup.ErrNotFound
	}
	c := &p.sealed
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.recent {
		if s.key == key {
			c.recent = append(slices.Delete(c.recent, i, i+1), s)
			return s, nil
		}
	}
	kept, err := p.store.Sealed(key)
	if err != nil {
		return nil, err
	}
	s := newSealedWindow(kept)
	c.add(s)
	return s, nil
}

// AckState says how far an ack has come.
type AckState string

// The states of an ack, in order.
const (
	AckUnknown AckState = "unknown" // not accepted, or too long ago
	AckPooled  AckState = "pooled"  // durable
	AckSealed  AckState = "sealed"  // in a rollup
	AckOrdered AckState = "ordered" // in a rollup that the chain has ordered
	AckRefused AckState = "refused" // after all: it was taken on account and did not stand
)

// Found is the ack that was taken under a number, and where it is. But for an unknown one, units
// and request are those of the ack.
type Found struct {
	State   AckState
	Window  uint32
	Units   uint64
	Request rollup.Hash
	Rollup  rollup.Hash // from AckSealed on
	Code    rollup.Code // of AckRefused; of AckPooled: on_account while it is not verified
}

// Lookup says what became of a number of a client for a service in an epoch. The error says that
// the store can not be read.
func (p *Pipeline) Lookup(epoch uint32, client uint64, service, number uint32) (Found, error) {
	at, err := p.taken(epoch, client, service, number)
	switch {
	case errors.Is(err, rollup.ErrNotFound) || err == nil && !at.durable:
		if code, ok := p.windows.struckWith(epoch, client, service, number); ok {
			return Found{State: AckRefused, Code: code}, nil
		}
		return Found{State: AckUnknown}, nil
	case err != nil:
		return Found{}, fmt.Errorf("look up number %d of client %d for service %d: %w", number, client,
			service, err)
	}
	f := Found{State: at.state, Window: at.key.Window, Units: at.frame.Units(),
		Request: at.frame.Request(), Rollup: at.rollup}
	if at.open {
		f.Code = rollup.CodeOnAccount
	}
	if f.State == AckSealed {
		f.State, err = p.orderedState(at.key)
	}
	return f, err
}

// orderedState tells a sealed window that the chain has ordered from one that it has not.
func (p *Pipeline) orderedState(key rollup.WindowKey) (AckState, error) {
	view := p.chain.View()
	ordered := view.IsOrdered(key)
	if view.Settled(key.Epoch) { // see there
		unordered, err := p.store.IsUnordered(key)
		if err != nil {
			return AckSealed, fmt.Errorf("look up the order of %v: %w", key, err)
		}
		ordered = !unordered
	}
	if ordered {
		return AckOrdered, nil
	}
	return AckSealed, nil
}

// Counter returns the next number of a client for a service in an epoch, as far as it is durable.
// It is false for an epoch that takes no acks.
func (p *Pipeline) Counter(epoch uint32, client uint64, service uint32) (next uint32, ok bool) {
	ws := &p.windows
	ws.mu.Lock()
	defer ws.mu.Unlock()
	e := ws.epoch(epoch)
	if e == nil || e.open == nil {
		return 0, false
	}
	next = e.numbers.Next(client, service)
	for next > 0 { // what a write is under way for does not count yet
		last := rollup.Ack{Epoch: epoch, Client: client, Service: service, Number: next - 1}
		if w, i := ws.find(epoch, last.Append(nil)); w == nil || i < w.durable {
			break
		}
		next--
	}
	return next, true
}
