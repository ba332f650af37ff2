package replay

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/waybill-network/waybill/client"
)

// TestQueue: what is put comes out in order, and a reader that has ended blocks nobody and loses no
// count.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		done := make(chan uint32)
		go func() {
			want := uint32(0)
			for ack := range q.all(t.Context()) {
				if ack.Service != want {
					t.Errorf("%d came out, want %d", ack.Service, want)
				}
				if want++; want == 10 {
					break
				}
			}
			q.abandon()
			done <- want
		}()
		for i := range uint32(10) {
			if err := q.put(t.Context(), client.Delivery{Service: i}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if got := <-done; got != 10 || q.left() != 0 {
			t.Errorf("%d came out, %d are left", got, q.left())
		}
		for range 5 {
			if err := q.put(t.Context(), client.Delivery{}); err != nil {
				t.Fatal(err)
			}
		}
		if q.left() != 5 {
			t.Errorf("%d are left of 5", q.left())
		}
	})
}

// TestQueueIsBounded: a writer waits while the queue is full, until a reader takes one or its
// context ends.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		q.acks = make([]client.Delivery, maxQueued)
		ctx, cancel := context.WithCancel(t.Context())
		put := make(chan error, 1)
		go func() { put <- q.put(ctx, client.Delivery{}) }()
		synctest.Wait()
		select {
		case err := <-put:
			t.Fatalf("a full queue takes more: %v", err)
		default:
		}
		for range q.all(t.Context()) {
			break
		}
		if err := <-put; err != nil || q.left() != maxQueued {
			t.Errorf("%d are left, %v", q.left(), err)
		}
		cancel()
		if err := q.put(ctx, client.Delivery{}); !errors.Is(err, context.Canceled) {
			t.Errorf("after its context ended: %v", err)
		}
		q.close()
		ended, stop := context.WithCancel(t.Context())
		stop()
		for range q.all(ended) {
			q.acks = nil
		}
	})
}
