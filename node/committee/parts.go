package committee

import (
	"bytes"
	"context"
	"log/slog"

	"github.com/cometbft/cometbft/blocksync"
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/consensus"
	"github.com/cometbft/cometbft/crypto"
	"github.com/cometbft/cometbft/evidence"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/state"
	blockstore "github.com/cometbft/cometbft/store"
	"github.com/cometbft/cometbft/types"
)

// Views of the store in which the engine keeps its own.
const (
	blockSpace = "engine/blockstore"
	stateSpace = "engine/state"
)

// parts are the pieces of the engine. They are put together here and not by the engine's own
// package node, which would bring in its RPC servers, indexers, state sync and a second network
// stack, all of them unused (docs/adr/0015-the-engine-is-put-together-here.md).
type parts struct {
	blocks    *blockstore.BlockStore
	states    state.Store
	app       proxy.AppConns
	events    *types.EventBus
	mempool   *mempool.CListMempool
	evidence  *evidence.Pool
	core      *consensus.State
	consensus *consensus.Reactor
	blocksync *blocksync.Reactor
	catchUp   *catchUp       // nil: nobody else votes
	reactors  []namedReactor // in the order in which they are told of peers
	state     state.State    // as of the start
}

type namedReactor struct {
	name string
	p2p.Reactor
}

// assemble builds the engine. Blocks that were decided and not executed are executed meanwhile.
func assemble(
	ctx context.Context, ec *config.Config, validator types.PrivValidator,
	creator proxy.ClientCreator, doc *types.GenesisDoc, open func(space string) db, log log.Logger,
	own *slog.Logger,
) (_ *parts, err error) {
	p := &parts{
		blocks: blockstore.NewBlockStore(open(blockSpace)),
		states: state.NewStore(open(stateSpace), state.StoreOptions{
			DiscardABCIResponses: true, // the last one is kept all the same, for replay
		}),
		app:    proxy.NewAppConns(creator, proxy.NopMetrics()),
		events: types.NewEventBus(),
	}
	defer func() {
		if err != nil {
			p.stop()
		}
	}()
	p.app.SetLogger(log.With("module", "proxy"))
	if err := p.app.Start(); err != nil {
		return nil, err
	}
	p.events.SetLogger(log.With("module", "events"))
	if err := p.events.Start(); err != nil {
		return nil, err
	}
	if err := p.replay(ctx, doc, log); err != nil {
		return nil, err
	}
	key, err := validator.GetPubKey()
	if err != nil {
		return nil, err
	}
	return p, p.react(ec, validator, key.Address(), open, log, own)
}

// replay brings the app to the height of the stored blocks.
func (p *parts) replay(ctx context.Context, doc *types.GenesisDoc, log log.Logger) (err error) {
	if p.state, err = p.states.LoadFromDBOrGenesisDoc(doc); err != nil {
		return err
	}
	if err := p.replayFirst(ctx, doc, log); err != nil {
		return err
	}
	h := consensus.NewHandshaker(p.states, p.state, p.blocks, doc)
	h.SetLogger(log.With("module", "consensus"))
	h.SetEventBus(p.events)
	if err := h.HandshakeWithContext(ctx, p.app); err != nil {
		return err
	}
	p.state, err = p.states.Load()
	return err
}

// react builds the reactors. All but the only member of a committee begin by fetching blocks.
func (p *parts) react(
	ec *config.Config, validator types.PrivValidator, self crypto.Address,
	open func(space string) db, log log.Logger, own *slog.Logger,
) (err error) {
	fetch := !alone(p.state.Validators, self)
	p.mempool = mempool.NewCListMempool(ec.Mempool, p.app.Mempool(), p.state.LastBlockHeight,
		mempool.WithPreCheck(state.TxPreCheck(p.state)),
		mempool.WithPostCheck(state.TxPostCheck(p.state)))
	p.mempool.SetLogger(log.With("module", "mempool"))
	p.mempool.EnableTxsAvailable() // a chain at rest makes a block when there is something for it
	gossip := mempool.NewReactor(ec.Mempool, p.mempool, fetch)

	p.evidence, err = evidence.NewPool(open("engine/evidence"), p.states, p.blocks)
	if err != nil {
		return err
	}
	p.evidence.SetLogger(log.With("module", "evidence"))

	executor := state.NewBlockExecutor(p.states, log.With("module", "state"), p.app.Consensus(),
		p.mempool, p.evidence, p.blocks)
	var joined int64 // the state is that of a snapshot, and no block behind it is here yet
	if p.blocks.Height() == 0 {
		joined = p.state.LastBlockHeight
	}
	p.blocksync = blocksync.NewReactor(fetch, false, p.state.Copy(), executor, p.blocks, self,
		joined, blocksync.NopMetrics())

	core := consensus.NewState(ec.Consensus, p.state.Copy(), executor, p.blocks, p.mempool,
		p.evidence, consensus.OfflineStateSyncHeight(joined))
	core.SetLogger(log.With("module", "consensus"))
	core.SetPrivValidator(validator)
	p.core, p.consensus = core, consensus.NewReactor(core, fetch)
	p.consensus.SetEventBus(p.events)

	sync := p2p.Reactor(p.blocksync)
	if fetch {
		p.catchUp = newCatchUp(p.blocksync, core, p.consensus.WaitSync, own)
		sync = p.catchUp
	}
	p.reactors = []namedReactor{
		{"MEMPOOL", gossip}, {"BLOCKSYNC", sync}, {"CONSENSUS", p.consensus},
		{"EVIDENCE", evidence.NewReactor(p.evidence)},
	}
	for _, r := range p.reactors {
		r.SetLogger(log.With("module", r.name))
	}
	return nil
}

// alone says whether nobody else votes.
func alone(validators *types.ValidatorSet, self crypto.Address) bool {
	if validators.Size() != 1 {
		return false
	}
	only, _ := validators.GetByIndex(0)
	return bytes.Equal(only, self)
}

// stop ends what runs from the moment it is built.
func (p *parts) stop() {
	if p.events.IsRunning() {
		_ = p.events.Stop() // fails only when it is stopped
	}
	if p.app.IsRunning() {
		_ = p.app.Stop()
	}
}
