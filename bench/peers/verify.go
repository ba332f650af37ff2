package main

import (
	"cmp"
	"crypto/rand"
	"slices"

	blst "github.com/supranational/blst/bindings/go"

	"github.com/waybill-network/waybill/bench"
	"github.com/waybill-network/waybill/kernels/bls"
)

// batchVerify is what one writes with blst by hand, knowing that clients sign many times, and what
// blst offers.
func batchVerify(dst string, b *bls.Batch) []bench.Contender {
	g := &grouped{dst: []byte(dst)}
	m := &multiple{dst: []byte(dst)}
	// Keys are decoded once, before the measurement, as they are for this program.
	prepare := func(keys *[]blst.P2Affine) func() error {
		return func() error {
			if *keys == nil {
				*keys = decodedKeys(b.Keys)
			}
			return nil
		}
	}
	contender := func(name string, keys *[]blst.P2Affine,
		verify func(*bls.Batch) bool) bench.Contender {
		return bench.Contender{Name: name, Prepare: prepare(keys), Run: func() (int, error) {
			if !verify(b) {
				return 0, errRefused
			}
			return len(b.Signer), nil
		}}
	}
	return []bench.Contender{
		contender("blst, grouped by hand", &g.keys, g.verify),
		contender("blst, MultipleAggregateVerify", &m.keys, m.verify),
	}
}

func decodedKeys(keys []*bls.PublicKey) []blst.P2Affine {
	out := make([]blst.P2Affine, len(keys))
	for i, key := range keys {
		encoded := key.Bytes()
		out[i].Uncompress(encoded[:])
	}
	return out
}

// coefficientBits is the size of random multipliers, coefficientBytes that of their little-endian
// encoding.
const (
	coefficientBits  = 128
	coefficientBytes = coefficientBits / 8
)

// grouped checks e(Σ rᵢσᵢ, g2) = Π e(Σ rᵢHᵢ, pk), the inner sums over the entries of one signer:
// one multi-scalar multiplication and one Miller loop per signer, one final exponentiation.
type grouped struct {
	dst          []byte
	keys         []blst.P2Affine
	order        []int
	signatures   []blst.P1Affine
	hashes       []blst.P1
	coefficients []byte
}

func (g *grouped) verify(b *bls.Batch) bool {
	n := len(b.Signer)
	g.order = g.order[:0]
	for i := range n {
		g.order = append(g.order, i)
	}
	slices.SortStableFunc(g.order,
		func(i, j int) int { return cmp.Compare(b.Signer[i], b.Signer[j]) })
	g.signatures, g.hashes = slices.Grow(g.signatures[:0], n)[:n], slices.Grow(g.hashes[:0], n)[:n]
	for at, i := range g.order {
		if s := &g.signatures[at]; s.Uncompress(b.Signatures.At(i)) == nil || !s.SigValidate(true) {
			return false
		}
		g.hashes[at] = *blst.HashToG1(b.Messages.At(i), g.dst)
	}
	g.coefficients = slices.Grow(g.coefficients[:0], n*coefficientBytes)[:n*coefficientBytes]
	rand.Read(g.coefficients)
	sum := blst.P1Affines(g.signatures).Mult(g.coefficients, coefficientBits)
	hashes := blst.P1s(g.hashes).ToAffine()

	var sums blst.P1s
	var signers []blst.P2Affine
	for lo := 0; lo < n; {
		signer := b.Signer[g.order[lo]]
		hi := lo + 1
		for hi < n && b.Signer[g.order[hi]] == signer {
			hi++
		}
		sums = append(sums, *g.combine(hashes[lo:hi], lo))
		signers = append(signers, g.keys[signer])
		lo = hi
	}
	return blst.Fp12FinalVerify(
		blst.Fp12MillerLoop(blst.P2Generator().ToAffine(), sum.ToAffine()),
		blst.Fp12MillerLoopN(signers, sums.ToAffine()))
}

