// Package pipeline takes acks from the door to a durable rollup, and hands that to an outbox.
//
// # The story of a window
//
// Clients sign acks of an epoch, and number them. Taken acks go into the epoch's open window, which
// is the same window until it is paid:
//
//	admit    in the caller's goroutine: parse in place, cheap checks, a look at the numbers, places
//	verify   workers: batches that grow with the queue, one random linear combination each
//	window   numbers are taken, in their order; acks of a window lie in one run of 128-byte frames
//	commit   one goroutine: one synced store write for all acks that arrived during the last one
//	cosign   one goroutine per drained window: statements, their tree, the clients' signatures
//	seal     one goroutine: the rollup, made durable (PutSealed) before anything leaves the node
//	         — here package certify takes over —
//	prove    beside the way: proofs of co-signed windows; a job waits for them, for a while
//	certify  one job a window: shares from the committee, the certificate, order by the chain
//
// While it is open a window takes acks. When its time is over, or it is full, the next one opens in
// its place. When an epoch is over its last window stays open for the tail, beside the first one of
// the next epoch. When every ack in a closed window has its answer the window is drained, and does
// not change any more. Its clients, those that can be reached, are asked to sign once for all
// their acks; those that answer in time are moved from the acks part to the statements part. The
// sealer then makes the rollup: header, acks, client list. They are an archive, which the store
// keeps in place of the pool, in one write.
//
// From there the archive is handed on as a value. The outbox makes a job of it. If the window can
// be proved in time the job waits for the proof; then it pushes the best evidence to the members,
// collects a quorum of shares, keeps the certificate, and offers it until the chain has ordered
// it. Last, another node gets the statements, and the job ends. Or the chain will never order it:
// members refuse it for good, or its epoch is too old. Then the window is stuck, and everything
// that speaks says so.
//
//	open → sealing ⇄ cosigning  |  sealed → [proving] → collecting → ordering → ordered
//	                            |  any but the last → stuck
//
// # Numbers
//
// A client's acks for a service are numbered from 0 in every epoch, and a number is billed once,
// ever. So number n is taken when it is the next one, and nothing is skipped: an ack that is ahead
// is answered gap, with the next number. One that was taken is known, or its number is used; both,
// and that it will never be taken, are said only about acks whose signature was verified. Several
// copies of one number may be in flight: each is verified, and the first valid one is taken.
//
// Successive numbers may be in flight together, in many batches at a time. They are judged in the
// order in which their source admitted them (see order); if one is refused, those behind it are a
// gap.
//
// The next numbers of the epochs that take acks are in memory. Which window has a number is in the
// store, with the archive, for as long as that is kept; from there the next numbers come at a
// start. A store that is newer than an epoch can not know what this node took in it: nothing is
// taken in that epoch any more.
//
// # When a crash is harmless
//
// Before the synced write of its group an ack is lost by a crash, and was not answered: its
// client sends it again. From that write on nothing is lost at any moment, for everything behind
// it is computed from the store, by the ordinary code:
//
//   - until PutSealed returned, the next start finds the pool, verifies it by the code that
//     verified it first, and seals it, without the clients' second signatures. Nobody has seen
//     the rollup that did not become durable, so it does not matter that this is another one;
//   - after it, the next start finds the sealed window among Unordered, and makes its job again.
//     The rollup is the same to the byte, so members that signed it sign it again;
//   - after PutProof and PutCertificate it does not even do that work again;
//   - after the order the chain knows, whatever the store remembers.
//
// # The commit point
//
// An ack is answered accepted (or known) after the synced write that has it returned, and never
// before. A failed write has an unknown outcome. Its acks are answered store_failed, and the
// pipeline accepts nothing more until the store is opened again and the pool says what happened.
// The first failure stays, and it does not matter whether it was the pipeline's or the outbox's.
//
// # Invariants
//
//   - Refusals for want of room happen at the door. Behind it an ack has a place in the budget
//     and in its window until it is answered; no stage drops one. What a later stage refuses, it
//     refuses for what the ack is: its signature, its number. Only when no window can be opened for
//     a (payer, service) pair too many is an ack refused for room behind the door.
//   - An ack is taken when its payer can pay for it (package exposure), and all that was taken and
//     is not ordered counts. That is judged with its number, behind its signature: nobody uses up a
//     payer's credit by naming its clients. Who is known to be short is refused at the door.
//   - Every admitted ack is answered exactly once, also when the pipeline closes or fails.
//   - Acks enter a window's frames, its table and the store in one order, over all windows of an
//     epoch: what is durable of a client's numbers has no gap. A group writes all frames that there
//     are by then, so an ack that is answered known is durable even when its original was answered
//     by a later group.
//   - Window numbers are not used again. Windows are sealed in the order in which they were closed,
//     so their numbers ascend along every client's.
//   - A window is offered with one tree, ever: what the node signs for it excludes another one, and
//     two would convict it. It is offered in the run that opened it, once, when all of its acks are
//     durable. So a run that finds acks of it in the pool knows that it may have been offered, and
//     offers it no more.
//   - Co-signing only ever moves a client's acks from the acks part to the statements part. A
//     client that does not answer, or answers wrongly, stays where it is; so an offer may end at
//     any moment, and ends when its time is over, when windows wait for its room, and at
//     shutdown. Nothing of it is durable before the seal.
//   - A proof only ever changes the rung of the evidence. A prover that is slow, dies or lies
//     costs a window nothing else: its job goes on when its wait is over, which leaves time to
//     order it in its epoch's grace. What the prover gives is verified before it is kept, and
//     what is kept goes out; a member that refuses it gets the statements. A proof that comes
//     after the certificate is kept as well: both are evidence of one id.
//   - Frames belong to one stage at a time: chunk (admit), batch (verify), window (commit to seal).
//   - A state is set by become, which knows what may follow what, and nowhere else.
//
// # Locks
//
// Every lock is a leaf: no other is taken under it, and nothing is read, written or sent. One,
// windows.mu, guards all windows and epochs; it is held for a chunk of acks at a time. The outbox
// has one lock, a leaf. The cache of sealed windows reads the store under its own, on purpose.
//
// # Rejected
//
// A channel per stage with one message per ack: at half a million acks a second the channels
// alone cost more than hashing. Verifying in the commit goroutine: latency of the disk and of the
// pairing would add up instead of overlapping. Taking numbers when acks are admitted: a refused
// signature would leave holes, and a stranger's would keep a client's number busy. One record per
// ack in the store: the key costs as much as the ack, and recovery is a scan anyway. Sealing
// windows at shutdown: it delays the exit, and the next start must be able to do it in any case.
// Offering the windows of the last run again after a start: which session an ack came through
// would have to be durable, for a gain of two windows a crash. Two rounds of co-signing, the
// second over a tree without those who were silent in the first: twice the wait, and the silent
// can be silent again; unsigned statements in the tree cost 52 bytes. Keeping every signature
// decoded until the window is sealed, to take out those of the co-signers: 6 MiB a window, when
// decoding the smaller half again takes a tenth of verifying it. Reading an archive back for each
// of its uses: 28 ms a full window for the evidence and 18 ms for the segments to be proved,
// against 4 and 3 when it is handed on.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline/exposure"
	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Errors that callers branch on.
