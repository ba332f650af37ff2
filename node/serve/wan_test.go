//go:build linux

package serve

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/netns"
)

// line is a wire to a network namespace of its own, over which packets take their time: two
// tunnels, between which this process carries what comes. So no kernel has to know how to wait.
type line struct {
	name    string // of the namespace
	host    netip.Addr
	oneWay  atomic.Int64 // nanoseconds
	cut     atomic.Bool  // packets are lost
	left    atomic.Int64 // bytes that still come from the far end before it is cut
	dark    chan struct{}
	near    *os.File
	far     *os.File
	workers sync.WaitGroup
}

// lineLength is how many packets a line holds.
const lineLength = 1 << 14

// needsNamespaces skips a test where there are no namespaces, unless they are required.
func needsNamespaces(t *testing.T) {
	t.Helper()
	if os.Getenv("WAYBILL_ROUTE") == "" {
		t.Skip("make route runs it")
	}
	netns.Need(t)
}

// newLine makes a namespace with a wire to it.
func newLine(t *testing.T, index int, roundTrip time.Duration) *line {
	t.Helper()
	id := fmt.Sprintf("wb%d-%d", os.Getpid()%100000, index)
	l := &line{name: id, host: netip.AddrFrom4([4]byte{10, 99, byte(index), 2}),
		dark: make(chan struct{})}
	l.oneWay.Store(int64(roundTrip / 2))
	l.left.Store(math.MaxInt64)
	ip := func(args ...string) {
		t.Helper()
		netns.IP(t, args...)
	}
	var err error
	if l.near, err = netns.Tunnel(id + "a"); err == nil {
		l.far, err = netns.Tunnel(id + "b")
	}
	if err != nil {
		t.Fatal(err)
	}
	ip("netns", "add", id)
	t.Cleanup(func() {
		_ = l.near.Close() // their devices end with them
		_ = l.far.Close()
		l.workers.Wait()
		ip("netns", "del", id)
	})
	ip("link", "set", id+"b", "netns", id)
	ip("addr", "add", fmt.Sprintf("10.99.%d.1/30", index), "dev", id+"a")
	ip("link", "set", id+"a", "up")
	ip("-n", id, "addr", "add", l.host.String()+"/30", "dev", id+"b")
	ip("-n", id, "link", "set", id+"b", "up")
	l.carry(l.near, l.far)
	l.carry(l.far, l.near)
	return l
}

// carry takes packets from one tunnel to the other, each after its time.
func (l *line) carry(from, to *os.File) {
	type packet struct {
		due  time.Time
		data []byte
	}
	under := make(chan packet, lineLength)
	l.workers.Go(func() {
		defer close(under)
		b := make([]byte, 1<<16)
		for {
			n, err := from.Read(b)
			if err != nil {
				return
			}
			select {
			case under <- packet{time.Now().Add(time.Duration(l.oneWay.Load())),
				bytes.Clone(b[:n])}:
			default: // a line holds so much
			}
		}
	})
	l.workers.Go(func() {
		for p := range under {
			time.Sleep(time.Until(p.due))
			if from == l.far {
				left := l.left.Add(-int64(len(p.data)))
				if left < 0 && left+int64(len(p.data)) >= 0 {
					l.cut.Store(true)
					close(l.dark)
				}
			}
			if !l.cut.Load() {
				_, _ = to.Write(p.data) // what is not taken is lost, as on any line
			}
		}
	})
}

// listen listens in the line's namespace.
func (l *line) listen(t testing.TB, address string) net.Listener {
	t.Helper()
	type result struct {
		listener net.Listener
		err      error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		file, err := os.Open("/run/netns/" + l.name)
		if err != nil {
			done <- result{nil, err}
			return
		}
		err = errors.Join(unix.Setns(int(file.Fd()), unix.CLONE_NEWNET), file.Close())
		if err != nil {
			done <- result{nil, err}
			return
		}
		// One that sends its first window at once, as round trips are counted.
		cubic := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
			failed := c.Control(func(fd uintptr) {
				err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
			})
			return errors.Join(err, failed)
		}}
		listener, err := cubic.Listen(context.Background(), "tcp4",
			cmp.Or(address, netip.AddrPortFrom(l.host, 0).String()))
		done <- result{listener, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.listener
}

// far is a world whose nodes are at the ends of lines.
type far struct {
	*world
	lines []*line
}

func newFar(t *testing.T, roundTrips ...time.Duration) *far {
	t.Helper()
	needsNamespaces(t)
	w := &far{}
	for i, d := range roundTrips {
		w.lines = append(w.lines, newLine(t, i, d))
	}
	w.world = startAt(t, len(roundTrips), 8, func(t testing.TB, node uint32,
		address string) net.Listener {
		return w.lines[node].listen(t, address)
	}, nil)
	return w
}

func quick() bool { return os.Getenv("WAYBILL_ROUTE") == "quick" }

