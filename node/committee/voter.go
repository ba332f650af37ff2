package committee

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/crypto"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/node/committee/ballot"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// What a quiet node watches of the chain, at the least, before its key votes: as long as blocks
// come that another process with this key would have voted on.
const (
	watchBlocks      = 10
	defaultWatchTime = 30 * time.Second
)

// voter is the consensus key with the memory of what it signed last. While it is quiet, the engine
// sees the key of a stranger in its place, and takes part as one that only listens. The engine asks
// for the key again with each block.
type voter struct {
	votes    ballot.Votes
	chain    string
	key      crypto.PubKey
	stranger crypto.PubKey
	quiet    atomic.Bool

	mu   sync.Mutex
	upTo int64           // votes on blocks up to this height may be of an earlier run
	owed []cmtproto.Vote // of the round at work, that could not be signed: the key is out of reach
	cast map[int64]bool  // later ones that this run cast
	// commit returns the votes on a block as this node has seen them, nil when it has not
	commit func(height int64) *types.Commit
	// other is told of a vote that this key did not cast here
	other func(height, last int64)
	// deliver hands the engine a vote that was signed later
	deliver func(*types.Vote)
}

var errQuiet = errors.New("committee: this key does not vote yet")

func (v *voter) GetPubKey() (crypto.PubKey, error) {
	if v.quiet.Load() {
		return v.stranger, nil
	}
	return v.key, nil
}

func (v *voter) SignVote(chain string, vote *cmtproto.Vote) error {
	if v.quiet.Load() || !v.alone(vote.Height-1) {
		return errQuiet
	}
	v.mu.Lock()
	if vote.Type == cmtproto.PrecommitType {
		v.cast[vote.Height] = true
		delete(v.cast, vote.Height-1000)
	}
	v.owed = slices.DeleteFunc(v.owed, func(o cmtproto.Vote) bool { // the engine has gone on
		return o.Height != vote.Height || o.Round != vote.Round
	})
	v.mu.Unlock()
	err := v.votes.SignVote(chain, vote)
	if errors.Is(err, signer.ErrAway) {
		v.owe(*vote)
	}
	return recorded(err)
}

// alone looks at the votes on a block, before the next is voted on, and reports whether none is of
// this key and was not cast here.
func (v *voter) alone(height int64) bool {
	commit := v.commit(height)
	if commit == nil || v.may(height) {
		return true
	}
	for _, s := range commit.Signatures {
		if s.BlockIDFlag != types.BlockIDFlagAbsent && bytes.Equal(s.ValidatorAddress, v.key.Address()) {
			v.other(height, v.last())
			return false
		}
	}
	return true
}

// may reports whether a vote on a block may have been cast from here.
func (v *voter) may(height int64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return height <= v.upTo || v.cast[height]
}

// last returns the last height that was voted on from here, as far as is known.
func (v *voter) last() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	last := v.upTo
	for height := range v.cast {
		last = max(last, height)
	}
	return last
}

// begin says that votes on blocks up to a height may have been cast before.
func (v *voter) begin(height int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.upTo = height
}

func (v *voter) SignProposal(chain string, p *cmtproto.Proposal) error {
	if v.quiet.Load() {
		return errQuiet
	}
	return recorded(v.votes.SignProposal(chain, p))
}

// recorded ends the engine when the record of votes cannot be written: a member that goes on
// without a vote would seem to be well.
func recorded(err error) error {
	if errors.Is(err, ballot.ErrRecord) {
		panic(err)
	}
	return err
}

// SignStateFile is where a home's record of the last vote is.
func SignStateFile(home string) string {
	return filepath.Join(home, "data", "priv_validator_state.json")
}

// SignAbove writes a record of votes that allows none up to a height. There must be no other.
func SignAbove(home string, height int64) error {
	file := SignStateFile(home)
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("committee: %s is there", file))
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("committee: %w", err)
	}
	votes := ballot.New(ed25519.PrivateKey(cmted25519.GenPrivKey()), file) // the file names no key
	return errors.Join(votes.Above(height), store.MarkPlace(filepath.Dir(file)))
}

