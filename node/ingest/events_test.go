package ingest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/events"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// happened has a chain do several things, and returns what it tells from the beginning.
func happened(t *testing.T, f *fixture, c *client.Client) []*api.Event {
	t.Helper()
	key := f.open()
	s := c.Open(t.Context())
	p, err := s.Submit(t.Context(), f.frames(0, 9))
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := p.Wait(t.Context()); err != nil ||
		answer.Answers[8].Code != rollup.CodeAccepted {
		t.Fatal(answer, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	f.ordered(t, key)
	payer, to := f.Members[0].Owner, ledger.KeyOf(testnet.Key("to", 0))
	for i, tx := range [][]byte{
		ledger.NewTransfer(f.ID, payer, 2, to, 5), ledger.NewThaw(f.ID, payer, 3, 7),
		ledger.NewReserve(f.ID, payer, 4, 3), ledger.NewAllowance(f.ID, payer, 5, 1<<40),
		ledger.NewRevoke(f.ID, payer, 6, []uint64{3}),
	} {
		if _, err := c.SubmitTx(t.Context(), tx); err != nil {
			t.Fatal(i, err)
		}
	}
	all, err := client.Call(t.Context(), c.Ledger().GetEvents,
		&api.EventsRequest{Height: proto.Uint64(1)})
	if err != nil || all.NextHeight != all.Head+1 || all.NextIndex != 0 {
		t.Fatal(all, err)
	}
	return all.Events
}

func sameEvents(a, b []*api.Event) bool {
	return proto.Equal(&api.EventsResponse{Events: a}, &api.EventsResponse{Events: b})
}

// TestEvents: what happened is told, in order, whole from wherever a reader was cut, and chosen by
// payer, node and kind.
func TestEvents(t *testing.T) {
	f := start(t, options{windowAge: 200 * time.Millisecond})
	c := f.client(t, nil)
	all := happened(t, f, c)
	kinds := make(map[string]*api.Event)
	for _, e := range all {
		kinds[e.Kind] = e
	}
	for _, kind := range []string{events.KindService, events.KindGranted,
		events.KindOrdered, events.KindCharged, events.KindMoved, events.KindThawing,
		events.KindReserved, events.KindAllowance, events.KindRevoked} {
		if kinds[kind] == nil {
			t.Errorf("nothing is told of kind %s", kind)
		}
	}
	if e := kinds[events.KindCharged]; e.GetPayer() != 1 || e.GetAcks() != 9 || e.Window == nil ||
		e.GetPaid() == 0 || e.GetPaid() != e.GetCharge() {
		t.Errorf("charged: %v", e)
	}
	// Cut behind every event.
	for i, e := range all {
		from := &client.EventCursor{Height: e.Height, Index: e.Index}
		var rest []*api.Event
		if err := c.Events(t.Context(), from, client.EventFilter{},
			func(list []*api.Event, next client.EventCursor) bool {
				rest = append(rest, list...)
				return len(rest) < len(all)-i
			}); err != nil || !sameEvents(rest, all[i:]) {
			t.Fatalf("from event %d on: %d of %d, %v", i, len(rest), len(all)-i, err)
		}
	}
	// By small answers, whose cursors fall within blocks.
	var pieces []*api.Event
	req := &api.EventsRequest{Height: proto.Uint64(1), Count: 1}
	for {
		got, err := client.Call(t.Context(), c.Ledger().GetEvents, req)
		if err != nil {
			t.Fatal(err)
		}
		pieces = append(pieces, got.Events...)
		*req.Height, req.Index = got.NextHeight, got.NextIndex
		if got.NextHeight > got.Head {
			break
		}
	}
	if !sameEvents(pieces, all) {
		t.Errorf("one by one: %d of %d", len(pieces), len(all))
	}
	for body, want := range map[string]int{
		`{"height": 1, "kinds": ["charged"]}`:                1,
		`{"height": 1, "kinds": ["charged"], "payers": [9]}`: 0,
		`{"height": 1, "kinds": ["ordered"], "nodes": [0]}`:  1,
		`{"height": 1, "kinds": ["reserved", "thawing"]}`:    3,
	} {
		_, answer := f.post(t, api.LedgerServiceGetEventsProcedure, body)
		if list, ok := answer["events"].([]any); !ok || len(list) != want {
			t.Errorf("%s: %v", body, answer)
		}
	}
	response, answer := f.post(t, api.LedgerServiceGetEventsProcedure, `{"kinds": ["chraged"]}`)
	if response.StatusCode != 400 {
		t.Errorf("a kind that there is not: %v %v", response.Status, answer)
	}
}

// TestEventsAreHeldToRecords: what the committee signed tells a true event from a forged one.
func TestEventsAreHeldToRecords(t *testing.T) {
	f := start(t, options{windowAge: 200 * time.Millisecond})
	c := f.client(t, nil)
	var ordered, granted *api.Event
	for _, e := range happened(t, f, c) {
		switch e.Kind {
		case events.KindOrdered:
			ordered = e
		case events.KindGranted:
			granted = e
		}
	}
	if err := c.VerifyEvent(t.Context(), ordered); !client.NotReady(err) {
		t.Errorf("before the committee signed: %v", err)
	}
	f.CertifyRecords(t)
	if err := c.VerifyEvent(t.Context(), ordered); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(e *api.Event){
		"another rollup": func(e *api.Event) { e.Id = proto.String(rollup.Hash{1}.String()) },
		"another time":   func(e *api.Event) { e.TimeMs++ },
		"a settlement":   func(e *api.Event) { e.Kind = events.KindSettled },
	} {
		forged := proto.Clone(ordered).(*api.Event)
		change(forged)
		if err := c.VerifyEvent(t.Context(), forged); !errors.Is(err, client.ErrEventFalse) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := c.VerifyEvent(t.Context(), granted); !errors.Is(err, client.ErrEventUnsigned) {
		t.Errorf("a kind that no record covers: %v", err)
	}
}

// TestEventsGone: who asks for what is forgotten hears where it can begin.
func TestEventsGone(t *testing.T) {
	f := start(t, options{windowAge: 200 * time.Millisecond})
	c := f.client(t, nil)
	all := happened(t, f, c)
	first := all[len(all)-2].Height
	if err := f.Witness.Events().Prune(first); err != nil {
		t.Fatal(err)
	}
	never := func([]*api.Event, client.EventCursor) bool { t.Error("told"); return false }
	var gone *client.EventsGoneError
	err := c.Events(t.Context(), &client.EventCursor{Height: first - 1}, client.EventFilter{}, never)
	if !errors.As(err, &gone) || gone.First != first || gone.Node != f.url() {
		t.Fatalf("%v, first %d", err, first)
	}
	got, err := client.Call(t.Context(), c.Ledger().GetEvents,
		&api.EventsRequest{Height: &gone.First})
	if err != nil || !sameEvents(got.Events, all[len(all)-len(got.Events):]) ||
		got.Events[0].Height != first {
		t.Errorf("what is kept: %v %v", got, err)
	}
	_, err = client.Call(t.Context(), c.Ledger().GetEvents,
		&api.EventsRequest{Height: proto.Uint64(first - 1)})
	if connect.CodeOf(err) != connect.CodeOutOfRange {
		t.Error(err)
	}
}

// TestEventsFollow: a follower hears of a block when it comes, and of each once.
func TestEventsFollow(t *testing.T) {
	f := start(t, options{})
	c := f.client(t, nil)
	payer := f.Members[0].Owner
	var amounts []uint64
	submit := func(nonce uint64) {
		if err := f.SubmitTx(t.Context(), ledger.NewThaw(f.ID, payer, nonce, nonce)); err != nil {
			t.Error(err)
		}
	}
	filter := client.EventFilter{Payers: []uint32{1}, Kinds: []string{events.KindThawing}}
	if err := c.Events(t.Context(), nil, filter,
		func(list []*api.Event, _ client.EventCursor) bool {
			for _, e := range list {
				amounts = append(amounts, e.GetAmount())
			}
			if n := len(amounts); len(list) > 0 || n == 0 {
				submit(uint64(n) + 2)
			}
			return len(amounts) < 5
		}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(amounts[:5]); got != "[2 3 4 5 6]" {
		t.Errorf("heard %s", got)
	}
}
