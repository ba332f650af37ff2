package content

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// sample is content of a size, other for every seed.
func sample(seed byte, size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func rootOf(b []byte) rollup.Hash { return blake3.Sum256(b) }

func openStore(t *testing.T, o Options) *Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "content")
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func add(t *testing.T, s *Store, b []byte) rollup.Hash {
	t.Helper()
	info, err := s.Add(t.Context(), bytes.NewReader(b))
	if err != nil || info.Root != rootOf(b) || info.Size != int64(len(b)) {
		t.Fatalf("%+v, %v", info, err)
	}
	return info.Root
}

// sizes lie around the boundaries of groups.
var sizes = []int{0, 1, 1024, 1025, GroupSize, GroupSize + 1, 5*GroupSize - 1, 300 << 10}

func TestAddAndOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "content")
	for round := range 2 { // the second with what the first left
		s := openStore(t, Options{Dir: dir})
		for i, size := range sizes {
			in := sample(byte(i), size)
			if round == 0 {
				add(t, s, in)
			}
			c, err := s.Open(rootOf(in))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size))
			if err != nil || !bytes.Equal(got, in) {
				t.Fatalf("%d bytes: %d, %v", size, len(got), err)
			}
			if err := c.Verify(0, c.Groups()); err != nil {
				t.Fatal(err)
			}
			receive(t, c, in)
			c.Close()
			c.Close() // once more does nothing
		}
		stats := s.Stats()
		if stats.Contents != len(sizes) || stats.Readers != 0 || stats.Reserved != 0 {
			t.Fatalf("%+v", stats)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// receive verifies the content from its middle on, as a client would.
func receive(t *testing.T, c *Content, in []byte) {
	t.Helper()
	first := c.Groups() / 2
	d := blake3.NewDecoder(c.Root, c.Size, GroupSize, first)
	for next := first; next < c.Groups(); next++ {
		nodes, err := c.AppendNodes(nil, first, next, next+1)
		if err != nil {
			t.Fatal(err)
		}
		_, n := d.Need(1)
		if _, err := d.Decode(nodes, in[d.Offset():][:n]); err != nil {
			t.Fatal(err)
		}
	}
	if !d.Done() {
		t.Fatal("not done")
	}
}

func TestEviction(t *testing.T) {
	const size = 100 << 10
	each := footprint(size)
	s := openStore(t, Options{MaxBytes: 4 * each, MaxContent: size})
	var roots []rollup.Hash
	for i := range 4 {
		roots = append(roots, add(t, s, sample(byte(i), size)))
	}
	if err := s.Pin(roots[0]); err != nil {
		t.Fatal(err)
	}
	open, err := s.Open(roots[1])
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, sample(4, size)) // takes the place of 2, which was not used for the longest time
	for i, there := range []bool{true, true, false, true} {
		if s.Has(roots[i]) != there {
			t.Errorf("content %d: %v", i, !there)
		}
	}
	four, err := s.Open(rootOf(sample(4, size)))
	if err != nil {
		t.Fatal(err)
	}
	three, err := s.Open(roots[3])
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Add(t.Context(), bytes.NewReader(sample(5, size)))
	if !errors.Is(err, ReasonFull) {
		t.Fatalf("no room: %v", err)
	}
	stats := s.Stats()
	if stats.Contents != 4 || stats.Bytes != 4*each || stats.Reserved != 0 || stats.Pinned != each {
		t.Fatalf("%+v", stats)
	}
	four.Close()
	three.Close()

	// A content that is purged while it is read can be read until the end, and its bytes count.
	if err := s.Remove(roots[1]); err != nil {
		t.Fatal(err)
	}
	if stats := s.Stats(); stats.Contents != 3 || stats.Bytes != 4*each {
		t.Fatalf("%+v", stats)
	}
	f, err := open.File()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f)
	f.Close()
	if err != nil || !bytes.Equal(got, sample(1, size)) {
		t.Fatal("a purged content that is open differs")
	}
	if err := open.Verify(0, open.Groups()); err != nil {
		t.Fatal(err)
	}
	open.Close()
	if stats := s.Stats(); stats.Bytes != 3*each {
		t.Fatalf("%+v", stats)
	}
	if _, err := os.Stat(s.object(roots[1])); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}
