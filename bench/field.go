package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/internal/kernelbench"
	"github.com/waybill-network/waybill/kernels/cpu"
	"github.com/waybill-network/waybill/kernels/fp381"
)

// Names of contenders that goals speak of.
const (
	blstName   = "blst"
	boundName  = "bound: multiply-adds issued"
	elements   = 128  // of a vector: operands and results stay in the first cache
	repetition = 2000 // of a vector in one run of a multiplication, so that it takes milliseconds
)

func fieldSuite(p Peers) Suite {
	return Suite{
		Name:  "field",
		Sized: true,
		What: "the base field of BLS12-381 in lanes, and how close it comes to what the CPU can " +
			"issue",
		Build: func(context.Context, bool) ([]Comparison, error) {
			w, ops := newFieldWork(p), &kernelbench.Field
			return []Comparison{
				w.comparison("mul", "FpMul", "multiplication", ops.Mul, repetition,
					Goal{What: "multiplication ≥ 3.6× blst", Against: blstName, Ratio: 3.6},
					Goal{What: "multiplication ≥ 92 % of the issue bound", Against: boundName,
						Ratio: 0.92}),
				w.comparison("sqr", "FpSqr", "squaring", ops.Sqr, repetition,
					Goal{What: "squaring ≥ 4.4× blst", Against: blstName, Ratio: 4.4},
					Goal{What: "squaring ≥ 92 % of the issue bound", Against: boundName,
						Ratio: 0.92}),
				w.comparison("pow", "FpPowP34", "exponentiation to (p−3)/4", ops.Pow,
					repetition/200,
					Goal{What: "(p−3)/4 exponentiation ≥ 4.2× blst", Against: blstName,
						Ratio: 4.2}),
				w.comparison("mul2", "Fp2Mul", "multiplication in the quadratic extension",
					ops.Mul2, repetition/4),
				w.comparison("sqr2", "Fp2Sqr", "squaring in the quadratic extension",
					ops.Sqr2, repetition/4),
			}, nil
		},
	}
}

type fieldWork struct {
	peers Peers
	x, y  []fp.Element
}

func newFieldWork(p Peers) *fieldWork {
	w := &fieldWork{p, make([]fp.Element, elements), make([]fp.Element, elements)}
	for i := range elements {
		// the first few are boundary values
		w.x[i].SetUint64(uint64(i)).Square(&w.x[i]).Add(&w.x[i], new(fp.Element).SetInt64(-3))
		w.y[i].Inverse(&w.x[i])
		w.y[i].Sub(&w.y[i], &w.x[elements-1-i])
	}
	return w
}

// comparison measures an operation, times vectors a run, with the bound of its multiply-adds a
// block.
func (w *fieldWork) comparison(op, name, what string, multiplyAdds, times int,
	goals ...Goal) Comparison {
	c := Comparison{Name: name, What: what + ", an element of a vector of " + fmt.Sprint(elements),
		Op: "element", Cores: 1, Compute: true, Goals: goals}
	repeat := func(do func()) func() (int, error) {
		return func() (int, error) {
			for range times {
				do()
			}
			return times * elements, nil
		}
	}
	if w.peers.Field != nil {
		for _, peer := range w.peers.Field(op, w.x, w.y) {
			run := peer.Run
			peer.Run = repeat(func() { _, _ = run() }) // arithmetic does not fail
			c.Contenders = append(c.Contenders, peer)
		}
	}
	if do, result := w.gnark(op); do != nil {
		c.Contenders = append(c.Contenders,
			Contender{Name: "gnark-crypto", Result: result, Run: repeat(do)})
	}
	issue := multiplyAdds * elements / fp381.Lanes
	if kernelbench.IssueMultiplyAdds(issue) > 0 {
		c.Contenders = append(c.Contenders,
			Contender{Name: boundName, Kind: KindBound,
				Run: repeat(func() { kernelbench.IssueMultiplyAdds(issue) })})
	}
	var own []Contender
	for implementation, f := range kernelbench.Each[fp381.Field]("fp381") {
		if do, result := w.lanes(f, op); implementation != cpu.Generic || len(own) == 0 {
			own = append(own, Contender{Name: "kernels/fp381, " + implementation, Kind: KindOwn,
				Result: result, Run: repeat(do)})
		}
	}
	slices.Reverse(own) // the best one last
	c.Contenders = append(c.Contenders, own...)
	return c
}

// gnark is an operation with gnark-crypto's public functions, if it has it.
func (w *fieldWork) gnark(op string) (do func(), result func() []byte) {
	z := make([]fp.Element, elements)
	each := func(f func(z, x, y *fp.Element)) func() {
		return func() {
			for i := range z {
				f(&z[i], &w.x[i], &w.y[i])
			}
		}
	}
	result = func() []byte { return words(z) }
	switch op {
	case "mul":
		return each(func(z, x, y *fp.Element) { z.Mul(x, y) }), result
	case "sqr":
		return each(func(z, x, _ *fp.Element) { z.Square(x) }), result
	case "pow":
		// x^((p+1)/4) costs one multiplication more
		return each(func(z, x, _ *fp.Element) { z.ExpBySqrtPp1o4(*x) }), nil
	}
	return nil, nil
}

// lanes is an operation of an implementation on packed vectors.
func (w *fieldWork) lanes(f fp381.Field, op string) (do func(), result func() []byte) {
	x, y, z := fp381.NewVec(elements), fp381.NewVec(elements), fp381.NewVec(elements)
	f.Pack(x, w.x)
	f.Pack(y, w.y)
	x2, z2 := fp381.Vec2{A0: x, A1: y}, fp381.NewVec2(elements)
	result = func() []byte {
		out := make([]fp.Element, elements)
		f.Unpack(out, z)
		return words(out)
	}
	switch op {
	case "mul":
		return func() { f.Mul(z, x, y) }, result
	case "sqr":
		return func() { f.Sqr(z, x) }, result
	case "pow":
		return func() { f.PowP34(z, x) }, nil
	case "mul2":
		return func() { f.Mul2(z2, x2, x2) }, nil
	}
	return func() { f.Sqr2(z2, x2) }, nil
}

// words are the limbs of elements in memory.
func words(z []fp.Element) (out []byte) {
	for i := range z {
		for _, limb := range z[i] {
			out = binary.LittleEndian.AppendUint64(out, limb)
		}
	}
	return out
}
