// Package certify brings sealed windows to the chain: it is the outbox of a node. The head of
// package pipeline tells the whole way of a window; this room has its second half, from the
// durable seal on.
//
// Every window is a job, and every job has one goroutine that owns it and leads it through its
// states:
//
//	sealed → [proving] → collecting → ordering → ordered | stuck
//
// Jobs wait at three gates: so many are certified at a time, so many are proved, and one hands its
// statements over. And they keep their order: a member signs no window after a higher one of the
// same epoch, and no number after one that follows it. So a member hears of a window when it has
// answered for the one before, or the one before needs its answer no more. A proof is made beside
// its job, which waits for it for a while and then goes on. When the window is ordered the job
// sees to it that another node holds the statements, and ends.
//
// The outbox has one lock. It guards the jobs' public status, the queue of the prover and what is
// known of members; nothing is read, written or sent under it.
package certify

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/waybill-network/waybill/internal/gather"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Errors that callers branch on.
var (
	ErrConfig  = errors.New("certify: unusable configuration")
	ErrStore   = errors.New("certify: the store failed") // outcome unknown until it is opened again
	ErrStarted = errors.New("certify: started before")
)

// Store keeps what must survive a crash. Methods are called from several goroutines at a time. A
// write is durable when it returns nil. When it fails its outcome is unknown, and the store takes
// no more. Methods that look for one thing answer an error that wraps rollup.ErrNotFound when it
// is not there.
type Store interface {
	// Unordered lists the windows that were sealed and not marked as ordered, oldest first.
	Unordered() ([]rollup.WindowKey, error)
	// IsUnordered reports whether a window is among those.
	IsUnordered(key rollup.WindowKey) (bool, error)
	// Sealed returns what is kept of a sealed window.
	Sealed(key rollup.WindowKey) (*rollup.Archive, error)
	// PutCertificate keeps the certificate of a sealed window.
	PutCertificate(key rollup.WindowKey, certificate []byte) error
	// Certificate returns what PutCertificate kept.
	Certificate(key rollup.WindowKey) ([]byte, error)
	// PutProof keeps the proof of a sealed window, see rollup.Archive. A second one may take the place
	// of the first.
	PutProof(key rollup.WindowKey, proof []byte) error
	// MarkOrdered removes a window from Unordered. The chain knows until the epoch is settled; by
	// then, whoever hands blocks to the store has marked what they order.
	MarkOrdered(key rollup.WindowKey) error
	// Unheld lists the sealed windows with a statements part for which there was no PutHolder.
	Unheld() ([]rollup.WindowKey, error)
	// PutHolder remembers which other node holds a window's statements, or NoHolder.
	PutHolder(key rollup.WindowKey, node uint32) error
}

// Chain is the ledger as this node sees it. Methods are called from several goroutines at a time.
type Chain interface {
	// View returns the state after the last block; later calls never return an earlier state.
	View() *ledger.View
	// Updated returns a channel that is closed when there is a block after the one that View returned
	// last before this call, or will have returned during it.
	Updated() <-chan struct{}
	// SubmitTx offers a transaction to be ordered. It may be offered again and again; whether it was
	// ordered shows in the view. Errors that wrap ledger.CodeSettled are final, all others pass.
	SubmitTx(ctx context.Context, tx []byte) error
}

// Members reaches the committee.
type Members interface {
	// Push hands a rollup, with its node's word that it is its own, to the member that a node is, and
	// returns its share of the certificate. It may be repeated. An error with a method Retry() bool
	// that answers false is a refusal for good, and one with a method Fault() bool that answers true
	// says that the rollup or this node is at fault. Calls for one member may overlap; a call returns
	// soon after its context ended.
	Push(ctx context.Context, node uint32, header []byte, own [rollup.WordSize]byte,
		evidence []byte) (share [48]byte, err error)
}

// Config is what an outbox works with. A zero value of an optional field stands for the value in
// parentheses.
type Config struct {
	Network rollup.Network
	Node    uint32             // this node's index
	Key     ed25519.PrivateKey // this node's, which signs that a rollup is its own

	Certifying int           // windows that are certified at a time (4)
	Proving    int           // windows that are proved at a time (1)
	ProofWait  time.Duration // how long a window may wait for its proof; 0: it goes without
	Prover     Prover        // (nothing is proved)
	// of what the prover gives, by epoch; there when it is
	Proofs func(epoch uint32) rollup.ProofVerifier
	Logger *slog.Logger // (discards)
}

func (c *Config) complete() error {
	if c.Certifying == 0 {
		c.Certifying = 4
	}
	if c.Proving == 0 {
		c.Proving = 1
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case len(c.Key) != ed25519.PrivateKeySize:
		return fmt.Errorf("%w: Key has %d bytes", ErrConfig, len(c.Key))
	case c.Certifying < 0:
		return fmt.Errorf("%w: Certifying is %d", ErrConfig, c.Certifying)
	case c.Proving < 0:
		return fmt.Errorf("%w: Proving is %d", ErrConfig, c.Proving)
	case c.ProofWait < 0:
		return fmt.Errorf("%w: ProofWait is %v", ErrConfig, c.ProofWait)
	case c.Prover != nil && c.Proofs == nil:
		return fmt.Errorf("%w: Proofs is missing, and Prover is there", ErrConfig)
	case c.Prover == nil && c.Proofs != nil:
		return fmt.Errorf("%w: Prover is missing, and Proofs is there", ErrConfig)
	}
	return nil
}

