package pipeline

import (
	"math/bits"
	"math/rand/v2"

	"github.com/waybill-network/waybill/rollup"
)

// table finds acks by (client, service, number): open addressing with linear probing, at most half
// full. A slot is zero or 32 bits of the hash and the ack's index plus one. The seed keeps clients
// from choosing colliding numbers.
type table struct {
	slots []uint64
	seed  uint64
}

const tableSlots = 2 * rollup.MaxAcks

func (t *table) reset() {
	if t.slots == nil {
		t.slots = make([]uint64, tableSlots)
	} else {
		clear(t.slots)
	}
	t.seed = rand.Uint64() | 1
}

func (t *table) hash(client uint64, service, number uint32) uint64 {
	hi, lo := bits.Mul64(client^t.seed, 0x9e3779b97f4a7c15)
	hi, lo = bits.Mul64(hi^lo^(uint64(service)<<32|uint64(number)), 0xd6e8feb86659fd93)
	return hi ^ lo
}

// find returns the place of an ack that was not dropped: marks, when there are some, say which
// were.
func (t *table) find(frames []byte, marks []uint8, client uint64, service,
	number uint32) (int, bool) {
	h := t.hash(client, service, number)
	for i := h % tableSlots; t.slots[i] != 0; i = (i + 1) % tableSlots {
		if t.slots[i]>>32 != h>>32 {
			continue
		}
		at := int(uint32(t.slots[i])) - 1
		f := rollup.Frame(frames[at*rollup.AckSize : (at+1)*rollup.AckSize])
		if f.Client() == client && f.Service() == service && f.Number() == number &&
			(at >= len(marks) || marks[at]&markLost == 0) {
			return at, true
		}
	}
	return 0, false
}

// insert adds an ack that find did not find.
func (t *table) insert(client uint64, service, number uint32, at int) {
	h := t.hash(client, service, number)
	i := h % tableSlots
	for t.slots[i] != 0 {
		i = (i + 1) % tableSlots
	}
	t.slots[i] = h>>32<<32 | uint64(at+1)
}
