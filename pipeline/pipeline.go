// Package pipeline takes acks from the door to an ordered rollup.
//
// # Stages
//
//	admit    in the caller's goroutine: parse in place, cheap checks, duplicate peek, reservations
//	verify   workers: batches that grow with the queue, one random linear combination each
//	commit   one goroutine: one synced store write for all acks that arrived during the last one
//	window   numbering, closing, grace; acks of a window lie in one run of 128-byte frames
//	co-sign  one goroutine per drained window: statements, their tree, the clients' second signatures
//	seal     one goroutine: tree, rows, header, evidence, made durable before anything leaves the node
//	certify  a few goroutines: shares from the committee, certificate, order by the chain
//
// Beside them, never in them:
//
//	prove    one goroutine: proofs of co-signed windows; certify waits for them, for a while
//	hold     one goroutine: statements of ordered windows, to a second holder
//
// # The commit point
//
// An ack is answered accepted (or known) after the synced write that holds it returned, and never before. Everything
// behind that point is recomputed from the store: after a restart the pool is read back, verified by the code that
// verified it first, and sealed. A failed write has an unknown outcome. Its acks are answered store_failed, and the
// pipeline accepts nothing more until the store is opened again and the pool says what happened.
//
// # Invariants
//
//   - Refusals for want of room happen at the door. Behind it an ack holds a place in the budget and in its window
//     until it is answered; no stage drops one. What a later stage refuses, it refuses for what the ack is: its
//     signature, its (client, seq), a (payer, service) pair too many.
//   - Every admitted ack is answered exactly once, also when the pipeline closes or fails.
//   - Acks enter a window's frames, its table and the store in one order. A group writes all frames that its windows
//     hold by then, so an ack that is answered known is durable even when its original was answered by a later group.
//   - A window takes acks, then drains (admitted acks are answered), then is offered to the clients that can be reached, then
//     is sealed. Window numbers are not used again.
//   - Co-signing only ever moves a client's acks from the acks part to the statements part. Whoever does not answer, or
//     answers wrongly, stays where it is; so an offer may end at any moment, and ends when its time is over, when windows
//     wait for its room, and at shutdown. Nothing of it is durable before the seal.
//   - A proof only ever changes the rung of the evidence. A prover that is slow, dies or lies costs a window nothing else: it
//     goes to the committee when its wait is over, which leaves time to order it in its epoch's grace. What the prover gives is
//     verified before it is kept, and what is kept goes out; a member that refuses it gets the statements. A proof that comes
//     after the certificate is kept as well: both are evidence of one id.
//   - Locks are taken in the order windows, window, then one of budget, queue, committer; no lock is held across I/O.
//   - Frames are owned by one stage at a time: chunk (admit), batch (verify), window (commit to seal). A drained window does
//     not change; the offer and the sealer read it one after the other.
//
// # Rejected
//
// A channel per stage with one message per ack: at half a million acks a second the channels alone cost more than
// hashing. Verifying in the commit goroutine: latency of the disk and of the pairing would add up instead of
// overlapping. Numbering acks when they are admitted: a refused signature would leave holes in the window. One record
// per ack in the store: the key costs as much as the ack, and recovery is a scan anyway. Sealing windows at shutdown:
// it delays the exit, and the next start must be able to do it in any case. Offering the windows of the last run again after
// a start: which session an ack came through would have to be durable, for a gain of two windows a crash. Two rounds of
// co-signing, the second over a tree without those who were silent in the first: twice the wait, and the silent can be
// silent again; unsigned statements in the tree cost 52 bytes. Keeping every signature decoded until the window is sealed,
// to take out those of the co-signers: 6 MiB a window, when decoding the smaller half again takes a tenth of verifying it.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Errors that callers branch on.
var (
	ErrNotFound = errors.New("pipeline: not found")           // a Store has no such entry
	ErrClosed   = errors.New("pipeline: closed")              // after Close, or before Start
	ErrStore    = errors.New("pipeline: the store failed")    // outcome unknown until the store is opened again
	ErrClock    = errors.New("pipeline: clock out of step")   // the node's clock and the chain's disagree
	ErrRoom     = errors.New("pipeline: no room on the disk") // until something makes room
	ErrPool     = errors.New("pipeline: the pool is corrupt") // a committed ack does not verify
	ErrFrames   = errors.New("pipeline: not a whole number of acks")
	ErrConfig   = errors.New("pipeline: unusable configuration")
)

