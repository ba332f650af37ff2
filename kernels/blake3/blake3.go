// Package blake3 computes BLAKE3-256 of single messages and, keyed, of many 64-byte
// messages at once, which is what Merkle trees are made of: a leaf or a node is one
// 64-byte message, one compression.
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
	split(n, func(lo, hi int) {
		h := borrow(key)
		for i := lo; i < hi; i++ {
			h.sum(out[i*Size:i*Size], in[i*stride:i*stride+MessageSize])
		}
		h.giveBack()
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
	ranges := split(parents, func(lo, hi int) {
		h := borrow(key)
		at := 2 * lo * Size
		for i := lo; i < hi; i++ {
			h.sum(level[at:at], level[2*i*Size:][:MessageSize])
			at += Size
		}
		h.giveBack()
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

// split runs work on up to GOMAXPROCS equal ranges of n, waits, and returns their
// number: range i of k is n*i/k to n*(i+1)/k.
func split(n int, work func(lo, hi int)) int {
	const worthwhile = 2048 // messages per goroutine
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

// hasher is a keyed hasher for reuse: one is about ten kilobytes and holds its key.
type hasher struct {
	*blake3.Hasher
	pool *sync.Pool // nil if not kept
}

// sum writes the digest of data to the capacity of out; they may overlap.
func (h *hasher) sum(out, data []byte) {
	h.Reset()
	h.Write(data)
	h.Sum(out)
}

func (h *hasher) giveBack() {
	if h.pool != nil {
		h.pool.Put(h)
	}
}

// pools keeps hashers by key. Keys belong to contexts, of which a protocol has a few;
// beyond maxPools, keys are served without reuse so that this cannot grow.
var pools struct {
	sync.RWMutex
	byKey map[Key]*sync.Pool
}

const maxPools = 64

// borrow returns a hasher for the key.
func borrow(key *Key) *hasher {
	pools.RLock()
	pool := pools.byKey[*key]
	pools.RUnlock()
	if pool == nil {
		pool = newPool(*key)
	}
	if pool != nil {
		if h, ok := pool.Get().(*hasher); ok {
			return h
		}
	}
	keyed, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic(err) // the key has the right size
	}
	return &hasher{keyed, pool}
}

// newPool returns the pool of a key seen for the first time, nil if there are enough.
func newPool(key Key) *sync.Pool {
	pools.Lock()
	defer pools.Unlock()
	if pool := pools.byKey[key]; pool != nil || len(pools.byKey) >= maxPools {
		return pool
	}
	if pools.byKey == nil {
		pools.byKey = make(map[Key]*sync.Pool)
	}
	pool := new(sync.Pool)
	pools.byKey[key] = pool
	return pool
}
