package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Retries wait from retryFirst to retryLast, doubling, a fifth more or less.
const (
	retryFirst = 100 * time.Millisecond
	retryLast  = 10 * time.Second
	// linger is how long members that are still verifying when there is a quorum may go on: they keep the evidence
	// then, and others can fetch it from them.
	linger = time.Second
)

// Reasons why a window stays without a certificate that the chain accepts.
var (
	errRefused = errors.New("too many members refuse for good")
	errExpired = errors.New("the chain orders this epoch no more")
	errEnough  = errors.New("enough shares")
	errWaits   = errors.New("waits for its proof")
)

// certification is a sealed window on its way to be ordered.
type certification struct {
	key    rollup.WindowKey
	since  time.Time // sealed, or read back
	status *WindowStatus

	acks, stated, statements int           // of stated acks a statement is co-signed; 0 until describe, in one that was resumed
	proof                    *proofTask    // once it was queued to be proved
	holders                  rollup.Bitmap // members that got the statements
}

// certifier holds what waits, and what is known about members.
type certifier struct {
	fifo[*certification]
	membersMu sync.Mutex
	members   map[int]*MemberStatus
	pendingMu sync.Mutex
	pending   map[*certification]struct{}
}

func (c *certifier) init() {
	c.fifo.init()
	c.members = make(map[int]*MemberStatus)
	c.pending = make(map[*certification]struct{})
}

// add counts a window as pending; it comes to the queue later.
func (c *certifier) add(j *certification) {
	c.pendingMu.Lock()
	defer c.pendingMu.Unlock()
	c.pending[j] = struct{}{}
}

func (c *certifier) push(j *certification) {
	c.add(j)
	c.fifo.push(j)
}

func (c *certifier) done(j *certification) {
	c.pendingMu.Lock()
	defer c.pendingMu.Unlock()
	delete(c.pending, j)
}

// resume makes a certification of a window that was sealed in an earlier run. It reads nothing: after an outage there
// may be thousands, and each is described when its turn comes.
func (p *Pipeline) resume(key rollup.WindowKey) *certification {
	j := &certification{key: key, since: time.Now()}
	j.status = &WindowStatus{Key: key, State: StateCertifying, Sealed: j.since}
	p.windows.mu.Lock()
	defer p.windows.mu.Unlock()
	p.windows.remember(j.status)
	return j
}

// describe fills in what a certification was resumed without.
func (p *Pipeline) describe(j *certification, h *rollup.Header) {
	if j.acks > 0 {
		return
	}
	acks, units := h.Totals()
	p.certifier.pendingMu.Lock()
	j.acks, j.statements = int(acks), int(h.StatementCount)
	j.stated = j.acks - int(h.AckCount)
	p.certifier.pendingMu.Unlock()
	p.status(j, func(s *WindowStatus) {
		s.describe(h)
		s.Acks, s.Units = j.acks, units
	})
}

// certifyWindows brings windows from sealed to ordered, one at a time.
func (p *Pipeline) certifyWindows() {
	for {
		j, ok := p.certifier.pop()
		if !ok {
			return
		}
		start := time.Now()
		err := p.certify(p.ctx, j)
		if p.ctx.Err() != nil {
			return // the next start goes on
		}
		if errors.Is(err, errWaits) {
			continue
		}
		p.counters.certify.batch(j.acks, time.Since(start))
		if err != nil {
			p.certifier.done(j)
			p.counters.certify.settle(0, j.acks)
			p.status(j, func(s *WindowStatus) { s.State, s.Err = StateStuck, err.Error() })
			p.log.Error("window will not be ordered", "epoch", j.key.Epoch, "window", j.key.Window, "acks", j.acks, "err", err)
		}
	}
}

func (p *Pipeline) status(j *certification, update func(s *WindowStatus)) {
	p.windows.mu.Lock()
	defer p.windows.mu.Unlock()
	update(j.status)
}

