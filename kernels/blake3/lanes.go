package blake3

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/waybill-network/waybill/kernels/cpu"
)

// Here, and not beside its code, so that it is generated on every machine.
//go:generate go run -C ../../asm ./blake3/neon -out ../kernels/blake3/blake3_arm64.s

// lanes is an implementation over many messages: the number that it compresses at once, 1 for
// generic.
type lanes int

const maxLanes = 16

var kernel = cpu.Register("blake3", check,
	append(vectorized, cpu.Implementation[lanes]{Name: cpu.Generic, Code: 1})...)

// hash does what HashStrided64 describes, in this goroutine. In place is allowed as well: out may
// start where in does if stride is at least Size, for messages are read before, or with, those
// whose digests overwrite them.
func (l lanes) hash(key *Key, out, in []byte, stride int) {
	l.hashShort(key, out, in, stride, MessageSize)
}

// hashShort is hash of messages of a length: what lies behind each up to MessageSize is zero.
func (l lanes) hashShort(key *Key, out, in []byte, stride, length int) {
	if l == 1 {
		generic(key, out, in, stride, length)
		return
	}
	state := start(key, length)
	group := int(l) * Size
	for ; len(out) > group; out = out[group:] {
		compress(l, &out[0], &in[0], uintptr(stride), &state)
		in = in[int(l)*stride:]
	}
	switch len(out) {
	case 0:
	case Size:
		generic(key, out, in, stride, length)
	case group:
		compress(l, &out[0], &in[0], uintptr(stride), &state)
	default:
		var messages [maxLanes * MessageSize]byte
		var digests [maxLanes * Size]byte
		for i := range len(out) / Size {
			copy(messages[i*MessageSize:], in[i*stride:][:MessageSize])
		}
		compress(l, &digests[0], &messages[0], MessageSize, &state)
		copy(out, digests[:])
	}
}

// start is the state before the compression of a keyed message of one block: the key, the first
// words of the IV, the counter of its only chunk, its length and the flags CHUNK_START, CHUNK_END,
// ROOT and KEYED_HASH. BLAKE3 paper, sections 2.1 and 2.2.
func start(key *Key, length int) (state [16]uint32) {
	for i := range 8 {
		state[i] = binary.LittleEndian.Uint32(key[4*i:])
	}
	copy(state[8:], []uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0, 0, uint32(length),
		1 | 2 | 8 | 16})
	return state
}

// check is the self-test at start-up: messages of all bits set and of no two equal words, whole
// groups, a tail and a single one left over, apart and in place.
func check(candidate, generic lanes) error {
	key := Key{0: 0x80, 9: 0xff, 31: 0x7f}
	const stride, most = 67, 2*maxLanes + 3
	var in [most * stride]byte
	for i := range in {
		in[i] = 0xff
		if i >= MessageSize {
			in[i] = byte(i*i>>3 + i)
		}
	}
	for _, n := range []int{1, 2, int(candidate), int(candidate) + 1, most} {
		for _, stride := range []int{MessageSize, stride} {
			got, want := make([]byte, n*Size), make([]byte, n*Size)
			candidate.hash(&key, got, in[:], stride)
			generic.hash(&key, want, in[:], stride)
			if !bytes.Equal(got, want) {
				return errors.New("wrong digests")
			}
			if place := bytes.Clone(in[:]); stride == MessageSize {
				if candidate.hash(&key, place[:n*Size], place, stride); !bytes.Equal(place[:n*Size],
					want) {
					return errors.New("wrong digests in place")
				}
			}
		}
		const length = 21
		for i := range n {
			clear(in[i*MessageSize+length : (i+1)*MessageSize])
		}
		got, want := make([]byte, n*Size), make([]byte, n*Size)
		candidate.hashShort(&key, got, in[:], MessageSize, length)
		generic.hashShort(&key, want, in[:], MessageSize, length)
		if !bytes.Equal(got, want) {
			return errors.New("wrong digests of short messages")
		}
	}
	return checkChunks(candidate, generic)
}

// checkChunks has chunks around the number at which the counter needs a second word, and parents.
func checkChunks(candidate, generic lanes) error {
	const most = maxLanes + 3
	var data [most * ChunkSize]byte
	for i := range data {
		data[i] = byte(i*i>>3 + i)
	}
	for _, n := range []int{1, 3, int(candidate), most} {
		var got, want [most * Size]byte
		candidate.chunkValues(got[:], data[:n*ChunkSize], 1<<32-2)
		generic.chunkValues(want[:], data[:n*ChunkSize], 1<<32-2)
		if got != want {
			return errors.New("wrong chaining values of chunks")
		}
		candidate.parentValues(got[:], data[:n*MessageSize])
		generic.parentValues(want[:], data[:n*MessageSize])
		if got != want {
			return errors.New("wrong chaining values of parents")
		}
	}
	return nil
}
