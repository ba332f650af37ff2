package sha256

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"math/bits"
	"sync"

	"github.com/waybill-network/waybill/kernels/cpu"
)

// lanes is an implementation: the number of messages that it hashes at once, 1 for generic.
type lanes int

const maxLanes = 16

var kernel = cpu.Register("sha256", check,
	append(vectorized, cpu.Implementation[lanes]{Name: cpu.Generic, Code: 1})...)

var (
	initial = [8]uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
		0x1f83d9ab, 0x5be0cd19}
	// afterZeros is the state after a block of zeros, with which expand_message_xmd begins.
	afterZeros = [8]uint32{0xda5698be, 0x17b9b469, 0x62335799, 0x779fbeca, 0x8ce5d491, 0xc0d26243,
		0xbafef9ea, 0x1837a9d8}
)

// messages are as many messages of one padded length as there are lanes. What follows their first
// varying bytes is the same in all, so that a last block without any of these needs one schedule
// for all.
type messages struct {
	start    *[8]uint32
	length   int // with padding
	blocks   int // without a last one that is the same in all
	constant bool
	last     [64]uint32
	bytes    [maxLanes * maxPadded]byte
	digests  [maxLanes * Size]byte
}

// set prepares l messages of varying bytes and then suffix, behind before bytes, after which the
// state is start.
func (m *messages) set(l lanes, start *[8]uint32, before, varying int, suffix ...[]byte) {
	first, n := m.bytes[:maxPadded], varying
	for _, s := range suffix {
		n += copy(first[n:], s)
	}
	m.start, m.length = start, padded(n)
	first = first[:m.length]
	pad(first, n, before)
	for i := 1; i < int(l); i++ {
		copy(m.at(i)[varying:], first[varying:])
	}
	m.blocks = m.length / BlockSize
	if m.constant = (m.blocks-1)*BlockSize >= varying; m.constant {
		m.blocks--
		m.last = schedule(first[m.blocks*BlockSize:])
	}
}

// at is message i with its padding.
func (m *messages) at(i int) []byte { return m.bytes[i*m.length:][:m.length] }

// hash sets the digests.
func (m *messages) hash(l lanes) {
	var last *[64]uint32
	if m.constant {
		last = &m.last
	}
	hash(l, &m.digests[0], &m.bytes[0], uintptr(m.length), m.blocks, m.start, last)
}

// workspace is kept, for it is large.
type workspace struct {
	first, next messages
	buf         []byte
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// worthwhile says whether lanes for n messages are faster than one message after another.
func (l lanes) worthwhile(n int) bool { return 4*n > int(l) }

func (l lanes) sumMany(out, in []byte, length int) {
	if l == 1 || padded(length) > maxPadded {
		sumOneByOne(out, in, length)
		return
	}
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	m := &w.first
	m.set(l, &initial, 0, length)
	for len(out) > 0 {
		n := min(int(l), len(out)/Size)
		if l.worthwhile(n) {
			for i := range n {
				copy(m.at(i), in[i*length:][:length])
			}
			m.hash(l)
			copy(out, m.digests[:n*Size])
		} else {
			sumOneByOne(out[:n*Size], in, length)
		}
		out, in = out[n*Size:], in[n*length:]
	}
}

func (l lanes) expandXMD(out []byte, width int, dstPrime []byte, msgs [][]byte) {
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	tail := []byte{byte(width >> 8), byte(width), 0}
	fits := func(msg []byte) bool {
		return l > 1 && len(dstPrime) <= 256 &&
			padded(len(msg)+len(tail)+len(dstPrime)) <= maxPadded
	}
	length := -1 // for which w is prepared
	for len(msgs) > 0 {
		n := 1
		for n < min(int(l), len(msgs)) && len(msgs[n]) == len(msgs[0]) {
			n++
		}
		if l.worthwhile(n) && fits(msgs[0]) {
			if length < 0 {
				w.next.set(l, &initial, 0, Size+1, dstPrime)
			}
			if length != len(msgs[0]) {
				length = len(msgs[0])
				w.first.set(l, &afterZeros, BlockSize, length, tail, dstPrime)
			}
			w.expand(l, out, width, msgs[:n])
		} else {
			w.buf = expandOneByOne(out, width, dstPrime, msgs[:n], w.buf)
		}
		out, msgs = out[n*width:], msgs[n:]
	}
}

// expand is expand_message_xmd of at most l messages of the length for which w is prepared.
func (w *workspace) expand(l lanes, out []byte, width int, msgs [][]byte) {
	for i, msg := range msgs {
		copy(w.first.at(i), msg)
	}
	w.first.hash(l) // b_0
	clear(w.next.digests[:])
	for done := 0; done < width; done += Size {
		for i := range msgs {
			m := w.next.at(i)
			subtle.XORBytes(m, w.first.digests[i*Size:][:Size], w.next.digests[i*Size:][:Size])
			m[Size] = byte(done/Size + 1)
		}
		w.next.hash(l)
		for i := range msgs {
			copy(out[i*width+done:(i+1)*width], w.next.digests[i*Size:][:Size])
		}
	}
}

// check is the self-test at start-up: lengths on both sides of each change of the padding, whole
// groups and a tail.
func check(candidate, generic lanes) error {
	const most = 2*maxLanes + maxLanes - 1
	var in [most * 130]byte
	for i := range in {
		in[i] = byte(i*i>>3 + i)
	}
	got, want := make([]byte, most*Size), make([]byte, most*Size)
	for _, length := range []int{0, 1, 55, 56, 63, 64, 119, 120, 130} {
		candidate.sumMany(got, in[:most*length], length)
		generic.sumMany(want, in[:most*length], length)
		if !bytes.Equal(got, want) {
			return errors.New("wrong digests")
		}
		msgs := make([][]byte, most)
		for i := range msgs {
			msgs[i] = in[i*length:][:length]
		}
		const width = 40
		got, want := make([]byte, most*width), make([]byte, most*width)
		candidate.expandXMD(got, width, in[:length+1], msgs)
		generic.expandXMD(want, width, in[:length+1], msgs)
		if !bytes.Equal(got, want) {
			return errors.New("wrong expansions")
		}
	}
	return nil
}

// schedule is the message schedule of a block, FIPS 180-4 section 6.2.2 step 1, with the round
// constants added.
func schedule(block []byte) (w [64]uint32) {
	for i := range w {
		if i < 16 {
			w[i] = binary.BigEndian.Uint32(block[4*i:])
			continue
		}
		a, b := w[i-15], w[i-2]
		w[i] = w[i-16] + (bits.RotateLeft32(a, -7) ^ bits.RotateLeft32(a, -18) ^ a>>3) +
			w[i-7] + (bits.RotateLeft32(b, -17) ^ bits.RotateLeft32(b, -19) ^ b>>10)
	}
	for i := range w {
		w[i] += constants[i]
	}
	return w
}

// constants of the rounds, FIPS 180-4 section 4.2.2.
var constants = [64]uint32{
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}
