package ptau

import (
	"bytes"
	"encoding/binary"
	"math/big"

	curve "github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark-crypto/ecc/bn254/fp"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
)

// made is a file that a test writes, section by section, so that it can change any of it.
type made struct {
	version  uint32
	sections []madeSection
	behind   []byte
}

type madeSection struct {
	kind uint32
	size int64 // that it says, where it is not -1
	body []byte
}

// secrets are what a real ceremony destroys.
type secrets struct{ tau, alpha, beta uint64 }

var usual = secrets{5, 7, 11}

// write makes a file with 2^power powers of known secrets and one contribution.
func write(power int, s secrets) *made {
	n := 1 << power
	var tau, alpha, beta, one fr.Element
	tau.SetUint64(s.tau)
	alpha.SetUint64(s.alpha)
	beta.SetUint64(s.beta)
	one.SetOne()
	m := &made{version: 1}
	m.add(sectionHeader, header(power, power))
	m.add(sectionTau1, points1(&one, &tau, 2*n-1))
	m.add(sectionTau2, points2(&one, &tau, n))
	m.add(sectionAlpha, points1(&alpha, &tau, n))
	m.add(sectionBeta, points1(&beta, &tau, n))
	m.add(sectionBeta2, points2(&beta, &tau, 1))
	m.add(sectionContributions, append([]byte{1, 0, 0, 0}, contribution(s, "alice")...))
	return m
}

func (m *made) add(kind uint32, body []byte) {
	m.sections = append(m.sections, madeSection{kind, -1, body})
}

// of returns a section of a type, for changes.
func (m *made) of(kind uint32) *madeSection {
	for i := range m.sections {
		if m.sections[i].kind == kind {
			return &m.sections[i]
		}
	}
	panic("no such section")
}

func (m *made) bytes() []byte {
	b := binary.LittleEndian.AppendUint32([]byte("ptau"), m.version)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.sections)))
	for _, s := range m.sections {
		b = binary.LittleEndian.AppendUint32(b, s.kind)
		if s.size < 0 {
			s.size = int64(len(s.body))
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(s.size))
		b = append(b, s.body...)
	}
	return append(b, m.behind...)
}

func (m *made) open() (*File, error) {
	b := m.bytes()
	return Open(bytes.NewReader(b), int64(len(b)))
}

func header(power, ceremony int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, fp.Bytes)
	modulus := fp.Modulus().FillBytes(make([]byte, fp.Bytes))
	for i := range modulus {
		b = append(b, modulus[len(modulus)-1-i])
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(power))
	return binary.LittleEndian.AppendUint32(b, uint32(ceremony))
}

// contribution leaves the powers of s. Nobody reads its proofs.
func contribution(s secrets, name string) []byte {
	var tau, alpha, beta fr.Element
	tau.SetUint64(s.tau)
	alpha.SetUint64(s.alpha)
	beta.SetUint64(s.beta)
	b := points1(&tau, &tau, 1)
	b = append(b, points2(&tau, &tau, 1)...)
	b = append(b, points1(&alpha, &tau, 1)...)
	b = append(b, points1(&beta, &tau, 1)...)
	b = append(b, points2(&beta, &tau, 1)...)
	b = append(b, make([]byte, sizeProofs+4)...)
	b = binary.LittleEndian.AppendUint32(b, uint32(2+len(name)))
	b = append(b, parameterName, byte(len(name)))
	return append(b, name...)
}

// points1 is n points: first, first·ratio …
func points1(first, ratio *fr.Element, n int) (b []byte) {
	for s := *first; n > 0; n-- {
		var p curve.G1Affine
		p.ScalarMultiplicationBase(s.BigInt(new(big.Int)))
		b = encode(b, &p.X, &p.Y)
		s.Mul(&s, ratio)
	}
	return b
}

func points2(first, ratio *fr.Element, n int) (b []byte) {
	for s := *first; n > 0; n-- {
		var p curve.G2Affine
		p.ScalarMultiplicationBase(s.BigInt(new(big.Int)))
		b = encode(b, &p.X.A0, &p.X.A1, &p.Y.A0, &p.Y.A1)
		s.Mul(&s, ratio)
	}
	return b
}

func encode(b []byte, coordinates ...*fp.Element) []byte {
	for _, c := range coordinates {
		for _, limb := range c {
			b = binary.LittleEndian.AppendUint64(b, limb)
		}
	}
	return b
}
