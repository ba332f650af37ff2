package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/waybill-network/waybill/rollup"
)

type pair struct{ key, value []byte }

// stream writes records, and returns the stream with what is signed of it.
func stream(t testing.TB, records []pair) ([]byte, Summary, *rollup.Tree) {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, r := range records {
		if err := w.Put(r.key, r.value); err != nil {
			t.Fatal(err)
		}
	}
	s, leaves, err := w.End()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), s, Tree(leaves)
}

func some(sizes ...int) (list []pair) {
	for i, size := range sizes {
		value := bytes.Repeat([]byte{byte(i)}, size)
		list = append(list, pair{binary.BigEndian.AppendUint32([]byte("k"), uint32(i)), value})
	}
	return list
}

func chunk(b []byte, s *Summary, i uint64) []byte {
	return b[i*ChunkSize:][:s.Size(i)]
}

func TestStream(t *testing.T) {
	head := 1 + 5 + 4
	for name, sizes := range map[string][]int{
		"one empty value":    {0},
		"a short one":        {1, 0, 300},
		"a whole chunk":      {ChunkSize - head},
		"a chunk and a byte": {ChunkSize - head + 1},
		"a cut head":         {ChunkSize - head - 7, 40},
		"many":               {3 * ChunkSize, 5, ChunkSize, 1 << 10, 2*ChunkSize + 1},
	} {
		t.Run(name, func(t *testing.T) {
			records := some(sizes...)
			b, s, tree := stream(t, records)
			if int(s.Bytes) != len(b) || int(s.Chunks()) != tree.Len() || s.Root != tree.Root() {
				t.Fatalf("%d bytes of %d, %d chunks of %d", s.Bytes, len(b), s.Chunks(), tree.Len())
			}
			for i := range s.Chunks() {
				if err := s.Check(i, chunk(b, &s, i), tree.Path(int(i))); err != nil {
					t.Error(err)
				}
			}
			i := 0
			for r, err := range Records(bytes.NewReader(b)) {
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(r.Key, records[i].key) || !bytes.Equal(r.Value, records[i].value) {
					t.Fatalf("record %d is another", i)
				}
				i++
			}
			if i != len(records) {
				t.Errorf("%d records of %d", i, len(records))
			}
		})
	}
}

// TestFlipped flips each byte of a short last chunk, and some of a whole one, and of the paths.
func TestFlipped(t *testing.T) {
	b, s, tree := stream(t, some(ChunkSize, 200, 30))
	for i := range s.Chunks() {
		good, path := chunk(b, &s, i), tree.Path(int(i))
		for at := 0; at < len(good); at += max(1, len(good)/256) {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << (at % 8)
			if err := s.Check(i, bad, path); !errors.Is(err, ErrChunk) {
				t.Fatalf("chunk %d with byte %d flipped: %v", i, at, err)
			}
		}
		for step := range path {
			for at := range path[step] {
				bad := append([]rollup.Hash(nil), path...)
				bad[step][at] ^= 0x10
				if err := s.Check(i, good, bad); !errors.Is(err, ErrChunk) {
					t.Fatalf("a flipped path: %v", err)
				}
			}
		}
		for name, err := range map[string]error{
			"a shorter one":   s.Check(i, good[:len(good)-1], path),
			"a longer one":    s.Check(i, append(bytes.Clone(good), 0), path),
			"another place":   s.Check(i^1, good, path),
			"behind the last": s.Check(s.Chunks(), good, path),
			"a shorter path":  s.Check(i, good, path[1:]),
		} {
			if !errors.Is(err, ErrChunk) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for _, bytes := range []uint64{0, MaxChunks*ChunkSize + 1, 1<<64 - 1} {
		if n := (&Summary{Bytes: bytes}).Chunks(); n != 0 {
			t.Errorf("%d bytes are %d chunks", bytes, n)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	w := NewWriter(new(bytes.Buffer))
	if err := w.Put([]byte("m"), nil); err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string][]byte{"the same key": []byte("m"), "a lower key": []byte("a"),
		"an empty key": {}, "a long key": make([]byte, 256)} {
		if err := w.Put(key, nil); !errors.Is(err, ErrRecords) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func readAll(b []byte) (n int, err error) {
	for _, err := range Records(bytes.NewReader(b)) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func TestReaderRefuses(t *testing.T) {
	good, _, _ := stream(t, some(3, 4))
	for name, b := range map[string][]byte{
		"an empty key":       {0, 0, 0, 0, 0},
		"a large value":      {1, 'a', 1, 0, 0, 0x10},
		"the same key twice": append(bytes.Clone(good), good...),
	} {
		if _, err := readAll(b); !errors.Is(err, ErrRecords) {
			t.Errorf("%s: %v", name, err)
		}
	}
	whole := map[int]int{0: 0, len(good) - 14: 1, len(good): 2}
	for cut := range len(good) + 1 {
		n, err := readAll(good[:cut])
		want, ends := whole[cut]
		if ends && (err != nil || n != want) || !ends && !errors.Is(err, ErrRecords) {
			t.Errorf("cut at %d: %d records, %v", cut, n, err)
		}
	}
}

// FuzzRecords demands that a stream that is read is written again as it was, and that a reader
// takes no more memory than the stream has.
func FuzzRecords(f *testing.F) {
	good, _, _ := stream(f, some(3, 0, 100))
	f.Add(good)
	f.Add([]byte{1, 'a', 0xff, 0xff, 0xff, 0x0f, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again bytes.Buffer
		w := NewWriter(&again)
		for r, err := range Records(bytes.NewReader(b)) {
			if err != nil {
				return
			}
			if cap(r.Value) > 8192+4*len(b) {
				t.Fatalf("%d bytes for a stream of %d", cap(r.Value), len(b))
			}
			if err := w.Put(r.Key, r.Value); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := w.End(); err != nil || !bytes.Equal(again.Bytes(), b) {
			t.Fatalf("written again: %x, %v", again.Bytes(), err)
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	value := make([]byte, 128)
	for range b.N {
		w := NewWriter(discard{})
		for i := range uint32(1 << 17) {
			if err := w.Put(binary.BigEndian.AppendUint32([]byte("cccccccc"), i), value); err != nil {
				b.Fatal(err)
			}
		}
		s, _, _ := w.End()
		b.SetBytes(int64(s.Bytes))
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func ExampleSummary_Chunks() {
	fmt.Println((&Summary{Bytes: ChunkSize}).Chunks(), (&Summary{Bytes: ChunkSize + 1}).Chunks())
	// Output: 1 2
}

// TestWhole: a stream that was changed on the disk is read to its end, and refused there.
func TestWhole(t *testing.T) {
	b, s, _ := stream(t, some(ChunkSize, 5, 700))
	read := func(b []byte, s Summary) (n int, err error) {
		for _, err := range Records(Whole(bytes.NewReader(b), s)) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	if n, err := read(b, s); n != 3 || err != nil {
		t.Fatalf("%d records, %v", n, err)
	}
	for _, at := range []int{20, ChunkSize + 3, len(b) - 1} {
		bad := bytes.Clone(b)
		bad[at] ^= 1
		if _, err := read(bad, s); !errors.Is(err, ErrChunk) && !errors.Is(err, ErrRecords) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
	if n, err := read(b[:len(b)-710], s); !errors.Is(err, ErrChunk) {
		t.Errorf("a record less: %d, %v", n, err)
	}
	if _, err := read(nil, s); !errors.Is(err, ErrChunk) {
		t.Errorf("nothing: %v", err)
	}
}