// certify does not return before the window is ordered, or never will be, or the context ends.
func (p *Pipeline) certify(ctx context.Context, j *certification) error {
	if p.chain.View().IsOrdered(j.key) {
		if kept, err := p.store.Sealed(j.key); err == nil { // ordered it is, even if it can not be read
			if h, err := rollup.ParseHeader(kept.Header); err == nil {
				p.describe(j, h)
			}
		}
		p.ordered(j)
		return nil
	}
	encoded, err := p.store.Certificate(j.key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		p.fail("reading a certificate", err)
		return err
	}
	if err != nil {
		// Pushes that are still under way when there is a quorum end with, or soon after, the order.
		pushes, stop := context.WithCancelCause(ctx)
		var pushing sync.WaitGroup
		defer pushing.Wait()
		defer func() { time.AfterFunc(linger, func() { stop(errEnough) }) }()
		certificate, rung, err := p.collect(pushes, j, &pushing)
		if err != nil {
			stop(err)
			return err
		}
		encoded = certificate.Append(nil)
		if err := p.store.PutCertificate(j.key, encoded); err != nil {
			p.fail("keeping a certificate", err)
			return err
		}
		p.counters.certified.Add(1)
		p.counters.rungs[rollup.RungAcks-1].Add(uint64(j.acks - j.stated))
		p.counters.rungs[rung-1].Add(uint64(j.stated))
	}
	certificate, err := rollup.ParseCertificate(encoded)
	if err != nil {
		return fmt.Errorf("the certificate in the store: %w", err)
	}
	p.describe(j, &certificate.Header)
	start := time.Now()
	if err := p.order(ctx, j.key, ledger.NewCertificate(p.cfg.Network, certificate)); err != nil {
		return err
	}
	p.status(j, func(s *WindowStatus) { s.OrderTime = time.Since(start) })
	p.ordered(j)
	return nil
}

// ordered ends a certification. The window is ordered, whatever the store remembers.
func (p *Pipeline) ordered(j *certification) {
	if err := p.store.MarkOrdered(j.key); err != nil {
		p.fail("marking a window as ordered", err)
	}
	p.certifier.done(j)
	if j.statements > 0 {
		p.handOver(j.key, j.holders)
	}
	p.counters.ordered.Add(1)
	p.counters.certify.settle(j.acks, 0)
	p.status(j, func(s *WindowStatus) { s.State, s.Ordered = StateOrdered, time.Now() })
	p.log.Info("window ordered", "epoch", j.key.Epoch, "window", j.key.Window, "acks", j.acks, "took", time.Since(j.since))
}

// exhibit is a rollup as it is shown to a member.
type exhibit struct {
	rung             rollup.Rung
	header, evidence []byte
}

// exhibits returns the best evidence of a rollup, and behind it what a member may be shown instead.
func (s *Sealed) exhibits(h *rollup.Header) ([]exhibit, error) {
	rung := rollup.RungAcks
	if h.StatementCount > 0 {
		rung = rollup.RungStatements
	}
	evidence, err := s.Evidence()
	if err != nil {
		return nil, err
	}
	list := []exhibit{{rung, s.Header, evidence}}
	if s.Proof != nil {
		if evidence, err = s.Proven(); err != nil {
			return nil, err
		}
		list = slices.Insert(list, 0, exhibit{rollup.RungProof, s.Header, evidence})
	}
	return list, nil
}

// collect pushes a rollup to all members until shares of a quorum are verified. It returns the certificate and the rung that
// all of them saw, or the lowest. The error is errWaits when the rollup waits for its proof.
func (p *Pipeline) collect(ctx context.Context, j *certification, pushing *sync.WaitGroup) (*rollup.Certificate, rollup.Rung, error) {
	kept, err := p.store.Sealed(j.key)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the rollup back: %w", err)
	}
	header, err := rollup.ParseHeader(kept.Header)
	if err != nil {
		return nil, 0, fmt.Errorf("the rollup in the store: %w", err)
	}
	p.describe(j, header)
	if kept.Proof == nil && p.awaitProof(j) {
		return nil, 0, errWaits
	}
	shown, err := kept.exhibits(header)
	if err != nil {
		return nil, 0, fmt.Errorf("the rollup in the store: %w", err)
	}
	p.status(j, func(s *WindowStatus) { s.Rung = shown[0].rung })
	committee := p.chain.View().Committee()
	message := rollup.CertificateMessage(p.cfg.Network, header.Epoch, header.ID())
	answers := make(chan answer, len(committee.Members)) // one each: nobody waits to answer
	enough := make(chan struct{})
	defer close(enough)
	start := time.Now()
	for i := range committee.Members {
		pushing.Go(func() { answers <- p.pushUntil(ctx, enough, j, committee, i, message, shown) })
	}
	signers, open := rollup.NewBitmap(len(committee.Members)), rollup.NewBitmap(len(committee.Members))
	j.holders = rollup.NewBitmap(len(committee.Members))
	for i := range committee.Members {
		open.Set(i)
	}
	var shares []bls.Signature
	rung := shown[0].rung
	for range committee.Members {
		var a answer
		select {
		case a = <-answers:
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		}
		if a.err != nil {
			open[a.member/8] &^= 1 << (a.member % 8)
			if !committee.Quorum(open) {
				return nil, 0, fmt.Errorf("%w; the last: %w", errRefused, a.err)
			}
			continue
		}
		signers.Set(a.member)
		if rung = min(rung, a.rung); a.rung == rollup.RungStatements {
			j.holders.Set(a.member)
		}
		shares = append(shares, a.share)
		p.status(j, func(s *WindowStatus) { s.Power, s.TotalPower = committee.Power(signers), committee.TotalPower() })
		if committee.Quorum(signers) {
			aggregate := bls.AggregateSignatures(shares)
			p.status(j, func(s *WindowStatus) { s.ShareTime, s.Certified = time.Since(start), time.Now() })
			return &rollup.Certificate{Header: *header, Signers: signers, Signature: aggregate.Bytes()}, rung, nil
		}
	}
	return nil, 0, errRefused
}

