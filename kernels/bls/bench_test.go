package bls

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"sync"
	"testing"

	"github.com/consensys/gnark-crypto/ecc"
	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// The peers below are what one writes with gnark-crypto's public functions. All run on
// one core, on the same batch, so that their figures can be interleaved:
//
//	go test -run '^$' -bench 'Batch/8192x64' -benchtime 1x -count 5 ./kernels/bls

const benchSize = 8192

// withSigners makes the batch of a number of signers once.
var withSigners = func() func(signers int) *fixture {
	var mu sync.Mutex
	made := map[int]*fixture{}
	return func(signers int) *fixture {
		mu.Lock()
		defer mu.Unlock()
		if made[signers] == nil {
			made[signers] = newFixture(new(testing.B), benchSize, signers)
		}
		return made[signers]
	}
}()

func BenchmarkBatch(b *testing.B) {
	for _, signers := range []int{1, 64, 1024, benchSize} {
		name := fmt.Sprintf("%dx%d", benchSize, signers)
		b.Run(name+"/verifier", func(b *testing.B) {
			fx := withSigners(signers)
			v := NewVerifier(Default, 1)
			verdicts := make([]Verdict, benchSize)
			run := func() bool {
				report, err := v.Verify(&fx.Batch, verdicts)
				return err == nil && report.Invalid == 0 && report.Checks == 1
			}
			run()
			perSignature(b, benchSize, run)
		})
		b.Run(name+"/peer=grouped", func(b *testing.B) {
			fx := withSigners(signers)
			perSignature(b, benchSize, func() bool { return groupedPeer(b, fx) })
		})
		b.Run(name+"/peer=multiple", func(b *testing.B) {
			fx := withSigners(signers)
			perSignature(b, benchSize, func() bool { return multiplePeer(b, fx) })
		})
	}
}

func perSignature(b *testing.B, n int, run func() bool) {
	b.ReportAllocs()
	for b.Loop() {
		if !run() {
			b.Fatal("batch does not verify")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/sig")
}

// peerInput decodes and hashes entry by entry; the subgroup check of signatures is left
// to the caller when unchecked.
func peerInput(b *testing.B, f *fixture, unchecked bool) (sigs, hashes []bls12381.G1Affine, coef []fr.Element) {
	n := len(f.Signer)
	sigs, hashes, coef = make([]bls12381.G1Affine, n), make([]bls12381.G1Affine, n), make([]fr.Element, n)
	var raw [16]byte
	var err error
	for i := range n {
		if unchecked {
			if verdict := decodeG1(&sigs[i], f.Signatures.At(i)); verdict != Pending {
				b.Fatal(verdict)
			}
		} else if _, err = sigs[i].SetBytes(f.Signatures.At(i)); err != nil {
			b.Fatal(err)
		}
		if hashes[i], err = bls12381.HashToG1(f.Messages.At(i), []byte(SignatureDST)); err != nil {
			b.Fatal(err)
		}
		rand.Read(raw[:])
		coef[i].SetBytes(raw[:])
	}
	return sigs, hashes, coef
}

var oneTask = ecc.MultiExpConfig{NbTasks: 1}

// multiplePeer verifies as blst's MultipleAggregateVerify does: one Miller loop per
// signature, one final exponentiation.
func multiplePeer(b *testing.B, f *fixture) bool {
	sigs, hashes, coef := peerInput(b, f, false)
	p, q := make([]bls12381.G1Affine, len(sigs)+1), make([]bls12381.G2Affine, len(sigs)+1)
	for i := range hashes {
		p[i].ScalarMultiplication(&hashes[i], coef[i].BigInt(new(big.Int)))
		q[i] = f.Keys[f.Signer[i]].p
	}
	q[len(sigs)] = minusG2
	if _, err := p[len(sigs)].MultiExp(sigs, coef, oneTask); err != nil {
		b.Fatal(err)
	}
	ok, err := bls12381.PairingCheck(p, q)
	return ok && err == nil
}

// groupedPeer is the best we know how to do by hand: batched subgroup check, one
// multi-scalar multiplication and one Miller loop per signer.
func groupedPeer(b *testing.B, f *fixture) bool {
	sigs, hashes, coef := peerInput(b, f, true)
	if !bls12381.IsInSubGroupBatchG1(sigs) {
		return false
	}
	points, scalars := make(map[uint32][]bls12381.G1Affine), make(map[uint32][]fr.Element)
	for i, s := range f.Signer {
		points[s] = append(points[s], hashes[i])
		scalars[s] = append(scalars[s], coef[i])
	}
	var p []bls12381.G1Affine
	var q []bls12381.G2Affine
	var sum bls12381.G1Affine
	for s := range points {
		if _, err := sum.MultiExp(points[s], scalars[s], oneTask); err != nil {
			b.Fatal(err)
		}
		p, q = append(p, sum), append(q, f.Keys[s].p)
	}
	if _, err := sum.MultiExp(sigs, coef, oneTask); err != nil {
		b.Fatal(err)
	}
	ok, err := bls12381.PairingCheck(append(p, sum), append(q, minusG2))
	return ok && err == nil
}