// Outbox has the sealed windows of a node until they are ordered, or never will be. Its methods
// are safe for concurrent use.
type Outbox struct {
	cfg     Config
	store   Store
	chain   Chain
	members Members
	log     *slog.Logger

	certifying *semaphore.Weighted // gates, see the package's comment
	holding    *semaphore.Weighted
	verifying  *gather.Group[*share]
	counters   counters
	failure    atomic.Pointer[error]

	ctx    context.Context // ends in Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu             sync.Mutex // guards what follows, and the status of every job
	started, ended bool
	jobs           []*job // pending ones, stuck ones, and the last that were ordered, by age
	archives       int    // of jobs that have theirs at hand
	prover         queue
	known          map[uint32]*Member
	givenUp        map[rollup.WindowKey]struct{} // stuck
}

// maxArchives is how many jobs keep their archive at hand: some 12 MiB each when a window is full.
// The others read theirs back when they need it.
const maxArchives = 4

// New returns an outbox that does nothing until Start. The error wraps ErrConfig.
func New(cfg Config, store Store, chain Chain, members Members) (*Outbox, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	o := &Outbox{cfg: cfg, store: store, chain: chain, members: members, log: cfg.Logger,
		certifying: semaphore.NewWeighted(int64(cfg.Certifying)), holding: semaphore.NewWeighted(1),
		prover: queue{free: cfg.Proving}, known: make(map[uint32]*Member),
		givenUp: make(map[rollup.WindowKey]struct{})}
	verifier := bls.NewVerifier(bls.Default, 1)
	o.verifying = gather.New(func(shares []*share) { verifyShares(verifier, shares) })
	o.ctx, o.cancel = context.WithCancel(context.Background())
	return o, nil
}

// Start goes on with the windows that the store holds, which an earlier run sealed. It reads
// their names only: after an outage there may be thousands, and each is looked at when its turn
// comes. The error is ErrStarted, or the store's.
func (o *Outbox) Start() error {
	unordered, err := o.store.Unordered()
	if err != nil {
		return fmt.Errorf("certify: windows that are not ordered: %w", err)
	}
	unheld, err := o.store.Unheld()
	if err != nil {
		return fmt.Errorf("certify: windows that nobody else holds: %w", err)
	}
	foreign := func(key rollup.WindowKey) bool { return key.Node != o.cfg.Node }
	unordered = slices.DeleteFunc(unordered, foreign)
	unheld = slices.DeleteFunc(unheld, func(key rollup.WindowKey) bool {
		return foreign(key) || slices.Contains(unordered, key)
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.started || o.ended {
		return ErrStarted
	}
	o.started = true
	var jobs []*job
	for _, key := range unordered {
		j := o.newJob(status.Of(key, StateSealed))
		j.status.Sealed = j.since
		jobs, o.jobs = append(jobs, j), append(o.jobs, j)
	}
	o.tasks.Go(func() { o.resume(jobs) })
	for _, key := range unheld {
		o.tasks.Go(o.newJob(status.Of(key, StateOrdered)).hold)
	}
	return nil
}

// resume starts the jobs of an earlier run, the oldest first, each when its turn comes.
func (o *Outbox) resume(jobs []*job) {
	for _, j := range jobs {
		if !j.takeTurn() {
			return
		}
		o.tasks.Go(j.run)
	}
}

// Put takes over a window that is sealed and durable, with its status so far. It does not block.
// After Close it does nothing: the next start finds the window in the store.
func (o *Outbox) Put(a *rollup.Archive, s status.Window) {
	s.State = StateSealed
	s.Describe(a.Header)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return
	}
	j := o.newJob(s)
	j.described = true
	if j.archive = a; o.archives == maxArchives {
		j.archive = nil
	} else {
		o.archives++
	}
	o.jobs = append(o.jobs, j)
	o.tasks.Go(j.run)
}

// Close ends all jobs and waits for them. What is not finished is in the store for the next
// start. The pipeline must be closed before its outbox, and the outbox before its store.
func (o *Outbox) Close() {
	o.mu.Lock()
	o.ended = true
	o.mu.Unlock()
	o.cancel()
	o.tasks.Wait()
}

// GivenUp reports whether a window is stuck: it will never be ordered.
func (o *Outbox) GivenUp(key rollup.WindowKey) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.givenUp[key]
	return ok
}

// Err returns why the outbox writes no more, nil while it does. It wraps ErrStore.
func (o *Outbox) Err() error {
	if err := o.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// fail notes that the outcome of a write is unknown. The first failure stays.
func (o *Outbox) fail(doing string, err error) error {
	wrapped := fmt.Errorf("%w: %s: %w", ErrStore, doing, err)
	if o.ctx.Err() == nil && o.failure.CompareAndSwap(nil, &wrapped) {
		o.log.Error("certification stops: outcome of a write unknown until restart",
			"doing", doing, "err", err)
	}
	return wrapped
}
