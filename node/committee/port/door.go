package port

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cometbft/cometbft/p2p"
)

// caller is a connection that came in and is not known yet.
type caller struct {
	*live
	address netip.Addr // see block
	came    time.Time  // into its place
}

// drop closes the connection and forgets what is queued on it, so that nothing of it stays.
func (c *caller) drop() {
	if tcp, ok := c.live.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed one way or the other
	}
	c.Close()
}

// class is the gates that callers of one kind pass.
type class struct {
	waiting, shaking *places
	rate             *rates[netip.Addr]
}

func newClass(g gates) *class {
	return &class{
		waiting: newPlaces(g.waiting, g.waitingEach, g.patience),
		shaking: newPlaces(g.shaking, g.shakingEach, g.patience),
		rate: &rates[netip.Addr]{
			each: g.rateEach, burstEach: g.burstEach, all: g.rate, burst: g.burst,
		},
	}
}

// door takes the callers of the consensus port through the gates that stand before it is known who
// they are.
type door struct {
	listener           net.Listener
	strangers, members *class
	known              *addresses
	keys               rates[p2p.ID] // of callers that are known
	log                *slog.Logger
	welcome            func(*caller)

	mu      sync.Mutex
	closed  bool
	callers map[*caller]struct{}
	tasks   sync.WaitGroup
	turned  atomic.Uint64 // callers that found no place
}

func newDoor(
	l net.Listener, limits limits, known *addresses, log *slog.Logger, welcome func(*caller),
) *door {
	return &door{
		listener: l, strangers: newClass(limits.strangers), members: newClass(limits.members),
		known: known, keys: rates[p2p.ID]{each: 1, burstEach: 8}, log: log, welcome: welcome,
		callers: map[*caller]struct{}{},
	}
}

// frequent says whether a peer may come now: whoever holds a key, too, may change its connection
// only so often.
func (d *door) frequent(id p2p.ID) bool { return d.keys.take(id) }

// serve takes callers until the door is closed. When the process has no descriptor left it waits
// for one.
func (d *door) serve() {
	for {
		c, err := d.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			d.log.Debug("consensus port: accept", "err", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		d.admit(c)
	}
}

// admit gives a caller a place to wait in, or closes it.
func (d *door) admit(raw net.Conn) {
	c := &caller{live: &live{Conn: raw}}
	at, err := netip.ParseAddrPort(raw.RemoteAddr().String())
	if err != nil {
		c.drop()
		return
	}
	c.address = block(at.Addr())
	l := d.strangers
	if d.known.has(c.address) {
		l = d.members
	}
	if !l.waiting.enter(c) {
		d.turned.Add(1)
		c.drop()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		c.drop()
		return
	}
	d.callers[c] = struct{}{}
	d.tasks.Go(func() { d.receive(l, c) })
}

// receive takes a caller through the first two gates.
func (d *door) receive(l *class, c *caller) {
	defer func() {
		d.mu.Lock()
		delete(d.callers, c)
		d.mu.Unlock()
	}()
	ok := c.knock()
	l.waiting.leave(c)
	if !ok || !l.rate.take(c.address) || !l.shaking.enter(c) {
		d.turned.Add(1)
		c.drop()
		return
	}
	defer l.shaking.leave(c)
	if err := c.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		c.Close()
		return
	}
	d.welcome(c)
}

// An ephemeral key, which both sides send first: its length as a varint, and a message with one
// field of 32 bytes.
const knockSize = 35

var knockHead = [3]byte{34, 0x0a, 32}

// knock waits for the caller's ephemeral key, and puts it back. Nothing that is not one gets past
// it, so no length of a caller is believed before it has spent a handshake.
func (c *caller) knock() bool {
	if err := c.SetDeadline(time.Now().Add(knockTimeout)); err != nil {
		return false
	}
	key := make([]byte, knockSize)
	if _, err := io.ReadFull(c.live.Conn, key); err != nil || [3]byte(key) != knockHead {
		return false
	}
	c.head = key
	return true
}

// close ends the door and all callers that are not known yet, and waits for what they began.
func (d *door) close() {
	_ = d.listener.Close() // it was open
	d.mu.Lock()
	d.closed = true
	for c := range d.callers {
		c.drop()
	}
	d.mu.Unlock()
	d.tasks.Wait()
}
