//go:build !invariants

package poseidon2

const invariants = false
