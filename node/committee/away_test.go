package committee

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"github.com/waybill-network/waybill/node/committee/ballot"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// leash is a record of votes that can be taken out of reach.
type leash struct {
	*ballot.File
	mu      sync.Mutex
	away    error
	changed chan struct{}
	missed  chan cmtproto.Vote // that were asked for meanwhile
}

func newLeash(f *ballot.File) *leash {
	return &leash{File: f, changed: make(chan struct{}), missed: make(chan cmtproto.Vote, 4096)}
}

func (l *leash) set(away error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *leash) next(t *testing.T) (v cmtproto.Vote) {
	t.Helper()
	select {
	case v = <-l.missed:
	case <-time.After(30 * time.Second): // only a test that fails waits for it
		t.Fatal("no vote was asked for")
	}
	return v
}

func (l *leash) Reach() (<-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed, l.away
}

func (l *leash) SignVote(chain string, v *cmtproto.Vote) error {
	if _, away := l.Reach(); away != nil {
		select {
		case l.missed <- *v:
		default:
		}
		return away
	}
	return l.File.SignVote(chain, v)
}

func (l *leash) SignProposal(chain string, p *cmtproto.Proposal) error {
	if _, away := l.Reach(); away != nil {
		return away
	}
	return l.File.SignProposal(chain, p)
}

// TestAway: with two of four keys out of reach the chain stands, and goes on when they are back,
// although the engine asks for each vote once. The members whose keys those are follow and say that
// they cannot vote.
func TestAway(t *testing.T) {
	net := newNetwork(t, "away", 4, 3600, 60, freeAddresses(t, 4), time.Now().UTC())
	var nodes []*running
	leashes := map[int]*leash{}
	for i := range net.members {
		dir := t.TempDir()
		s, err := store.Open(filepath.Join(dir, "store"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Begin(0); err != nil {
			t.Fatal(err)
		}
		c := net.config(i, dir, s)
		if i >= 2 {
			votes := ballot.New(c.ConsensusKey, filepath.Join(t.TempDir(), "votes"))
			leashes[i] = newLeash(votes)
			c.ConsensusKey, c.Votes = nil, leashes[i]
		}
		e, err := Start(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Stop(); _ = s.Close() })
		nodes = append(nodes, &running{e, s})
	}
	nodes[3].wait(t, "blocks", func(v *ledger.View) bool { return v.Height() > 2 })
	if !nodes[3].Able() {
		t.Error("a member with its key at hand is not able")
	}

	away := errors.Join(signer.ErrAway, errors.New("in a test"))
	leashes[2].set(away)
	nodes[2].wait(t, "blocks of the others", func() func(*ledger.View) bool {
		from := nodes[2].View().Height()
		return func(v *ledger.View) bool { return v.Height() > from+2 }
	}())
	leashes[3].set(away)
	if nodes[2].Able() || nodes[3].Able() {
		t.Error("members without keys are able")
	}
	// With the first vote that is missing all stands, and the engine asks for no other.
	stands := leashes[3].next(t)
	for v := leashes[2].next(t); v.Height != stands.Height || v.Round != stands.Round ||
		v.Type != stands.Type; {
		v = leashes[2].next(t)
	}
	from := max(nodes[0].View().Height(), 10)
	leashes[2].set(nil)
	leashes[3].set(nil)
	nodes[0].wait(t, "blocks after all are back", func(v *ledger.View) bool {
		return v.Height() > from+3
	})
	nodes[3].wait(t, "them, too", func(v *ledger.View) bool { return v.Height() > from+3 })
	nodes[2].wait(t, "them, too", func(v *ledger.View) bool { return v.Height() > from+3 })
	sameHashes(t, nodes)
}

// TestRecordFails: an engine whose record of votes cannot be written halts, and says why.
func TestRecordFails(t *testing.T) {
	net := newNetwork(t, "record", 1, 3600, 60, freeAddresses(t, 1), time.Now().UTC())
	dir := t.TempDir()
	node := net.start(t, 0, dir)
	node.wait(t, "a block", func(v *ledger.View) bool { return v.Height() > 0 })
	if err := os.RemoveAll(filepath.Dir(SignStateFile(net.config(0, dir, nil).Home))); err != nil {
		t.Fatal(err)
	}
	if err := node.failure(t); !errors.Is(err, ballot.ErrRecord) {
		t.Errorf("it ended with %v", err)
	}
}
