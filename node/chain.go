package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// history is what blocks leave in the store for exports. The engine hands it every block before the
// block is durable, and again if the process dies in between, so nothing is missed; all writes are
// idempotent.
type history struct{ store *store.Store }

func (h history) keep(block *ledger.Block) error {
	for _, event := range block.Events {
		if e, ok := event.(ledger.Ordered); ok {
			// An own window is marked here, for the chain forgets it with its epoch.
			if err := errors.Join(h.store.PutCertificate(e.Key, e.Certificate.Append(nil)),
				h.store.MarkOrdered(e.Key)); err != nil {
				return err
			}
		}
	}
	return nil
}

// chain is the committee's engine as the other rooms see it: the latest view, and a way to wait for
// the next.
type chain struct {
	*committee.Engine
	store     *store.Store
	puller    *peer.Puller // nil for a node that keeps no evidence
	member    *peer.Member // as well
	keys      *proofKeys
	retention uint32 // settled epochs to keep, 0 for all
	node      uint32
	known     bool // node is
	key       ledger.Key
	arrived   chan struct{} // closed when the ledger registers key, which it did not at the start
	log       *slog.Logger
	elsewhere func(error) // told once when the node's keys serve elsewhere

	mu       sync.Mutex
	changed  chan struct{}
	executed time.Time // when the last block came
	earned   uint64
	rewarded uint64                   // of that, by duties
	answers  map[ledger.TxCode]uint64 // to transactions that were offered here
	pruned   uint32                   // touched by follow only
	seen     bool                     // arrived is closed; as well
}

func newChain(e *committee.Engine, s *store.Store, k *proofKeys, key ledger.Key, retention uint32,
	log *slog.Logger) *chain {
	return &chain{Engine: e, store: s, keys: k, retention: retention, key: key, log: log,
		arrived: make(chan struct{}), changed: make(chan struct{}),
		answers: make(map[ledger.TxCode]uint64)}
}

// SubmitTx offers a transaction to the engine, and counts the answer.
func (c *chain) SubmitTx(ctx context.Context, tx []byte) error {
	err := c.Engine.SubmitTx(ctx, tx)
	code := ledger.CodeOK
	if err == nil || errors.As(err, &code) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.answers[code]++
	}
	return err
}

// transactions returns how many transactions were answered with each code.
func (c *chain) transactions() (list []status.Count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, code := range ledger.TxCodes() {
		list = append(list, status.Count{Name: code.String(), Count: c.answers[code]})
	}
	return list
}

// Updated implements pipeline.Chain. The engine publishes a view before its subscribers hear of it,
// so a channel taken after View was called closes for every later block, and at worst once too
// often.
func (c *chain) Updated() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// follow takes the blocks as they come until the engine stops.
func (c *chain) follow(ctx context.Context, sub *committee.Subscription) {
	for {
		update, err := sub.Next(ctx)
		if err != nil {
			return
		}
		for _, event := range update.Events {
			switch e := event.(type) {
			case ledger.Ordered:
				c.watch(e.Key)
				if c.puller != nil {
					c.puller.Ordered(e.Certificate)
				}
				if c.member != nil {
					c.member.Ordered(e.Certificate)
				}
			case ledger.Settled:
				c.earn(e.Settlement)
			case ledger.ProofKeyNamed:
				c.learn(update.View)
			case ledger.HandedOver:
				c.log.Info("the committee hands over", "term", e.Committee.Term, "members",
					len(e.Committee.Members), "from_height", e.From)
			case ledger.RotationSkipped:
				c.log.Warn("the seats of the committee stay as they are", "epoch", e.Epoch, "why",
					e.Why.String())
			case ledger.Absent:
				if c.known && e.Node == c.node {
					c.log.Warn("this node was absent, and is jailed: it voted too little", "epoch",
						e.Epoch, "until_epoch", e.Jailed)
				}
			case ledger.RecordCertified:
				if epoch := e.Record.Record.SettledEpoch; epoch != rollup.NoEpoch {
					c.prune(epoch)
				}
			}
		}
		c.notice(update.View)
		c.mu.Lock()
		close(c.changed)
		c.changed, c.executed = make(chan struct{}), time.Now()
		c.mu.Unlock()
	}
}

// notice sees that the ledger registers this node by now. What a node serves is built at its start.
func (c *chain) notice(view *ledger.View) {
	if c.known || c.seen {
		return
	}
	if node, ok := view.NodeByKey(c.key); ok {
		c.seen = true
		c.log.Info("the ledger registers this node now", "node", node.Index)
		close(c.arrived)
	}
}

// ErrElsewhere says that another process has this node's keys.
var ErrElsewhere = errors.New("node: another process serves with this node's keys")

// watch looks for windows of this node that its store never sealed, of an epoch that it knows all
// of.
func (c *chain) watch(k rollup.WindowKey) {
	since, knows := c.store.Since()
	if !c.known || c.elsewhere == nil || k.Node != c.node || !knows || k.Epoch < since {
		return
	}
	own, err := c.store.Owns(k)
	if err != nil || own {
		return // a store that fails says so elsewhere
	}
	err = fmt.Errorf("%w: window %d of epoch %d was ordered, and was not sealed here",
		ErrElsewhere, k.Window, k.Epoch)
	c.elsewhere(errors.Join(err, c.store.Distrust()))
	c.elsewhere = nil
}

// learn takes the network's proof keys as they are now. One that cannot be used is no reason to
// stop: rollups go without proofs of its size here.
func (c *chain) learn(view *ledger.View) {
	if err := c.keys.learn(view.ProofKeys()); err != nil {
		c.log.Error("a proof key that the network names cannot be used here", "err", err)
	}
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
	for _, d := range s.Duties {
		if d.Node == c.node {
			c.earned += d.Reward
			c.rewarded += d.Reward
		}
	}
}

// prune drops acks, evidence and records of epochs that were settled longer ago than the operator
// wants to keep.
func (c *chain) prune(settled uint32) {
	if c.retention == 0 || settled < c.retention || settled-c.retention <= c.pruned {
		return
	}
	c.pruned = settled - c.retention
	n, err := c.store.Prune(c.pruned)
	if err == nil {
		err = c.Witness().Prune(c.pruned)
	}
	switch {
	case err != nil:
		c.log.Error("old evidence could not be pruned", "before_epoch", c.pruned, "err", err)
	case n > 0:
		c.log.Info("pruned evidence", "before_epoch", c.pruned, "rollups", n)
	}
}

func (c *chain) stats() (executed time.Time, earned, rewarded uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.executed, c.earned, c.rewarded
}
