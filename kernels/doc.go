// Package kernels is the room of the code that computes on many things at a time, with the vector
// instructions that the CPU has. It holds nothing itself:
//
//   - bls: BLS signatures on BLS12-381, one by one, in batches, and aggregated
//   - ed25519: many signatures of Ed25519, on all cores, each by itself
//   - fp381: the base field of BLS12-381 on vectors, which bls computes in
//   - blake3: BLAKE3, keyed or not, of many messages of 64 bytes, and trees of them; content that
//     is verified piece by piece
//   - sha256: SHA-256 of many messages of one length, and expand_message_xmd
//   - poseidon2: Poseidon2 over the scalar field of BN254, for trees that circuits open
//   - cpu: which implementation runs, why, and the self-test that it passed
//
// Each kernel has an implementation in plain Go, which is its specification. The others must agree
// with it on boundary values before they are used. The variable WAYBILL_KERNELS chooses among them.
//
// # What comes along
//
// A program that imports one of these packages compiles packages of these third-party modules and
// of no others, on any architecture:
//
//	cpu        github.com/klauspost/cpuid/v2
//	cpu        golang.org/x/sys
//	blake3     as cpu
//	blake3     github.com/zeebo/blake3
//	ed25519    as cpu
//	ed25519    filippo.io/edwards25519
//	ed25519    github.com/oasisprotocol/curve25519-voi
//	sha256     as cpu
//	fp381      as cpu
//	fp381      github.com/bits-and-blooms/bitset
//	fp381      github.com/consensys/gnark-crypto
//	bls        as fp381
//	poseidon2  as fp381
//	poseidon2  golang.org/x/crypto
package kernels
