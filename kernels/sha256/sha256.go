// Package sha256 computes SHA-256 of many short messages at once, and the expand_message_xmd of RFC
// 9380 on it.
//
// All functions are deterministic, safe for concurrent use, work in the calling goroutine and do
// not allocate per message.
package sha256

import (
	"crypto/sha256"
	"encoding/binary"
)

// Size is the size of a digest, BlockSize that of the blocks that are hashed, in bytes.
const (
	Size      = 32
	BlockSize = 64
)

// maxPadded is the longest message, padding included, that is hashed in lanes.
const maxPadded = 512

// SumMany hashes consecutive messages of length bytes each: out receives 32 bytes for each.
// Messages of up to 503 bytes are hashed several at once. It panics unless out is whole digests and
// in as many messages. They must not overlap.
func SumMany(out, in []byte, length int) {
	if length < 0 || len(out)%Size != 0 || len(in) != len(out)/Size*length {
		panic("sha256: output and input do not match")
	}
	kernel.Use().sumMany(out, in, length)
}

// ExpandXMD is expand_message_xmd of RFC 9380, section 5.3.1, of every message: message i is
// expanded to out[i*width : (i+1)*width]. dstPrime comes from [DSTPrime]. Neighbours of one length
// are expanded several at once. It panics if width is not from 1 to 255*32 or out is not one width
// for each message.
func ExpandXMD(out []byte, width int, dstPrime []byte, msgs [][]byte) {
	if width < 1 || width > 255*Size || len(out) != len(msgs)*width {
		panic("sha256: output and messages do not match")
	}
	kernel.Use().expandXMD(out, width, dstPrime, msgs)
}

// DSTPrime is a domain separation tag followed by its length, RFC 9380 section 5.3.1 step 3. A tag
// of more than 255 bytes is hashed first, section 5.3.3.
func DSTPrime(tag string) []byte {
	dst := []byte(tag)
	if len(dst) > 255 {
		hashed := sha256.Sum256(append([]byte("H2C-OVERSIZE-DST-"), dst...))
		dst = hashed[:]
	}
	return append(dst[:len(dst):len(dst)], byte(len(dst)))
}

// padded is the length of a message of n bytes with its padding.
func padded(n int) int { return (n + 1 + 8 + BlockSize - 1) &^ (BlockSize - 1) }

// pad completes a message of n bytes, which stands at the start of the blocks, behind blocks of
// before bytes.
func pad(blocks []byte, n, before int) {
	blocks[n] = 0x80
	clear(blocks[n+1:])
	binary.BigEndian.PutUint64(blocks[len(blocks)-8:], 8*uint64(before+n))
}
