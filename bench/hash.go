package bench

import (
	"context"
	stdsha256 "crypto/sha256"
	"fmt"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	gnarkposeidon2 "github.com/consensys/gnark-crypto/ecc/bn254/fr/poseidon2"
	"github.com/waybill-network/waybill/internal/kernelbench"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/kernels/poseidon2"
	"github.com/waybill-network/waybill/kernels/sha256"
	"github.com/waybill-network/waybill/rollup"
	zeebo "github.com/zeebo/blake3"
)

// Names of contenders that goals speak of.
const (
	zeeboName      = "zeebo/blake3"
	sha256SIMDName = "sha256-simd"
	blake3AVX512   = "kernels/blake3, avx512"
	blake3AVX2     = "kernels/blake3, avx2"
)

func hashSuite(p Peers) Suite {
	return Suite{
		Name:  "hash",
		Sized: true,
		What: "many short messages: BLAKE3 of 64 bytes, SHA-256 and expand_message_xmd; " +
			"Poseidon2 of sixteen field elements",
		Build: func(context.Context, bool) ([]Comparison, error) {
			const messages = 4096
			out := []Comparison{manyBLAKE3(p, messages), manySHA256(p, messages, 64),
				manySHA256(p, messages, 128), expansion(p, messages)}
			for i := range out {
				for j := range out[i].Contenders {
					out[i].Contenders[j].repeat(16)
				}
			}
			return append(out, compressions(256)), nil
		},
	}
}

// What kernels register of an implementation.
type (
	blake3Hash        = func(key *blake3.Key, out, in []byte, stride int)
	poseidon2Compress = func(out, in []poseidon2.Element)
)

// repeat makes a short run long enough to be timed.
func (c *Contender) repeat(times int) {
	run := c.Run
	c.Run = func() (total int, err error) {
		for range times {
			ops, err := run()
			if err != nil {
				return 0, err
			}
			total += ops
		}
		return total, nil
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*i>>5 ^ i)
	}
	return b
}

// manyBLAKE3 compares keyed and not keyed hashing, which cost the same; so results are compared in
// the tree suite.
func manyBLAKE3(p Peers, messages int) Comparison {
	in := pattern(messages * blake3.MessageSize)
	out := make([]byte, messages*blake3.Size)
	var list []Contender
	if p.BLAKE3 != nil {
		list = p.BLAKE3(in)
	}
	list = append([]Contender{{Name: zeeboName, Run: func() (int, error) {
		for i := range messages {
			digest := zeebo.Sum256(in[i*blake3.MessageSize:][:blake3.MessageSize])
			copy(out[i*blake3.Size:], digest[:])
		}
		return messages, nil
	}}}, list...)
	var own []Contender
	key := blake3.ContextKey("waybill/bench/1")
	for name, hash := range kernelbench.Each[blake3Hash]("blake3") {
		digests := make([]byte, len(out))
		own = append(own, Contender{Name: "kernels/blake3, " + name, Kind: KindOwn,
			Result: func() []byte { return digests }, Run: func() (int, error) {
				hash(&key, digests, in, blake3.MessageSize)
				return messages, nil
			}})
	}
	slices.Reverse(own)
	return Comparison{Name: fmt.Sprintf("BLAKE3/messages=%d/bytes=%d", messages,
		blake3.MessageSize), What: "digests of 64-byte messages", Op: "message", Cores: 1,
		Compute:    true,
		Contenders: append(list, own...),
		Goals: []Goal{{What: "BLAKE3 of 64 bytes ≥ 8× zeebo (AVX-512)", Of: blake3AVX512,
			Against: zeeboName, Ratio: 8},
			{What: "BLAKE3 of 64 bytes ≥ 4× zeebo (AVX2)", Of: blake3AVX2, Against: zeeboName,
				Ratio: 4}}}
}

func manySHA256(p Peers, messages, length int) Comparison {
	in := pattern(messages * length)
	var list []Contender
	if p.SHA256 != nil {
		list = p.SHA256(in, length)
	}
	out := make([]byte, messages*sha256.Size)
	list = append(list, Contender{Name: "standard library", Result: func() []byte { return out },
		Run: func() (int, error) {
			for i := range messages {
				digest := stdsha256.Sum256(in[i*length:][:length])
				copy(out[i*sha256.Size:], digest[:])
			}
			return messages, nil
		}})
	for _, i := range sha256Each() {
		digests := make([]byte, len(out))
		list = append(list,
			Contender{Name: i.name, Kind: KindOwn, Result: func() []byte { return digests },
				Run: func() (int, error) {
					i.SumMany(digests, in, length)
					return messages, nil
				}})
	}
	return Comparison{Name: fmt.Sprintf("SHA256/messages=%d/bytes=%d", messages, length),
		What: fmt.Sprintf("digests of %d-byte messages", length), Op: "message",
		Cores: 1, Compute: true, Contenders: list}
}

