package blake3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	zeebo "github.com/zeebo/blake3"

	"github.com/waybill-network/waybill/kernels/cpu/cputest"
)

// treeSizes lie around every boundary: blocks, chunks, vectors of chunks, groups, batches of them.
var treeSizes = []int{
	0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 2049, 3072, 3073, 4096, 7169, 8192, 8193, 15 << 10,
	16383, 16384, 16385,
	17 << 10, 32767, 32768, 32769, 3*16384 + 5, 5 << 14, 7<<14 + 1, 131071, 131072, 131073, 9 << 14,
	262144, 262145,
	17<<14 - 1, 33<<14 + 1025, 1<<20 + 1,
}

var treeGroups = []int{1 << 10, 4 << 10, GroupSize, 128 << 10}

// random is content that differs everywhere.
func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// value is the chaining value or digest of a part of a message, by the definition of the tree.
func value(data []byte, number uint64, flags uint32) (out [Size]byte) {
	if len(data) <= ChunkSize {
		chunkValue(out[:], data, number, flags)
		return out
	}
	left := ChunkSize
	for 2*left < len(data) {
		left *= 2
	}
	l := value(data[:left], number, 0)
	r := value(data[left:], number+uint64(left/ChunkSize), 0)
	parentValue(out[:], append(l[:], r[:]...), flags)
	return out
}

// nodes lists the nodes of a tree over groups, children first.
func nodes(data []byte, group int, number uint64) (list []byte) {
	if len(data) <= group {
		return nil
	}
	left := group
	for 2*left < len(data) {
		left *= 2
	}
	right := number + uint64(left/ChunkSize)
	list = append(nodes(data[:left], group, number), nodes(data[left:], group, right)...)
	l, r := value(data[:left], number, 0), value(data[left:], right, 0)
	return append(append(list, l[:]...), r[:]...)
}

// withKernels runs test on every implementation, as if it had been chosen.
func withKernels(t *testing.T, test func(t *testing.T, l lanes)) {
	cputest.Each(t, kernel, test)
}

func outboard(l lanes, data []byte, group int) (digest [Size]byte, tree []byte) {
	var w bytes.Buffer
	e := NewEncoder(&w, group)
	e.lanes = l
	e.Write(data)
	digest, _ = e.Finish()
	return digest, w.Bytes()
}

func TestOutboard(t *testing.T) {
	data := random(1<<20 + 1)
	withKernels(t, func(t *testing.T, l lanes) {
		for _, size := range treeSizes {
			for _, group := range treeGroups {
				in := data[:size]
				digest, tree := outboard(l, in, group)
				if want := zeebo.Sum256(in); digest != want || digest != value(in, 0, flagRoot) {
					t.Fatalf("%d bytes in groups of %d: the root is %x, not %x", size, group,
						digest, want)
				}
				if !bytes.Equal(tree, nodes(in, group, 0)) ||
					int64(len(tree)) != OutboardSize(int64(size), group) {
					t.Fatalf("%d bytes in groups of %d: another tree", size, group)
				}
				once, whole := Outboard(in, group)
				if once != digest || !bytes.Equal(whole, tree) {
					t.Fatalf("%d bytes in groups of %d: at once another tree", size, group)
				}
			}
		}
	})
}

// TestPieces writes content in pieces of random sizes.
func TestPieces(t *testing.T) {
	data := random(1<<20 + 1)
	r := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		in := data[:r.IntN(len(data))]
		want, tree := Outboard(in, GroupSize)
		var w bytes.Buffer
		e := NewEncoder(&w, GroupSize)
		for rest := in; len(rest) > 0; {
			n := min(len(rest), 1+r.IntN(1<<r.IntN(19)))
			if m, err := e.Write(rest[:n]); m != n || err != nil {
				t.Fatal(m, err)
			}
			rest = rest[n:]
		}
		if got, err := e.Finish(); got != want || err != nil || e.Size() != int64(len(in)) {
			t.Fatalf("%d bytes: %x and %v, not %x", len(in), got, err, want)
		}
		if !bytes.Equal(w.Bytes(), tree) {
			t.Fatalf("%d bytes: another tree", len(in))
		}
		if _, err := e.Write([]byte{1}); err == nil {
			t.Fatal("a finished encoder takes more")
		}
	}
}

// TestSlices decodes every range of groups of content of some sizes, in runs of every length.
func TestSlices(t *testing.T) {
	data := random(40 << 10)
	withKernels(t, func(t *testing.T, l lanes) {
		for _, size := range []int{0, 1, 1024, 1025, 3 << 10, 7 << 10, 8 << 10, 8<<10 + 1,
			21<<10 + 7, 40 << 10} {
			in := data[:size]
			digest, tree := outboard(l, in, MinGroup)
			groups := Groups(int64(size), MinGroup)
			for first := range groups {
				for run := int64(1); run <= groups-first; run++ {
					d := NewDecoder(digest, int64(size), MinGroup, first)
					d.lanes = l
					for next := first; next < groups; next += run {
						decodeRun(t, d, in, tree, first, next, min(next+run, groups))
					}
					if !d.Done() || d.Offset() != int64(size) {
						t.Fatalf("%d bytes from group %d on: not done", size, first)
					}
				}
			}
		}
	})
}

