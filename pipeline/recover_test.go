package pipeline_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// TestRecovery closes with two windows in the pool: the next start knows their acks, seals them,
// and uses no number again.
func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 3})
		f.cfg.MaxBatch = 7 // recovery needs several batches
		f.session, f.cfg.CosignWait = 1, time.Hour
		f.cfg.Cosigners = &pipelinetest.Cosigners{Network: f.net, Answer: never}
		f.start(nil)
		defer f.blocks()()
		first := f.acks(20)
		f.want(f.submit(first...), all(rollup.CodeAccepted, 20)...)
		time.Sleep(11 * time.Second)
		second := f.acks(5)
		f.want(f.submit(second...), all(rollup.CodeAccepted, 5)...)
		f.p.Close()
		if len(f.disk.pools) != 2 || len(f.disk.sealed) != 0 {
			t.Fatalf("%d windows in the pool, %d sealed", len(f.disk.pools), len(f.disk.sealed))
		}
		f.session, f.cfg.CosignWait = pipeline.NoSession, 0
		f.start(nil)
		if w := f.open(); w.Window != 2 {
			t.Errorf("window %d is open", w.Window)
		}
		f.want(f.submit(first...), all(rollup.CodeKnown, 20)...)
		f.want(f.submit(second...), all(rollup.CodeKnown, 5)...)
		if got := f.lookup(first[3]); got.State == pipeline.AckUnknown || got.Units != 4 {
			t.Errorf("%+v", got)
		}
		f.want(f.submit(f.acks(2)...), all(rollup.CodeAccepted, 2)...)
		f.settled()
		if got := f.lookup(first[3]); got.State != pipeline.AckOrdered || got.Units != 4 ||
			got.Request != first[3].Request {
			t.Errorf("%+v", got)
		}
		if got := f.lookup(f.net.Unsigned(rollup.WindowKey{}, 0, 0, 77, 1)); got.State !=
			pipeline.AckUnknown {
			t.Errorf("%+v", got)
		}
		if count := f.rolledUp(); len(count) != 27 {
			t.Errorf("%d acks rolled up", len(count))
		}
		// The chain remembers windows too, should the store be new.
		f.p.Close()
		f.disk = newDisk()
		f.start(nil)
		if w := f.open(); w.Window != 3 {
			t.Errorf("window %d is open on an empty store", w.Window)
		}
	})
}

// never answers when it is too late.
func never(ctx context.Context, _ *pipeline.Offer,
	a []pipeline.Cosignature) []pipeline.Cosignature {
	<-ctx.Done()
	return a
}

// TestCorruptPool: acks that can not have been accepted stop the node instead of being rolled up.
func TestCorruptPool(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(d *disk, b []byte)
		later  bool // found by verifying, after Start
	}{
		"signature": {func(_ *disk, b []byte) { b[5*rollup.AckSize-1] ^= 1 }, true},
		"units":     {func(_ *disk, b []byte) { b[rollup.AckSize+40]++ }, true},
		"client":    {func(_ *disk, b []byte) { b[24] = 99 }, true},
		"tag":       {func(_ *disk, b []byte) { b[0]++ }, false},
		"epoch":     {func(_ *disk, b []byte) { b[16]++ }, false},
		"node":      {func(_ *disk, b []byte) { b[20]++ }, false},
		"network":   {func(_ *disk, b []byte) { b[8]++ }, false},
		"twice":     {func(_ *disk, b []byte) { copy(b[3*rollup.AckSize:], b[:rollup.AckSize]) }, false},
		"cut":       {func(d *disk, b []byte) { d.pools[rollup.WindowKey{}] = b[:len(b)-1] }, false},
		"too many": {func(d *disk, b []byte) {
			d.pools[rollup.WindowKey{}] = append(b, make([]byte, rollup.MaxAcks*rollup.AckSize)...)
		}, false},
		"other node": {func(d *disk, b []byte) { d.pools[rollup.WindowKey{Node: 1}] = b }, false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, pipelinetest.Config{Clients: 3})
				f.start(nil)
				f.want(f.submit(f.acks(9)...), all(rollup.CodeAccepted, 9)...)
				f.p.Close()
				c.damage(f.disk, f.disk.pools[rollup.WindowKey{}])
				p, err := pipelinetest.NewNode(f.cfg, f.disk.open(nil), f.net, f.members)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				err = p.Start(context.Background())
				if c.later && err == nil {
					synctest.Wait()
					err = p.Ready()
				}
				if !errors.Is(err, pipeline.ErrPool) {
					t.Errorf("%v", err)
				}
				time.Sleep(time.Minute)
				if len(f.disk.sealed) != 0 || len(f.net.Ordered()) != 0 {
					t.Error("it was rolled up")
				}
			})
		})
	}
}

// TestStartIsCancelled while it reads the pool.
func TestStartIsCancelled(t *testing.T) {
	f := newFixture(t, pipelinetest.Config{Clients: 1})
	f.start(nil)
	f.want(f.submit(f.acks(2)...), all(rollup.CodeAccepted, 2)...)
	f.p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p, err := pipelinetest.NewNode(f.cfg, f.disk.open(nil), f.net, f.members)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	p.Close()
}

