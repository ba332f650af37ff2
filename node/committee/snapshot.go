package committee

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/node/snapshots"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
	"github.com/waybill-network/waybill/rollup/snapshot"
)

// ValidatorsKey is the key of the record behind those of the ledger: the engine's validators that
// vote on the next block (docs/rotation.md).
const ValidatorsKey = "~"

const validatorSize = 32 + 8 + 8

var (
	errSnapshots  = errors.New("committee: this node keeps no snapshots")
	errValidators = errors.New("committee: not the engine's validators")
)

// snapshot returns that of the state after a block, or why there is none.
func (a *app) snapshot(height uint64) (ledger.Snapshot, error) {
	if a.snapshots == nil {
		return ledger.Snapshot{}, errSnapshots
	}
	return a.snapshots.Of(height)
}

// keepSnapshots notes which snapshot a block certifies, and begins one when the block is the first
// of its epoch. The block is durable. A snapshot that fails costs this node its signature of the
// epoch's hand-over, and nothing else.
func (a *app) keepSnapshots(view *ledger.View) {
	if a.snapshots == nil {
		return
	}
	for _, event := range a.block.Events {
		if e, ok := event.(ledger.HandedOver); ok && e.Hop.SnapshotHeight > 0 {
			a.certified(ledger.Snapshot{Height: e.Hop.SnapshotHeight, Bytes: e.Hop.SnapshotBytes,
				Root: e.Hop.SnapshotRoot})
		}
	}
	if !view.Snapshots() {
		return
	}
	if err := a.beginSnapshot(view.Height()); err != nil {
		a.log.Error("no snapshot is taken of the ledger in this epoch", "height", view.Height(),
			"err", err)
	}
}

func (a *app) certified(s ledger.Snapshot) {
	switch err := a.snapshots.Certify(s); {
	case errors.Is(err, snapshots.ErrUnknown):
		a.log.Info("this node does not have the snapshot that the committee signed", "height", s.Height)
	case err != nil:
		a.log.Error("the snapshot that the committee signed", "height", s.Height, "err", err)
	}
}

// beginSnapshot takes the moment after a block. The engine has not stored its own state after it.
func (a *app) beginSnapshot(height int64) error {
	before, err := a.states.Load()
	if err != nil {
		return err
	}
	last := before.LastBlockHeight
	if last == 0 { // of a chain that begins above another one's blocks, too
		last = before.InitialHeight - 1
	}
	if last != height-1 {
		return fmt.Errorf("committee: the engine is at block %d", last)
	}
	moment, err := a.store.LedgerMoment()
	if err != nil {
		return err
	}
	a.snapshots.Begin(uint64(height), moment, snapshot.Record{Key: []byte(ValidatorsKey),
		Value: appendValidators(nil, before.NextValidators)})
	return nil
}

// resumeSnapshots notes what was certified in a block behind which the process died.
func (a *app) resumeSnapshots(view *ledger.View) {
	if term := view.Elected().Term; term > 0 {
		if s, err := a.witness.Snapshot(term); err == nil && s.Height > 0 {
			if _, err := a.snapshots.Of(s.Height); err == nil {
				a.certified(s)
			}
		}
	}
}

// appendValidators appends the key of who proposes first (32) and of each, by key, consensus key
// (32) ‖ power u64 ‖ priority i64.
func appendValidators(dst []byte, set *types.ValidatorSet) []byte {
	list := slices.SortedFunc(slices.Values(set.Validators), func(a, b *types.Validator) int {
		return bytes.Compare(a.PubKey.Bytes(), b.PubKey.Bytes())
	})
	dst = append(dst, set.GetProposer().PubKey.Bytes()...)
	for _, v := range list {
		dst = append(dst, v.PubKey.Bytes()...)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(v.VotingPower))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(v.ProposerPriority))
	}
	return dst
}

// parseValidators returns the validators, with their priorities as they were.
func parseValidators(b []byte) (*types.ValidatorSet, error) {
	if len(b) <= 32 || (len(b)-32)%validatorSize != 0 {
		return nil, fmt.Errorf("%w: %d bytes", errValidators, len(b))
	}
	if n := (len(b) - 32) / validatorSize; n > rotation.MaxSeats {
		return nil, fmt.Errorf("%w: %d of them", errValidators, n)
	}
	set, proposer := new(types.ValidatorSet), b[:32]
	var last []byte
	var total uint64
	for b = b[32:]; len(b) > 0; b = b[validatorSize:] {
		key := bytes.Clone(b[:32])
		power := binary.LittleEndian.Uint64(b[32:])
		if bytes.Compare(last, key) >= 0 || power == 0 || power > rotation.MaxSeats {
			return nil, fmt.Errorf("%w: a power of %d, or out of order", errValidators, power)
		}
		last, total = key, total+power
		v := types.NewValidator(cmted25519.PubKey(key), int64(power))
		v.ProposerPriority = int64(binary.LittleEndian.Uint64(b[40:]))
		set.Validators = append(set.Validators, v)
		if bytes.Equal(key, proposer) {
			set.Proposer = v
		}
	}
	if set.Proposer == nil || total > rotation.MaxSeats {
		return nil, fmt.Errorf("%w: %d seats, or a stranger proposes", errValidators, total)
	}
	// in the engine's order: by power, then by address
	slices.SortFunc(set.Validators, func(a, b *types.Validator) int {
		return cmp.Or(cmp.Compare(b.VotingPower, a.VotingPower), bytes.Compare(a.Address, b.Address))
	})
	return set, set.ValidateBasic()
}

// joining returns the block of the oldest snapshot from which a node may still join, 0 without any.
func (a *app) joining() int64 {
	if a.snapshots == nil {
		return 0
	}
	return int64(a.snapshots.Joining())
}

// Snapshots returns those that this node keeps and a committee signed, the newest first.
func (e *Engine) Snapshots() []ledger.Snapshot {
	if e.app.snapshots == nil {
		return nil
	}
	return e.app.snapshots.Certified()
}

// SnapshotChunk returns a chunk of one of them, with its path: snapshots.ErrUnknown.
func (e *Engine) SnapshotChunk(height, index uint64) ([]byte, []rollup.Hash, error) {
	if e.app.snapshots == nil {
		return nil, nil, fmt.Errorf("%w: of block %d", snapshots.ErrUnknown, height)
	}
	return e.app.snapshots.Chunk(height, index)
}

// snapshotless returns why this node does not sign the hand-over that waits.
func (a *app) snapshotless(view *ledger.View) error {
	_, height, waits := view.HandOver()
	if !waits || height == 0 {
		return nil
	}
	node, known := a.self()
	if !known {
		return nil
	}
	if _, signs := view.Elected().Position(node); !signs {
		return nil
	}
	_, err := a.snapshot(height)
	return err
}