var (
	ErrClosed = errors.New("pipeline: closed")              // after Close, or before Start
	ErrStore  = errors.New("pipeline: the store failed")    // outcome unknown until it is opened again
	ErrClock  = errors.New("pipeline: clock out of step")   // the node's and the chain's disagree
	ErrRoom   = errors.New("pipeline: no room on the disk") // until something makes room
	ErrNew    = errors.New("pipeline: the store is new")    // until an epoch that it knows all of
	ErrPool   = errors.New("pipeline: the pool is corrupt") // a committed ack does not verify
	ErrFrames = errors.New("pipeline: not a whole number of acks")
	ErrConfig = errors.New("pipeline: unusable configuration")
)

// Store keeps what must survive a crash. Methods are called from several goroutines at a time,
// AppendAcks from one. A write is durable when it returns nil. When it fails its outcome is
// unknown, and the pipeline writes no more.
type Store interface {
	// Since returns the first epoch of which the store knows all that this node took and said; false
	// means that it can not know that of any yet. It never goes back.
	Since() (epoch uint32, known bool)
	// AppendAcks adds acks to the pools of their windows: all or nothing. Those of a window arrive in
	// order, without gaps, and no chunk is empty. Which chunks were taken on account is kept.
	AppendAcks(chunks []rollup.Chunk) error
	// PoolWindows lists the windows that have acks and are not sealed.
	PoolWindows() ([]rollup.WindowKey, error)
	// ReadPool yields the acks of a window in order. Frames are valid until yield returns; its error
	// ends the call.
	ReadPool(key rollup.WindowKey, yield func(frames []byte, onAccount bool) error) error
	// NextWindow returns the number above all that the pool and the sealed windows of the epoch
	// used, 0 if none.
	NextWindow(node, epoch uint32) (uint32, error)
	// PutSealed replaces the pool of a window by its rollup, in one step. A second rollup for a window
	// is refused.
	PutSealed(a *rollup.Archive) error
	// ReadRuns yields the runs of a node's sealed windows of an epoch, in any order. They are valid
	// until yield returns; its error ends the call.
	ReadRuns(node, epoch uint32, yield func(runs []rollup.Run) error) error
	// FindRun returns the sealed window that has a number of a client for a service. The error wraps
	// rollup.ErrNotFound when none has.
	FindRun(node, epoch uint32, client uint64, service, number uint32) (window uint32, err error)
	// Sealed returns what PutSealed kept of a window. The error wraps rollup.ErrNotFound when there
	// was no PutSealed.
	Sealed(key rollup.WindowKey) (*rollup.Archive, error)
	// Unordered lists the windows that were sealed and not marked as ordered, oldest first.
	Unordered() ([]rollup.WindowKey, error)
	// Header returns the header of a sealed window, with errors as those of Sealed.
	Header(key rollup.WindowKey) (*rollup.Header, error)
	// IsUnordered reports whether a sealed window waits for its order. The chain does not say so any
	// more once the epoch is settled.
	IsUnordered(key rollup.WindowKey) (bool, error)
}

