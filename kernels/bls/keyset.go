package bls

import (
	"fmt"
	"runtime"
	"sync"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// KeySet is public keys that are summed often, in any choice, as a registry's are: they are kept in the form that sums
// compute in, too, 256 bytes a key, so that a sum reads them where they stand. The zero value is the empty set. Methods
// that do not change it are safe for concurrent use with each other.
type KeySet struct {
	keys []*PublicKey
	wide []widePoint2
}

// NewKeySet returns the set of these keys, none of which may be nil. Key i has index i.
func NewKeySet(keys []*PublicKey) *KeySet {
	s := new(KeySet)
	s.Append(keys...)
	return s
}

// Append adds keys, none of which may be nil. The first gets the index that Len returned before.
func (s *KeySet) Append(keys ...*PublicKey) {
	at := len(s.keys)
	s.keys = append(s.keys, keys...)
	s.wide = append(s.wide, make([]widePoint2, len(keys))...)
	w := wideSums2s.Get().(*wideSums2)
	defer wideSums2s.Put(w)
	w.widen(s.wide[at:], keys)
}

// Len returns how many keys there are.
func (s *KeySet) Len() int { return len(s.keys) }

// Key returns the key with an index below Len.
func (s *KeySet) Key(index uint32) *PublicKey { return s.keys[index] }

// Sum is [AggregatePublicKeys] of the keys with these indices; an index may stand several times. Large sums use all cores.
// The error wraps [ErrBatch]: there is no key with some index.
func (s *KeySet) Sum(index []uint32) (*PublicKey, error) {
	for _, i := range index {
		if uint64(i) >= uint64(len(s.keys)) {
			return nil, fmt.Errorf("key %d of %d: %w", i, len(s.keys), ErrBatch)
		}
	}
	return sumParts(len(index), func(sum *bls12381.G2Jac, lo, hi int) { s.sum(sum, index[lo:hi]) }), nil
}

// FastAggregateVerify is [Suite.FastAggregateVerify] for the keys with these indices. It is false if there is no key with
// some index.
func (s *KeySet) FastAggregateVerify(suite Suite, index []uint32, msg []byte, sig *Signature) bool {
	sum, err := s.Sum(index)
	return err == nil && len(index) > 0 && suite.Verify(sum, msg, sig)
}

// sum adds keys to sum.
func (s *KeySet) sum(sum *bls12381.G2Jac, index []uint32) {
	if len(index) >= sharedFrom(wideSetFrom) {
		w := wideSums2s.Get().(*wideSums2)
		defer wideSums2s.Put(w)
		w.sumSet(sum, s.wide, index)
		return
	}
	for _, i := range index {
		sum.AddMixed(&s.keys[i].p)
	}
}

// sumParts returns the sum of n keys, of which add adds those from lo to hi to sum. Large sums are cut for all cores.
func sumParts(n int, add func(sum *bls12381.G2Jac, lo, hi int)) *PublicKey {
	const worthwhile = 512 // keys per goroutine
	workers := max(1, min(runtime.GOMAXPROCS(0), n/worthwhile))
	sums := make([]bls12381.G2Jac, workers)
	var wg sync.WaitGroup
	for i := range sums {
		wg.Go(func() { add(&sums[i], n*i/workers, n*(i+1)/workers) })
	}
	wg.Wait()
	for i := range sums[1:] {
		sums[0].AddAssign(&sums[1+i])
	}
	sum := new(PublicKey)
	sum.p.FromJacobian(&sums[0])
	return sum
}
