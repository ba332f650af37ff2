package blake3

import (
	"encoding/binary"
	"math/bits"
)

// ChunkSize is what BLAKE3 hashes one after the other, in bytes. Chunks are the leaves of its tree.
const ChunkSize = 1024

// The flags of compressions. BLAKE3 paper, section 2.2.
const (
	flagChunkStart = 1
	flagChunkEnd   = 2
	flagParent     = 4
	flagRoot       = 8
)

// iv is the key of plain BLAKE3.
var iv = [8]uint32{
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
}

// compressBlock replaces a chaining value by that of a block of 64 bytes on top of it.
func compressBlock(h *[8]uint32, block *[MessageSize]byte, counter uint64, length, flags uint32) {
	var m [16]uint32
	for i := range m {
		m[i] = binary.LittleEndian.Uint32(block[4*i:])
	}
	a0, a1, a2, a3 := h[0], h[1], h[2], h[3]
	b0, b1, b2, b3 := h[4], h[5], h[6], h[7]
	c0, c1, c2, c3 := iv[0], iv[1], iv[2], iv[3]
	d0, d1, d2, d3 := uint32(counter), uint32(counter>>32), length, flags
	for round := 0; ; round++ {
		a0, b0, c0, d0 = mix(a0, b0, c0, d0, m[0], m[1])
		a1, b1, c1, d1 = mix(a1, b1, c1, d1, m[2], m[3])
		a2, b2, c2, d2 = mix(a2, b2, c2, d2, m[4], m[5])
		a3, b3, c3, d3 = mix(a3, b3, c3, d3, m[6], m[7])
		a0, b1, c2, d3 = mix(a0, b1, c2, d3, m[8], m[9])
		a1, b2, c3, d0 = mix(a1, b2, c3, d0, m[10], m[11])
		a2, b3, c0, d1 = mix(a2, b3, c0, d1, m[12], m[13])
		a3, b0, c1, d2 = mix(a3, b0, c1, d2, m[14], m[15])
		if round == 6 {
			break
		}
		m = [16]uint32{m[2], m[6], m[3], m[10], m[7], m[0], m[4], m[13],
			m[1], m[11], m[12], m[5], m[9], m[14], m[15], m[8]}
	}
	*h = [8]uint32{a0 ^ c0, a1 ^ c1, a2 ^ c2, a3 ^ c3, b0 ^ d0, b1 ^ d1, b2 ^ d2, b3 ^ d3}
}

// mix is the function G.
func mix(a, b, c, d, x, y uint32) (uint32, uint32, uint32, uint32) {
	a += b + x
	d = bits.RotateLeft32(d^a, -16)
	c += d
	b = bits.RotateLeft32(b^c, -12)
	a += b + y
	d = bits.RotateLeft32(d^a, -8)
	c += d
	b = bits.RotateLeft32(b^c, -7)
	return a, b, c, d
}

// chunkValue writes the chaining value of one chunk, which may be short, to out. flags are added to
// those of its last block.
func chunkValue(out, chunk []byte, number uint64, flags uint32) {
	h := iv
	for start := uint32(flagChunkStart); ; start = 0 {
		var block [MessageSize]byte
		n := copy(block[:], chunk)
		if chunk = chunk[n:]; len(chunk) == 0 {
			compressBlock(&h, &block, number, uint32(n), start|flagChunkEnd|flags)
			break
		}
		compressBlock(&h, &block, number, MessageSize, start)
	}
	putValue(out, &h)
}

// parentValue writes the chaining value of the parent of two neighbours, node, to out.
func parentValue(out, node []byte, flags uint32) {
	h := iv
	compressBlock(&h, (*[MessageSize]byte)(node), 0, MessageSize, flagParent|flags)
	putValue(out, &h)
}

func putValue(out []byte, h *[8]uint32) {
	_ = out[Size-1]
	for i, word := range h {
		binary.LittleEndian.PutUint32(out[4*i:], word)
	}
}

// parentState is the state before the compression of a parent.
var parentState = [16]uint32{
	iv[0], iv[1], iv[2], iv[3], iv[4], iv[5], iv[6], iv[7],
	iv[0], iv[1], iv[2], iv[3], 0, 0, MessageSize, flagParent,
}

// few is how many messages are hashed one by one where a vector would mostly be empty.
const few = 2

