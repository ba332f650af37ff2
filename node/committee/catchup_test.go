package committee

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cometbft/cometbft/crypto"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/p2p"
	bcproto "github.com/cometbft/cometbft/proto/tendermint/blocksync"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// chain has blocks of four voters, each decided by all but one.
type chain struct {
	start  state.State // before the first block
	keys   []crypto.PrivKey
	blocks []bcproto.BlockResponse // of height 1 and on
}

func makeChain(t *testing.T, blocks int) *chain {
	t.Helper()
	c := new(chain)
	doc := types.GenesisDoc{ChainID: "catch-up", GenesisTime: time.Unix(1e9, 0).UTC(),
		ConsensusParams: types.DefaultConsensusParams()}
	doc.ConsensusParams.ABCI.VoteExtensionsEnableHeight = 1
	for i := range byte(4) {
		seed := sha256.Sum256([]byte{i})
		key := cmted25519.GenPrivKeyFromSecret(seed[:])
		doc.Validators = append(doc.Validators,
			types.GenesisValidator{PubKey: key.PubKey(), Power: 10})
		c.keys = append(c.keys, key)
	}
	var err error
	if c.start, err = state.MakeGenesisState(&doc); err != nil {
		t.Fatal(err)
	}
	last, at := new(types.ExtendedCommit), c.start.Copy()
	for h := int64(1); h <= int64(blocks); h++ {
		_, proposer := at.Validators.GetByIndex(int32(h % 4))
		block, err := at.MakeBlock(h, []types.Tx{make([]byte, 100)}, last.ToCommit(), nil,
			proposer.Address)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := block.MakePartSet(types.BlockPartSizeBytes)
		if err != nil {
			t.Fatal(err)
		}
		at.LastBlockHeight, at.LastBlockTime = h, block.Time.Add(time.Second)
		at.LastBlockID = types.BlockID{Hash: block.Hash(), PartSetHeader: parts.Header()}
		at.LastValidators = at.Validators
		last = c.decide(t, &at, int(h)%4)
		b, err := block.ToProto()
		if err != nil {
			t.Fatal(err)
		}
		c.blocks = append(c.blocks, bcproto.BlockResponse{Block: b, ExtCommit: last.ToProto()})
	}
	return c
}

// decide returns the votes of all but one for the last block of a state.
func (c *chain) decide(t *testing.T, at *state.State, absent int) *types.ExtendedCommit {
	t.Helper()
	e := &types.ExtendedCommit{Height: at.LastBlockHeight, BlockID: at.LastBlockID}
	for i, v := range at.Validators.Validators {
		if i == absent {
			e.ExtendedSignatures = append(e.ExtendedSignatures, types.NewExtendedCommitSigAbsent())
			continue
		}
		vote := &types.Vote{Type: cmtproto.PrecommitType, Height: e.Height, BlockID: e.BlockID,
			Timestamp: at.LastBlockTime, ValidatorAddress: v.Address, ValidatorIndex: int32(i),
			Extension: []byte("x")}
		p := vote.ToProto()
		for _, key := range c.keys {
			if !key.PubKey().Equals(v.PubKey) {
				continue
			}
			var err error
			if vote.Signature, err = key.Sign(types.VoteSignBytes(at.ChainID, p)); err != nil {
				t.Fatal(err)
			}
			if vote.ExtensionSignature, err = key.Sign(types.VoteExtensionSignBytes(at.ChainID,
				p)); err != nil {
				t.Fatal(err)
			}
		}
		e.ExtendedSignatures = append(e.ExtendedSignatures, vote.ExtendedCommitSig())
	}
	return e
}

