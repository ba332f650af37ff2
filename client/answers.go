package client

import (
	"context"
	"errors"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// number takes deliveries that have no number, up to so many, and gives them one. It returns those
// that are to be submitted. When it fails, those that it returns have their numbers.
func (d *deliverer) number(ctx context.Context, most int) (ready []*item, err error) {
	epoch := d.epoch.Load()
	if epoch <= uint64(d.over) || most <= 0 || len(d.fresh) == 0 {
		return nil, nil
	}
	n := min(most, len(d.fresh))
	var items []*item
	for _, p := range d.fresh[:n] {
		if code := d.wrong(ctx, p); code != rollup.CodeAccepted {
			d.finish(p, code)
		} else {
			items = append(items, p)
		}
	}
	d.fresh = d.fresh[n:]
	if len(items) == 0 {
		return nil, nil
	}
	err = d.count(ctx, uint32(epoch-1), items)
	if err == nil {
		err = d.book.give(d.place, uint32(epoch-1), items, d)
	}
	if errors.Is(err, ReasonEpochBackwards) { // others have signed in a later one
		d.over = max(d.over, uint32(epoch))
		return d.unnumbered(items), nil
	}
	if err != nil {
		return d.unnumbered(items), err
	}
	for _, p := range items {
		switch {
		case p.entry == nil:
			d.refuse(p, ErrNoNumber)
		case p.given:
			d.items[p.entry] = p
			ready = append(ready, p)
		case d.repeated(p):
			ready = append(ready, p)
		}
	}
	return ready, nil
}

// unnumbered takes items back of which, after a failure, some may have a number.
func (d *deliverer) unnumbered(items []*item) (numbered []*item) {
	var back []*item
	for _, p := range items {
		if p.given {
			d.items[p.entry] = p
			numbered = append(numbered, p)
		} else {
			p.entry = nil
			back = append(back, p)
		}
	}
	d.fresh = append(back, d.fresh...)
	return numbered
}

// repeated deals with a delivery whose ID the book knows. It reports whether it is to be submitted.
func (d *deliverer) repeated(p *item) bool {
	if on := d.items[p.entry]; on != nil { // on its way here
		on.reports += p.reports
		return false
	}
	state, code, claimed := d.book.claim(p.entry, d)
	switch {
	case state == stateTaken:
		d.finish(p, rollup.CodeKnown)
	case state != statePending:
		d.finish(p, code)
	case claimed:
		d.items[p.entry] = p
		return true
	default: // on its way elsewhere
		d.refuse(p, ErrUnknownOutcome)
	}
	return false
}

// wrong finds what every node would refuse of a delivery, so that no number is given for it.
func (d *deliverer) wrong(ctx context.Context, p *item) rollup.Code {
	switch {
	case p.Client >= rollup.MaxClients:
		return rollup.CodeMalformed
	case p.Units == 0:
		return rollup.CodeZeroUnits
	}
	most, asked := d.caps[p.Service]
	if !asked {
		most = d.client.unitCap(ctx, p.Service)
		d.caps[p.Service] = most
	}
	if most != 0 && p.Units > most {
		return rollup.CodeExcessUnits
	}
	return rollup.CodeAccepted
}

// unitCap asks the ledger for a service's cap; 0 when that is not known.
func (c *Client) unitCap(ctx context.Context, service uint32) uint64 {
	found, err := Call(ctx, c.nodes.GetServices, &api.GetServicesRequest{From: service, Count: 1})
	if err != nil || len(found.Services) == 0 || found.Services[0].GetIndex() != service {
		return 0
	}
	return found.Services[0].UnitCap
}

// count asks the node for its counters, where the book does not know all that was signed.
func (d *deliverer) count(ctx context.Context, epoch uint32, items []*item) error {
	keys := d.book.unasked(d.place, epoch, items)
	for len(keys) > 0 {
		n := min(len(keys), api.MaxPage)
		next, err := d.client.counters(ctx, epoch, keys[:n])
		if err != nil {
			return err
		}
		for i, k := range keys[:n] {
			d.book.learn(d.place, k, next[i])
		}
		keys = keys[n:]
	}
	return nil
}

// handleAnswer waits for the oldest answer and acts on it.
func (d *deliverer) handleAnswer(ctx context.Context) error {
	oldest := d.inflight[0]
	answer, err := oldest.pending.Wait(ctx)
	if err != nil {
		return err // requeue takes care of what is in flight
	}
	d.inflight = d.inflight[1:]
	d.attempts.answered()
	if err := d.keepRefusals(oldest.items, &answer); err != nil {
		return err
	}
	for i, p := range oldest.items {
		d.decide(p, &answer, i)
	}
	return nil
}

// keepRefusals keeps the node's word for what it never takes, before anything is reported.
func (d *deliverer) keepRefusals(items []*item, a *Answer) error {
	kept := false
	for i, p := range items {
		if a.said != nil && a.Answers[i].Code.Class() == rollup.ClassNever {
			d.book.refuse(p.entry, a.said.refusal(i, a.Answers[i], p.frame[:]))
			kept = true
		}
	}
	if !kept {
		return nil
	}
	return d.book.sync()
}

// decide acts on one answer, by its class.
func (d *deliverer) decide(p *item, said *Answer, i int) {
	a := said.Answers[i]
	switch a.Code.Class() {
	case rollup.ClassTaken:
		d.credit = nil
		d.book.answer(p.entry, stateTaken, a.Code)
		d.finish(p, a.Code)
	case rollup.ClassNotNow:
		if isCredit(a.Code) {
			d.wanting(p, said.credit(a))
			d.put(p)
			return
		}
		d.later(p, a, said.RetryAfter)
	case rollup.ClassNever:
		d.never(p, a.Code, said.held(i))
	default:
		if p.reports > 0 {
			d.book.answer(p.entry, stateFaulty, a.Code)
		} else {
			d.book.release(p.entry)
		}
		d.failed[p.entry] = true
		d.finish(p, a.Code)
	}
}

// later has the same bytes sent again.
func (d *deliverer) later(p *item, a rollup.Answer, retry time.Duration) {
	now, backoff := time.Now(), d.client.cfg.Backoff
	switch a.Code {
	case rollup.CodeOverloaded, rollup.CodeClock, rollup.CodeStoreFailed, rollup.CodeShuttingDown:
		d.notBefore = later(d.notBefore, now.Add(max(retry, backoff))) // of whatever client
	case rollup.CodeGap:
		stuck, due := d.resend(p, a.Arg)
		if stuck {
			d.book.release(p.entry)
			d.finish(p, a.Code)
			return
		}
		p.due = later(now.Add(backoff), due)
	default:
		p.due = now.Add(min(backoff<<min(p.attempts-1, 16), maxBackoff))
	}
	d.put(p)
}

// resend sends again what stands before an ack in its series, from the number on that the node
// names, and is not on its way. It reports whether the node will not take one of these numbers, so
// that there is no point in waiting, and when the first of them is sent: the others are gaps until
// then.
func (d *deliverer) resend(p *item, next uint64) (stuck bool, due time.Time) {
	acks, states := d.book.from(p.entry, next)
	for i, e := range acks {
		if on := d.items[e]; on != nil {
			if uint64(e.number) == next {
				due = on.due
			}
			continue
		}
		switch states[i] {
		case stateForgiven:
			stuck = stuck || uint64(e.number) == next
		case stateFaulty:
			if d.failed[e] {
				stuck = stuck || uint64(e.number) == next
				continue
			}
			d.put(itemOf(e))
		case stateTaken:
			d.put(itemOf(e))
		default: // on its way elsewhere
		}
	}
	return stuck, due
}

// never lets go of a delivery, which is signed again only when there are two for one number.
func (d *deliverer) never(p *item, code rollup.Code, frame []byte) {
	if p.reports == 0 { // the node has said its last word before
		d.book.release(p.entry)
		d.finish(p, code)
		return
	}
	e := p.entry
	d.book.answer(e, stateForgiven, code)
	switch code {
	case rollup.CodePastEpoch:
		d.over = max(d.over, e.series.key.epoch+1)
	case rollup.CodeNumberUsed:
		d.book.ask(e)
		var key *bls.PublicKey
		if of := d.client.cfg.PublicKey; of != nil && len(frame) > 0 {
			key = of(p.Client)
		}
		units, other := held(&d.pin.Network, e, frame, key)
		if !other {
			break
		}
		delete(d.items, e)
		rest := &item{Delivery: p.Delivery, rest: true, most: min(e.units, units),
			reports: p.reports, attempts: p.attempts}
		d.fresh = append([]*item{rest}, d.fresh...)
		return
	default:
	}
	d.finish(p, code)
}

// finish reports a last word.
func (d *deliverer) finish(p *item, code rollup.Code) {
	if d.items[p.entry] == p {
		delete(d.items, p.entry)
	}
	outcome := p.outcome()
	outcome.Code = code
	for range p.reports {
		if code.Class() == rollup.ClassTaken {
			d.ended.Accepted++
		} else {
			d.ended.Refused++
		}
		d.report(outcome)
	}
}

// refuse reports that there is no last word, and why.
func (d *deliverer) refuse(p *item, err error) {
	outcome := p.outcome()
	outcome.Err = err
	for range p.reports {
		if p.entry == nil {
			d.ended.Unsent++
		} else {
			d.ended.Unknown++
		}
		d.report(outcome)
	}
}
