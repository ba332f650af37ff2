package committee

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// wire forwards connections to an address until it is cut. What was open then, or comes while it is
// cut, stays open and carries nothing ever again, as a connection does whose other end cannot be
// reached.
type wire struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	cut   bool
	conns []*span
	tasks sync.WaitGroup
}

// span is one connection through a wire.
type span struct {
	near, far net.Conn // far is nil when it came while the wire was cut
	mu        sync.Mutex
	dead      bool
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, to: to}
	w.tasks.Go(w.serve)
	t.Cleanup(w.close)
	return w
}

func (w *wire) serve() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		s := &span{near: near, dead: w.cut}
		w.conns = append(w.conns, s)
		w.mu.Unlock()
		if s.dead {
			continue
		}
		far, err := net.Dial("tcp", w.to)
		if err != nil {
			near.Close()
			continue
		}
		w.mu.Lock()
		s.far = far
		w.mu.Unlock()
		w.tasks.Go(func() { s.forward(far, near) })
		w.tasks.Go(func() { s.forward(near, far) })
	}
}

// forward copies until the connection ends; what comes after a cut is swallowed, its end too.
func (s *span) forward(to, from net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		s.mu.Lock()
		dead := s.dead
		s.mu.Unlock()
		if !dead && err == nil {
			_, err = to.Write(b[:n])
		}
		if err != nil {
			if !dead {
				to.Close()
				from.Close()
			}
			return
		}
	}
}

// set cuts the wire or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if !cut {
		return
	}
	for _, s := range w.conns {
		s.mu.Lock()
		s.dead = true
		s.mu.Unlock()
	}
}

func (w *wire) close() {
	w.listener.Close()
	w.mu.Lock()
	for _, s := range w.conns {
		s.near.Close()
		if s.far != nil {
			s.far.Close()
		}
	}
	w.mu.Unlock()
	w.tasks.Wait()
}

// TestPartition cuts a member off for a while. Meanwhile both sides say that it is, and afterwards
// it is back in step at once: nobody holds on to a dead connection, and the log stays short.
func TestPartition(t *testing.T) {
	n := newNetwork(t, "partition", 4, 3600, 1, freeAddresses(t, 4), time.Now().UTC())
	var nodes []*running
	var logs []*lines
	var wires []*wire // to and from member 3
	for i := range n.members {
		r, l := n.logged(t, i, t.TempDir(), func(c *Config) {
			for j := range c.Peers {
				if i != 3 && c.Peers[j].Key != ledger.KeyOf(n.members[3].transport) {
					continue
				}
				w := newWire(t, c.Peers[j].Address)
				wires = append(wires, w)
				c.Peers[j].Address = w.listener.Addr().String()
			}
		})
		nodes, logs = append(nodes, r), append(logs, l)
	}
	higher := func(by int64) func(*ledger.View) bool {
		top := nodes[0].View().Height() + by
		return func(v *ledger.View) bool { return v.Height() >= top }
	}
	nodes[3].wait(t, "the chain", higher(3))

	for _, w := range wires {
		w.set(true)
	}
	gone := time.Now()
	nodes[0].wait(t, "a member to be missed", func(*ledger.View) bool {
		return nodes[0].Status().Peers == 2 && nodes[3].Status().Peers == 0
	})
	missed := time.Since(gone)
	for _, p := range nodes[0].Status().Network {
		if p.Connected == (p.Node == 3) || !p.Connected && !strings.Contains(p.Reason, "silent") {
			t.Errorf("%+v", p)
		}
	}
	nodes[0].wait(t, "blocks without the member", higher(8))

	for _, w := range wires {
		w.set(false)
	}
	back := time.Now()
	nodes[3].wait(t, "the chain", higher(1))
	t.Logf("missed after %v, in step again %v after the line was back", missed, time.Since(back))
	for i, l := range logs {
		if found := l.about("peer"); len(found) > 24 {
			t.Errorf("node %d logs %d lines about peers:\n%s", i, len(found),
				strings.Join(found, "\n"))
		}
	}
}