// copyOf returns a block's answer that may be changed.
func (c *chain) copyOf(t *testing.T, height int64) *bcproto.BlockResponse {
	t.Helper()
	b, err := c.blocks[height-1].Marshal()
	m := new(bcproto.BlockResponse)
	if err == nil {
		err = m.Unmarshal(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// decider stands for the consensus state: it takes a block once more than two thirds have voted.
type decider struct {
	t     *testing.T
	tells *feed
	mu    sync.Mutex
	at    state.State
	votes *types.VoteSet
	parts *types.PartSet
	stray int // votes and parts of another height, or that nobody waits for
}

func (d *decider) GetState() state.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at.Copy()
}

func (d *decider) AddVote(v *types.Vote, _ p2p.ID) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	height := d.at.LastBlockHeight + 1
	if v.Height != height {
		d.stray++
		return false, nil
	}
	if d.votes == nil {
		d.votes = types.NewExtendedVoteSet(d.at.ChainID, height, 0, cmtproto.PrecommitType,
			d.at.Validators)
	}
	if _, err := d.votes.AddVote(v); err != nil {
		d.t.Errorf("height %d: %v", height, err)
	}
	if id, ok := d.votes.TwoThirdsMajority(); ok && d.parts == nil {
		d.parts = types.NewPartSetFromHeader(id.PartSetHeader)
	}
	return true, nil
}

func (d *decider) AddProposalBlockPart(h int64, _ int32, part *types.Part, _ p2p.ID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if h != d.at.LastBlockHeight+1 || d.parts == nil {
		d.stray++
		return nil
	}
	if _, err := d.parts.AddPart(part); err != nil {
		d.t.Errorf("height %d: %v", h, err)
	}
	if d.parts.IsComplete() {
		d.at.LastBlockHeight, d.votes, d.parts = h, nil, nil
		d.tells.publish(new(ledger.View), nil)
	}
	return nil
}

// blockPeer is a peer that gives blocks its own way.
type blockPeer struct {
	p2p.Peer
	id     p2p.ID
	says   int64 // the height at which it is
	to     *catchUp
	asked  atomic.Int64
	answer func(height int64) (any, time.Duration)
}

func (s *blockPeer) ID() p2p.ID       { return s.id }
func (s *blockPeer) GetHeight() int64 { return s.says }
func (s *blockPeer) Get(key string) any {
	if key == types.PeerStateKey {
		return s
	}
	return nil
}

func (s *blockPeer) TrySend(e p2p.Envelope) bool {
	s.asked.Add(1)
	m, after := s.answer(e.Message.(*bcproto.BlockRequest).Height)
	time.AfterFunc(after, func() {
		switch m := m.(type) {
		case *bcproto.BlockResponse:
			s.to.Receive(p2p.Envelope{Src: s, Message: m})
		case *bcproto.NoBlockResponse:
			s.to.Receive(p2p.Envelope{Src: s, Message: m})
		}
	})
	return true
}

// TestCatchUp: a node that is a hundred blocks behind peers 50 ms away is in step within some round
// trips, whatever other peers give it, and hands nothing to the consensus state that it did not
// check.
func TestCatchUp(t *testing.T) {
	const blocks, trip = 100, 100 * time.Millisecond
	c := makeChain(t, blocks)
	changed := func(change func(m *bcproto.BlockResponse)) func(int64) (any, time.Duration) {
		return func(height int64) (any, time.Duration) {
			if height > blocks {
				return nil, 0
			}
			m := c.copyOf(t, height)
			change(m)
			return m, trip
		}
	}
	honest := changed(func(*bcproto.BlockResponse) {})
	for name, hostile := range map[string]func(int64) (any, time.Duration){
		"nothing": func(int64) (any, time.Duration) { return nil, 0 },
		"no block": func(height int64) (any, time.Duration) {
			return &bcproto.NoBlockResponse{Height: height}, trip
		},
		"no votes": changed(func(m *bcproto.BlockResponse) { m.ExtCommit = nil }),
		"an empty answer": func(int64) (any, time.Duration) {
			return new(bcproto.BlockResponse), trip
		},
		"another block's votes": changed(func(m *bcproto.BlockResponse) {
			m.ExtCommit = c.blocks[m.Block.Header.Height%blocks].ExtCommit
		}),
		"another block": func(height int64) (any, time.Duration) {
			return c.copyOf(t, height%blocks+1), trip
		},
		"another transaction": changed(func(m *bcproto.BlockResponse) { m.Block.Data.Txs[0][0] ^= 1 }),
		"a forged vote": changed(func(m *bcproto.BlockResponse) {
			for i := range m.ExtCommit.ExtendedSignatures {
				if s := &m.ExtCommit.ExtendedSignatures[i]; len(s.Signature) > 0 {
					s.Signature[0] ^= 1
				}
			}
		}),
		"a forged extension": changed(func(m *bcproto.BlockResponse) {
			for i := range m.ExtCommit.ExtendedSignatures {
				if s := &m.ExtCommit.ExtendedSignatures[i]; len(s.Extension) > 0 {
					s.Extension[0] ^= 1
				}
			}
		}),
		"too few votes": changed(func(m *bcproto.BlockResponse) {
			absent := types.NewExtendedCommitSigAbsent()
			for i := range m.ExtCommit.ExtendedSignatures[:2] {
				m.ExtCommit.ExtendedSignatures[i] = *absent.ToProto()
			}
		}),
		"a vote too many": changed(func(m *bcproto.BlockResponse) {
			last := m.ExtCommit.ExtendedSignatures[(m.Block.Header.Height+1)%4]
			m.ExtCommit.ExtendedSignatures = append(m.ExtCommit.ExtendedSignatures, last)
		}),
	} {
		for _, says := range []int64{blocks + 1, 1 << 40} {
			t.Run(fmt.Sprintf("%s to %d", name, says), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					catchUpWith(t, c, []*blockPeer{{id: "a", says: says, answer: hostile},
						{id: "b", says: blocks + 1, answer: honest},
						{id: "c", says: blocks - 20, answer: honest}})
				})
			})
		}
	}
	t.Run("all honest", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			took := catchUpWith(t, c, []*blockPeer{{id: "a", says: blocks + 1, answer: honest},
				{id: "b", says: blocks + 1, answer: honest}})
			if most := lookEvery + 5*trip; took > most {
				t.Errorf("in step after %v, not %v", took, most)
			}
		})
	})
}

