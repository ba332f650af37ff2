package poseidon2

import (
	"errors"
	"slices"

	"github.com/waybill-network/waybill/kernels/cpu"
)

// implementation permutes states that stand one after the other.
type implementation interface {
	permuteMany(states []Element)
	compressMany(out, in []Element)
}

var kernel = cpu.Register("poseidon2", selfTest,
	append(vectorized, cpu.Implementation[implementation]{Name: cpu.Generic, Code: generic{}})...)

// selfTest compares the two on boundary values: as many states as fill lanes, and one more.
func selfTest(candidate, generic implementation) error {
	const states = 9
	const ones = ^uint64(0)
	one := FromUint64s([4]uint64{1})
	top := one
	e(&top).Neg(e(&top))
	// Some are taken as they stand in memory, times 2^256.
	values := []Element{{}, one, top, FromUint64s([4]uint64{1<<52 - 1}), {ones, ones, ones}, {1},
		{0, 0, 0, 1}}
	in := make([]Element, states*Width)
	for i := range in {
		in[i] = values[(i+i/Width*i/len(values))%len(values)]
	}
	got, want := make([]Element, states), make([]Element, states)
	candidate.compressMany(got, in)
	generic.compressMany(want, in)
	if !slices.Equal(got, want) {
		return errors.New("wrong compression")
	}
	permuted := slices.Clone(in)
	candidate.permuteMany(permuted)
	generic.permuteMany(in)
	if !slices.Equal(permuted, in) {
		return errors.New("wrong permutation")
	}
	return nil
}
