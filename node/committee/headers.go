package committee

import (
	"bytes"
	"errors"
	"fmt"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
	"github.com/cosmos/gogoproto/proto"
)

// ErrHeader says that a header is not kept here, or is not the chain's.
var ErrHeader = errors.New("committee: header")

// Header is a block's header with the votes that decided it, and who was to vote, in the engine's
// encoding.
type Header struct {
	Signed     []byte
	Validators []byte // empty: those of the header before it in the same answer
}

// Bounds of an answer of Headers.
const (
	MaxHeaders      = 1024
	maxHeadersBytes = 4 << 20
)

// Headers returns headers, that of a height and those below it, as far as they are kept: count at
// most, and MaxHeaders, and some megabytes. ErrHeader when there is none.
func (e *Engine) Headers(height int64, count int) (list []Header, err error) {
	var last []byte // hash of the validators
	size := 0
	for h := height; h > 0 && len(list) < min(count, MaxHeaders) && size < maxHeadersBytes; h-- {
		signed := e.signedHeader(h)
		if signed == nil {
			break
		}
		var x Header
		if x.Signed, err = proto.Marshal(signed.ToProto()); err != nil {
			return nil, fmt.Errorf("%w %d: %w", ErrHeader, h, err)
		}
		if !bytes.Equal(signed.ValidatorsHash, last) {
			set, err := e.parts.states.LoadValidators(h)
			if err != nil {
				break // it was forgotten meanwhile
			}
			encoded, err := set.ToProto()
			if err == nil {
				x.Validators, err = proto.Marshal(encoded)
			}
			if err != nil {
				return nil, fmt.Errorf("%w %d: %w", ErrHeader, h, err)
			}
			last = signed.ValidatorsHash
		}
		size += len(x.Signed) + len(x.Validators)
		list = append(list, x)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w %d: not kept here", ErrHeader, height)
	}
	return list, nil
}

// signedHeader returns the header of a height with the votes on it, as the next block has them, or,
// of the last block, as this node saw them; nil when it is not kept.
func (e *Engine) signedHeader(height int64) *types.SignedHeader {
	meta := e.parts.blocks.LoadBlockMeta(height)
	commit := e.parts.blocks.LoadBlockCommit(height)
	if commit == nil {
		commit = e.parts.blocks.LoadSeenCommit(height)
	}
	if meta == nil || commit == nil {
		return nil
	}
	return &types.SignedHeader{Header: &meta.Header, Commit: commit}
}

// parse decodes a header and who was to vote on it; validators is nil when they are not there.
func (h *Header) parse() (_ *types.SignedHeader, _ *types.ValidatorSet, err error) {
	defer func() { // the engine panics at powers that add up to too much
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrHeader, r)
		}
	}()
	var p cmtproto.SignedHeader
	if err := proto.Unmarshal(h.Signed, &p); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	signed, err := types.SignedHeaderFromProto(&p)
	if err == nil && (signed.Header == nil || signed.Commit == nil) {
		err = errors.New("a part is missing")
	}
	if err == nil {
		err = signed.Commit.ValidateBasic()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	if len(h.Validators) == 0 {
		return signed, nil, nil
	}
	var v cmtproto.ValidatorSet
	if err := proto.Unmarshal(h.Validators, &v); err != nil {
		return nil, nil, fmt.Errorf("%w: validators: %w", ErrHeader, err)
	}
	set, err := types.ValidatorSetFromProto(&v)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: validators: %w", ErrHeader, err)
	}
	for _, one := range set.Validators { // no header shows them
		one.ProposerPriority = 0
	}
	set.Proposer = set.Validators[0]
	return signed, set, nil
}

// EngineHeaders is Headers, in parts.
func (e *Engine) EngineHeaders(height int64, count int) (signed, validators [][]byte, err error) {
	list, err := e.Headers(height, count)
	for i := range list {
		signed = append(signed, list[i].Signed)
		validators = append(validators, list[i].Validators)
	}
	return signed, validators, err
}
