package rollup

import (
	"errors"
	"fmt"
)

// The reasons for which something is refused. Errors of this package wrap exactly one of them.
var (
	ErrMalformed      = errors.New("malformed encoding")
	ErrNetwork        = errors.New("another network")
	ErrCount          = errors.New("wrong number of acks or statements")
	ErrParts          = errors.New("the evidence is not of the parts that the header has")
	ErrStatement      = errors.New("a statement out of bounds")
	ErrClientList     = errors.New("another client list")
	ErrBothParts      = errors.New("a client that co-signed has acks in the acks part, too")
	ErrNoProofs       = errors.New("proofs are not accepted")
	ErrProof          = errors.New("the proof does not verify")
	ErrWindow         = errors.New("an ack of another node, epoch or window")
	ErrUnsorted       = errors.New("not sorted, or twice the same")
	ErrDuplicateSeq   = errors.New("a client uses a seq twice")
	ErrUnknownClient  = errors.New("unknown client") // a registry that lags behind: retry once it caught up
	ErrUnknownService = errors.New("unknown service")
	ErrUnits          = errors.New("units out of range")
	ErrOverflow       = errors.New("a sum overflows")
	ErrRoot           = errors.New("the tree has another root")
	ErrRows           = errors.New("the rows are not the sums over the acks")
	ErrTooManyRows    = errors.New("more (payer, service) pairs than a rollup holds")
	ErrSignature      = errors.New("the signature does not verify")
	ErrBitmap         = errors.New("the bitmap does not fit the committee")
	ErrQuorum         = errors.New("no quorum")
	ErrPath           = errors.New("the path does not lead to the root")
	ErrClients        = errors.New("the clients are not those of the evidence")
	ErrSettlement     = errors.New("a settlement that the rules do not give")
)

// VerifyError says where a check failed. Err wraps one of the sentinels of this package.
type VerifyError struct {
	What  string // what Index counts: "ack", "statement", "list entry", "segment", "row", "client", "settlement row"
	Index int
	Err   error
}

func (e *VerifyError) Error() string { return fmt.Sprintf("%s %d: %v", e.What, e.Index, e.Err) }

func (e *VerifyError) Unwrap() error { return e.Err }

func at(what string, index int, err error) error {
	return &VerifyError{What: what, Index: index, Err: err}
}
