// Package ed25519 verifies many signatures of Ed25519 on all cores.
//
// Each is verified by itself, by the rule of crypto/ed25519, on whichever CPU: S is below the group
// order, and [S]B − [k]A, without the cofactor, encodes to the very bytes of R. That is exact, so
// that an implementation computes something else or the same; none accepts more or less than
// another by its nature.
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

// Verify reports whether the signature is the key's.
func (s *Signed) Verify() bool { return kernel.Use()(s) }

// share is how many signatures are worth a goroutine: each takes some 30 µs.
const share = 4

// VerifyEach verifies signatures and returns a verdict for each. It is safe for concurrent use.
func VerifyEach(list []Signed) []bool {
	verdicts, verify := make([]bool, len(list)), kernel.Use()
	workers := min(runtime.GOMAXPROCS(0), len(list)/share)
	if workers < 2 {
		for i := range list {
			verdicts[i] = verify(&list[i])
		}
		return verdicts
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(list)); i = next.Add(1) - 1 {
				verdicts[i] = verify(&list[i])
			}
		})
	}
	wg.Wait()
	return verdicts
}
