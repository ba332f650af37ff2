package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"runtime"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

var verifySuite = Suite{
	Name: "verify",
	What: "batch verification of client signatures",
	Build: func(ctx context.Context, quick bool) ([]Comparison, error) {
		if quick {
			return verification(2048, 64, 1)
		}
		few, err := verification(8192, 64, runtime.NumCPU())
		if err != nil {
			return nil, err
		}
		few[0].Goal = &Goal{What: "at least 1.5× with 8192 acks of 64 clients", Ratio: 1.5}
		many, err := verification(8192, 8192, runtime.NumCPU())
		return append(few, many...), err
	},
}

// verification compares BatchVerify with the peer on one core, and with itself on several.
func verification(acks, clients, cores int) ([]Comparison, error) {
	secrets, err := clientSecrets(clients)
	if err != nil {
		return nil, err
	}
	t := newTraffic(rollup.NetworkID("waybill-bench"), rollup.WindowKey{}, secrets, acks)
	gnark, err := newGnark(t)
	if err != nil {
		return nil, err
	}
	batchVerify := func(workers int) Contender {
		v, verdicts := bls.NewVerifier(bls.Default, workers), make([]bls.Verdict, acks)
		name := "BatchVerify"
		if workers > 1 {
			name = fmt.Sprintf("BatchVerify, %d workers", workers)
		}
		return Contender{Name: name, Run: func() (int, error) { return acks, verifyBatch(v, t.batch(0, acks), verdicts) }}
	}
	size := fmt.Sprintf("acks=%d/clients=%d", acks, clients)
	out := []Comparison{{
		Name: "BatchVerify/" + size, What: fmt.Sprintf("%d compressed signatures of %d clients, distinct messages", acks, clients), Op: "ack",
		Cores: 1, Rounds: 6,
		Contenders: []Contender{
			{Name: "gnark-crypto, one Miller loop a signature", Run: func() (int, error) { return acks, gnark.verify(t.batch(0, acks)) }},
			batchVerify(1),
		},
	}}
	if cores > 1 {
		out = append(out, Comparison{Name: "BatchVerifyCores/" + size, What: "the same on more cores", Op: "ack", Cores: cores, Rounds: 6,
			Contenders: []Contender{batchVerify(1), batchVerify(cores)}})
	}
	return out, nil
}

// verifyBatch fails unless every signature of the batch is found valid.
func verifyBatch(v *bls.Verifier, b *bls.Batch, verdicts []bls.Verdict) error {
	report, err := v.Verify(b, verdicts[:len(b.Signer)])
	if err == nil && report.Invalid > 0 {
		err = fmt.Errorf("%d of %d valid signatures refused", report.Invalid, len(b.Signer))
	}
	return err
}

// gnark is what a user of gnark-crypto would write in the manner of blst's MultipleAggregateVerify: random coefficients,
// one Miller loop a signature, one final exponentiation.
type gnark struct {
	keys         []bls12381.G2Affine
	g2           bls12381.G2Affine
	left         []bls12381.G1Affine
	right        []bls12381.G2Affine
	signatures   []bls12381.G1Affine
	coefficients []fr.Element
}

func newGnark(t *traffic) (*gnark, error) {
	n := t.len()
	p := &gnark{keys: make([]bls12381.G2Affine, len(t.keys)), left: make([]bls12381.G1Affine, n+1), right: make([]bls12381.G2Affine, n+1),
		signatures: make([]bls12381.G1Affine, n), coefficients: make([]fr.Element, n)}
	_, _, _, p.g2 = bls12381.Generators()
	for i, key := range t.keys {
		b := key.Bytes()
		if _, err := p.keys[i].SetBytes(b[:]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

var errGnark = errors.New("gnark-crypto refused valid signatures")

func (p *gnark) verify(b *bls.Batch) error {
	n := len(b.Signer)
	for i := range n {
		if _, err := p.signatures[i].SetBytes(b.Signatures.At(i)); err != nil {
			return err
		}
		h, err := bls12381.HashToG1(b.Messages.At(i), []byte(bls.SignatureDST))
		if err != nil {
			return err
		}
		var r [16]byte
		rand.Read(r[:])
		p.coefficients[i].SetBytes(r[:])
		p.left[i].ScalarMultiplication(&h, new(big.Int).SetBytes(r[:]))
		p.right[i] = p.keys[b.Signer[i]]
	}
	last := &p.left[n]
	if _, err := last.MultiExp(p.signatures, p.coefficients, ecc.MultiExpConfig{NbTasks: 1}); err != nil {
		return err
	}
	last.Neg(last)
	p.right[n] = p.g2
	ok, err := bls12381.PairingCheck(p.left, p.right)
	if err == nil && !ok {
		err = errGnark
	}
	return err
}
