package poseidon2

import (
	"bytes"
	"errors"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr/poseidon2"

	"github.com/waybill-network/waybill/kernels/cpu/cputest"
)

// seeded returns a source of randomness whose seed is in the test's log.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func randomElement(r *rand.Rand) Element {
	var v big.Int
	for range 5 {
		v.Add(v.Lsh(&v, 64), new(big.Int).SetUint64(r.Uint64()))
	}
	return fromInteger(v.Mod(&v, fr.Modulus()))
}

// boundaries are elements about the ends of the field and about each carry, as integers and in the
// two forms that the implementations keep: times 2^256 in words of 64 bits, times 2^260 in limbs of
// 52.
func boundaries() (es []Element) {
	p := fr.Modulus()
	add := func(v *big.Int) {
		for _, power := range []uint{0, 256, 260} {
			inverse := new(big.Int).ModInverse(new(big.Int).Lsh(big.NewInt(1), power), p)
			e := new(big.Int).Mul(v, inverse)
			es = append(es, fromInteger(e.Mod(e, p)))
		}
	}
	for d := int64(-2); d <= 2; d++ {
		add(big.NewInt(d))
		add(new(big.Int).Add(new(big.Int).Rsh(p, 1), big.NewInt(d)))
	}
	for _, word := range []uint{52, 64} {
		for bits := word; bits < 254; bits += word {
			for d := int64(-1); d <= 1; d++ {
				add(new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), bits), big.NewInt(d)))
			}
		}
	}
	return es
}

// gnarkPermute permutes states with gnark-crypto.
func gnarkPermute(t testing.TB, states []Element) []Element {
	out := slices.Clone(states)
	p := poseidon2.NewPermutation(Width, 8, 57)
	for x := range slices.Chunk(out, Width) {
		y := make([]fr.Element, Width)
		for i := range y {
			y[i] = fr.Element(x[i])
		}
		if err := p.Permutation(y); err != nil {
			t.Fatal(err)
		}
		for i := range y {
			x[i] = Element(y[i])
		}
	}
	return out
}

// agree compares an implementation with gnark-crypto.
func agree(t *testing.T, code implementation, in []Element) {
	t.Helper()
	want := gnarkPermute(t, in)
	got := slices.Clone(in)
	code.permuteMany(got)
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("state %d, element %d of %d: %v, not %v", i/Width, i%Width, len(in), got[i],
				want[i])
		}
	}
	out := make([]Element, len(in)/Width)
	code.compressMany(out, in)
	for i := range out {
		var sum fr.Element
		sum.Add(e(&want[i*Width]), e(&in[i*Width]))
		if out[i] != Element(sum) {
			t.Fatalf("compression %d of %d: %v, not %v", i, len(out), out[i], &sum)
		}
	}
}

func TestBoundaries(t *testing.T) {
	b := boundaries()
	var in []Element
	for shift := range len(b) {
		for i := range Width { // every value in every place, and beside every other
			in = append(in, b[(i*(shift%7+1)+shift)%len(b)])
		}
	}
	for _, x := range b {
		in = append(in, slices.Repeat([]Element{x}, Width)...)
	}
	cputest.Each(t, kernel, func(t *testing.T, code implementation) { agree(t, code, in) })
}

func TestLengths(t *testing.T) {
	r := seeded(t)
	cputest.Each(t, kernel, func(t *testing.T, code implementation) {
		for _, states := range []int{0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 65} {
			in := make([]Element, states*Width)
			for i := range in {
				in[i] = randomElement(r)
			}
			agree(t, code, in)
		}
	})
}

// TestPaper compares with the definition in integers.
func TestPaper(t *testing.T) {
	r, ref := seeded(t), newReference(t)
	in := make([]Element, 9*Width)
	for i := range in {
		if in[i] = randomElement(r); i < Width {
			in[i] = Element{}
		}
	}
	cputest.Each(t, kernel, func(t *testing.T, code implementation) {
		out := slices.Clone(in)
		code.permuteMany(out)
		for i := 0; i < len(in); i += Width {
			if want := ref.permuted(in[i:]); want != [Width]Element(out[i:]) {
				t.Fatalf("state %d", i/Width)
			}
		}
	})
	x := [Width]Element(in[Width:])
	y := x
	if Permute(&y); y != ref.permuted(x[:]) {
		t.Error("Permute differs")
	}
}

// TestSelfTestSees breaks one value at a time.
func TestSelfTestSees(t *testing.T) {
	if err := selfTest(generic{}, generic{}); err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string]implementation{
		"compression": spoiled{compress: func(out []Element) { out[len(out)-1] = Element{} }},
		"permutation": spoiled{permute: func(x []Element) { x[len(x)-1] = Element{} }},
	} {
		if selfTest(broken, generic{}) == nil {
			t.Errorf("a wrong %s passes", name)
		}
	}
}

type spoiled struct {
	generic
	compress, permute func([]Element)
}

func (s spoiled) compressMany(out, in []Element) {
	if s.generic.compressMany(out, in); s.compress != nil {
		s.compress(out)
	}
}

func (s spoiled) permuteMany(x []Element) {
	if s.generic.permuteMany(x); s.permute != nil {
		s.permute(x)
	}
}

func TestCompressManyRefuses(t *testing.T) {
	for _, in := range []int{0, 15, 17, 32} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("one output for %d elements", in)
				}
			}()
			CompressMany(make([]Element, 1), make([]Element, in))
		}()
	}
}

func TestElement(t *testing.T) {
	little := func(v *big.Int) []byte {
		b := v.FillBytes(make([]byte, Size))
		slices.Reverse(b)
		return b
	}
	p, one := fr.Modulus(), big.NewInt(1)
	power := func(n uint) *big.Int { return new(big.Int).Lsh(one, n) }
	for _, v := range []*big.Int{{}, one, big.NewInt(256), power(192), power(253),
		new(big.Int).Sub(p, one)} {
		e, err := ParseElement(little(v))
		if b := e.Bytes(); err != nil || !bytes.Equal(b[:], little(v)) || e.String() != v.String() {
			t.Errorf("%v: %v, %x, %v", v, e, b, err)
		}
	}
	for _, v := range []*big.Int{p, new(big.Int).Add(p, one), power(255),
		new(big.Int).Sub(power(256), one)} {
		if _, err := ParseElement(little(v)); !errors.Is(err, ErrEncoding) {
			t.Errorf("%x: %v", v, err)
		}
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := ParseElement(make([]byte, n)); !errors.Is(err, ErrLength) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	ones := [Size]byte(bytes.Repeat([]byte{0xff}, Size))
	if got := Truncate(ones); integer(got).Cmp(new(big.Int).Sub(power(253), one)) != 0 {
		t.Errorf("truncated ones: %v", got)
	}
	const words = "ffffffffffffffff00000000000000020000000000000001"
	if got := integer(FromUint64s([4]uint64{1, 2, ^uint64(0)})).Text(16); got != words {
		t.Errorf("words: %s", got)
	}
}

func FuzzCompress(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 8*Width*Size))
	f.Fuzz(func(t *testing.T, data []byte) {
		states := min(17, max(1, len(data)/(Width*Size)))
		in := make([]Element, states*Width)
		for i := range in {
			var b [Size]byte
			copy(b[:], data[min(i*Size, len(data)):])
			if in[i] = Truncate(b); b[Size-1] >= 0x80 { // what lies above 2^253 is reached as well
				e(&in[i]).Neg(e(&in[i]))
			}
		}
		for _, name := range kernel.Names() {
			if code, err := kernel.Implementation(name); err == nil {
				agree(t, code, in)
			}
		}
	})
}
