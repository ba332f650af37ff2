package circuit

import (
	"errors"
	"math/big"
	"slices"

	"github.com/consensys/gnark/frontend"
)

// builder adds constraints and remembers what has to be looked up and committed.
type builder struct {
	frontend.API
	shape     Shape
	limbs     []frontend.Variable // each must be in the lookup table
	committed []frontend.Variable
}

func (b *builder) commit(v ...frontend.Variable) { b.committed = append(b.committed, v...) }

// value returns the integer n and notes that its limbs are to be looked up.
func (b *builder) value(n number) frontend.Variable {
	var terms []frontend.Variable
	at := uint(0)
	for _, limb := range n.Limbs {
		terms = append(terms, b.Mul(limb, power(at)))
		at += b.shape.Width
	}
	for _, bit := range n.Bits {
		b.AssertIsBoolean(bit)
		terms = append(terms, b.Mul(bit, power(at)))
		at++
	}
	b.limbs = append(b.limbs, n.Limbs...)
	b.commit(n.Limbs...)
	b.commit(n.Bits...)
	return b.sum(terms)
}

func (b *builder) sum(terms []frontend.Variable) frontend.Variable {
	switch len(terms) {
	case 0:
		return 0
	case 1:
		return terms[0]
	}
	return b.Add(terms[0], terms[1], terms[2:]...)
}

// count returns the number of flags that are set, and makes those the first ones: the indices of
// any n flags add up to at least n(n−1)/2, and to that only when they are the first.
func (b *builder) count(flags []frontend.Variable) frontend.Variable {
	places := make([]frontend.Variable, len(flags))
	for i := range flags {
		places[i] = b.Mul(flags[i], 2*i)
	}
	n := b.sum(flags)
	b.AssertIsEqual(b.Mul(n, b.Sub(n, 1)), b.sum(places))
	return n
}

// nodes returns the segment's nodes from the leaves, two a statement. A node without statements is
// zero.
func (b *builder) nodes(leaves, present []frontend.Variable) []frontend.Variable {
	level, under := leaves, width/2
	for range b.shape.Level {
		var next []frontend.Variable
		for i := 0; i < len(level); i += width {
			node := b.compress([width]frontend.Variable(level[i : i+width]))
			next = append(next, b.Mul(node, present[len(next)*under]))
		}
		level, under = next, under*width
	}
	return level
}

// fold compresses sixteen to one until one is left, at least once; absent elements are zero.
func (b *builder) fold(elements []frontend.Variable) frontend.Variable {
	for {
		for len(elements)%width != 0 {
			elements = append(elements, 0)
		}
		var next []frontend.Variable
		for of := range slices.Chunk(elements, width) {
			next = append(next, b.compress([width]frontend.Variable(of)))
		}
		if elements = next; len(elements) == 1 {
			return elements[0]
		}
	}
}

// evaluate returns the sum of v[i]·x^i. It works in blocks, so that no chain of products is long.
func (b *builder) evaluate(v []frontend.Variable, x frontend.Variable) frontend.Variable {
	horner := func(v []frontend.Variable, x frontend.Variable) frontend.Variable {
		sum := v[len(v)-1]
		for i := len(v) - 2; i >= 0; i-- {
			sum = b.Add(b.Mul(sum, x), v[i])
		}
		return sum
	}
	const block = 128
	var sums []frontend.Variable
	for of := range slices.Chunk(v, block) {
		sums = append(sums, horner(of, x))
	}
	for i := 1; i < block; i *= 2 {
		x = b.Mul(x, x)
	}
	return horner(sums, x)
}

// lookups is the part with random points: it commits to all that was noted and proves with sums of
// fractions, which are equal as functions of the points except with negligible probability if they
// are equal at them,
//
//	Σ over limbs 1/(x − limb) = Σ over t < 2^Width uses(t)/(x − t)
//	Σ over statements (2^64·sums + 2^236·present)/(x − key) =
//	Σ over rows (2^64·sums + 2^236·count)/(x − key)
//
// so every limb is in the table; every present statement's key is a row's; and each row's sums and
// count are those of its statements. A key is id + y·cap + y²·index, the point y a digest of x: the
// index keeps the rows' keys apart, whatever is said of their ids.
func (b *builder) lookups(uses []frontend.Variable, statements []defined, rows []definedRow) error {
	committer, ok := b.Compiler().(frontend.Committer)
	if !ok {
		return errors.New("circuit: the builder cannot commit")
	}
	b.commit(uses...)
	x, err := committer.Commit(b.committed...)
	if err != nil {
		return err
	}

	denominators := make([]frontend.Variable, 0, len(b.limbs)+len(uses))
	for _, limb := range b.limbs {
		denominators = append(denominators, b.Sub(x, limb))
	}
	for t := range uses {
		denominators = append(denominators, b.Sub(x, t))
	}
	inverses := b.invert(denominators)
	table := inverses[len(b.limbs):]
	for t := range uses {
		table[t] = b.Mul(table[t], uses[t])
	}
	b.AssertIsEqual(b.sum(inverses[:len(b.limbs)]), b.sum(table))

	y := b.compress([width]frontend.Variable{x, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	y2 := b.Mul(y, y)
	left := make([]frontend.Variable, len(statements))
	for i := range statements {
		s := &statements[i]
		key := b.Add(s.key[0], b.Mul(b.Add(s.key[1], b.Mul(s.key[2], y)), y))
		numerator := b.Add(b.Mul(s.sums, power(sumsAt)), b.Mul(s.present, power(countAt)))
		left[i] = b.DivUnchecked(numerator, b.Sub(x, key))
	}
	right := make([]frontend.Variable, len(rows))
	for i := range rows {
		r := &rows[i]
		key := b.Add(r.id, b.Mul(r.cap, y), b.Mul(y2, i))
		right[i] = b.DivUnchecked(b.Add(r.sums, b.Mul(r.count, power(countAt))), b.Sub(x, key))
	}
	b.AssertIsEqual(b.sum(left), b.sum(right))
	return nil
}

// invert inverts all, in blocks that a solver can work on at once.
func (b *builder) invert(v []frontend.Variable) []frontend.Variable {
	inverter, ok := b.Compiler().(frontend.BatchInverter)
	inverses := make([]frontend.Variable, 0, len(v))
	for block := range slices.Chunk(v, 4096) {
		if ok {
			inverses = append(inverses, inverter.BatchInvert(block)...)
			continue
		}
		for _, x := range block {
			inverses = append(inverses, b.Inverse(x))
		}
	}
	return inverses
}

// linear returns the sum of coefficients times variables and a constant.
func (b *builder) linear(coefficients []*big.Int, v []frontend.Variable,
	constant *big.Int) frontend.Variable {
	terms := make([]frontend.Variable, len(v), len(v)+1)
	for i := range v {
		terms[i] = b.Mul(v[i], coefficients[i])
	}
	if constant.Sign() != 0 {
		terms = append(terms, constant)
	}
	return b.sum(terms)
}
