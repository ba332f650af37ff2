package virtual

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var a, b = addressOf(0), addressOf(1)

// pair connects a host to another one, over links that the function gives.
func pair(t *testing.T, link func(from, to netip.Addr) Link) (n *Network, near, far net.Conn) {
	t.Helper()
	n = NewNetwork(7, link)
	n.Boot(a)
	l, err := n.Boot(b).Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	if near, err = n.hosts[a].DialContext(t.Context(), "tcp", b.String()+":80"); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return n, near, far
}

func one(latency, jitter time.Duration, loss float64) func(netip.Addr, netip.Addr) Link {
	return func(netip.Addr, netip.Addr) Link {
		return Link{Latency: latency, Jitter: jitter, Loss: loss}
	}
}

// TestOrder: whatever delays and losses do, bytes arrive whole and in order, and not before the
// latency.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, near, far := pair(t, one(10*time.Millisecond, 50*time.Millisecond, 0.3))
		sent := time.Now()
		go func() {
			for i := range 1000 {
				_, _ = near.Write([]byte{byte(i), byte(i >> 8)})
				time.Sleep(time.Millisecond)
			}
			near.Close()
		}()
		got, err := io.ReadAll(far)
		if err != nil || len(got) != 2000 {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		for i := range 1000 {
			if int(got[2*i])+int(got[2*i+1])<<8 != i {
				t.Fatalf("message %d is not in its place", i)
			}
		}
		if took := time.Since(sent); took < time.Second+10*time.Millisecond || took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestCut: what is sent over a way that is cut comes when it is not any more, the other way works
// meanwhile, and nobody can be dialled.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, near, far := pair(t, nil)
		n.SetLink(func(from, _ netip.Addr) Link { return Link{Cut: from == a} })
		if _, err := near.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := far.Write([]byte("y")); err != nil {
			t.Fatal(err)
		}
		var p [1]byte
		if _, err := near.Read(p[:]); err != nil || p[0] != 'y' {
			t.Errorf("%q, %v", p, err)
		}
		if err := far.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := far.Read(p[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %q, %v", p, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := n.hosts[b].DialContext(ctx, "tcp", a.String()+":80")
		if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("dialled: %v", err)
		}
		n.SetLink(func(netip.Addr, netip.Addr) Link { return Link{} })
		if err := far.SetReadDeadline(time.Now().Add(maxRTO)); err != nil {
			t.Fatal(err)
		}
		if _, err := far.Read(p[:]); err != nil || p[0] != 'x' {
			t.Errorf("after the cut %q, %v", p, err)
		}
	})
}

// TestDown: a process that is killed resets its streams behind what it sent. A machine without
// power says nothing, and what it knows no more is reset when it is back.
func TestDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, near, far := pair(t, one(time.Millisecond, 0, 0))
		if _, err := far.Write([]byte("last")); err != nil {
			t.Fatal(err)
		}
		n.hosts[b].Kill()
		got, err := io.ReadAll(near)
		if string(got) != "last" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("of a process that was killed: %q, %v", got, err)
		}
		if _, err := near.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write: %v", err)
		}
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the killed one reads: %v", err)
		}
		n, near, _ = pair(t, one(time.Millisecond, 0, 0))
		n.hosts[b].PowerOff()
		if _, err := near.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := near.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("from a machine without power: %v", err)
		}
		_ = near.SetReadDeadline(time.Time{})
		n.Boot(b)
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("from one that is back: %v", err)
		}
		if _, err := n.hosts[a].DialContext(t.Context(), "tcp",
			b.String()+":80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("its port is open: %v", err)
		}
	})
}

// TestDisk: a kill leaves what was written, a power cut what was synced.
func TestDisk(t *testing.T) {
	d := NewDisk()
	f, err := d.Create("x", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	root, err := d.OpenDir("/")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []func() error{
		func() error { _, err := f.Write([]byte("synced")); return err }, f.Sync, root.Sync,
		func() error { _, err := f.Write([]byte(", written")); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for want, after := range map[string]Disk{"synced": d.AfterPowerCut(0, rng),
		"synced, written": d.AfterKill(rng)} {
		f, err := after.Open("x")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(f); err != nil || string(got) != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}
