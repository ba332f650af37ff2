package blake3

import (
	"sync"

	"github.com/zeebo/blake3"
)

// generic is hash message by message, with the library.
func generic(key *Key, out, in []byte, stride, length int) {
	h := borrow(key)
	for i := range len(out) / Size {
		h.sum(out[i*Size:i*Size], in[i*stride:i*stride+length])
	}
	h.giveBack()
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
