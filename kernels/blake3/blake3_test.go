package blake3

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	zeebo "github.com/zeebo/blake3"

	"github.com/waybill-network/waybill/kernels/cpu/cputest"
	"github.com/waybill-network/waybill/kernels/internal/vectors"
)

type blake3Vectors struct {
	Key   string
	Cases []struct {
		Length int `json:"input_len"`
		Hash   string
		Keyed  string `json:"keyed_hash"`
	}
}

func (file *blake3Vectors) run(t *testing.T) {
	if len(file.Cases) == 0 {
		t.Fatal("no vectors")
	}
	key := Key([]byte(file.Key))
	for _, c := range file.Cases {
		in := pattern(c.Length)
		if got := Sum256(in); hex.EncodeToString(got[:]) != c.Hash[:2*Size] {
			t.Errorf("%d bytes: got %x, want %s", c.Length, got, c.Hash[:2*Size])
		}
		if got := Keyed(&key, in); hex.EncodeToString(got[:]) != c.Keyed[:2*Size] {
			t.Errorf("%d bytes, keyed: got %x, want %s", c.Length, got, c.Keyed[:2*Size])
		}
		if c.Length == MessageSize {
			var got [Size]byte
			if HashMany64(&key, got[:], in); hex.EncodeToString(got[:]) != c.Keyed[:2*Size] {
				t.Errorf("as one of many: got %x, want %s", got, c.Keyed[:2*Size])
			}
		}
	}
}

// pattern is the input of the published vectors.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func TestBLAKE3(t *testing.T) {
	var file blake3Vectors
	vectors.Read(t, "testdata/blake3.json", &file)
	file.run(t)
}

func TestVectorsBLAKE3(t *testing.T) {
	var file blake3Vectors
	vectors.Load(t, "blake3.json", &file)
	file.run(t)
}

// reference is the library's own one-shot call.
func reference(t testing.TB, key *Key, in []byte) []byte {
	h, err := zeebo.NewKeyed(key[:])
	if err != nil {
		t.Fatal(err)
	}
	h.Write(in)
	return h.Sum(nil)
}

func TestManyAgainstReference(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	key := ContextKey("waybill/ack-leaf/1")
	for _, n := range []int{0, 1, 2, 15, 16, 17, 4095, 4096, 4097, 9001} {
		for _, stride := range []int{64, 65, 128} {
			in := pattern(n * stride)
			if n > 0 {
				in = in[:(n-1)*stride+MessageSize] // the last frame need not be whole
			}
			out := make([]byte, n*Size)
			HashStrided64(&key, out, in, stride)
			for i := range n {
				if want := reference(t, &key,
					in[i*stride:][:MessageSize]); !bytes.Equal(out[i*Size:][:Size], want) {
					t.Fatalf("%d messages at %d: message %d differs", n, stride, i)
				}
			}
		}
	}
}

// TestShort hashes messages of every length in blocks, on every implementation.
func TestShort(t *testing.T) {
	key := ContextKey("waybill/list-leaf/2")
	const n = 2*maxLanes + 3
	cputest.Each(t, kernel, func(t *testing.T, l lanes) {
		for length := range MessageSize + 1 {
			in, out := pattern(n*MessageSize), make([]byte, n*Size)
			for i := range n {
				clear(in[i*MessageSize+length : (i+1)*MessageSize])
			}
			l.hashShort(&key, out, in, MessageSize, length)
			public := make([]byte, n*Size)
			HashShort(&key, public, in, length)
			for i := range n {
				want := reference(t, &key, in[i*MessageSize:][:length])
				if !bytes.Equal(out[i*Size:][:Size], want) ||
					!bytes.Equal(public[i*Size:][:Size], want) {
					t.Fatalf("message %d of %d bytes differs", i, length)
				}
			}
		}
	})
}

func TestImplementations(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1}) // fixed, so a failure repeats
	cputest.Each(t, kernel, func(t *testing.T, l lanes) {
		for n := range 3*maxLanes + 2 {
			for _, stride := range []int{MessageSize, MessageSize + 1, 2 * MessageSize} {
				in := make([]byte, max(0, n*stride-stride+MessageSize))
				for _, fill := range []string{"zeros", "ones", "random"} {
					var key Key
					switch fill {
					case "ones":
						copy(in, bytes.Repeat([]byte{0xff}, len(in)))
						copy(key[:], in)
					case "random":
						random.Read(in)
						random.Read(key[:])
					}
					if err := against(t, l, &key, in, n, stride); err != nil {
						t.Fatalf("%s: %d messages at %d: %v", fill, n, stride, err)
					}
				}
			}
		}
	})
}

// against compares an implementation with the library, apart and, where that is allowed, in place,
// and looks for writes beyond the digests.
func against(t testing.TB, l lanes, key *Key, in []byte, n, stride int) error {
	before := bytes.Clone(in)
	guarded := bytes.Repeat([]byte{0xa5}, (n+maxLanes)*Size)
	got := guarded[:n*Size]
	l.hash(key, got, in, stride)
	for i := range n {
		if want := reference(t, key, in[i*stride:][:MessageSize]); !bytes.Equal(got[i*Size:][:Size],
			want) {
			return fmt.Errorf("message %d: got %x, want %x", i, got[i*Size:][:Size], want)
		}
	}
	if !bytes.Equal(in, before) || bytes.Count(guarded[n*Size:], []byte{0xa5}) != maxLanes*Size {
		return errors.New("wrote elsewhere")
	}
	l.hash(key, in[:n*Size], in, stride)
	if !bytes.Equal(in[:n*Size], got) || !bytes.Equal(in[n*Size:], before[n*Size:]) {
		return errors.New("differs in place")
	}
	return nil
}