// Run is a run of acks of one window, in the order of the window.
type Run struct {
	Key    rollup.WindowKey
	First  uint32 // index of the first ack in the window
	Frames []byte // 128 bytes each; borrowed for the call
}

// Store keeps what must survive a crash. Methods are called from several goroutines at a time, AppendAcks from one.
// A write is durable when it returns nil. When it fails its outcome is unknown, and the pipeline writes no more.
// Methods that look for one thing answer an error that wraps ErrNotFound when it is not there.
type Store interface {
	// AppendAcks adds runs to the pools of their windows: all or nothing. Runs of a window arrive in order, without
	// gaps, and none is empty.
	AppendAcks(runs []Run) error
	// PoolWindows lists the windows that have acks and are not sealed.
	PoolWindows() ([]rollup.WindowKey, error)
	// ReadPool yields the runs of a window in order. Frames are valid until yield returns; its error ends the call.
	ReadPool(key rollup.WindowKey, yield func(frames []byte) error) error
	// NextWindow returns the number above all that the pool and the sealed windows of the epoch used, 0 if none.
	NextWindow(node, epoch uint32) (uint32, error)

	// PutSealed replaces the pool of a window by its rollup, in one step.
	PutSealed(key rollup.WindowKey, id rollup.Hash, s Sealed) error
	// Sealed returns the rollup of a window.
	Sealed(key rollup.WindowKey) (Sealed, error)
	// Unordered lists the windows that were sealed and not marked as ordered.
	Unordered() ([]rollup.WindowKey, error)
	// PutCertificate keeps the certificate of a sealed window.
	PutCertificate(key rollup.WindowKey, certificate []byte) error
	// Certificate returns what PutCertificate kept.
	Certificate(key rollup.WindowKey) ([]byte, error)
	// PutProof keeps the statements part of rung 3 of a sealed window, see Sealed.Proof. A second one may take the place of the
	// first.
	PutProof(key rollup.WindowKey, proof []byte) error
	// Unheld lists the sealed windows with a statements part for which there was no PutHolder.
	Unheld() ([]rollup.WindowKey, error)
	// PutHolder remembers which other node holds a window's statements, or NoHolder.
	PutHolder(key rollup.WindowKey, node uint32) error
	// MarkOrdered removes a window from Unordered. It need not be durable: the chain knows.
	MarkOrdered(key rollup.WindowKey) error
}

// Chain is the ledger as this node sees it. Methods are called from several goroutines at a time.
type Chain interface {
	// View returns the state after the last block; later calls never return an earlier state. Its time is the time of
	// the last block, which the chain is expected to make also when it has nothing to order.
	View() *ledger.View
	// Updated returns a channel that is closed when there is a block after the one that View returned last before
	// this call, or will have returned during it.
	Updated() <-chan struct{}
	// SubmitTx offers a transaction to be ordered. It may be offered again and again; whether it was ordered shows in
	// the view. Errors that wrap ledger.CodeEpochTooOld are final, all others pass.
	SubmitTx(ctx context.Context, tx []byte) error
}

// Members reaches the committee.
type Members interface {
	// Push hands a rollup to a member, by its index in the committee, and returns its share of the certificate. It may
	// be repeated. An error with a method Retry() bool that answers false is a refusal for good. Calls for one member
	// may overlap; a call returns soon after its context ended.
	Push(ctx context.Context, member int, header, evidence []byte) (share [48]byte, err error)
}

// BatchVerifier verifies signatures as *bls.Verifier does, which is what the pipeline uses; a benchmark puts another in
// its place to measure everything else.
type BatchVerifier interface {
	Verify(b *bls.Batch, verdicts []bls.Verdict) (bls.Report, error)
	Signatures() []bls.Signature
}

