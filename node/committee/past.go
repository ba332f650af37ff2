package committee

import (
	"errors"
	"fmt"
	"time"

	"github.com/cometbft/cometbft/state"
	blockstore "github.com/cometbft/cometbft/store"
	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// ErrPast says that a store lacks a block, or who was to vote on one.
var ErrPast = errors.New("committee: no such block is kept")

// Past is the chain of a node that does not run, block by block, for who audits it. Its methods are
// safe for concurrent use; the store must stay open.
type Past struct {
	blocks *blockstore.BlockStore
	states state.Store
}

// PastBlock is a decided block, with the votes that it carries for the one before.
type PastBlock struct {
	Height  int64
	Time    time.Time
	AppHash []byte // on which the engine agreed after the block before
	Txs     [][]byte
	Votes   []PastVote // of all who could vote on the block before; none in the first block
}

// PastVote is what a block says of a member's vote on the block before.
type PastVote struct {
	Address [20]byte // VoteAddress of the member's consensus key
	Power   int64    // its seats, where the committee rotates
	Voted   bool     // for that block, and the next one carries it
}

// VoteAddress returns the name under which the engine knows a consensus key.
func VoteAddress(key ledger.Key) [20]byte { return [20]byte([]byte(address(key))) }

// OpenPast looks at the chain in a store.
func OpenPast(s *store.Store) *Past {
	open := func(space string) db { return db{kv: s.KV(space)} }
	return &Past{blockstore.NewBlockStore(open(blockSpace)),
		state.NewStore(open(stateSpace), state.StoreOptions{})}
}

// Heights returns the lowest and the highest block that is kept; 0 and 0 for none.
func (p *Past) Heights() (first, last int64) { return p.blocks.Base(), p.blocks.Height() }

// Block returns a block: ErrPast.
func (p *Past) Block(height int64) (*PastBlock, error) {
	block := p.blocks.LoadBlock(height)
	if block == nil {
		return nil, fmt.Errorf("%w: %d", ErrPast, height)
	}
	b := &PastBlock{Height: height, Time: block.Time, AppHash: block.AppHash}
	for _, tx := range block.Txs {
		b.Txs = append(b.Txs, tx)
	}
	if len(block.LastCommit.Signatures) == 0 {
		return b, nil
	}
	validators, err := p.states.LoadValidators(height - 1)
	if err == nil && len(validators.Validators) != len(block.LastCommit.Signatures) {
		err = fmt.Errorf("%d votes of %d members", len(block.LastCommit.Signatures),
			len(validators.Validators))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: who votes on %d: %w", ErrPast, height-1, err)
	}
	for i, v := range validators.Validators {
		b.Votes = append(b.Votes, PastVote{[20]byte(v.Address), v.VotingPower,
			block.LastCommit.Signatures[i].BlockIDFlag == types.BlockIDFlagCommit})
	}
	return b, nil
}
