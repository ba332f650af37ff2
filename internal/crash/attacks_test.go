//go:build linux

package crash

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/api"
)

// The attacks of TestDoors. They come from addresses of the loopback network that honest callers do
// not have, from one unless the target says more, are bounded in number, and end with their
// context.

// target is a port under attack.
type target struct {
	address string
	tls     *tls.Config // of a registered node, nil without TLS
	path    string      // of a handler that takes a body, or refuses one
	stream  string      // of a handler that answers with a stream of events; "" when there is none
	http2   bool

	addresses byte // that attack; 0: one
	dialled   atomic.Uint32
}

// tally counts what became of an attack.
type tally struct{ tried, refused, answered, sent atomic.Int64 }

func (c *tally) String() string {
	s := fmt.Sprintf("%d tried, %d refused", c.tried.Load(), c.refused.Load())
	if n := c.answered.Load(); n > 0 {
		s += fmt.Sprintf(", %d answered", n)
	}
	if n := c.sent.Load(); n > 0 {
		s += fmt.Sprintf(", %d KiB sent", n>>10)
	}
	return s
}

// attack is one way to be a nuisance, with its size in the full and in the short form.
type attack struct {
	name        string
	full, quick int
	run         func(ctx context.Context, t *target, n int, c *tally)
	only        func(*target) bool // nil: against every port
	typed       bool               // each request of it has to be refused with a typed error
}

var attacks = []attack{
	{name: "idle connections", full: 2000, quick: 600, run: idleConnections},
	{name: "slow headers", full: 1000, quick: 300, run: slowHeaders},
	{name: "slow bodies", full: 1000, quick: 300, run: slowBodies},
	{name: "huge headers", full: 200, quick: 20, run: hugeHeaders},
	{name: "gzip bombs", full: 50, quick: 8, run: gzipBombs, typed: true},
	{name: "1 GiB bodies", full: 50, quick: 8, run: plainBodies, typed: true},
	{name: "rapid reset", full: 200_000, quick: 20_000, run: rapidReset, only: speaksHTTP2},
	{name: "ping flood", full: 200_000, quick: 20_000, run: pingFlood, only: speaksHTTP2},
	{name: "watchers", full: 10_000, quick: 1000, run: watchers, only: hasStream},
}

func speaksHTTP2(t *target) bool { return t.http2 }
func hasStream(t *target) bool   { return t.stream != "" }

// dial connects from one of the attackers' addresses.
func (t *target) dial(ctx context.Context) (net.Conn, error) {
	address := net.IPv4(127, 0, 0, 2+byte(t.dialled.Add(1)%uint32(max(1, t.addresses))))
	from := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: address}}
	return from.DialContext(ctx, "tcp", t.address)
}

// secure is dial with TLS where the port has it.
func (t *target) secure(ctx context.Context) (net.Conn, error) {
	conn, err := t.dial(ctx)
	if err != nil || t.tls == nil {
		return conn, err
	}
	secured := tls.Client(conn, t.tls)
	shake, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := secured.HandshakeContext(shake); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// each runs f n times, some at once, until ctx ends.
func each(ctx context.Context, n, atOnce int, f func(i int)) {
	var running sync.WaitGroup
	next := make(chan int)
	for range min(n, atOnce) {
		running.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		select {
		case next <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	running.Wait()
}

// hold keeps a connection until ctx ends, writing drip once a second, and counts it as refused when
// the server closes it.
func hold(ctx context.Context, conn net.Conn, drip []byte, c *tally) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var dripping sync.WaitGroup
	defer dripping.Wait()
	ended, end := context.WithCancel(ctx)
	defer end()
	if drip != nil {
		dripping.Go(func() {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					if _, err := conn.Write(drip); err != nil {
						return
					}
				case <-ended.Done():
					return
				}
			}
		})
	}
	if _, _ = io.Copy(io.Discard, conn); ctx.Err() == nil {
		c.refused.Add(1)
	}
}

// opened is hold of a connection that begins with what open sends.
func opened(ctx context.Context, dial func(context.Context) (net.Conn, error), begin, drip []byte,
	c *tally) {
	c.tried.Add(1)
	conn, err := dial(ctx)
	if err != nil {
		c.refused.Add(1)
		return
	}
	if _, err := conn.Write(begin); err != nil {
		c.refused.Add(1)
		conn.Close()
		return
	}
	hold(ctx, conn, drip, c)
}

