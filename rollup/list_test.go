package rollup

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// entry is a list's entry in which every field counts.
func entry(client uint64, service uint32, signed bool) ListEntry {
	return ListEntry{Run{client, service, 300 + service, 5}, signed}
}

func TestList(t *testing.T) {
	for _, l := range []List{
		{entry(0, 0, true)},
		{entry(MaxClients-1, 1<<32-301, true)},
		{{Run{0, 1<<32 - 1, 1<<32 - 1, 1<<22 - 1}, false}, entry(MaxClients-1, 0, true),
			entry(MaxClients-1, 1<<31, true)},
		{entry(5, 1, true), entry(5, 2, true), entry(6, 0, false), entry(69, 0, true),
			entry(70, 127, false), entry(70+8191, 128, true), entry(70+8191+8192, 0, false)},
	} {
		b := l.Append(nil)
		parsed, err := ParseList(b)
		if err != nil || !slices.Equal(parsed, l) {
			t.Errorf("%v: %v, %v", l, parsed, err)
		}
		var leaves [][]byte
		for _, e := range l {
			leaf := le.AppendUint64(nil, e.Client)
			leaf = le.AppendUint32(le.AppendUint32(le.AppendUint32(leaf, e.Service), e.First), e.Count)
			signed := byte(0)
			if e.Signed {
				signed = 1
			}
			leaves = append(leaves, append(leaf, signed))
		}
		if want := mth("list", leaves); l.Root() != want {
			t.Errorf("root %s, not %s", l.Root(), want)
		}
	}
	long := make(List, MaxStatements)
	for i := range long {
		long[i] = ListEntry{Run{uint64(i)<<24 | 0xffffff, 1<<32 - 1, 1<<32 - 1, 1<<22 - 1}, i%3 == 0}
	}
	if b := long.Append(nil); len(b) > MaxListSize {
		t.Errorf("%d bytes", len(b))
	} else if parsed, err := ParseList(b); err != nil || !slices.Equal(parsed, long) {
		t.Error(err)
	}
}

// listOf encodes a list whose entries are four numbers each.
func listOf(entries ...[4]uint64) []byte {
	b := le.AppendUint32(nil, uint32(len(entries)))
	for _, e := range entries {
		for _, v := range e {
			b = binary.AppendUvarint(b, v)
		}
	}
	return b
}

func TestBadLists(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"good":                 {listOf([4]uint64{1, 0, 0, 1}), nil},
		"nothing":              {nil, ErrMalformed},
		"half a count":         {[]byte{1, 0, 0}, ErrMalformed},
		"no entries":           {[]byte{0, 0, 0, 0}, ErrCount},
		"65,537 entries":       {append([]byte{1, 0, 1, 0}, make([]byte, 4*65537)...), ErrCount},
		"an entry missing":     {append([]byte{2, 0, 0, 0}, 1, 0, 0, 1), ErrMalformed},
		"an entry too many":    {append(listOf([4]uint64{1, 0, 0, 1}), 1, 0, 0, 1), ErrMalformed},
		"cut in a number":      {[]byte{1, 0, 0, 0, 1, 0, 0, 0x81}, ErrMalformed},
		"longer than it needs": {[]byte{1, 0, 0, 0, 0x81, 0, 0, 0, 1}, ErrMalformed},
		"acks in two bytes":    {[]byte{1, 0, 0, 0, 1, 0, 0, 0x81, 0}, ErrMalformed},
		"client 2^40":          {listOf([4]uint64{1 << 41, 0, 0, 1}), ErrMalformed},
		"client 2^40 in two": {listOf([4]uint64{1<<41 - 1, 0, 0, 1}, [4]uint64{3, 0, 0, 1}),
			ErrMalformed},
		"client 2^63":          {listOf([4]uint64{1<<64 - 1, 0, 0, 1}), ErrMalformed},
		"service 2^32":         {listOf([4]uint64{1, 1 << 32, 0, 1}), ErrMalformed},
		"first 2^32":           {listOf([4]uint64{1, 0, 1 << 32, 1}), ErrMalformed},
		"acks 2^32":            {listOf([4]uint64{1, 0, 0, 1<<32 + 1}), ErrMalformed},
		"acks 2^22":            {listOf([4]uint64{1, 0, 0, 1 << 22}), ErrList},
		"most acks":            {listOf([4]uint64{1, 0, 0, 1<<22 - 1}), nil},
		"no acks":              {listOf([4]uint64{1, 0, 0, 0}), ErrList},
		"twice":                {listOf([4]uint64{5, 1, 0, 1}, [4]uint64{1, 1, 0, 1}), ErrUnsorted},
		"twice, other numbers": {listOf([4]uint64{5, 1, 0, 1}, [4]uint64{1, 1, 1, 1}), ErrUnsorted},
		"services not sorted":  {listOf([4]uint64{5, 1, 0, 1}, [4]uint64{1, 0, 0, 1}), ErrUnsorted},
		"nobody signed":        {listOf([4]uint64{4, 0, 0, 1}, [4]uint64{2, 0, 0, 1}), ErrList},
		"signed and not":       {listOf([4]uint64{5, 0, 0, 1}, [4]uint64{0, 1, 0, 1}), ErrList},
		"not and signed":       {listOf([4]uint64{4, 0, 0, 1}, [4]uint64{1, 1, 0, 1}), ErrList},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseList(c.b)
			wantError(t, err, c.want)
		})
	}
}

// FuzzParseList: what decodes is what encodes.
func FuzzParseList(f *testing.F) {
	f.Add(listOf([4]uint64{5, 1, 0, 1}, [4]uint64{1, 2, 7, 300}))
	f.Add(randomCosigned(rand.New(rand.NewPCG(1, 1)), 40).evidence.List.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseList(b)
		if err != nil {
			return
		}
		wantBytes(t, "encoding", l.Append(nil), b)
	})
}
