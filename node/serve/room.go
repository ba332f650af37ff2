package serve

import (
	"sync"

	"github.com/waybill-network/waybill/rollup/delivery"
)

const (
	// sliceBytes are read and written at once, when a stream has gone so far: see outlet.step.
	sliceBytes = 16 * delivery.GroupSize
	// rooms is how many bytes all streams together may read ahead of their connections, about.
	rooms = 256 << 20
	// frameRoom is for the frame in front: of the first run of the largest content.
	frameRoom = 16 << 10
)

// roomPools have rooms for 1, 2, 4, 8 and 16 groups, with a frame in front.
var roomPools [5]sync.Pool

// room is where a stream puts together what it writes. It grows with the stream, so that a small
// content takes little. It is of all streams, by turns.
type room struct {
	bytes []byte
	class int
}

// of returns an empty slice with a capacity of at least n.
func (r *room) of(n int) []byte {
	if cap(r.bytes) >= n {
		return r.bytes[:0]
	}
	r.release()
	for i := range roomPools {
		size := delivery.GroupSize<<i + frameRoom
		if size < n {
			continue
		}
		if b, ok := roomPools[i].Get().(*[]byte); ok {
			r.bytes = *b
		} else {
			r.bytes = make([]byte, 0, size)
		}
		r.class = i
		return r.bytes
	}
	r.bytes, r.class = make([]byte, 0, n), len(roomPools)
	return r.bytes
}

// release gives the room back. What was made of it must not be used any more.
func (r *room) release() {
	if r.bytes != nil && r.class < len(roomPools) {
		b := r.bytes[:0]
		roomPools[r.class].Put(&b)
	}
	r.bytes = nil
}