// Chain is the ledger as this node sees it. Methods are called from several goroutines at a time.
type Chain interface {
	// View returns the state after the last block; later calls never return an earlier state. Its time
	// is the time of the last block, which the chain is expected to make also when it has nothing to
	// order.
	View() *ledger.View
	// Updated returns a channel that is closed when there is a block after the one that View returned
	// last before this call, or will have returned during it.
	Updated() <-chan struct{}
}

// Outbox takes sealed windows over and brings them to the chain; package certify has it.
type Outbox interface {
	// Put hands over a window that is durable, with its status so far. It does not block for long.
	Put(a *rollup.Archive, s status.Window)
	// GivenUp reports whether a window that was handed over, or that the outbox found in the store,
	// will never be ordered.
	GivenUp(key rollup.WindowKey) bool
	// Err returns why the outbox writes no more, nil while it does: the outcome of a write is unknown
	// then, and the pipeline accepts nothing more either.
	Err() error
}

// BatchVerifier verifies signatures as *bls.Verifier does, which is what the pipeline uses; a
// benchmark puts another in its place to measure everything else.
type BatchVerifier interface {
	Verify(b *bls.Batch, verdicts []bls.Verdict) (bls.Report, error)
	Signatures() []bls.Signature
}

// Config is what a pipeline works with. A zero value of an optional field stands for the value in
// parentheses.
type Config struct {
	Network rollup.Network
	Node    uint32 // this node's index

	Workers  int   // verifying goroutines (GOMAXPROCS)
	MaxBatch int   // acks in one verification (8192)
	MaxAcks  int   // acks admitted and not answered (262,144)
	MaxBytes int64 // memory that they may hold (96 MiB)
	MaxNew   int   // of MaxAcks and, in proportion, MaxBytes: for sources not established (1/4)

	WindowAge  time.Duration // how long a window with acks stays open (10 s)
	Tail       time.Duration // how long acks of an epoch are taken when it is over (10 s)
	MaxSkew    time.Duration // from the last block's time, beyond which acks are refused (1 min)
	CosignWait time.Duration // that clients may take to co-sign a window; 0: they are not asked

	Now      func() time.Time // the node's clock, to hold against the chain's (time.Now)
	Exposure uint64           // micro-credits taken at one payer's cost and not ordered (exposure.New)

	OnAccount OnAccount // what may be taken before it is verified (nothing)

	// Taken hears of all acks as soon as they are durable and before they are answered, those of a
	// window in order; and at the start of all that the pool holds. It is called by one goroutine at
	// a time, and borrows the chunks for the call. Nil: nobody hears.
	Taken func([]rollup.Chunk)

	Room        func() bool          // for more acks on the disk; asked at every submission (always)
	Logger      *slog.Logger         // (discards)
	NewVerifier func() BatchVerifier // one per worker (bls.NewVerifier(bls.Default, 1))
	Cosigners   Cosigners            // (nobody is asked)
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
	duration(&c.WindowAge, 10*time.Second)
	duration(&c.Tail, 10*time.Second)
	duration(&c.MaxSkew, time.Minute)
	if err := c.OnAccount.complete(); err != nil {
		return err
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 96 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Taken == nil {
		c.Taken = func([]rollup.Chunk) {}
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
	bad := func(field string, value any) error {
		return fmt.Errorf("%w: %s is %v", ErrConfig, field, value)
	}
	switch {
	case c.Workers < 1:
		return bad("Workers", c.Workers)
	case c.MaxBatch < 1:
		return bad("MaxBatch", c.MaxBatch)
	case c.MaxAcks < 2:
		return bad("MaxAcks", c.MaxAcks)
	case c.MaxBytes < 4*maxChunkBytes:
		return fmt.Errorf("%w: MaxBytes is %d, and %d at least", ErrConfig, c.MaxBytes, 4*maxChunkBytes)
	case c.MaxNew < 1 || c.MaxNew >= c.MaxAcks:
		return fmt.Errorf("%w: MaxNew is %d, of %d acks", ErrConfig, c.MaxNew, c.MaxAcks)
	case c.WindowAge < 0:
		return bad("WindowAge", c.WindowAge)
	case c.Tail < 0:
		return bad("Tail", c.Tail)
	case c.MaxSkew < 0:
		return bad("MaxSkew", c.MaxSkew)
	case c.CosignWait < 0:
		return bad("CosignWait", c.CosignWait)
	}
	return nil
}

func (c *Config) onAccount() bool { return c.OnAccount.Acks > 0 }

// Pipeline is the way of an ack on one node. Its methods are safe for concurrent use.
type Pipeline struct {
	cfg    Config
	store  Store
	chain  Chain
	outbox Outbox
	log    *slog.Logger

	budgets    [classes]budget
	quarantine quarantine
	queue      queue
	recaller   recaller
	committer  committer
	windows    windows
	auditor    auditor
	sealed     sealedCache
	counters   counters
	rate       rate // of verification

	serving atomic.Bool
	failure atomic.Pointer[error]

	lifeMu         sync.Mutex // Start and Close
	started, ended bool
	ctx            context.Context // ends in Close
	cancel         context.CancelFunc
	workers        sync.WaitGroup // verify
	reader         sync.WaitGroup // recall
	writer         sync.WaitGroup // commit
	rest           sync.WaitGroup // everything else
}

// New returns a pipeline that does nothing until Start. The error wraps ErrConfig.
func New(cfg Config, store Store, chain Chain, outbox Outbox) (*Pipeline, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	p := &Pipeline{cfg: cfg, store: store, chain: chain, outbox: outbox, log: cfg.Logger}
	newBytes := int64(float64(cfg.MaxBytes) * float64(cfg.MaxNew) / float64(cfg.MaxAcks))
	newBytes = min(max(newBytes, 2*maxChunkBytes), cfg.MaxBytes-2*maxChunkBytes)
	p.budgets = [classes]budget{
		classEstablished: {maxAcks: cfg.MaxAcks - cfg.MaxNew, maxBytes: cfg.MaxBytes - newBytes},
		classNew:         {maxAcks: cfg.MaxNew, maxBytes: newBytes},
		classSuspect:     {maxAcks: maxSuspects, maxBytes: cfg.MaxBytes},
	}
	p.queue.init()
	p.recaller.init()
	p.committer.init()
	p.windows.init(exposure.New(cfg.Node, cfg.Exposure))
	p.windows.accounts.init(cfg.OnAccount)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// Start reads back what the store holds and opens the door. The context bounds the reading only;
// the pipeline runs until Close. Errors: ErrClosed when it was started before, ErrPool, the
// store's.
func (p *Pipeline) Start(ctx context.Context) error {
	p.lifeMu.Lock()
	defer p.lifeMu.Unlock()
	if p.started || p.ended {
		return fmt.Errorf("%w: start only once", ErrClosed)
	}
	p.windows.credit.Show(p.chain.View())
	recovered, err := p.recoverPool(ctx)
	if err != nil {
		return err
	}
	if err := p.recoverCredit(ctx); err != nil {
		return err
	}
	drains := maxDraining + 2*maxTaking + len(recovered) // at most, with the last ones of epochs
	p.windows.drained, p.windows.toSeal = make(chan *window, drains), make(chan closing, drains)
	if err := p.openFirst(); err != nil {
		return err
	}
	p.started = true
	for range p.cfg.Workers {
		w := p.newWorker()
		p.workers.Go(w.run)
	}
	p.reader.Go(p.recall)
	p.writer.Go(p.commitGroups)
	p.rest.Go(p.keepWindows)
	p.rest.Go(p.offerWindows)
	p.rest.Go(p.sealWindows)
	if p.cfg.onAccount() {
		p.rest.Go(p.auditWindows)
	}
	if len(recovered) > 0 {
		p.rest.Go(func() { p.reverify(recovered) })
	}
	p.serving.Store(true)
	return nil
}

// Close shuts the door, answers every ack that was admitted, and waits for all goroutines. Acks
// that wait for verification are answered shutting_down; those beyond it are committed. Offers
// end. Open and offered windows stay in the pool, and unfinished certificates in the store, for
// the next start. The pipeline must be closed before its store.
func (p *Pipeline) Close() {
	p.lifeMu.Lock()
	defer p.lifeMu.Unlock()
	p.serving.Store(false)
	p.ended = true
	p.giveUp(p.queue.close(), rollup.CodeShuttingDown)
	p.workers.Wait()
	p.recaller.close()
	p.reader.Wait()
	p.committer.close()
	p.writer.Wait()
	p.cancel()
	p.rest.Wait()
}

// Ready returns why the pipeline accepts no acks, nil while it does: ErrClosed, ErrStore,
// ErrRoom, ErrClock, ErrNew.
func (p *Pipeline) Ready() error {
	if err := p.failure.Load(); err != nil {
		return *err
	}
	if err := p.outbox.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	if !p.serving.Load() {
		return ErrClosed
	}
	if !p.cfg.Room() {
		return ErrRoom
	}
	if err := p.checkClock(p.chain.View()); err != nil {
		return err
	}
	return p.checkStore()
}

// checkStore says whether the epoch that runs has a window.
func (p *Pipeline) checkStore() error {
	p.windows.mu.Lock()
	defer p.windows.mu.Unlock()
	if e := p.windows.taking[0]; e.open == nil {
		return fmt.Errorf("%w: it can not know what this node took in epoch %d, and takes nothing "+
			"until the next", ErrNew, e.number)
	}
	return nil
}

// checkClock compares the node's clock with the time of the last block. A chain that stands still
// looks like a clock that runs ahead, and is refused for the same reason: the node cannot know
// the epoch.
func (p *Pipeline) checkClock(v *ledger.View) error {
	if skew := p.cfg.Now().Sub(v.Time()); skew > p.cfg.MaxSkew || skew < -p.cfg.MaxSkew {
		return fmt.Errorf("%w: %v from the last block, %v is allowed",
			ErrClock, skew.Round(time.Millisecond), p.cfg.MaxSkew)
	}
	return nil
}

// fail stops acceptance after a failed write. The first failure stays.
func (p *Pipeline) fail(doing string, err error) {
	wrapped := fmt.Errorf("%w: %s: %w", ErrStore, doing, err)
	if p.failure.CompareAndSwap(nil, &wrapped) {
		p.log.Error("pipeline stops: outcome of a write unknown until restart",
			"doing", doing, "err", err)
	}
}

func (p *Pipeline) failed() bool { return p.failure.Load() != nil || p.outbox.Err() != nil }
