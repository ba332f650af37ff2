// Package ed25519 verifies many signatures of Ed25519 on all cores.
//
// Each is verified by itself, by the rule of crypto/ed25519, on whichever CPU: S is below the group
// order, and [S]B − [k]A, without the cofactor, encodes to the very bytes of R. That is exact, so
// that an implementation computes something else or the same; none accepts more or less than
// another by its nature. Of keys that sign again and again multiples are kept, which saves most
// doublings and changes nothing in what is computed.
//
// One equation for a batch would take half the time. But it takes signatures with a part of small
// order that a check of one refuses, and then the verdict depends on who stands beside: members of
// one committee would differ.
package ed25519

import (
	"crypto/ed25519"
	"runtime"
	"sync"
	"sync/atomic"
)

// Signed is a message with the signature that it is said to have.
type Signed struct {
	Key       [ed25519.PublicKeySize]byte
	Message   []byte
	Signature [ed25519.SignatureSize]byte
}

// Verify reports whether the signature is the key's. It is safe for concurrent use.
func (s *Signed) Verify() bool { return VerifyEach([]Signed{*s})[0] }

// share is how many signatures are worth a goroutine, each some 15 to 30 µs, and chunk how many at
// most are verified at once.
const (
	share = 4
	chunk = 32
)

// VerifyEach verifies signatures and returns a verdict for each. It is safe for concurrent use.
//
// A key takes half the time once it has signed a few times: its multiples are kept, within bounds.
func VerifyEach(list []Signed) []bool {
	verdicts := make([]bool, len(list))
	workers := max(1, min(runtime.GOMAXPROCS(0), len(list)/share))
	size := max(1, min(chunk, (len(list)+workers-1)/workers))
	var next atomic.Int64
	work := func() {
		for {
			lo := int(next.Add(1)-1) * size
			if lo >= len(list) {
				return
			}
			hi := min(lo+size, len(list))
			verifyChunk(list[lo:hi], verdicts[lo:hi])
		}
	}
	if workers == 1 {
		work()
		return verdicts
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(work)
	}
	wg.Wait()
	return verdicts
}

// verifyChunk verifies those of known keys together, and others one by one.
func verifyChunk(list []Signed, verdicts []bool) {
	verify, again := kernel.Use(), again.Use()
	var ready []*Signed
	var of []*multiples
	var to []*bool
	for i := range list {
		var m *multiples
		if again.keep {
			m = known.of(&list[i].Key)
		}
		if m == nil {
			verdicts[i] = verify(&list[i])
			continue
		}
		ready, of, to = append(ready, &list[i]), append(of, m), append(to, &verdicts[i])
	}
	if len(ready) > 0 {
		again.verify(ready, of, to)
	}
}
