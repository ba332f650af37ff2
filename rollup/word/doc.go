// Package word is what the parties of the protocol say under their names, and what two words that
// exclude each other prove.
//
// # Words
//
// A node signs what it says to clients and committee with its Ed25519 node key: that a rollup is
// its own (Own), what it offers clients to co-sign (Offer), how it answered acks (Answers), and
// which content it is about to send at which price (Head). Members sign records of blocks and
// tickets with their BLS keys; these are package rollup's. A word has a slot, of which only one
// thing may be said, and a digest, which is what is said of it; answers and heads have no slot.
//
// # Evidence
//
// There is one form of evidence: two words of one key with the same slot and another digest. The
// slot stands in it once, the digests in ascending order, so that a slot is not to be argued about.
// Beside it are tickets of one node and epoch that bill a number twice, with one entry each, and
// what convicts nobody on chain but can be shown: a refusal of what was included, a price above the
// service's, a ticket for what cannot be valid. Judge says who lied, and nobody else is convicted:
// everything that it relies on was signed by who is convicted, or is in the registry, or in the
// record of a block, for which a quorum vouches. Whoever keeps
// to the protocol never signs what Judge would convict; model_test.go plays that out.
//
// # Files
//
// A File is evidence for who has nothing but a genesis file: with leaves of the registry, paths to
// the root in a record, and the committee's signature of that record. docs/lies.md lists every lie
// with the size of its file.
//
// The package reads no clock, no environment and no randomness, does no I/O and starts no
// goroutine.
package word
