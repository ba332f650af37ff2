package poseidon2

import (
	"runtime"
	"slices"
	"sync"
)

// ReduceLevel returns the parents of a tree level: the compressions of every sixteen nodes, where
// those absent at the end are zero.
func ReduceLevel(level []Element) []Element {
	whole := len(level) / Width
	parents := make([]Element, whole, whole+1)
	k := kernel.Use()
	split(whole, func(lo, hi int) { k.compressMany(parents[lo:hi], level[lo*Width:hi*Width]) })
	if rest := level[whole*Width:]; len(rest) > 0 {
		var last [Width]Element
		copy(last[:], rest)
		parents = append(parents, compress(&last))
	}
	return slices.Clip(parents)
}

// worthwhile is how many compressions a goroutine should have.
const worthwhile = 64

// split runs work on up to GOMAXPROCS equal ranges of n and waits.
func split(n int, work func(lo, hi int)) {
	k := max(1, min(runtime.GOMAXPROCS(0), n/worthwhile))
	if k == 1 {
		work(0, n)
		return
	}
	var wg sync.WaitGroup
	for i := range k {
		wg.Go(func() { work(n*i/k, n*(i+1)/k) })
	}
	wg.Wait()
}
