package committee

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/internal/gather"
	"github.com/waybill-network/waybill/node/snapshots"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/node/witness"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Start runs an engine. It returns when the state is restored, blocks that were decided but not
// executed are, and the engine listens; the context ends that early, and nothing else. A genesis
// time that lies ahead is waited for. Errors: ErrGenesis, ErrKey, ErrSignState, those of the store,
// and the engine's.
func Start(ctx context.Context, c Config) (_ *Engine, err error) {
	if err := bindGenesis(&c); err != nil {
		return nil, err
	}
	e := &Engine{failed: make(chan struct{}), stopped: make(chan struct{}),
		registerer: c.Registerer}
	if e.app, err = newApp(&c, e.fail); err != nil {
		return nil, err
	}
	engineConfig, err := c.engine()
	if err != nil {
		return nil, err
	}
	doc, err := genesisDoc(c.Genesis, e.app.genesisHash)
	if err != nil {
		return nil, fmt.Errorf("committee: genesis: %w", err)
	}
	e.app.retain = retention{keep: c.KeepBlocks, evidence: doc.ConsensusParams.Evidence,
		joining: e.app.joining}
	if c.evidence != nil {
		e.app.retain.evidence = *c.evidence
	}
	voter, err := c.voter(engineConfig.PrivValidatorStateFile(),
		e.app.view.Load().Height() >= c.Genesis.InitialHeight() && e.app.judged(e.app.view.Load()))
	if err != nil {
		return nil, err
	}
	e.app.voter, voter.other = voter, e.app.elsewhere
	voter.commit = func(height int64) *types.Commit { return e.parts.blocks.LoadSeenCommit(height) }
	if err := until(ctx, doc.GenesisTime); err != nil {
		return nil, err
	}
	if err := e.assemble(ctx, engineConfig, voter, &c, doc); err != nil {
		return nil, err
	}
	voter.deliver = func(vote *types.Vote) {
		// into the engine's own queue, as if it had just been signed
		_, _ = e.parts.core.AddVote(vote, "")
	}
	e.app.retain.blocks = e.parts.blocks
	e.app.waiting = e.parts.mempool.Size
	if err := e.connect(engineConfig, &c); err != nil {
		e.Stop()
		return nil, fmt.Errorf("committee: start: %w", err)
	}
	if err := e.register(); err != nil {
		e.Stop()
		return nil, err
	}
	go voter.attend(e.stopped)
	if u := e.parts.catchUp; u != nil {
		go u.run(e.Subscribe(), e.stopped)
	}
	return e, nil
}

// newApp restores the ledger.
func newApp(c *Config, fail func(error)) (*app, error) {
	fresh, err := ledger.New(c.Genesis)
	if err != nil {
		return nil, fmt.Errorf("committee: %w", err)
	}
	a := &app{
		genesis: c.Genesis, network: fresh.View().Network(), genesisHash: fresh.View().AppHash(),
		directory: newDirectory(c.Genesis), own: []byte(address(c.public())),
		keys:  c.Keys,
		store: c.Store, keep: c.Keep, votes: newVotes(),
		metrics: newMetrics(), log: c.Logger, fail: fail,
		watchTime: cmp.Or(c.watchTime, defaultWatchTime), propose: c.propose,
	}
	if c.Genesis.Params.Rotation != nil {
		a.seen = make(seen)
	}
	a.doubles = newDoubles(a.directory.node)
	a.hash = a.genesisHash
	height, hash, _, err := c.Store.LoadLedger()
	if err != nil {
		return nil, fmt.Errorf("committee: %w", err)
	}
	if height+1 < c.Genesis.InitialHeight() {
		return nil, ErrNotRecovered
	}
	a.state, err = ledger.Open(c.Genesis, depot{c.Store.Depot(), a}, c.Store.LedgerRecords)
	if err != nil {
		return nil, fmt.Errorf("committee: restore the ledger: %w", err)
	}
	if height > 0 {
		a.hash = hash
	}
	a.door = gather.New(func(txs [][]byte) { a.view.Load().Verify(txs) })
	a.witness = witness.New(c.Store, a.state)
	a.view.Store(a.state.View())
	if got := a.view.Load().Height(); got != height {
		return nil,
			fmt.Errorf("committee: restore the ledger: %w: records of height %d at height %d",
				store.ErrCorrupt, got, height)
	}
	a.directory.learn(a.view.Load())
	if a.seen != nil && c.Snapshots != "" {
		if a.snapshots, err = snapshots.Open(c.Snapshots, c.Logger); err != nil {
			return nil, err
		}
		a.resumeSnapshots(a.view.Load())
	}
	// With another key its votes would be refused.
	if i, known := a.self(); known && c.Keys != nil {
		if node, _ := a.view.Load().Node(i); node.BLSKey != c.Keys.Duty() {
			return nil, ErrKey
		}
	}
	return a, nil
}

