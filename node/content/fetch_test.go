package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
)

// gated is an origin whose bodies wait until open is closed.
type gated struct {
	body []byte
	open chan struct{}
	runs int
}

func (g *gated) String() string { return "gated" }

func (g *gated) Open(ctx context.Context, _ Want, offset int64) (Body, error) {
	g.runs++
	select {
	case <-g.open:
	case <-ctx.Done():
		return Body{}, ctx.Err()
	}
	body := io.NopCloser(bytes.NewReader(g.body[offset:]))
	return Body{body, offset, int64(len(g.body))}, nil
}

// TestFetchOnce has many wait for one fetch. The first of them leaves.
func TestFetchOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := sample(1, 200<<10)
		gate := &gated{body: in, open: make(chan struct{})}
		s := openStore(t, Options{})
		want := Want{Root: rootOf(in), Size: -1}
		ctx, cancel := context.WithCancel(t.Context())
		impatient := make(chan error, 1)
		go func() {
			_, err := s.Fetch(ctx, want, gate)
			impatient <- err
		}()
		synctest.Wait()
		const waiters = 8
		results := make(chan error, waiters)
		for range waiters {
			go func() {
				c, err := s.Fetch(t.Context(), want, gate)
				if err == nil {
					err = c.Verify(0, c.Groups())
					c.Close()
				}
				results <- err
			}()
		}
		synctest.Wait()
		cancel()
		if err := <-impatient; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		before := s.Stats()
		if before.Joined != waiters || before.Fetches != 1 || before.Contents != 0 {
			t.Fatalf("%+v", before)
		}
		close(gate.open)
		for range waiters {
			if err := <-results; err != nil {
				t.Fatal(err)
			}
		}
		stats := s.Stats()
		if stats.Fetched != 1 || stats.Readers != 0 || stats.Reserved != 0 || gate.runs != 1 {
			t.Fatalf("%d runs, %+v", gate.runs, stats)
		}
		s.Close()
	})
}

// TestAllLeave ends a fetch that nobody waits for; the next one begins anew. Close ends it, too.
func TestAllLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := sample(1, 100)
		gate := &gated{body: in, open: make(chan struct{})}
		s := openStore(t, Options{MaxFetches: 1})
		want := Want{Root: rootOf(in), Size: 100}
		for round := range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() {
				_, err := s.Fetch(ctx, want, gate)
				done <- err
			}()
			synctest.Wait()
			if _, err := s.Fetch(ctx, Want{Root: rootOf(nil)}, gate); !errors.Is(err, ReasonBusy) {
				t.Fatal(err)
			}
			if round == 0 {
				cancel()
			} else {
				go s.Close()
			}
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			synctest.Wait()
			stats := s.Stats()
			if stats.Fetches+int(stats.Reserved) != 0 || stats.Failed != uint64(round+1) {
				t.Fatalf("%+v", stats)
			}
			cancel()
		}
		if _, err := s.Fetch(t.Context(), want, gate); !errors.Is(err, ReasonClosed) {
			t.Fatal(err)
		}
	})
}

type reply = func(*http.Request) *http.Response

type answers = []reply

// server answers requests in turn; the last answer again and again.
type server struct {
	answers  answers
	requests []*http.Request
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := s.answers[min(len(s.requests), len(s.answers)-1)]
	s.requests = append(s.requests, r)
	response := answer(r)
	if response == nil {
		return nil, syscall.ECONNREFUSED
	}
	response.Request = r
	return response, nil
}

// answer makes one: status, headers as "Name: value", body.
func answer(status int, body io.Reader, length int64, headers ...string) reply {
	return func(*http.Request) *http.Response {
		h := http.Header{}
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			h.Set(name, value)
		}
		return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: h,
			Body: io.NopCloser(body), ContentLength: length}
	}
}

// whole answers 200 with all of b, or what is left of it.
func whole(b []byte) reply {
	return func(r *http.Request) *http.Response {
		return answer(200, bytes.NewReader(b), int64(len(b)))(r)
	}
}

