package door

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// Listener bounds the connections of a port, in all and by address. An address may hold as many as
// are free besides, and never more than its own bound. Where there is no room for a new
// connection, one that serves no call gives way: the address's own that waited longest or, when
// the port is full, one of the address that has the most. Only if all of these serve calls the new
// one is closed.
//
// It also closes connections that served no call for a while. The http.Server behind it must have
// Track as its ConnState, and no IdleTimeout: when a connection breaks while calls are open,
// HTTP/2 in net/http stops its idle timer first and starts it again as it ends the calls, and so
// all memory of the connection, with the calls that wait in it, is kept until that timer fires.
type Listener struct {
	net.Listener
	bounds Bounds

	mu      sync.Mutex
	places  *Shares[string]
	byAddr  map[string]int
	waiting list.List   // of *conn that serve no call; the one that waited longest is in front
	sweep   *time.Timer // closes those that waited too long; runs while there are any
	stats   ListenerStats
}

// Bounds is what a Listener keeps to.
type Bounds struct {
	Most  int           // connections
	OfOne int           // of one address
	Idle  time.Duration // that a connection may wait for a call; 0: for ever
}

// ListenerStats counts connections since a listener was made; Open is how many there are now.
type ListenerStats struct {
	Open, Accepted, Refused, Yielded uint64
}

// Listen bounds the connections of a listener.
func Listen(inner net.Listener, bounds Bounds) *Listener {
	return &Listener{Listener: inner, bounds: bounds, places: NewShares[string](int64(bounds.Most)),
		byAddr: make(map[string]int)}
}

// Stats returns the counts.
func (l *Listener) Stats() ListenerStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: inner, listener: l, address: AddressOf(inner.RemoteAddr().String())}
		victim, ok := l.admit(c)
		if victim != nil {
			_ = victim.Close() // nobody is served on it
		}
		if ok {
			return c, nil
		}
		_ = inner.Close() // refused; nothing was written
	}
}

// admit takes a place for a connection, that of a victim if there is no other.
func (l *Listener) admit(c *conn) (victim *conn, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byAddr[c.address] >= l.bounds.OfOne || !l.places.Take(c.address, 1) {
		if victim = l.victim(c.address); victim == nil {
			l.stats.Refused++
			return nil, false
		}
		l.leave(victim)
		l.stats.Yielded++
		if !l.places.Take(c.address, 1) {
			l.stats.Refused++
			return victim, false
		}
	}
	l.byAddr[c.address]++
	l.wait(c, true)
	l.stats.Open++
	l.stats.Accepted++
	return victim, true
}

// victim returns the connection that gives way to a new one of an address. The caller holds l.mu.
func (l *Listener) victim(address string) *conn {
	if l.byAddr[address] == 0 { // the port is full
		most := 0
		for e := l.waiting.Front(); e != nil; e = e.Next() {
			if a := e.Value.(*conn).address; l.byAddr[a] > most {
				most, address = l.byAddr[a], a
			}
		}
	}
	for e := l.waiting.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*conn); c.address == address {
			return c
		}
	}
	return nil
}

// leave gives a connection's place back. The caller holds l.mu.
func (l *Listener) leave(c *conn) {
	if c.left {
		return
	}
	c.left = true
	l.wait(c, false)
	l.places.Give(c.address, 1)
	if l.byAddr[c.address]--; l.byAddr[c.address] == 0 {
		delete(l.byAddr, c.address)
	}
	l.stats.Open--
}

// wait notes whether a connection waits for a call. The caller holds l.mu.
func (l *Listener) wait(c *conn, waits bool) {
	if c.at != nil {
		l.waiting.Remove(c.at)
		c.at = nil
	}
	if waits && !c.left {
		c.at, c.since = l.waiting.PushBack(c), time.Now()
		l.arm()
	}
}

// arm starts the timer for the connection that waits longest. The caller holds l.mu.
func (l *Listener) arm() {
	first := l.waiting.Front()
	if l.bounds.Idle == 0 || l.sweep != nil || first == nil {
		return
	}
	after := time.Until(first.Value.(*conn).since.Add(l.bounds.Idle))
	l.sweep = time.AfterFunc(after, l.closeIdle)
}

// closeIdle closes the connections that waited too long.
func (l *Listener) closeIdle() {
	for _, c := range l.idle() {
		_ = c.Close() // nobody is served on it
	}
}

// idle takes the places of the connections that waited too long.
func (l *Listener) idle() (over []*conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := l.waiting.Front(); e != nil; e = l.waiting.Front() {
		c := e.Value.(*conn)
		if time.Since(c.since) < l.bounds.Idle {
			break
		}
		l.leave(c)
		over = append(over, c)
	}
	l.sweep = nil
	l.arm()
	return over
}

// conn is a connection with a place.
type conn struct {
	net.Conn
	listener *Listener
	address  string

	// Guarded by the listener's lock.
	at    *list.Element // in waiting
	since time.Time     // when it began to wait
	left  bool
}

func (c *conn) Close() error {
	c.listener.mu.Lock()
	c.listener.leave(c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// Track notes whether a connection serves a call. It is for http.Server.ConnState.
func Track(nc net.Conn, state http.ConnState) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	switch state {
	case http.StateActive, http.StateIdle:
		c.listener.wait(c, state == http.StateIdle)
	}
}
