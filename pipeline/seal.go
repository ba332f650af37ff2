package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// sealWindows turns drained windows into rollups, one after the other.
func (p *Pipeline) sealWindows() {
	var sealer rollup.Sealer
	for {
		var c closing
		select {
		case c = <-p.windows.toSeal:
		case <-p.ctx.Done():
		}
		if p.ctx.Err() != nil {
			return
		}
		w := c.window
		if p.failed() { // what is in the window is not what is in the store
			continue
		}
		if w.acks() == 0 { // there is nothing to roll up
			p.release(w)
			continue
		}
		start := time.Now()
		a, err := p.seal(&sealer, c)
		if err != nil {
			p.fail(fmt.Sprintf("sealing %v", w.key), err)
			continue
		}
		p.handOver(w, a, time.Since(start))
	}
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
	h, acks, err := sealer.Seal(p.cfg.Network, w.key, w.frames, aggregate.Bytes(), view)
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
	acks := w.acks()
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

// sealedWindow answers whether an ack is in a rollup of this node.
type sealedWindow struct {
	key     rollup.WindowKey
	id      rollup.Hash
	network rollup.Network
	acks    rollup.Acks // all that the window has, whatever the rung
}

func newSealedWindow(a *rollup.Archive) *sealedWindow {
	return &sealedWindow{key: a.Key(), id: a.Header.ID(), network: a.Header.Network, acks: a.Acks}
}

// contains reports whether the window has the ack, by all 80 bytes that the client signed. A nil
// window has none.
func (s *sealedWindow) contains(f rollup.Frame) bool {
	if s == nil || f.Key() != s.key || f.Network() != s.network || !f.Tagged() {
		return false
	}
	i, ok := s.acks.Index(f.Client(), f.Service(), f.Seq())
	return ok && bytes.Equal(s.acks.Entry(i), f.Entry())
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
)

// Found is where an ack is.
type Found struct {
	State  AckState
	Rollup rollup.Hash // from AckSealed on
	// Final, with AckUnknown, says that the ack's window has been sealed without it, or never was:
	// the ack does not count, and its client may sign again for the same delivery.
	Final bool
}

// Lookup says what became of an ack, by the 80 bytes that its client signed. Error: ErrFrames for
// another length.
func (p *Pipeline) Lookup(message []byte) (Found, error) {
	if len(message) != rollup.MessageSize {
		return Found{}, fmt.Errorf("%w: %d bytes are not what a client signs", ErrFrames, len(message))
	}
	f := rollup.Frame(message)
	key := f.Key()
	slots := p.windows.current.Load()
	if i := slots.find(key.Epoch, key.Window); i >= 0 && key.Node == p.cfg.Node {
		w := slots[i]
		w.mu.RLock()
		defer w.mu.RUnlock()
		if w.peek(f) == rollup.CodeKnown {
			return Found{State: AckPooled}, nil
		}
		return Found{State: AckUnknown}, nil
	}
	// The order in which a window goes its way, as in admission.elsewhere.
	if known, draining := p.windows.drains(f); known {
		return Found{State: AckPooled}, nil
	} else if draining {
		return Found{State: AckUnknown}, nil
	}
	s, err := p.sealedWindow(key)
	switch {
	case !s.contains(f):
		open := slots[0].key
		ahead := key.Epoch > open.Epoch || key.Epoch == open.Epoch && key.Window > open.Window
		final := !ahead && (err == nil || errors.Is(err, rollup.ErrNotFound))
		return Found{State: AckUnknown, Final: final}, nil
	case p.chain.View().IsOrdered(key):
		return Found{State: AckOrdered, Rollup: s.id}, nil
	}
	return Found{State: AckSealed, Rollup: s.id}, nil
}
