package text

import (
	"math"
	"strings"
	"testing"
)

func TestFormats(t *testing.T) {
	hash, key := strings.Repeat("0123456789abcdef", 4), strings.Repeat("0123456789abcdef", 12)
	for _, c := range []struct{ got, want string }{
		{Ranges(nil), ""},
		{Ranges([]uint32{4}), "4"},
		{Ranges([]uint32{0, 1, 2, 5, 7, 8}), "0–2, 5, 7–8"},
		{ShortHashes("root " + hash + "; by " + key + "."),
			"root 0123456789abcdef…; by 0123456789abcdef…."},
		{ShortHashes("284fdb25a0e2b640"), "284fdb25a0e2b640"},
		{Credits(12_345_678_901), "12\u202f345.678901"},
		{Plural(1, "ack"), "1 ack"},
		{Plural(0, "ack"), "0 acks"},
		{Plural(uint64(1234), "ack"), "1\u202f234 acks"},
		{Noun(2, "row"), "rows"},
		{Grouped(999), "999"},
		{Grouped(-1000), "−1\u202f000"},
		{Grouped(int64(math.MinInt64)), "−9\u202f223\u202f372\u202f036\u202f854\u202f775\u202f808"},
		{Grouped(uint64(math.MaxUint64)),
			"18\u202f446\u202f744\u202f073\u202f709\u202f551\u202f615"},
		{Grouped(1234.9), "1\u202f234"},
		{Bytes(0), "0 B"},
		{Bytes(0.5), "0.5 B"},
		{Bytes(999), "999 B"},
		{Bytes(1000), "1000 B"},
		{Bytes(1024), "1 KiB"},
		{Bytes(3 << 19), "1.5 MiB"},
		{Bytes(uint64(3 << 29)), "1.5 GiB"},
		{Bytes(1<<30 - 1), "1 GiB"},
		{Bytes(uint64(math.MaxUint64)), "16 EiB"},
		{Nanos(0.5), "0.5 ns"},
		{Nanos(999), "999 ns"},
		{Nanos(1e3), "1 µs"},
		{Nanos(1.25e7), "12.5 ms"},
		{Nanos(2e9), "2 s"},
		{Nanos(4e12), "4000 s"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	Table(&b, []string{">n", "name"}, [][]string{{"7", "é"}, {"1000", "b"}})
	if want := "   n  name\n────  ────\n   7  é\n1000  b\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	b.Reset()
	Pairs(&b, "a", "1", "long", "2")
	if want := "a     1\nlong  2\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
