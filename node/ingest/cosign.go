package ingest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/door"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/rollup/word"
)

// Cosign runs two goroutines: this one sends what the session is asked, another takes its answers.
// A client that reads or answers nothing costs a stream and its own place in the windows; what it
// is asked is encoded when it is sent.
func (s ackService) Cosign(
	ctx context.Context,
	stream *connect.BidiStream[api.CosignRequest, api.CosignOffer],
) error {
	sessions := s.cfg.Sessions
	if sessions == nil {
		return connect.NewError(
			connect.CodeUnimplemented,
			errors.New("this node asks nobody to co-sign (pipeline.cosign_wait)"),
		)
	}
	id, ok, err := api.SessionOf(stream.RequestHeader())
	if err != nil {
		return invalid("%w", err)
	}
	if !ok {
		return invalid("header %s: missing", api.SessionHeader)
	}
	session := sessions.acquire(id)
	if session == nil {
		return connect.NewError(
			connect.CodeResourceExhausted,
			errors.New("the node remembers no more sessions"),
		)
	}
	defer sessions.release(session)

	d := door.DeadlinesOf(ctx)
	d.Silence(0)
	d.Write(0)
	defer d.Write(s.callTimeout) // for the end of the stream
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(s.drain, func() { stop(errDraining) })()
	f := sessions.follow(
		session,
		func(cause error) { stop(connect.NewError(connect.CodeAborted, cause)) },
	)
	defer sessions.unfollow(f)
	var reader sync.WaitGroup
	defer reader.Wait()
	defer context.AfterFunc(ctx, d.Expire)() // lets the reader go, before it is waited for
	defer stop(nil)
	reader.Go(func() { stop(receiveAnswers(sessions, f, stream)) })
	for {
		t := sessions.next(ctx, f)
		if t == nil {
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil // the caller has gone, or said that it goes
		}
		if err := s.sendOffer(t, stream, d); err != nil {
			return err
		}
	}
}

// session returns the session that a stream of acks belongs to, none if the caller names none or
// there is no room for it.
func (s ackService) session(h http.Header) (number pipeline.Session, release func(), err error) {
	id, ok, err := api.SessionOf(h)
	switch {
	case err != nil:
		return pipeline.NoSession, func() {}, invalid("%w", err)
	case !ok || s.cfg.Sessions == nil:
		return pipeline.NoSession, func() {}, nil
	}
	x := s.cfg.Sessions.acquire(id)
	if x == nil {
		return pipeline.NoSession, func() {}, nil
	}
	return x.number, func() { s.cfg.Sessions.release(x) }, nil
}

// receiveAnswers returns why there will be no more: io.EOF when the caller has said so.
func receiveAnswers(
	sessions *Sessions,
	f *follower,
	stream *connect.BidiStream[api.CosignRequest, api.CosignOffer],
) error {
	for {
		request, err := stream.Receive()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := sessions.answer(f, request); err != nil {
			return invalid("%w", err)
		}
	}
}

// offerWord signs what a window is offered with (protocol section 7). The pipeline offers a window
// with one tree, in the run that opened it, and its acks are durable before.
func (s ackService) offerWord(o *pipeline.Offer) word.Signature {
	w := word.Offer{Node: o.Key.Node, Epoch: o.Key.Epoch, Window: o.Key.Window,
		Count: uint32(o.Tree.Len()), Root: o.Tree.Root()}
	return word.Sign(&s.cfg.Network, s.cfg.Key, w)
}

// sendOffer sends one window's offer as long as answers to it count.
func (s ackService) sendOffer(
	t *task,
	stream *connect.BidiStream[api.CosignRequest, api.CosignOffer],
	d *door.Deadlines,
) error {
	signature := t.signed(s.offerWord)
	for offer := range t.offers() {
		if !t.live() {
			return nil
		}
		d.Write(s.callTimeout)
		message := api.NewCosignOffer(offer, signature)
		if !t.deadline.IsZero() {
			message.AnswerWithinMs = milliseconds(max(0, time.Until(t.deadline)))
		}
		if err := stream.Send(message); err != nil {
			return err
		}
		d.Write(0)
	}
	return nil
}
