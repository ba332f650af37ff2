package client

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
)

// resettable is a network whose connections can all be reset.
type resettable struct {
	reset atomic.Bool
	conns chan *resetConn
}

type resetConn struct {
	net.Conn
	net *resettable
}

func (r *resettable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &resetConn{conn, r}
	r.conns <- c
	return c, nil
}

func (c *resetConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.net.reset.Load() {
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return n, err
}

// TestResetIsTemporary has connections reset at every point of a call, under a caller who waits and
// one who gave up.
func TestResetIsTemporary(t *testing.T) {
	f := start(t, options{})
	temporary := func(t *testing.T, err error) {
		t.Helper()
		if err == nil || !Temporary(err) || permanent(err) {
			t.Errorf("temporary %v, permanent %v: %v", Temporary(err), permanent(err), err)
		}
	}
	setUp := func(t *testing.T) (*resettable, *Client) {
		r := &resettable{conns: make(chan *resetConn, 16)}
		return r, f.client(t, func(c *Config) { c.Dial = r.dial })
	}
	hit := func(r *resettable, c *resetConn) {
		r.reset.Store(true)
		_ = c.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	}
	t.Run("before the answer", func(t *testing.T) {
		r, c := setUp(t)
		r.reset.Store(true)
		_, err := Call(t.Context(), c.Ledger().GetStatus, &api.GetStatusRequest{})
		temporary(t, err)
	})
	t.Run("before the answer to a stream", func(t *testing.T) {
		r, c := setUp(t)
		r.reset.Store(true)
		s := c.Open(t.Context())
		p, err := s.Submit(t.Context(), f.Frames(0, 1))
		if err == nil {
			_, err = p.Wait(t.Context())
		}
		temporary(t, err)
		_ = s.Close(t.Context())
	})
	t.Run("within a stream", func(t *testing.T) {
		r, c := setUp(t)
		s := c.Open(t.Context())
		p, err := s.Submit(t.Context(), f.Frames(0, 1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		hit(r, <-r.conns)
		<-s.ended
		_, err = s.Submit(t.Context(), f.Frames(1, 1))
		temporary(t, err)
		if !errors.Is(err, ErrNotSent) {
			t.Error(err)
		}
		_ = s.Close(t.Context())
	})
	t.Run("while following", func(t *testing.T) {
		r, c := setUp(t)
		_, err := c.follow(t.Context(), func(EpochInfo) (bool, error) {
			hit(r, <-r.conns)
			return true, nil
		})
		temporary(t, err)
	})
	t.Run("given up", func(t *testing.T) {
		_, c := setUp(t)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := c.follow(ctx, func(EpochInfo) (bool, error) { cancel(); return true, nil })
		if connect.CodeOf(err) != connect.CodeCanceled || Temporary(err) {
			t.Errorf("a call that was given up: %v", err)
		}
		if _, err := Call(ctx, c.Ledger().GetStatus, &api.GetStatusRequest{}); connect.CodeOf(
			err,
		) != connect.CodeCanceled ||
			Temporary(err) {
			t.Errorf("a call that was given up before it began: %v", err)
		}
	})
}

func TestJudged(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, stop := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer stop()
	for _, c := range []struct {
		ctx  context.Context
		code connect.Code
	}{{t.Context(), connect.CodeUnavailable}, {canceled, connect.CodeCanceled},
		{late, connect.CodeDeadlineExceeded}} {
		if err := judged(c.ctx, syscall.ECONNRESET); connect.CodeOf(err) != c.code ||
			!errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v, want %v", err, c.code)
		}
	}
}
