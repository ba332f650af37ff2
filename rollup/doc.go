// Package rollup is the pure protocol: delivery acknowledgements, the statements that clients
// co-sign about them, trees with inclusion paths, rollups and their verification on three rungs,
// the committee's certificates, and settlement rows. The files that an outsider checks are in
// rollup/export, the settlement state machine is in rollup/ledger.
//
// docs/protocol.md is the byte-level truth; section numbers in this package refer to it. The
// package reads no clock, no environment and no randomness, does no I/O and starts no goroutine of
// its own; every result is a function of the arguments. Functions are safe for concurrent use
// unless they say otherwise; values are not while they change.
package rollup
