package door

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// Listener bounds the connections of a port, in all and by address. An address may hold as many as
// are free besides, and never more than its own bound. Where there is no room for a new connection,
// one that serves no call gives way: the address's own that waited longest or, when the port is full,
// one of the address that has the most. Only if all of these serve calls the new one is closed.
//
// The http.Server behind it must have Track as its ConnState.
type Listener struct {
	net.Listener
	most int // of one address

	mu      sync.Mutex
	places  *Shares[string]
	byAddr  map[string]int
	waiting list.List // of *conn that serve no call; the one that waited longest is in front
	stats   ListenerStats
}

// ListenerStats counts connections since a listener was made; Open is how many there are now.
type ListenerStats struct {
	Open, Accepted, Refused, Yielded uint64
}

// Listen bounds a listener to so many connections, and so many of one address.
func Listen(inner net.Listener, most, ofOneAddress int) *Listener {
	return &Listener{Listener: inner, most: ofOneAddress, places: NewShares[string](int64(most)),
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
	if l.byAddr[c.address] >= l.most || !l.places.Take(c.address, 1) {
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
	c.at = l.waiting.PushBack(c)
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
		c.at = l.waiting.PushBack(c)
	}
}

// conn is a connection with a place.
type conn struct {
	net.Conn
	listener *Listener
	address  string
	at       *list.Element // in waiting; guarded by the listener's lock, as is left
	left     bool
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
