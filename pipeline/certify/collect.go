package certify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
)

// drainTime is how long members that are still verifying when there is a quorum may go on: they
// keep the evidence then, and others can fetch it from them.
const drainTime = time.Second

var errEnough = errors.New("certify: enough shares")

// shown is evidence of a rollup as a member sees it.
type shown struct {
	rung     rollup.Rung
	evidence []byte
}

// collect gets a certificate from the committee and keeps it. Errors: a Reason, ErrStore, the
// context's.
func (j *job) collect() error {
	o := j.o
	a, err := j.load()
	if err != nil {
		return err
	}
	var list []shown
	for _, rung := range a.Rungs() { // the best first, behind it what a member may be shown instead
		evidence, err := a.Evidence(rung)
		if err != nil {
			return rollup.Refuse(ReasonUnreadable, "%w", err)
		}
		list = append(list, shown{rung, evidence})
	}
	// Pushes that are under way when there is a quorum end a while after the order, see drain.
	pushes, stop := context.WithCancelCause(o.ctx)
	var pushing sync.WaitGroup
	certificate, rung, err := j.shares(pushes, a.Header, list, &pushing)
	if err != nil {
		stop(err)
		pushing.Wait()
		return err
	}
	o.tasks.Go(pushing.Wait)
	j.stopPushes = stop
	encoded := certificate.Append(nil)
	if err := o.store.PutCertificate(j.key, encoded); err != nil {
		return o.fail("keeping a certificate", err)
	}
	j.certificate = encoded
	j.update(func(s *status.Window) { s.Certified = time.Now() })
	o.counters.certified.Add(1)
	o.counters.rungs[rollup.RungAcks-1].Add(uint64(j.status.Acks - j.status.Cosigned))
	o.counters.rungs[rung-1].Add(uint64(j.status.Cosigned))
	return nil
}

// drain gives pushes that are still under way some time to end.
func (j *job) drain() {
	if stop := j.stopPushes; stop != nil {
		time.AfterFunc(drainTime, func() { stop(errEnough) })
	}
}

// shares pushes a rollup to all members until shares of a quorum are verified. It returns the
// certificate and the lowest rung that one of the signers saw.
func (j *job) shares(ctx context.Context, h *rollup.Header, list []shown, pushing *sync.WaitGroup) (
	*rollup.Certificate, rollup.Rung, error) {
	o := j.o
	committee := o.chain.View().CommitteeOf(h.Epoch)
	n := len(committee.Members)
	round := &round{j: j, header: h.Append(nil), own: rollup.SignOwn(o.cfg.Key, h), list: list,
		message: rollup.CertificateMessage(&o.cfg.Network, committee.Term, h.Key(), h.ID()),
		answers: make(chan answer, n), enough: make(chan struct{})} // one answer each: none waits
	defer close(round.enough)
	j.stated = make(map[uint32]bool)
	signers, open := rollup.NewBitmap(n), rollup.NewBitmap(n)
	j.update(func(s *status.Window) { s.Power, s.Quorum = 0, committee.TotalPower()*2/3+1 })
	for i, member := range committee.Members {
		open.Set(i)
		pushing.Go(func() { round.answers <- round.inTurn(ctx, i, member) })
	}
	var shares []bls.Signature
	rung := list[0].rung
	for left := n; left > 0; {
		updated := o.chain.Updated()
		if o.expired(j.key) {
			return nil, 0, rollup.Refuse(ReasonLate, "%d of %d members have signed",
				len(shares), n)
		}
		var a answer
		select {
		case a = <-round.answers:
			left--
		case <-updated:
			continue
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		}
		if a.err != nil {
			open[a.position/8] &^= 1 << (a.position % 8)
			if !committee.Quorum(open) {
				return nil, 0, rollup.Refuse(ReasonRefused, "the last: %w", a.err)
			}
			continue
		}
		signers.Set(a.position)
		if rung = min(rung, a.rung); a.rung == rollup.RungStatements {
			j.stated[a.node] = true
		}
		shares = append(shares, a.share)
		j.update(func(s *status.Window) { s.Power = committee.Power(signers) })
		if committee.Quorum(signers) {
			aggregate := bls.AggregateSignatures(shares)
			return &rollup.Certificate{Header: *h, Own: round.own, Term: committee.Term,
				Signers: signers, Signature: aggregate.Bytes()}, rung, nil
		}
	}
	return nil, 0, ReasonRefused
}

// expired reports whether the chain orders a window no more, for its epoch is settled.
func (o *Outbox) expired(key rollup.WindowKey) bool { return o.chain.View().Settled(key.Epoch) }

