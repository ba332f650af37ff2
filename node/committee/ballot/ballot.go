// Package ballot is a consensus key with the memory of what it voted: no two votes or proposals of
// one height, round and step, and nothing below. The rules, and the file, are those of the engine's
// own private validator. A node has one in its home, a signer process in its own.
package ballot

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/privval"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Errors that callers branch on.
var (
	// ErrMissing says that there is no record of votes, or none that can be read.
	ErrMissing = errors.New("ballot: no record of votes")
	// ErrRefused says that a vote contradicts the record.
	ErrRefused = errors.New("ballot: another vote was signed")
	// ErrRecord says that the record could not be written. Nothing is signed from then on.
	ErrRecord = errors.New("ballot: the record of votes cannot be written")
)

// Votes signs votes and proposals, with a memory. It is safe for concurrent use.
type Votes interface {
	// Key returns the public consensus key.
	Key() ledger.Key
	// SignVote and SignProposal sign, and set the timestamp to that of the same vote if it was
	// signed before.
	SignVote(chain string, vote *cmtproto.Vote) error
	SignProposal(chain string, proposal *cmtproto.Proposal) error
	// Last returns the height of the last vote. known is false while nobody can say.
	Last() (height int64, known bool)
	// Above forbids all votes up to a height. It is durable, and never allows anything.
	Above(height int64) error
	// Reach says why the key is out of reach, nil when it is not. changed is closed when that
	// changes; nil: it never does.
	Reach() (changed <-chan struct{}, err error)
}

// State is the last vote: everything up to it is signed, or never will be.
type State struct {
	Height int64
	Round  int32
	Step   int8 // 1 proposal, 2 prevote, 3 precommit
	// what was signed there, and the signature; nil when nothing may be
	SignBytes, Signature []byte
}

// Less reports whether a state comes before another.
func (s State) Less(other State) bool {
	switch {
	case s.Height != other.Height:
		return s.Height < other.Height
	case s.Round != other.Round:
		return s.Round < other.Round
	}
	return s.Step < other.Step
}

// File is a key whose memory is a file.
type File struct {
	mu     sync.Mutex
	pv     *privval.FilePV
	path   string
	failed error
}

var _ Votes = (*File)(nil)

// New returns a key that has voted nothing. The file is not written before the first vote, unless
// Save is called.
func New(key ed25519.PrivateKey, path string) *File {
	return &File{pv: privval.NewFilePV(cmted25519.PrivKey(key), "", path), path: path}
}

// Load returns a key with the record of its votes: ErrMissing, store.ErrCopied for a copy of one.
func Load(key ed25519.PrivateKey, path string) (*File, error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s", ErrMissing, path)
	case err != nil:
		return nil, fmt.Errorf("ballot: %w", err)
	}
	dir := filepath.Dir(path)
	err = store.CheckPlace(dir)
	if errors.Is(err, fs.ErrNotExist) { // of a time when there was no mark
		err = store.MarkPlace(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("ballot: the record of votes: %w", err)
	}
	last, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f := New(key, path)
	s := &f.pv.LastSignState
	s.Height, s.Round, s.Step = last.Height, last.Round, last.Step
	s.Signature, s.SignBytes = last.Signature, last.SignBytes
	return f, nil
}

// Read returns the last vote of a record that another process may be writing: ErrMissing.
func Read(path string) (State, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return parse(b)
}

func parse(b []byte) (State, error) {
	var last privval.FilePVLastSignState
	if err := cmtjson.Unmarshal(b, &last); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return State{last.Height, last.Round, last.Step, last.SignBytes, last.Signature}, nil
}

// Save writes the record, durably, and marks its place.
func (f *File) Save() error {
	err := f.guarded(func() error { f.pv.LastSignState.Save(); return nil })
	if err != nil {
		return err
	}
	return store.MarkPlace(filepath.Dir(f.path))
}

// Key returns the public consensus key.
func (f *File) Key() ledger.Key { return ledger.Key(f.pv.Key.PubKey.Bytes()) }

// SignVote signs a vote.
func (f *File) SignVote(chain string, vote *cmtproto.Vote) error {
	return f.guarded(func() error { return refused(f.pv.SignVote(chain, vote)) })
}

// SignProposal signs a proposal.
func (f *File) SignProposal(chain string, proposal *cmtproto.Proposal) error {
	return f.guarded(func() error { return refused(f.pv.SignProposal(chain, proposal)) })
}

func refused(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// Last returns the height of the last vote.
func (f *File) Last() (int64, bool) { return f.State().Height, true }

// Reach says that the key is here.
func (f *File) Reach() (<-chan struct{}, error) { return nil, nil }

// State returns the last vote.
func (f *File) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &f.pv.LastSignState
	return State{s.Height, s.Round, s.Step, s.SignBytes, s.Signature}
}

// Above forbids all votes up to a height.
func (f *File) Above(height int64) error {
	return f.Raise(State{Height: height, Round: math.MaxInt32, Step: 3})
}

// Raise forbids all votes up to a state, and at it. One that is not above the record changes
// nothing.
func (f *File) Raise(to State) error {
	return f.guarded(func() error {
		s := &f.pv.LastSignState
		if !(State{Height: s.Height, Round: s.Round, Step: s.Step}).Less(to) {
			return nil
		}
		s.Height, s.Round, s.Step = to.Height, to.Round, to.Step
		s.Signature, s.SignBytes = to.Signature, to.SignBytes
		s.Save()
		return nil
	})
}

// guarded runs what may write the record. The engine's validator panics when it cannot, and what it
// has in memory by then is not on the disk: from then on nothing is signed. The record is a file
// that replaces the one before, which lasts when its folder is written, too.
func (f *File) guarded(do func() error) (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return f.failed
	}
	before := f.pv.LastSignState
	defer func() {
		if r := recover(); r != nil {
			f.failed = fmt.Errorf("%w: %v", ErrRecord, r)
			err = f.failed
			return
		}
		now := &f.pv.LastSignState
		if now.Height == before.Height && now.Round == before.Round && now.Step == before.Step {
			return
		}
		if e := syncDir(filepath.Dir(f.path)); e != nil {
			f.failed = fmt.Errorf("%w: %w", ErrRecord, e)
			err = f.failed
		}
	}()
	return do()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
