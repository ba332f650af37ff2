package outsider

import (
	"bytes"
	"crypto/sha512"
	"errors"
	"math/bits"
	"slices"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"github.com/supranational/blst/bindings/go"
	"lukechampine.com/blake3"
)

const (
	dstSign  = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"
	dstProof = "BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"
)

type hash [32]byte

// keyed is B3k(K(context), parts...) of the document's notation.
func keyed(context string, parts ...[]byte) (out hash) {
	key := blake3.Sum256([]byte(context))
	h := blake3.New(32, key[:])
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(out[:0])
	return out
}

// A tree has the name that section 5 gives it.
type tree string

func (t tree) leaf(entry []byte) hash { return keyed("waybill/"+string(t)+"-leaf/2", entry) }
func (t tree) node(l, r hash) hash    { return keyed("waybill/"+string(t)+"-node/2", l[:], r[:]) }

// root is the recursive definition of RFC 9162 section 2.1.1.
func (t tree) root(entries [][]byte) hash {
	switch len(entries) {
	case 0:
		return hash{}
	case 1:
		return t.leaf(entries[0])
	}
	k := 1 << (bits.Len(uint(len(entries)-1)) - 1)
	return t.node(t.root(entries[:k]), t.root(entries[k:]))
}

// included is RFC 9162 section 2.1.3.2.
func (t tree) included(entry []byte, index, size uint32, path []hash, root hash) bool {
	led, ok := t.rootFrom(entry, index, size, path)
	return ok && led == root
}

// rootFrom is where a path leads, unless its length is wrong.
func (t tree) rootFrom(entry []byte, index, size uint32, path []hash) (root hash, ok bool) {
	if index >= size {
		return root, false
	}
	fn, sn, r := index, size-1, t.leaf(entry)
	for _, p := range path {
		if sn == 0 {
			return root, false
		}
		if fn&1 == 1 || fn == sn {
			r = t.node(p, r)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			r = t.node(r, p)
		}
		fn, sn = fn>>1, sn>>1
	}
	return r, sn == 0
}

// encodedIdentity is the identity of G1, compressed; that of G2 has zeros more.
var encodedIdentity = append([]byte{0xc0}, make([]byte, 47)...)

func decodeSignature(b []byte) (*blst.P1Affine, error) {
	p := new(blst.P1Affine).Uncompress(b)
	if p == nil {
		return nil, judge(b, nil, false)
	}
	return p, judge(b, p.Compress(), p.InG1())
}

func decodeKey(b []byte) (*blst.P2Affine, error) {
	p := new(blst.P2Affine).Uncompress(b)
	if p == nil {
		return nil, judge(b, nil, false)
	}
	return p, judge(b, p.Compress(), p.InG2())
}

// judge says what is wrong with a point's encoding, given how the point is encoded again and
// whether it is in the subgroup.
func judge(b, again []byte, inSubgroup bool) error {
	switch {
	case !bytes.Equal(b, again):
		return errors.New("encoding is not canonical or not on the curve")
	case b[0] == encodedIdentity[0]: // canonical, so all the rest is zero
		return errIdentity
	case !inSubgroup:
		return errors.New("is not in the subgroup")
	}
	return nil
}

var errIdentity = errors.New("is the identity")

// validEd25519 is section 2's rule for keys of accounts, nodes and consensus.
func validEd25519(b []byte) bool {
	encoded, err := curve.NewCompressedEdwardsYFromBytes(b)
	if err != nil {
		return false
	}
	p, err := curve.NewEdwardsPoint().SetCompressedY(encoded)
	if err != nil {
		return false
	}
	again, err := p.MarshalBinary()
	return err == nil && bytes.Equal(again, b) && p.IsTorsionFree() && !p.IsIdentity()
}

// signedEd25519 is section 2's rule for signatures: S below the order, and R is what [S]B − [k]A
// encodes to.
func signedEd25519(key, msg, sig []byte) bool {
	if !validEd25519(key) || len(sig) != 64 {
		return false
	}
	a := curve.NewEdwardsPoint()
	s, err := scalar.NewFromCanonicalBytes(sig[32:])
	if err != nil || a.UnmarshalBinary(key) != nil {
		return false
	}
	digest := sha512.Sum512(slices.Concat(sig[:32], key, msg))
	k, err := scalar.NewFromBytesModOrderWide(digest[:])
	if err != nil {
		return false
	}
	r, err := curve.NewEdwardsPoint().DoubleScalarMulBasepointVartime(k, a.Neg(a),
		s).MarshalBinary()
	return err == nil && bytes.Equal(r, sig[:32])
}

// verifySame checks one signature over one message under the sum of keys.
func verifySame(sig []byte, keys []*blst.P2Affine, msg []byte, dst string) error {
	s, err := decodeSignature(sig)
	if err != nil {
		return err
	}
	var sum blst.P2
	for _, k := range keys {
		sum.AddAssign(k)
	}
	pk := sum.ToAffine()
	if pk.Compress()[0] == encodedIdentity[0] {
		return errIdentity
	}
	if !s.Verify(false, pk, false, msg, []byte(dst)) {
		return errors.New("does not verify")
	}
	return nil
}

// verifyAggregate checks e(σ, g2) = ∏ e(Σ H(m), pk): one pairing for each key, over the sum of its
// hashed messages.
func verifyAggregate(sigma *blst.P1Affine, keys []*blst.P2Affine, messages [][][]byte) bool {
	product := blst.Fp12One()
	for i, key := range keys {
		var sum blst.P1
		for _, m := range messages[i] {
			sum.AddAssign(blst.HashToG1(m, []byte(dstSign)))
		}
		product.MulAssign(blst.Fp12MillerLoop(key, sum.ToAffine()))
	}
	left := blst.Fp12MillerLoop(blst.P2Generator().ToAffine(), sigma)
	return blst.Fp12FinalVerify(left, &product)
}
