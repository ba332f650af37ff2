// Package ptau reads powers of a secret τ from a public file, of the format that snarkjs calls
// .ptau, checks them, and turns them into what gnark's setup takes. The secret is that of hundreds
// of people, none of whom the readers of this file need to have met.
//
// A file is "ptau", a version, and sections behind their type and size. All integers are
// little-endian. A coordinate is in Montgomery form, as it is in memory, so that no conversion is
// needed; a point is x ‖ y, and of G2 each of them is its two components.
//
//	1 header         coordinate size u32 ‖ modulus ‖ power u32 ‖ power of the ceremony u32
//	2 τ in G1        2·2^power − 1 points: 1, τ, τ² …
//	3 τ in G2        2^power points
//	4 ατ in G1       2^power points: α, ατ, ατ² …
//	5 βτ in G1       2^power points
//	6 β in G2        one point
//	7 contributions  see contributions.go
//	12 to 15         the same in Lagrange form, which nothing here uses
//
// Files may be larger than the memory. Everything but a few thousand points at a time stays in the
// file.
package ptau

import (
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"math/bits"
	"slices"

	curve "github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark-crypto/ecc/bn254/fp"
	"golang.org/x/crypto/blake2b"

	"github.com/waybill-network/waybill/rollup"
)

// Sizes of points in bytes.
const (
	sizeG1 = 2 * fp.Bytes
	sizeG2 = 4 * fp.Bytes
)

// Sections by type.
const (
	sectionHeader = iota + 1
	sectionTau1
	sectionTau2
	sectionAlpha
	sectionBeta
	sectionBeta2
	sectionContributions
	firstLagrange = 12
	lastLagrange  = 15
)

// Bounds on what a file says.
const (
	version          = 1
	headerSize       = 4 + fp.Bytes + 4 + 4
	maxPower         = 28 // the scalar field has no larger domain
	maxContributions = 16 << 20
)

// DigestSize is the size of a digest in bytes.
const DigestSize = blake2b.Size

// File is an open file whose contributions were read, and whose powers were not.
type File struct {
	Power         int // 2^Power powers stand in it
	Ceremony      int // 2^Ceremony in the file that it was cut from
	Contributions []Contribution

	r        io.ReaderAt
	size     int64
	sections map[uint32]section
	piece    uint64       // how many points are in memory at a time, at most
	last     *accumulator // what the last contribution says of the powers
}

type section struct{ at, size int64 }

// Open reads all of a file but its powers. The error is a Reason.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size, sections: make(map[uint32]section), piece: 1 << 14}
	for _, step := range []func() error{f.readTable, f.readHeader, f.checkSizes,
		f.readContributions} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Digest is BLAKE2b of the whole file, by which those who publish such files name them.
func (f *File) Digest() (digest [DigestSize]byte, err error) {
	h, err := blake2b.New512(nil)
	if err == nil {
		_, err = io.Copy(h, io.NewSectionReader(f.r, 0, f.size))
	}
	if err != nil {
		return digest, rollup.Refuse(ReasonRead, "%w", err)
	}
	h.Sum(digest[:0])
	return digest, nil
}

// readTable finds the sections.
func (f *File) readTable() error {
	const start = 4 + 4 + 4
	b, err := f.read(0, start)
	if err != nil {
		return rollup.Refuse(ReasonFormat, "it ends before its sections")
	}
	if string(b[:4]) != "ptau" {
		return rollup.Refuse(ReasonFormat, "it begins with %q", b[:4])
	}
	if v := binary.LittleEndian.Uint32(b[4:]); v != version {
		return rollup.Refuse(ReasonFormat, "version %d, where %d is known", v, version)
	}
	at := int64(start)
	for range binary.LittleEndian.Uint32(b[8:]) {
		if at, err = f.readSection(at); err != nil {
			return err
		}
	}
	if at != f.size {
		return rollup.Refuse(ReasonSections, "%d bytes stand behind them", f.size-at)
	}
	return nil
}

