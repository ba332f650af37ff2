package committee

import (
	"context"
	"sync"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// How candidates are asked whether they answer.
const (
	askedAtOnce = 16
	askTries    = 3
	askTimeout  = 5 * time.Second
	askPause    = 250 * time.Millisecond // after a try
)

// answers finds who is healthy as a prober does, without probes: who answers in one of three tries
// is. Nobody is asked twice at a time.
type answers struct {
	// Ask calls a node, and returns nil when that answered with the key that the ledger has for it.
	Ask func(ctx context.Context, node uint32) error
	// Self is not asked.
	Self uint32

	mu        sync.Mutex
	epoch     uint32
	done      bool
	unhealthy []uint32
}

// Begin is that of duty.Health.
func (a *answers) Begin(
	ctx context.Context, epoch uint32, candidates []rotation.Candidate, _ time.Time,
) {
	a.mu.Lock()
	a.epoch, a.done, a.unhealthy = epoch, false, nil
	a.mu.Unlock()
	go a.ask(ctx, epoch, candidates)
}

func (a *answers) ask(ctx context.Context, epoch uint32, candidates []rotation.Candidate) {
	answered := make([]bool, len(candidates))
	slots := make(chan struct{}, askedAtOnce)
	var asking sync.WaitGroup
	for i, c := range candidates {
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			answered[i] = c.Node == a.Self || a.answers(ctx, c.Node)
		})
	}
	asking.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if ctx.Err() != nil || a.epoch != epoch {
		return // who was not asked was not found unhealthy
	}
	a.done = true
	for i, ok := range answered {
		if !ok {
			a.unhealthy = append(a.unhealthy, uint32(i))
		}
	}
}

func (a *answers) answers(ctx context.Context, node uint32) bool {
	for range askTries {
		try, cancel := context.WithTimeout(ctx, askTimeout)
		err := a.Ask(try, node)
		cancel()
		if err == nil {
			return true
		}
		select {
		case <-time.After(askPause):
		case <-ctx.Done():
			return false
		}
	}
	return false
}

// Verdicts is that of duty.Health.
func (a *answers) Verdicts(epoch uint32) (unhealthy []uint32, receipts rollup.Hash, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.unhealthy, rollup.Hash{}, a.done && a.epoch == epoch
}
