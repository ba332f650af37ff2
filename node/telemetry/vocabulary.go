package telemetry

import (
	"slices"

	"github.com/waybill-network/waybill/rollup/delivery"
)

// Term is a word that a node uses about itself, and what it means. The words belong to the rooms
// that say them; here they are explained, once, for the dashboard and for docs/status.md. A test
// sees to it that every word of every room is here, in the metrics and in the document.
type Term struct {
	Set     string `json:"set"`
	Name    string `json:"name"`
	Tone    string `json:"tone,omitzero"` // how a state looks: good, warn, bad, dim
	Meaning string `json:"meaning"`
	Advice  string `json:"advice,omitzero"` // what the operator does; nothing when it is empty
}

// The sets of terms.
const (
	SetState       = "state"
	SetStage       = "stage"
	SetCheck       = "check"
	SetStuck       = "stuck"
	SetProof       = "no proof"
	SetAnswer      = "answer"
	SetCosign      = "co-sign refusal"
	SetMember      = "member refusal"
	SetTransaction = "transaction"
	SetDelivery    = "no delivery"
	SetOutcome     = "outcome of a run"
)

// Vocabulary returns every term, set by set, in the order in which the rooms list them.
func Vocabulary() []Term { return vocabulary }

// Refusals of content are explained where they are said: clients are told the same.
var vocabulary = slices.Concat(terms, deliveries(), outcomes)

func deliveries() (list []Term) {
	for _, r := range delivery.Reasons() {
		list = append(list, Term{SetDelivery, r.String(), "", r.Meaning(), deliveryAdvice[r]})
	}
	return list
}

// outcomes are how runs of modules end, all of which are paid.
var outcomes = []Term{
	{SetOutcome, "exited", "", "the module returned, or left with a number", ""},
	{SetOutcome, "trapped", "", "the module did what cannot be done, or recursed too deep", ""},
	{SetOutcome, "out_of_fuel", "", "it wanted more fuel than its client gave it", ""},
}

var deliveryAdvice = map[delivery.Reason]string{
	delivery.ReasonFailed:   "the log says what could not be read",
	delivery.ReasonVolume:   "raise content.volume, or wait for the next month",
	delivery.ReasonRate:     "raise content.rate or content.courtesy",
	delivery.ReasonFuel:     "raise compute.max_fuel or compute.time",
	delivery.ReasonOwnLimit: "raise pipeline.exposure, or see why nothing is ordered",
	delivery.ReasonOwesPayer: "the payer's clients do not acknowledge: those that never did are " +
		"refused until others have paid",
}

