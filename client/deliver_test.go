package client

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// deliveries yields so many, which are told apart by their requests.
func deliveries(count uint32) iter.Seq[Delivery] {
	return func(yield func(Delivery) bool) {
		for i := range count {
			d := Delivery{Client: uint64(i % clients), Units: 1}
			binary.LittleEndian.PutUint32(d.Request[:], i)
			if !yield(d) {
				return
			}
		}
	}
}

// which is the inverse of deliveries.
func which(request rollup.Hash) uint32 { return binary.LittleEndian.Uint32(request[:]) }

// settled counts how often each delivery is in a rollup, once every window so far has been sealed.
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
			counts[which(kept.Acks.Request(i))]++
		}
	}
	return counts
}

// exactlyOnce requires that every delivery was reported once as accepted, and is in one rollup.
func (f *fixture) exactlyOnce(t *testing.T, count uint32, outcomes []*Outcome) {
	t.Helper()
	reported := make(map[uint32]int)
	for _, o := range outcomes {
		if o.Err != nil || !o.Code.OK() || o.Ack.Request != o.Delivery.Request {
			t.Errorf("%+v", o)
		}
		reported[which(o.Ack.Request)]++
	}
	settled := f.settled(t)
	for i := range count {
		if reported[i] != 1 || settled[i] != 1 {
			t.Errorf("delivery %d: reported %d times, settled %d times", i, reported[i], settled[i])
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
	if err := c.Deliver(t.Context(), deliveries(400), f.sign(),
		func(o *Outcome) { outcomes = append(outcomes, o) }); err != nil {
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
	err := c.Deliver(t.Context(), deliveries(400), f.sign(), func(o *Outcome) {
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
	for name, x := range map[string]struct {
		delivery Delivery
		want     rollup.Code
	}{
		"good":           {Delivery{Client: 1, Units: 1}, rollup.CodeAccepted},
		"no units":       {Delivery{Client: 1}, rollup.CodeZeroUnits},
		"too many units": {Delivery{Client: 1, Units: testnet.UnitCap + 1}, rollup.CodeExcessUnits},
		"no such client": {Delivery{Client: 1 << 40, Units: 1}, rollup.CodeMalformed},
		"good again":     {Delivery{Client: 1, Units: testnet.UnitCap}, rollup.CodeAccepted},
	} {
		var outcome *Outcome
		err := c.Deliver(t.Context(), slices.Values([]Delivery{x.delivery}), f.sign(),
			func(o *Outcome) { outcome = o })
		if err != nil || outcome.Code != x.want || outcome.Delivery != x.delivery {
			t.Errorf("%s: %v, %+v, want %v", name, err, outcome, x.want)
		}
	}
}

// TestDeliverWaits: a client that the node does not know yet is waited for.
func TestDeliverWaits(t *testing.T) {
	f := start(t, options{})
	c := f.client(t, nil)
	payer := f.Members[0].Owner
	key := testnet.SecretKey("client", clients)
	registered := false
	late := []Delivery{{Client: clients, Units: 3}}
	sign := func(network rollup.Network, acks []rollup.Ack) error {
		if !registered {
			registered = true
			go f.AddClients(t, payer, 1)
		}
		return SignWith(func(uint64) *bls.SecretKey { return key })(network, acks)
	}
	var outcome *Outcome
	err := c.Deliver(t.Context(), slices.Values(late), sign, func(o *Outcome) { outcome = o })
	if err != nil || outcome.Code != rollup.CodeAccepted {
		t.Errorf("%v, %+v", err, outcome)
	}
}

func TestDeliverEndsEarly(t *testing.T) {
	f := start(t, options{})
	failed := errors.New("no key")
	book := MemoryBook()
	with := func(c *Config) { c.Book = book }
	states := make(map[uint32]error)
	err := f.client(t, with).Deliver(t.Context(), deliveries(3),
		func(rollup.Network, []rollup.Ack) error { return failed },
		func(o *Outcome) { states[which(o.Delivery.Request)] = o.Err })
	if !errors.Is(err, failed) || len(states) != 3 {
		t.Errorf("got %v, %v", err, states)
	}
	unknown := 0
	for i, err := range states {
		if errors.Is(err, ErrUnknownOutcome) {
			unknown++
		} else if !errors.Is(err, ErrNotSent) {
			t.Errorf("delivery %d: %v", i, err)
		}
	}
	// What has a number is in the book, and is delivered next time.
	accepted := 0
	err = f.client(t, with).Deliver(t.Context(), deliveries(0), f.sign(), func(o *Outcome) {
		if o.Err == nil && o.Code.OK() &&
			errors.Is(states[which(o.Delivery.Request)], ErrUnknownOutcome) {
			accepted++
		}
	})
	if err != nil || accepted != unknown || unknown == 0 {
		t.Errorf("%v, %d of %d are accepted later", err, accepted, unknown)
	}

	ctx, cancel := context.WithCancel(t.Context())
	reported := make(map[uint32]error)
	err = f.client(t, func(c *Config) { c.Batch = 8 }).
		Deliver(ctx, deliveries(1<<30), f.sign(), func(o *Outcome) {
			reported[which(o.Delivery.Request)] = o.Err
			if o.Err == nil && len(reported) == 100 {
				cancel()
			}
		})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	unknown = 0
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
	err = f.client(t, nil).Deliver(gone, deliveries(1), f.sign(),
		func(*Outcome) { t.Error("an outcome without a node") })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a node: %v", err)
	}
}

// TestDeliverAnswersBetween: an answer is acted on while the sequence has nothing, and half a batch
// does not wait for the other half.
func TestDeliverAnswersBetween(t *testing.T) {
	f := start(t, options{})
	c := f.client(t, nil)
	accepted := make(chan uint32)
	sequence := func(yield func(Delivery) bool) {
		for d := range deliveries(3) {
			if !yield(d) {
				return
			}
			if got := <-accepted; got != which(d.Request) {
				t.Errorf("%d is accepted", got)
			}
		}
	}
	err := c.Deliver(t.Context(), sequence, f.sign(), func(o *Outcome) {
		if !o.Code.OK() || o.Err != nil {
			t.Errorf("%+v", o)
		}
		accepted <- which(o.Delivery.Request)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDeliverNeedsABook: a client that was not told whom to sign for, or where to write down what
// it signed, signs nothing.
func TestDeliverNeedsABook(t *testing.T) {
	f := start(t, options{})
	for want, change := range map[error]func(*Config){
		ErrNotPinned: func(c *Config) { c.Pin = nil },
		ErrNoBook:    func(c *Config) { c.Book = nil },
	} {
		c := f.client(t, func(c *Config) {
			change(c)
			c.Cosign = &CosignConfig{}
		})
		err := c.Deliver(t.Context(), deliveries(1), nil, nil)
		if cosigned := c.Cosign(t.Context()); !errors.Is(err, want) || !errors.Is(cosigned, want) {
			t.Errorf("%v, %v, want %v", err, cosigned, want)
		}
	}
}

func TestDeliverBatchAboveTheLimit(t *testing.T) {
	f := start(t, options{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	const batch = api.MaxSubmission + 1
	c := f.client(t, func(c *Config) { c.Batch = batch })
	// What is signed first may be few. Until as many wait as a batch takes, no more is signed.
	var mu sync.Mutex
	waiting, yielded := sync.NewCond(&mu), 0
	many := func(yield func(Delivery) bool) {
		for d := range deliveries(3 * batch) {
			mu.Lock()
			yielded++
			mu.Unlock()
			waiting.Broadcast()
			if !yield(d) {
				return
			}
		}
	}
	signed := 0
	err := c.Deliver(ctx, many, func(_ rollup.Network, acks []rollup.Ack) error {
		mu.Lock()
		defer mu.Unlock()
		signed += len(acks)
		for yielded < min(signed+batch, 3*batch) {
			waiting.Wait()
		}
		return nil
	}, func(*Outcome) {})
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want an end at once", err)
	}
}

// TestDeliverToALiveSource: a source that makes the next delivery when it has heard of the last one
// is not kept waiting by a batch that is not full.
func TestDeliverToALiveSource(t *testing.T) {
	with(t, 1, "", func(t *testing.T, n *scripted, p *program) {
		heard := make(chan struct{}, 1)
		p.delivered[0] = 55
		live := func(yield func(Delivery) bool) {
			for i := range uint64(10) {
				if !yield(Delivery{Client: 0, Units: 1 + i}) {
					return
				}
				select {
				case <-heard:
				case <-time.After(time.Hour):
					t.Errorf("the outcome of delivery %d is not heard", i)
					return
				}
			}
		}
		sign := SignWith(func(client uint64) *bls.SecretKey { return keys()[client] })
		err := p.client.Deliver(t.Context(), live, sign, func(o *Outcome) {
			if o.Code == rollup.CodeAccepted {
				heard <- struct{}{}
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
}