// answer is a verified share of a member and what it was given for, or the member's refusal for good.
type answer struct {
	member int
	rung   rollup.Rung
	share  bls.Signature
	err    error
}

// pushUntil pushes to one member until it signs, refuses all evidence for good, or there are enough shares.
func (p *Pipeline) pushUntil(ctx context.Context, enough <-chan struct{}, j *certification, committee *rollup.Committee,
	member int, message []byte, shown []exhibit) answer {
	log := p.log.With("epoch", j.key.Epoch, "window", j.key.Window, "member", member)
	for retry := newBackoff(); ; {
		start := time.Now()
		encoded, err := p.members.Push(ctx, member, shown[0].header, shown[0].evidence)
		took := time.Since(start)
		if err == nil {
			var share bls.Signature
			if share, err = verifyShare(committee.Members[member].Key, message, encoded); err == nil {
				p.certifier.shared(member, took)
				return answer{member: member, rung: shown[0].rung, share: share}
			}
		}
		if ctx.Err() != nil {
			return answer{member: member, err: context.Cause(ctx)}
		}
		final := isFinal(err)
		if final && len(shown) > 1 {
			log.Warn("member refuses a rollup by its proof", "err", err)
			shown = shown[1:]
			continue
		}
		p.certifier.missed(member, err, final)
		if final {
			log.Error("member refuses a rollup for good", "err", err)
			return answer{member: member, err: err}
		}
		log.Warn("no share from member", "err", err)
		select {
		case <-retry.after():
		case <-enough:
			return answer{member: member, err: errEnough}
		case <-ctx.Done():
			return answer{member: member, err: context.Cause(ctx)}
		}
	}
}

func verifyShare(key *bls.PublicKey, message []byte, encoded [48]byte) (bls.Signature, error) {
	share, err := bls.ParseSignature(encoded[:])
	if err == nil && !bls.Default.Verify(key, message, &share) {
		err = bls.ErrBadSignature
	}
	if err != nil {
		return share, fmt.Errorf("the member's share: %w", err)
	}
	return share, nil
}

// isFinal reports whether an error says that a retry is useless.
func isFinal(err error) bool {
	var e interface {
		error
		Retry() bool
	}
	return errors.As(err, &e) && !e.Retry()
}

// order offers the certificate until the chain has it.
func (p *Pipeline) order(ctx context.Context, key rollup.WindowKey, tx []byte) error {
	retry := newBackoff()
	for again := time.Now(); ; {
		updated := p.chain.Updated()
		view := p.chain.View()
		switch {
		case view.IsOrdered(key):
			return nil
		case uint64(view.Epoch()) > uint64(key.Epoch)+uint64(view.Params().LateEpochs):
			return errExpired
		}
		if wait := time.Until(again); wait <= 0 {
			if err := p.chain.SubmitTx(ctx, tx); errors.Is(err, ledger.CodeEpochTooOld) {
				return fmt.Errorf("%w: %w", errExpired, err)
			} else if err != nil && ctx.Err() == nil && !errors.Is(err, ledger.CodeAlreadyOrdered) {
				p.log.Warn("certificate not taken", "epoch", key.Epoch, "window", key.Window, "err", err)
			}
			again = time.Now().Add(retry.next())
		}
		timer := time.NewTimer(time.Until(again))
		select {
		case <-updated:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// backoff is a series of growing delays.
type backoff struct{ delay time.Duration }

func newBackoff() *backoff { return &backoff{retryFirst} }

func (b *backoff) next() time.Duration {
	d := b.delay
	b.delay = min(2*d, retryLast)
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

func (b *backoff) after() <-chan time.Time { return time.After(b.next()) }

// shared and missed keep what is known about a member.
func (c *certifier) shared(member int, took time.Duration) {
	c.membersMu.Lock()
	defer c.membersMu.Unlock()
	m := c.member(member)
	m.Shares++
	m.LastShare, m.Latency, m.LastError, m.Refusing = time.Now(), took, "", false
}

func (c *certifier) missed(member int, err error, final bool) {
	c.membersMu.Lock()
	defer c.membersMu.Unlock()
	m := c.member(member)
	m.Failures++
	m.LastError = err.Error()
	if final {
		m.Refusals++
		m.Refusing = true
	}
}

func (c *certifier) member(i int) *MemberStatus {
	m := c.members[i]
	if m == nil {
		m = &MemberStatus{Member: i}
		c.members[i] = m
	}
	return m
}
