package bls

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"runtime"
	"sync"
	"testing"

	"github.com/consensys/gnark-crypto/ecc"
	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// The peers below are what one writes with gnark-crypto's public functions. With -cpu 1
// all run on one core and on the same batch, and can be interleaved:
//
//	go test -run '^$' -cpu 1 -bench 'Batch/8192x64/' -benchtime 1x -count 5 ./kernels/bls

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
			v := NewVerifier(Default, runtime.GOMAXPROCS(0))
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
func peerInput(b *testing.B, f *fixture, unchecked bool) (sigs, hashes []bls12381.G1Affine,
	coef []fr.Element) {
	n := len(f.Signer)
	sigs, hashes, coef = make([]bls12381.G1Affine, n), make([]bls12381.G1Affine, n),
		make([]fr.Element, n)
	var raw [16]byte
	var err error
	for i := range n {
		if unchecked {
			if verdict := decodeG1(&sigs[i], f.Signatures.At(i)); verdict != VerdictPending {
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

// BenchmarkBad is a batch of 1024 entries and 64 signers with some bad signatures; with
// reference, entry by entry.
func BenchmarkBad(b *testing.B) {
	const n, signers = 1024, 64
	valid := newFixture(b, n, signers)
	for _, bad := range []int{0, 1, 8, 64, n} {
		f := valid.clone()
		for i := range bad {
			f.Signatures.At(i * (n / bad) * 7 % n)[0] ^= flagLargest
		}
		b.Run(fmt.Sprint(bad), func(b *testing.B) {
			v := NewVerifier(Default, 1)
			verdicts := make([]Verdict, n)
			perSignature(b, n, func() bool {
				report, err := v.Verify(&f.Batch, verdicts)
				b.ReportMetric(float64(report.Checks), "checks")
				b.ReportMetric(float64(report.Singles), "singles")
				return err == nil && report.Invalid == bad
			})
		})
	}
	b.Run("reference", func(b *testing.B) {
		perSignature(b, n, func() bool { return len(valid.oneByOne()) == n })
	})
}

// BenchmarkSmall is the latency of small batches by distinct signers.
func BenchmarkSmall(b *testing.B) {
	for _, n := range []int{1, 2, 8, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := newFixture(b, n, n)
			v := NewVerifier(Default, 1)
			verdicts := make([]Verdict, n)
			perSignature(b, n, func() bool {
				report, err := v.Verify(&f.Batch, verdicts)
				return err == nil && report.Invalid == 0
			})
		})
	}
}

func BenchmarkAggregate(b *testing.B) {
	const n, signers = 2048, 64
	f := newFixture(b, n, signers)
	var sum Sum
	for i := range n {
		s := f.sig(b, i)
		sum.Add(&s)
	}
	sig := sum.Signature()
	b.Run("AggregateVerify", func(b *testing.B) {
		v := NewVerifier(Default, 1)
		perSignature(b, n, func() bool { return v.AggregateVerify(&f.Batch, &sig) })
	})
	b.Run("AggregatePublicKeys", func(b *testing.B) {
		var keys []*PublicKey
		for len(keys) < 1<<14 {
			keys = append(keys, f.Keys...)
		}
		perSignature(b, len(keys), func() bool { return AggregatePublicKeys(keys) != nil })
	})
	b.Run("Sum", func(b *testing.B) {
		s := f.sig(b, 0)
		perSignature(b, 1, func() bool { sum.Add(&s); return true })
	})
	for _, n := range []int{16, 64, 256, 1024} {
		b.Run(fmt.Sprintf("Adder/%d", n), func(b *testing.B) {
			var a Adder
			var sigs []Signature
			for i := range n {
				sigs = append(sigs, f.sig(b, i))
			}
			perSignature(b, n, func() bool { a.Add(&sum, sigs); return true })
		})
	}
}

func BenchmarkOne(b *testing.B) {
	sk := testKey(b, 0)
	pk, msg := sk.PublicKey(), make([]byte, messageSize)
	sig := Default.Sign(sk, msg)
	encoded, encodedKey := sig.Bytes(), pk.Bytes()
	b.Run("Sign", func(b *testing.B) {
		perSignature(b, 1, func() bool { Default.Sign(sk, msg); return true })
	})
	b.Run("Verify", func(b *testing.B) {
		perSignature(b, 1, func() bool { return Default.Verify(pk, msg, &sig) })
	})
	b.Run("ParseSignature", func(b *testing.B) {
		perSignature(b, 1, func() bool { _, err := ParseSignature(encoded[:]); return err == nil })
	})
	b.Run("ParsePublicKey", func(b *testing.B) {
		perSignature(b, 1,
			func() bool { _, err := ParsePublicKey(encodedKey[:]); return err == nil })
	})
}

// BenchmarkArrange is the sorting of entries by signer, which one core does while others wait.
func BenchmarkArrange(b *testing.B) {
	f := &Batch{Keys: make([]*PublicKey, 64), Signer: make([]uint32, 2048)}
	for i := range f.Signer {
		f.Signer[i] = uint32(i % 64)
	}
	v := NewVerifier(Default, 1)
	for b.Loop() {
		v.arrange(f, nil)
	}
}
