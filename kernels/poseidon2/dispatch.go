package poseidon2

import (
	"errors"

	"github.com/waybill-network/waybill/kernels/cpu"
)

// implementation permutes states that stand one after the other.
type implementation interface {
	permuteMany(states []Element)
	compressMany(out, in []Element)
}

var kernel = cpu.Register("poseidon2", selfTest, append(vectorized, cpu.Implementation[implementation]{Name: cpu.Generic, Code: generic{}})...)

// Each implementation that this CPU can run, by name, best first: CompressMany. For benchmarks.
func Each(yield func(name string, compressMany func(out, in []Element)) bool) {
	for _, name := range kernel.Names() {
		if i, err := kernel.Implementation(name); err == nil && !yield(name, i.compressMany) {
			return
		}
	}
}

// selfTest compares the two on boundary values: as many states as fill lanes, and one more.
func selfTest(candidate, generic implementation) error {
	const states = 9
	one, top := FromUint64s([3]uint64{1}), Element{}
	add(e(&top), e(&top), e(&one))
	e(&top).Neg(e(&one))
	values := []Element{{}, one, top, FromUint64s([3]uint64{1<<52 - 1}), {^uint64(0), ^uint64(0), ^uint64(0)}, {1}, {0, 0, 0, 1}}
	in := make([]Element, states*Width)
	for i := range in {
		in[i] = values[(i+i/Width*i/len(values))%len(values)]
	}
	got, want := make([]Element, states), make([]Element, states)
	candidate.compressMany(got, in)
	generic.compressMany(want, in)
	for i := range want {
		if got[i] != want[i] {
			return errors.New("wrong compression")
		}
	}
	x, y := append([]Element(nil), in...), append([]Element(nil), in...)
	candidate.permuteMany(x)
	generic.permuteMany(y)
	for i := range y {
		if x[i] != y[i] {
			return errors.New("wrong permutation")
		}
	}
	return nil
}
