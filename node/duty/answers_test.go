package duty

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/rollup/rotation"
)

// TestAnswers: who answers in one of three tries is healthy, and the node itself is not asked.
// Nothing is said before all were asked, of another epoch, or when the time was over before.
func TestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		tries := map[uint32]int{}
		a := &Answers{Self: 2, Ask: func(ctx context.Context, node uint32) error {
			mu.Lock()
			tries[node]++
			count := tries[node]
			mu.Unlock()
			switch {
			case node == 2:
				t.Error("it asks itself")
			case node == 4 && count < 3, node == 5:
				return errors.New("closed")
			case node == 9:
				<-ctx.Done() // silent
				return ctx.Err()
			}
			return nil
		}}
		candidates := []rotation.Candidate{{Node: 2}, {Node: 4}, {Node: 5}, {Node: 7}, {Node: 9}}
		ctx, cancel := context.WithCancel(t.Context())
		a.Begin(ctx, 3, candidates, time.Time{})
		if _, _, ok := a.Verdicts(3); ok {
			t.Error("verdicts before anybody was asked")
		}
		time.Sleep(askTries * (askTimeout + askPause))
		synctest.Wait()
		if _, _, ok := a.Verdicts(2); ok {
			t.Error("verdicts of another epoch")
		}
		if unhealthy, _, ok := a.Verdicts(3); !ok || !slices.Equal(unhealthy, []uint32{2, 4}) {
			t.Errorf("%v, %v", unhealthy, ok)
		}
		a.Begin(ctx, 4, candidates, time.Time{})
		cancel()
		synctest.Wait()
		if _, _, ok := a.Verdicts(4); ok {
			t.Error("verdicts of an epoch whose time was over")
		}
	})
}
