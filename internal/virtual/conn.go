package virtual

import (
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// conn is one end of a stream. The network's lock guards it.
type conn struct {
	net           *Network
	host          *Host
	id            uint64
	local, remote netip.AddrPort
	peer          *conn
	rng           *rand.Rand

	wake   sync.Cond
	in     []byte
	eof    bool
	failed error // of the stream
	closed bool  // here
	gone   bool  // with its host

	out   []segment // on their way
	last  time.Time // when the last of them arrives
	armed bool      // deliver is called at some time
	held  bool      // the way is cut: deliver is called when something changes

	reading, writing deadline
}

// segment is what arrives at once.
type segment struct {
	data  []byte
	fin   bool
	reset bool
	at    time.Time
}

// push sends a segment behind those that are on their way. The caller holds the lock.
func (c *conn) push(s segment) {
	way := c.net.between(c.local.Addr(), c.remote.Addr())
	delay := way.Latency
	if way.Jitter > 0 {
		delay += time.Duration(c.rng.Int64N(int64(way.Jitter)))
	}
	for again := rto; way.Loss > 0 && c.rng.Float64() < way.Loss && again < maxRTO; again *= 2 {
		delay += again
	}
	if s.at = time.Now().Add(delay); s.at.Before(c.last) {
		s.at = c.last
	}
	c.last = s.at
	c.out = append(c.out, s)
	c.arm(time.Until(s.at))
}

// arm has deliver called. The caller holds the lock.
func (c *conn) arm(after time.Duration) {
	if c.armed || c.held {
		return
	}
	c.armed = true
	time.AfterFunc(after, func() {
		c.net.mu.Lock()
		defer c.net.mu.Unlock()
		c.armed = false
		c.deliver()
	})
}

// deliver brings what is due to the other end. The caller holds the lock.
func (c *conn) deliver() {
	now := time.Now()
	for len(c.out) > 0 {
		s := c.out[0]
		if wait := s.at.Sub(now); wait > 0 {
			c.arm(wait)
			return
		}
		up := c.net.hosts[c.remote.Addr()] != nil
		if !up || c.net.between(c.local.Addr(), c.remote.Addr()).Cut {
			c.held = true
			return
		}
		c.out = c.out[1:]
		switch p := c.peer; {
		case s.reset:
			p.fail(syscall.ECONNRESET)
		case p.gone || p.closed && len(s.data) > 0:
			c.fail(syscall.ECONNRESET) // the other end does not know the stream any more
		case s.fin:
			p.eof = true
			p.wake.Broadcast()
			if p.closed {
				delete(c.net.conns, c)
				delete(c.net.conns, p)
			}
		default:
			p.in = append(p.in, s.data...)
			p.wake.Broadcast()
		}
	}
}

// fail ends the stream at this end. The caller holds the lock.
func (c *conn) fail(err error) {
	if c.failed == nil {
		c.failed = err
	}
	c.out = nil
	if c.peer.failed != nil || c.peer.closed || c.peer.gone {
		delete(c.net.conns, c)
		delete(c.net.conns, c.peer)
	}
	c.wake.Broadcast()
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for {
		switch {
		case c.closed || c.gone:
			return 0, c.err("read", net.ErrClosed)
		case c.reading.passed():
			return 0, c.err("read", os.ErrDeadlineExceeded)
		case len(c.in) > 0:
			n := copy(p, c.in)
			if c.in = c.in[n:]; len(c.in) == 0 {
				c.in = nil
			}
			return n, nil
		case c.failed != nil:
			return 0, c.err("read", c.failed)
		case c.eof:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		c.wake.Wait()
	}
}

// Write implements net.Conn. It does not wait.
func (c *conn) Write(p []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	switch {
	case c.closed || c.gone:
		return 0, c.err("write", net.ErrClosed)
	case c.writing.passed():
		return 0, c.err("write", os.ErrDeadlineExceeded)
	case c.failed != nil:
		return 0, c.err("write", syscall.EPIPE)
	case len(p) > 0:
		c.push(segment{data: append([]byte(nil), p...)})
	}
	return len(p), nil
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.err("close", net.ErrClosed)
	}
	c.closed, c.in = true, nil
	c.reading.stop()
	c.writing.stop()
	c.wake.Broadcast()
	if !c.gone && c.failed == nil {
		c.push(segment{fin: true})
	}
	return nil
}

func (c *conn) err(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

func (c *conn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.set(&c.reading, t) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.set(&c.writing, t) }

func (c *conn) set(d *deadline, t time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.err("set", net.ErrClosed)
	}
	d.stop()
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, func() {
			c.net.mu.Lock()
			defer c.net.mu.Unlock()
			c.wake.Broadcast()
		})
	}
	c.wake.Broadcast()
	return nil
}

type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
