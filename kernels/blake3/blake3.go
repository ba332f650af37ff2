// Package blake3 computes BLAKE3-256 of single messages and, keyed, of many 64-byte
// messages at once, which is what Merkle trees are made of: a leaf or a node is one
// 64-byte message, one compression.
//
// Content of any size is verified in pieces against its plain digest: Outboard and Encoder make the
// tree above its groups, AppendNodes says what of it a Decoder needs before which groups.
//
// All functions are deterministic and safe for concurrent use. Those over many
// messages use up to GOMAXPROCS goroutines for large inputs and wait for them; none
// allocates per message.
package blake3

import (
	"runtime"
	"sync"

	"github.com/zeebo/blake3"
)

// Size is the size of a digest and of a key, MessageSize that of the messages of the
// functions over many, in bytes.
const (
	Size        = 32
	MessageSize = 64
)

// Key selects a keyed hash function.
type Key [Size]byte

// ContextKey derives the key of a context: the BLAKE3-256 digest of the ASCII string.
func ContextKey(context string) Key { return Key(blake3.Sum256([]byte(context))) }

// Sum256 returns the BLAKE3-256 digest of data.
func Sum256(data []byte) [Size]byte { return blake3.Sum256(data) }

// Keyed returns the keyed BLAKE3-256 digest of data of any length.
func Keyed(key *Key, data []byte) (digest [Size]byte) {
	h := borrow(key)
	h.sum(digest[:0], data)
	h.giveBack()
	return digest
}

// HashMany64 hashes consecutive 64-byte messages: out receives 32 bytes for each. It
// panics unless len(in) is a multiple of 64 and len(out) is half of len(in). The two
// must not overlap.
func HashMany64(key *Key, out, in []byte) {
	if len(in)%MessageSize != 0 {
		panic("blake3: input is not whole messages")
	}
	HashStrided64(key, out, in, MessageSize)
}

// HashStrided64 hashes the 64-byte messages in[i*stride : i*stride+64], for fields of
// fixed-size frames, into out[i*32 : i*32+32]; len(out) says how many. It panics if
// out is not whole digests or in is too short. The two must not overlap.
func HashStrided64(key *Key, out, in []byte, stride int) {
	n := len(out) / Size
	if len(out)%Size != 0 || stride < 0 || n > 0 && len(in) < (n-1)*stride+MessageSize {
		panic("blake3: output and input do not match")
	}
	lanes := kernel.Use()
	split(n, func(lo, hi int) { lanes.hash(key, out[lo*Size:hi*Size], in[lo*stride:], stride) })
}

// HashShort hashes messages of a length of at most 64 bytes, each at the front of a block of 64
// bytes whose rest is zero: out receives 32 bytes for each block of in. It panics as HashMany64
// does, and for another length; a rest that is not zero gives wrong digests. The two must not
// overlap.
func HashShort(key *Key, out, in []byte, length int) {
	if len(in)%MessageSize != 0 || len(out) != len(in)/2 || length < 0 || length > MessageSize {
		panic("blake3: output and input do not match")
	}
	lanes := kernel.Use()
	split(len(out)/Size, func(lo, hi int) {
		lanes.hashShort(key, out[lo*Size:hi*Size], in[lo*MessageSize:], MessageSize, length)
	})
}

// ReduceLevel replaces a tree level of 32-byte nodes by its parents, in place, and
// returns the shorter level: the parent of two neighbours is the keyed hash of both, an
// odd last node is promoted unchanged. It panics unless level is whole nodes.
//
// Repeated until one node is left, this builds the tree of RFC 9162 section 2.1.1,
// which splits n nodes at the largest power of two below n: that split falls on a
// boundary between complete subtrees of every level below it, so both halves reduce
// independently, the left one to a single node in k steps, while the right one, being
// no larger, is down to one node by then and has been promoted since.
func ReduceLevel(key *Key, level []byte) []byte {
	if len(level)%Size != 0 {
		panic("blake3: level is not whole nodes")
	}
	nodes := len(level) / Size
	parents := nodes / 2
	// Every goroutine writes to the start of the range that it alone reads; the results
	// are moved together afterwards.
	lanes := kernel.Use()
	ranges := split(parents, func(lo, hi int) {
		in := level[2*lo*Size:]
		lanes.hash(key, in[:(hi-lo)*Size], in, MessageSize)
	})
	for i := range ranges {
		lo, hi := parents*i/ranges, parents*(i+1)/ranges
		copy(level[lo*Size:], level[2*lo*Size:][:(hi-lo)*Size])
	}
	if nodes%2 == 1 {
		copy(level[parents*Size:], level[(nodes-1)*Size:])
		parents++
	}
	return level[:parents*Size]
}

// Root reduces level after level, in place, and returns the root; that of no nodes is
// zero.
func Root(key *Key, level []byte) (root [Size]byte) {
	for len(level) > Size {
		level = ReduceLevel(key, level)
	}
	copy(root[:], level)
	return root
}

// worthwhile is how many messages a goroutine should have.
const worthwhile = 2048

// split runs work on up to GOMAXPROCS equal ranges of n, waits, and returns their
// number: range i of k is n*i/k to n*(i+1)/k.
func split(n int, work func(lo, hi int)) int {
	k := max(1, min(runtime.GOMAXPROCS(0), n/worthwhile))
	if k == 1 {
		work(0, n)
		return 1
	}
	var wg sync.WaitGroup
	for i := range k {
		wg.Go(func() { work(n*i/k, n*(i+1)/k) })
	}
	wg.Wait()
	return k
}