// depot ends the chain here when it cannot be read.
type depot struct {
	ledger.Depot
	app *app
}

func (d depot) read(value []byte, err error) ([]byte, error) {
	if err != nil && !errors.Is(err, store.ErrClosed) {
		d.app.fail(fmt.Errorf("committee: the ledger's clients: %w", err))
	}
	return value, err
}

func (d depot) Record(key []byte) ([]byte, error) { return d.read(d.Depot.Record(key)) }

func (d depot) Local(key []byte) ([]byte, error) { return d.read(d.Depot.Local(key)) }

// bindGenesis keeps a store from being continued under another genesis.
func bindGenesis(c *Config) error {
	own, file := c.Store.KV("committee"), []byte("genesis")
	known, err := own.Get(file)
	switch {
	case err != nil:
		return fmt.Errorf("committee: %w", err)
	case known == nil:
		return own.SetSync(file, c.Genesis.Encode())
	case !bytes.Equal(known, c.Genesis.Encode()):
		return ErrGenesis
	}
	return nil
}

// BoundGenesis returns the genesis of the chain that a store has, nil when it has none.
func BoundGenesis(s *store.Store) (*ledger.Genesis, error) {
	b, err := s.KV("committee").Get([]byte("genesis"))
	if err != nil || b == nil {
		return nil, err
	}
	return ledger.ParseGenesis(b)
}

// mempoolSize is how many transactions may wait.
const mempoolSize = 5000

// engine returns the engine's configuration, as far as its parts read it.
func (c *Config) engine() (*config.Config, error) {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return nil, fmt.Errorf("committee: listen address: %w", err)
	}
	ec := config.DefaultConfig().SetRoot(c.Home)
	ec.Mempool.MaxTxBytes = ledger.MaxTxSize
	ec.Mempool.MaxTxsBytes = 64 << 20
	ec.Mempool.Size, ec.Mempool.CacheSize = mempoolSize, 20_000
	if err := c.Timeouts.apply(ec); err != nil {
		return nil, err
	}
	if err := ec.ValidateBasic(); err != nil {
		return nil, fmt.Errorf("committee: %w", err)
	}
	return ec, nil
}

// assemble builds the parts, which replays blocks into the app. When the engine finds the two apart
// it panics; here that is an error.
func (e *Engine) assemble(ctx context.Context, ec *config.Config, v types.PrivValidator, c *Config,
	doc *types.GenesisDoc,
) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("committee: replay: %v", r)
		}
		if why := e.failure(); err != nil && why != nil { // the engine knows the words, if at all
			err = why
		}
	}()
	halted := func(reason any) {
		if why, ok := reason.(error); ok {
			e.fail(fmt.Errorf("committee: consensus halted: %w", why))
			return
		}
		e.fail(fmt.Errorf("committee: consensus halted: %v", reason))
	}
	e.log = logger{Logger: c.Logger, halted: halted, double: e.app.doubles.saw,
		stopped: e.stopped, expected: func() bool { return e.failure() != nil }}
	open := func(space string) db { return db{c.Store.KV(space), e.app.halts} }
	e.app.states = state.NewStore(open(stateSpace), state.StoreOptions{DiscardABCIResponses: true})
	if e.parts, err = assemble(ctx, ec, v, clients{e.app}, doc, open, e.log,
		c.Logger); err != nil {
		return fmt.Errorf("committee: %w", err)
	}
	e.app.syncing, e.app.release = e.parts.consensus.WaitSync, e.parts.mempool.Unlock
	e.app.expect(e.app.view.Load())
	return nil
}

// until waits for an instant. The engine would sleep through its own Stop.
func until(ctx context.Context, t time.Time) error {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