// broken gives the front of b and then an error, for a length of all of it.
func broken(b []byte, n int) io.Reader {
	return io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(io.ErrUnexpectedEOF))
}

func refused(*http.Request) *http.Response { return nil }

// TestWeb fetches from web servers of all kinds: what each leads to, after how many requests.
func TestWeb(t *testing.T) {
	const size = 70 << 10
	in := sample(1, size)
	wrong := bytes.Clone(in)
	wrong[size/2] ^= 1
	full := int64(size)
	const half = 40 << 10
	cut := func() reply { return answer(200, broken(in, half), full) }
	plain := func(b []byte, length int64, headers ...string) reply {
		return answer(200, bytes.NewReader(b), length, headers...)
	}
	rest := func(first, last, total int) reply {
		span := fmt.Sprintf("Content-Range: bytes %d-%d/%d", first, last, total)
		return answer(206, bytes.NewReader(in[half:]), full-half, span)
	}
	words := answer(206, bytes.NewReader(in), full, "Content-Range: bytes x-y/z")
	empty := func(status int, headers ...string) reply {
		return answer(status, strings.NewReader(""), 0, headers...)
	}
	at := func(place string) reply { return empty(302, "Location: "+place) }
	for name, c := range map[string]struct {
		answers  answers
		err      error
		requests int
	}{
		"all":               {answers{whole(in)}, nil, 1},
		"no length":         {answers{plain(in, -1)}, nil, 1},
		"resumed":           {answers{cut(), rest(half, size-1, size)}, nil, 2},
		"from the start":    {answers{cut(), whole(in)}, nil, 2},
		"unavailable, then": {answers{empty(503, "Retry-After: 7"), refused, whole(in)}, nil, 3},
		"short":             {answers{plain(in[:9], full), whole(in)}, nil, 2},
		"never there":       {answers{refused}, ReasonOriginFailed, attempts},
		"too many requests": {answers{empty(429)}, ReasonOriginFailed, attempts},
		"another range":     {answers{cut(), rest(1, size-1, size)}, ReasonOriginRange, 2},
		"a range at once":   {answers{rest(0, size-1, size)}, ReasonOriginRange, 1},
		"a range of words":  {answers{cut(), words}, ReasonOriginRange, 2},
		"a range that ends": {answers{cut(), rest(half, size-2, size)}, ReasonOriginRange, 2},
		"no such range":     {answers{cut(), empty(416)}, ReasonOriginRange, 2},
		"not found":         {answers{empty(404)}, ReasonOriginAbsent, 1},
		"gone":              {answers{empty(410)}, ReasonOriginAbsent, 1},
		"forbidden":         {answers{empty(403)}, ReasonOriginRefused, 1},
		"compressed": {answers{plain(in, full, "Content-Encoding: gzip")},
			ReasonOriginEncoded, 1},
		"led elsewhere":      {answers{at("https://other.example/")}, ReasonOriginRedirect, 1},
		"led to plain HTTP":  {answers{at("http://origin.example/")}, ReasonOriginRedirect, 1},
		"led in circles":     {answers{at("/again")}, ReasonOriginRedirect, 1 + maxRedirects},
		"other bytes":        {answers{whole(wrong)}, ReasonMismatch, 1},
		"larger than named":  {answers{whole(append(bytes.Clone(in), 1))}, ReasonSize, 1},
		"larger, not said":   {answers{plain(append(bytes.Clone(in), 1), -1)}, ReasonSize, 1},
		"smaller than named": {answers{whole(in[1:])}, ReasonSize, 1},
		"smaller, not said":  {answers{plain(in[1:], -1)}, ReasonSize, 1},
		"one that says 2^62": {answers{plain(in, 1<<62)}, ReasonSize, 1},
		"of another size":    {answers{cut(), rest(half, size, size+1)}, ReasonSize, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openStore(t, Options{MaxContent: 1 << 20})
				web := &server{answers: c.answers}
				origin, err := NewWeb("https://origin.example/files/", web)
				if err != nil {
					t.Fatal(err)
				}
				want := Want{Root: rootOf(in), Size: full, Path: "/a dir/ü.bin"}
				content, err := s.Fetch(t.Context(), want, origin)
				if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
					t.Fatalf("%v, not %v", err, c.err)
				}
				if err == nil {
					if err := content.Verify(0, content.Groups()); err != nil {
						t.Error(err)
					}
					content.Close()
				}
				if len(web.requests) != c.requests {
					t.Errorf("%d requests, not %d", len(web.requests), c.requests)
				}
				const escaped = "https://origin.example/files/a%20dir/%C3%BC.bin"
				if u := web.requests[0].URL.String(); u != escaped {
					t.Errorf("asked for %s", u)
				}
				unchanged(t, s, err == nil)
			})
		})
	}
}

