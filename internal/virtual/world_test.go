package virtual

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
)

func fixed(seed uint64, dir string) error {
	started := time.Now()
	w, err := New(Options{Seed: seed, Homes: homes.Options{Dir: dir, Nodes: 4,
		EpochSeconds: 30, GraceSeconds: 5,
		Configure: func(_ int, c *config.Config) {
			c.Pipeline.WindowAge, c.Pipeline.Tail = 2*time.Second, time.Second
			c.Consensus.KeepBlocks = 0
		}}})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := w.StartAll(ctx); err != nil {
		return err
	}
	traffic, err := NewTraffic(ctx, w, 4)
	if err != nil {
		return err
	}
	if err := traffic.Begin(); err != nil {
		return err
	}
	time.Sleep(65 * time.Second)
	traffic.End()
	last := w.Machines[0].Node.View().Epoch()
	for w.Machines[0].Node.View().NextToSettle() <= last {
		time.Sleep(time.Second)
	}
	time.Sleep(5 * time.Second)
	fmt.Println("settled after", time.Since(started), traffic.outcomes())
	return w.Judge(ctx, traffic, nil)
}
