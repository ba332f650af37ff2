package outsider

import (
	"fmt"
	"strings"
	"testing"
)

func TestKeccak(t *testing.T) {
	for in, want := range map[string]string{ // as in the Keccak team's test vectors
		"":    "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
		"abc": "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
	} {
		if got := keccak256([]byte(in)); fmt.Sprintf("%x", got) != want {
			t.Errorf("%q: %x", in, got)
		}
	}
}

// TestPartialRows divides totals among segments.
func TestPartialRows(t *testing.T) {
	p, q := pair{1, 1}, pair{2, 1}
	for _, c := range []struct {
		name  string
		parts []map[pair]sum // of all segments but the last
		last  map[pair]sum   // nil: refused
	}{
		{"some", []map[pair]sum{{p: {1, 10}}, {p: {2, 20}, q: {5, 50}}},
			map[pair]sum{p: {7, 70}, q: {0, 0}}},
		{"none", []map[pair]sum{{}, {}}, map[pair]sum{p: {10, 100}, q: {5, 50}}},
		{"too many acks", []map[pair]sum{{p: {6, 10}}, {p: {5, 10}}}, nil},
		{"too many units", []map[pair]sum{{p: {1, 60}}, {p: {1, 41}}}, nil},
		{"another row", []map[pair]sum{{}, {{3, 1}: {1, 1}}}, nil},
	} {
		segments := []segment{{rows: c.parts[0]}, {rows: c.parts[1]}, {rows: map[pair]sum{}}}
		err := divide(segments, map[pair]sum{p: {10, 100}, q: {5, 50}})
		if (err != nil) != (c.last == nil) ||
			c.last != nil && fmt.Sprint(segments[2].rows) != fmt.Sprint(c.last) {
			t.Errorf("%s: %v, %v", c.name, segments[2].rows, err)
		}
	}
}

// TestPlausible holds a segment's table to what the list shows.
func TestPlausible(t *testing.T) {
	p, q := pair{1, 1}, pair{2, 1}
	list := []listEntry{{0, 1, 0, 2, true}, {1, 1, 0, 5, false}, {2, 1, 7, 3, true}}
	payers, caps := []uint32{1, 2, 1}, map[uint32]uint64{1: 10}
	for _, c := range []struct {
		name string
		rows map[pair]sum
		want string
	}{
		{"the most units", map[pair]sum{p: {5, 50}}, ""},
		{"the fewest", map[pair]sum{p: {5, 5}, q: {0, 0}}, ""},
		{"an ack less", map[pair]sum{p: {4, 40}}, "acks of a segment's row"},
		{"an ack more", map[pair]sum{p: {6, 40}}, "acks of a segment's row"},
		{"what was not signed", map[pair]sum{p: {5, 5}, q: {5, 5}}, "acks of a segment's row"},
		{"units above the caps", map[pair]sum{p: {5, 51}}, "units of a segment's row"},
		{"units below the acks", map[pair]sum{p: {5, 4}}, "units of a segment's row"},
		{"units of nothing", map[pair]sum{p: {5, 5}, q: {0, 1}}, "units of a segment's row"},
	} {
		s := segment{rows: c.rows}
		err := s.plausible(list, payers, caps, map[pair]sum{p: {}, q: {}})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
