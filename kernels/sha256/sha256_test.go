package sha256

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	gnark "github.com/consensys/gnark-crypto/field/hash"

	"github.com/waybill-network/waybill/kernels/cpu/cputest"
	"github.com/waybill-network/waybill/kernels/internal/vectors"
)

// nist runs a response file of NIST's CAVP on every implementation, each message in every lane.
func nist(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cputest.Each(t, kernel, func(t *testing.T, l lanes) {
		var length, count int
		var msg string
		for line := range strings.Lines(string(text)) {
			switch name, value, _ := strings.Cut(strings.TrimSpace(line), " = "); name {
			case "Len":
				if length, err = strconv.Atoi(value); err != nil || length%8 != 0 {
					t.Fatal(line)
				}
			case "Msg":
				msg = value
			case "MD":
				in, err := hex.DecodeString(msg)
				if err != nil || len(in) < length/8 {
					t.Fatal(msg)
				}
				out := make([]byte, int(l)*Size)
				l.sumMany(out, bytes.Repeat(in[:length/8], int(l)), length/8)
				if hex.EncodeToString(out) != strings.Repeat(value, int(l)) {
					t.Errorf("%q: got %x, want %s", msg, out, value)
				}
				count++
			}
		}
		if count == 0 {
			t.Fatal("no vectors")
		}
	})
}

func TestNIST(t *testing.T)        { nist(t, "testdata/nist_sha256_short.rsp") }
func TestVectorsNIST(t *testing.T) { nist(t, vectors.Path(t, "nist_sha256_short.rsp")) }

type expandVectors struct {
	DST   string
	Tests []struct {
		Length  string `json:"len_in_bytes"`
		Msg     string
		Uniform string `json:"uniform_bytes"`
	}
}

// run expands each message in every lane of every implementation.
func (file *expandVectors) run(t *testing.T) {
	if len(file.Tests) == 0 {
		t.Fatal("no vectors")
	}
	dstPrime := DSTPrime(file.DST)
	cputest.Each(t, kernel, func(t *testing.T, l lanes) {
		for _, v := range file.Tests {
			width, err := strconv.ParseInt(v.Length, 0, 32)
			if err != nil {
				t.Fatal(err)
			}
			msgs := make([][]byte, l)
			for i := range msgs {
				msgs[i] = []byte(v.Msg)
			}
			out := make([]byte, int(l)*int(width))
			l.expandXMD(out, int(width), dstPrime, msgs)
			if hex.EncodeToString(out) != strings.Repeat(v.Uniform, int(l)) {
				t.Errorf("%q to %d bytes: got %x, want %s", v.Msg, width, out, v.Uniform)
			}
		}
	})
}

const expandFile = "rfc9380_expand_message_xmd_sha256.json"

func TestExpandXMDRFC9380(t *testing.T) {
	var file expandVectors
	vectors.Read(t, "testdata/"+expandFile, &file)
	file.run(t)
}

func TestVectorsExpandXMD(t *testing.T) {
	var file expandVectors
	vectors.Load(t, expandFile, &file)
	file.run(t)
}

// fills are messages of zeros, of ones and of random bytes, the latter from a fixed seed so that a
// failure repeats.
func fills(n int) [][]byte {
	random := make([]byte, n)
	rand.NewChaCha8([32]byte{2}).Read(random)
	return [][]byte{make([]byte, n), bytes.Repeat([]byte{0xff}, n), random}
}

// lengths lie on both sides of each change of the padding and of what is hashed in lanes.
var lengths = []int{0, 1, 31, 54, 55, 56, 57, 63, 64, 65, 80, 118, 119, 120, 127, 128, 129, 183,
	184, 447, 448, 502, 503, 504, 512, 1024}

func TestSumMany(t *testing.T) {
	cputest.Each(t, kernel, func(t *testing.T, l lanes) {
		for n := range 2*maxLanes + 2 {
			for _, length := range lengths {
				for _, in := range fills(n * length) {
					if err := sums(l, in, n, length); err != nil {
						t.Fatalf("%d messages of %d bytes: %v", n, length, err)
					}
				}
			}
		}
	})
}

