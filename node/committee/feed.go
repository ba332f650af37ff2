package committee

import (
	"context"
	"slices"
	"sync"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// maxEvents bounds the events that wait for one subscriber.
const maxEvents = 4096

// Update is what happened since a subscriber asked last.
type Update struct {
	View   *ledger.View   // after the latest block
	Events []ledger.Event // of all blocks since, in order
	// more than 4096 events came between two calls: the oldest are gone, the view has their effect
	Missed bool
}

// feed fans committed blocks out. Publishing never waits for a subscriber.
type feed struct {
	mu     sync.Mutex
	subs   []*Subscription
	closed bool
}

// Subscription follows the chain for one reader. Blocks that come faster than it reads are merged
// into one update.
type Subscription struct {
	feed  *feed
	ready chan struct{} // one token while an update waits; closed when the engine stops

	// Guarded by feed.mu.
	next   Update
	closed bool
}

func (f *feed) subscribe() *Subscription {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &Subscription{feed: f, ready: make(chan struct{}, 1), closed: f.closed}
	if f.closed {
		close(s.ready)
		return s
	}
	f.subs = append(f.subs, s)
	return s
}

func (f *feed) publish(view *ledger.View, events []ledger.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.subs {
		s.next.View = view
		s.next.Events = append(s.next.Events, events...)
		if excess := len(s.next.Events) - maxEvents; excess > 0 {
			s.next.Events = slices.Delete(s.next.Events, 0, excess)
			s.next.Missed = true
		}
		select {
		case s.ready <- struct{}{}:
		default: // the token is there already
		}
	}
}

// close ends all subscriptions.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, s := range f.subs {
		s.closed = true
		close(s.ready)
	}
	f.subs = nil
}

// Updated yields a value when Take has an update, and is closed when the engine stops or the
// subscription ends.
func (s *Subscription) Updated() <-chan struct{} { return s.ready }

// Take returns the update that waits. Its View is nil when none does.
func (s *Subscription) Take() Update {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	u := s.next
	s.next = Update{}
	return u
}

// Next waits for the next update. Its error is the context's, or ErrStopped.
func (s *Subscription) Next(ctx context.Context) (Update, error) {
	for {
		select {
		case <-ctx.Done():
			return Update{}, ctx.Err()
		case _, open := <-s.ready:
			if u := s.Take(); u.View != nil {
				return u, nil
			}
			if !open {
				return Update{}, ErrStopped
			}
		}
	}
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.feed.subs = slices.DeleteFunc(s.feed.subs,
		func(other *Subscription) bool { return other == s })
	close(s.ready)
}