func decodeRun(t *testing.T, d *Decoder, in, tree []byte, first, next, end int64) {
	t.Helper()
	list, err := AppendNodes(nil, bytes.NewReader(tree), int64(len(in)), MinGroup, first, next, end)
	if err != nil {
		t.Fatal(err)
	}
	data := in[next*MinGroup : min(end*MinGroup, int64(len(in)))]
	if n, bytes := d.Need(int(end - next)); n != len(list) || bytes != len(data) {
		t.Fatalf("groups %d to %d from %d: needs %d and %d, not %d and %d", next, end, first, n,
			bytes, len(list), len(data))
	}
	if n, err := d.Decode(list, data); n != len(data) || err != nil {
		t.Fatalf("groups %d to %d from %d of %d bytes: %d, %v", next, end, first, len(in), n, err)
	}
}

// TestEveryBit flips each byte of nodes and data: the error names the first group that it concerns,
// what lies before is verified, and the right bytes are taken afterwards.
func TestEveryBit(t *testing.T) {
	const group = MinGroup
	in := random(5*group + 100)
	digest, tree := Outboard(in, group)
	list, err := AppendNodes(nil, bytes.NewReader(tree), int64(len(in)), group, 1, 1, 6)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(list) + len(in) - group {
		d := NewDecoder(digest, int64(len(in)), group, 1)
		badNodes, badData := bytes.Clone(list), bytes.Clone(in[group:])
		if i < len(list) {
			badNodes[i] ^= 4
		} else {
			badData[i-len(list)] ^= 4
		}
		n, err := d.Decode(badNodes, badData)
		var mismatch *MismatchError
		if !errors.As(err, &mismatch) || mismatch.Offset != int64(group+n) ||
			d.Offset() != mismatch.Offset {
			t.Fatalf("byte %d: %d, %v", i, n, err)
		}
		if mismatch.Node != (i < len(list)) || !mismatch.Node && n != (i-len(list))/group*group {
			t.Fatalf("byte %d: %d, %v", i, n, err)
		}
		next := mismatch.Offset / group
		rest, err := AppendNodes(nil, bytes.NewReader(tree), int64(len(in)), group, 1, next, 6)
		if err != nil {
			t.Fatal(err)
		}
		// Nodes that were verified before the error are not needed again.
		want, _ := d.Need(6)
		if n, err := d.Decode(rest[len(rest)-want:],
			in[mismatch.Offset:]); n != len(in)-int(mismatch.Offset) || err != nil {
			t.Fatalf("byte %d: afterwards %d, %v", i, n, err)
		}
	}
}

// TestLyingSizes gives decoders sizes that the content does not have: the last group never
// verifies.
func TestLyingSizes(t *testing.T) {
	in := random(6*MinGroup + 1)
	digest, tree := Outboard(in, MinGroup)
	for size := range int64(10 * MinGroup) {
		if size == int64(len(in)) {
			continue
		}
		padded := make([]byte, 10*MinGroup)
		copy(padded, in)
		for first := range Groups(size, MinGroup) {
			d := NewDecoder(digest, size, MinGroup, first)
			list, err := AppendNodes(nil,
				bytes.NewReader(append(bytes.Clone(tree), make([]byte, 4*NodeSize)...)),
				size, MinGroup, first, first, Groups(size, MinGroup))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Decode(list, padded[first*MinGroup:size]); err == nil || d.Done() {
				t.Fatalf("the size %d is taken for %d", size, len(in))
			}
		}
	}
}