// TestSelfTest gives vectors out as one lane more than they have.
func TestSelfTest(t *testing.T) {
	cputest.Each(t, kernel, func(t *testing.T, l lanes) {
		if err := check(l, 1); err != nil {
			t.Error(err)
		}
		if l > 1 && check(l+1, 1) == nil {
			t.Error("a lane that is never hashed passes")
		}
	})
}

// mth is the Merkle tree hash of RFC 9162 section 2.1.1 over given leaves.
func mth(key *Key, leaves []byte) []byte {
	n := len(leaves) / Size
	if n == 1 {
		return leaves
	}
	k := 1
	for 2*k < n {
		k *= 2
	}
	node := append(bytes.Clone(mth(key, leaves[:k*Size])), mth(key, leaves[k*Size:])...)
	digest := Keyed(key, node)
	return digest[:]
}

func TestRootIsRFC9162(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	key := ContextKey("waybill/ack-node/1")
	sizes := []int{4096, 8191, 8192, 8193, 10000}
	for n := 1; n <= 130; n++ {
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		leaves := pattern(n * Size)
		want := mth(&key, leaves)
		if got := Root(&key, bytes.Clone(leaves)); !bytes.Equal(got[:], want) {
			t.Fatalf("%d leaves: got %x, want %x", n, got, want)
		}
	}
	if Root(&key, nil) != [Size]byte{} {
		t.Fatal("the root of no leaves is not zero")
	}
}

func TestManyKeys(t *testing.T) {
	in := pattern(100)
	for i := range 2 * maxPools {
		key := ContextKey(fmt.Sprint(i))
		for range 2 {
			if got := Keyed(&key, in); !bytes.Equal(got[:], reference(t, &key, in)) {
				t.Fatalf("key %d", i)
			}
		}
	}
}

func TestMisusePanics(t *testing.T) {
	var key Key
	for name, call := range map[string]func(){
		"partial message": func() { HashMany64(&key, make([]byte, 32), make([]byte, 65)) },
		"small output":    func() { HashMany64(&key, make([]byte, 33), make([]byte, 128)) },
		"short input":     func() { HashStrided64(&key, make([]byte, 64), make([]byte, 191), 128) },
		"negative stride": func() { HashStrided64(&key, make([]byte, 32), make([]byte, 64), -1) },
		"partial node":    func() { ReduceLevel(&key, make([]byte, 33)) },
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

func TestAllocations(t *testing.T) {
	key := ContextKey("allocations")
	in, out := pattern(1<<16), make([]byte, 1<<15)
	for name, call := range map[string]func(){
		"Keyed":       func() { Keyed(&key, in[:80]) },
		"HashMany64":  func() { HashMany64(&key, out, in) },
		"ReduceLevel": func() { ReduceLevel(&key, out) },
	} {
		call()
		if n := testing.AllocsPerRun(10, call); n > 8 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func FuzzKeyed(f *testing.F) {
	f.Add([]byte("key"), []byte("data"))
	f.Add([]byte{}, pattern(64))
	f.Add([]byte("whats the Elvish word for friend"), pattern(1025))
	f.Fuzz(func(t *testing.T, k, in []byte) {
		var key Key
		copy(key[:], k)
		if got := Keyed(&key, in); !bytes.Equal(got[:], reference(t, &key, in)) {
			t.Fatal("differs from the library")
		}
		n := len(in) / MessageSize
		out := make([]byte, n*Size)
		HashMany64(&key, out, in[:n*MessageSize])
		for i := range n {
			if !bytes.Equal(out[i*Size:][:Size],
				reference(t, &key, in[i*MessageSize:][:MessageSize])) {
				t.Fatalf("message %d differs from the library", i)
			}
		}
	})
}

func FuzzImplementations(f *testing.F) {
	f.Add([]byte("key"), []byte("start"), uint8(17), uint8(0))
	f.Add([]byte{0xff}, []byte{}, uint8(40), uint8(64))
	f.Fuzz(func(t *testing.T, k, first []byte, n, gap uint8) {
		var key Key
		copy(key[:], k)
		stride := MessageSize + int(gap)
		in := make([]byte, int(n)*stride)
		rand.NewChaCha8(key).Read(in)
		copy(in, first)
		for _, name := range kernel.Names() {
			l, err := kernel.Implementation(name)
			if err != nil {
				continue // TestImplementations says which
			}
			if err := against(t, l, &key, bytes.Clone(in), int(n), stride); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	})
}

// BenchmarkMany gives every implementation and the library, hasher reused, the same messages in
// turns.
func BenchmarkMany(b *testing.B) {
	const n = 1024
	key := ContextKey("bench")
	in, out := pattern(n*MessageSize), make([]byte, n*Size)
	library, err := zeebo.NewKeyed(key[:])
	if err != nil {
		b.Fatal(err)
	}
	runs := map[string]func(){"zeebo": func() {
		for i := range n {
			library.Reset()
			library.Write(in[i*MessageSize:][:MessageSize])
			library.Sum(out[i*Size : i*Size])
		}
	}}
	for _, name := range kernel.Names() {
		if l, err := kernel.Implementation(name); err == nil {
			runs[name] = func() { l.hash(&key, out, in, MessageSize) }
		}
	}
	best := map[string]time.Duration{}
	for b.Loop() {
		for name, run := range runs {
			began := time.Now()
			run()
			if took := time.Since(began); best[name] == 0 || took < best[name] {
				best[name] = took
			}
		}
	}
	for name, took := range best {
		b.ReportMetric(float64(took.Nanoseconds())/n, "ns/"+name)
	}
}

func BenchmarkRoot(b *testing.B) {
	const n = 65536
	key := ContextKey("bench")
	level := pattern(n * Size)
	b.ReportAllocs()
	for b.Loop() {
		Root(&key, level)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/leaf")
}
