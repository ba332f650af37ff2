package verdict

import (
	"errors"
	"io/fs"

	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/word"
)

// Codes for files that no sentinel speaks of.
const (
	codeMissing    = "missing"    // there is no such file
	codeUnreadable = "unreadable" // it is there and cannot be read
	codeForeign    = "foreign"    // it is no export of this version
	codeNetwork    = "network"    // the genesis file is of another network
	codeOther      = "other"
)

// codes are the reasons by their errors, for machines. What a code means does not change.
var codes = []struct {
	err  error
	code string
}{
	{word.ReasonMalformed, "malformed"},
	{word.ReasonNetwork, codeNetwork},
	{word.ReasonUnknown, "unknown"},
	{word.ReasonSlot, "slot"},
	{word.ReasonSame, "same"},
	{word.ReasonSignature, "signature"},
	{word.ReasonPath, "path"},
	{word.ReasonNobody, "nobody"},
	{word.ReasonTrue, "may_be_true"},
	{word.ReasonWitness, "witness"},
	{rollup.ErrNetwork, codeNetwork},
	{rollup.ErrCount, "count"},
	{rollup.ErrParts, "parts"},
	{rollup.ErrStatement, "statement"},
	{rollup.ErrList, "list"},
	{rollup.ErrBothParts, "both_parts"},
	{rollup.ErrNoProofs, "no_proofs"},
	{rollup.ErrProof, "proof"},
	{rollup.ErrWindow, "window"},
	{rollup.ErrUnsorted, "unsorted"},
	{rollup.ErrNumbers, "numbers"},
	{rollup.ErrNotValid, "not_valid"},
	{rollup.ErrNotGranted, "not_granted"},
	{rollup.ErrWord, "word"},
	{rollup.ErrUnknownClient, "unknown_client"},
	{rollup.ErrUnknownService, "unknown_service"},
	{rollup.ErrUnknownNode, "unknown_node"},
	{rollup.ErrUnits, "units"},
	{rollup.ErrOverflow, "overflow"},
	{rollup.ErrRoot, "root"},
	{rollup.ErrRows, "rows"},
	{rollup.ErrTooManyRows, "too_many_rows"},
	{rollup.ErrHandOver, "hand_over"}, // before what it wraps
	{rollup.ErrUnknownTerm, "unknown_term"},
	{rollup.ErrOffice, "not_in_office"},
	{rollup.ErrGap, "gap"},
	{rollup.ErrSeats, "seats"},
	{rollup.ErrFork, "fork"},
	{rollup.ErrSignature, "signature"},
	{rollup.ErrBitmap, "bitmap"},
	{rollup.ErrQuorum, "quorum"},
	{rollup.ErrRecord, "record"},
	{rollup.ErrTerm, "term"},
	{rollup.ErrPath, "path"},
	{rollup.ErrClients, "clients"},
	{rollup.ErrRegistry, "registry"},
	{rollup.ErrSettlement, "settlement"},
	{rollup.ErrInvoice, "invoice"},
	{verifier.ErrProof, "proof"},
	{verifier.ErrEncoding, "verifying_key"},
	{verifier.ErrPoint, "verifying_key"},
	{verifier.ErrKey, "verifying_key"},
	// what others wrap
	{rollup.ErrMalformed, "malformed"},
	{fs.ErrNotExist, codeMissing},
}

// codeOf finds the reason.
func codeOf(err error) string {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return codeUnreadable
	}
	return codeOther
}
