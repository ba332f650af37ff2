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

// ErrDevelopmentKey says that a network that is not for development names a key that anyone may have made alone.
var ErrDevelopmentKey = errors.New("node: a development key in a network that is not for development")

// proofKeys are the keys that the genesis file names, as far as the node has them, by size.
type proofKeys struct {
	named []ledger.ProofKey
	found map[int]keys.Pair
	*verifier.Verifier
}

// loadProofKeys looks for the verifying keys that the network accepts, in the node's own folder and then in the user's cache.
// One that is in neither is no error: the node does without proofs of that size. Errors: ErrDevelopmentKey, keys.ErrFile.
func loadProofKeys(dir string, params *ledger.Proofs, log *slog.Logger) (*proofKeys, error) {
	k := &proofKeys{named: params.Keys, found: make(map[int]keys.Pair)}
	if len(params.Keys) == 0 {
		log.Info("this network has no proof keys: rollups are shown on rungs 1 and 2")
	}
	dirs := []string{dir}
	if cache, err := keys.DefaultDir(); err == nil {
		dirs = append(dirs, cache)
	}
	var verifying []*verifier.Key
	for _, named := range params.Keys {
		pair, err := findKey(dirs, verifier.KeyHash(named.Key))
		if errors.Is(err, keys.ErrNotFound) {
			log.Warn("no verifying key: rollups are certified without proofs of this size", "statements", named.Statements, "key", named.Key, "folders", dirs)
			continue
		}
		if err != nil {
			return nil, err
		}
		if pair.Statements != int(named.Statements) {
			return nil, fmt.Errorf("%w: %s, which the genesis file names for %d", keys.ErrFile, pair.Info, named.Statements)
		}
		if pair.Development && !params.Development {
			return nil, fmt.Errorf("%w: %s", ErrDevelopmentKey, pair.Info)
		}
		log.Info("verifying key", "statements", pair.Statements, "key", pair.Key, "development", pair.Development)
		k.found[pair.Statements] = pair
		verifying = append(verifying, pair.Verifying)
	}
	var err error
	k.Verifier, err = verifier.New(verifying...)
	return k, err
}

func findKey(dirs []string, hash verifier.KeyHash) (pair keys.Pair, err error) {
	for _, dir := range dirs {
		if pair, err = keys.Find(dir, hash); !errors.Is(err, keys.ErrNotFound) {
			return pair, err
		}
	}
	return pair, err
}

// VerifyProof implements rollup.ProofVerifier. Of a size that the genesis file names, and whose key is not here, it says
// rollup.ErrNoProofs: others can check what this node can not.
func (k *proofKeys) VerifyProof(size int, public [32]byte, proof *[rollup.ProofSize]byte) error {
	if _, ok := k.found[size]; !ok {
		if len(k.named) == 0 {
			return fmt.Errorf("%w: this network has none, its rollups are shown on rungs 1 and 2",
				verifier.ErrKey)
		}
		for _, named := range k.named {
			if int(named.Statements) == size {
				return fmt.Errorf("%w: this node lacks the verifying key for %d statements", rollup.ErrNoProofs, size)
			}
		}
	}
	return k.Verifier.VerifyProof(size, public, proof)
}

// verifyingKey returns an encoded key, nil when it is not here.
func (k *proofKeys) verifyingKey(size int) []byte {
	pair, ok := k.found[size]
	if !ok {
		return nil
	}
	return pair.Verifying.Bytes()
}

// proofWorker makes proofs in a child process, which holds one proving key, lives until a window needs another, and is started
// again when it is gone. It implements certify.Prover; it makes one proof at a time.
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
	size   int

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
func (w *proofWorker) Size(statements int) int { return circuitFor(w.keys.Sizes(), statements) }

// circuitFor returns the smallest of the ascending sizes that takes a window at once, or the largest that there is.
func circuitFor(sizes []int, statements int) (size int) {
	for _, size = range sizes {
		if size >= statements {
			break
		}
	}
	return size
}

// Prove implements certify.Prover.
func (w *proofWorker) Prove(ctx context.Context, s *rollup.Segment, statements []rollup.Statement) (proof [rollup.ProofSize]byte, err error) {
	w.turn.Lock()
	defer w.turn.Unlock()
	start := time.Now()
	if err := w.ready(ctx, s.Size); err != nil {
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

// ready starts a child for a circuit's size unless it runs.
func (w *proofWorker) ready(ctx context.Context, size int) error {
	if w.worker != nil && w.size == size {
		return nil
	}
	w.drop()
	life, cancel := context.WithCancel(w.ctx)
	defer context.AfterFunc(ctx, cancel)() // until it is ready
	pair := w.keys.found[size]
	worker, err := prover.Start(life, prover.Config{Command: w.command, Dir: pair.Dir(), Key: pair.Key, Cores: w.cfg.Cores, Memory: int64(w.cfg.Memory), Nice: w.cfg.Nice,
		Progress: w.progress})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Starts++
	if err != nil {
		cancel()
		return err
	}
	w.worker, w.cancel, w.size = worker, cancel, size
	w.stats.PeakMemory = max(w.stats.PeakMemory, uint64(worker.Loaded().PeakMemory))
	w.log.Info("prover is ready", "statements", size, "loading", worker.Loaded().Wall)
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
