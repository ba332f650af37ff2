package committee

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	dbm "github.com/cometbft/cometbft-db"
	"github.com/cometbft/cometbft/config"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	cmtnode "github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Start runs an engine. It returns when the state is restored, blocks that were decided but not executed are, and the
// engine listens; the context ends that early, and nothing else. A genesis time that lies ahead is waited for.
// Errors: ErrGenesis, ErrKey, ErrSignState, those of the store, and the engine's.
func Start(ctx context.Context, c Config) (_ *Engine, err error) {
	if err := bindGenesis(&c); err != nil {
		return nil, err
	}
	e := &Engine{failed: make(chan struct{}), stopped: make(chan struct{}), registerer: c.Registerer}
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
	e.app.retain = retention{keep: c.KeepBlocks, evidence: doc.ConsensusParams.Evidence}
	if c.evidence != nil {
		e.app.retain.evidence = *c.evidence
	}
	validator, err := c.validator(engineConfig, e.app.view.Load().Height() > 0 && e.app.self >= 0)
	if err != nil {
		return nil, err
	}
	if err := until(ctx, doc.GenesisTime); err != nil {
		return nil, err
	}
	if e.node, err = newNode(ctx, engineConfig, validator, &c, doc, e); err != nil {
		return nil, err
	}
	e.app.retain.blocks = e.node.BlockStore()
	if err := e.node.Start(); err != nil {
		e.stopConnections()
		return nil, fmt.Errorf("committee: start: %w", err)
	}
	if err := e.register(); err != nil {
		e.Stop()
		return nil, err
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
		genesis: c.Genesis, genesisHash: fresh.View().AppHash(), committee: c.Genesis.Committee(),
		members: map[string]int{}, self: -1, key: c.BLSKey,
		state: fresh, store: c.Store, keep: c.Keep, metrics: newMetrics(), log: c.Logger, fail: fail,
	}
	for i, m := range c.Genesis.Members {
		a.members[address(m.ConsensusKey)] = i
	}
	if i, ok := a.members[address(ledger.KeyOf(c.ConsensusKey))]; ok {
		a.self = i
		// With another key its votes would be refused.
		if c.BLSKey != nil && !c.BLSKey.PublicKey().Equal(a.committee.Members[i].Key) {
			return nil, ErrKey
		}
	}
	a.hash = a.genesisHash
	height, hash, records, err := c.Store.LoadLedger()
	if err != nil {
		return nil, fmt.Errorf("committee: %w", err)
	}
	if height > 0 {
		if a.state, err = ledger.Restore(c.Genesis, records); err != nil {
			return nil, fmt.Errorf("committee: restore the ledger: %w", err)
		}
		a.hash = hash
	}
	a.view.Store(a.state.View())
	if got := a.view.Load().Height(); got != height {
		return nil, fmt.Errorf("committee: restore the ledger: %w: records of height %d at height %d", store.ErrCorrupt, got, height)
	}
	return a, nil
}

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

// engine returns the engine's configuration.
func (c *Config) engine() (*config.Config, error) {
	peers := make([]string, len(c.Peers))
	for i, p := range c.Peers {
		peers[i] = p.String()
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("committee: listen address: %w", err)
	}
	if host == "" {
		host = "0.0.0.0" // the engine insists on one
	}
	ec := config.DefaultConfig().SetRoot(c.Home)
	ec.RPC.ListenAddress, ec.RPC.GRPCListenAddress = "", ""
	ec.TxIndex.Indexer = "null"
	ec.Storage.DiscardABCIResponses = true // the last one is kept all the same, for replay

	ec.P2P.ListenAddress = "tcp://" + net.JoinHostPort(host, port)
	ec.P2P.PersistentPeers = strings.Join(peers, ",")
	ec.P2P.PexReactor = false
	ec.P2P.AddrBook = filepath.Join(config.DefaultDataDir, "addrbook.json") // an empty list, but the engine insists
	ec.P2P.AddrBookStrict = false                                           // private and loopback addresses are welcome
	ec.P2P.AllowDuplicateIP = true
	ec.P2P.MaxNumOutboundPeers = max(ec.P2P.MaxNumOutboundPeers, len(peers))
	ec.P2P.MaxNumInboundPeers = max(ec.P2P.MaxNumInboundPeers, 2*len(peers))
	ec.P2P.PersistentPeersMaxDialPeriod = 5 * time.Second
	ec.P2P.FlushThrottleTimeout = 10 * time.Millisecond

	ec.Mempool.MaxTxBytes = ledger.MaxTxSize
	ec.Mempool.MaxTxsBytes = 64 << 20
	ec.Mempool.Size, ec.Mempool.CacheSize = 5000, 20_000
	if err := c.Timeouts.apply(ec); err != nil {
		return nil, err
	}
	if err := ec.ValidateBasic(); err != nil {
		return nil, fmt.Errorf("committee: %w", err)
	}
	return ec, nil
}

// validator returns the consensus key with the memory of what it signed last, so that it never signs twice. A member
// whose chain has blocks has voted, and must have that memory; others may start from a copy of a store.
func (c *Config) validator(ec *config.Config, voted bool) (*privval.FilePV, error) {
	path := ec.PrivValidatorStateFile()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("committee: %w", err)
	}
	v := privval.NewFilePV(cmted25519.PrivKey(c.ConsensusKey), "", path)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && voted:
		return nil, fmt.Errorf("%w: %s", ErrSignState, path)
	case errors.Is(err, fs.ErrNotExist):
		v.LastSignState.Save()
		return v, nil
	case err != nil:
		return nil, fmt.Errorf("committee: %w", err)
	}
	var last privval.FilePVLastSignState
	if err := cmtjson.Unmarshal(b, &last); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrSignState, path, err)
	}
	s := &v.LastSignState
	s.Height, s.Round, s.Step, s.Signature, s.SignBytes = last.Height, last.Round, last.Step, last.Signature, last.SignBytes
	return v, nil
}

// newNode builds the engine, which replays blocks into the app while it is built. When it finds the two apart it
// panics; here that is an error.
func newNode(ctx context.Context, ec *config.Config, v types.PrivValidator, c *Config, doc *types.GenesisDoc, e *Engine,
) (n *cmtnode.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("committee: replay: %v", r)
		}
	}()
	halted := func(reason any) { e.fail(fmt.Errorf("committee: consensus halted: %v", reason)) }
	n, err = cmtnode.NewNodeWithContext(ctx, ec, v,
		&p2p.NodeKey{PrivKey: cmted25519.PrivKey(c.TransportKey)},
		// A lock for each connection: transactions are checked while a block is executed.
		proxy.NewConnSyncLocalClientCreator(e.app),
		func() (*types.GenesisDoc, error) { return doc, nil },
		func(d *config.DBContext) (dbm.DB, error) { return db{c.Store.KV("engine/" + d.ID)}, nil },
		cmtnode.DefaultMetricsProvider(ec.Instrumentation), // none: they would register process-wide
		logger{Logger: c.Logger, halted: halted, stopped: e.stopped})
	if err != nil {
		return nil, fmt.Errorf("committee: %w", err)
	}
	return n, nil
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
