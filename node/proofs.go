package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/prover"
	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// ErrDevelopmentKey says that a network that is not for development names a key that anyone may
// have made alone.
var ErrDevelopmentKey = errors.New(
	"node: a development key in a network that is not for development")

// proofKeys are the verifying keys that the network accepts, each from an epoch to another, as far
// as the node has them.
type proofKeys struct {
	dirs        []string
	development bool // such keys are accepted
	log         *slog.Logger

	mu    sync.RWMutex
	terms []ledger.ProofKeyTerm
	found map[rollup.Hash]*proofKey // nil: looked for, and not there
}

// proofKey is a key that the node has.
type proofKey struct {
	keys.Pair
	*verifier.Verifier
}

// loadProofKeys looks for the verifying keys that the genesis names, in the node's own folder and
// then in the user's cache. One that is in neither is no error: the node does without proofs of
// that size. Errors: ErrDevelopmentKey, keys.ErrFile.
func loadProofKeys(dir string, params *ledger.Proofs, log *slog.Logger) (*proofKeys, error) {
	k := &proofKeys{dirs: []string{dir}, development: params.Development, log: log,
		found: make(map[rollup.Hash]*proofKey)}
	if len(params.Keys) == 0 {
		log.Info("this network has no proof keys: rollups are shown on rungs 1 and 2")
	}
	if cache, err := keys.DefaultDir(); err == nil {
		k.dirs = append(k.dirs, cache)
	}
	var terms []ledger.ProofKeyTerm
	for _, named := range params.Keys {
		terms = append(terms, ledger.ProofKeyTerm{Statements: named.Statements, Key: named.Key,
			Until: ledger.Forever})
	}
	return k, k.learn(terms)
}

// learn replaces the terms by those of a later state, and looks for keys that are new in it.
func (k *proofKeys) learn(terms []ledger.ProofKeyTerm) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.terms = terms
	var errs []error
	for i := range terms {
		if _, known := k.found[terms[i].Key]; known {
			continue
		}
		key, err := k.look(&terms[i])
		k.found[terms[i].Key] = key
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// look finds a key; it is nil when it is not here.
func (k *proofKeys) look(t *ledger.ProofKeyTerm) (*proofKey, error) {
	pair, err := findKey(k.dirs, verifier.KeyHash(t.Key))
	switch {
	case errors.Is(err, keys.ErrNotFound):
		k.log.Warn("no verifying key: rollups are certified without proofs of this size",
			"statements", t.Statements, "key", t.Key, "folders", k.dirs)
		return nil, nil
	case err != nil:
		return nil, err
	case pair.Statements != int(t.Statements):
		return nil, fmt.Errorf("%w: %s, which the network names for %d", keys.ErrFile, pair.Info,
			t.Statements)
	case pair.Development && !k.development:
		return nil, fmt.Errorf("%w: %s", ErrDevelopmentKey, pair.Info)
	}
	v, err := verifier.New(pair.Verifying)
	if err != nil {
		return nil, err
	}
	k.log.Info("verifying key", "statements", pair.Statements, "key", pair.Key, "development",
		pair.Development)
	return &proofKey{pair, v}, nil
}

func findKey(dirs []string, hash verifier.KeyHash) (pair keys.Pair, err error) {
	for _, dir := range dirs {
		if pair, err = keys.Find(dir, hash); !errors.Is(err, keys.ErrNotFound) {
			return pair, err
		}
	}
	return pair, err
}

// of returns the key for a circuit's size in an epoch, nil when it is not here; named says whether
// there is one.
func (k *proofKeys) of(size int, epoch uint32) (key *proofKey, named bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, t := range k.terms {
		if int(t.Statements) == size && t.From <= epoch && epoch < t.Until {
			return k.found[t.Key], true
		}
	}
	return nil, false
}

// sizes returns the sizes, in order, whose keys are here in an epoch.
func (k *proofKeys) sizes(epoch uint32) (sizes []int) {
	for _, size := range rollup.CircuitSizes {
		if key, _ := k.of(size, epoch); key != nil {
			sizes = append(sizes, size)
		}
	}
	return sizes
}

// current returns the terms that are not over.
func (k *proofKeys) current(epoch uint32) (list []telemetry.ProofKey) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, t := range k.terms {
		if epoch < t.Until {
			list = append(list, telemetry.ProofKey{Statements: int(t.Statements),
				Key: t.Key.String(), Found: k.found[t.Key] != nil})
		}
	}
	return list
}

// in returns what checks the proofs of an epoch's rollups.
func (k *proofKeys) in(epoch uint32) rollup.ProofVerifier { return epochKeys{k, epoch} }

type epochKeys struct {
	*proofKeys
	epoch uint32
}

