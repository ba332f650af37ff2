package main

import (
	"errors"

	blst "github.com/supranational/blst/bindings/go"

	"github.com/waybill-network/waybill/bench"
	"github.com/waybill-network/waybill/kernels/bls"
)

// Some of blst's functions start as many goroutines as there were processors at the start, whatever
// the limit is later; all comparisons with it are of one core.
func init() { blst.SetMaxProcs(1) }

var errRefused = errors.New("blst refuses what is valid")

func decompress(signatures bls.Column) []bench.Contender {
	n := signatures.Len()
	points := make([]blst.P1Affine, n)
	return []bench.Contender{{Name: "blst", Result: func() []byte { return compressed(points) },
		Run: func() (int, error) {
			for i := range points {
				if uncompress(&points[i], signatures.At(i)) != accepted {
					return 0, errRefused
				}
			}
			return n, nil
		}}}
}

func subgroup(signatures bls.Column) []bench.Contender {
	points := decoded(signatures)
	return []bench.Contender{{Name: "blst", Run: func() (int, error) {
		for i := range points {
			if !points[i].InG1() {
				return 0, errRefused
			}
		}
		return len(points), nil
	}}}
}

// decoded points; those that are none stay zero, which is in no subgroup.
func decoded(signatures bls.Column) []blst.P1Affine {
	points := make([]blst.P1Affine, signatures.Len())
	for i := range points {
		points[i].Uncompress(signatures.At(i))
	}
	return points
}

func hashToG1(dst string, msgs bls.Column) []bench.Contender {
	points := make([]blst.P1, msgs.Len())
	tag := []byte(dst)
	return []bench.Contender{{Name: "blst",
		Result: func() []byte { return compressed(blst.P1s(points).ToAffine()) },
		Run: func() (int, error) {
			for i := range points {
				points[i] = *blst.HashToG1(msgs.At(i), tag)
			}
			return len(points), nil
		}}}
}

func compressed(points []blst.P1Affine) (out []byte) {
	for i := range points {
		out = append(out, points[i].Compress()...)
	}
	return out
}

func millerLoop(points bls.Column, keys []*bls.PublicKey) []bench.Contender {
	p, q := decoded(points), decodedKeys(keys)
	var f blst.Fp12
	return []bench.Contender{{Name: "blst", Run: func() (int, error) {
		f = *blst.Fp12MillerLoopN(q, p)
		return len(p), nil
	}, Result: func() []byte {
		one, product := blst.Fp12One(), f
		if product.FinalExp(); product.Equals(&one) {
			return []byte{1}
		}
		return []byte{0}
	}}}
}