// TestCloseAnywhere closes in states that TestClose does not have. A goroutine that stays fails
// the test.
func TestCloseAnywhere(t *testing.T) {
	for name, run := range map[string]func(t *testing.T, f *fixture){
		"never started": func(t *testing.T, f *fixture) {
			p, err := pipelinetest.NewNode(f.cfg, f.disk.open(nil), f.net, f.members)
			if err != nil {
				t.Fatal(err)
			}
			s := p.Open("early")
			f.want(submit(t, s, f.net.Ack(rollup.WindowKey{}, 0, 0, 0, 1)), rollup.CodeShuttingDown)
			s.Close()
			s.Close()
			p.Close()
			p.Close()
			if n := p.Stats().Budget.Sources; n != 0 {
				t.Errorf("%d sources", n)
			}
			if w, open := <-p.Follow(t.Context()); open {
				t.Errorf("%+v of a closed pipeline", w)
			}
			if err := p.Pipeline.Start(t.Context()); !errors.Is(err, pipeline.ErrClosed) {
				t.Error(err)
			}
			if err := p.Outbox.Start(); !errors.Is(err, certify.ErrStarted) {
				t.Error(err)
			}
		},
		"idle": func(t *testing.T, f *fixture) { f.start(nil); f.p.Close() },
		"co-signing": func(t *testing.T, f *fixture) {
			f.session, f.cfg.CosignWait = 1, time.Hour
			f.cfg.Cosigners = &pipelinetest.Cosigners{Network: f.net, Answer: never}
			f.start(nil)
			f.want(f.submit(f.acks(2)...), all(rollup.CodeAccepted, 2)...)
			time.Sleep(15 * time.Second)
			f.p.Close()
		},
		"sealing": func(t *testing.T, f *fixture) {
			f.start(nil)
			f.store.before = func(op string) {
				if op == "seal" {
					time.Sleep(time.Minute)
				}
			}
			f.want(f.submit(f.acks(2)...), all(rollup.CodeAccepted, 2)...)
			time.Sleep(15 * time.Second)
			start := time.Now()
			f.p.Close() // waits for the write
			if time.Since(start) < 30*time.Second || len(f.disk.sealed) != 1 {
				t.Error("Close did not wait for a write")
			}
		},
		"certifying": func(t *testing.T, f *fixture) {
			f.members.Before = hang
			f.start(nil)
			f.want(f.submit(f.acks(2)...), all(rollup.CodeAccepted, 2)...)
			time.Sleep(15 * time.Second)
			f.p.Close()
		},
		"ordering": func(t *testing.T, f *fixture) {
			f.net.Refuse = func([]byte) error { return errDown }
			f.start(nil)
			f.want(f.submit(f.acks(2)...), all(rollup.CodeAccepted, 2)...)
			time.Sleep(15 * time.Second)
			f.p.Close()
		},
		"failed": func(t *testing.T, f *fixture) {
			f.start(func(string) fault { return lost })
			f.want(f.submit(f.acks(2)...), all(rollup.CodeStoreFailed, 2)...)
			f.p.Close()
		},
		"recovering": func(t *testing.T, f *fixture) {
			f.start(nil)
			f.want(f.submit(f.acks(6)...), all(rollup.CodeAccepted, 6)...)
			f.p.Close()
			f.cfg.MaxBatch = 2
			f.cfg.NewVerifier = func() pipeline.BatchVerifier {
				return &stub{Accepting: pipelinetest.NewAccepting(),
					took: func(int, int) { time.Sleep(time.Second) }}
			}
			f.start(nil)
			f.p.Close()
			if len(f.disk.sealed) != 0 || len(f.disk.pools) != 1 {
				t.Error("a window was sealed before all of it was verified")
			}
		},
		"followed, twice at once": func(t *testing.T, f *fixture) {
			f.start(nil)
			follow := f.p.Follow(context.Background())
			done := make(chan struct{})
			go func() { f.p.Close(); close(done) }()
			f.p.Close()
			<-done
			for range follow { // until it is closed
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, pipelinetest.Config{Clients: 2})
				stop := f.blocks()
				run(t, f)
				if f.p != nil {
					want := rollup.CodeShuttingDown
					if name == "failed" {
						want = rollup.CodeStoreFailed
					}
					f.want(f.submit(f.net.Ack(rollup.WindowKey{}, 0, 0, 9, 1)), want)
				}
				stop()
				// The next start finds everything in order.
				if name == "recovering" || name == "never started" {
					return
				}
				f.net.Refuse, f.members.Before = nil, nil
				f.start(nil)
				stop = f.blocks()
				defer stop()
				defer f.p.Close()
				accepted := map[string]int{"idle": 0, "failed": 0, "followed, twice at once": 0}
				want, none := accepted[name]
				if !none {
					want = 2
				}
				f.settled()
				if n := len(f.rolledUp()); n != want {
					t.Errorf("%d acks rolled up, want %d", n, want)
				}
			})
		})
	}
}

// TestConfig: the error names the field.
func TestConfig(t *testing.T) {
	f := newFixture(t, pipelinetest.Config{Clients: 1})
	for field, change := range map[string]func(c *pipeline.Config){
		"Workers":    func(c *pipeline.Config) { c.Workers = -1 },
		"MaxBatch":   func(c *pipeline.Config) { c.MaxBatch = -1 },
		"MaxAcks":    func(c *pipeline.Config) { c.MaxAcks = 1 },
		"MaxBytes":   func(c *pipeline.Config) { c.MaxBytes = 1000 },
		"WindowAge":  func(c *pipeline.Config) { c.WindowAge = -1 },
		"Tail":       func(c *pipeline.Config) { c.Tail = -1 },
		"MaxSkew":    func(c *pipeline.Config) { c.MaxSkew = -1 },
		"MaxNew":     func(c *pipeline.Config) { c.MaxNew = -1 },
		"CosignWait": func(c *pipeline.Config) { c.CosignWait = -1 }} {
		cfg := f.cfg.Config
		change(&cfg)
		_, err := pipeline.New(cfg, f.disk.open(nil), f.net, nil)
		if !errors.Is(err, pipeline.ErrConfig) || !strings.Contains(err.Error(), field+" is ") {
			t.Errorf("%s: %v", field, err)
		}
	}
}