func idleConnections(ctx context.Context, t *target, n int, c *tally) {
	each(ctx, n, n, func(int) { opened(ctx, t.dial, nil, nil, c) })
}

func slowHeaders(ctx context.Context, t *target, n int, c *tally) {
	begin := []byte("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	if t.tls != nil {
		// the beginning of a client's first record
		begin = []byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}
	}
	each(ctx, n, n, func(int) { opened(ctx, t.dial, begin, []byte("a"), c) })
}

func slowBodies(ctx context.Context, t *target, n int, c *tally) {
	if t.tls == nil {
		begin := fmt.Appendf(nil,
			"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+
				"Content-Length: 500000\r\n\r\n{", t.path)
		each(ctx, n, n, func(int) { opened(ctx, t.dial, begin, []byte(" "), c) })
		return
	}
	begin := append(h2Begin(), h2Headers(t, "POST", t.path, "application/proto", 1, 4)...)
	each(ctx, n, 64, func(int) { opened(ctx, t.secure, begin, h2Frame(0, 0, 1, []byte{10}), c) })
}

func hugeHeaders(ctx context.Context, t *target, n int, c *tally) {
	huge := append([]byte("GET / HTTP/1.1\r\nHost: x\r\nX-Huge: "),
		bytes.Repeat([]byte("a"), 1<<20)...)
	if t.http2 {
		// more follow
		huge = append(h2Begin(), h2Headers(t, "GET", t.path, "application/proto", 1, 0)...)
		for range 64 {
			field := append([]byte{0, 1, 'x', 0x7f, 0x80, 0x7f},
				bytes.Repeat([]byte("a"), 16<<10)...)
			huge = append(huge, h2Frame(9, 0, 1, field[:16<<10])...)
		}
	}
	each(ctx, n, 8, func(int) { opened(ctx, t.secure, huge, nil, c) })
}

// client returns an HTTP client that attacks.
func (t *target) client() *http.Client {
	transport := &http.Transport{DisableCompression: true, MaxConnsPerHost: 8,
		TLSClientConfig: t.tls,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return t.dial(ctx)
		}}
	if t.tls != nil {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP2(true)
	}
	return &http.Client{Transport: transport}
}

// post sends a body and counts what the answer is: refused when it is an error that says which.
func (t *target) post(ctx context.Context, client *http.Client, body io.Reader, length int64,
	encoding string, c *tally) {
	c.tried.Add(1)
	scheme, kind := "http", "application/json"
	if t.tls != nil {
		scheme, kind = "https", "application/proto"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+"://"+t.address+t.path, body)
	if err != nil {
		return
	}
	r.ContentLength = length
	r.Header.Set("Content-Type", kind)
	if encoding != "" {
		r.Header.Set("Content-Encoding", encoding)
	}
	response, err := client.Do(r)
	if err != nil {
		if ctx.Err() == nil {
			c.refused.Add(1) // it hung up while the body came
		}
		return
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	if response.StatusCode < 400 || response.StatusCode >= 500 &&
		!strings.Contains(string(text), `"code"`) {
		c.answered.Add(1)
		return
	}
	c.refused.Add(1)
}

// bomb is a gigabyte of zeros, compressed: sixteen members, which gzip takes for one stream.
var bomb = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(make([]byte, 64<<20)) // to memory
	_ = w.Close()
	return bytes.Repeat(b.Bytes(), 16)
})

func gzipBombs(ctx context.Context, t *target, n int, c *tally) {
	client := t.client()
	defer client.CloseIdleConnections()
	each(ctx, n, 4, func(int) {
		t.post(ctx, client, bytes.NewReader(bomb()), int64(len(bomb())), "gzip", c)
	})
}

// zeros is a body of a length that counts what is taken of it.
type zeros struct {
	left int64
	sent *atomic.Int64
}

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	clear(p[:n])
	z.left -= n
	z.sent.Add(n)
	return int(n), nil
}

func plainBodies(ctx context.Context, t *target, n int, c *tally) {
	client := t.client()
	defer client.CloseIdleConnections()
	each(ctx, n, 4, func(i int) {
		length := int64(1 << 30)
		if i%2 == 0 {
			length = -1 // not declared
		}
		t.post(ctx, client, io.NopCloser(&zeros{1 << 30, &c.sent}), length, "", c)
	})
}

