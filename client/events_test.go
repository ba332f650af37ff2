package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
)

// teller tells the same events as its like, three a block, and does something else after so many.
type teller struct {
	api.UnimplementedLedgerServiceHandler
	blocks uint64
	upTo   int // messages of one call, before it ends like trouble says
	// trouble ends a call; nil: the connection breaks
	trouble func(stream *connect.ServerStream[api.EventsResponse], height uint64) error

	mu    sync.Mutex
	asked []EventCursor
}

// FollowEvents implements api.LedgerServiceHandler.
func (n *teller) FollowEvents(ctx context.Context, r *connect.Request[api.EventsRequest],
	stream *connect.ServerStream[api.EventsResponse]) error {
	from := EventCursor{r.Msg.GetHeight(), r.Msg.GetIndex()}
	n.mu.Lock()
	n.asked = append(n.asked, from)
	n.mu.Unlock()
	sent := 0
	for height := max(1, from.Height); height <= n.blocks; height++ {
		for index := range uint32(3) {
			if height == from.Height && index < from.Index {
				continue
			}
			if sent++; sent > n.upTo {
				return n.trouble(stream, height)
			}
			if err := stream.Send(&api.EventsResponse{NextHeight: height, NextIndex: index + 1,
				Events: []*api.Event{{Height: height, Index: index, Kind: "granted"}}}); err != nil {
				return err
			}
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (n *teller) serve(t *testing.T) string {
	mux := http.NewServeMux()
	mux.Handle(api.NewLedgerServiceHandler(n))
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// TestEventsGoOn: whatever becomes of nodes and connections, each event is told once and in order,
// from the place that was reached: at the same node, or at another one.
func TestEventsGoOn(t *testing.T) {
	const blocks = 30
	broken := func(*connect.ServerStream[api.EventsResponse], uint64) error {
		panic(http.ErrAbortHandler)
	}
	for name, trouble := range map[string]func(*connect.ServerStream[api.EventsResponse],
		uint64) error{
		"broken": broken,
		"draining": func(*connect.ServerStream[api.EventsResponse], uint64) error {
			return connect.NewError(connect.CodeUnavailable, errors.New("it stops"))
		},
		"backwards": func(s *connect.ServerStream[api.EventsResponse], height uint64) error {
			return s.Send(&api.EventsResponse{NextHeight: height, NextIndex: 0,
				Events: []*api.Event{{Height: height - 1, Kind: "granted"}}})
		},
		"cursor back": func(s *connect.ServerStream[api.EventsResponse], height uint64) error {
			return s.Send(&api.EventsResponse{NextHeight: height - 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := []*teller{{blocks: blocks, upTo: 7, trouble: trouble},
				{blocks: blocks, upTo: 11, trouble: broken}}
			c, err := New(Config{URL: nodes[0].serve(t), Others: []string{nodes[1].serve(t)},
				Backoff: time.Millisecond, Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			want := EventCursor{Height: 1}
			from := want
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			err = c.Events(ctx, &from, EventFilter{}, func(events []*api.Event,
				next EventCursor) bool {
				for _, e := range events {
					if got := (EventCursor{e.Height, e.Index}); got != want {
						t.Fatalf("event %v, want %v", got, want)
					}
					if want.Index++; want.Index == 3 {
						want = EventCursor{want.Height + 1, 0}
					}
				}
				return want.Height <= blocks
			})
			if err != nil || want.Height != blocks+1 {
				t.Errorf("it ended at %v: %v", want, err)
			}
			if len(nodes[0].asked) == 0 || len(nodes[1].asked) == 0 {
				t.Errorf("asked: %v and %v", nodes[0].asked, nodes[1].asked)
			}
			if (from != EventCursor{Height: 1}) {
				t.Errorf("the caller's cursor moved to %v", from)
			}
		})
	}
}

// TestEventsEnd: a reader that wants no more, and one whose context ends, are let go at once.
func TestEventsEnd(t *testing.T) {
	node := &teller{blocks: 2, upTo: 100}
	c, err := New(Config{URL: node.serve(t), Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Events(t.Context(), &EventCursor{Height: 1}, EventFilter{},
		func([]*api.Event, EventCursor) bool { return false }); err != nil {
		t.Errorf("a reader that wants no more: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told := 0
	err = c.Events(ctx, &EventCursor{Height: 2, Index: 1}, EventFilter{},
		func(events []*api.Event, _ EventCursor) bool {
			if told += len(events); told == 2 {
				cancel() // there are no more; the stream would go on
			}
			return true
		})
	if !errors.Is(err, context.Canceled) || told != 2 {
		t.Errorf("a context that ends, after %d events: %v", told, err)
	}
}
