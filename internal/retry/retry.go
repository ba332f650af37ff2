// Package retry is how this project tries again what failed for a reason that may pass: after
// delays that double up to a bound and are spread at random, so that many who failed together do
// not come back together; no earlier than the other side asked for; and never past the end of a
// context.
//
// [Do] is the whole loop. A loop with a shape of its own waits on a [Backoff].
package retry

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// spread is the share of a delay by which it is lengthened or shortened at random.
const spread = 0.3

// Backoff counts the failures in a row and waits longer after each. It belongs to one goroutine.
type Backoff struct{ delays *backoff.ExponentialBackOff }

// New returns a Backoff whose first delay is about first, and none of whose delays is more than
// about most. Both are positive.
func New(first, most time.Duration) *Backoff {
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.MaxInterval = first, max(first, most)
	delays.Multiplier, delays.RandomizationFactor = 2, spread
	delays.Reset()
	return &Backoff{delays}
}

// Reset is for a success: the next delay is the first again.
func (b *Backoff) Reset() { b.delays.Reset() }

// Next returns the next delay, and counts it.
func (b *Backoff) Next() time.Duration { return b.delays.NextBackOff() }

// Wait waits for the next delay, and no less than atLeast, which is what the other side asked for;
// 0 when it asked for nothing. It returns ctx's error when that ends before.
func (b *Backoff) Wait(ctx context.Context, atLeast time.Duration) error {
	return Pause(ctx, max(b.Next(), atLeast))
}

// Pause waits, or returns ctx's error when that ends before.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Do calls op until it succeeds, until passes says of its error that it can not pass, or until ctx
// ends. passes also says how long the other side asked to be left alone; 0 when it did not. Do
// returns what op returned last: its error says more than that ctx ended.
func Do[T any](ctx context.Context, b *Backoff, op func(context.Context) (T, error),
	passes func(error) (atLeast time.Duration, again bool)) (T, error) {
	for {
		result, err := op(ctx)
		if err == nil {
			return result, nil
		}
		atLeast, again := passes(err)
		if !again || ctx.Err() != nil || b.Wait(ctx, atLeast) != nil {
			return result, err
		}
	}
}
