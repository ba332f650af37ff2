package rotation

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

var le = binary.LittleEndian

// NoHolder stands for the holder of an empty seat.
const NoHolder = math.MaxUint32

// The number of seats of a committee that rotates.
const (
	MinSeats = 4
	MaxSeats = 512
)

// MinTermEpochs is the least number of epochs between two draws of a seat: with fewer, a third of
// the seats were due at once.
const MinTermEpochs = 4

// Mark says why a seat is drawn although its turn has not come.
type Mark uint8

// The marks.
const (
	MarkNone   Mark = iota
	MarkDue         // its turn came, but too many seats had moved already
	MarkStayed      // its winner was not ready: this time it moves all the same
)

// Seat is one unit of power.
type Seat struct {
	Holder uint32 // a node; NoHolder when the seat is empty
	Mark   Mark
}

// Seats are those of one term, by index.
type Seats []Seat

// Held returns how many seats a node holds.
func (s Seats) Held(node uint32) (held int) {
	for _, seat := range s {
		if seat.Holder == node {
			held++
		}
	}
	return held
}

// Members returns the nodes that hold seats, ascending.
func (s Seats) Members() []uint32 {
	members := make([]uint32, 0, len(s))
	for _, seat := range s {
		if seat.Holder != NoHolder {
			members = append(members, seat.Holder)
		}
	}
	slices.Sort(members)
	return slices.Compact(members)
}

// Powers returns how many seats each of the members holds, in their order.
func (s Seats) Powers() []int {
	members := s.Members()
	powers := make([]int, len(members))
	for _, seat := range s {
		if i, ok := slices.BinarySearch(members, seat.Holder); ok {
			powers[i]++
		}
	}
	return powers
}

// Digest returns the digest of the holders that a hand-over names: B3 over K × holder u32.
func (s Seats) Digest() rollup.Hash {
	b := make([]byte, 0, 4*len(s))
	for _, seat := range s {
		b = le.AppendUint32(b, seat.Holder)
	}
	return blake3.Sum256(b)
}

// MaxMoves returns how many seats may move or fall empty at once: ⌈K/3⌉ − 1, so that what remains
// is a quorum.
func (s Seats) MaxMoves() int { return (len(s)+2)/3 - 1 }

// SeatsSize returns the size in bytes of the encoding of k seats.
func SeatsSize(k int) int { return 5 * k }

// Append appends the encoding, for each seat holder u32 ‖ mark u8, to dst.
func (s Seats) Append(dst []byte) []byte {
	for _, seat := range s {
		dst = append(le.AppendUint32(dst, seat.Holder), byte(seat.Mark))
	}
	return dst
}

// ParseSeats decodes the encoding of all bytes: ReasonLength, ReasonField.
func ParseSeats(b []byte) (Seats, error) {
	k := len(b) / SeatsSize(1)
	if len(b)%SeatsSize(1) != 0 || k < MinSeats || k > MaxSeats {
		return nil, refuse(ReasonLength, "seats of %d bytes", len(b))
	}
	s := make(Seats, k)
	for i := range s {
		entry := b[SeatsSize(i):]
		s[i] = Seat{Holder: le.Uint32(entry), Mark: Mark(entry[4])}
		if s[i].Mark > MarkStayed {
			return nil, refuse(ReasonField, "seat %d has the mark %d", i, s[i].Mark)
		}
	}
	return s, nil
}