func TestMisuse(t *testing.T) {
	digest, tree := Outboard(random(10<<10), MinGroup)
	d := NewDecoder(digest, 10<<10, MinGroup, 0)
	for _, bad := range [][2]int{{0, 1024}, {4 * 64, 1023}, {4 * 64, 1025}, {5 * 64, 1024}, {1, 0},
		{0, 11 << 10}} {
		if _, err := d.Decode(make([]byte, bad[0]), make([]byte, bad[1])); !errors.Is(err,
			ErrNodes) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	for _, bad := range [][3]int64{{-1, 0, 1}, {3, 2, 4}, {0, 3, 2}, {0, 0, 11}} {
		if _, err := AppendNodes(nil, bytes.NewReader(tree), 10<<10, MinGroup, bad[0], bad[1],
			bad[2]); !errors.Is(err, ErrNodes) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if _, err := AppendNodes(nil, bytes.NewReader(tree[:10]), 10<<10, MinGroup, 0, 0,
		1); !errors.Is(err, ErrNodes) {
		t.Errorf("a short tree: %v", err)
	}
	closed := errors.New("closed")
	e := NewEncoder(failing{closed}, MinGroup)
	if _, err := e.Write(make([]byte, 3*MaxGroup)); !errors.Is(err, closed) {
		t.Errorf("a writer that fails: %v", err)
	}
	if _, err := e.Finish(); !errors.Is(err, closed) {
		t.Errorf("a writer that failed: %v", err)
	}
	for name, call := range map[string]func(){
		"a group of 512":     func() { Outboard(nil, 512) },
		"a group of 3 KiB":   func() { NewEncoder(io.Discard, 3<<10) },
		"a group of 256 KiB": func() { Groups(1, 256<<10) },
		"a negative size":    func() { Groups(-1, MinGroup) },
		"a group beyond":     func() { NewDecoder(digest, 10<<10, MinGroup, 10) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call()
		}()
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestCounters hashes chunks whose numbers need both words.
func TestCounters(t *testing.T) {
	in := random(20 << 10)
	withKernels(t, func(t *testing.T, l lanes) {
		for _, number := range []uint64{0, 1<<32 - 17, 1<<32 - 1, 1 << 32, 1<<40 + 5, 1<<54 - 30} {
			for n := 1; n <= 20; n++ {
				got := make([]byte, n*Size)
				l.chunkValues(got, in[:n<<10], number)
				for i := range n {
					if want := value(in[i<<10:][:1<<10], number+uint64(i),
						0); !bytes.Equal(got[i*Size:][:Size], want[:]) {
						t.Fatalf("chunk %d of %d from %d on differs", i, n, number)
					}
				}
			}
		}
	})
}

func TestTreeAllocations(t *testing.T) {
	in := random(1 << 20)
	digest, tree := Outboard(in, GroupSize)
	reader := bytes.NewReader(tree)
	list := make([]byte, 0, 1<<13)
	d := NewDecoder(digest, int64(len(in)), GroupSize, 0)
	whole := *d
	if n := testing.AllocsPerRun(10, func() {
		*d = whole
		for g := int64(0); g < 64; g += 4 {
			list, _ = AppendNodes(list[:0], reader, int64(len(in)), GroupSize, 0, g, g+4)
			if _, err := d.Decode(list, in[g<<14:(g+4)<<14]); err != nil {
				t.Fatal(err)
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzTree(f *testing.F) {
	f.Add([]byte("some content"), uint32(12), uint8(0), uint16(0), uint16(0), uint8(1))
	f.Add([]byte{1, 2, 3}, uint32(70000), uint8(4), uint16(3), uint16(900), uint8(255))
	f.Fuzz(func(t *testing.T, seed []byte, size uint32, shift uint8, first, at uint16, flip uint8) {
		in := make([]byte, size%(300<<10))
		var key [32]byte
		copy(key[:], seed)
		rand.NewChaCha8(key).Read(in)
		copy(in, seed)
		group := MinGroup << (shift % 8)
		digest, tree := Outboard(in, group)
		if digest != zeebo.Sum256(in) {
			t.Fatal("another root")
		}
		groups := Groups(int64(len(in)), group)
		from := int64(first) % groups
		list, err := AppendNodes(nil, bytes.NewReader(tree), int64(len(in)), group, from, from,
			groups)
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Clone(in[from*int64(group):])
		wire := append(bytes.Clone(list), data...)
		if len(wire) > 0 {
			wire[int(at)%len(wire)] ^= flip
		}
		d := NewDecoder(digest, int64(len(in)), group, from)
		n, err := d.Decode(wire[:len(list)], wire[len(list):])
		if (err == nil) != (flip == 0 || len(wire) == 0) {
			t.Fatalf("flipped by %d: %v", flip, err)
		}
		if !bytes.Equal(wire[len(list):][:n], data[:n]) {
			t.Fatal("wrong bytes are verified")
		}
	})
}

// BenchmarkTree is what a byte costs, on every implementation, in one goroutine.
func BenchmarkTree(b *testing.B) {
	in := random(4 << 20)
	digest, tree := Outboard(in, GroupSize)
	reader := bytes.NewReader(tree)
	for _, name := range kernel.Names() {
		l, err := kernel.Implementation(name)
		if err != nil {
			continue
		}
		b.Run("outboard/"+name, func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				outboard(l, in, GroupSize)
			}
		})
		for _, run := range []int64{1, 4, 16} {
			b.Run(fmt.Sprintf("verify%d/%s", run, name), func(b *testing.B) {
				b.SetBytes(int64(len(in)))
				var list []byte
				for b.Loop() {
					d := NewDecoder(digest, int64(len(in)), GroupSize, 0)
					d.lanes = l
					for g := int64(0); g < 256; g += run {
						list, _ = AppendNodes(list[:0], reader, int64(len(in)), GroupSize, 0, g,
							g+run)
						if _, err := d.Decode(list, in[g<<14:(g+run)<<14]); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
	b.Run("zeebo", func(b *testing.B) {
		b.SetBytes(int64(len(in)))
		for b.Loop() {
			zeebo.Sum256(in)
		}
	})
}