var terms = []Term{
	{SetState, "open", "good", "takes acks", ""},
	{SetState, "cosigning", "warn", "its clients are asked to co-sign", ""},
	{SetState, "sealing", "warn", "takes no acks; its rollup is being made durable", ""},
	{SetState, "sealed", "warn", "durable; it waits for its turn after a start", ""},
	{SetState, "proving", "warn", "waits for its proof, as long as proofs.wait allows", ""},
	{SetState, "collecting", "warn", "members are asked for shares of its certificate",
		"if it stays so, look at the committee: too few members answer"},
	{SetState, "ordering", "warn", "certified; the chain is to order it",
		"if it stays so, look at the chain: it makes no blocks, or takes no transactions"},
	{SetState, "ordered", "dim", "on the chain, and paid when its epoch is settled", ""},
	{SetState, "stuck", "bad", "accepted, and it will not be paid",
		"see the reasons of stuck windows; the check stuck names the windows"},

	{SetStage, "admit", "", "cheap checks and places, in the caller's turn", ""},
	{SetStage, "verify", "", "signatures, in batches",
		"if acks grow old here the processor is the limit"},
	{SetStage, "commit", "", "one synced write for all that came meanwhile",
		"if acks grow old here the disk is the limit"},
	{SetStage, "window", "", "answered acks in windows that are open", ""},
	{SetStage, "cosign", "", "acks of windows whose clients are asked", ""},
	{SetStage, "seal", "", "acks of windows that become rollups", ""},
	{SetStage, "prove", "", "beside the way: acks of windows that are to be proved",
		"if it grows the prover is too slow; windows go without proofs then, and lose nothing else"},
	{SetStage, "certify", "", "acks of windows between the seal and the chain",
		"if acks grow old here look at the committee and at the chain"},

	{SetCheck, "store", "", "the store takes writes",
		"restart the node; if the disk is at fault, mend it"},
	{SetCheck, "consensus", "", "the engine runs", "restart the node; the log says why it stopped"},
	{SetCheck, "disk", "", "more than store.min_free is free", "make room, or lower store.retention"},
	{SetCheck, "epoch", "", "the store knows all that this node said in the epoch",
		"wait for the next epoch: a new store takes and signs nothing before; never restore a home " +
			"from a copy"},
	{SetCheck, "queue", "", "no ack waits long for its answer", "see the stages"},
	{SetCheck, "blocks", "", "the last block is young",
		"see the check peers; if they are there, ask the other members' operators"},
	{SetCheck, "signer", "", "the signer that holds this node's keys answers",
		"start it where the check says, or see why the two do not reach each other: journalctl -u " +
			"waybill-signer"},
	{SetCheck, "content", "", "content is delivered, the month's volume is not used up, and the " +
		"certificate holds",
		"raise content.volume, or wait for the next month; lead port 443 of the names to " +
			"content.listen, or put new files in place"},
	{SetCheck, "proofs", "", "keys are there, and the prover runs", "fetch the keys that are missing"},
	{SetCheck, "alarm", "", "no proof was shown to be false by its rollup's own statements",
		"read the file that the check names, show it to the other members, suspend the proof keys; " +
			"removing the file ends the alarm"},
	{SetCheck, "stuck", "", "no window is accepted and unpaid",
		"the check names the windows, their reasons and what can be done"},
	{SetCheck, "sync", "", "the node has caught up with the chain", "wait"},
	{SetCheck, "clock", "", "the node's clock agrees with the chain's", "set the clock (NTP)"},
	{SetCheck, "peers", "", "members are connected to this node's engine",
		"see whether the member that the check names runs, and whether the consensus ports of the two " +
			"reach each other"},
	{SetCheck, "votes", "", "the chain carries the votes of every member",
		"the check names the member: its operator should look at its log, and at its clock"},
	{SetCheck, "snapshot", "", "the ledger's snapshot is there when a hand-over is to be signed",
		"the log says why it was not written: most likely the disk is full, or slow; the others of the " +
			"committee hand over without this node, and after the epoch all do without a snapshot"},
	{SetCheck, "keys", "", "no other process votes with this node's keys",
		"one home runs twice, or a copy of it does: stop one, and never start it again"},
	{SetCheck, "registration", "", "the ledger registers the node, if it is to take acks",
		"register it: waybill tx register-node"},
	{SetCheck, "upgrade", "", "no version of the rules is planned that this program does not know",
		"install what the check names before that epoch: a node that does not know it stops there"},
	{SetCheck, "serving", "", "the node is not shutting down", ""},

	{SetStuck, "refused", "", "so many members refused it for good that no quorum is left",
		"ask those members' operators, remove the cause, restart this node: it tries again"},
	{SetStuck, "late", "", "its epoch was settled without it",
		"nothing brings it back; find out why this node or a quorum of members was away so long"},
	{SetStuck, "unreadable", "", "what the store keeps of it does not decode",
		"restore the store from a copy, restart"},

	{SetProof, "error", "", "the prover gave no proof, twice", "look at the prover's log lines"},
	{SetProof, "wrong", "", "what the prover gave does not verify",
		"compare the proving key's hash with the genesis file"},
	{SetProof, "late", "", "its epoch was settled before its turn came", "see the stage prove"},
	{SetProof, "crowded", "", "newer windows took its place in the queue", "see the stage prove"},

	{SetAnswer, "accepted", "", "verified and durable", ""},
	{SetAnswer, "known", "", "byte for byte an ack that was accepted before", ""},
	{SetAnswer, "malformed", "", "length or tag", ""},
	{SetAnswer, "wrong_network", "", "the ack is for another network", ""},
	{SetAnswer, "wrong_node", "", "the ack is for another node", ""},
	{SetAnswer, "past_epoch", "",
		"the epoch takes no acks any more, and the number was not taken", ""},
	{SetAnswer, "unknown_client", "", "the client is not registered", ""},
	{SetAnswer, "unknown_service", "", "the service is not registered", ""},
	{SetAnswer, "zero_units", "", "an ack is about one unit at least", ""},
	{SetAnswer, "excess_units", "", "above the service's cap", ""},
	{SetAnswer, "number_used", "", "the number was taken for another ack, which is in the answer", ""},
	{SetAnswer, "bad_encoding", "", "the signature is not canonical", ""},
	{SetAnswer, "not_on_curve", "", "the signature is no point of the curve", ""},
	{SetAnswer, "not_in_subgroup", "", "the signature is a point outside the subgroup", ""},
	{SetAnswer, "identity", "", "the signature is the identity", ""},
	{SetAnswer, "bad_signature", "", "it does not verify", ""},
	{SetAnswer, "overloaded", "", "no budget; the client comes back after the delay given",
		"see the stages and the budget, or the free disk"},
	{SetAnswer, "clock", "", "the node's clock is not in step with the chain's",
		"see the check clock"},
	{SetAnswer, "store_failed", "",
		"the node could not make it durable, outcome unknown until a restart; or the store is newer " +
			"than the epoch, and the node can not know what it took",
		"see the check store"},
	{SetAnswer, "shutting_down", "", "the node leaves", ""},
	{SetAnswer, "overflow", "", "the window's sum for the pair would overflow", ""},
	{SetAnswer, "busy", "", "the number was taken while this copy was verified; send it again", ""},
	{SetAnswer, "gap", "", "numbers before it are missing; the answer names the next one", ""},
	{SetAnswer, "epoch_ahead", "", "the epoch has not begun here", ""},
	{SetAnswer, "insufficient_reserve", "", "the payer's reserve does not cover it", ""},
	{SetAnswer, "insufficient_allowance", "", "the payer allows this node no more in the epoch", ""},
	{SetAnswer, "own_limit", "",
		"this node lends the payer no more before blocks order what it has", ""},
	{SetAnswer, "not_valid", "", "the client is not valid in the epoch, or revoked", ""},
	{SetAnswer, "beyond_limit", "", "the client's grant has no number so high", ""},
	{SetAnswer, "not_granted", "", "the client may not use the service", ""},
	{SetAnswer, "on_account", "", "durable, and will stand if the signature verifies", ""},
	{SetAnswer, "dropped", "", "one before it was taken on account and is not signed", ""},

	{SetCosign, "declined", "", "the client does not co-sign; nothing is wrong with the offer", ""},
	{SetCosign, "malformed", "", "the offer does not decode", cosignAdvice},
	{SetCosign, "bad_word", "", "the node that the client signs for did not sign the offer",
		"the client was configured with another node key: see the node's pin there"},
	{SetCosign, "wrong_network", "", "the offer is of another network", cosignAdvice},
	{SetCosign, "wrong_window", "", "the client signed nothing for this window, or forgot it", ""},
	{SetCosign, "repeated", "", "another root was signed for this window", cosignAdvice},
	{SetCosign, "wrong_path", "", "the statements are not under the root", cosignAdvice},
	{SetCosign, "neighbour", "", "the statement beside the client's is out of order", cosignAdvice},
	{SetCosign, "extra_statement", "", "a statement about a service without acks", cosignAdvice},
	{SetCosign, "wrong_payer", "", "somebody else pays for the client", ""},
	{SetCosign, "wrong_acks", "", "the client never signed such an ack", cosignAdvice},
	{SetCosign, "wrong_units", "", "the units are not the acks' sum", cosignAdvice},
	{SetCosign, "wrong_root", "", "the root is not that of the client's acks", cosignAdvice},
	{SetCosign, "refused_acks", "", "of one of the acks the node said that it is never taken",
		cosignAdvice},
	{SetCosign, "no_statement", "",
		"the client is asked, and nothing is stated about it", cosignAdvice},

	{SetMember, "not_owner", "", "the caller is not the rollup's node", ""},
	{SetMember, "invalid", "", "the rollup is not valid",
		"if one node's rollups are, tell its operator"},
	{SetMember, "conflict", "", "another rollup was signed for this window",
		"the caller lost its store, or cheats: tell its operator"},
	{SetMember, "lagging", "", "this member's chain has not caught up", "see the check sync"},
	{SetMember, "busy", "", "no room to verify; the caller comes back", "see peer.max_inflight"},
	{SetMember, "too_old", "", "the epoch is settled", ""},
	{SetMember, "no_proofs", "", "this member lacks the key of the proof", "see the check proofs"},
	{SetMember, "bad_word", "", "the node's word that the rollup is its own does not verify",
		"tell its operator: the node key is not the registered one, or it cheats"},
	{SetMember, "numbers", "", "a number of the rollup was signed before, in another window",
		"the caller bills a delivery twice, or lost its store: tell its operator"},
	{SetMember, "behind", "", "a later window of the node was signed before", ""},
	{SetMember, "no_table", "",
		"this member's store is newer than the epoch: it can not know what it signed",
		"wait for the next epoch; never restore a home from a copy"},

	{SetTransaction, "ok", "", "taken, or executed", ""},
	{SetTransaction, "malformed", "", "it does not decode", ""},
	{SetTransaction, "wrong_network", "", "it is for another network", ""},
	{SetTransaction, "bad_signature", "", "the sender's signature does not verify", ""},
	{SetTransaction, "bad_nonce", "", "the nonce is not the account's next", ""},
	{SetTransaction, "unknown_account", "", "there is no such account", ""},
	{SetTransaction, "insufficient_balance", "", "the account has too little", ""},
	{SetTransaction, "bad_proof", "", "a proof of possession does not verify", ""},
	{SetTransaction, "key_taken", "", "the key is registered already", ""},
	{SetTransaction, "unknown_node", "", "there is no such node", ""},
	{SetTransaction, "unknown_client", "", "there is no such client", ""},
	{SetTransaction, "unknown_payer", "", "there is no such payer", ""},
	{SetTransaction, "unknown_service", "", "there is no such service", ""},
	{SetTransaction, "out_of_range", "", "a value is beyond its limits", ""},
	{SetTransaction, "already_ordered", "", "the window has been ordered", ""},
	{SetTransaction, "epoch_ahead", "", "the rollup's epoch has not begun", ""},
	{SetTransaction, "settled", "", "the rollup's epoch is settled", ""},
	{SetTransaction, "no_quorum", "", "the signers are no quorum", ""},
	{SetTransaction, "bad_bitmap", "", "the bitmap of signers is not canonical", ""},
	{SetTransaction, "bad_certificate", "", "the certificate does not verify", ""},
	{SetTransaction, "no_record", "", "there is no record of that height", ""},
	{SetTransaction, "already_certified", "", "the record of the block is certified", ""},
	{SetTransaction, "overflow", "", "a sum would overflow", ""},
	{SetTransaction, "not_proposer", "", "only the proposer may bring it", ""},
	{SetTransaction, "too_early", "", "the grant's first epoch has not begun, or what leaves " +
		"a stake is not free yet", ""},
	{SetTransaction, "expired", "", "the grant's last epoch is over", ""},
	{SetTransaction, "insufficient_reserve", "", "the reserve holds less than is to thaw", ""},
	{SetTransaction, "insufficient_stake", "", "the stake is less than it takes to serve, or to vote",
		""},
	{SetTransaction, "not_owner", "", "the service or the node is another account's", ""},
	{SetTransaction, "no_rotation", "", "the network's committee does not rotate", ""},
	{SetTransaction, "not_now", "", "the rotation of the epoch does not wait for it", ""},
	{SetTransaction, "no_member", "", "the node is not among those who are asked", ""},
	{SetTransaction, "said_before", "", "the node has said so already", ""},
	{SetTransaction, "bad_audit", "", "a report does not show the receipts that its audit asks for",
		"were this node's receipts lost? It reports again when the next seed is known"},
	{SetTransaction, "node_left", "", "the node's owner took all of its stake", ""},
	{SetTransaction, "not_payer", "", "the client is another account's", ""},
	{SetTransaction, "bad_word", "", "the node's word that the rollup is its own does not verify", ""},
	{SetTransaction, "wrong_term", "", "the ticket is of another term of the committee", ""},
	{SetTransaction, "no_lie", "", "the evidence shows no lie", ""},
	{SetTransaction, "already_convicted", "", "who lied was convicted of it before", ""},
}

const cosignAdvice = "the client says that this node lies: save the log, " +
	"and look for a bug here or there"
