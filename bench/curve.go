package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381"

	"github.com/waybill-network/waybill/internal/kernelbench"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

func curveSuite(p Peers) Suite {
	return Suite{
		Name: "curve",
		What: "the steps of batch verification: decompression, subgroup check, hash to the " +
			"curve, Miller loops",
		Build: func(_ context.Context, quick bool) ([]Comparison, error) {
			n := 4096
			if quick {
				n = 1024
			}
			secrets, err := clientSecrets(64)
			if err != nil {
				return nil, err
			}
			return steps(p, newTraffic(benchNetwork, rollup.WindowKey{},
				secrets, n))
		},
	}
}

var errPoints = errors.New("valid points were refused")

// steps compares each step on the acks of t.
func steps(p Peers, t *traffic) ([]Comparison, error) {
	b := t.batch(0, t.len())
	hashing, err := hashes(p, b.Messages)
	if err != nil {
		return nil, err
	}
	checking, err := subgroupChecks(p, b.Signatures)
	if err != nil {
		return nil, err
	}
	pairing, err := millerLoops(p, b)
	if err != nil {
		return nil, err
	}
	return []Comparison{decompression(p, b.Signatures), *checking, hashing[0], hashing[1],
		*pairing}, nil
}

func decompression(p Peers, signatures bls.Column) Comparison {
	n := signatures.Len()
	var list []Contender
	if p.Decompress != nil {
		list = p.Decompress(signatures)
	}
	points, encoded := make([]bls12381.G1Affine, n), make([]byte, 0, n*bls.SignatureSize)
	for i := range n {
		encoded = append(encoded, signatures.At(i)...)
	}
	own := kernelbench.NewSteps()
	list = append(list,
		Contender{Name: "gnark-crypto", Result: func() []byte { return compressed(points) },
			Run: func() (int, error) {
				d := bls12381.NewDecoder(bytes.NewReader(encoded), bls12381.NoSubgroupChecks())
				for i := range points {
					if err := d.Decode(&points[i]); err != nil {
						return 0, err
					}
				}
				return n, nil
			}},
		Contender{Name: "kernels/bls", Kind: KindOwn,
			Result: func() []byte { return own.Encoded(nil) }, Run: func() (int, error) {
				if own.Decode(signatures.Data, signatures.Stride) != n {
					return 0, errPoints
				}
				return n, nil
			}})
	return Comparison{Name: fmt.Sprintf("Decompress/points=%d", n),
		What: "points of G1 from their encodings, without the subgroup check", Op: "point",
		Cores: 1, Compute: true,
		Contenders: list,
		Goals:      []Goal{{What: "batch decompression ≥ 5× blst", Against: blstName, Ratio: 5}}}
}

func subgroupChecks(p Peers, signatures bls.Column) (*Comparison, error) {
	n := signatures.Len()
	var list []Contender
	if p.Subgroup != nil {
		list = p.Subgroup(signatures)
	}
	points := make([]bls12381.G1Affine, n)
	for i := range points {
		if _, err := points[i].SetBytes(signatures.At(i)); err != nil {
			return nil, err
		}
	}
	own := kernelbench.NewSteps()
	if own.Decode(signatures.Data, signatures.Stride) != n {
		return nil, errPoints
	}
	check := func(ok bool) (int, error) {
		if !ok {
			return 0, errPoints
		}
		return n, nil
	}
	list = append(list,
		Contender{Name: "gnark-crypto, together",
			Run: func() (int, error) { return check(bls12381.IsInSubGroupBatchG1(points)) }},
		Contender{Name: "kernels/bls, with the linear combination", Kind: KindOwn,
			Run: func() (int, error) { return check(own.InSubgroup()) }})
	return &Comparison{Name: fmt.Sprintf("SubgroupCheck/points=%d", n), Op: "point", Cores: 1,
		Compute: true, Contenders: list,
		What: "membership in the subgroup; this program's figure includes the sum with 128-bit " +
			"coefficients, which a batch needs anyway"}, nil
}

