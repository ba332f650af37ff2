package committee

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/cometbft/cometbft/blocksync"
	"github.com/cometbft/cometbft/consensus"
	"github.com/cometbft/cometbft/p2p"
	bcproto "github.com/cometbft/cometbft/proto/tendermint/blocksync"
	"github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/types"
)

const (
	lookEvery   = 250 * time.Millisecond // for whether this node is behind
	fewBlocks   = 3                      // behind peers: gossip gets there as fast
	fetchAhead  = 32                     // blocks behind the last one that are asked for at once
	fetchBytes  = 32 << 20               // of blocks that wait for the one before them
	fetchWithin = 3 * time.Second        // a block comes, and one that came is decided
	leftOutFor  = 30 * time.Second       // who gave no such block
)

// catchUp brings a node that votes, and was away for a while, back in step. The engine's gossip
// tells it of one block after another, which takes round trips for each. Here blocks that were
// decided, and the votes that decided them, are asked for ahead of their turn, and handed to the
// consensus state as if gossip had brought them: it verifies and decides as ever
// (docs/adr/0064-a-member-that-was-away-fetches-ahead.md).
//
// It stands for the engine's block sync, which answers such requests and fetches at a start alone.
// Nodes that never fetch, since nobody else votes, have none of this.
type catchUp struct {
	*blocksync.Reactor
	core    core
	syncing func() bool // the engine's block sync fetches
	peers   func() []p2p.Peer
	log     *slog.Logger

	answers chan blockAnswer
	mu      sync.Mutex
	asked   map[int64]request // what is awaited, by height
	leftOut map[p2p.ID]time.Time
}

// core is the consensus state, as far as it is needed.
type core interface {
	GetState() state.State
	AddVote(v *types.Vote, from p2p.ID) (bool, error)
	AddProposalBlockPart(height int64, round int32, part *types.Part, from p2p.ID) error
}

type request struct {
	of p2p.ID
	at time.Time
}

// blockAnswer is what a peer answered; without a message it has no such block.
type blockAnswer struct {
	height  int64
	from    p2p.ID
	message *bcproto.BlockResponse
}

// decided is a block with the votes that decided it.
type decided struct {
	from   p2p.ID
	block  *types.Block
	votes  *types.ExtendedCommit
	parts  *types.PartSet
	size   int
	handed time.Time // to the consensus state; zero: not yet
}

func newCatchUp(r *blocksync.Reactor, c core, syncing func() bool, log *slog.Logger) *catchUp {
	u := &catchUp{Reactor: r, core: c, syncing: syncing, log: log,
		// each request is answered once
		answers: make(chan blockAnswer, 2*fetchAhead),
		asked:   make(map[int64]request), leftOut: make(map[p2p.ID]time.Time)}
	u.peers = func() []p2p.Peer { return r.Switch.Peers().Copy() }
	return u
}

// Receive implements p2p.Reactor.
func (u *catchUp) Receive(e p2p.Envelope) {
	switch m := e.Message.(type) {
	case *bcproto.BlockResponse:
		if !u.syncing() {
			if m.Block != nil {
				u.answer(blockAnswer{m.Block.Header.Height, e.Src.ID(), m})
			}
			return
		}
	case *bcproto.NoBlockResponse:
		if !u.syncing() {
			u.answer(blockAnswer{m.Height, e.Src.ID(), nil})
			return
		}
	}
	u.Reactor.Receive(e)
}

// answer takes what was asked for; anything else is dropped.
func (u *catchUp) answer(a blockAnswer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if r, ok := u.asked[a.height]; !ok || r.of != a.from {
		return
	}
	select {
	case u.answers <- a:
		delete(u.asked, a.height)
	default: // it is asked for again
	}
}

// run looks after the node until stopped is closed. The subscription tells of each block.
func (u *catchUp) run(blocks *Subscription, stopped <-chan struct{}) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			blocks.Take()
		case <-stopped:
			return
		}
		if own := u.height(); !u.syncing() && u.top()-own >= fewBlocks {
			start := time.Now()
			u.fetch(blocks, stopped)
			if n := u.height() - own; n >= fetchAhead {
				u.log.Info("caught up with the chain", "blocks", n,
					"in", time.Since(start).Round(time.Millisecond))
			}
		}
	}
}

func (u *catchUp) height() int64 { return u.core.GetState().LastBlockHeight }

// top returns the last block that peers who are not left out say is decided.
func (u *catchUp) top() (top int64) {
	for _, p := range u.servers() {
		top = max(top, p.height)
	}
	return top
}

type blockServer struct {
	p2p.Peer
	height int64 // the last block that is decided there, as it says
}

// servers returns the peers that may be asked.
func (u *catchUp) servers() (list []blockServer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	for _, p := range u.peers() {
		if until, out := u.leftOut[p.ID()]; out {
			if now.Before(until) {
				continue
			}
			delete(u.leftOut, p.ID())
		}
		if s, ok := p.Get(types.PeerStateKey).(interface{ GetHeight() int64 }); ok {
			list = append(list, blockServer{p, s.GetHeight() - 1})
		}
	}
	return list
}

func (u *catchUp) leave(p p2p.ID, height int64, why error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.leftOut[p] = time.Now().Add(leftOutFor)
	u.log.Debug("a peer is not asked for blocks", "peer", p, "height", height, "for", leftOutFor,
		"err", why)
}

