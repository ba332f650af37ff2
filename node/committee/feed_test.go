package committee

import (
	"context"
	"errors"
	"testing"

	"github.com/waybill-network/waybill/rollup/ledger"
)

func TestFeed(t *testing.T) {
	var f feed
	fast, slow := f.subscribe(), f.subscribe()
	views := []*ledger.View{new(ledger.View), new(ledger.View)}
	f.publish(views[0], []ledger.Event{ledger.EpochStarted{Epoch: 1}})
	if u, err := fast.Next(t.Context()); err != nil || u.View != views[0] || len(u.Events) != 1 ||
		u.Missed {
		t.Fatalf("%+v, %v", u, err)
	}
	f.publish(views[1],
		[]ledger.Event{ledger.EpochStarted{Epoch: 2}, ledger.EpochStarted{Epoch: 3}})
	if u := slow.Take(); u.View != views[1] || len(u.Events) != 3 ||
		u.Events[2] != (ledger.EpochStarted{Epoch: 3}) {
		t.Fatalf("merged %+v", u)
	}
	<-slow.Updated() // the token of what Take took
	for i := range uint32(maxEvents + 2) {
		f.publish(views[1], []ledger.Event{ledger.EpochStarted{Epoch: i}})
	}
	if u := slow.Take(); len(u.Events) != maxEvents || !u.Missed ||
		u.Events[0] != (ledger.EpochStarted{Epoch: 2}) {
		t.Fatalf("%d events, missed %v, first %v", len(u.Events), u.Missed, u.Events[0])
	}
	if u := slow.Take(); u.View != nil {
		t.Fatalf("taken twice: %+v", u)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	<-slow.Updated()
	if _, err := slow.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("next: %v", err)
	}
	slow.Close()
	slow.Close()
	f.publish(views[0], nil)
	f.close()
	fast.Close()
	if u, err := fast.Next(t.Context()); err != nil || u.View != views[0] {
		t.Errorf("what was published before the end is lost: %+v, %v", u, err)
	}
	for _, s := range []*Subscription{fast, slow, f.subscribe()} {
		if _, err := s.Next(t.Context()); !errors.Is(err, ErrStopped) {
			t.Errorf("next: %v", err)
		}
	}
}
