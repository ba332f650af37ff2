package committee

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/node/signer"
)

// consensusHalted is what the engine logs when its main routine has died of a panic. It has no
// other way to say so.
const consensusHalted = "CONSENSUS FAILURE!!!"

// ownConflict is what the engine logs, many times a second, when another process votes with this
// node's key. The line after it has the votes.
const ownConflict = "found conflicting vote from ourselves; did you unsafe_reset a validator?"

// logger hands the engine's log to slog, a step quieter: the engine narrates every block at info
// level, and calls it an error when a peer goes away.
type logger struct {
	*slog.Logger
	halted  func(reason any) // told when the engine's main routine died
	double  func(*types.ErrVoteConflictingVotes)
	stopped <-chan struct{} // closed when the engine is being stopped, and complains about that
	network bool            // of the peer-to-peer layer
	// whether the engine halts for a reason that is no failure, and is told elsewhere; nil: it does
	// not
	expected func() bool
}

var _ log.Logger = logger{}

// thousands of lines a second, of no use even when debugging
func (l logger) Debug(string, ...any)        {}
func (l logger) Info(msg string, kv ...any)  { l.emit(slog.LevelDebug, msg, kv) }
func (l logger) Warn(msg string, kv ...any)  { l.emit(slog.LevelInfo, msg, kv) }
func (l logger) Error(msg string, kv ...any) { l.emit(l.severity(msg, kv), msg, kv) }

func (l logger) severity(msg string, kv []any) slog.Level {
	expected := l.expected != nil && l.expected()
	if msg == consensusHalted {
		l.halted(value(kv, "err"))
		if !expected {
			return slog.LevelError
		}
	}
	if expected {
		return slog.LevelDebug
	}
	if votes, ok := value(kv, "err").(*types.ErrVoteConflictingVotes); ok {
		l.double(votes) // the node's checks say so, once
		return slog.LevelDebug
	}
	if err, ok := value(kv, "err").(error); ok && errors.Is(err, signer.ErrAway) {
		return slog.LevelDebug // which is said once, when it begins
	}
	if msg == ownConflict {
		return slog.LevelDebug
	}
	select {
	case <-l.stopped:
		return slog.LevelDebug
	default:
	}
	if l.network {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

func (l logger) With(kv ...any) log.Logger {
	module := value(kv, "module")
	l.network = l.network || module == "p2p" || module == "BLOCKSYNC"
	l.Logger = l.Logger.With(plain(kv)...)
	return l
}

func (l logger) emit(level slog.Level, msg string, kv []any) {
	if l.Enabled(context.Background(), level) {
		l.Log(context.Background(), level, msg, plain(kv)...)
	}
}

// plain turns the engine's objects into strings, by their own account: a handler that looked into
// them would race with the engine, and print a block for every peer.
func plain(kv []any) []any {
	out := slices.Clone(kv)
	for i, v := range out {
		switch v := v.(type) {
		case error:
			out[i] = v.Error()
		case fmt.Stringer:
			out[i] = v.String()
		case nil, string, bool, int, int32, int64, uint32, uint64:
		default:
			out[i] = fmt.Sprint(v)
		}
	}
	return out
}

// value finds a key in the engine's alternating keys and values.
func value(kv []any, key string) any {
	for i := 0; i+1 < len(kv); i += 2 {
		if kv[i] == key {
			return kv[i+1]
		}
	}
	return nil
}
