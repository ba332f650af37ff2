// Package committee runs the consensus engine (CometBFT, unmodified, in process) around the ledger:
// it orders transactions, keeps the ledger's state in the node's store, and lets the committee sign
// the records of blocks in its votes.
//
// See records.go for the way of a record's certificate, extension.go for what votes carry, and
// app.go for the application.
//
// Several engines may run in one process: they share nothing.
package committee

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/types"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waybill-network/waybill/node/committee/ballot"
	"github.com/waybill-network/waybill/node/committee/port"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/node/witness"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Errors that callers branch on. A transaction that the ledger refuses is a *ledger.Refusal.
var (
	ErrStopped = errors.New("committee: stopped")
	ErrFull    = errors.New("committee: mempool full, try again later")
	ErrLine    = errors.New(
		"committee: no place in the line of this sender's transactions, try again later")
	ErrCatchingUp = errors.New("committee: catching up with the chain, try again later")
	ErrGenesis    = errors.New("committee: the store belongs to another genesis")
	// ErrNotRecovered says that a store has no ledger, where the genesis goes on with one.
	ErrNotRecovered = errors.New("committee: the store lacks the state that the genesis goes on with")
	ErrKey          = errors.New("committee: not the BLS key that the ledger has for this node")
	ErrSignState    = errors.New("committee: the record of the last signed vote is missing")
	ErrElsewhere    = errors.New("committee: another process votes with this node's consensus key")
)

// BlockError says that the committee decided a block that cannot be executed here. The store has
// the block before, as a whole, and this node signs nothing more.
type BlockError struct {
	Height int64
	Err    error
}

func (e *BlockError) Error() string {
	return fmt.Sprintf("committee: block %d is decided and cannot be executed here: %v", e.Height,
		e.Err)
}

func (e *BlockError) Unwrap() error { return e.Err }

// Config is what an engine needs. All of it is required unless stated otherwise.
type Config struct {
	Genesis *ledger.Genesis
	// directory of the consensus write-ahead log and the last-sign state; it must survive with the
	// store
	Home         string
	ConsensusKey ed25519.PrivateKey // votes, when the engine has it among its validators
	// Votes is a consensus key that lies elsewhere, with the memory of what it voted, in place of
	// ConsensusKey and a record of votes in Home; nil: it does not.
	Votes        ballot.Votes
	TransportKey ed25519.PrivateKey // peer-to-peer identity
	Keys         signer.Keys        // signs records; nil for a node that does not
	Listen       string             // host:port for consensus peers; no host means every address
	Peers        []Peer             // dialled for ever, and admitted when they call
	// Observers are the ids of nodes that may follow the chain although the ledger does not
	// register them. An id is what Peer.ID returns. All others are turned away.
	Observers []string
	Timeouts  Timeouts
	// KeepBlocks is how old, by block time, blocks get before they are dropped, for peers that
	// catch up; they always reach the age within which signing twice can be proved. 0 keeps all.
	KeepBlocks time.Duration
	Store      *store.Store // for the ledger, the blocks and the engine's state
	// Snapshots is the folder of snapshots of the ledger, for networks whose committee rotates. With
	// "" there are none, and this node signs no hand-over before its epoch is over.
	Snapshots string
	// Keep is told of every block before the block is durable. When the process dies in
	// between, the block is executed again, and Keep is told again. It should be quick: the engine
	// waits for it, and halts on its error. Nil is allowed.
	Keep       func(*ledger.Block) error
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Net        port.Net              // where it listens and dials; nil: the operating system's

	evidence  *types.EvidenceParams       // for retention, in tests; nil: as in the engine's genesis
	watchTime time.Duration               // in tests; 0: defaultWatchTime
	propose   func(txs [][]byte) [][]byte // in tests: what of a proposal is proposed; nil: all
}

// Peer is another node's consensus address.
type Peer struct {
	Key     ledger.Key // transport key
	Address string     // host:port
	id      string     // by ParsePeer, instead of the key
}

