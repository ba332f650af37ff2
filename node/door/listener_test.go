package door

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// addressed is a connection of a given address.
type addressed struct {
	net.Conn
	remote string
	closed atomic.Bool
}

func (a *addressed) RemoteAddr() net.Addr { return remoteAddr(a.remote) }
func (a *addressed) Close() error         { a.closed.Store(true); return nil }

type remoteAddr string

func (r remoteAddr) Network() string { return "tcp" }
func (r remoteAddr) String() string  { return string(r) + ":1" }

// queued is a listener of connections that are there.
type queued struct {
	net.Listener
	conns []*addressed
}

func (q *queued) Accept() (net.Conn, error) {
	if len(q.conns) == 0 {
		return nil, net.ErrClosed
	}
	c := q.conns[0]
	q.conns = q.conns[1:]
	return c, nil
}

// TestListener: an address has its share; its connections that wait for a call give way to its new
// ones, those that serve one do not; a full port takes from the address that has the most.
func TestListener(t *testing.T) {
	q := new(queued)
	l := Listen(q, Bounds{Most: 8, OfOne: 3})
	accept := func(address string) (*addressed, net.Conn) {
		inner := &addressed{remote: address}
		q.conns = append(q.conns, inner)
		c, err := l.Accept()
		if err != nil {
			return inner, nil
		}
		return inner, c
	}
	a1, c1 := accept("192.0.2.1")
	a2, c2 := accept("192.0.2.1")
	accept("192.0.2.1")
	Track(c1, http.StateActive)
	_, c4 := accept("192.0.2.1") // its fourth
	if a1.closed.Load() || !a2.closed.Load() {
		t.Error("not the connection that waited longest gave way")
	}
	Track(c1, http.StateIdle) // waits again, behind the others
	for i := range 5 {
		accept(fmt.Sprintf("192.0.2.%d", 10+i))
	}
	if got := l.Stats(); got != (ListenerStats{Open: 8, Accepted: 9, Yielded: 1}) {
		t.Errorf("%+v", got)
	}
	accept("192.0.2.20") // full: one of the first address gives way
	Track(c1, http.StateActive)
	Track(c4, http.StateActive)
	if _, c := accept("192.0.2.1"); c != nil {
		t.Error("an address with two active connections of two has a third")
	}
	if got := l.Stats(); got != (ListenerStats{Open: 8, Accepted: 10, Yielded: 2, Refused: 1}) {
		t.Errorf("%+v", got)
	}
	c1.Close()
	c1.Close()
	c2.Close() // gave way before
	if got := l.Stats().Open; got != 7 {
		t.Errorf("%d are open", got)
	}
}

// TestIdle: a connection that serves no call for a while is closed.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queued{conns: []*addressed{{remote: "192.0.2.1"}, {remote: "192.0.2.2"}}}
		silent, busy := q.conns[0], q.conns[1]
		l := Listen(q, Bounds{Most: 8, OfOne: 3, Idle: time.Minute})
		closed := func() string { // after half a minute more
			time.Sleep(30 * time.Second)
			synctest.Wait()
			return fmt.Sprint(silent.closed.Load(), busy.closed.Load(), l.Stats().Open)
		}
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		got := []string{closed()}
		Track(c, http.StateActive)
		got = append(got, closed(), closed())
		Track(c, http.StateIdle)
		got = append(got, closed(), closed())
		const want = "[false false 2 true false 1 true false 1 true false 1 true true 0]"
		if s := fmt.Sprint(got); s != want {
			t.Errorf("closed were %s, not %s", s, want)
		}
	})
}

// remembered counts the connections that are still in memory.
type remembered struct {
	net.Listener
	n    atomic.Int64
	keep bool // all of them, for ever
	kept []net.Conn
}

type rememberedConn struct{ net.Conn }

func (r *remembered) Accept() (net.Conn, error) {
	inner, err := r.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &rememberedConn{Conn: inner}
	r.n.Add(1)
	runtime.AddCleanup(c, func(r *remembered) { r.n.Add(-1) }, r)
	if r.keep {
		r.kept = append(r.kept, c)
	}
	return c, nil
}

// TestBrokenConnectionsAreForgotten: when connections break in the middle of HTTP/2 calls, nothing
// holds their memory until a timer fires.
func TestBrokenConnectionsAreForgotten(t *testing.T) {
	if left := breakConnections(t, false, time.Minute); left > 0 {
		t.Errorf("%d broken connections are kept in memory", left)
	}
}

// TestKeptConnectionsAreSeen is its companion.
func TestKeptConnectionsAreSeen(t *testing.T) {
	if left := breakConnections(t, true, 0); left != broken {
		t.Errorf("of %d connections that are kept %d are seen", broken, left)
	}
}

const broken = 20

// breakConnections opens a call on each of a few connections, breaks all of them, and returns how
// many are still in memory after their calls have ended, when none is or garbage was collected for
// so long. What nothing holds is soon gone, and what a timer holds stays for an hour.
func breakConnections(t *testing.T, keep bool, most time.Duration) int64 {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &remembered{Listener: inner, keep: keep}
	entered, left := make(chan struct{}, broken), make(chan struct{}, broken)
	d := New(Config{Table: Table{"/": {Time: time.Hour, Calls: broken, Places: 2 * broken}},
		Budget: []int64{1 << 20}, Pace: Pace{time.Hour, 1}})
	srv := &http.Server{ConnState: Track, Protocols: new(http.Protocols),
		Handler: d.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			entered <- struct{}{}
			<-r.Context().Done()
			left <- struct{}{}
		}))}
	srv.Protocols.SetUnencryptedHTTP2(true)
	served := make(chan error, 1)
	go func() {
		served <- srv.Serve(Listen(r, Bounds{Most: 2 * broken, OfOne: 2 * broken, Idle: time.Hour}))
	}()
	defer func() { <-served }()
	defer srv.Close()
	for range broken {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		// Empty settings, and a POST of / whose body never comes.
		_, err = io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"+
			"\x00\x00\x06\x01\x04\x00\x00\x00\x01\x83\x86\x84\x41\x01x")
		if err != nil {
			t.Fatal(err)
		}
		<-entered
		c.Close()
		<-left
	}
	for start := time.Now(); ; runtime.Gosched() {
		runtime.GC()
		if n := r.n.Load(); n == 0 || time.Since(start) > most {
			return n
		}
	}
}
