package telemetry

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestPast: what happened in the last hours outlasts the process, but for spans in which there was
// none, and for what is damaged.
func TestPast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "past")
	start := time.UnixMilli(1_700_000_000_000).Truncate(PointSpan)
	open := func(now time.Time) *Past {
		p, err := OpenPast(path, now)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return p
	}
	note := func(p *Past, at time.Time, c Counters, earned uint64) {
		s := healthy()
		s.Taken, s.Node.Earned = at, earned
		s.Chain.Executed, s.Chain.SkewAt = at, at
		if !p.Due(at) {
			t.Errorf("nothing is due at %v", at)
		}
		if err := p.Note(&s, c); err != nil {
			t.Fatal(err)
		}
	}
	p := open(start)
	p.Begin(start.Add(time.Second), Counters{Accepted: 100, Blocks: 7}, 0, 50)
	if p.Due(start.Add(PointSpan - time.Second)) {
		t.Error("a point is due before its span is over")
	}
	note(p, start.Add(PointSpan), Counters{Accepted: 130, Refused: 2, Ordered: 1, Blocks: 30}, 90)
	note(p, start.Add(2*PointSpan), Counters{Accepted: 130, Refused: 2, Ordered: 1, Blocks: 61}, 90)

	later := start.Add(10 * PointSpan) // another process
	p = open(later)
	p.Begin(later, Counters{}, 0, 0)
	note(p, later.Add(PointSpan), Counters{Accepted: 5}, 0)
	got := p.Points(later.Add(PointSpan))
	if len(got) != 3 || !got[0].Start.Equal(start) ||
		got[0].Counters != (Counters{30, 2, 1, 23}) || got[0].Earned != 40 || !got[0].Ready ||
		got[1].Counters != (Counters{Blocks: 31}) || !got[2].Start.Equal(later) ||
		got[2].Accepted != 5 {
		t.Fatalf("%+v", got)
	}
	if got := p.Points(start.Add(PastSpan)); len(got) != 2 {
		t.Errorf("%d points when one is too old", len(got))
	}

	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := slices.Clone(file)
	file[place(spanOf(start))*pointSize+9] ^= 1 // of the first point
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := open(later).Points(later); len(got) != 2 {
		t.Errorf("%d points of which one is damaged: %+v", len(got), got)
	}
	if err := os.WriteFile(path, whole[:len(whole)-pointSize-3], 0o600); err != nil {
		t.Fatal(err)
	}
	if got := open(later).Points(later); len(got) > 2 {
		t.Errorf("%d points of a file that was cut", len(got))
	}
	if got := open(start.Add(48 * time.Hour)).Points(start.Add(48 * time.Hour)); len(got) != 0 {
		t.Errorf("%d points of two days ago", len(got))
	}
	if size := int64(points * pointSize); size > 100<<10 {
		t.Errorf("the file can have %d bytes", size)
	}

	p, err = OpenPast(t.TempDir(), start) // no file
	if err == nil {
		t.Error("a folder is a file")
	}
	p.Begin(start, Counters{}, 0, 0)
	note(p, start.Add(PointSpan), Counters{Accepted: 1}, 0)
	if got := p.Points(start.Add(PointSpan)); len(got) != 1 {
		t.Errorf("%d points in memory", len(got))
	}
}

func TestPointBytes(t *testing.T) {
	want := Point{Start: time.UnixMilli(1_700_000_000_000), Counters: Counters{1, 2, 3, 4},
		Delivered: math.MaxUint64, Earned: 6, Warned: true}
	b := want.encode()
	var got Point
	if len(b) != pointSize || !got.decode(b) || got != want {
		t.Errorf("%d bytes, %+v", len(b), got)
	}
	for i := range b {
		b[i] ^= 0x10
		if got.decode(b) {
			t.Errorf("byte %d is wrong, and the point is whole", i)
		}
		b[i] ^= 0x10
	}
	if got.decode(make([]byte, pointSize)) {
		t.Error("zeros are a point")
	}
}