// VerifyProof implements rollup.ProofVerifier. Of a size that the network accepts, and whose key is
// not here, it says rollup.ErrNoProofs: others can check what this node can not.
func (k epochKeys) VerifyProof(size int, public [32]byte, proof *[rollup.ProofSize]byte) error {
	key, named := k.of(size, k.epoch)
	switch {
	case key != nil:
		return key.VerifyProof(size, public, proof)
	case named:
		return fmt.Errorf("%w: this node lacks the verifying key for %d statements",
			rollup.ErrNoProofs, size)
	}
	return fmt.Errorf("%w for %d statements: this network has none in epoch %d, its rollups are "+
		"shown on rungs 1 and 2",
		verifier.ErrKey, size, k.epoch)
}

// verifyingKey returns an encoded key, nil when it is not here.
func (k *proofKeys) verifyingKey(size int, epoch uint32) []byte {
	key, _ := k.of(size, epoch)
	if key == nil {
		return nil
	}
	return key.Verifying.Bytes()
}

// proofWorker makes proofs in a child process, which holds one proving key, lives until a window
// needs another, and is started again when it is gone. It implements certify.Prover; it makes one
// proof at a time.
type proofWorker struct {
	cfg     config.Proofs
	command []string // of the child; nil: this program's
	keys    *proofKeys
	log     *slog.Logger
	ctx     context.Context // the child's life
	stop    context.CancelFunc

	turn   sync.Mutex // held while a proof is made
	worker *prover.Worker
	cancel context.CancelFunc // of the worker
	key    verifier.KeyHash

	mu    sync.Mutex // guards what follows
	stage prover.Stage
	stats telemetry.Prover
}

func newProofWorker(cfg config.Proofs, k *proofKeys, log *slog.Logger) *proofWorker {
	w := &proofWorker{cfg: cfg, keys: k, log: log, stage: -1}
	w.ctx, w.stop = context.WithCancel(context.Background())
	return w
}

// Size implements certify.Prover.
func (w *proofWorker) Size(epoch uint32, statements int) int {
	return circuitFor(w.keys.sizes(epoch), statements)
}

// circuitFor returns the smallest of the ascending sizes that takes a window at once, or the
// largest that there is.
func circuitFor(sizes []int, statements int) (size int) {
	for _, size = range sizes {
		if size >= statements {
			break
		}
	}
	return size
}

// Prove implements certify.Prover.
func (w *proofWorker) Prove(ctx context.Context, epoch uint32, s *rollup.Segment,
	statements []rollup.Statement) (proof [rollup.ProofSize]byte, err error) {
	w.turn.Lock()
	defer w.turn.Unlock()
	start := time.Now()
	key, _ := w.keys.of(s.Size, epoch)
	if key == nil {
		return proof, fmt.Errorf("node: %w: no key for %d statements in epoch %d",
			rollup.ErrNoProofs, s.Size, epoch)
	}
	if err := w.ready(ctx, &key.Pair); err != nil {
		return proof, err
	}
	proof, stats, err := w.worker.Prove(ctx, s, statements)
	if errors.Is(err, prover.ErrWorker) || ctx.Err() != nil {
		w.drop()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Seconds += time.Since(start).Seconds()
	w.stats.CPU += stats.CPU.Seconds()
	w.stats.PeakMemory = max(w.stats.PeakMemory, uint64(stats.PeakMemory))
	return proof, err
}

// ready starts a child for a key unless it runs.
func (w *proofWorker) ready(ctx context.Context, pair *keys.Pair) error {
	if w.worker != nil && w.key == pair.Key {
		return nil
	}
	w.drop()
	life, cancel := context.WithCancel(w.ctx)
	defer context.AfterFunc(ctx, cancel)() // until it is ready
	worker, err := prover.Start(life, prover.Config{Command: w.command, Dir: pair.Dir(),
		Key: pair.Key, Cores: w.cfg.Cores, Memory: int64(w.cfg.Memory), Nice: w.cfg.Nice,
		Progress: w.progress})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Starts++
	if err != nil {
		cancel()
		return err
	}
	w.worker, w.cancel, w.key = worker, cancel, pair.Key
	w.stats.PeakMemory = max(w.stats.PeakMemory, uint64(worker.Loaded().PeakMemory))
	w.log.Info("prover is ready", "statements", pair.Statements, "loading", worker.Loaded().Wall)
	return nil
}

func (w *proofWorker) progress(s prover.Stage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stage = s
}

// drop ends the child.
func (w *proofWorker) drop() {
	if w.worker != nil {
		w.worker.Close()
		w.cancel()
		w.worker = nil
	}
}

// close ends the child when its proof is over, which it is soon once the pipeline is closed.
func (w *proofWorker) close() {
	w.stop()
	w.turn.Lock()
	defer w.turn.Unlock()
	w.drop()
}

// snapshot says what the prover does and did.
func (w *proofWorker) snapshot() telemetry.Prover {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	if s.Stage = "idle"; w.stage >= 0 {
		s.Stage = w.stage.String()
	}
	return s
}
