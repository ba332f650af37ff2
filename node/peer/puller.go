package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
)

// ErrMismatch is returned when what a member sent is not the rollup that was asked for.
var ErrMismatch = errors.New("not the rollup of that id")

// EpochProofs returns what checks the proofs of an epoch's rollups.
type EpochProofs func(epoch uint32) rollup.ProofVerifier

// in is nil when there is none.
func (p EpochProofs) in(epoch uint32) rollup.ProofVerifier {
	if p == nil {
		return nil
	}
	return p(epoch)
}

// match checks that header and evidence are those of a rollup id: the header by its digest, the
// evidence by the roots in the header. For the sums under a proof nothing but the proof stands, so
// evidence of rung 3 is verified.
func match(id rollup.Hash, rung rollup.Rung, header, evidence []byte, reg rollup.Registry,
	proofs EpochProofs) error {
	h, err := rollup.ParseHeader(header)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	if h.ID() != id {
		return fmt.Errorf("%w: header of %v, not %v", ErrMismatch, h.ID(), id)
	}
	ev, err := rollup.ParseEvidence(evidence)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	if rung != 0 && ev.Rung != rung {
		return fmt.Errorf("%w: evidence of rung %d, not %d", ErrMismatch, ev.Rung, rung)
	}
	if ev.Rung == rollup.RungProof {
		err = rollup.Verify(h, ev, h.Network, reg, proofs.in(h.Epoch), 1)
	} else {
		err = ev.Match(h, reg)
	}
	if err != nil {
		return fmt.Errorf("%w: evidence of another rollup than %v: %w", ErrMismatch, id, err)
	}
	return nil
}

// PullerConfig is what a Puller works with.
type PullerConfig struct {
	Members *Members
	Store   *store.Store
	Self    uint32 // the node of this member

	// Delay is how long to wait for the rollup's own node to push it before asking another member,
	// and Retry the longest wait between attempts. Zero means 3 seconds and 1 minute.
	Delay, Retry time.Duration

	Logger *slog.Logger
}

// maxWanted bounds the rollups that wait to be pulled. A member that lags so far behind drops the
// oldest: they are kept by a quorum already.
const maxWanted = 1 << 16

// Puller fetches the evidence of executed rollups that this member did not verify itself, so that
// every member keeps it. It is safe for concurrent use.
type Puller struct {
	cfg  PullerConfig
	wake chan struct{}

	mu     sync.Mutex
	wanted []want
	stats  PullerStats
}

type want struct {
	id      rollup.Hash
	signers []uint32 // nodes, this one left out
	due     time.Time
	delays  *retry.Backoff
}

// PullerStats counts since the puller was made; Wanted is the number of rollups that wait.
type PullerStats struct {
	Pulled  uint64 `json:"pulled"`
	Failed  uint64 `json:"failed"`
	Dropped uint64 `json:"dropped"`
	Wanted  int    `json:"wanted"`
}

// NewPuller returns a puller; Run makes it work.
func NewPuller(cfg PullerConfig) *Puller {
	if cfg.Delay == 0 {
		cfg.Delay = 3 * time.Second
	}
	if cfg.Retry == 0 {
		cfg.Retry = time.Minute
	}
	return &Puller{cfg: cfg, wake: make(chan struct{}, 1)}
}

// Ordered tells the puller of a certificate that the chain executed. It does not block.
func (p *Puller) Ordered(c *rollup.Certificate) {
	committee := p.cfg.Members.cfg.Chain.View().CommitteeOf(c.Header.Epoch)
	if _, member := committee.Position(p.cfg.Self); !member {
		return // others keep it
	}
	signers := committee.Nodes(c.Signers)
	signers = slices.DeleteFunc(signers, func(node uint32) bool { return node == p.cfg.Self })
	p.mu.Lock()
	if len(p.wanted) == maxWanted {
		p.wanted = slices.Delete(p.wanted, 0, 1)
		p.stats.Dropped++
	}
	p.wanted = append(p.wanted, want{id: c.Header.ID(), signers: signers,
		due:    time.Now().Add(p.cfg.Delay),
		delays: retry.New(min(2*p.cfg.Delay, p.cfg.Retry), p.cfg.Retry)})
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default: // it is awake, or will be
	}
}

// Stats returns the puller's counts.
func (p *Puller) Stats() PullerStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	stats := p.stats
	stats.Wanted = len(p.wanted)
	return stats
}

// Run pulls until ctx ends, one rollup at a time. It begins with those that were missing when the
// node stopped, which it finds by the certificates in the store.
func (p *Puller) Run(ctx context.Context) {
	if err := p.resume(); err != nil {
		p.cfg.Logger.Error("could not look for missing evidence", "err", err)
	}
	timer := time.NewTimer(p.cfg.Delay)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
		timer.Reset(time.Until(p.round(ctx)))
	}
}

func (p *Puller) resume() error {
	keys, err := p.cfg.Store.Recent(maxWanted)
	if err != nil {
		return err
	}
	for _, key := range slices.Backward(keys) {
		if key.Epoch < p.cfg.Store.Retained() {
			continue
		}
		encoded, err := p.cfg.Store.Certificate(key)
		if err != nil {
			return err
		}
		c, err := rollup.ParseCertificate(encoded)
		if err != nil {
			return err
		}
		if has, err := p.cfg.Store.HasEvidence(c.Header.ID(), 0); err != nil {
			return err
		} else if !has {
			p.Ordered(c)
		}
	}
	return nil
}

// round tries once for every rollup that is due and returns when the next one will be.
func (p *Puller) round(ctx context.Context) (next time.Time) {
	now := time.Now()
	p.mu.Lock()
	due := slices.DeleteFunc(slices.Clone(p.wanted), func(w want) bool { return w.due.After(now) })
	p.mu.Unlock()
	for turn, w := range due {
		if ctx.Err() != nil {
			break
		}
		pulled, err := p.fetch(ctx, w, turn)
		if ctx.Err() == nil {
			p.settle(w, pulled, err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	next = now.Add(p.cfg.Retry)
	for _, w := range p.wanted {
		if w.due.Before(next) {
			next = w.due
		}
	}
	return next
}

// settle strikes a rollup off the list, or puts off its next attempt.
func (p *Puller) settle(w want, pulled bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.wanted, func(v want) bool { return v.id == w.id })
	switch {
	case i < 0: // dropped meanwhile
	case err == nil, errors.Is(err, store.ErrPruned):
		p.wanted = slices.Delete(p.wanted, i, i+1)
		if pulled {
			p.stats.Pulled++
		}
	default:
		p.stats.Failed++
		w.due = time.Now().Add(w.delays.Next())
		p.wanted[i] = w
		p.cfg.Logger.Warn("evidence of an executed rollup is still missing", "rollup", w.id, "err",
			err)
	}
}

// fetch makes a rollup durable here unless it is, asking the signers in turn from turn on.
func (p *Puller) fetch(ctx context.Context, w want, turn int) (pulled bool, err error) {
	has, err := p.cfg.Store.HasEvidence(w.id, 0)
	if has || err != nil {
		return false, err
	}
	err = errors.New("no other member signed it")
	for i := range w.signers {
		var header, evidence []byte
		header, evidence, err = p.cfg.Members.Pull(ctx, w.signers[(turn+i)%len(w.signers)], w.id, 0)
		if err == nil {
			err = p.cfg.Store.PutEvidence(w.id, header, evidence)
			return err == nil, err
		}
	}
	return false, err
}