// Config is what a pipeline works with. A zero value of an optional field stands for the value in parentheses.
type Config struct {
	Network rollup.Network
	Node    uint32 // this node's index

	Workers  int   // verifying goroutines (GOMAXPROCS)
	MaxBatch int   // acks in one verification (8192)
	MaxAcks  int   // acks admitted and not answered (262,144)
	MaxBytes int64 // memory that they may hold (96 MiB)
	MaxNew   int   // of MaxAcks, and in proportion of MaxBytes, what sources share that are not proven yet (a quarter)

	WindowAge  time.Duration // how long a window with acks stays open (10 s)
	Grace      time.Duration // how long it takes late acks after that (2 s)
	MaxSkew    time.Duration // between the node's clock and the last block's time, beyond which acks are refused (1 min)
	CosignWait time.Duration // how long the clients of a closed window may take to co-sign; 0: they are not asked
	ProofWait  time.Duration // how long a sealed window may wait for its proof; 0: it goes with its statements
	Certifying int           // windows that are certified at a time (4)
	Proving    int           // windows that are proved at a time (1)

	Now         func() time.Time     // the node's clock, to hold against the chain's (time.Now)
	Room        func() bool          // whether the disk has room for more acks; asked for every submission (always)
	Logger      *slog.Logger         // (discards)
	NewVerifier func() BatchVerifier // one per worker (bls.NewVerifier(bls.Default, 1))
	Cosigners   Cosigners            // (nobody is asked)
	Prover      Prover               // (nothing is proved)
	Proofs      rollup.ProofVerifier // of what the prover gives; there when it is
}