// catchUpWith runs until a node is in step with peers of a chain, and returns how long it took.
func catchUpWith(t *testing.T, c *chain, peers []*blockPeer) time.Duration {
	t.Helper()
	d := &decider{t: t, tells: new(feed), at: c.start.Copy()}
	u := newCatchUp(nil, d, func() bool { return false }, slog.New(slog.DiscardHandler))
	u.peers = func() (list []p2p.Peer) {
		for _, p := range peers {
			list = append(list, p)
		}
		return list
	}
	for _, p := range peers {
		p.to = u
		// what nobody asked for
		u.Receive(p2p.Envelope{Src: p, Message: c.copyOf(t, 3)})
		u.Receive(p2p.Envelope{Src: p, Message: &bcproto.NoBlockResponse{Height: 1}})
	}
	stopped, start := make(chan struct{}), time.Now()
	blocks := d.tells.subscribe()
	go u.run(blocks, stopped)
	want := int64(len(c.blocks) - 1) // gossip brings the last one
	for d.GetState().LastBlockHeight < want && time.Since(start) < time.Minute {
		<-time.After(time.Millisecond)
	}
	took := time.Since(start)
	if got := d.GetState().LastBlockHeight; got < want || d.stray > 0 {
		t.Errorf("block %d of %d after %v, %d strays", got, want, took, d.stray)
	}
	if took > 2*fetchWithin+3*time.Second {
		t.Errorf("it took %v", took)
	}
	// in step, few are asked any more: for what nobody has, who says that it has it once in a while
	time.Sleep(time.Second)
	var before, after int64
	for _, p := range peers {
		before += p.asked.Load()
	}
	time.Sleep(time.Minute)
	for _, p := range peers {
		after += p.asked.Load()
	}
	if after-before > 4*fetchAhead {
		t.Errorf("in step, %d blocks are asked for in a minute", after-before)
	}
	close(stopped)
	synctest.Wait()
	return took
}