// ordered reports whether the chain has ordered a window. Once the epoch is settled the chain does
// not say it any more, and the store does.
func (o *Outbox) ordered(key rollup.WindowKey) bool {
	view := o.chain.View()
	if view.IsOrdered(key) || !view.Settled(key.Epoch) {
		return view.IsOrdered(key)
	}
	unordered, err := o.store.IsUnordered(key)
	if err != nil {
		_ = o.fail("looking for a window's order", err) // everybody sees it
	}
	return err == nil && !unordered
}

// round is one collection of shares.
type round struct {
	j       *job
	header  []byte
	own     [rollup.WordSize]byte
	message []byte
	list    []shown
	answers chan answer
	enough  chan struct{} // closed when no more shares are wanted
}

// answer is a verified share of a member and what it was given for, or the member's refusal for
// good.
type answer struct {
	position int // in the committee that the collection is of
	node     uint32
	rung     rollup.Rung
	share    bls.Signature
	err      error
}

// inTurn pushes to one member when that has answered for the windows before.
func (r *round) inTurn(ctx context.Context, position int, member rollup.Member) answer {
	j := r.j
	select {
	case <-j.before.answers(member.Node):
		defer j.line.answered(member.Node)
	case <-r.enough: // or no quorum is left: then the line is skipped
		return answer{position: position, node: member.Node, err: errEnough}
	case <-ctx.Done():
		return answer{position: position, node: member.Node, err: context.Cause(ctx)}
	}
	return r.push(ctx, position, member)
}

// push pushes to one member until it signs, refuses all evidence for good, or there are enough
// shares.
func (r *round) push(ctx context.Context, position int, member rollup.Member) answer {
	o, list, node := r.j.o, r.list, member.Node
	a := answer{position: position, node: node}
	delays := newBackoff()
	for tries := 1; ; tries++ {
		start := time.Now()
		encoded, err := o.members.Push(ctx, node, r.header, r.own, list[0].evidence)
		took := time.Since(start)
		if err == nil {
			s := &share{key: member.Key, message: r.message, encoded: encoded}
			o.verifying.Do(s)
			if err = s.err; err == nil {
				o.shared(node, took, list[0].rung)
				a.rung, a.share = list[0].rung, s.signature
				return a
			}
		}
		if a.err = r.over(ctx); a.err != nil { // and nobody minds what the member said
			return a
		}
		final := isFinal(err)
		if final && len(list) > 1 {
			o.unproved(node, r.j.key, err)
			list = list[1:]
			continue
		}
		o.missed(node, r.j.key, err, tries)
		if final {
			a.err = err
			return a
		}
		select {
		case <-time.After(delays.Next()):
		case <-r.enough:
			a.err = errEnough
			return a
		case <-ctx.Done():
			a.err = context.Cause(ctx)
			return a
		}
	}
}

// over returns why no more shares are wanted, nil while they are.
func (r *round) over(ctx context.Context) error {
	select {
	case <-r.enough:
		return errEnough
	default:
		return context.Cause(ctx)
	}
}

// share is what a member answered. Those of several windows and members that wait at the same time
// are verified together.
type share struct {
	key     *bls.PublicKey
	message []byte
	encoded [bls.SignatureSize]byte

	signature bls.Signature // found when err is nil
	err       error
}

// verifyShares verifies shares in one batch.
func verifyShares(v *bls.Verifier, shares []*share) {
	var batch bls.Batch
	for _, s := range shares {
		batch.Append(s.key, s.message, s.encoded[:])
	}
	verdicts := make([]bls.Verdict, len(shares))
	_, err := v.Verify(&batch, verdicts)
	for i, s := range shares {
		if s.err = cmp.Or(err, verdicts[i].Err()); s.err != nil {
			s.err = fmt.Errorf("the member's share: %w", s.err)
			continue
		}
		s.signature = v.Signatures()[i]
	}
}

// isFault reports whether an error says that the rollup, or who pushed it, is at fault, and not
// that the member is in a state in which it signs nothing.
func isFault(err error) bool {
	var e interface {
		error
		Fault() bool
	}
	return errors.As(err, &e) && e.Fault()
}

// kindOf is an error without what is particular to one window or one connection.
func kindOf(err error) string {
	var e interface {
		error
		Retry() bool
	}
	if errors.As(err, &e) {
		return e.Error()
	}
	return "no answer"
}

// isFinal reports whether an error says that a retry is useless.
func isFinal(err error) bool {
	var e interface {
		error
		Retry() bool
	}
	return errors.As(err, &e) && !e.Retry()
}
