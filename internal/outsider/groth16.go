package outsider

import (
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"slices"

	"github.com/ethereum/go-ethereum/crypto/bn256/cloudflare"
)

// verifyingKey is that of section 15.
type verifyingKey struct {
	alpha             *bn256.G1
	beta, gamma       *bn256.G2
	delta             *bn256.G2
	k                 [3]*bn256.G1
	base, sigmaNegate *bn256.G2 // G and −σG
}

// points reads points and keeps the first error.
type points struct {
	r   *reader
	err error
}

func (p *points) raw(n int) []byte {
	b := p.r.take(n)
	if p.err == nil && (p.r.short || !slices.ContainsFunc(b, func(x byte) bool { return x != 0 })) {
		p.err = errors.New("a point is missing, or the identity")
	}
	return b
}

func (p *points) g1() *bn256.G1 {
	out, b := new(bn256.G1), p.raw(64)
	if p.err == nil {
		_, p.err = out.Unmarshal(b)
	}
	return out
}

func (p *points) g2() *bn256.G2 {
	out, b := new(bn256.G2), p.raw(128)
	if p.err == nil {
		_, p.err = out.Unmarshal(b)
	}
	return out
}

func parseVerifyingKey(b []byte, size int) (*verifyingKey, error) {
	p := &points{r: &reader{b: b}}
	if p.r.u32() != uint32(size) {
		return nil, errors.New("verifying key: of another circuit size")
	}
	k := &verifyingKey{alpha: p.g1(), beta: p.g2(), gamma: p.g2(), delta: p.g2()}
	for i := range k.k {
		k.k[i] = p.g1()
	}
	k.base, k.sigmaNegate = p.g2(), p.g2()
	if p.err != nil {
		return nil, fmt.Errorf("verifying key: %w", p.err)
	}
	return k, nil
}

// verify checks a proof for a public input.
func (k *verifyingKey) verify(public element, proof []byte) error {
	p := &points{r: &reader{b: proof}}
	a, b, c, d, known := p.g1(), p.g2(), p.g1(), p.g1(), p.g1()
	if p.err != nil {
		return fmt.Errorf("proof: %w", p.err)
	}
	input := integer(public)
	h := keccak256(slices.Concat(d.Marshal(), input.FillBytes(make([]byte, 32))))
	l := new(bn256.G1).Add(k.k[0], d)
	l.Add(l, new(bn256.G1).ScalarMult(k.k[1], input))
	l.Add(l,
		new(bn256.G1).ScalarMult(k.k[2],
			new(big.Int).Mod(new(big.Int).SetBytes(h[:]), theHash().r)))
	negated := func(p *bn256.G1) *bn256.G1 { return new(bn256.G1).Neg(p) }
	if !bn256.PairingCheck([]*bn256.G1{a, negated(k.alpha), negated(l), negated(c)},
		[]*bn256.G2{b, k.beta, k.gamma, k.delta}) ||
		!bn256.PairingCheck([]*bn256.G1{d, known}, []*bn256.G2{k.sigmaNegate, k.base}) {
		return errors.New("proof: does not verify")
	}
	return nil
}

// keccak256 is Keccak as Ethereum has it, for inputs of less than a block: rate 136, padding 01 …
// 80.
func keccak256(in []byte) (out [32]byte) {
	var block [136]byte
	if copy(block[:], in) == len(block) {
		panic("keccak256: of more than a block")
	}
	block[len(in)] ^= 0x01
	block[135] ^= 0x80
	var s [25]uint64 // lane (x, y) at x + 5y
	for i := range 17 {
		s[i] = le.Uint64(block[8*i:])
	}
	lfsr := byte(1)
	for range 24 {
		var c [5]uint64
		for i := range s { // theta
			c[i%5] ^= s[i]
		}
		for i := range s {
			s[i] ^= c[(i+4)%5] ^ bits.RotateLeft64(c[(i+1)%5], 1)
		}
		x, y, current := 1, 0, s[1] // rho and pi
		for t := range 24 {
			x, y = y, (2*x+3*y)%5
			current, s[x+5*y] = s[x+5*y], bits.RotateLeft64(current, (t+1)*(t+2)/2%64)
		}
		for y := range 5 { // chi
			row := [5]uint64(s[5*y : 5*y+5])
			for x := range row {
				s[5*y+x] = row[x] ^ ^row[(x+1)%5]&row[(x+2)%5]
			}
		}
		for j := range 7 { // iota
			if lfsr&1 == 1 {
				s[0] ^= 1 << (1<<j - 1)
			}
			high := lfsr >> 7
			lfsr = lfsr<<1 ^ high*0x71
		}
	}
	for i := range 4 {
		le.PutUint64(out[8*i:], s[i])
	}
	return out
}