// parentValues writes the chaining values of consecutive nodes of 64 bytes to out. In place is
// allowed.
func (l lanes) parentValues(out, nodes []byte) {
	n := len(nodes) / MessageSize
	for ; l > 1 && n >= int(l); n -= int(l) {
		compress(l, &out[0], &nodes[0], MessageSize, &parentState)
		out, nodes = out[int(l)*Size:], nodes[int(l)*MessageSize:]
	}
	if l == 1 || n <= few {
		for i := range n {
			parentValue(out[i*Size:], nodes[i*MessageSize:], 0)
		}
		return
	}
	var messages [maxLanes * MessageSize]byte
	var values [maxLanes * Size]byte
	copy(messages[:], nodes[:n*MessageSize])
	compress(l, &values[0], &messages[0], MessageSize, &parentState)
	copy(out, values[:n*Size])
}

// chunkValues writes the chaining values of consecutive whole chunks, of which number is the first,
// to out.
func (l lanes) chunkValues(out, chunks []byte, number uint64) {
	n := len(chunks) / ChunkSize
	if l > 1 && n >= int(l) {
		for at := 0; at < n; at += int(l) {
			at = min(at, n-int(l)) // the last vector may do again what the one before did
			counters := l.counters(number + uint64(at))
			compressChunks(l, &out[at*Size], &chunks[at*ChunkSize], &counters)
		}
		return
	}
	if l == 1 || n <= few {
		for i := range n {
			chunkValue(out[i*Size:], chunks[i*ChunkSize:(i+1)*ChunkSize], number+uint64(i), 0)
		}
		return
	}
	var whole [maxLanes * ChunkSize]byte
	var values [maxLanes * Size]byte
	copy(whole[:], chunks[:n*ChunkSize])
	counters := l.counters(number)
	compressChunks(l, &values[0], &whole[0], &counters)
	copy(out, values[:n*Size])
}

// counters are the numbers of the chunks of a vector: low words, and from the seventeenth the high
// ones.
func (l lanes) counters(number uint64) (counters [2 * maxLanes]uint32) {
	for i := range int(l) {
		counters[i] = uint32(number + uint64(i))
		counters[maxLanes+i] = uint32((number + uint64(i)) >> 32)
	}
	return counters
}

// batchChunks is how many chunks are hashed before their parents are, so that vectors are full.
const batchChunks = MaxGroup / ChunkSize

// groupValues writes the chaining values of consecutive groups to out. Only the last may be short,
// and none is empty; number is that of the first chunk.
func (l lanes) groupValues(out, data []byte, group int, number uint64) {
	var level [batchChunks * Size]byte
	for len(data) >= group {
		n := min(len(data)/group*group, MaxGroup) / ChunkSize
		l.chunkValues(level[:], data[:n*ChunkSize], number)
		nodes := l.reduce(level[:n*Size], n*ChunkSize/group)
		out, data, number = out[copy(out, nodes):], data[n*ChunkSize:], number+uint64(n)
	}
	if len(data) > 0 {
		copy(out, l.reduce(l.shortGroup(level[:], data, number), 1))
	}
}

// shortGroup returns the values of the chunks of one group, the last of which may be short.
func (l lanes) shortGroup(level, data []byte, number uint64) []byte {
	n := len(data) / ChunkSize
	l.chunkValues(level, data[:n*ChunkSize], number)
	if rest := data[n*ChunkSize:]; len(rest) > 0 {
		chunkValue(level[n*Size:], rest, number+uint64(n), 0)
		n++
	}
	return level[:n*Size]
}

// reduce replaces values by those of their parents, in place, until as many are left as said. Root
// says why pairing neighbours builds BLAKE3's tree.
func (l lanes) reduce(level []byte, left int) []byte {
	for len(level) > left*Size {
		n := len(level) / MessageSize
		l.parentValues(level, level[:n*MessageSize])
		odd := level[n*MessageSize:]
		level = level[:n*Size+copy(level[n*Size:], odd)]
	}
	return level
}

// soleGroup is the root of content of one group.
func (l lanes) soleGroup(data []byte) (digest [Size]byte) {
	if len(data) <= ChunkSize {
		chunkValue(digest[:], data, 0, flagRoot)
		return digest
	}
	var level [batchChunks * Size]byte
	nodes := l.reduce(l.shortGroup(level[:], data, 0), 2)
	parentValue(digest[:], nodes, flagRoot)
	return digest
}
