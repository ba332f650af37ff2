package duty

import (
	"context"
	"errors"
	"fmt"
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

// Answers is a Health that asks each candidate at its peer port: who answers in one of three tries
// is healthy. Nobody is asked twice at a time. It keeps no receipts, so that its member does not
// report when its last report is audited.
type Answers struct {
	// Ask calls a node, and returns nil when that answered with the key that the ledger has for it.
	Ask func(ctx context.Context, node uint32) error
	// Self is not asked.
	Self uint32

	mu        sync.Mutex
	epoch     uint32
	done      bool
	unhealthy []uint32
}

// Begin implements Health.
func (a *Answers) Begin(
	ctx context.Context, epoch uint32, candidates []rotation.Candidate, _ time.Time,
) {
	a.mu.Lock()
	a.epoch, a.done, a.unhealthy = epoch, false, nil
	a.mu.Unlock()
	go a.ask(ctx, epoch, candidates)
}

func (a *Answers) ask(ctx context.Context, epoch uint32, candidates []rotation.Candidate) {
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

func (a *Answers) answers(ctx context.Context, node uint32) bool {
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

// Verdicts implements Health.
func (a *Answers) Verdicts(epoch uint32) (unhealthy []uint32, receipts rollup.Hash, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.unhealthy, rollup.Hash{}, a.done && a.epoch == epoch
}

// Show implements Health.
func (a *Answers) Show(epoch uint32, asked []rotation.Asked) ([]rotation.Shown, error) {
	if len(asked) > 0 {
		return nil, fmt.Errorf("%w: epoch %d", ErrNoReceipts, epoch)
	}
	return nil, nil
}

// ErrNoReceipts says that the receipts which an audit asks for are not there.
var ErrNoReceipts = errors.New("duty: no receipts of an audited report")
