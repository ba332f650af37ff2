package client

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// deliveries yields unsigned acks with the seqs from 0 on.
func deliveries(count uint32) iter.Seq[rollup.Ack] {
	return func(yield func(rollup.Ack) bool) {
		for seq := range count {
			if !yield(rollup.Ack{Client: seq % clients, Seq: seq, Units: 1}) {
				return
			}
		}
	}
}

func (f *fixture) sign(acks []rollup.Ack) error {
	for i := range acks {
		f.Sign(&acks[i])
	}
	return nil
}

// settled counts how often each seq is in a rollup, once every window so far has been sealed.
func (f *fixture) settled(t *testing.T) map[uint32]int {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if pools, err := f.store.PoolWindows(); err != nil {
			t.Fatal(err)
		} else if len(pools) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a window does not seal")
		}
	}
	keys, err := f.store.RecentOwn(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[uint32]int)
	for _, key := range keys {
		kept, err := f.store.Sealed(key)
		if err != nil {
			t.Fatal(err)
		}
		for i := range kept.Acks.Len() {
			counts[kept.Acks.Entry(i).Seq()]++
		}
	}
	return counts
}

// exactlyOnce requires that every delivery was reported once as accepted, and is in one rollup.
func (f *fixture) exactlyOnce(t *testing.T, count uint32, outcomes []*Outcome) {
	t.Helper()
	reported := make(map[uint32]int)
	for _, o := range outcomes {
		if o.Err != nil || !o.Code.OK() {
			t.Errorf("seq %d: %v %v", o.Ack.Seq, o.Code, o.Err)
		}
		reported[o.Ack.Seq]++
	}
	settled := f.settled(t)
	for seq := range count {
		if reported[seq] != 1 || settled[seq] != 1 {
			t.Errorf(
				"seq %d: reported %d times, settled %d times",
				seq,
				reported[seq],
				settled[seq],
			)
		}
	}
	if len(reported) != int(count) || len(settled) != int(count) {
		t.Errorf("%d reported, %d settled, want %d", len(reported), len(settled), count)
	}
}

func TestDeliverAcrossWindows(t *testing.T) {
	f := start(t, options{windowAge: 30 * time.Millisecond})
	c := f.client(t, func(c *Config) { c.Batch, c.Inflight = 16, 4 })
	var outcomes []*Outcome
	if err := c.Deliver(t.Context(), deliveries(400), f.sign, func(o *Outcome) { outcomes = append(outcomes, o) }); err != nil {
		t.Fatal(err)
	}
	f.exactlyOnce(t, 400, outcomes)
	if keys, err := f.store.RecentOwn(1000); err != nil || len(keys) < 2 {
		t.Errorf("all in %d windows: %v", len(keys), err)
	}
}

// brittle is a network whose connections break after some bytes, until it is mended.
type brittle struct {
	mended atomic.Bool
	broken atomic.Int64
	mu     sync.Mutex
	random *rand.Rand
}

func (b *brittle) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil || b.mended.Load() {
		return conn, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return &brittleConn{Conn: conn, net: b, left: 2000 + b.random.Int64N(30000)}, nil
}

type brittleConn struct {
	net.Conn
	net  *brittle
	mu   sync.Mutex
	left int64
}

func (c *brittleConn) spend(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left -= int64(n); c.left < 0 && c.left+int64(n) >= 0 {
		c.net.broken.Add(1)
		_ = c.Close() // at any byte of either direction
	}
}

func (c *brittleConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.spend(n)
	return n, err
}

func (c *brittleConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.spend(n)
	return n, err
}

func TestDeliverOverBreakingConnections(t *testing.T) {
	f := start(t, options{windowAge: 60 * time.Millisecond})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	b := &brittle{random: rand.New(rand.NewPCG(seed, 0))}
	c := f.client(t, func(c *Config) { c.Batch, c.Inflight, c.Dial = 16, 4, b.dial })
	var outcomes []*Outcome
	attempts := 0
	err := c.Deliver(t.Context(), deliveries(400), f.sign, func(o *Outcome) {
		outcomes = append(outcomes, o)
		attempts += o.Attempts
		if len(outcomes) == 350 {
			b.mended.Store(true)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	f.exactlyOnce(t, 400, outcomes)
	if b.broken.Load() == 0 {
		t.Error("no connection broke")
	}
	t.Logf("%d connections broke, %d submissions for 400 acks", b.broken.Load(), attempts)
}

func TestDeliverReportsRefusals(t *testing.T) {
	f := start(t, options{})
	c := f.client(t, nil)
	acks := func(yield func(rollup.Ack) bool) {
		_ = yield(rollup.Ack{Client: 1, Seq: 1, Units: 1}) &&
			yield(rollup.Ack{Client: 99, Seq: 2, Units: 1}) &&
			yield(rollup.Ack{Client: 1, Seq: 3, Units: 0}) &&
			yield(rollup.Ack{Client: 1, Service: 9, Seq: 4, Units: 1})
	}
	got := make(map[uint32]rollup.Code)
	err := c.Deliver(t.Context(), acks, func(acks []rollup.Ack) error {
		for i := range acks {
			if acks[i].Client < clients {
				f.Sign(&acks[i])
			}
		}
		return nil
	}, func(o *Outcome) { got[o.Ack.Seq] = o.Code })
	if err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[uint32]rollup.Code{1: rollup.CodeAccepted, 2: rollup.CodeUnknownClient, 3: rollup.CodeZeroUnits, 4: rollup.CodeUnknownService} {
		if code, ok := got[seq]; !ok || code != want {
			t.Errorf("seq %d: %v, want %v", seq, code, want)
		}
	}
}

func TestDeliverEndsEarly(t *testing.T) {
	f := start(t, options{})
	failed := errors.New("no key")
	states := make(map[uint32]error)
	err := f.client(t, nil).
		Deliver(t.Context(), deliveries(3), func([]rollup.Ack) error { return failed },
			func(o *Outcome) { states[o.Ack.Seq] = o.Err })
	if !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	for seq := range uint32(3) {
		if !errors.Is(states[seq], ErrNotSent) {
			t.Errorf("seq %d: %v", seq, states[seq])
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	reported := make(map[uint32]error)
	err = f.client(t, func(c *Config) { c.Batch = 8 }).
		Deliver(ctx, deliveries(1<<30), f.sign, func(o *Outcome) {
			reported[o.Ack.Seq] = o.Err
			if o.Err == nil && len(reported) == 100 {
				cancel()
			}
		})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	unknown := 0
	for _, err := range reported {
		if errors.Is(err, ErrUnknownOutcome) {
			unknown++
		}
	}
	if len(reported) < 100 || unknown > 8*(api.InFlight+1) {
		t.Errorf("%d reported, %d unknown", len(reported), unknown)
	}

	f.shutdown()
	gone, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := f.client(t, nil).Deliver(gone, deliveries(1), f.sign, func(*Outcome) { t.Error("an outcome without a node") }); !errors.Is(
		err,
		context.DeadlineExceeded,
	) {
		t.Errorf("without a node: %v", err)
	}
}

func TestDeliverBatchAboveTheLimit(t *testing.T) {
	f := start(t, options{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c := f.client(t, func(c *Config) { c.Batch = api.MaxSubmission + 1 })
	err := c.Deliver(
		ctx,
		deliveries(api.MaxSubmission+1),
		func([]rollup.Ack) error { return nil },
		func(*Outcome) {},
	)
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want an end at once", err)
	}
}