// hashes are two comparisons, of complete points in G1, and of what a batch does for each message.
func hashes(p Peers, msgs bls.Column) ([]Comparison, error) {
	n := msgs.Len()
	gnark := make([]bls12381.G1Affine, n)
	own := kernelbench.NewSteps()
	type hash = func(data []byte, stride, width int)
	list := func(name string, result bool, run hash) (list []Contender) {
		if p.Hash != nil {
			list = p.Hash(bls.SignatureDST, msgs)
		}
		last := Contender{Name: name, Kind: KindOwn,
			Run: func() (int, error) {
				run(msgs.Data, msgs.Stride, msgs.Width)
				return n, nil
			}}
		if result {
			last.Result = func() []byte { return own.Encoded(nil) }
		}
		return append(list,
			Contender{Name: "gnark-crypto", Result: func() []byte { return compressed(gnark) },
				Run: func() (_ int, err error) {
					for i := range gnark {
						if gnark[i], err = bls12381.HashToG1(msgs.At(i),
							[]byte(bls.SignatureDST)); err != nil {
							return 0, err
						}
					}
					return n, nil
				}}, last)
	}
	return []Comparison{{
		Name: fmt.Sprintf("HashToG1/messages=%d", n), What: "messages of 80 bytes to points of G1",
		Op: "message", Cores: 1, Compute: true,
		Contenders: list("kernels/bls", true, own.Hash),
		Goals:      []Goal{{What: "hash to G1, complete ≥ 5× blst", Against: blstName, Ratio: 5}},
	}, {
		Name: fmt.Sprintf("HashInBatch/messages=%d", n), Op: "message", Cores: 1, Compute: true,
		What: "the same against what a batch does for each message: to the isogenous " +
			"curve, the rest once per signer",
		Contenders: list("kernels/bls, inside a batch", false, own.HashDeferred),
		Goals: []Goal{{What: "hash to G1, inside a batch ≥ 9× blst", Against: blstName,
			Ratio: 9}},
	}}, nil
}

// millerLoops compares products of Miller loops of the batch's signatures with their keys, and of
// the opposite signatures.
func millerLoops(p Peers, b *bls.Batch) (*Comparison, error) {
	const most = 1024
	n := min(most, b.Signatures.Len()) / 2 * 2
	points, encoded := make([]bls12381.G1Affine, n), make([]byte, 0, n*bls.SignatureSize)
	keys, q := make([]*bls.PublicKey, n), make([]bls12381.G2Affine, n)
	encodedKeys := make([]byte, 0, n*bls.PublicKeySize)
	for i := range n {
		at := i % (n / 2)
		keys[i] = b.Keys[b.Signer[at]]
		key := keys[i].Bytes()
		encodedKeys = append(encodedKeys, key[:]...)
		if _, err := q[i].SetBytes(key[:]); err != nil {
			return nil, err
		}
		if _, err := points[i].SetBytes(b.Signatures.At(at)); err != nil {
			return nil, err
		}
		if i != at {
			points[i].Neg(&points[i])
		}
		point := points[i].Bytes()
		encoded = append(encoded, point[:]...)
	}
	var list []Contender
	if p.MillerLoop != nil {
		list = p.MillerLoop(bls.Column{Data: encoded, Stride: bls.SignatureSize,
			Width: bls.SignatureSize}, keys)
	}
	own := kernelbench.NewSteps()
	if err := own.Pair(encoded, encodedKeys); err != nil {
		return nil, err
	}
	result := func(isOne bool) []byte {
		if isOne {
			return []byte{1}
		}
		return []byte{0}
	}
	var f bls12381.GT
	list = append(list, Contender{Name: "gnark-crypto", Run: func() (_ int, err error) {
		f, err = bls12381.MillerLoop(points, q)
		return n, err
	}, Result: func() []byte {
		product := bls12381.FinalExponentiation(&f)
		return result(product.IsOne())
	}}, Contender{Name: "kernels/bls", Kind: KindOwn, Run: func() (int, error) {
		own.MillerLoop()
		return n, nil
	}, Result: func() []byte { return result(own.IsOne()) }})
	return &Comparison{Name: fmt.Sprintf("MillerLoop/pairs=%d", n), Op: "pair", Cores: 1,
		Compute: true, Contenders: list,
		What: "the Miller loops of a product of pairings, without its final exponentiation"}, nil
}

func compressed(points []bls12381.G1Affine) (out []byte) {
	for i := range points {
		b := points[i].Bytes()
		out = append(out, b[:]...)
	}
	return out
}
