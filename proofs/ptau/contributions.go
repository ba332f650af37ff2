package ptau

import (
	"encoding/binary"
	"strings"
	"unicode"
	"unicode/utf8"

	curve "github.com/consensys/gnark-crypto/ecc/bn254"

	"github.com/waybill-network/waybill/rollup"
)

// Contribution is one step of the ceremony that made a file, by the name that its maker gave.
type Contribution struct {
	Name   string `json:"name"`
	Beacon bool   `json:"beacon,omitempty"` // made from a public value, by nobody
}

// accumulator is what a contribution left, in the points from which all others follow.
type accumulator struct {
	tau1, alpha1, beta1 curve.G1Affine
	tau2, beta2         curve.G2Affine
}

// The section is a number of contributions u32, then each of them: accumulator, with τ in G1 and in
// G2 first; proofs of knowledge; the state of a hash; the next challenge; type u32; and the
// parameters behind their length u32. A parameter is its type u8 and its value, in ascending order.
const (
	sizeAccumulator = 3*sizeG1 + 2*sizeG2
	sizeProofs      = 6*sizeG1 + 3*sizeG2 + 216 + 64
	sizeFixed       = sizeAccumulator + sizeProofs + 4 + 4

	typeBeacon = 1

	parameterName       = 1 // length u8 ‖ name
	parameterIterations = 2 // exponent u8
	parameterBeacon     = 3 // length u8 ‖ value
)

// readContributions reads who contributed, and checks that every step left a pair of powers in both
// groups. The proofs of knowledge are not repeated: the ceremony's file is known by its digest, and
// a forger of a whole file would make them for secrets of his own.
func (f *File) readContributions() error {
	s := f.sections[sectionContributions]
	if s.size < 4 || s.size > maxContributions {
		return rollup.Refuse(ReasonSections, "contributions of %d bytes", s.size)
	}
	b, err := f.read(s.at, int(s.size))
	if err != nil {
		return err
	}
	n := binary.LittleEndian.Uint32(b)
	if b = b[4:]; uint64(n) > uint64(len(b)/sizeFixed) {
		return rollup.Refuse(ReasonContributions, "%d of them in %d bytes", n, len(b))
	}
	if n == 0 {
		return ReasonNobody
	}
	f.Contributions = make([]Contribution, n)
	f.last = new(accumulator)
	for i := range f.Contributions {
		if b, err = f.Contributions[i].parse(b, f.last); err != nil {
			return rollup.Refuse(ReasonContributions, "number %d: %w", i+1, err)
		}
	}
	if len(b) > 0 {
		return rollup.Refuse(ReasonContributions, "%d bytes stand behind them", len(b))
	}
	return nil
}

// parse reads a contribution and returns the bytes behind it.
func (c *Contribution) parse(b []byte, left *accumulator) (rest []byte, err error) {
	if len(b) < sizeFixed {
		return nil, rollup.Refuse(ReasonContributions, "it is cut")
	}
	if err := left.parse(b); err != nil {
		return nil, err
	}
	b = b[sizeAccumulator+sizeProofs:]
	c.Beacon = binary.LittleEndian.Uint32(b) == typeBeacon
	n := binary.LittleEndian.Uint32(b[4:])
	if b = b[8:]; uint64(n) > uint64(len(b)) {
		return nil, rollup.Refuse(ReasonContributions, "its parameters are cut")
	}
	return b[n:], c.parameters(b[:n])
}

func (c *Contribution) parameters(b []byte) error {
	for last := byte(0); len(b) > 0; {
		kind := b[0]
		if kind <= last || kind > parameterBeacon || len(b) < 2 {
			return rollup.Refuse(ReasonContributions, "parameter %d is not known here", kind)
		}
		last = kind
		if kind == parameterIterations {
			b = b[2:]
			continue
		}
		n := int(b[1])
		if b = b[2:]; n > len(b) {
			return rollup.Refuse(ReasonContributions, "parameter %d is cut", kind)
		}
		if kind == parameterName {
			c.Name = printable(b[:n])
		}
		b = b[n:]
	}
	return nil
}

// printable makes a stranger's name fit for a terminal.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, string(b))
}

// parse reads the points of an accumulator.
func (a *accumulator) parse(b []byte) error {
	for _, p := range []struct {
		g1 *curve.G1Affine
		g2 *curve.G2Affine
	}{{g1: &a.tau1}, {g2: &a.tau2}, {g1: &a.alpha1}, {g1: &a.beta1}, {g2: &a.beta2}} {
		var err error
		if p.g1 != nil {
			err, b = decode1(p.g1, b), b[sizeG1:]
		} else {
			err, b = decode2(p.g2, b), b[sizeG2:]
		}
		if err != nil {
			return err
		}
	}
	if !samePair(&a.tau1, &a.tau2) || !samePair(&a.beta1, &a.beta2) {
		return rollup.Refuse(ReasonPowers, "two groups, two secrets")
	}
	return nil
}
