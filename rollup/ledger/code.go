package ledger

import (
	"fmt"

	"github.com/waybill-network/waybill/rollup"
)

//go:generate go tool stringer -type=TxCode -linecomment

// TxCode says what became of a transaction. The set is closed; names are used in logs, metrics and
// JSON, the numbers on the consensus engine's wire. Every code but CodeOK is a refusal; as an
// error, a code has its name behind the package's.
type TxCode uint8

// The codes.
const (
	CodeOK                  TxCode = iota // ok
	CodeMalformed                         // malformed
	CodeWrongNetwork                      // wrong_network
	CodeBadSignature                      // bad_signature
	CodeBadNonce                          // bad_nonce
	CodeUnknownAccount                    // unknown_account
	CodeInsufficientBalance               // insufficient_balance
	CodeBadProof                          // bad_proof
	CodeKeyTaken                          // key_taken
	CodeUnknownNode                       // unknown_node
	CodeUnknownClient                     // unknown_client
	CodeUnknownPayer                      // unknown_payer
	CodeUnknownService                    // unknown_service
	CodeOutOfRange                        // out_of_range
	CodeAlreadyOrdered                    // already_ordered
	CodeEpochAhead                        // epoch_ahead
	CodeSettled                           // settled
	CodeNoQuorum                          // no_quorum
	CodeBadBitmap                         // bad_bitmap
	CodeBadCertificate                    // bad_certificate
	CodeNoRecord                          // no_record
	CodeAlreadyCertified                  // already_certified
	CodeOverflow                          // overflow
	CodeNotProposer                       // not_proposer
	CodeTooEarly                          // too_early
	CodeExpired                           // expired
	CodeNotPayer                          // not_payer
	CodeBadWord                           // bad_word
	CodeWrongTerm                         // wrong_term
	CodeNoLie                             // no_lie
	CodeAlreadyConvicted                  // already_convicted
	CodeInsufficientReserve               // insufficient_reserve
	CodeInsufficientStake                 // insufficient_stake
	CodeNotOwner                          // not_owner
	CodeNodeLeft                          // node_left
	CodeNoRotation                        // no_rotation
	CodeNotNow                            // not_now
	CodeNoMember                          // no_member
	CodeSaidBefore                        // said_before
	CodeBadAudit                          // bad_audit
)

const numTxCodes = len(_TxCode_index) - 1

// TxCodes returns all codes in the order of their numbers, which count from 0 without gaps.
func TxCodes() []TxCode {
	codes := make([]TxCode, numTxCodes)
	for i := range codes {
		codes[i] = TxCode(i)
	}
	return codes
}

// ParseTxCode returns the code with the given name.
func ParseTxCode(name string) (TxCode, error) {
	for _, c := range TxCodes() {
		if c.String() == name {
			return c, nil
		}
	}
	return 0, fmt.Errorf("ledger: no code is named %q", name)
}

// Error returns the code's name behind the package's.
func (c TxCode) Error() string { return "ledger: " + c.String() }

// MarshalText implements [encoding.TextMarshaler].
func (c TxCode) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Refusal is why a transaction was not executed: errors.Is(err, ledger.CodeBadNonce) works on it.
type Refusal = rollup.Refusal[TxCode]

// Result is the answer to a transaction.
type Result struct {
	Code TxCode
	Kind Kind // zero when the transaction is malformed
	// Index is that of the account that was created or credited, of the node, service or first
	// client that was registered.
	Index uint64
	Count uint32   // how many were registered from Index on
	Fell  []Fallen // the grants of a transaction that are not executed
	Err   error    // nil for CodeOK, otherwise a *Refusal
}

// OK reports whether the transaction was executed, or would be.
func (r Result) OK() bool { return r.Code == CodeOK }
