package prover

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/waybill-network/waybill/proofs/circuit"
	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
)

// The parent writes a setup, then requests one at a time; the child answers with replies. All are
// gob values.

type setup struct {
	Dir    string
	Key    verifier.KeyHash
	Cores  int
	Memory int64
	Nice   int
}

type request struct {
	Segment    rollup.Segment
	Statements []rollup.Statement
}

// reply says at which stage the child is; that of the stages ready and proved is the last one of a
// request.
type reply struct {
	Stage Stage
	Proof [rollup.ProofSize]byte
	Stats Stats
	Err   string
	False bool // the error is that the segment is false
}

// Stats says what a proof cost.
type Stats struct {
	Wall       time.Duration
	CPU        time.Duration // user and system, of the child
	PeakMemory int64         // bytes resident at most in the child's life
}

// Child is the whole life of a child process: it reads from in, the parent's end of which must stay
// open as long as the child is wanted, and writes to out. It returns what stopped it, nil if the
// parent did.
func Child(in io.Reader, out io.Writer) error {
	decoder, encoder := gob.NewDecoder(in), gob.NewEncoder(out)
	var s setup
	if err := decoder.Decode(&s); err != nil {
		return fmt.Errorf("prover: %w", err)
	}
	s.apply()
	requests := make(chan request)
	go func() { // ends with the process: a parent that is gone must not leave a busy child behind
		for {
			var r request
			if err := decoder.Decode(&r); err != nil {
				os.Exit(0)
			}
			requests <- r
		}
	}()
	with, check, err := s.load()
	if err != nil {
		return errors.Join(err, encoder.Encode(reply{Stage: Failed, Err: err.Error()}))
	}
	if err := encoder.Encode(reply{Stage: Ready, Stats: stats(time.Now(), 0)}); err != nil {
		return fmt.Errorf("prover: %w", err)
	}
	for r := range requests {
		if err := encoder.Encode(reply{Stage: Proving}); err != nil {
			return fmt.Errorf("prover: %w", err)
		}
		if err := encoder.Encode(answer(with, check, &r)); err != nil {
			return fmt.Errorf("prover: %w", err)
		}
		r = request{}
		debug.FreeOSMemory() // until the next window
	}
	return nil
}

// apply bounds what this process takes from the machine. Cores are bounded by the environment too,
// so that no package counts more before.
func (s *setup) apply() {
	if s.Cores > 0 {
		runtime.GOMAXPROCS(s.Cores)
	}
	if s.Memory > 0 {
		debug.SetMemoryLimit(s.Memory)
	}
	if s.Nice > 0 {
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, s.Nice) // a courtesy
	}
}

func (s *setup) load() (*keys.Proving, *verifier.Verifier, error) {
	pair, err := keys.Find(s.Dir, s.Key)
	if err != nil {
		return nil, nil, err
	}
	check, err := verifier.New(pair.Verifying)
	if err != nil {
		return nil, nil, err
	}
	with, err := pair.Proving()
	return with, check, err
}

// answer proves and checks the proof, as a machine may err.
func answer(with *keys.Proving, check *verifier.Verifier, r *request) reply {
	begin, before := time.Now(), used()
	proof, err := Prove(with, &r.Segment, r.Statements)
	if err == nil {
		err = check.VerifyProof(r.Segment.Size, r.Segment.Public.Bytes(), &proof)
	}
	out := reply{Stage: Proved, Proof: proof, Stats: stats(begin, before)}
	if err != nil {
		out.Err = err.Error()
		out.False = errors.Is(err, ErrFalse) || errors.Is(err, circuit.ErrSegment) ||
			errors.Is(err, circuit.ErrSize)
	}
	return out
}

func stats(begin time.Time, before time.Duration) Stats {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // of ourselves: it cannot fail
	peak := r.Maxrss
	if runtime.GOOS == "linux" {
		peak *= 1024
	}
	return Stats{Wall: time.Since(begin), CPU: used() - before, PeakMemory: peak}
}

func used() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
