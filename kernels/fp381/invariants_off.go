//go:build !invariants

package fp381

const invariants = false