// ParsePeer reads id@host:port, with the id that the engine makes of a transport key: the first 20
// bytes of its SHA-256, in hexadecimal.
func ParsePeer(s string) (Peer, error) {
	id, address, _ := strings.Cut(s, "@")
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != p2p.IDByteLength {
		return Peer{}, fmt.Errorf("committee: peer %q: the id is not %d hexadecimal digits", s,
			2*p2p.IDByteLength)
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return Peer{}, fmt.Errorf("committee: peer %q: %w", s, err)
	}
	return Peer{Address: address, id: strings.ToLower(id)}, nil
}

// String returns id@host:port.
func (p Peer) String() string { return p2p.IDAddressString(p2p.ID(p.ID()), p.Address) }

// ID returns the id that the engine makes of the peer's transport key.
func (p Peer) ID() string {
	if p.id != "" {
		return p.id
	}
	return string(p2p.PubKeyToID(cmted25519.PubKey(p.Key[:])))
}

// Engine is a running consensus node. Its methods are safe for concurrent use.
type Engine struct {
	app        *app
	parts      *parts
	network    *port.Switch // nil until it starts
	log        logger
	registerer prometheus.Registerer
	collectors []prometheus.Collector

	failOnce sync.Once
	failed   chan struct{}
	err      error // set before failed is closed

	stopOnce sync.Once
	stopped  chan struct{}
}

// View returns the state after the last committed block.
func (e *Engine) View() *ledger.View { return e.app.view.Load() }

// Witness returns what is kept of blocks for files that outsiders check.
func (e *Engine) Witness() *witness.Witness { return e.app.witness }

// Subscribe follows committed blocks from now on.
func (e *Engine) Subscribe() *Subscription { return e.app.feed.subscribe() }

// SubmitTx puts a transaction into the mempool; whether it is executed shows in the view or in the
// events. A transaction that is in the mempool, or was, is no error. Errors are a *ledger.Refusal,
// ErrFull, ErrLine, ErrCatchingUp (which wraps the refusal), ErrStopped, what halted the engine,
// and the context's.
func (e *Engine) SubmitTx(ctx context.Context, tx []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-e.stopped:
		return ErrStopped
	case <-e.failed:
		return fmt.Errorf("committee: halted: %w", e.err)
	default:
	}
	// The mempool checks under a lock that commits wait for, so signatures are verified here first,
	// and remembered.
	if _, _, err := e.app.check(e.View(), tx); err != nil {
		return e.refusal(err)
	}
	var answer *abci.ResponseCheckTx
	err := e.parts.mempool.CheckTx(tx, func(r *abci.ResponseCheckTx) { answer = r },
		mempool.TxInfo{})
	var full mempool.ErrMempoolIsFull
	switch {
	case errors.Is(err, mempool.ErrTxInCache):
		return nil
	case errors.As(err, &full), errors.Is(err, mempool.ErrRecheckFull):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case err != nil:
		return fmt.Errorf("committee: mempool: %w", err)
	case answer != nil && answer.Codespace == codespaceLine:
		return ErrLine
	case answer != nil && answer.Codespace == codespaceFull:
		return ErrFull
	case answer != nil && !answer.IsOK():
		refusal := &ledger.Refusal{Code: ledger.TxCode(answer.Code)}
		if answer.Log != "" {
			refusal.Err = errors.New(answer.Log)
		}
		return e.refusal(refusal)
	}
	return nil
}

// refusal marks a refusal by a state that lags behind.
func (e *Engine) refusal(err error) error {
	if e.parts.consensus.WaitSync() {
		return fmt.Errorf("%w: %w", ErrCatchingUp, err)
	}
	return err
}

// Status is the engine's condition.
type Status struct {
	Height     int64
	Time       time.Time     // of the last committed block
	Lag        time.Duration // its age, by this machine's clock
	Peers      int           // connected
	Network    []PeerStatus  // those that are dialled, and the others that are connected
	Votes      []Vote        // of the members in office, by their positions
	Doubles    []Doubles     // as well
	Clock      Clock         // this machine's, beside the chain's
	Mempool    int           // transactions waiting
	CatchingUp bool          // blocks are fetched instead of voted on
	Member     int           // this node's position in the committee, -1 when it has none
	// Snapshotless is why this node does not sign the hand-over that waits; nil when it does, and
	// when none waits for it.
	Snapshotless error
	Err          error // why the chain cannot go on here; nil when it can
}

