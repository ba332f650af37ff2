package ledger

import "github.com/waybill-network/waybill/rollup"

// TxCode says what became of a transaction. The set is closed; names are used in logs, metrics and JSON, the numbers
// on the consensus engine's wire. A code other than OK is also an error, for errors.Is.
type TxCode uint8

// The codes.
const (
	OK TxCode = iota
	Malformed
	WrongNetwork
	BadSignature
	BadNonce
	UnknownAccount
	InsufficientBalance
	BadProof
	KeyTaken
	UnknownNode
	UnknownClient
	UnknownPayer
	UnknownService
	OutOfRange
	AlreadyOrdered
	EpochAhead
	EpochTooOld
	NoQuorum
	BadBitmap
	BadCertificate
	NotSettled
	AlreadyCertified
	Overflow
	NotProposer
)

var codeNames = [...]string{
	OK: "ok", Malformed: "malformed", WrongNetwork: "wrong_network", BadSignature: "bad_signature",
	BadNonce: "bad_nonce", UnknownAccount: "unknown_account", InsufficientBalance: "insufficient_balance",
	BadProof: "bad_proof", KeyTaken: "key_taken", UnknownNode: "unknown_node", UnknownClient: "unknown_client",
	UnknownPayer: "unknown_payer", UnknownService: "unknown_service", OutOfRange: "out_of_range",
	AlreadyOrdered: "already_ordered", EpochAhead: "epoch_ahead", EpochTooOld: "epoch_too_old",
	NoQuorum: "no_quorum", BadBitmap: "bad_bitmap", BadCertificate: "bad_certificate", NotSettled: "not_settled",
	AlreadyCertified: "already_certified", Overflow: "overflow", NotProposer: "not_proposer",
}

// String returns the name of the code.
func (c TxCode) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "unknown"
}

// Error returns the name of the code.
func (c TxCode) Error() string { return c.String() }

// MarshalText implements [encoding.TextMarshaler].
func (c TxCode) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// TxCodes returns all codes in the order of their numbers.
func TxCodes() []TxCode {
	codes := make([]TxCode, len(codeNames))
	for i := range codes {
		codes[i] = TxCode(i)
	}
	return codes
}

// Refusal is why a transaction was not executed: errors.Is(err, ledger.BadNonce) works on it.
type Refusal = rollup.Refusal[TxCode]

// Result is the answer to a transaction.
type Result struct {
	Code  TxCode
	Kind  Kind   // zero when the transaction is malformed
	Index uint32 // of the account that was created or credited, of the node, service or first client that was registered
	Count uint32 // how many were registered from Index on
	Err   error  // nil for OK, otherwise a *Refusal
}

// OK reports whether the transaction was executed, or would be.
func (r Result) OK() bool { return r.Code == OK }
