package ingest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/door"
	"github.com/waybill-network/waybill/node/events"
)

const (
	maxEventWait  = 20 * time.Second // of a GetEvents; below what the door gives a call
	eventInterval = 2 * time.Second  // between answers of a FollowEvents that does not say
)

// GetEvents answers with what blocks did:
//
//	curl -H 'Content-Type: application/json' -d '{"height":1,"kinds":["settled"]}' \
//	  http://localhost:7400/waybill.v1.LedgerService/GetEvents
func (s ledgerService) GetEvents(ctx context.Context, req *connect.Request[api.EventsRequest]) (
	*connect.Response[api.EventsResponse], error) {
	r, err := s.newEventReader(req.Msg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx,
		min(time.Duration(req.Msg.WaitMs)*time.Millisecond, maxEventWait))
	defer cancel()
	defer context.AfterFunc(s.drain, cancel)()
	for {
		updated := s.cfg.Chain.Updated()
		answer, more, err := r.next()
		if err != nil || len(answer.Events) > 0 {
			return connect.NewResponse(answer), err
		}
		if more {
			updated = closed
		}
		select {
		case <-ctx.Done():
			return connect.NewResponse(answer), nil
		case <-updated:
		}
	}
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// FollowEvents keeps nothing for its caller but a cursor. One that does not read is cut off, and
// goes on from its own.
func (s ledgerService) FollowEvents(ctx context.Context, req *connect.Request[api.EventsRequest],
	stream *connect.ServerStream[api.EventsResponse]) error {
	r, err := s.newEventReader(req.Msg)
	if err != nil {
		return err
	}
	d := door.DeadlinesOf(ctx)
	d.Silence(0)
	d.Write(0)
	defer d.Write(s.callTimeout) // for the end of the stream
	interval := time.Duration(req.Msg.WaitMs) * time.Millisecond
	if interval <= 0 {
		interval = eventInterval
	}
	quiet := time.NewTimer(interval)
	defer quiet.Stop()
	for due := true; ; { // the first answer says at once where the cursor is
		updated := s.cfg.Chain.Updated()
		answer, more, err := r.next()
		if err != nil {
			return err
		}
		if len(answer.Events) > 0 || due || more {
			d.Write(s.callTimeout)
			if err := stream.Send(answer); err != nil {
				return err
			}
			d.Write(0)
			due = false
			quiet.Reset(max(interval, time.Second/10))
		}
		if more {
			updated = closed
		}
		select {
		case <-s.drain.Done():
			return errDraining
		case <-ctx.Done():
			return ctx.Err()
		case <-quiet.C:
			due = true
		case <-updated:
		}
	}
}

// eventReader reads events from a cursor on.
type eventReader struct {
	service ledgerService
	at      events.Cursor
	filter  events.Filter
	count   int
}

func (s ledgerService) newEventReader(m *api.EventsRequest) (*eventReader, error) {
	for _, kind := range m.Kinds {
		if !slices.Contains(events.Kinds, kind) {
			return nil, invalid("kinds: there is no kind %.32q; there are %s", kind,
				strings.Join(events.Kinds, ", "))
		}
	}
	r := &eventReader{service: s, at: events.Cursor{Height: m.GetHeight(), Index: m.Index},
		filter: events.Filter{Payers: m.Payers, Nodes: m.Nodes, Kinds: m.Kinds},
		count:  int(min(m.Count, api.MaxPage))}
	if m.Height == nil {
		r.at = events.Cursor{Height: uint64(s.cfg.Chain.View().Height()) + 1}
	}
	if r.count == 0 {
		r.count = api.MaxPage
	}
	return r, nil
}

// next reads what there is, and says whether there may be more to look at.
func (r *eventReader) next() (answer *api.EventsResponse, more bool, err error) {
	head := uint64(r.service.cfg.Chain.View().Height())
	list, next, err := r.service.cfg.Witness.Events().Read(r.at, head, &r.filter, r.count)
	var gone *events.GoneError
	switch {
	case errors.As(err, &gone):
		return nil, false, withDetail(connect.NewError(connect.CodeOutOfRange, err),
			&api.EventsGone{FirstHeight: gone.First})
	case err != nil:
		return nil, false, internal(err)
	}
	r.at = next
	return &api.EventsResponse{Events: list, NextHeight: next.Height, NextIndex: next.Index,
		Head: head}, next.Height <= head, nil
}
