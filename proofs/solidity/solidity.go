// Package solidity is empty but for its tests, which take proofs to the verifier contracts that
// package keys writes.
package solidity
