package rotation

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// Coding is how a report's verdicts are written.
type Coding uint8

// The codings. A bitmap has bit i mod 8 of byte i/8 set when candidate i is healthy. Differences
// are those between the unhealthy, the first as it is, each as LEB128 in its shortest form.
const (
	CodingBitmap Coding = iota
	CodingDifferences
)

// Verdicts are what one member says of the candidates, by their position among them.
type Verdicts struct {
	candidates int
	unhealthy  []uint32 // ascending
}

// NewVerdicts returns the verdicts on a number of candidates. The unhealthy ascend and are below
// that number: ReasonOrder, ReasonField. They are kept.
func NewVerdicts(candidates int, unhealthy []uint32) (*Verdicts, error) {
	for i, u := range unhealthy {
		if i > 0 && unhealthy[i-1] >= u {
			return nil, refuse(ReasonOrder, "candidate %d", u)
		}
		if int64(u) >= int64(candidates) {
			return nil, refuse(ReasonField, "candidate %d of %d", u, candidates)
		}
	}
	return &Verdicts{candidates, unhealthy}, nil
}

// Healthy reports the verdict on a candidate.
func (v *Verdicts) Healthy(candidate int) bool {
	_, unhealthy := slices.BinarySearch(v.unhealthy, uint32(candidate))
	return !unhealthy
}

// Encode returns the shorter of the two codings, the bitmap when they are as long as each other.
func (v *Verdicts) Encode() (Coding, []byte) {
	differences := make([]byte, 0, len(v.unhealthy)+8)
	var last uint32
	for _, u := range v.unhealthy {
		differences = binary.AppendUvarint(differences, uint64(u-last))
		last = u
	}
	if len(differences) < bitmapSize(v.candidates) {
		return CodingDifferences, differences
	}
	bitmap := make([]byte, bitmapSize(v.candidates))
	for i := range v.candidates {
		bitmap[i/8] |= 1 << (i % 8)
	}
	for _, u := range v.unhealthy {
		bitmap[u/8] &^= 1 << (u % 8)
	}
	return CodingBitmap, bitmap
}

func bitmapSize(candidates int) int { return (candidates + 7) / 8 }

// ParseVerdicts decodes verdicts on a number of candidates. Each has one encoding: ReasonLength,
// ReasonField, ReasonOrder, ReasonCoding.
func ParseVerdicts(coding Coding, data []byte, candidates int) (*Verdicts, error) {
	var unhealthy []uint32
	var err error
	switch coding {
	case CodingBitmap:
		unhealthy, err = parseBitmap(data, candidates)
	case CodingDifferences:
		unhealthy, err = parseDifferences(data, candidates)
	default:
		err = refuse(ReasonCoding, "coding %d", coding)
	}
	if err != nil {
		return nil, err
	}
	v := &Verdicts{candidates, unhealthy}
	if only, _ := v.Encode(); only != coding {
		return nil, refuse(ReasonCoding, "coding %d, not %d", coding, only)
	}
	return v, nil
}

func parseBitmap(data []byte, candidates int) (unhealthy []uint32, err error) {
	if len(data) != bitmapSize(candidates) {
		return nil, refuse(ReasonLength, "%d bytes for %d candidates", len(data), candidates)
	}
	if candidates%8 != 0 && data[len(data)-1]>>(candidates%8) != 0 {
		return nil, refuse(ReasonField, "a bit beyond candidate %d", candidates-1)
	}
	for i := range candidates {
		if data[i/8]>>(i%8)&1 == 0 {
			unhealthy = append(unhealthy, uint32(i))
		}
	}
	return unhealthy, nil
}

func parseDifferences(data []byte, candidates int) (unhealthy []uint32, err error) {
	var last uint64
	for len(data) > 0 {
		v, n := binary.Uvarint(data)
		switch {
		case n <= 0 || n > 1 && data[n-1] == 0:
			return nil, refuse(ReasonField, "no LEB128 in its shortest form")
		case v >= uint64(candidates)-min(last, uint64(candidates)):
			return nil, refuse(ReasonField, "a candidate beyond %d", candidates)
		case v == 0 && len(unhealthy) > 0:
			return nil, refuse(ReasonOrder, "candidate %d twice", last)
		}
		last += v
		unhealthy, data = append(unhealthy, uint32(last)), data[n:]
	}
	return unhealthy, nil
}

// Probers is how many members probe each candidate on average, when there are more.
const Probers = 24

// MaxProbed is the number of candidates up to which every member probes all of them.
const MaxProbed = 4096

var probeKey = blake3.ContextKey("waybill/probe/2")

// Assigned reports whether a member, by its position among so many, has a say on a candidate: on
// each of up to MaxProbed candidates, else on those that the seed gives it, Probers to a candidate
// on average.
func Assigned(seed rollup.Hash, members, member int, candidates int, candidate uint32) bool {
	if candidates <= MaxProbed || members <= Probers {
		return true
	}
	b := make([]byte, 0, 32+2+4)
	b = append(b, seed[:]...)
	b = le.AppendUint32(le.AppendUint16(b, uint16(member)), candidate)
	digest := blake3.Keyed(&probeKey, b)
	bound, _ := bits.Div64(Probers, 0, uint64(members))
	return le.Uint64(digest[:]) < bound
}

// Tally counts the reports of an epoch: what the seats say of each candidate.
type Tally struct {
	healthy, asked []uint32 // seats, by candidate
}

// NewTally returns a tally of no reports on a number of candidates.
func NewTally(candidates int) *Tally {
	return &Tally{make([]uint32, candidates), make([]uint32, candidates)}
}

// Add counts the verdicts of a member with a number of seats, as far as it has a say.
func (t *Tally) Add(v *Verdicts, seats int, assigned func(candidate int) bool) {
	unhealthy := v.unhealthy
	for i := range t.asked {
		said := len(unhealthy) > 0 && unhealthy[0] == uint32(i)
		if said {
			unhealthy = unhealthy[1:]
		}
		if !assigned(i) {
			continue
		}
		t.asked[i] += uint32(seats)
		if !said {
			t.healthy[i] += uint32(seats)
		}
	}
}

// Healthy reports the verdict of all: half of the seats that had a say at least, and one of them,
// found the candidate healthy. It is the weighted median of what they said.
func (t *Tally) Healthy(candidate int) bool {
	return t.healthy[candidate] > 0 && 2*t.healthy[candidate] >= t.asked[candidate]
}
