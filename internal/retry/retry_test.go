package retry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/internal/retry"
)

var errBusy = errors.New("busy")

// failing fails a number of times, and notes when it was called.
type failing struct {
	left  int
	err   error
	calls []time.Duration
	began time.Time
}

func (f *failing) call(context.Context) (string, error) {
	f.calls = append(f.calls, time.Since(f.began))
	if f.left--; f.left >= 0 {
		return "", f.err
	}
	return "done", nil
}

func passes(atLeast time.Duration) func(error) (time.Duration, bool) {
	return func(err error) (time.Duration, bool) { return atLeast, errors.Is(err, errBusy) }
}

func TestDelaysDoubleUpToABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &failing{left: 8, err: errBusy, began: time.Now()}
		b := retry.New(100*time.Millisecond, time.Second)
		if got, err := retry.Do(t.Context(), b, f.call, passes(0)); got != "done" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		for i, want := range []time.Duration{100, 200, 400, 800, 1000, 1000, 1000, 1000} {
			delay := f.calls[i+1] - f.calls[i]
			lo, hi := want*time.Millisecond*69/100, want*time.Millisecond*131/100
			if delay < lo || delay > hi {
				t.Errorf("delay %d is %v, want %v to %v", i, delay, lo, hi)
			}
		}
		b.Reset()
		if d := b.Next(); d > 131*time.Millisecond {
			t.Errorf("after a success the first delay is %v", d)
		}
	})
}

// TestDelaysAreSpread: two that fail together do not come back together.
func TestDelaysAreSpread(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 20 {
		seen[retry.New(time.Second, time.Second).Next()] = true
	}
	if len(seen) < 10 {
		t.Errorf("20 first delays have %d values", len(seen))
	}
}

func TestTheOtherSideAsksForTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &failing{left: 1, err: errBusy, began: time.Now()}
		_, err := retry.Do(t.Context(), retry.New(time.Millisecond, time.Second), f.call,
			passes(7*time.Second))
		if err != nil || f.calls[1] != 7*time.Second {
			t.Errorf("%v, called at %v", err, f.calls)
		}
	})
}

func TestWhatCanNotPassEnds(t *testing.T) {
	final := errors.New("no such thing")
	f := &failing{left: 5, err: final}
	_, err := retry.Do(t.Context(), retry.New(time.Hour, time.Hour), f.call, passes(0))
	if !errors.Is(err, final) || len(f.calls) != 1 {
		t.Errorf("%v after %d calls", err, len(f.calls))
	}
}

// TestContextEnds: the error is what stood in the way.
func TestContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f := &failing{left: 1 << 20, err: errBusy}
		_, err := retry.Do(ctx, retry.New(time.Hour, time.Hour), f.call, passes(0))
		if !errors.Is(err, errBusy) || len(f.calls) != 1 {
			t.Errorf("%v after %d calls", err, len(f.calls))
		}
		if err := retry.Pause(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a pause: %v", err)
		}
	})
}
