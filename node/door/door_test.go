package door

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/node/api"
)

// TestEveryProcedureIsBounded walks the services of the wire and demands a limit for each
// procedure.
func TestEveryProcedureIsBounded(t *testing.T) {
	ports := []Table{Ingest(api.MaxSubmission), Peer(4)}
	procedures := 0
	for _, file := range api.Files() {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				method := service.Methods().Get(j)
				procedures++
				if why := missing(fmt.Sprintf("/%s/%s", service.FullName(), method.Name()),
					method.IsStreamingClient() || method.IsStreamingServer(), ports...); why != "" {
					t.Errorf("%s: %s", method.FullName(), why)
				}
			}
		}
	}
	if procedures < 15 {
		t.Errorf("only %d procedures were found", procedures)
	}
	for path := range Operator() {
		if why := missing(path, path == "/events", Operator()); why != "" {
			t.Errorf("%s: %s", path, why)
		}
	}
}

// missing says what a handler's limit lacks.
func missing(path string, stream bool, ports ...Table) string {
	for _, table := range ports {
		if _, limit, ok := table.Find(path); ok {
			switch {
			case !limit.bounded():
				return fmt.Sprintf("not every bound is set: %+v", limit)
			case limit.Stream != stream:
				return fmt.Sprintf("a stream: %v, bounded as one: %v", stream, limit.Stream)
			}
			return ""
		}
	}
	return "no limit"
}

// TestBoundsCanMiss is the checker's companion.
func TestBoundsCanMiss(t *testing.T) {
	full := Limit{Body: 1, Time: 1, Calls: 1, Places: 1}
	for name, spoil := range map[string]func(*Limit){
		"time": func(l *Limit) { l.Time = 0 }, "calls": func(l *Limit) { l.Calls = 0 },
		"places": func(l *Limit) { l.Places = 0 }, "body": func(l *Limit) { l.Body = -1 },
		"stream": func(l *Limit) { l.Stream = true },
	} {
		limit := full
		if spoil(&limit); missing("/x", false, Table{"/x": limit}) == "" {
			t.Errorf("%s: not seen", name)
		}
	}
	if missing("/y", false, Table{"/x": full}) == "" || missing("/x", false, Table{"/x": full}) != "" {
		t.Error("a handler without a limit is not seen, or one with all of them is")
	}
}

func TestShares(t *testing.T) {
	s := NewShares[string](16)
	take := func(caller string) (n int) {
		for s.Take(caller, 1) {
			n++
		}
		return n
	}
	if a, b, c := take("a"), take("b"), take("c"); a != 8 || b != 4 || c != 2 {
		t.Errorf("the shares are %d, %d, %d", a, b, c)
	}
	// While there is any room, a caller that has nothing gets something.
	for _, late := range []string{"d", "e"} {
		if take(late) != 1 {
			t.Errorf("%s has no share", late)
		}
	}
	if take("f") != 0 || s.Used() != 16 {
		t.Errorf("%d are granted", s.Used())
	}
	s.Give("a", 8)
	if s.Held("a") != 0 || take("f") == 0 {
		t.Error("what is given back is not granted again")
	}
	if s.Take("g", 100) {
		t.Error("more than there is was granted")
	}
}

func TestSharesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShares[string](4)
		s.Take("a", 4)
		got := make(chan error, 1)
		go func() { got <- s.Wait(t.Context(), "b", 3) }()
		synctest.Wait()
		s.Give("a", 1)
		synctest.Wait()
		select {
		case err := <-got:
			t.Fatalf("granted too early: %v", err)
		default:
		}
		s.Give("a", 2)
		if err := <-got; err != nil || s.Held("b") != 3 {
			t.Errorf("%v, %d held", err, s.Held("b"))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Wait(ctx, "c", 2); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// serve serves a handler behind a door, with HTTP/1.1, and HTTP/2 unencrypted.
func serve(t *testing.T, cfg Config, handler http.HandlerFunc) (d *Door, url string) {
	t.Helper()
	if cfg.Budget == nil {
		cfg.Budget = []int64{1 << 20}
	}
	if cfg.Pace.Rate == 0 {
		cfg.Pace = Pace{time.Minute, 1 << 10}
	}
	d = New(cfg)
	srv := httptest.NewUnstartedServer(d.Handler(handler))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return d, srv.URL
}

// over returns clients that speak HTTP/1.1 and HTTP/2.
func over(t *testing.T) map[string]*http.Client {
	h2 := &http.Transport{Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	h1 := new(http.Transport)
	t.Cleanup(h1.CloseIdleConnections)
	t.Cleanup(h2.CloseIdleConnections)
	return map[string]*http.Client{"HTTP/1.1": {Transport: h1}, "HTTP/2": {Transport: h2}}
}

// endless is a body that never ends, of a declared length or none.
// endless is a body without an end. Its sender may still read it when the answer is there.
type endless struct{ read atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) { e.read.Add(int64(len(p))); return len(p), nil }

// TestTooLarge: a request beyond its bound is refused by its length, or where it passes the bound;
// its end is not waited for.
func TestTooLarge(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]int64)
	cut := make(chan error, 10)
	d, url := serve(t, Config{Table: Table{"/": {Body: 1000, Time: time.Minute, Calls: 8, Places: 8}},
		Ended: func(_ *http.Request, _ Caller, err error) { cut <- err }},
		func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			mu.Lock()
			seen[r.Header.Get("Case")] = n
			mu.Unlock()
			if err != nil {
				http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			}
		})
	for protocol, client := range over(t) {
		for name, c := range map[string]struct {
			body     io.Reader
			declared int64
			seen     int64
			refused  bool
		}{
			"fits":     {strings.NewReader(strings.Repeat("x", 1000)), 1000, 1000, false},
			"declared": {&endless{}, 1 << 30, 0, true},
			"chunked":  {&endless{}, -1, 1000, true},
		} {
			id := protocol + " " + name
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, c.body)
			if err != nil {
				t.Fatal(err)
			}
			r.ContentLength = c.declared
			r.Header.Set("Case", id)
			response, err := client.Do(r)
			if err == nil {
				response.Body.Close()
				if (response.StatusCode != http.StatusOK) != c.refused {
					t.Errorf("%s: %s", id, response.Status)
				}
			} else if !c.refused { // one that writes on when it is refused may find the connection gone
				t.Errorf("%s: %v", id, err)
			}
			if c.refused {
				if err := <-cut; !errors.Is(err, ReasonSize) {
					t.Errorf("%s: cut off for %v", id, err)
				}
			}
			mu.Lock()
			if n := seen[id]; n > c.seen {
				t.Errorf("%s: the handler saw %d bytes", id, n)
			}
			mu.Unlock()
			if e, ok := c.body.(*endless); ok && e.read.Load() > 32<<20 {
				t.Errorf("%s: %d bytes were sent", id, e.read.Load())
			}
		}
	}
	if n := d.Reserved(); n != 0 {
		t.Errorf("%d bytes stay reserved", n)
	}
}

// TestSlow: a request that stops coming in is cut off, others are not.
func TestSlow(t *testing.T) {
	cut := make(chan error, 10)
	table := Table{"/": {Body: 1 << 20, Time: time.Minute, Calls: 8, Places: 8}}
	_, url := serve(t, Config{Table: table,
		Pace:  Pace{50 * time.Millisecond, 1 << 20},
		Ended: func(_ *http.Request, _ Caller, err error) { cut <- err }},
		func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				http.Error(w, err.Error(), http.StatusRequestTimeout)
			}
		})
	for protocol, client := range over(t) {
		reader, writer := io.Pipe()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_, _ = writer.Write([]byte("slow")) // fails when the server hangs up before
		}()
		response, err := client.Post(url, "text/plain", reader)
		if err == nil {
			response.Body.Close()
			if response.StatusCode != http.StatusRequestTimeout {
				t.Errorf("%s: %s", protocol, response.Status)
			}
		}
		if err := <-cut; !errors.Is(err, ReasonSlow) {
			t.Errorf("%s: cut off for %v", protocol, err)
		}
		writer.Close()
		<-sent
		response, err = client.Post(url, "text/plain", strings.NewReader("quick"))
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v %v", protocol, response, err)
		}
		response.Body.Close()
	}
}