// sums compares an implementation with the standard library and looks for writes beyond the
// digests.
func sums(l lanes, in []byte, n, length int) error {
	before := bytes.Clone(in)
	guarded := bytes.Repeat([]byte{0xa5}, (n+maxLanes)*Size)
	l.sumMany(guarded[:n*Size], in, length)
	for i := range n {
		if want := sha256.Sum256(in[i*length:][:length]); !bytes.Equal(guarded[i*Size:][:Size],
			want[:]) {
			return fmt.Errorf("message %d: got %x, want %x", i, guarded[i*Size:][:Size], want)
		}
	}
	if !bytes.Equal(in, before) || bytes.Count(guarded[n*Size:], []byte{0xa5}) != maxLanes*Size {
		return fmt.Errorf("wrote elsewhere")
	}
	return nil
}

func TestExpandXMD(t *testing.T) {
	cputest.Each(t, kernel, func(t *testing.T, l lanes) {
		for _, tag := range []int{0, 1, 21, 22, 43, 53, 54, 255} {
			for _, width := range []int{1, 31, 32, 33, 128} {
				for _, length := range lengths {
					for _, in := range fills((maxLanes + 5) * length) {
						msgs := make([][]byte, maxLanes+5)
						for i := range msgs {
							msgs[i] = in[i*length:][:length]
						}
						if err := expands(l, width, fills(tag)[2], msgs); err != nil {
							t.Fatalf("tag of %d bytes, messages of %d, to %d: %v", tag, length,
								width, err)
						}
					}
				}
			}
		}
		if err := expands(l, 255*Size, []byte("tag"),
			[][]byte{{1}, {2}, {3}, {4}, {5}}); err != nil {
			t.Error(err)
		}
	})
}

// TestExpandXMDMixed has runs of every number of messages of one length.
func TestExpandXMDMixed(t *testing.T) {
	in := fills(1 << 12)[2]
	cputest.Each(t, kernel, func(t *testing.T, l lanes) {
		var msgs [][]byte
		for run := range 2*maxLanes + 2 {
			for i := range run {
				msgs = append(msgs, in[i:][:lengths[run%len(lengths)]])
			}
		}
		if err := expands(l, 128, []byte("tag"), msgs); err != nil {
			t.Error(err)
		}
	})
}

// expands compares an implementation with the text of RFC 9380, section 5.3.1, and, for the widths
// that it can do, with gnark-crypto.
func expands(l lanes, width int, tag []byte, msgs [][]byte) error {
	out := make([]byte, len(msgs)*width)
	dstPrime := append(bytes.Clone(tag), byte(len(tag)))
	l.expandXMD(out, width, dstPrime, msgs)
	for i, msg := range msgs {
		got, want := out[i*width:][:width], expanded(width, dstPrime, msg)
		if !bytes.Equal(got, want) {
			return fmt.Errorf("message %d of %d bytes: got %x, want %x", i, len(msg), got, want)
		}
		if width%Size != 0 {
			continue
		}
		if want, err := gnark.ExpandMsgXmd(msg, tag, width); err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("message %d of %d bytes: gnark-crypto has %x, %v", i, len(msg), want,
				err)
		}
	}
	return nil
}

func expanded(width int, dstPrime, msg []byte) (uniform []byte) {
	sum := func(parts ...[]byte) []byte {
		digest := sha256.Sum256(bytes.Join(parts, nil))
		return digest[:]
	}
	b0 := sum(make([]byte, 64), msg, []byte{byte(width >> 8), byte(width), 0}, dstPrime)
	for i, b := 1, make([]byte, Size); len(uniform) < width; i++ {
		for j := range b {
			b[j] ^= b0[j]
		}
		b = sum(b, []byte{byte(i)}, dstPrime)
		uniform = append(uniform, b...)
	}
	return uniform[:width]
}

// TestSelfTest breaks what only the lanes use.
func TestSelfTest(t *testing.T) {
	cputest.Each(t, kernel, func(t *testing.T, l lanes) {
		if err := check(l, 1); err != nil {
			t.Error(err)
		}
		for name, word := range map[string]*uint32{"start": &initial[7],
			"start of expansions": &afterZeros[0], "last block": &constants[63]} {
			*word ^= 1 << 31
			if l > 1 && check(l, 1) == nil {
				t.Errorf("%s: a wrong bit passes", name)
			}
			*word ^= 1 << 31
		}
	})
}

func TestDSTPrime(t *testing.T) {
	long := strings.Repeat("t", 256)
	digest := sha256.Sum256([]byte("H2C-OVERSIZE-DST-" + long))
	for tag, want := range map[string]string{
		"":         "\x00",
		"tag":      "tag\x03",
		long[:255]: long[:255] + "\xff",
		long:       string(digest[:]) + "\x20",
	} {
		if got := DSTPrime(tag); string(got) != want {
			t.Errorf("%q: got %q, want %q", tag, got, want)
		}
	}
}