// readSection takes a section into the table and returns where the next one begins. A section that
// is not known, or there twice, is refused, so that the loop over a lying count is short.
func (f *File) readSection(at int64) (next int64, err error) {
	const start = 4 + 8
	if f.size-at < start {
		return 0, rollup.Refuse(ReasonSections, "it ends where one should begin")
	}
	b, err := f.read(at, start)
	if err != nil {
		return 0, err
	}
	kind, size := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint64(b[4:])
	_, twice := f.sections[kind]
	switch known := kind >= sectionHeader && kind <= sectionContributions ||
		kind >= firstLagrange && kind <= lastLagrange; {
	case !known:
		return 0, rollup.Refuse(ReasonSections, "one of type %d", kind)
	case twice:
		return 0, rollup.Refuse(ReasonSections, "type %d is there twice", kind)
	case size > uint64(f.size-at-start):
		return 0, rollup.Refuse(ReasonSections, "type %d has %d bytes, where the file has %d",
			kind, size, f.size-at-start)
	}
	f.sections[kind] = section{at + start, int64(size)}
	return at + start + int64(size), nil
}

func (f *File) readHeader() error {
	s := f.sections[sectionHeader]
	if s.size != headerSize {
		return rollup.Refuse(ReasonSections, "a header of %d bytes, not %d", s.size, headerSize)
	}
	b, err := f.read(s.at, headerSize)
	if err != nil {
		return err
	}
	modulus := slices.Clone(b[4 : 4+fp.Bytes])
	slices.Reverse(modulus)
	if n := binary.LittleEndian.Uint32(b); n != fp.Bytes ||
		fp.Modulus().Cmp(new(big.Int).SetBytes(modulus)) != 0 {
		return rollup.Refuse(ReasonCurve, "a field of %d bytes, modulus %x", n, modulus)
	}
	power := binary.LittleEndian.Uint32(b[4+fp.Bytes:])
	ceremony := binary.LittleEndian.Uint32(b[8+fp.Bytes:])
	if power < 1 || power > ceremony || ceremony > maxPower {
		return rollup.Refuse(ReasonSize, "2^%d powers of a ceremony with 2^%d", power, ceremony)
	}
	f.Power, f.Ceremony = int(power), int(ceremony)
	return nil
}

// checkSizes compares the sections with the number of powers.
func (f *File) checkSizes() error {
	n := int64(1) << f.Power
	for kind, want := range map[uint32]int64{ // order-free: any of several faults will do
		sectionTau1:  (2*n - 1) * sizeG1,
		sectionTau2:  n * sizeG2,
		sectionAlpha: n * sizeG1,
		sectionBeta:  n * sizeG1,
		sectionBeta2: sizeG2,
	} {
		if s := f.sections[kind]; s.size != want {
			return rollup.Refuse(ReasonSections, "type %d has %d bytes, where 2^%d powers take %d",
				kind, s.size, f.Power, want)
		}
	}
	return nil
}

// read returns n bytes, which the caller has bounded.
func (f *File) read(at int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if got, err := f.r.ReadAt(b, at); got < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, rollup.Refuse(ReasonRead, "%w", err)
	}
	return b, nil
}

// decode1 reads a point of G1 that is not zero: a power never is. The group has no others than
// those on the curve.
func decode1(p *curve.G1Affine, b []byte) error {
	if !coordinate(&p.X, b) || !coordinate(&p.Y, b[fp.Bytes:]) {
		return rollup.Refuse(ReasonPoint, "a coordinate above the modulus")
	}
	if p.IsInfinity() || !p.IsOnCurve() {
		return rollup.Refuse(ReasonPoint, "zero, or not on the curve")
	}
	return nil
}

// decode2 reads a point of G2 that is not zero.
func decode2(p *curve.G2Affine, b []byte) error {
	for i, c := range []*fp.Element{&p.X.A0, &p.X.A1, &p.Y.A0, &p.Y.A1} {
		if !coordinate(c, b[i*fp.Bytes:]) {
			return rollup.Refuse(ReasonPoint, "a coordinate above the modulus")
		}
	}
	if p.IsInfinity() || !p.IsInSubGroup() {
		return rollup.Refuse(ReasonPoint, "zero, or not in the subgroup")
	}
	return nil
}

// modulus is the field's, in limbs.
var modulus = func() (limbs [fp.Limbs]uint64) {
	b := fp.Modulus().FillBytes(make([]byte, fp.Bytes))
	for i := range limbs {
		limbs[i] = binary.BigEndian.Uint64(b[fp.Bytes-8*(i+1):])
	}
	return limbs
}()

// coordinate reads an element in Montgomery form; ok says whether it is below the modulus.
func coordinate(e *fp.Element, b []byte) (ok bool) {
	borrow := uint64(0)
	for i := range e {
		e[i] = binary.LittleEndian.Uint64(b[8*i:])
		_, borrow = bits.Sub64(e[i], modulus[i], borrow)
	}
	return borrow == 1
}