// unchanged sees that a store has nothing but what it should, and nothing half written.
func unchanged(t *testing.T, s *Store, added bool) {
	t.Helper()
	stats := s.Stats()
	if stats.Reserved != 0 || stats.Readers != 0 || stats.Contents > 0 != added {
		t.Errorf("%+v", stats)
	}
	left, err := os.ReadDir(s.path(writingName))
	if err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
	s.Close()
}

// TestStall ends attempts that bring nothing, and begins others.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := sample(1, 50<<10)
		s := openStore(t, Options{})
		silent := func(r *http.Request) *http.Response {
			body := io.MultiReader(bytes.NewReader(in[:1000]), waiting{r.Context()})
			return answer(200, body, int64(len(in)))(r)
		}
		web := &server{answers: answers{silent, whole(in)}}
		origin, err := NewWeb("http://origin.example", web)
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Fetch(t.Context(), Want{Root: rootOf(in), Size: -1}, origin)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		dead, err := NewWeb("http://origin.example", &server{answers: answers{silent}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Fetch(t.Context(), Want{Root: rootOf(nil), Size: -1}, dead)
		if !errors.Is(err, ReasonOriginFailed) {
			t.Fatal(err)
		}
		s.Close()
	})
}

// waiting reads nothing until a context ends.
type waiting struct{ context.Context }

func (w waiting) Read([]byte) (int, error) {
	<-w.Done()
	return 0, w.Err()
}

// TestNextOrigin goes on to the next origin, whatever the first one does.
func TestNextOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := sample(1, 5000)
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "b3"), 0o700); err != nil {
			t.Fatal(err)
		}
		root := rootOf(in)
		if err := os.WriteFile(filepath.Join(dir, RootPath(root)), in, 0o600); err != nil {
			t.Fatal(err)
		}
		folder, err := OpenFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer folder.Close()
		web := &server{answers: answers{whole(in[1:])}}
		bad, err := NewWeb("http://origin.example", web)
		if err != nil {
			t.Fatal(err)
		}
		s := openStore(t, Options{})
		c, err := s.Fetch(t.Context(), Want{Root: root, Size: -1}, bad, folder)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		s.Close()
	})
}

func TestFolder(t *testing.T) {
	outside := t.TempDir()
	dir := filepath.Join(outside, "site")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	in := sample(1, 100)
	for _, name := range []string{"a", "../secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), in, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	folder, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	s := openStore(t, Options{})
	for path, reason := range map[string]Reason{"../secret": ReasonOriginPath,
		"link": ReasonOriginRefused, "pipe": ReasonOriginRefused, "none": ReasonOriginAbsent,
		".": ReasonOriginRefused, "a//b": ReasonOriginPath} {
		_, err := s.Fetch(t.Context(), Want{Root: rootOf(in), Size: -1, Path: path}, folder)
		if !errors.Is(err, reason) {
			t.Errorf("%s: %v, not %v", path, err, reason)
		}
	}
	c, err := s.Fetch(t.Context(), Want{Root: rootOf(in), Size: -1, Path: "/a"}, folder)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	unchanged(t, s, true)
}
