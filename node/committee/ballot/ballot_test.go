package ballot

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/node/store"
)

const chain = "ballot"

func newFile(t *testing.T) (*File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "votes", "state.json")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	f := New(ed25519.NewKeyFromSeed(make([]byte, 32)), path)
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	return f, path
}

func vote(kind cmtproto.SignedMsgType, height int64, round int32, block byte) *cmtproto.Vote {
	v := &cmtproto.Vote{Type: kind, Height: height, Round: round, Timestamp: time.Unix(100, 0)}
	if block != 0 {
		hash := make([]byte, 32)
		hash[0] = block
		v.BlockID = cmtproto.BlockID{Hash: hash,
			PartSetHeader: cmtproto.PartSetHeader{Total: 1, Hash: hash}}
	}
	return v
}

func proposal(height int64, round int32, block byte) *cmtproto.Proposal {
	return &cmtproto.Proposal{Type: cmtproto.ProposalType, Height: height, Round: round,
		PolRound: -1, Timestamp: time.Unix(100, 0),
		BlockID: vote(cmtproto.PrevoteType, 1, 0, block).BlockID}
}

// TestRules tries everything that contradicts a vote, and what does not, in this process and in the
// next, which knows the file alone.
func TestRules(t *testing.T) {
	const prevote, precommit = cmtproto.PrevoteType, cmtproto.PrecommitType
	f, path := newFile(t)
	good := func(name string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good("a proposal", f.SignProposal(chain, proposal(5, 1, 1)))
	bad("another proposal", f.SignProposal(chain, proposal(5, 1, 2)))
	first := vote(prevote, 5, 1, 1)
	good("a prevote", f.SignVote(chain, first))
	bad("the proposal before it", f.SignProposal(chain, proposal(5, 1, 1)))
	for range 2 {
		bad("another prevote", f.SignVote(chain, vote(prevote, 5, 1, 2)))
		bad("a prevote for nothing", f.SignVote(chain, vote(prevote, 5, 1, 0)))
		bad("an earlier round", f.SignVote(chain, vote(precommit, 5, 0, 1)))
		bad("an earlier height", f.SignVote(chain, vote(precommit, 4, 9, 1)))
		again := vote(prevote, 5, 1, 1)
		again.Timestamp = time.Unix(200, 0)
		good("the same, later", f.SignVote(chain, again))
		if !again.Timestamp.Equal(first.Timestamp) || string(again.Signature) != string(first.Signature) {
			t.Error("the same vote got another signature")
		}
		if v, err := types.VoteFromProto(again); err != nil || f.pv.Key.PubKey.VerifySignature(
			types.VoteSignBytes(chain, again), v.Signature) == false {
			t.Error("the signature does not verify", err)
		}
		var err error
		if f, err = Load(f.pv.Key.PrivKey.Bytes(), path); err != nil {
			t.Fatal(err)
		}
	}
	good("a precommit", f.SignVote(chain, vote(precommit, 5, 1, 1)))
	good("above", f.Above(9))
	good("above less", f.Above(7))
	if last, known := f.Last(); last != 9 || !known {
		t.Error("last", last, known)
	}
	bad("a vote at it", f.SignVote(chain, vote(precommit, 9, 4, 1)))
	good("a vote above it", f.SignVote(chain, vote(prevote, 10, 0, 1)))
	good("raised to where it is", f.Raise(State{Height: 10, Step: 2}))
	good("that vote again", f.SignVote(chain, vote(prevote, 10, 0, 1)))
	good("raised", f.Raise(State{Height: 10, Step: 3}))
	bad("a vote at the step", f.SignVote(chain, vote(precommit, 10, 0, 1)))
	good("the next round", f.SignVote(chain, vote(prevote, 10, 1, 1)))

	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(filepath.Dir(path))); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(f.pv.Key.PrivKey.Bytes(), filepath.Join(copied, "state.json")); !errors.Is(err,
		store.ErrCopied) {
		t.Error("a copy:", err)
	}
}

// TestRecordFails: a vote whose record could not be written is not given, not even when it is asked
// for again, although the engine's validator has it in memory by then.
func TestRecordFails(t *testing.T) {
	f, path := newFile(t)
	if err := f.SignVote(chain, vote(cmtproto.PrevoteType, 5, 0, 1)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		v := vote(cmtproto.PrevoteType, 6, 0, 1)
		if err := f.SignVote(chain, v); !errors.Is(err, ErrRecord) {
			t.Errorf("signed %x without a record: %v", v.Signature, err)
		}
	}
}
