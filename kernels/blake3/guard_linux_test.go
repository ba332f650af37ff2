package blake3

import (
	"bytes"
	"syscall"
	"testing"

	"github.com/waybill-network/waybill/kernels/cpu/cputest"
)

// TestNothingBeyond puts input and output against pages that cannot be touched, behind them and
// before them.
func TestNothingBeyond(t *testing.T) {
	in, out := guarded(t, 2*maxLanes*2*MessageSize), guarded(t, 2*maxLanes*2*MessageSize)
	key := ContextKey("guard")
	for i := range in {
		in[i] = byte(i * i >> 3)
	}
	cputest.Each(t, kernel, func(t *testing.T, l lanes) {
		for n := 1; n <= 2*maxLanes+1; n++ {
			for _, stride := range []int{MessageSize, 2 * MessageSize, 97} {
				size := (n-1)*stride + MessageSize
				for _, at := range []int{0, len(in) - size} {
					got := out[:n*Size]
					if at > 0 {
						got = out[len(out)-n*Size:]
					}
					l.hash(&key, got, in[at:at+size], stride)
					for i := range n {
						if want := reference(t, &key, in[at+i*stride:][:MessageSize]); !bytes.Equal(
							got[i*Size:][:Size], want) {
							t.Fatalf("%d messages at %d: message %d differs", n, stride, i)
						}
					}
				}
			}
		}
	})
}

// TestNothingBeyondChunks does the same with chunks and parents.
func TestNothingBeyondChunks(t *testing.T) {
	const most = 2*maxLanes + 1
	in, out := guarded(t, most*ChunkSize), guarded(t, most*Size)
	for i := range in {
		in[i] = byte(i * i >> 3)
	}
	cputest.Each(t, kernel, func(t *testing.T, l lanes) {
		for n := 1; n <= most; n++ {
			for _, behind := range []bool{false, true} {
				got := out[:n*Size]
				chunks, nodes := in[:n*ChunkSize], in[:n*MessageSize]
				if behind {
					got = out[len(out)-n*Size:]
					chunks, nodes = in[len(in)-n*ChunkSize:], in[len(in)-n*MessageSize:]
				}
				for name, hash := range map[string]func(l lanes){
					"chunk":  func(l lanes) { l.chunkValues(got, chunks, 3) },
					"parent": func(l lanes) { l.parentValues(got, nodes) },
				} {
					hash(l)
					vector := bytes.Clone(got)
					if hash(1); !bytes.Equal(vector, got) {
						t.Fatalf("%d of %s: values differ", n, name)
					}
				}
			}
		}
	})
}

// guarded is memory between two pages that cannot be touched.
func guarded(t *testing.T, least int) []byte {
	page := syscall.Getpagesize()
	size := (least + page) / page * page
	all, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(all); err != nil {
			t.Error(err)
		}
	})
	for _, guard := range [][]byte{all[:page], all[page+size:]} {
		if err := syscall.Mprotect(guard, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return all[page : page+size]
}