var (
	errNoBlock  = errors.New("committee: it does not have the block")
	errSilent   = errors.New("committee: the block did not come")
	errNotTaken = errors.New("committee: the block was not decided by its votes")
)

// fetch asks for blocks and hands them over until the node is in step, or nobody is left who helps.
func (u *catchUp) fetch(blocks *Subscription, stopped <-chan struct{}) {
	waiting := make(map[int64]*decided)
	defer func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		clear(u.asked)
	}()
	late := time.NewTicker(lookEvery)
	defer late.Stop()
	for {
		chain := u.core.GetState()
		next := chain.LastBlockHeight + 1
		maps.DeleteFunc(waiting, func(height int64, _ *decided) bool { return height < next })
		u.ask(waiting, next)
		if d := waiting[next]; d != nil {
			err := u.hand(d, &chain)
			if err != nil {
				delete(waiting, next)
				u.leave(d.from, next, err)
				continue
			}
		}
		if u.top() <= next {
			return // gossip brings the last one
		}
		select {
		case a := <-u.answers:
			if d, err := decode(a); err != nil {
				u.leave(a.from, a.height, err)
			} else if a.height >= next {
				waiting[a.height] = d
			}
		case <-blocks.Updated():
			blocks.Take()
		case <-late.C:
		case <-stopped:
			return
		}
	}
}

// ask asks for the blocks from a height on that are neither there nor awaited, each the server of
// which the least is awaited.
func (u *catchUp) ask(waiting map[int64]*decided, next int64) {
	bytes := 0
	for _, d := range waiting {
		bytes += d.size
	}
	now := time.Now()
	var silent []request
	u.mu.Lock()
	load := make(map[p2p.ID]int)
	for height, r := range u.asked {
		switch {
		case height < next:
			delete(u.asked, height)
		case now.Sub(r.at) > fetchWithin:
			delete(u.asked, height)
			silent = append(silent, r)
		default:
			load[r.of]++
		}
	}
	u.mu.Unlock()
	for _, r := range silent {
		u.leave(r.of, next, errSilent)
	}
	servers := u.servers()
	for height := next; height < next+fetchAhead; height++ {
		if waiting[height] != nil || height > next && bytes > fetchBytes {
			continue
		}
		var best *blockServer
		for i := range servers {
			s := &servers[i]
			if s.height >= height && (best == nil || load[s.ID()] < load[best.ID()]) {
				best = s
			}
		}
		if best == nil {
			return // nor does anybody have the ones after it
		}
		u.mu.Lock()
		_, is := u.asked[height]
		if !is {
			u.asked[height] = request{best.ID(), now}
		}
		u.mu.Unlock()
		if !is {
			load[best.ID()]++
			best.TrySend(p2p.Envelope{ChannelID: blocksync.BlocksyncChannel,
				Message: &bcproto.BlockRequest{Height: height}}) // else it is silent
		}
	}
}

func decode(a blockAnswer) (*decided, error) {
	if a.message == nil {
		return nil, errNoBlock
	}
	d := &decided{from: a.from, size: a.message.Size()}
	var err error
	if d.block, err = types.BlockFromProto(a.message.Block); err != nil {
		return nil, err
	}
	if a.message.ExtCommit == nil {
		return nil, fmt.Errorf("%w: there are no votes", errNotTaken)
	}
	if d.votes, err = types.ExtendedCommitFromProto(a.message.ExtCommit); err != nil {
		return nil, err
	}
	if d.parts, err = d.block.MakePartSet(types.BlockPartSizeBytes); err != nil {
		return nil, err
	}
	id := types.BlockID{Hash: d.block.Hash(), PartSetHeader: d.parts.Header()}
	if d.votes.Height != a.height || !d.votes.BlockID.Equals(id) {
		return nil, fmt.Errorf("%w: they are for another block", errNotTaken)
	}
	return d, nil
}

// hand gives the next block of a chain to the consensus state, once: the votes first, by which it
// knows which block to take. It handles them in this order, behind one another.
func (u *catchUp) hand(d *decided, chain *state.State) error {
	if !d.handed.IsZero() {
		if time.Since(d.handed) > fetchWithin {
			return errNotTaken
		}
		return nil
	}
	var votes []*types.Vote
	var power int64
	for i := range d.votes.ExtendedSignatures {
		if d.votes.ExtendedSignatures[i].BlockIDFlag != types.BlockIDFlagCommit {
			continue
		}
		vote := d.votes.GetExtendedVote(int32(i))
		_, voter := chain.Validators.GetByIndex(int32(i))
		if voter == nil {
			return fmt.Errorf("%w: vote %d of %d", errNotTaken, i, chain.Validators.Size())
		}
		if err := vote.VerifyVoteAndExtension(chain.ChainID, voter.PubKey); err != nil {
			return fmt.Errorf("%w: vote %d: %w", errNotTaken, i, err)
		}
		votes, power = append(votes, vote), power+voter.VotingPower
	}
	if total := chain.Validators.TotalVotingPower(); 3*power <= 2*total {
		return fmt.Errorf("%w: power %d of %d", errNotTaken, power, total)
	}
	for _, vote := range votes {
		if _, err := u.core.AddVote(vote, d.from); err != nil {
			return err
		}
	}
	for i := range int(d.parts.Total()) {
		if err := u.core.AddProposalBlockPart(d.block.Height, d.votes.Round, d.parts.GetPart(i),
			d.from); err != nil {
			return err
		}
	}
	d.handed = time.Now()
	return nil
}

var _ core = (*consensus.State)(nil)
