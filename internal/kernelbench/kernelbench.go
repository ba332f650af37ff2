// Package kernelbench is what kernels show to the benchmarks of this module, and not to their
// users: their implementations one by one, the multiply-adds that they need, and the steps of a
// batch.
//
// A kernel registers when its package is initialised, so a benchmark imports the kernel as well.
// This package imports none of them. It stands on the standard library alone, because every program
// that uses a kernel compiles it.
package kernelbench

import (
	"fmt"
	"iter"
)

// Field holds the multiply-adds of one block of eight elements of kernels/fp381 in avx512ifma.
var Field struct{ Mul, Sqr, Mul2, Sqr2, Pow int }

// Compressions is the number of multiply-adds of eight compressions of kernels/poseidon2.
var Compressions int

// IssueMultiplyAdds issues at least n > 0 vector multiply-adds that do not wait for each other. It
// returns how many, or 0 on a CPU without them. Timed, it is the roofline of what needs as many.
var IssueMultiplyAdds func(n int) int

// NewSteps returns the steps of kernels/bls, under its default suite.
var NewSteps func() Steps

// Steps are the single steps of batch verification on one core. They take columns as bls.Column has
// them: element i is data[i*stride : i*stride+width]. Steps are not safe for concurrent use.
type Steps interface {
	// Decode decompresses signatures, without the check of the subgroup, and returns how many are
	// points. They are kept until the next Decode or hash.
	Decode(data []byte, stride int) (points int)
	// InSubgroup checks the points of the last Decode together, as a batch does: random subset
	// sums, which also make up the linear combination that a batch needs, and their membership.
	InSubgroup() bool
	// HashDeferred hashes messages to the isogenous curve: all that a batch does for each message
	// before the linear combination. Isogeny and cofactor follow once per signer.
	HashDeferred(data []byte, stride, width int)
	// Hash hashes messages to G1.
	Hash(data []byte, stride, width int)
	// Scale multiplies the points of the last Decode or Hash by a small number each: what signs
	// for load whose secret keys are small, which nobody who verifies can tell.
	Scale(factors []uint32)
	// Encoded appends the compressed points of the last Decode or Hash.
	Encoded(out []byte) []byte

	// Pair sets what MillerLoop takes: compressed points and as many compressed keys.
	Pair(points, keys []byte) error
	// MillerLoop computes the product of the Miller loops of the pairs, as a batch does.
	MillerLoop()
	// IsOne reports whether the last product is one after the final exponentiation.
	IsOne() bool
}

// SHA256 is one implementation of kernels/sha256: its functions of these names, for arguments that
// they take.
type SHA256 struct {
	SumMany   func(out, in []byte, length int)
	ExpandXMD func(out []byte, width int, dstPrime []byte, msgs [][]byte)
}

// Tree is one implementation of the trees of kernels/blake3. Outboard appends to a tree; Verify
// verifies data in runs of so many groups.
type Tree struct {
	Outboard func(data []byte, group int, tree []byte) (root [32]byte, grown []byte)
	Verify   func(root [32]byte, data, tree []byte, group, run int) error
}

// kernels are the implementations of each kernel, an iter.Seq2[string, T]. They are only written
// while packages are initialised, which happens one by one.
var kernels = map[string]any{}

// Source is what kernels/cpu knows of a kernel.
type Source[T any] interface {
	Name() string
	Names() []string
	Implementation(name string) (T, error)
}

// Register makes the implementations of a kernel known, each as what view makes of it.
func Register[T, V any](kernel Source[T], view func(T) V) {
	kernels[kernel.Name()] = iter.Seq2[string, V](func(yield func(string, V) bool) {
		for _, name := range kernel.Names() {
			if code, err := kernel.Implementation(name); err == nil && !yield(name, view(code)) {
				return
			}
		}
	})
}

// Each returns the implementations of a kernel that this CPU can run, by name, best first. V is
// what the kernel registered:
//
//	fp381      fp381.Field
//	sha256     SHA256
//	blake3     func(key *blake3.Key, out, in []byte, stride int), HashStrided64 in one goroutine
//	poseidon2  func(out, in []poseidon2.Element), CompressMany in one goroutine
//
// It panics if the kernel is not part of the program or registered something else.
func Each[V any](kernel string) iter.Seq2[string, V] {
	each, ok := kernels[kernel].(iter.Seq2[string, V])
	if !ok {
		panic(fmt.Sprintf("kernelbench: %s is registered as %T", kernel, kernels[kernel]))
	}
	return each
}
