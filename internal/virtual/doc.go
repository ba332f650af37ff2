// Package virtual is the whole network in virtual time: real nodes, as package node starts them, in
// one process, on hosts, a network and disks that are made, and on a clock that jumps to whatever
// happens next (testing/synctest). Minutes of a network pass in seconds, and everything that can
// befall it, a kill, a power cut, a partition, comes at instants that a seed draws.
//
// What is made and what is not, and what a seed promises, stands in
// docs/adr/0058-the-whole-network-in-virtual-time.md. `make virtual SEEDS=1000` runs many seeds.
package virtual
