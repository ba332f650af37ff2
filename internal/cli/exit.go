package cli

import (
	"errors"
	"io/fs"

	"github.com/waybill-network/waybill/internal/mainjob"
	"github.com/waybill-network/waybill/internal/verdict"
	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/keep"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Exit codes: docs/exit-codes.md says which command ends with which.
const (
	exitDone       = 0
	exitFailed     = 1 // it failed, or what was judged does not hold
	exitUsage      = 2 // it was called wrongly
	exitUnreadable = 3 // what it was given to read is missing, cannot be read, or is something else
	exitUpgrade    = 4 // the network goes on by rules that this program does not know
	exitUnanswered = 5 // not every request that was to be delivered was answered
	exitBlock      = 6 // a block that the committee decided cannot be executed here
)

// usageError marks a mistake in how a command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// inputError marks what is wrong with a file that a command was given. Another try changes nothing.
type inputError struct{ error }

func (e inputError) Unwrap() error { return e.error }

// unreadable marks an error as one of input; there may be none.
func unreadable(err error) error {
	if err == nil {
		return nil
	}
	return inputError{err}
}

// exitCode is the code for a command's error.
func exitCode(err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, new(usageError)):
		return exitUsage
	case errors.As(err, new(*ledger.UnknownVersionError)):
		return exitUpgrade
	case errors.As(err, new(*committee.BlockError)):
		return exitBlock
	case errors.Is(err, mainjob.ErrUnanswered): // whatever else went wrong with it
		return exitUnanswered
	case errors.Is(err, verdict.ErrDoesNotHold):
		return exitFailed
	case errors.As(err, new(inputError)):
		return exitUnreadable
	}
	for _, input := range inputs {
		if errors.Is(err, input) {
			return exitUnreadable
		}
	}
	return exitFailed
}

// inputs are errors of other rooms about what they were given to read.
var inputs = []error{verdict.ErrNotJudged, fs.ErrNotExist, fs.ErrPermission, config.ErrInvalid,
	keys.ErrMalformed, keys.ErrWrongPassword, keys.ErrNoPassword, keys.ErrPassword,
	keys.ErrPermissions, keys.ErrKind, keys.ErrMismatch, keys.ErrSeed, store.ErrCorrupt,
	store.ErrFormat, store.ErrCopied, store.ErrMoved, committee.ErrSignState, keep.ErrArchive,
	keep.ErrDamaged, keep.ErrEncrypted, keep.ErrSettings, keep.ErrReceiver}
