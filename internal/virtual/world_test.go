package virtual

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
)

// steady is a world of four nodes whose committee stays, with traffic.
func steady(seed uint64, dir string) (*World, *Traffic, error) {
	w, err := New(Options{Seed: seed, Homes: homes.Options{Dir: dir, Nodes: 4,
		EpochSeconds: 30, GraceSeconds: 5,
		Configure: func(_ int, c *config.Config) {
			c.Pipeline.WindowAge, c.Pipeline.Tail = 2*time.Second, time.Second
			c.Consensus.KeepBlocks = 0
		}}})
	if err != nil {
		return nil, nil, err
	}
	if err := w.StartAll(context.Background()); err != nil {
		return nil, nil, err
	}
	traffic, err := NewTraffic(context.Background(), w, 4)
	if err != nil {
		return nil, nil, err
	}
	return w, traffic, traffic.Begin()
}

// finish ends the traffic and waits until its epochs are settled.
func finish(w *World, t *Traffic) {
	t.End()
	last := w.Machines[0].Node.View().Epoch()
	for _, m := range w.Machines {
		for m.Node.View().NextToSettle() <= last {
			time.Sleep(time.Second)
		}
	}
	time.Sleep(5 * time.Second)
}

// fixed: nothing befalls four nodes. Then the clients' books are changed, and the judge must see
// it.
func fixed(seed uint64, dir string) error {
	w, traffic, err := steady(seed, dir)
	if err != nil {
		return err
	}
	time.Sleep(40 * time.Second)
	finish(w, traffic)
	ctx := context.Background()
	if err := w.Judge(ctx, traffic, nil); err != nil {
		return err
	}
	k := bill{1, 1}
	for change, want := range map[uint64]error{1: ErrLost, ^uint64(0): ErrTwice} {
		n := traffic.bills[k]
		traffic.bills[k] = tally{taken: n.taken + change, refused: n.refused, unknown: n.unknown}
		if err := w.Judge(ctx, traffic, nil); !errors.Is(err, want) {
			return fmt.Errorf("of a book that differs by %d: %w", int64(change), err)
		}
		traffic.bills[k] = n
	}
	return nil
}

// forgetful: a disk forgets what it synced in the last seconds before a kill. The judge, or the
// node itself, must see it.
func forgetful(seed uint64, dir string) error {
	w, traffic, err := steady(seed, dir)
	if err != nil {
		return err
	}
	time.Sleep(5 * time.Second)
	m := w.Machines[1]
	old := m.Disk.AfterPowerCut(0, w.rng)
	time.Sleep(20 * time.Second)
	if err := m.Kill(); err != nil {
		return err
	}
	m.Disk = old
	if err := m.Start(context.Background()); err != nil {
		fmt.Println("the node says so itself:", err)
		return nil
	}
	ended := make(chan struct{})
	go func() { finish(w, traffic); close(ended) }()
	select {
	case err := <-m.Node.Failed():
		fmt.Println("the node says so itself:", err)
		return nil
	case <-time.After(2 * time.Minute):
		fmt.Println("found:", ErrStuck)
		return nil
	case <-ended:
	}
	if err = w.Judge(context.Background(), traffic, nil); err == nil {
		return errors.New("nobody notices that a disk forgets")
	}
	fmt.Println("found:", err)
	return nil
}
