package prover

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
)

// ErrWorker is for a child process that is gone: killed, crashed, or closed. Start another one.
var ErrWorker = errors.New("prover: the worker is gone")

// Stage is what a worker is doing.
type Stage int

// Stages, in order.
const (
	Loading Stage = iota // keys and constraints, seconds for large circuits
	Ready
	Proving
	Proved
	Failed
)

// String is one word.
func (s Stage) String() string {
	return [...]string{"loading", "ready", "proving", "proved", "failed"}[s]
}

// Config says what a worker may use.
type Config struct {
	Command []string         // that runs Child; nil: this program's hidden command prove-worker
	Dir     string           // of keys
	Key     verifier.KeyHash // whose circuit it proves
	Cores   int              // at most; 0: all
	Memory  int64            // bytes that the child's heap stays below if it can; 0: no limit
	Nice    int              // lower priority by this much, 0 to 19
	// called on every change, in order, from one goroutine at a time; may be nil
	Progress func(Stage)
}

// MemoryFor returns the least Config.Memory with which proofs of a circuit are not slowed down by
// collecting garbage. The child takes about as much.
func MemoryFor(size int) int64 { return 100<<20 + int64(size)*115<<10 }

// Worker is a child process that holds a proving key and makes one proof at a time. Its methods are
// safe for concurrent use.
type Worker struct {
	config  Config
	busy    chan struct{} // holds a token while a proof is made
	command *exec.Cmd
	stdin   io.WriteCloser
	encoder *gob.Encoder
	replies chan reply    // closed when the child is gone
	gone    chan struct{} // closed when the child was waited for
	stderr  tail
	why     error // valid once gone is closed
	loaded  Stats
}

// Start starts a worker and waits until it holds its key. When the context is done, the child is
// killed, also later on: it lives no longer than the context or until Close. Errors: ErrWorker with
// what the child said.
func Start(ctx context.Context, config Config) (*Worker, error) {
	argv := config.Command
	if argv == nil {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("prover: %w", err)
		}
		argv = []string{self, "prove-worker"}
	}
	w := &Worker{config: config, busy: make(chan struct{}, 1), replies: make(chan reply),
		gone: make(chan struct{})}
	w.command = exec.CommandContext(ctx, argv[0], argv[1:]...)
	w.command.WaitDelay = time.Second
	w.command.Stderr = &w.stderr
	w.command.Env = os.Environ()
	if config.Cores > 0 {
		w.command.Env = append(w.command.Env, fmt.Sprintf("GOMAXPROCS=%d", config.Cores))
	}
	var err error
	if w.stdin, err = w.command.StdinPipe(); err != nil {
		return nil, fmt.Errorf("prover: %w", err)
	}
	stdout, err := w.command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("prover: %w", err)
	}
	if err := w.command.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWorker, err)
	}
	go w.read(stdout)
	w.report(Loading)
	w.encoder = gob.NewEncoder(w.stdin)
	r, err := w.exchange(ctx, setup{Dir: config.Dir, Key: config.Key, Cores: config.Cores,
		Memory: config.Memory, Nice: config.Nice})
	if err == nil && r.Err != "" {
		err = fmt.Errorf("%w: %s", ErrWorker, r.Err)
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	w.loaded = r.Stats
	return w, nil
}

// Loaded says what loading cost the child.
func (w *Worker) Loaded() Stats { return w.loaded }

// Prove proves a segment. It waits for its turn. When the context is done while the child works,
// the child is killed and the worker is gone. Errors: ErrFalse, ErrWorker, the context's.
func (w *Worker) Prove(ctx context.Context, segment *rollup.Segment,
	statements []rollup.Statement) (proof [rollup.ProofSize]byte, stats Stats, err error) {
	select {
	case w.busy <- struct{}{}:
	case <-ctx.Done():
		return proof, stats, context.Cause(ctx)
	}
	defer func() { <-w.busy }()
	select {
	case <-w.gone:
		return proof, stats, w.why
	default:
	}
	r, err := w.exchange(ctx, request{Segment: *segment, Statements: statements})
	if err != nil {
		return proof, stats, err
	}
	if r.False {
		return proof, r.Stats, fmt.Errorf("%w: %s", ErrFalse, r.Err)
	}
	if r.Err != "" {
		return proof, r.Stats, fmt.Errorf("prover: %s", r.Err)
	}
	return r.Proof, r.Stats, nil
}

// exchange sends a message and returns the reply that ends it. It kills the child when the context
// is done first.
func (w *Worker) exchange(ctx context.Context, message any) (reply, error) {
	defer context.AfterFunc(ctx, w.kill)()
	_ = w.encoder.Encode(message) // fails when the child is gone, which the replies tell better
	for {
		r, ok := <-w.replies
		if !ok {
			<-w.gone
			w.report(Failed)
			if ctx.Err() != nil {
				return reply{}, context.Cause(ctx)
			}
			return reply{}, w.why
		}
		w.report(r.Stage)
		if r.Stage != Proving {
			return r, nil
		}
	}
}

func (w *Worker) kill() { _ = w.command.Process.Kill() } // fails when it is gone

func (w *Worker) report(s Stage) {
	if w.config.Progress != nil {
		w.config.Progress(s)
	}
}

// read passes the child's replies on until it is gone.
func (w *Worker) read(stdout io.Reader) {
	decoder := gob.NewDecoder(stdout)
	for {
		var r reply
		if decoder.Decode(&r) != nil {
			break
		}
		w.replies <- r
	}
	w.kill() // whatever it still does, nobody will hear of it
	err := w.command.Wait()
	w.why = fmt.Errorf("%w: %v: %s", ErrWorker, err, w.stderr.last())
	close(w.gone)
	close(w.replies)
}

// Close kills the child and waits until it is gone.
func (w *Worker) Close() {
	w.kill()
	for range w.replies { // let read come to its end
	}
	<-w.gone
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const most = 4096
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-most):]
	return len(p), nil
}

// last returns the last lines, on one.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(string(bytes.TrimSpace(t.b))), " ")
}
