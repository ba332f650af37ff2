package bls

import (
	"math/big"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/hash_to_curve"

	"github.com/waybill-network/waybill/kernels/sha256"
)

// Hashing to G1 follows RFC 9380, suite BLS12381G1_XMD:SHA-256_SSWU_RO_. It is cut in
// two: hashToIso ends with the sum of the two SWU points on the 11-isogenous curve,
// and toG1 and clearCofactor do the rest. Both later steps are group
// homomorphisms, so a batch combines points on the isogenous curve and pays for them
// once per signer instead of once per message.

// hashBlock is how many messages share a field inversion.
const hashBlock = 128

// uniformBytes is what one message expands to: two field elements of 64 bytes each,
// RFC 9380 section 8.8.1 (L = 64).
const uniformBytes = 128

// Constants of the SWU map, RFC 9380 section 6.6.2, for the isogenous curve.
var (
	swuZ         = hash_to_curve.G1SSWUIsogenyZ()
	swuMinusBByA = func() (x fp.Element) { // -B/A
		x.Inverse(&iso.a).Mul(&x, &iso.b)
		return *x.Neg(&x)
	}()
	swuException = func() (x fp.Element) { // B/(ZA), the image of u with Z²u⁴ + Zu² = 0
		x.Inverse(&swuZ).Mul(&x, &swuMinusBByA)
		return *x.Neg(&x)
	}()
	swuSqrt = func() (x fp.Element) { // √(-Z³); -1 and Z are both non-squares
		x.Square(&swuZ).Mul(&x, &swuZ).Neg(&x)
		x.Sqrt(&x)
		return x
	}()
	beta = func() (x fp.Element) { // the cube root of one that belongs to −x²·φ(P) = P
		x.SetString(
			"4002409555221667392624310435006688643935503118305586438271171395842971157480381377015405980053539358417135540939436")
		return x
	}()
	twoTo256 = func() (x fp.Element) {
		x.SetUint64(1 << 32)
		for range 3 {
			x.Square(&x)
		}
		return x
	}()
)

// hash maps one message to G1.
func (su Suite) hash(msg []byte) affine {
	var l workspace
	var p [1]affine
	l.hashToIso(p[:], su.dstPrime(), func(int) []byte { return msg })
	return clearCofactor(toG1(p[0]))
}

func (su Suite) dstPrime() []byte { return sha256.DSTPrime(su.DST) }

// fieldElement reduces 64 big-endian bytes modulo p.
func fieldElement(b []byte) fp.Element {
	var hi, lo fp.Element
	var raw [fp.Bytes]byte
	const half = 32
	copy(raw[fp.Bytes-half:], b[:half])
	hi, _ = fp.BigEndian.Element(&raw) // below 2^256, so canonical
	copy(raw[fp.Bytes-half:], b[half:])
	lo, _ = fp.BigEndian.Element(&raw)
	return *hi.Mul(&hi, &twoTo256).Add(&hi, &lo)
}

// hashToIso sets dst[i] to the point of the isogenous curve that message i hashes to,
// before the isogeny.
func (l *workspace) hashToIso(dst []affine, dstPrime []byte, msg func(i int) []byte) {
	for base := 0; base < len(dst); base += hashBlock {
		block := dst[base:min(base+hashBlock, len(dst))]
		l.messages = grow(l.messages, len(block))
		for i := range block {
			l.messages[i] = msg(base + i)
		}
		l.uniform = grow(l.uniform, len(block)*uniformBytes)
		sha256.ExpandXMD(l.uniform, uniformBytes, dstPrime, l.messages)
		l.u = grow(l.u, 2*len(block))
		for i := range l.u {
			l.u[i] = fieldElement(l.uniform[64*i:][:64])
		}
		if w := l.wideFor(len(l.u)); w != nil && len(l.u) >= crossover().hashed {
			w.hashToIso(block, l.u)
			continue
		}
		l.points = grow(l.points, len(l.u))
		l.mapToIso(l.points, l.u)
		l.segments = grow(l.segments, len(block))
		for i := range l.segments {
			l.segments[i] = segment{start: 2 * i, n: 2}
		}
		l.sum(&iso, l.points, l.segments)
		for i := range block {
			block[i] = l.points[2*i]
		}
	}
}

// mapToIso is the simplified SWU map, RFC 9380 section 6.6.2, on many field elements:
// with the denominators inverted together, each costs one exponentiation.
func (l *workspace) mapToIso(dst []affine, u []fp.Element) {
	l.den = grow(l.den, len(u))
	for i := range u {
		zu2 := &dst[i].X // Zu², needed again below
		zu2.Square(&u[i]).Mul(zu2, &swuZ)
		l.den[i].Square(zu2).Add(&l.den[i], zu2)
	}
	l.invert(l.den)
	var one, x, gx, y, check fp.Element
	one.SetOne()
	for i := range u {
		if l.den[i].IsZero() {
			x = swuException
		} else {
			x.Add(&l.den[i], &one).Mul(&x, &swuMinusBByA)
		}
		gx.Square(&x).Add(&gx, &iso.a).Mul(&gx, &x).Add(&gx, &iso.b)
		y.ExpBySqrtPp1o4(gx)
		if check.Square(&y); check.Equal(&gx) {
			dst[i].X = x
		} else {
			// y² = -gx, so (√(-Z³)·u³·y)² = Z³u⁶·gx, which is g(Zu²x).
			dst[i].X.Mul(&dst[i].X, &x)
			y.Mul(&y, &swuSqrt).Mul(&y, &u[i])
			check.Square(&u[i])
			y.Mul(&y, &check)
		}
		if hash_to_curve.G1Sgn0(&u[i]) != hash_to_curve.G1Sgn0(&y) {
			y.Neg(&y)
		}
		dst[i].Y = y
	}
}

// toG1 takes a point of the isogenous curve to g1.
func toG1(p affine) affine {
	if !p.IsInfinity() {
		hash_to_curve.G1Isogeny(&p.X, &p.Y)
	}
	return p
}

// effectiveCofactor is 1 − x for the parameter x of the curve, RFC 9380 section 8.8.1.
const effectiveCofactor = loopParameter + 1

// inverseCofactor is 1/effectiveCofactor modulo r.
var inverseCofactor = func() *big.Int {
	var x fr.Element
	x.SetUint64(effectiveCofactor)
	return x.Inverse(&x).BigInt(new(big.Int))
}()

// clearCofactor multiplies a point of g1 by the effective cofactor.
func clearCofactor(p affine) affine {
	var j bls12381.G1Jac
	j.FromAffine(&p).ClearCofactor(&j)
	p.FromJacobian(&j)
	return p
}
