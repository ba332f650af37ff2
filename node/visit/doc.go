// Package visit probes nodes in the way of ordinary clients: with fresh keys under grants that a
// payer signs, through the port for content, by the client library that everybody fetches with, and
// paid for. Nothing in what a node gets tells a visit from a client, so a node that answers the
// probes of members (package health) and nobody else is found out. What a visit costs is bounded,
// and what came of it adds to a member's verdict: it can take the verdict "healthy" from a node, and
// never give it, for that takes the receipts of package health (docs/rotation.md, ADR 58).
package visit