// TestNearNode: of nodes at 5, 40 and 120 ms the near one delivers at least 95 of 100 contents,
// the first of which finds nodes of which nothing is known.
func TestNearNode(t *testing.T) {
	w := newFar(t, 120*time.Millisecond, 5*time.Millisecond, 40*time.Millisecond)
	f := w.fetcher(t, 0, client.MemoryBook(), w.nodes...)
	contents := 200
	if quick() {
		contents = 60
	}
	chosen := make(map[string]int)
	for i := range contents {
		data := content(uint64(i), 40_000+i)
		r, err := f.Open(t.Context(), w.shelf.add(data))
		if err != nil {
			t.Fatal(err)
		}
		chosen[r.From()]++
		got, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, data) {
			t.Fatal(len(got), err)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	near := chosen[w.nodes[1].url]
	t.Logf("the near node delivered %d of %d contents", near, contents)
	for _, n := range f.Nodes() {
		t.Logf("%s: %d bytes, average %v", n.URL, n.Received, n.Latency)
	}
	if near*100 < contents*95 {
		t.Errorf("%d of %d: %v", near, contents, chosen)
	}
	if s := f.Stats(); s.Charged != s.Received || s.Received != uint64(contents*40_000+
		contents*(contents-1)/2) {
		t.Errorf("%+v", s)
	}
}

// TestKilledFar: the near node vanishes in the middle of a content. The reader waits for less than
// a second, the content is right, and the acks at both nodes sum to its length.
func TestKilledFar(t *testing.T) {
	size := 24 << 20
	if quick() {
		size = 6 << 20
	}
	w := newFar(t, 5*time.Millisecond, 40*time.Millisecond, 120*time.Millisecond)
	data := content(1, size)
	root := w.shelf.add(data)
	f := w.fetcher(t, 0, client.MemoryBook(), w.nodes...)
	warm := content(2, 100)
	if got, err := read(t, f, w.shelf.add(warm)); err != nil || !bytes.Equal(got, warm) {
		t.Fatal(err)
	}
	// The line is cut, not the reader's view of it: buffers on the way may hold megabytes.
	w.lines[0].left.Store(int64(size / 2))
	r, err := f.Open(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if r.From() != w.nodes[0].url {
		t.Fatalf("%s sends", r.From())
	}
	var killed sync.WaitGroup
	killed.Go(func() { // as if its power was cut: nobody hears of it
		select {
		case <-w.lines[0].dark:
			w.nodes[0].cut()
		case <-t.Context().Done():
		}
	})
	var got []byte
	var longest time.Duration
	b := make([]byte, 64<<10)
	for len(got) < size {
		began := time.Now()
		n, err := r.Read(b)
		if waited := time.Since(began); waited > longest {
			longest = waited
		}
		if got = append(got, b[:n]...); err != nil {
			t.Fatal(err)
		}
	}
	killed.Wait()
	if !bytes.Equal(got, data) {
		t.Error("other bytes")
	}
	second := r.From()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := f.Settle(short); err == nil { // which waits for the stream that was left
		t.Error("a node that is not there has taken acks")
	}
	w.lines[0].left.Store(math.MaxInt64)
	w.lines[0].cut.Store(false)
	w.again(t, w.nodes[0])
	if err := errors.Join(r.Close(), f.Close()); err != nil {
		t.Error(err)
	}
	t.Logf("the reader waited for %v at most; %s went on", longest, second)
	if longest >= time.Second {
		t.Errorf("it waited for %v", longest)
	}
	if second != w.nodes[1].url {
		t.Errorf("%s went on, where the next one is %s", second, w.nodes[1].url)
	}
	sum := f.Stats()
	for _, n := range f.Nodes() {
		t.Logf("%s: %d bytes, acks for %d, charged %d", n.URL, n.Received, n.Signed, n.Charged)
	}
	if want := uint64(size + len(warm)); sum.Received != want || sum.Signed != want ||
		sum.Charged != want {
		t.Errorf("of %d bytes: %+v", want, sum)
	}
}

// TestRoundTrips counts how many round trips the first verified byte takes, of content that the
// node has: three where nothing is known of the node, one where there is a session. A group of 16
// KiB is more than what a new connection of TCP sends at once (10 segments), unless the route to
// the client has a larger initcwnd: that costs a fourth one.
func TestRoundTrips(t *testing.T) {
	trip := 500 * time.Millisecond // which nothing else here comes near
	if quick() {
		trip = 200 * time.Millisecond
	}
	w := newFar(t, trip, trip)
	for i, c := range []struct {
		size         int
		fresh, known float64
	}{{8_000, 3, 1}, {400_000, 4, 1}} { // of the latter TCP may send the first group in parts
		f := w.fetcher(t, uint64(i), client.MemoryBook(), w.nodes[i])
		fresh := w.trips(t, f, content(uint64(2*i), c.size)) / float64(trip)
		known := w.trips(t, f, content(uint64(2*i+1), c.size)) / float64(trip)
		t.Logf("%d bytes: %.2f round trips to the first byte on a new connection, %.2f on a known one",
			c.size, fresh, known)
		if fresh >= c.fresh+0.5 || known >= c.known+0.5 {
			t.Error("which is more than it takes")
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// trips returns in how many nanoseconds the first byte of content is there, and reads the rest.
func (w *far) trips(t *testing.T, f *client.Fetcher, data []byte) float64 {
	t.Helper()
	root := w.shelf.add(data)
	began := time.Now()
	r, err := f.Open(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	took := float64(time.Since(began))
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	return took
}
