package main

import (
	"errors"

	lukechampine "lukechampine.com/blake3"
	"lukechampine.com/blake3/bao"

	simd "github.com/minio/sha256-simd"

	"github.com/waybill-network/waybill/bench"
)

func manyBLAKE3(in []byte) []bench.Contender {
	const size = 64
	out := make([]byte, len(in)/2)
	return []bench.Contender{{Name: "lukechampine.com/blake3", Run: func() (int, error) {
		for i := range len(in) / size {
			digest := lukechampine.Sum256(in[i*size:][:size])
			copy(out[i*len(digest):], digest[:])
		}
		return len(in) / size, nil
	}}}
}

// chunksLog is the base-2 logarithm of the chunks of a group of 16 KiB.
const chunksLog = 4

func outboard(in []byte) []bench.Contender {
	var root [32]byte
	return []bench.Contender{{Name: "lukechampine.com/blake3",
		Result: func() []byte { return root[:] }, Run: func() (int, error) {
			_, root = bao.EncodeBuf(in, chunksLog, true)
			return len(in), nil
		}}}
}

func verifyContent(in []byte) []bench.Contender {
	tree, root := bao.EncodeBuf(in, chunksLog, true)
	return []bench.Contender{{Name: "lukechampine.com/blake3", Run: func() (int, error) {
		if !bao.VerifyBuf(in, tree, chunksLog, root) {
			return 0, errors.New("lukechampine.com/blake3: the content does not verify")
		}
		return len(in), nil
	}}}
}

func manySHA256(in []byte, length int) []bench.Contender {
	n := len(in) / length
	out := make([]byte, n*simd.Size)
	return []bench.Contender{{Name: "sha256-simd", Result: func() []byte { return out },
		Run: func() (int, error) {
			for i := range n {
				digest := simd.Sum256(in[i*length:][:length])
				copy(out[i*simd.Size:], digest[:])
			}
			return n, nil
		}}}
}

// expand is RFC 9380, section 5.3.1, one message after another.
func expand(dst string, msgs [][]byte, width int) []bench.Contender {
	tail := append([]byte(dst), byte(len(dst)))
	out := make([]byte, len(msgs)*width)
	first, next := make([]byte, simd.BlockSize), make([]byte, simd.Size)
	return []bench.Contender{{Name: "sha256-simd", Result: func() []byte { return out },
		Run: func() (int, error) {
			for i, msg := range msgs {
				first = append(first[:simd.BlockSize], msg...)
				first = append(append(first, byte(width>>8), byte(width), 0), tail...)
				b0 := simd.Sum256(first)
				var b [simd.Size]byte
				for j := 0; j*simd.Size < width; j++ {
					for k := range b {
						next[k] = b0[k] ^ b[k]
					}
					next = append(append(next[:simd.Size], byte(j+1)), tail...)
					b = simd.Sum256(next)
					copy(out[i*width+j*simd.Size:(i+1)*width], b[:])
				}
			}
			return len(msgs), nil
		}}}
}