// expansion is what hashing an ack to the curve begins with.
func expansion(p Peers, messages int) Comparison {
	const width = 128
	in := pattern(messages * rollup.MessageSize)
	msgs := slices.Collect(slices.Chunk(in, rollup.MessageSize))
	var list []Contender
	if p.Expand != nil {
		list = p.Expand(bls.SignatureDST, msgs, width)
	}
	dst := sha256.DSTPrime(bls.SignatureDST)
	for _, i := range sha256Each() {
		out := make([]byte, messages*width)
		list = append(list,
			Contender{Name: i.name, Kind: KindOwn, Result: func() []byte { return out },
				Run: func() (int, error) {
					i.ExpandXMD(out, width, dst, msgs)
					return messages, nil
				}})
	}
	return Comparison{Name: fmt.Sprintf("ExpandMessageXMD/messages=%d/bytes=%d", messages,
		rollup.MessageSize), What: "expand_message_xmd of acks to 128 bytes", Op: "message",
		Cores: 1, Compute: true, Contenders: list,
		Goals: []Goal{{What: "expand_message ≥ 3× sha256-simd one at a time",
			Against: sha256SIMDName, Ratio: 3}}}
}

// compressions compares nodes of the statement tree, a multiple of eight, with gnark-crypto's
// permutation.
func compressions(nodes int) Comparison {
	in := make([]poseidon2.Element, nodes*poseidon2.Width)
	bytes := pattern(len(in) * poseidon2.Size)
	for i := range in {
		in[i] = poseidon2.Truncate([poseidon2.Size]byte(bytes[i*poseidon2.Size:]))
	}
	out := make([]poseidon2.Element, nodes)
	gnark := newGnarkPoseidon2()
	list := []Contender{{Name: gnarkPoseidon2Name, Result: func() []byte { return encoded(out) },
		Run: func() (int, error) {
			for i := range out {
				var err error
				if out[i], err = gnark.compress(
					in[i*poseidon2.Width:][:poseidon2.Width]); err != nil {
					return 0, err
				}
			}
			return nodes, nil
		}}}
	issue := nodes / 8 * kernelbench.Compressions
	if kernelbench.IssueMultiplyAdds(1) > 0 {
		list = append(list, Contender{Name: boundName, Kind: KindBound, Run: func() (int, error) {
			kernelbench.IssueMultiplyAdds(issue)
			return nodes, nil
		}})
	}
	var own []Contender
	for name, compressMany := range kernelbench.Each[poseidon2Compress]("poseidon2") {
		out := make([]poseidon2.Element, nodes)
		own = append(own, Contender{Name: "kernels/poseidon2, " + name, Kind: KindOwn,
			Result: func() []byte { return encoded(out) },
			Run: func() (int, error) {
				compressMany(out, in)
				return nodes, nil
			}})
	}
	slices.Reverse(own)
	return Comparison{Name: fmt.Sprintf("Poseidon2/nodes=%d", nodes),
		What: "compressions of sixteen field elements", Op: "node",
		Cores: 1, Compute: true, Contenders: append(list, own...)}
}

const gnarkPoseidon2Name = "gnark-crypto, node by node"

// gnarkPoseidon2 compresses with gnark-crypto's permutation.
type gnarkPoseidon2 struct {
	permutation *gnarkposeidon2.Permutation
	x           [poseidon2.Width]fr.Element
}

func newGnarkPoseidon2() *gnarkPoseidon2 {
	return &gnarkPoseidon2{permutation: gnarkposeidon2.NewPermutation(poseidon2.Width, 8, 57)}
}

// compress takes up to sixteen elements; the others are zero.
func (g *gnarkPoseidon2) compress(in []poseidon2.Element) (poseidon2.Element, error) {
	clear(g.x[:])
	for i := range in {
		g.x[i] = fr.Element(in[i])
	}
	first := g.x[0]
	if err := g.permutation.Permutation(g.x[:]); err != nil {
		return poseidon2.Element{}, err
	}
	first.Add(&first, &g.x[0])
	return poseidon2.Element(first), nil
}

func encoded(elements []poseidon2.Element) (out []byte) {
	for _, e := range elements {
		b := e.Bytes()
		out = append(out, b[:]...)
	}
	return out
}

type namedSHA256 struct {
	kernelbench.SHA256
	name string
}

// sha256Each lists this program's implementations, the best one last.
func sha256Each() (list []namedSHA256) {
	for name, i := range kernelbench.Each[kernelbench.SHA256]("sha256") {
		list = append(list, namedSHA256{i, "kernels/sha256, " + name})
	}
	slices.Reverse(list)
	return list
}