func TestMisusePanics(t *testing.T) {
	for name, call := range map[string]func(){
		"partial digest":  func() { SumMany(make([]byte, 33), make([]byte, 80), 80) },
		"short input":     func() { SumMany(make([]byte, 64), make([]byte, 159), 80) },
		"long input":      func() { SumMany(make([]byte, 64), make([]byte, 161), 80) },
		"negative length": func() { SumMany(nil, nil, -1) },
		"no width":        func() { ExpandXMD(nil, 0, []byte{0}, nil) },
		"too wide": func() {
			ExpandXMD(make([]byte, 255*32+1), 255*32+1, []byte{0},
				make([][]byte, 1))
		},
		"small output": func() {
			ExpandXMD(make([]byte, 127), 128, []byte{0},
				make([][]byte, 1))
		},
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
	in, out := make([]byte, 64*80), make([]byte, 64*128)
	msgs := make([][]byte, 64)
	for i := range msgs {
		msgs[i] = in[i*80:][:80]
	}
	dstPrime := []byte("tag\x03")
	for name, call := range map[string]func(){
		"SumMany":   func() { SumMany(out[:64*Size], in, 80) },
		"ExpandXMD": func() { ExpandXMD(out, 128, dstPrime, msgs) },
	} {
		call()
		if n := testing.AllocsPerRun(10, call); n > 2 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func FuzzSumMany(f *testing.F) {
	f.Add([]byte("seed"), uint8(17), uint16(80))
	f.Add([]byte{}, uint8(4), uint16(503))
	f.Fuzz(func(t *testing.T, seed []byte, n uint8, length uint16) {
		length %= 600
		in := make([]byte, int(n)*int(length))
		fill(in, seed)
		every(t, func(l lanes) error { return sums(l, in, int(n), int(length)) })
	})
}

func FuzzExpandXMD(f *testing.F) {
	f.Add([]byte("seed"), []byte("tag"), uint8(17), uint16(80), uint16(128))
	f.Add([]byte{}, bytes.Repeat([]byte("t"), 255), uint8(4), uint16(503), uint16(33))
	f.Fuzz(func(t *testing.T, seed, tag []byte, n uint8, length, width uint16) {
		in := make([]byte, length%600+uint16(n))
		fill(in, seed)
		msgs := make([][]byte, n%40)
		for i := range msgs {
			msgs[i] = in[i:][:length%600]
		}
		every(t,
			func(l lanes) error {
				return expands(l, int(width)%512+1, tag[:min(len(tag), 255)],
					msgs)
			})
	})
}

// fill repeats bytes that seed determines and starts with seed.
func fill(in, seed []byte) {
	var key [32]byte
	copy(key[:], seed)
	rand.NewChaCha8(key).Read(in)
	copy(in, seed)
}

func every(t *testing.T, f func(l lanes) error) {
	for _, name := range kernel.Names() {
		if l, err := kernel.Implementation(name); err != nil {
			continue // TestSumMany says which
		} else if err := f(l); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// turns reports the best time per message of every implementation, which take turns.
func turns(b *testing.B, n int, run func(l lanes)) {
	best := map[string]time.Duration{}
	for b.Loop() {
		every := kernel.Names()
		for _, name := range every {
			l, err := kernel.Implementation(name)
			if err != nil {
				continue
			}
			began := time.Now()
			run(l)
			if took := time.Since(began); best[name] == 0 || took < best[name] {
				best[name] = took
			}
		}
	}
	for name, took := range best {
		b.ReportMetric(float64(took.Nanoseconds())/float64(n), "ns/"+name)
	}
}

func BenchmarkSumMany(b *testing.B) {
	const n = 256
	for _, length := range []int{64, 80, 128, 256, 480} {
		b.Run(strconv.Itoa(length), func(b *testing.B) {
			in, out := make([]byte, n*length), make([]byte, n*Size)
			turns(b, n, func(l lanes) { l.sumMany(out, in, length) })
		})
	}
}

func BenchmarkExpandXMD(b *testing.B) {
	const n = 64
	in, out := make([]byte, n*80), make([]byte, n*128)
	msgs := make([][]byte, n)
	for i := range msgs {
		msgs[i] = in[i*80:][:80]
	}
	dstPrime := []byte("BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_\x2b")
	turns(b, n, func(l lanes) { l.expandXMD(out, 128, dstPrime, msgs) })
}
