// Package registry is the root over everybody that a rollup can name: clients, nodes, services and
// the keys of proofs. A member signs the root with a block, so that an outsider needs no registry
// of its own: an entry comes with hashes that lead from it to the root.
//
// # Root
//
// There are four trees. A client's, node's or service's index is its position. Proof keys are in
// order of size and first epoch. The trees have the shape of RFC 9162 section 2.1, with keyed
// hashes: leaf(d) = B3k(K("waybill/" ‖ name ‖ "-leaf/2"), d), and with -node/2 for two children;
// the names are client, node, service and proof-key. Level by level: neighbours are paired, an odd
// last node is promoted unchanged. The tree of no entries has 32 zero bytes for a root. Heads (144
// bytes) are count and root of clients (8, 32), of nodes (4, 32) and of services (4, 32), and the
// root of proof keys (32). The registry root is B3k(K("waybill/registry/2"), heads).
//
// # Multiproof
//
// A multiproof leads from a set of entries to the root. Its indices i0 < i1 < … < ik, at least one,
// are below the tree's count n, and are known to who verifies: they are not in the proof. On level
// 0 the known nodes are the entries' hashes, at their indices. On a level of w nodes (n on level 0,
// ⌈w/2⌉ on the next) the known nodes are taken in ascending order, and each x of them that has no
// known neighbour gets the next hash of the proof as its neighbour x xor 1, if that is below w. The
// known nodes of the next level are the parents, at ⌊x/2⌋: two neighbours' hash, or a last node
// without neighbour as it is. The level of one node has the root. So a proof's hashes (32 bytes
// each) stand level by level from the leaves up, and on each level from left to right. There are
// exactly as many as indices and count ask for (ProofHashes), and nothing else is in a proof. That
// of one index is the RFC's audit path. Indices that lie together share more: it pays to give
// clients of one payer indices in a row.
//
// # Pages
//
// A page holds the 126 nodes of six levels: 64 neighbours, and what is above them but for their
// common root, which stands in a page six levels up. Pages of height 0 hold the hashes of entries
// and lie in a Store, which may be on disk. Those above are in memory, a byte for each entry: 100
// megabytes for 100 million clients. They are in the store as well, for Open. Entries themselves
// are not kept here: who changes one has it.
//
// A batch of changes (Set) reads each of its pages once, and hashes level by level: what all
// changes need of a level goes through the lanes of package blake3 at once, and a parent that
// several changes share is hashed once.
//
// A page of 64 entries that will not change, and of which nobody will want proof, can be forgotten
// (Forget): its root stays. When 64 neighbours are forgotten, so is the page that held their roots.
//
// A proof under a root of the past is made from the tree, the count that it had then, and what was
// replaced since on the lowest levels of the pages that the proof goes through (ProveAt), so that
// it takes no longer when more was replaced elsewhere. Appended entries only touch what is above
// the last one.
//
// Rejected: nodes one by one in a store of keys and values, which is twenty reads a change at a
// million entries instead of one; pages of nothing but leaf hashes, half the disk, but 63 hashes a
// change where six do; a sparse tree over keys instead of a dense one over indices, whose paths are
// longer and whose proofs share nothing.
//
// The package reads no clock and no environment, does no I/O of its own and starts no goroutine.
// Functions are safe for concurrent use; a Tree is not.
package registry
