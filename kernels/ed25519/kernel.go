package ed25519

import (
	"crypto/ed25519"
	"fmt"

	"github.com/waybill-network/waybill/kernels/cpu"
)

// verify is an implementation.
type verify func(s *Signed) bool

var kernel = cpu.Register("ed25519", check,
	append(vectorized, cpu.Implementation[verify]{Name: cpu.Generic, Code: standard})...)

// standard is the specification.
func standard(s *Signed) bool { return ed25519.Verify(s.Key[:], s.Message, s.Signature[:]) }

// check compares a candidate with generic: signatures that hold, the same with a bit changed in
// each part, with S beyond the order, and under points of small order, for which R is one as well.
func check(candidate, generic verify) error {
	for i, s := range samples() {
		if got, want := candidate(&s), generic(&s); got != want {
			return fmt.Errorf("ed25519: sample %d is %v, expected %v", i, got, want)
		}
	}
	return nil
}

func samples() (list []Signed) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	good := Signed{Key: [32]byte(key.Public().(ed25519.PublicKey)), Message: []byte("waybill")}
	good.Signature = [64]byte(ed25519.Sign(key, good.Message))
	list = append(list, good)
	change := func(f func(s *Signed)) {
		s := good
		f(&s)
		list = append(list, s)
	}
	change(func(s *Signed) { s.Key[7] ^= 1 })
	change(func(s *Signed) { s.Message = nil })
	change(func(s *Signed) { s.Signature[5] ^= 1 })
	change(func(s *Signed) { s.Signature[40] ^= 1 })
	change(func(s *Signed) { // S + ℓ
		carry := 0
		for i, limb := range order {
			sum := int(s.Signature[32+i]) + int(limb) + carry
			s.Signature[32+i], carry = byte(sum), sum>>8
		}
	})
	for _, p := range smallOrder[:4] { // with S = 0, R = −[k]A
		list = append(list, Signed{Key: p, Signature: [64]byte(append(p[:], make([]byte, 32)...))})
	}
	return list
}

// order is ℓ, the order of the base point, low byte first.
var order = [32]byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde,
	0xf9, 0xde, 0x14, 31: 0x10}

// smallOrder is encodings of points whose order divides eight: y = 1, −1, and 0 with either sign
// of x, and the same with y + p for y = 0 and 1.
var smallOrder = func() (list [7][32]byte) {
	p := [32]byte{0: 0xed, 31: 0x7f} // 2^255 − 19
	for i := 1; i < 31; i++ {
		p[i] = 0xff
	}
	list[0][0] = 1
	list[1] = p
	list[1][0]--
	list[3][31] = 0x80
	list[4], list[5], list[6] = p, p, p
	list[5][0]++
	list[6][31] = 0xff
	return list
}()
