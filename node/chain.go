package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// chain is the committee's engine as the other rooms see it: the latest view, a way to wait for the next, and what
// each block leaves in the store for exports.
type chain struct {
	*committee.Engine
	store     *store.Store
	puller    *peer.Puller // nil for a node that keeps no evidence
	retention uint32       // settled epochs to keep, 0 for all
	owner     uint32
	node      uint32
	known     bool // node and owner are
	log       *slog.Logger

	mu       sync.Mutex
	changed  chan struct{}
	executed time.Time // when the last block came
	earned   uint64
	pruned   uint32
}

func newChain(e *committee.Engine, s *store.Store, retention uint32, log *slog.Logger) *chain {
	return &chain{Engine: e, store: s, retention: retention, log: log, changed: make(chan struct{}), executed: time.Now()}
}

// Updated implements pipeline.Chain. The engine publishes a view before its subscribers hear of it, so a channel taken
// after View was called closes for every later block, and at worst once too often.
func (c *chain) Updated() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// follow takes the blocks as they come until the engine stops.
func (c *chain) follow(ctx context.Context, sub *committee.Subscription) {
	c.catchUp()
	for {
		update, err := sub.Next(ctx)
		if err != nil {
			return
		}
		for _, e := range update.Events {
			if err := c.keep(update.View, e); err != nil {
				c.log.Error("what a block left could not be stored", "height", update.View.Height(), "err", err)
			}
		}
		if update.Missed {
			c.catchUp()
		}
		c.mu.Lock()
		close(c.changed)
		c.changed, c.executed = make(chan struct{}), time.Now()
		c.mu.Unlock()
	}
}

// catchUp stores the settlements that the chain certified while nobody followed.
func (c *chain) catchUp() {
	view := c.View()
	for epoch := range view.NextToSettle() {
		if s, ok := view.Settlement(epoch); ok && s.Certificate != nil {
			if _, err := c.store.Settlement(epoch); errors.Is(err, store.ErrNotFound) {
				if err := c.putSettlement(view, s); err != nil {
					c.log.Error("settlement could not be stored", "epoch", epoch, "err", err)
				}
			}
		}
	}
}

// keep stores what exports and dashboards will ask for.
func (c *chain) keep(view *ledger.View, event ledger.Event) error {
	switch e := event.(type) {
	case ledger.Ordered:
		if err := c.store.PutCertificate(e.Key, e.Certificate.Append(nil)); err != nil {
			return err
		}
		if c.puller != nil {
			c.puller.Ordered(e.Certificate)
		}
	case ledger.Settled:
		c.earn(e.Settlement)
	case ledger.SettlementCertified:
		s, ok := view.Settlement(e.Certificate.Epoch)
		if !ok {
			return nil
		}
		if err := c.putSettlement(view, s); err != nil {
			return err
		}
		return c.prune(e.Certificate.Epoch)
	}
	return nil
}

func (c *chain) putSettlement(view *ledger.View, s *ledger.Settlement) error {
	export := &rollup.SettlementExport{Network: view.Network(), Rows: s.Rows, NextCommittee: view.Committee().Root(), Certificate: s.Certificate}
	return c.store.PutSettlement(s.Epoch, export.Append(nil))
}

func (c *chain) earn(s *ledger.Settlement) {
	if !c.known {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, row := range s.Rows {
		if row.Node == c.node {
			c.earned += row.ToNode
		}
	}
}

// prune drops acks and evidence that are older than the operator wants to keep. What may still be ordered stays.
func (c *chain) prune(settled uint32) error {
	if c.retention == 0 || settled < c.retention {
		return nil
	}
	before := settled - c.retention
	if before <= c.pruned {
		return nil
	}
	c.pruned = before
	n, err := c.store.Prune(before)
	if err == nil && n > 0 {
		c.log.Info("pruned evidence", "before_epoch", before, "rollups", n)
	}
	return err
}

func (c *chain) stats() (executed time.Time, earned uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.executed, c.earned
}
