// Package visit probes nodes in the way of ordinary clients: with fresh keys under grants that a
// payer signs, through the port for content, by the library that everybody fetches with, and paid
// for. Nothing in what a node gets tells a visit from a client, so that a node which answers the
// probes of members (package health) and nobody else is found out. What visits cost is bounded. Of
// a member's verdict they can take the word "healthy" from a node, and never give it: that takes
// the receipts of package health (docs/rotation.md, "In a node").
package visit