// voter returns the consensus key with the memory of what it signed last, so that it never signs
// twice. A member whose chain has blocks has voted, and must have that memory, unless it is quiet;
// others may start from a copy of a store.
func (c *Config) voter(path string, voted bool) (*voter, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("committee: %w", err)
	}
	quiet, err := c.Store.Quiet()
	if err != nil {
		return nil, fmt.Errorf("committee: %w", err)
	}
	votes := c.Votes
	if votes == nil {
		if votes, err = c.record(path, voted, quiet); err != nil {
			return nil, err
		}
	}
	key := votes.Key()
	v := &voter{votes: votes, key: cmted25519.PubKey(key[:]), chain: c.Genesis.ChainID,
		stranger: cmted25519.GenPrivKey().PubKey(), cast: make(map[int64]bool), upTo: unknown}
	v.quiet.Store(quiet)
	if last, known := votes.Last(); known {
		v.upTo = last
	}
	return v, nil
}

// record opens the record of votes in a home.
func (c *Config) record(path string, voted, quiet bool) (ballot.Votes, error) {
	votes, err := ballot.Load(c.ConsensusKey, path)
	_, there := os.Lstat(path)
	switch {
	case err == nil:
		return votes, nil
	case !errors.Is(err, ballot.ErrMissing):
		return nil, fmt.Errorf("committee: %w", err)
	case !errors.Is(there, fs.ErrNotExist) || voted && !quiet:
		return nil, fmt.Errorf("%w: %w", ErrSignState, err)
	}
	votes = ballot.New(c.ConsensusKey, path)
	if quiet {
		return votes, store.MarkPlace(filepath.Dir(path))
	}
	return votes, votes.Save()
}

// watch ends this engine when a block carries a vote of its key that it did not cast: another
// process has the key. The block itself is as good as any.
func (a *app) watch(req *abci.RequestFinalizeBlock) {
	height := req.Height - 1
	if a.voter == nil || a.voter.quiet.Load() && a.firstLive == 0 ||
		a.voter.may(height) || !a.carries(req) {
		return
	}
	a.elsewhere(height, a.voter.last())
}

// elsewhere ends this engine: its key votes elsewhere. From then on nothing is signed, after a
// restart as well, until the rule of speak allows it.
func (a *app) elsewhere(height, last int64) {
	if a.distrusted.Swap(true) {
		return
	}
	a.voter.quiet.Store(true)
	err := fmt.Errorf("%w: the chain has its vote on block %d, and the last that was cast from "+
		"here is on block %d", ErrElsewhere, height, last)
	a.fail(errors.Join(err, a.store.Distrust()))
}

// carries reports whether a block carries a vote of this node's key on the block before it.
func (a *app) carries(req *abci.RequestFinalizeBlock) bool {
	own := string(a.voter.key.Address())
	for _, vote := range req.DecidedLastCommit.Votes {
		if string(vote.Validator.Address) == own {
			return vote.BlockIdFlag != cmtproto.BlockIDFlagAbsent
		}
	}
	return false
}

// speak lets a quiet key vote when an epoch has begun under this node's eyes, and enough blocks
// have come without a vote of another process. It never votes on a block that it was quiet for.
func (a *app) speak(view *ledger.View) error {
	if a.voter == nil || !a.voter.quiet.Load() || a.distrusted.Load() || a.live != view.Height() {
		return nil
	}
	if a.firstLive == 0 {
		a.firstLive, a.firstTime = view.Height(), view.Time()
		a.voter.begin(a.firstLive) // before that another home may have voted
		a.log.Warn("this node's consensus key does not vote yet: another home of it may have voted",
			"until_epoch", view.Epoch()+1)
	}
	since, known := a.store.Since()
	if !known || view.Epoch() < since || view.Height() < a.firstLive+watchBlocks ||
		view.Time().Sub(a.firstTime) < a.watchTime {
		return nil
	}
	if err := a.voter.votes.Above(view.Height()); err != nil {
		return err
	}
	a.voter.begin(view.Height())
	if err := a.store.PutQuiet(false); err != nil {
		return err
	}
	a.voter.quiet.Store(false)
	a.log.Info("this node's consensus key votes from now on: nobody else did",
		"above_height", view.Height())
	return nil
}
