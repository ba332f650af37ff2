package layout

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark/backend/groth16"
	"github.com/consensys/gnark/backend/groth16/bn254/mpcsetup"
	cs "github.com/consensys/gnark/constraint/bn254"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"
)

// square has one public input and one commitment, as the protocol's circuits have.
type square struct {
	Square frontend.Variable `gnark:",public"`
	Root   frontend.Variable
}

func (c *square) Define(api frontend.API) error {
	x, err := api.Compiler().(frontend.Committer).Commit(c.Square, c.Root)
	if err != nil {
		return err
	}
	api.AssertIsEqual(api.Mul(c.Root, c.Root), c.Square)
	api.AssertIsDifferent(api.Mul(x, c.Root), 0)
	return nil
}

// encodings are what this package walks through, each with gnark's decoder for it.
var encodings = []struct {
	name   string
	walk   func(*Walker)
	decode func(io.Reader) (int64, error)
}{
	{"phase 1", func(w *Walker) { w.Phase1() }, func(r io.Reader) (int64, error) {
		return new(mpcsetup.Phase1).ReadFrom(r)
	}},
	{"phase 2", (*Walker).Phase2, func(r io.Reader) (int64, error) {
		return new(mpcsetup.Phase2).ReadFrom(r)
	}},
	{"proving key", (*Walker).ProvingKey, func(r io.Reader) (int64, error) {
		return groth16.NewProvingKey(ecc.BN254).UnsafeReadFrom(r)
	}},
}

// samples returns an encoding of each kind, two of the proving key: compressed and not.
func samples(t testing.TB) [][][]byte {
	t.Helper()
	system, err := frontend.Compile(ecc.BN254.ScalarField(), r1cs.NewBuilder, &square{})
	if err != nil {
		t.Fatal(err)
	}
	one := mpcsetup.NewPhase1(ecc.NextPowerOfTwo(uint64(system.GetNbConstraints())))
	one.Contribute()
	written := func(write func(io.Writer) (int64, error)) []byte {
		var b bytes.Buffer
		if _, err := write(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	first := written(one.WriteTo)
	powers := one.Seal([]byte("a beacon"))
	two := new(mpcsetup.Phase2)
	two.Initialize(system.(*cs.R1CS), &powers)
	two.Contribute()
	proving, _, err := groth16.Setup(system)
	if err != nil {
		t.Fatal(err)
	}
	return [][][]byte{
		{first},
		{written(two.WriteTo)},
		{written(proving.WriteTo), written(proving.WriteRawTo)},
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// limit is what decoding n bytes may allocate: points grow to twice their size, tables of the
// domain and buffers come on top.
func limit(n int) uint64 { return 2<<20 + 64*uint64(n) }

func walk(kind int, b []byte) error {
	w := New(bytes.NewReader(b), int64(len(b)))
	encodings[kind].walk(w)
	return w.End()
}

// decode calls gnark's decoder the way the product does, which takes its panics for errors.
func decode(kind int, b []byte) (n int64, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("it panics")
		}
	}()
	return encodings[kind].decode(bytes.NewReader(b))
}

func TestWalksWhatGnarkWrites(t *testing.T) {
	for kind, list := range samples(t) {
		for _, b := range list {
			if err := walk(kind, b); err != nil {
				t.Errorf("%s: %v", encodings[kind].name, err)
			}
			if n, err := decode(kind, b); err != nil || n != int64(len(b)) && kind < 2 {
				t.Errorf("%s: gnark reads %d of %d bytes: %v", encodings[kind].name, n, len(b), err)
			}
			if walk(kind, b[:len(b)-1]) == nil || walk(kind, append(bytes.Clone(b), 0)) == nil {
				t.Errorf("%s: a byte more or less passes", encodings[kind].name)
			}
		}
	}
}

var lengths = [][]byte{
	{0xff, 0xff}, {0xff, 0xff, 0xff, 0xff}, {0x7f, 0xff, 0xff, 0xff}, {0, 0xff, 0xff, 0xff},
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 1, 0, 0, 0, 0},
}

// TestLengths writes such lengths over every offset of every encoding. What passes the walker,
// gnark decodes in bounded memory.
func TestLengths(t *testing.T) {
	for kind, list := range samples(t) {
		for _, b := range list {
			refused := 0
			for at := range b {
				for _, length := range lengths {
					changed := bytes.Clone(b)
					copy(changed[at:], length)
					if walk(kind, changed) != nil {
						refused++
						continue
					}
					if at%16 != 0 && at > 64 {
						continue // a changed coordinate, most of the time
					}
					if n := allocated(func() { decode(kind, changed) }); n > limit(len(b)) {
						t.Errorf("%s: %x at %d: %d bytes allocated", encodings[kind].name, length, at, n)
					}
				}
			}
			if refused == 0 {
				t.Errorf("%s: nothing was refused", encodings[kind].name)
			}
		}
	}
}

// TestGnarkNeedsIt shows that the bound can be broken: without the walker, one length of a small
// file makes gnark allocate far beyond it.
func TestGnarkNeedsIt(t *testing.T) {
	b := samples(t)[1][0][:2+32+4]
	binary.BigEndian.PutUint32(b[2+32:], 1<<22)
	if n := allocated(func() { decode(1, b) }); n <= limit(len(b)) {
		t.Errorf("gnark allocates %d bytes: it bounds lengths itself by now", n)
	}
	if err := walk(1, b); !errors.Is(err, ErrLength) {
		t.Error(err)
	}
}

func FuzzWalk(f *testing.F) {
	for kind, list := range samples(f) {
		for _, b := range list {
			f.Add(uint8(kind), b)
			f.Add(uint8(kind), append(bytes.Clone(b[:min(len(b), 34)]), 0xff, 0xff, 0xff, 0xff))
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		kind %= uint8(len(encodings))
		if walk(int(kind), b) != nil {
			return
		}
		if n := allocated(func() { decode(int(kind), b) }); n > limit(len(b)) {
			t.Errorf("%s: %d bytes allocated for %d", encodings[kind].name, n, len(b))
		}
	})
}
