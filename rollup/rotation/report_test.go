package rotation

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

func verdicts(t testing.TB, n int, unhealthy ...uint32) *Verdicts {
	t.Helper()
	v, err := NewVerdicts(n, unhealthy)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerdictsCode(t *testing.T) {
	for _, c := range []struct {
		n         int
		unhealthy []uint32
		coding    Coding
		data      []byte
	}{
		{0, nil, CodingBitmap, []byte{}},
		{8, nil, CodingDifferences, []byte{}},
		{8, []uint32{0}, CodingBitmap, []byte{0xfe}}, // a tie
		{9, []uint32{0}, CodingDifferences, []byte{0}},
		{10, []uint32{0, 9}, CodingBitmap, []byte{0xfe, 1}},
		{1000, []uint32{3, 4, 999}, CodingDifferences, []byte{3, 1, 0xe3, 7}},
	} {
		coding, data := verdicts(t, c.n, c.unhealthy...).Encode()
		if coding != c.coding || !bytes.Equal(data, c.data) {
			t.Errorf("%d, %v: %d, %x", c.n, c.unhealthy, coding, data)
		}
		back, err := ParseVerdicts(coding, data, c.n)
		if err != nil || !slices.Equal(back.unhealthy, c.unhealthy) {
			t.Errorf("%d, %v: back %v, %v", c.n, c.unhealthy, back, err)
		}
	}
}

func TestVerdictsRefuse(t *testing.T) {
	for name, c := range map[string]struct {
		coding Coding
		data   []byte
		n      int
		want   Reason
	}{
		"a third coding":      {2, nil, 8, ReasonCoding},
		"the longer coding":   {CodingBitmap, []byte{0xfe, 0xff}, 16, ReasonCoding},
		"a tie":               {CodingDifferences, []byte{0}, 8, ReasonCoding},
		"a short bitmap":      {CodingBitmap, []byte{0}, 9, ReasonLength},
		"a bit too many":      {CodingBitmap, []byte{0, 2}, 9, ReasonField},
		"one too far":         {CodingDifferences, []byte{8}, 8, ReasonField},
		"two too far":         {CodingDifferences, []byte{90, 10}, 100, ReasonField},
		"far too far":         {CodingDifferences, bytes.Repeat([]byte{0xff}, 12), 999, ReasonField},
		"twice the same":      {CodingDifferences, []byte{5, 0}, 100, ReasonOrder},
		"a long form":         {CodingDifferences, []byte{0x85, 0}, 100, ReasonField},
		"an unfinished value": {CodingDifferences, []byte{0x85}, 100, ReasonField},
	} {
		if _, err := ParseVerdicts(c.coding, c.data, c.n); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, not %v", name, err, c.want)
		}
	}
	if _, err := NewVerdicts(5, []uint32{2, 2}); !errors.Is(err, ReasonOrder) {
		t.Error(err)
	}
	if _, err := NewVerdicts(5, []uint32{5}); !errors.Is(err, ReasonField) {
		t.Error(err)
	}
}

func FuzzVerdicts(f *testing.F) {
	f.Add(uint8(0), []byte{0xfe, 1}, uint16(10))
	f.Add(uint8(1), []byte{3, 1, 0xe3, 7}, uint16(1000))
	f.Fuzz(func(t *testing.T, coding uint8, data []byte, n uint16) {
		v, err := ParseVerdicts(Coding(coding), data, int(n))
		if err != nil {
			return
		}
		if again, back := v.Encode(); again != Coding(coding) || !bytes.Equal(back, data) {
			t.Fatalf("%d %x, again %d %x", coding, data, again, back)
		}
	})
}

// TestTally holds the count against each candidate's sums, and against who has a say.
func TestTally(t *testing.T) {
	const n = 40
	r := rng(5)
	for range 200 {
		tally := NewTally(n)
		var yes, all [n]int
		for member := range 7 {
			var unhealthy []uint32
			for i := range uint32(n) {
				if r.IntN(3) == 0 {
					unhealthy = append(unhealthy, i)
				}
			}
			seats, v := 1+r.IntN(9), verdicts(t, n, unhealthy...)
			assigned := func(i int) bool { return (i+member)%5 != 0 }
			tally.Add(v, seats, assigned)
			for i := range n {
				if assigned(i) {
					all[i] += seats
				}
				if assigned(i) && v.Healthy(i) {
					yes[i] += seats
				}
			}
		}
		for i := range n {
			if want := yes[i] > 0 && 2*yes[i] >= all[i]; tally.Healthy(i) != want {
				t.Fatalf("candidate %d: %d of %d", i, yes[i], all[i])
			}
		}
	}
	if NewTally(1).Healthy(0) {
		t.Error("a candidate that nobody was asked about is healthy")
	}
}

// TestAssigned: many candidates are shared out, so that each has about Probers of them.
func TestAssigned(t *testing.T) {
	if !Assigned(seedOf(1), 128, 5, MaxProbed, 3) || !Assigned(seedOf(1), Probers, 5, 9999, 3) {
		t.Error("few candidates, or few members, and not everybody has a say")
	}
	const members, tried = 128, 2000
	got := 0
	for m := range members {
		for c := range uint32(tried) {
			if Assigned(seedOf(1), members, m, 10_000, c) {
				got++
			}
		}
	}
	if want := Probers * tried; got < want*97/100 || got > want*103/100 {
		t.Errorf("%d probes, about %d expected", got, want)
	}
}