// Status returns the engine's condition.
func (e *Engine) Status() Status {
	view := e.View()
	s := Status{
		Height: view.Height(), Time: view.Time(), Lag: time.Since(view.Time()),
		Peers: e.peers(), Network: e.network.Status(),
		Votes:   e.app.votes.status(view.Committee()),
		Doubles: e.app.doubles.status(view.Committee()), Clock: e.app.clock.status(),
		Mempool: e.parts.mempool.Size(), CatchingUp: e.parts.consensus.WaitSync(),
		Member: e.app.position(view), Snapshotless: e.app.snapshotless(view),
	}
	select {
	case <-e.failed:
		s.Err = e.err
	default:
	}
	return s
}

// public returns the public consensus key.
func (c *Config) public() ledger.Key {
	if c.Votes != nil {
		return c.Votes.Key()
	}
	return ledger.KeyOf(c.ConsensusKey)
}

// Able reports whether this node can vote when it has seats: it follows the chain, and its
// consensus key is not quiet.
func (e *Engine) Able() bool {
	_, away := e.app.voter.votes.Reach()
	return !e.parts.consensus.WaitSync() && !e.app.voter.quiet.Load() && away == nil
}

// BlockTime returns the time of a block that is kept.
func (e *Engine) BlockTime(height int64) (time.Time, bool) {
	meta := e.parts.blocks.LoadBlockMeta(height)
	if meta == nil {
		return time.Time{}, false
	}
	return meta.Header.Time, true
}

func (e *Engine) peers() int { return e.network.Peers().Size() }

// PeerStatus is a consensus peer as this node sees it.
type PeerStatus = port.Status

// Failed is closed when the chain cannot go on here: the store failed, or an invariant broke.
// Status says why. The engine still has to be stopped.
func (e *Engine) Failed() <-chan struct{} { return e.failed }

func (e *Engine) fail(err error) {
	e.failOnce.Do(func() {
		e.err = err
		close(e.failed)
	})
}

// failure is why the chain cannot go on, nil while it can.
func (e *Engine) failure() error {
	select {
	case <-e.failed:
		return e.err
	default:
		return nil
	}
}

// register publishes the metrics.
func (e *Engine) register() error {
	if e.registerer == nil {
		return nil
	}
	for _, c := range e.app.metrics.collectors() {
		if err := e.registerer.Register(c); err != nil {
			return fmt.Errorf("committee: metrics: %w", err)
		}
		e.collectors = append(e.collectors, c)
	}
	return nil
}

// Stopped is closed when Stop begins.
func (e *Engine) Stopped() <-chan struct{} { return e.stopped }

// Stop ends everything that Start began and returns when it has ended. The store may be closed
// afterwards: gossip routines that outlive the engine for a moment only read, and find nothing
// there.
func (e *Engine) Stop() {
	e.stopOnce.Do(func() {
		close(e.stopped)
		for _, c := range e.collectors {
			e.registerer.Unregister(c)
		}
		// Block sync first, and alone: at its end it starts consensus, which the switch would not
		// stop once it has found it not running. Then consensus, which takes its time, and
		// meanwhile answers its peers.
		for _, r := range []p2p.Reactor{e.parts.blocksync, e.parts.consensus} {
			if r.IsRunning() {
				_ = r.Stop() // fails only when it is stopped
			}
		}
		if e.network != nil && e.network.IsRunning() {
			_ = e.network.Stop()
		}
		e.parts.stop()
		if e.app.snapshots != nil {
			e.app.snapshots.Close()
		}
		if e.app.deadline != nil {
			e.app.deadline.Stop()
		}
		e.app.feed.close()
	})
}
