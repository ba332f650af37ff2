// Package flood makes connections that nobody wants, for tests of doors. Its connections go to
// loopback addresses only, and their number is bounded.
package flood

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// ErrForeign says that an address is not one of this machine's loopback addresses.
var ErrForeign = errors.New("flood: not a loopback address")

// pause is between the end of a connection and the next in its place.
const pause = 5 * time.Millisecond

// Flood is a number of connections, each of which is dialled again when it ends.
type Flood struct {
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	opened atomic.Int64
}

// Start opens as many connections to each address as asked for, from another loopback address. On
// each it speaks, if there is something to say, and then reads until it is closed.
func Start(from string, to []string, each int, speak func(net.Conn) error) (*Flood, error) {
	source, err := netip.ParseAddr(from)
	if err != nil || !source.IsLoopback() {
		return nil, fmt.Errorf("%w: %s", ErrForeign, from)
	}
	for _, address := range to {
		if at, err := netip.ParseAddrPort(address); err != nil || !at.Addr().IsLoopback() {
			return nil, fmt.Errorf("%w: %s", ErrForeign, address)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &Flood{cancel: cancel}
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: source.AsSlice()}, Timeout: 2 * time.Second}
	for _, address := range to {
		for range each {
			f.tasks.Go(func() { f.keep(ctx, dialer, address, speak) })
		}
	}
	return f, nil
}

// keep holds one connection open for ever.
func (f *Flood) keep(
	ctx context.Context, dialer *net.Dialer, address string, speak func(net.Conn) error,
) {
	for ctx.Err() == nil {
		f.once(ctx, dialer, address, speak)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (f *Flood) once(
	ctx context.Context, dialer *net.Dialer, address string, speak func(net.Conn) error,
) {
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return // it listens again later
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	f.opened.Add(1)
	if speak != nil && speak(c) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, c) // until it is closed
}

// Opened returns how many connections were opened so far.
func (f *Flood) Opened() int64 { return f.opened.Load() }

// Stop closes all connections and returns when they are.
func (f *Flood) Stop() {
	f.cancel()
	f.tasks.Wait()
}
