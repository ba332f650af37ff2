package ed25519

import (
	"crypto/sha512"
	"fmt"
	"sync"

	"filippo.io/edwards25519"

	"github.com/waybill-network/waybill/kernels/cpu"
)

// recurring verifies signatures of keys whose multiples stand ready, of[i] those of −A of the key
// of list[i], and writes their verdicts.
type recurring struct {
	keep   bool // whether multiples are of use
	verify func(list []*Signed, of []*multiples, verdicts []*bool)
}

// Tables is the name of the implementation that keeps multiples of keys. It needs no vectors.
const Tables = "tables"

var again = cpu.Register("ed25519keys", checkRecurring,
	cpu.Implementation[recurring]{Name: Tables, Code: recurring{true, withMultiples}},
	cpu.Implementation[recurring]{Name: cpu.Generic, Code: recurring{false, eachStandard}})

func eachStandard(list []*Signed, _ []*multiples, verdicts []*bool) {
	for i, s := range list {
		*verdicts[i] = standard(s)
	}
}

// withMultiples does what crypto/ed25519 does, step by step: S is below the order, k = SHA-512(R ‖
// A ‖ M) modulo the order, and what [S]B − [k]A encodes to is compared with R, which is never
// decoded. Encodings of all sums share an inversion.
func withMultiples(list []*Signed, of []*multiples, verdicts []*bool) {
	sums := make([]projective, 0, len(list))
	at := make([]int, 0, len(list))
	var s, k edwards25519.Scalar
	var digest [sha512.Size]byte
	h := sha512.New()
	for i, signed := range list {
		*verdicts[i] = false
		if _, err := s.SetCanonicalBytes(signed.Signature[32:]); err != nil {
			continue
		}
		h.Reset()
		h.Write(signed.Signature[:32])
		h.Write(signed.Key[:])
		h.Write(signed.Message)
		if _, err := k.SetUniformBytes(h.Sum(digest[:0])); err != nil {
			continue // it has the length of a digest
		}
		var sum projective
		sum.sumProducts(&s, &k, of[i])
		sums, at = append(sums, sum), append(at, i)
	}
	normalize(sums)
	for j, i := range at {
		*verdicts[i] = sums[j].encoded() == [32]byte(list[i].Signature[:32])
	}
}

// negated is the multiples of −A of a key, nil if it decodes to no point.
func negated(key *[32]byte) *multiples {
	a, err := new(edwards25519.Point).SetBytes(key[:])
	if err != nil {
		return nil
	}
	return newMultiples(a.Negate(a), keyWidth)
}

// checkRecurring is check for keys that stand ready, all samples at once.
func checkRecurring(candidate, generic recurring) error {
	all := samples()
	var list []*Signed
	var of []*multiples
	for i := range all {
		if m := negated(&all[i].Key); m != nil {
			list, of = append(list, &all[i]), append(of, m)
		}
	}
	got, want := make([]bool, len(list)), make([]bool, len(list))
	candidate.verify(list, of, pointers(got))
	generic.verify(list, of, pointers(want))
	for i := range list {
		if got[i] != want[i] {
			return fmt.Errorf("ed25519: sample %d of known keys is %v, expected %v", i, got[i], want[i])
		}
	}
	return nil
}

func pointers(list []bool) (to []*bool) {
	for i := range list {
		to = append(to, &list[i])
	}
	return to
}

// Multiples of a key take 55 µs, which four verifications gain.
const (
	keptAfter = 4       // signatures of a key, and its multiples are kept
	keptKeys  = 1 << 14 // 63 MB
)

// keys is the multiples of keys that sign again and again, as a network's nodes do. It remembers
// what is public and changes no verdict. It is safe for concurrent use.
type keys struct {
	limit int // of each of both
	mu    sync.RWMutex
	kept  map[[32]byte]*multiples
	seen  map[[32]byte]int // how often, of others
}

func newKeys(limit int) *keys {
	return &keys{limit: limit, kept: make(map[[32]byte]*multiples), seen: make(map[[32]byte]int)}
}

var known = newKeys(keptKeys)

// of returns the multiples of −A of a key, nil if they are not kept.
func (k *keys) of(key *[32]byte) *multiples {
	k.mu.RLock()
	m := k.kept[*key]
	k.mu.RUnlock()
	if m != nil || !k.recurs(key) {
		return m
	}
	if m = negated(key); m == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.kept) >= k.limit {
		for other := range k.kept { // any of them: who has many keys cannot choose which
			delete(k.kept, other)
			break
		}
	}
	k.kept[*key] = m
	return m
}

// recurs counts a key, and reports whether it has come often enough.
func (k *keys) recurs(key *[32]byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.seen[*key]+1 >= keptAfter {
		delete(k.seen, *key)
		return true
	}
	if len(k.seen) >= k.limit {
		clear(k.seen)
	}
	k.seen[*key]++
	return false
}
