package main

/*
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// blst's public C interface, which its Go package links in and does not pass on.
typedef struct { uint64_t l[6]; } blst_fp;
void blst_fp_mul(blst_fp *ret, const blst_fp *a, const blst_fp *b);
void blst_fp_sqr(blst_fp *ret, const blst_fp *a);
bool blst_fp_sqrt(blst_fp *ret, const blst_fp *a);

int blst_p1_uncompress(void *out, const uint8_t in[48]);

// Loops in C, so that an operation does not pay for a call from Go.
static void many_mul(blst_fp *z, const blst_fp *x, const blst_fp *y, size_t n) {
	for (size_t i = 0; i < n; i++) blst_fp_mul(&z[i], &x[i], &y[i]);
}
static void many_sqr(blst_fp *z, const blst_fp *x, size_t n) {
	for (size_t i = 0; i < n; i++) blst_fp_sqr(&z[i], &x[i]);
}
static void many_sqrt(blst_fp *z, const blst_fp *x, size_t n) {
	for (size_t i = 0; i < n; i++) blst_fp_sqrt(&z[i], &x[i]);
}
*/
import "C"

import (
	"encoding/binary"
	"unsafe"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	blst "github.com/supranational/blst/bindings/go" // the C code, too

	"github.com/waybill-network/waybill/bench"
)

// field is blst's arithmetic on elements in the form that both libraries use, Montgomery's with R =
// 2^384. blst offers the exponentiation to (p−3)/4 as a part of square roots only, which cost it a
// multiplication and a squaring more.
func field(op string, x, y []fp.Element) []bench.Contender {
	cx, cy, cz := convert(x), convert(y), make([]C.blst_fp, len(x))
	n := C.size_t(len(x))
	c := bench.Contender{Name: "blst", Result: func() (out []byte) {
		for i := range cz {
			for _, limb := range cz[i].l {
				out = binary.LittleEndian.AppendUint64(out, uint64(limb))
			}
		}
		return out
	}}
	var do func()
	switch op {
	case "mul":
		do = func() { C.many_mul(&cz[0], &cx[0], &cy[0], n) }
	case "sqr":
		do = func() { C.many_sqr(&cz[0], &cx[0], n) }
	case "pow":
		do, c.Result = func() { C.many_sqrt(&cz[0], &cx[0], n) }, nil
	default:
		return nil
	}
	c.Run = func() (int, error) { do(); return len(x), nil }
	return []bench.Contender{c}
}

func convert(x []fp.Element) []C.blst_fp {
	out := make([]C.blst_fp, len(x))
	for i := range x {
		for j, limb := range x[i] {
			out[i].l[j] = C.uint64_t(limb)
		}
	}
	return out
}

// refusal is blst's BLST_ERROR of decoding.
type refusal int

const (
	accepted refusal = iota
	badEncoding
	notOnCurve
	notInGroup // of points with x = 0, which blst refuses at once
)

// uncompress is P1Affine.Uncompress of 48 bytes, and says why not.
func uncompress(p *blst.P1Affine, in []byte) refusal {
	in48 := (*[blst.BLST_P1_COMPRESS_BYTES]byte)(in)
	return refusal(C.blst_p1_uncompress(unsafe.Pointer(p), (*C.uint8_t)(&in48[0])))
}
