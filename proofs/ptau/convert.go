package ptau

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	curve "github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark/backend/groth16/bn254/mpcsetup"

	"github.com/waybill-network/waybill/rollup"
)

// Convert checks the first n powers, and writes them as gnark's mpcsetup.SrsCommons are read,
// without compressing points. What was written is worth nothing when there is an error, which is a
// Reason or the writer's.
func (f *File) Convert(w io.Writer, n uint64) error {
	if n < 2 || n&(n-1) != 0 || n > 1<<f.Power {
		return rollup.Refuse(ReasonSize, "2^%d, where %d are needed", f.Power, n)
	}
	c, err := newCheck()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 1<<20)
	if err := f.convert(out, n, c); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("ptau: %w", err)
	}
	if err := f.checkLast(c); err != nil {
		return err
	}
	return c.verdict()
}

// convert writes in gnark's order, in which the first points of τ are left out.
func (f *File) convert(out *bufio.Writer, n uint64, c *check) error {
	out.Write(binary.BigEndian.AppendUint64(nil, n)) // a bufio.Writer keeps its first error
	b, err := f.read(f.sections[sectionBeta2].at, sizeG2)
	if err != nil {
		return err
	}
	if err := decode2(&c.beta2, b); err != nil {
		return err
	}
	write2(out, &c.beta2)
	err = f.points1(sectionTau1, 2*n-1, &c.tau1, func(i uint64, p *curve.G1Affine) {
		switch i {
		case 0:
			return
		case 1:
			c.tau = *p
		}
		if i == n {
			c.tauDomain = *p
		}
		write1(out, p)
	})
	if err != nil {
		return err
	}
	err = f.points2(n, &c.tau2, func(i uint64, p *curve.G2Affine) {
		switch i {
		case 0:
			return
		case 1:
			c.tauG2 = *p
		}
		write2(out, p)
	})
	if err != nil {
		return err
	}
	write := func(_ uint64, p *curve.G1Affine) { write1(out, p) }
	if err := f.points1(sectionBeta, n, &c.beta, write); err != nil {
		return err
	}
	return f.points1(sectionAlpha, n, &c.alpha, write)
}

func write1(out *bufio.Writer, p *curve.G1Affine) { b := p.RawBytes(); out.Write(b[:]) }
func write2(out *bufio.Writer, p *curve.G2Affine) { b := p.RawBytes(); out.Write(b[:]) }

// points1 passes the first n points of a section by, in pieces.
func (f *File) points1(kind uint32, n uint64, to *progression1,
	see func(i uint64, p *curve.G1Affine)) error {
	points := make([]curve.G1Affine, min(n, f.piece))
	for at := uint64(0); at < n; at += uint64(len(points)) {
		points = points[:min(uint64(len(points)), n-at)]
		b, err := f.read(f.sections[kind].at+int64(at)*sizeG1, len(points)*sizeG1)
		if err != nil {
			return err
		}
		if err := each(len(points), func(i int) error {
			return located(decode1(&points[i], b[i*sizeG1:]), kind, at+uint64(i))
		}); err != nil {
			return err
		}
		if err := to.add(points); err != nil {
			return err
		}
		for i := range points {
			see(at+uint64(i), &points[i])
		}
	}
	return nil
}

// points2 does it for the powers in G2.
func (f *File) points2(n uint64, to *progression2, see func(i uint64, p *curve.G2Affine)) error {
	points := make([]curve.G2Affine, min(n, f.piece))
	for at := uint64(0); at < n; at += uint64(len(points)) {
		points = points[:min(uint64(len(points)), n-at)]
		b, err := f.read(f.sections[sectionTau2].at+int64(at)*sizeG2, len(points)*sizeG2)
		if err != nil {
			return err
		}
		if err := each(len(points), func(i int) error {
			return located(decode2(&points[i], b[i*sizeG2:]), sectionTau2, at+uint64(i))
		}); err != nil {
			return err
		}
		if err := to.add(points); err != nil {
			return err
		}
		for i := range points {
			see(at+uint64(i), &points[i])
		}
	}
	return nil
}

// located says which point is wrong.
func located(err error, kind uint32, i uint64) error {
	if err == nil {
		return nil
	}
	return rollup.Refuse(ReasonPoint, "number %d of section %d: %w", i, kind, err)
}

// checkLast compares the powers with what the last contribution says that it left.
func (f *File) checkLast(c *check) error {
	if !c.tau.Equal(&f.last.tau1) || !c.tauG2.Equal(&f.last.tau2) ||
		!c.alpha.first.Equal(&f.last.alpha1) || !c.beta.first.Equal(&f.last.beta1) ||
		!c.beta2.Equal(&f.last.beta2) {
		return rollup.Refuse(ReasonContributions, "the last one left other powers")
	}
	return nil
}

// Check checks powers that were converted before, of which nothing is known but that their points
// are in their groups, as gnark's decoder makes sure of. The error is a Reason.
func Check(powers *mpcsetup.SrsCommons) error {
	n := len(powers.G2.Tau)
	if n < 2 || len(powers.G1.Tau) != 2*n-1 || len(powers.G1.AlphaTau) != n ||
		len(powers.G1.BetaTau) != n {
		return ReasonSize
	}
	c, err := newCheck()
	if err != nil {
		return err
	}
	c.beta2, c.tau, c.tauG2 = powers.G2.Beta, powers.G1.Tau[1], powers.G2.Tau[1]
	c.tauDomain = powers.G1.Tau[n]
	for _, s := range []struct {
		p      *progression1
		points []curve.G1Affine
	}{{&c.tau1, powers.G1.Tau}, {&c.alpha, powers.G1.AlphaTau}, {&c.beta, powers.G1.BetaTau}} {
		if err := s.p.add(s.points); err != nil {
			return err
		}
	}
	if err := c.tau2.add(powers.G2.Tau); err != nil {
		return err
	}
	for _, p := range []*curve.G1Affine{&c.tau, &c.alpha.first, &c.beta.first} {
		if p.IsInfinity() {
			return ReasonPoint
		}
	}
	return c.verdict()
}
