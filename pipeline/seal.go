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
		c, ok := p.windows.toSeal.pop()
		if !ok {
			return
		}
		w := c.window
		if p.failed() { // what the window holds is not what the store holds
			continue
		}
		if w.acks() == 0 {
			p.forget(w)
			continue
		}
		start := time.Now()
		s, header, err := p.seal(&sealer, c)
		if err != nil {
			p.fail(fmt.Sprintf("sealing %v", w.key), err)
			continue
		}
		p.sealed.put(s)
		p.retire(w, s, header, time.Since(start))
	}
}

// seal builds the rollup of a window and makes it durable. Only sealWindows touches a drained window that is not offered.
func (p *Pipeline) seal(sealer *rollup.Sealer, c closing) (*sealedWindow, *rollup.Header, error) {
	w, kept := c.window, Sealed{}
	var header *rollup.Header
	var err error
	if o := c.cosigned; o != nil {
		header, _, err = sealer.SealCosigned(p.cfg.Network, o.archive, w.key, o.tree, o.list, o.signature, o.rest, p.chain.View())
		kept.Acks, kept.Clients = o.archive, o.list.Append(nil)
	} else {
		aggregate := w.sum.Signature()
		var acks rollup.Acks
		header, acks, err = sealer.Seal(p.cfg.Network, w.key, w.frames, aggregate.Bytes(), p.chain.View())
		kept.Acks = slices.Clone(acks) // the sealer uses its memory again
	}
	if err != nil {
		return nil, nil, err
	}
	kept.Header = header.Append(nil)
	s := newSealedWindow(header, kept.Acks)
	return s, header, p.store.PutSealed(w.key, s.id, kept)
}

// retire hands a sealed window to the certifier and takes its memory back.
func (p *Pipeline) retire(w *window, s *sealedWindow, header *rollup.Header, took time.Duration) {
	acks := w.acks()
	co := acks - int(header.AckCount)
	p.counters.cosign.settle(co, 0)
	p.counters.seal.batch(acks, took)
	p.counters.seal.settle(acks, 0)
	ws := &p.windows
	ws.mu.Lock()
	w.record.fill(w)
	w.record.State = StateCertifying
	w.record.describe(header)
	w.record.Sealed, w.record.SealTime = time.Now(), took
	ws.mu.Unlock()
	p.release(w)
	p.log.Info("window sealed", "epoch", w.key.Epoch, "window", w.key.Window, "acks", acks, "cosigned", co, "rollup", s.id, "took", took)
	j := &certification{key: w.key, acks: acks, stated: co, statements: int(header.StatementCount), since: time.Now(), status: w.record}
	if !p.awaitProof(j) {
		p.certifier.push(j)
	}
}

// forget drops a window without acks: there is nothing to roll up.
func (p *Pipeline) forget(w *window) {
	ws := &p.windows
	ws.mu.Lock()
	ws.history = slices.DeleteFunc(ws.history, func(s *WindowStatus) bool { return s == w.record })
	ws.mu.Unlock()
	p.release(w)
}

// sealedWindow answers whether an ack is in a rollup of this node.
type sealedWindow struct {
	key     rollup.WindowKey
	id      rollup.Hash
	network rollup.Network
	acks    rollup.Acks // all that the window has, whatever the rung
}

func newSealedWindow(h *rollup.Header, acks rollup.Acks) *sealedWindow {
	return &sealedWindow{key: h.Key(), id: h.ID(), network: h.Network, acks: acks}
}

// holds reports whether the window has the ack, by all 80 bytes that the client signed. A nil window has none.
func (s *sealedWindow) holds(f rollup.Frame) bool {
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

// sealedWindow returns a sealed window of this node, or nil: with ErrNotFound when there was none, with another error
// when it is pruned or can not be read. Under the cache's lock there is at most one read of the store at a time, so
// asking for many windows keeps one core busy at most.
func (p *Pipeline) sealedWindow(key rollup.WindowKey) (*sealedWindow, error) {
	if key.Node != p.cfg.Node {
		return nil, ErrNotFound
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
	h, err := rollup.ParseHeader(kept.Header)
	if err != nil {
		return nil, err
	}
	s := newSealedWindow(h, kept.Acks)
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
	// Final, with AckUnknown, says that the ack's window has been sealed without it, or never was: the ack does not
	// count, and its client may sign again for the same delivery.
	Final bool
}

// Lookup says what became of an ack, by the 80 bytes that its client signed. Error: ErrFrames for another length.
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
	case !s.holds(f):
		open := slots[0].key
		ahead := key.Epoch > open.Epoch || key.Epoch == open.Epoch && key.Window > open.Window
		return Found{State: AckUnknown, Final: !ahead && (err == nil || errors.Is(err, ErrNotFound))}, nil
	case p.chain.View().IsOrdered(key):
		return Found{State: AckOrdered, Rollup: s.id}, nil
	}
	return Found{State: AckSealed, Rollup: s.id}, nil
}