func (c *Config) complete() error {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	duration := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.Workers, runtime.GOMAXPROCS(0))
	def(&c.MaxBatch, 8192)
	def(&c.MaxAcks, 1<<18)
	def(&c.MaxNew, (c.MaxAcks+3)/4)
	def(&c.Certifying, 4)
	def(&c.Proving, 1)
	duration(&c.WindowAge, 10*time.Second)
	duration(&c.Grace, 2*time.Second)
	duration(&c.MaxSkew, time.Minute)
	if c.MaxBytes == 0 {
		c.MaxBytes = 96 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Room == nil {
		c.Room = func() bool { return true }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.NewVerifier == nil {
		c.NewVerifier = func() BatchVerifier { return bls.NewVerifier(bls.Default, 1) }
	}
	if c.Workers < 1 || c.MaxBatch < 1 || c.MaxAcks < 2 || c.MaxNew < 1 || c.MaxNew >= c.MaxAcks || c.MaxBytes < 4*maxChunkBytes || c.Certifying < 1 ||
		c.Proving < 1 || c.WindowAge < 0 || c.Grace < 0 || c.MaxSkew < 0 || c.CosignWait < 0 || c.ProofWait < 0 || (c.Prover != nil) != (c.Proofs != nil) {
		return fmt.Errorf("%w: %+v", ErrConfig, *c)
	}
	return nil
}

// Pipeline is the way of an ack on one node. Its methods are safe for concurrent use.
type Pipeline struct {
	cfg     Config
	store   Store
	chain   Chain
	members Members
	log     *slog.Logger

	budgets    [lanes]budget
	quarantine quarantine
	queue      queue
	committer  committer
	windows    windows
	sealed     sealedCache
	proving    proving
	certifier  certifier
	handovers  fifo[*handover]
	counters   counters
	rate       rate // of verification

	serving atomic.Bool
	failure atomic.Pointer[error]

	lifeMu         sync.Mutex // Start and Close
	started, ended bool
	ctx            context.Context // ends in Close
	cancel         context.CancelFunc
	workers        sync.WaitGroup // verify
	writer         sync.WaitGroup // commit
	rest           sync.WaitGroup // everything else
}

// New returns a pipeline that does nothing until Start. The error wraps ErrConfig.
func New(cfg Config, store Store, chain Chain, members Members) (*Pipeline, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	p := &Pipeline{cfg: cfg, store: store, chain: chain, members: members, log: cfg.Logger}
	newBytes := int64(float64(cfg.MaxBytes) * float64(cfg.MaxNew) / float64(cfg.MaxAcks))
	newBytes = min(max(newBytes, 2*maxChunkBytes), cfg.MaxBytes-2*maxChunkBytes)
	p.budgets = [lanes]budget{
		laneProven:  {maxAcks: cfg.MaxAcks - cfg.MaxNew, maxBytes: cfg.MaxBytes - newBytes},
		laneNew:     {maxAcks: cfg.MaxNew, maxBytes: newBytes},
		laneSuspect: {maxAcks: maxSuspects, maxBytes: cfg.MaxBytes},
	}
	p.queue.init()
	p.committer.init()
	p.windows.init()
	p.proving.init()
	p.certifier.init()
	p.handovers.init()
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// Start reads back what the store holds and opens the door. The context bounds the reading only; the pipeline runs
// until Close. Errors: ErrClosed when it was started before, ErrPool, the store's.
func (p *Pipeline) Start(ctx context.Context) error {
	p.lifeMu.Lock()
	defer p.lifeMu.Unlock()
	if p.started || p.ended {
		return fmt.Errorf("%w: start only once", ErrClosed)
	}
	recovered, err := p.recoverPool(ctx)
	if err != nil {
		return err
	}
	unordered, err := p.store.Unordered()
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	unheld, err := p.store.Unheld()
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if err := p.openFirst(); err != nil {
		return err
	}
	p.started = true
	for range p.cfg.Workers {
		w := p.newWorker()
		p.workers.Go(w.run)
	}
	p.writer.Go(p.commitGroups)
	p.rest.Go(p.keepWindows)
	p.rest.Go(p.offerWindows)
	p.rest.Go(p.sealWindows)
	for range p.cfg.Certifying {
		p.rest.Go(p.certifyWindows)
	}
	for range p.cfg.Proving {
		p.rest.Go(p.proveWindows)
	}
	p.rest.Go(p.holdStatements)
	if len(recovered) > 0 {
		p.rest.Go(func() { p.reverify(recovered) })
	}
	for _, key := range unordered {
		if key.Node == p.cfg.Node {
			p.certifier.push(p.resume(key))
		}
	}
	for _, key := range unheld {
		if key.Node == p.cfg.Node && !slices.Contains(unordered, key) {
			p.handOver(key, nil)
		}
	}
	p.serving.Store(true)
	return nil
}

// Close shuts the door, answers every ack that was admitted, and waits for all goroutines. Acks that wait for
// verification are answered shutting_down; those beyond it are committed. Offers end. Open and offered windows stay in the
// pool, and unfinished certificates in the store, for the next start. The pipeline must be closed before its store.
func (p *Pipeline) Close() {
	p.lifeMu.Lock()
	defer p.lifeMu.Unlock()
	p.serving.Store(false)
	p.ended = true
	for _, c := range p.queue.close() {
		p.abandon(c, rollup.CodeShuttingDown)
	}
	p.workers.Wait()
	p.committer.close()
	p.writer.Wait()
	p.cancel()
	p.windows.drained.close()
	p.windows.toSeal.close()
	p.proving.close()
	p.certifier.close()
	p.handovers.close()
	p.rest.Wait()
}

// Ready returns why the pipeline accepts no acks, nil while it does: ErrClosed, ErrStore, ErrRoom, ErrClock.
func (p *Pipeline) Ready() error {
	if err := p.failure.Load(); err != nil {
		return *err
	}
	if !p.serving.Load() {
		return ErrClosed
	}
	if !p.cfg.Room() {
		return ErrRoom
	}
	return p.checkClock(p.chain.View())
}

// checkClock compares the node's clock with the time of the last block. A chain that stands still looks like a clock
// that runs ahead, and is refused for the same reason: the node cannot know the epoch.
func (p *Pipeline) checkClock(v *ledger.View) error {
	if skew := p.cfg.Now().Sub(v.Time()); skew > p.cfg.MaxSkew || skew < -p.cfg.MaxSkew {
		return fmt.Errorf("%w: %v from the last block, %v is allowed", ErrClock, skew.Round(time.Millisecond), p.cfg.MaxSkew)
	}
	return nil
}

// fail stops acceptance after a failed write. The first failure stays.
func (p *Pipeline) fail(doing string, err error) {
	wrapped := fmt.Errorf("%w: %s: %w", ErrStore, doing, err)
	if p.failure.CompareAndSwap(nil, &wrapped) {
		p.log.Error("pipeline stops: outcome of a write unknown until restart", "doing", doing, "err", err)
	}
}

func (p *Pipeline) failed() bool { return p.failure.Load() != nil }
