package poseidon2

import (
	"slices"
	"testing"
)

// counted are the integers from first on, n of them.
func counted(first, n int) []Element {
	out := make([]Element, n)
	for i := range out {
		out[i] = FromUint64s([4]uint64{uint64(first + i)})
	}
	return out
}

func TestReduceLevel(t *testing.T) {
	for _, n := range []int{0, 1, 2, 15, 16, 17, 31, 32, 33, 8*Width - 1, 8 * Width, 8*Width + 1,
		3*worthwhile*Width + 5} {
		level := counted(1, n)
		var want []Element
		for group := range slices.Chunk(level, Width) {
			var x [Width]Element
			copy(x[:], group)
			want = append(want, Compress(&x))
		}
		if got := ReduceLevel(level); !slices.Equal(got, want) {
			t.Errorf("%d nodes: %d parents, not the %d", n, len(got), len(want))
		}
		if !slices.Equal(level, counted(1, n)) {
			t.Errorf("%d nodes changed", n)
		}
	}
}
