package virtual

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Retransmission of what was lost: first after rto, then after twice as long, up to maxRTO.
const (
	rto    = 200 * time.Millisecond
	maxRTO = 3 * time.Second
)

// Link is what a stream meets on its way from one host to another. Bytes arrive in order and whole:
// what is lost comes later, as TCP sends it again.
type Link struct {
	Latency time.Duration // at the least
	Jitter  time.Duration // most that is added
	Loss    float64       // of segments, from 0 to 1; each loss costs a retransmission
	Cut     bool          // nothing passes
}

// Network is a network of hosts in memory. Everything in it waits for time or for other goroutines
// and for nothing else, as a bubble of testing/synctest demands. Writes do not wait at all: buffers
// grow as they must. What it draws comes from its seed, by connection. It is safe for concurrent
// use.
type Network struct {
	seed uint64

	mu    sync.Mutex
	hosts map[netip.Addr]*Host // that are up
	conns map[*conn]struct{}
	link  func(from, to netip.Addr) Link
	count uint64 // of connections
}

// NewNetwork returns a network. Link says what is between two hosts; nil: nothing, at no distance.
func NewNetwork(seed uint64, link func(from, to netip.Addr) Link) *Network {
	if link == nil {
		link = func(netip.Addr, netip.Addr) Link { return Link{} }
	}
	return &Network{seed: seed, link: link, hosts: make(map[netip.Addr]*Host),
		conns: make(map[*conn]struct{})}
}

// SetLink changes what is between hosts. Streams that were cut and are not any more go on.
func (n *Network) SetLink(link func(from, to netip.Addr) Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link = link
	n.resume()
}

// Boot brings a host up. It must not be up. What was connected to an earlier one of its address
// hears of the end as soon as it sends something.
func (n *Network) Boot(at netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &Host{net: n, at: at, listeners: make(map[string]*listener), up: true}
	n.hosts[at] = h
	n.resume()
	return h
}

// Reset resets all connections between two hosts, as a middlebox does that forgets them.
func (n *Network) Reset(a, b netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.sorted() {
		if c.local.Addr() == a && c.remote.Addr() == b || c.local.Addr() == b && c.remote.Addr() == a {
			c.fail(syscall.ECONNRESET)
		}
	}
}

// sorted returns the connections in the order in which they were made. The caller holds n.mu.
func (n *Network) sorted() []*conn {
	return slices.SortedFunc(maps.Keys(n.conns), func(a, b *conn) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
}

// resume sends again what is held back. The caller holds n.mu.
func (n *Network) resume() {
	for _, c := range n.sorted() {
		if c.held {
			c.held = false
			c.arm(time.Duration(c.rng.Int64N(int64(maxRTO))))
		}
	}
}

// Host is a machine, from its boot until it fails.
type Host struct {
	net       *Network
	at        netip.Addr
	listeners map[string]*listener // by network and place
	ports     uint16               // that were given to connections
	up        bool
}

// Address returns the host's.
func (h *Host) Address() netip.Addr { return h.at }

// Kill ends every process of the host: its peers get what it sent and then a reset. The host is
// down until another Boot.
func (h *Host) Kill() { h.down(true) }

// PowerOff takes the host away without a word. Its peers find out by their own means.
func (h *Host) PowerOff() { h.down(false) }

func (h *Host) down(words bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if !h.up {
		return
	}
	h.up = false
	delete(h.net.hosts, h.at)
	for _, l := range h.listeners {
		l.shut()
	}
	for _, c := range h.net.sorted() {
		if c.host != h {
			continue
		}
		c.gone = true
		if words {
			c.push(segment{reset: true})
		} else {
			c.out = nil
		}
		c.wake.Broadcast()
	}
}

// Listen implements node.Net, for "tcp" and "unix".
func (h *Host) Listen(network, address string) (net.Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	key := network + " " + address
	var at net.Addr = &net.UnixAddr{Net: network, Name: address}
	if network == "tcp" {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		key = "tcp " + port
		parsed, err := netip.ParseAddrPort(net.JoinHostPort(h.at.String(), port))
		if err != nil {
			return nil, err
		}
		at = net.TCPAddrFromAddrPort(parsed)
	}
	if !h.up {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: at, Err: syscall.ENETDOWN}
	}
	if h.listeners[key] != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: at, Err: syscall.EADDRINUSE}
	}
	l := &listener{host: h, key: key, at: at}
	l.wake.L = &h.net.mu
	h.listeners[key] = l
	return l, nil
}

