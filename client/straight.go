package client

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// straight is the way of streams once a node has sent some megabytes: connections of HTTP/1.1,
// each with one stream at a time. Over HTTP/2 each byte is copied once more at either end and
// changes goroutines, which is a third of what transport costs in all (ADR 60). But a connection
// costs a handshake, about as much as a megabyte saves: so it is made late, beside what goes on,
// and nothing waits for it. HTTP/2 is the way of everything else. It is safe for concurrent use.
type straight struct {
	http *http.Client
	base string
	wait time.Duration

	mu      sync.Mutex
	conns   int  // that were made, about
	busy    int  // of them
	making  bool // another one is being made
	useless bool // what is in between does not let them through
}

const (
	// straightFrom is how many bytes a node has sent before a connection is made.
	straightFrom = 4 << 20
	// straightMost is how many streams of a node have connections of their own. Many clients may
	// share an address, whose connections a node bounds.
	straightMost = 4
)

func newStraight(u *url.URL, cfg *Config) *straight {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	var trust *tls.Config
	if cfg.TLS != nil { // package http adds to what is named in there
		trust = cfg.TLS.Clone()
		trust.NextProtos = []string{"http/1.1"}
	}
	return &straight{
		base: u.Scheme + "://" + u.Host,
		wait: cfg.CallTimeout,
		http: &http.Client{Transport: &http.Transport{
			DialContext:         cfg.Dial,
			TLSClientConfig:     trust,
			TLSHandshakeTimeout: 10 * time.Second,
			IdleConnTimeout:     2 * time.Minute,
			MaxIdleConnsPerHost: straightMost,
			DisableCompression:  true,
			ReadBufferSize:      64 << 10,
			Protocols:           protocols,
		}},
	}
}

// take takes a connection that is free, if there is one; give must follow.
func (s *straight) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy >= s.conns {
		return false
	}
	s.busy++
	return true
}

// want has a connection made for the streams to come when none is free, once the node has sent so
// many bytes that this is worth it; run runs that.
func (s *straight) want(ctx context.Context, received uint64, run func(func())) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if received < straightFrom || s.busy < s.conns || s.conns == straightMost || s.making ||
		s.useless {
		return
	}
	s.making = true
	run(func() { s.make(ctx) })
}

func (s *straight) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
}

// make makes a connection by a small request, and leaves it for the next stream.
func (s *straight) make(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	err := s.greet(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.making = false; err != nil {
		s.useless = true
		return
	}
	s.conns++
}

func (s *straight) greet(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/session", nil)
	if err != nil {
		return err
	}
	response, err := s.http.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return refusedBy(response)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
	return err
}

// special is the way of Config.Streams. It is safe for concurrent use.
type special struct {
	http *http.Client

	mu    sync.Mutex
	after time.Time // when it may be tried again
}

// specialRest is for how long a way that gave no answer is left aside.
const specialRest = time.Minute

func (s *special) serves() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().After(s.after)
}

func (s *special) failed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = time.Now().Add(specialRest)
}
