package rollup

import (
	"errors"
	"fmt"
)

// The reasons for which something is refused. Errors of this package wrap exactly one of them.
var (
	ErrMalformed  = errors.New("rollup: malformed encoding")
	ErrNetwork    = errors.New("rollup: another network")
	ErrCount      = errors.New("rollup: wrong number of acks or statements")
	ErrParts      = errors.New("rollup: the evidence is not of the parts that the header has")
	ErrStatement  = errors.New("rollup: a statement out of bounds")
	ErrList       = errors.New("rollup: another list of statements")
	ErrBothParts  = errors.New("rollup: a client that co-signed has acks in the acks part, too")
	ErrNoProofs   = errors.New("rollup: proofs are not accepted")
	ErrProof      = errors.New("rollup: the proof does not verify")
	ErrWindow     = errors.New("rollup: an ack of another node or epoch")
	ErrUnsorted   = errors.New("rollup: not sorted, or twice the same")
	ErrNumbers    = errors.New("rollup: numbers that do not follow one another, or beyond the limit")
	ErrNotValid   = errors.New("rollup: the client is not valid in the epoch")
	ErrNotGranted = errors.New("rollup: the service was not granted")
	ErrWord       = errors.New("rollup: the node's word does not verify")
	// a registry that lags behind: retry once it caught up
	ErrUnknownClient  = errors.New("rollup: unknown client")
	ErrUnknownService = errors.New("rollup: unknown service")
	ErrUnknownNode    = errors.New("rollup: unknown node")
	ErrUnits          = errors.New("rollup: units out of range")
	ErrOverflow       = errors.New("rollup: a sum overflows")
	ErrRoot           = errors.New("rollup: the tree has another root")
	ErrRows           = errors.New("rollup: the rows are not the sums over the acks")
	ErrTooManyRows    = errors.New("rollup: more (payer, service) pairs than a rollup holds")
	ErrSignature      = errors.New("rollup: the signature does not verify")
	ErrBitmap         = errors.New("rollup: the bitmap does not fit the committee")
	ErrQuorum         = errors.New("rollup: no quorum")
	ErrRecord         = errors.New("rollup: a record of another block")
	ErrTerm           = errors.New("rollup: the committee of another term")
	ErrUnknownTerm    = errors.New("rollup: no hand-over leads to the term")
	ErrOffice         = errors.New("rollup: the committee of the term was not in office then")
	ErrGap            = errors.New("rollup: hand-overs are missing in between")
	ErrHandOver       = errors.New("rollup: the term before did not hand over")
	ErrSeats          = errors.New("rollup: seats that the rules do not give")
	ErrFork           = errors.New("rollup: another hand-over of a term that is known")
	ErrPath           = errors.New("rollup: the path does not lead to the root")
	ErrClients        = errors.New("rollup: the clients are not those of the evidence")
	ErrRegistry       = errors.New("rollup: not in the registry that the record names")
	ErrSettlement     = errors.New("rollup: a settlement that the rules do not give")
	ErrInvoice        = errors.New("rollup: the invoice does not follow from the settlement")
)

// VerifyError says where a check failed. Err wraps one of the sentinels of this package.
type VerifyError struct {
	// what Index counts: "ack", "statement", "list entry", "segment", "row", "client", "settlement
	// row", "term"
	What  string
	Index int
	Err   error
}

func (e *VerifyError) Error() string { return fmt.Sprintf("%s %d: %v", e.What, e.Index, e.Err) }

func (e *VerifyError) Unwrap() error { return e.Err }

// DecodeError says where a file cannot be decoded: in the field that begins at Offset. What is
// wrong with it may be a length that stands before. Err wraps one of the sentinels of this package,
// or a reason of package word.
type DecodeError struct {
	Offset int // in bytes from the file's begin
	Err    error
}

func (e *DecodeError) Error() string { return fmt.Sprintf("at byte %d: %v", e.Offset, e.Err) }

func (e *DecodeError) Unwrap() error { return e.Err }

func at(what string, index int, err error) error {
	return &VerifyError{What: what, Index: index, Err: err}
}
