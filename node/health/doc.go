// Package health finds out which candidates for the committee are there, in a way that others can
// check: a member probes them through an epoch, keeps what they sign in answer, and names the root
// of that in its report (docs/rotation.md, "Receipts and audits"). A Prober asks, an Answerer
// answers, and neither trusts the other.
package health