// TestStreamMessages: each message of a stream has its own bound and its own share of the budget,
// and one that announces more than the bound ends the stream before it comes.
func TestStreamMessages(t *testing.T) {
	held := make(chan int64, 10)
	cut := make(chan error, 1)
	var d *Door
	table := Table{"/": {Body: 1000, Time: time.Minute, Calls: 8, Places: 8, Stream: true}}
	d, url := serve(t, Config{Table: table,
		Ended: func(_ *http.Request, _ Caller, err error) { cut <- err }},
		func(w http.ResponseWriter, r *http.Request) {
			for {
				var head [5]byte
				if _, err := io.ReadFull(r.Body, head[:]); err != nil {
					return
				}
				n := int64(binary.BigEndian.Uint32(head[1:]))
				if _, err := io.CopyN(io.Discard, r.Body, n); err != nil {
					return
				}
				held <- d.Reserved()
			}
		})
	var body bytes.Buffer
	for _, n := range []uint32{7, 1000, 0, 1<<32 - 1} {
		body.WriteByte(0)
		_ = binary.Write(&body, binary.BigEndian, n)
		if n <= 1000 {
			body.Write(make([]byte, n))
		}
	}
	response, err := over(t)["HTTP/2"].Post(url, "application/connect+proto", &body)
	if err == nil {
		response.Body.Close()
	}
	for _, want := range []int64{7, 1000, 0} {
		if got := <-held; got != want {
			t.Errorf("%d bytes are reserved, not %d", got, want)
		}
	}
	if err := <-cut; !errors.Is(err, ReasonSize) {
		t.Errorf("cut off for %v", err)
	}
}

// TestCalls: calls of one caller are bounded, and another caller does not pay for it.
func TestCalls(t *testing.T) {
	entered, leave := make(chan struct{}, 10), make(chan struct{})
	_, url := serve(t, Config{
		Table: Table{"/": {Time: time.Minute, Calls: 2, Places: 8}},
		Identify: func(r *http.Request) (Caller, error) {
			return Caller{Key: r.Header.Get("Caller")}, nil
		},
	}, func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave })
	client := over(t)["HTTP/1.1"]
	call := func(caller string) (*http.Response, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Caller", caller)
		response, err := client.Do(r)
		if err == nil {
			response.Body.Close()
		}
		return response, err
	}
	var calls sync.WaitGroup
	for _, caller := range []string{"a", "a", "b"} {
		calls.Go(func() {
			if response, err := call(caller); err != nil || response.StatusCode != http.StatusOK {
				t.Errorf("%s: %v %v", caller, response, err)
			}
		})
		<-entered
	}
	response, err := call("a")
	if err != nil || response.StatusCode != http.StatusTooManyRequests ||
		response.Header.Get("Retry-After") != "1" {
		t.Errorf("a third call: %v %v", response, err)
	}
	close(leave)
	calls.Wait()
	if response, err := call("a"); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %v %v", response, err)
	}
}

// TestYields: the oldest stream of the caller that has the most ends for a new one.
func TestYields(t *testing.T) {
	g := newGate(Limit{Time: 1, Calls: 3, Places: 4, Yields: true})
	var ended []string
	open := func(caller, name string) func() {
		leave, refusal := g.enter(caller, func(err error) {
			if !errors.Is(err, ReasonYield) {
				t.Errorf("%s: %v", name, err)
			}
			ended = append(ended, name)
		})
		if refusal != nil {
			t.Fatal(refusal)
		}
		return leave
	}
	open("a", "a1")
	open("a", "a2")
	leave := open("a", "a3")
	open("b", "b1")
	open("c", "c1") // full: a has the most
	open("b", "b2") // full: a again, which is older
	leave()
	leave() // as for one that yielded before
	open("b", "b3")
	open("b", "b4") // b's own bound
	if got := fmt.Sprint(ended); got != "[a1 a2 b1]" {
		t.Errorf("%s ended", got)
	}
	if g.open.Len() != 4 {
		t.Errorf("%d are open", g.open.Len())
	}
}

// TestNoLimitNoHandler: what has no limit is not served.
func TestNoLimitNoHandler(t *testing.T) {
	one := Limit{Time: time.Minute, Calls: 1, Places: 1}
	_, url := serve(t, Config{Table: Table{"/a": one, "/b/": one}},
		func(http.ResponseWriter, *http.Request) {})
	for path, want := range map[string]int{"/a": 200, "/b/": 200, "/b/c/d": 200,
		"/": 404, "/ab": 404, "/a/": 404, "/b": 404} {
		response, err := over(t)["HTTP/1.1"].Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
}

func TestAddressOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "[::ffff:192.0.2.7]:1": "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64", "[2001:db8:1:2::1]:81": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80": "fe80::/64", "pipe": "pipe", "@:1": "@",
	} {
		if got := AddressOf(remote); got != want {
			t.Errorf("%s is %s, not %s", remote, got, want)
		}
	}
}
