package gather_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/internal/gather"
)

// TestGroup: what comes while a batch is done is one batch, and nobody returns before his thing was
// in one.
func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches [][]int
		g := gather.New(func(things []int) {
			time.Sleep(time.Second)
			batches = append(batches, slices.Clone(things))
		})
		start := time.Now()
		took := make([]time.Duration, 10)
		var wg sync.WaitGroup
		for i := range took {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 150 * time.Millisecond)
				g.Do(i)
				took[i] = time.Since(start)
			})
		}
		wg.Wait()
		want := [][]int{{0}, {1, 2, 3, 4, 5, 6}, {7, 8, 9}}
		if !slices.EqualFunc(batches, want, slices.Equal) {
			t.Errorf("batches of %d, expected %d", batches, want)
		}
		for i, b := range batches {
			for _, thing := range b {
				if end := time.Duration(i+1) * time.Second; took[thing] != end {
					t.Errorf("%d returned after %v, expected %v", thing, took[thing], end)
				}
			}
		}
	})
}