// DialContext implements node.Net, for "tcp" and addresses of the network.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	for wait, tries := time.Second, 7; tries > 0; tries-- {
		there, answers := h.knock(to.Addr())
		if answers {
			if err := sleep(ctx, there); err != nil {
				return fail(err)
			}
			c, err := h.connect(to)
			if err != nil {
				return fail(err)
			}
			return c, nil
		}
		if err := sleep(ctx, wait); err != nil {
			return fail(err)
		}
		wait *= 2
	}
	return fail(syscall.ETIMEDOUT)
}

// knock says how long a round trip takes, and whether one is possible.
func (h *Host) knock(to netip.Addr) (trip time.Duration, answers bool) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if !h.up {
		return 0, true // connect says why not
	}
	there, back := n.between(h.at, to), n.between(to, h.at)
	return there.Latency + back.Latency, n.hosts[to] != nil && !there.Cut && !back.Cut
}

func (n *Network) between(from, to netip.Addr) Link {
	if from == to {
		return Link{}
	}
	return n.link(from, to)
}

// connect opens both ends of a stream.
func (h *Host) connect(to netip.AddrPort) (net.Conn, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	other := n.hosts[to.Addr()]
	if !h.up {
		return nil, syscall.ENETDOWN
	}
	if other == nil {
		return nil, syscall.EHOSTUNREACH
	}
	l := other.listeners[fmt.Sprintf("tcp %d", to.Port())]
	if l == nil || len(l.waiting) == backlog {
		return nil, syscall.ECONNREFUSED
	}
	h.ports++
	from := netip.AddrPortFrom(h.at, 32768+h.ports%28000)
	near, far := n.newConn(h, from, to), n.newConn(other, to, from)
	near.peer, far.peer = far, near
	l.waiting = append(l.waiting, far)
	l.wake.Broadcast()
	return near, nil
}

// backlog is how many connections may wait to be accepted.
const backlog = 1024

func (n *Network) newConn(h *Host, local, remote netip.AddrPort) *conn {
	n.count++
	c := &conn{net: n, host: h, id: n.count, local: local, remote: remote,
		rng: rand.New(rand.NewPCG(n.seed, n.count))}
	c.wake.L = &n.mu
	n.conns[c] = struct{}{}
	return c
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return syscall.ETIMEDOUT
		}
		return ctx.Err()
	}
}

type listener struct {
	host    *Host
	key     string
	at      net.Addr
	wake    sync.Cond
	waiting []*conn
	closed  bool
}

func (l *listener) Accept() (net.Conn, error) {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	for !l.closed {
		if len(l.waiting) > 0 {
			c := l.waiting[0]
			l.waiting = l.waiting[1:]
			return c, nil
		}
		l.wake.Wait()
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.at, Err: net.ErrClosed}
}

func (l *listener) Addr() net.Addr { return l.at }

func (l *listener) Close() error {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.at, Err: net.ErrClosed}
	}
	for _, c := range l.waiting {
		c.fail(syscall.ECONNRESET)
		c.peer.fail(syscall.ECONNRESET)
	}
	delete(l.host.listeners, l.key)
	l.shut()
	return nil
}

// shut ends Accept. The caller holds the lock.
func (l *listener) shut() {
	l.closed, l.waiting = true, nil
	l.wake.Broadcast()
}