func h2Frame(kind, flags byte, stream uint32, payload []byte) []byte {
	frame := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind,
		flags}
	return append(binary.BigEndian.AppendUint32(frame, stream), payload...)
}

// h2Begin opens a connection: the preface and empty settings.
func h2Begin() []byte {
	return append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), h2Frame(4, 0, 0, nil)...)
}

// h2Headers opens a stream; flags are 1 to end it and 4 to end its headers.
func h2Headers(t *target, method, path, kind string, stream uint32, flags byte) []byte {
	block := []byte{0x83, 0x86} // POST, http
	if method == "GET" {
		block[0] = 0x82
	}
	if t.tls != nil {
		block[1] = 0x87
	}
	literal := func(name []byte, value string) {
		block = append(append(append(block, name...), byte(len(value))), value...)
	}
	literal([]byte{0x04}, path)
	literal([]byte{0x01}, "x")
	literal([]byte{0x0f, 0x10}, kind)
	return h2Frame(1, flags, stream, block)
}

// h2Flood writes frames over a few connections, opened again when the server closes one.
func h2Flood(ctx context.Context, t *target, n int, c *tally, frames func(stream uint32) []byte) {
	const connections, burst = 8, 64
	each(ctx, n/burst, connections, func(int) {
		conn, err := t.secure(ctx)
		if err != nil {
			c.refused.Add(1)
			return
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
		var reading sync.WaitGroup
		defer reading.Wait()
		defer conn.Close()
		reading.Go(func() { _, _ = io.Copy(io.Discard, conn) })
		out := h2Begin()
		for i := range uint32(burst) {
			out = append(out, frames(2*i+1)...)
		}
		c.tried.Add(burst)
		if _, err := conn.Write(out); err != nil && ctx.Err() == nil {
			c.refused.Add(burst)
		}
	})
}

func rapidReset(ctx context.Context, t *target, n int, c *tally) {
	h2Flood(ctx, t, n, c, func(stream uint32) []byte {
		headers := h2Headers(t, "POST", t.path, "application/proto", stream, 4)
		return append(headers, h2Frame(3, 0, stream, []byte{0, 0, 0, 8})...) // cancel
	})
}

func pingFlood(ctx context.Context, t *target, n int, c *tally) {
	h2Flood(ctx, t, n, c, func(uint32) []byte { return h2Frame(6, 0, 0, make([]byte, 8)) })
}

func watchers(ctx context.Context, t *target, n int, c *tally) {
	if !t.http2 {
		begin := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", t.stream)
		each(ctx, n, n, func(int) { opened(ctx, t.dial, begin, nil, c) })
		return
	}
	const streams = 100
	begin := h2Begin()
	for i := range uint32(streams) {
		begin = append(begin, h2Headers(t, "POST", t.stream, "application/connect+proto", 2*i+1,
			4)...)
		begin = append(begin, h2Frame(0, 1, 2*i+1, make([]byte, 5))...) // an empty message
	}
	each(ctx, n/streams, n/streams, func(int) {
		c.tried.Add(streams - 1)
		opened(ctx, t.dial, begin, nil, c)
	})
}

// TestAttacksAreWhatTheySay: the hand-made frames are HTTP/2, and the bomb inflates to what it
// claims.
func TestAttacksAreWhatTheySay(t *testing.T) {
	if r, err := gzip.NewReader(bytes.NewReader(bomb())); err != nil {
		t.Error(err)
	} else if n, err := io.Copy(io.Discard, r); err != nil || n != 1<<30 {
		t.Errorf("the bomb has %d bytes: %v", n, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	see := func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- fmt.Sprint(r.Proto, r.Method, r.URL.Path, r.Header.Get("Content-Type"), len(b))
	}
	server := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(see)}
	server.Protocols.SetUnencryptedHTTP2(true)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	defer serving.Wait()
	defer server.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const path, kind = api.IngestServiceFollowEpochsProcedure, "application/connect+proto"
	out := append(h2Begin(), h2Headers(&target{}, "POST", path, kind, 1, 4)...)
	if _, err := conn.Write(append(out, h2Frame(0, 1, 1, make([]byte, 5))...)); err != nil {
		t.Fatal(err)
	}
	if s, want := <-got, "HTTP/2.0POST"+path+kind+"5"; s != want {
		t.Errorf("the server saw %s, not %s", s, want)
	}
}