// combine is Σ rᵢHᵢ of hashes, the first of which has the coefficient number at.
func (g *grouped) combine(hashes blst.P1Affines, at int) *blst.P1 {
	coefficients := g.coefficients[at*coefficientBytes:][:len(hashes)*coefficientBytes]
	if len(hashes) > 1 {
		return hashes.Mult(coefficients, coefficientBits)
	}
	var p blst.P1
	p.FromAffine(&hashes[0])
	return p.MultAssign(coefficients, coefficientBits)
}

// aggregateVerify is batchVerify for a signature that is known to be the sum of those of the batch:
// no coefficients, and one signature to decode.
func aggregateVerify(dst string, b *bls.Batch, aggregate *bls.Signature) []bench.Contender {
	var g *summed
	encoded := aggregate.Bytes()
	return []bench.Contender{{Name: "blst, grouped by hand", Prepare: func() error {
		if g == nil {
			g = &summed{dst: []byte(dst), keys: decodedKeys(b.Keys),
				sums: make([]blst.P1, len(b.Keys))}
		}
		return nil
	}, Run: func() (int, error) {
		if !g.verify(b, encoded[:]) {
			return 0, errRefused
		}
		return len(b.Signer), nil
	}}}
}

// summed checks e(σ, g2) = Π e(Σ Hᵢ, pk), the sums over the entries of one signer: a Miller loop
// per signer, one final exponentiation. Every key has an entry.
type summed struct {
	dst  []byte
	keys []blst.P2Affine
	sums []blst.P1
}

func (g *summed) verify(b *bls.Batch, encoded []byte) bool {
	var signature blst.P1Affine
	if signature.Uncompress(encoded) == nil || !signature.SigValidate(true) {
		return false
	}
	clear(g.sums)
	for i, signer := range b.Signer {
		g.sums[signer].AddAssign(blst.HashToG1(b.Messages.At(i), g.dst))
	}
	return blst.Fp12FinalVerify(
		blst.Fp12MillerLoop(blst.P2Generator().ToAffine(), &signature),
		blst.Fp12MillerLoopN(g.keys, blst.P1s(g.sums).ToAffine()))
}

// multiple calls MultipleAggregateVerify: one Miller loop per signature, one final exponentiation.
type multiple struct {
	dst        []byte
	keys       []blst.P2Affine
	signatures []blst.P1Affine
}

func (m *multiple) verify(b *bls.Batch) bool {
	n := len(b.Signer)
	m.signatures = slices.Grow(m.signatures[:0], n)[:n]
	signatures, keys, msgs := make([]*blst.P1Affine, n), make([]*blst.P2Affine, n),
		make([]blst.Message, n)
	for i := range n {
		if m.signatures[i].Uncompress(b.Signatures.At(i)) == nil {
			return false
		}
		signatures[i], keys[i], msgs[i] = &m.signatures[i], &m.keys[b.Signer[i]], b.Messages.At(i)
	}
	draw := func(s *blst.Scalar) {
		var r [blst.BLST_SCALAR_BYTES]byte
		rand.Read(r[:coefficientBytes])
		s.FromLEndian(r[:])
	}
	return new(blst.P1Affine).MultipleAggregateVerify(signatures, true, keys, false, msgs, m.dst,
		draw, coefficientBits)
}

func fastAggregate(dst string, keys []*bls.PublicKey, msg []byte,
	signature *bls.Signature) []bench.Contender {
	var decoded []*blst.P2Affine
	var sum blst.P1Affine
	return []bench.Contender{{Name: "blst", Prepare: func() error {
		if decoded != nil {
			return nil
		}
		encoded := signature.Bytes()
		if sum.Uncompress(encoded[:]) == nil {
			return errRefused
		}
		known := make(map[*bls.PublicKey]*blst.P2Affine)
		for _, key := range keys {
			if known[key] == nil {
				known[key] = &decodedKeys([]*bls.PublicKey{key})[0]
			}
			decoded = append(decoded, known[key])
		}
		return nil
	}, Run: func() (int, error) {
		// in a batch; P1Affine.FastAggregateVerify adds one by one and takes twice as long
		key := blst.P2AffinesAdd(decoded).ToAffine()
		if !sum.Verify(false, key, false, msg, []byte(dst)) {
			return 0, errRefused
		}
		return len(keys), nil
	}}}
}
