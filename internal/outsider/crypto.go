package outsider

import (
	"bytes"
	"errors"

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

func networkID(chainID string) (id [8]byte) {
	sum := blake3.Sum256([]byte("waybill/network/1" + chainID))
	copy(id[:], sum[:])
	return id
}

// A tree is named by the stem of its two contexts: "waybill/<stem>-leaf/1" and "waybill/<stem>-node/1".
type tree string

func (t tree) leaf(entry []byte) hash { return keyed("waybill/"+string(t)+"-leaf/1", entry) }
func (t tree) node(l, r hash) hash    { return keyed("waybill/"+string(t)+"-node/1", l[:], r[:]) }
func (t tree) root(entries [][]byte) hash {
	if len(entries) == 0 {
		return hash{}
	}
	level := make([]hash, len(entries))
	for i, e := range entries {
		level[i] = t.leaf(e)
	}
	for len(level) > 1 {
		next := level[:0]
		for i := 0; i+1 < len(level); i += 2 {
			next = append(next, t.node(level[i], level[i+1]))
		}
		if len(level)%2 == 1 {
			next = append(next, level[len(level)-1])
		}
		level = next
	}
	return level[0]
}

// included is RFC 9162 section 2.1.3.2.
func (t tree) included(entry []byte, index, size uint32, path []hash, root hash) bool {
	if index >= size {
		return false
	}
	fn, sn, r := index, size-1, t.leaf(entry)
	for _, p := range path {
		if sn == 0 {
			return false
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
	return sn == 0 && r == root
}

var (
	errEncoding = errors.New("encoding is not canonical or not on the curve")
	errIdentity = errors.New("is the identity")
	errSubgroup = errors.New("is not in the subgroup")
)

// encodedIdentity is the identity of G1, compressed.
var encodedIdentity = append([]byte{0xc0}, make([]byte, 47)...)

func decodeSignature(b []byte) (*blst.P1Affine, error) {
	p := new(blst.P1Affine).Uncompress(b)
	switch {
	case p == nil || !bytes.Equal(p.Compress(), b):
		return nil, errEncoding
	case bytes.Equal(b, encodedIdentity):
		return nil, errIdentity
	case !p.InG1():
		return nil, errSubgroup
	}
	return p, nil
}

func decodeKey(b []byte) (*blst.P2Affine, error) {
	p := new(blst.P2Affine).Uncompress(b)
	switch {
	case p == nil || !bytes.Equal(p.Compress(), b):
		return nil, errEncoding
	case b[0] == 0xc0: // canonical, so all the rest is zero
		return nil, errIdentity
	case !p.KeyValidate():
		return nil, errSubgroup
	}
	return p, nil
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
	if pk.Compress()[0] == 0xc0 {
		return errIdentity
	}
	if !s.Verify(false, pk, false, msg, []byte(dst)) {
		return errors.New("does not verify")
	}
	return nil
}

// verifyAggregate checks e(σ, g2) = ∏ e(Σ H(m), pk): one pairing for each key, over the sum of its hashed messages.
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
