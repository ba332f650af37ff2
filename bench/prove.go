package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/prover"
	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
)

// Circuit is the circuit that a comparison is about.
type Circuit struct {
	Statements int `json:"statements"`
	ProofSize  int `json:"proof_bytes"`
}

// proving makes the proofs of windows with one circuit: one a run, in the order in which they were
// asked for.
type proving struct {
	ctx   context.Context
	size  int
	asked []*provenSegment
	made  int

	setup  time.Duration // of the keys, 0 where they were there
	keys   keys.Pair
	check  *verifier.Verifier
	worker *prover.Worker
	stats  prover.Stats // of the last proof
}

type provenSegment struct {
	rollup.Segment
	statements []rollup.Statement
	proof      [rollup.ProofSize]byte
}

// provenWindow is a window with a proof of each segment, once its proving has made them.
type provenWindow struct {
	*statementWindow
	with     *proving
	segments []*provenSegment
}

// window asks for the proofs of a window.
func (p *proving) window(w *statementWindow) (*provenWindow, error) {
	segments, err := rollup.Segments(w.header, w.tree, w.evidence.List, p.size, w.view)
	if err != nil {
		return nil, err
	}
	proven := &provenWindow{statementWindow: w, with: p}
	for i := range segments {
		s := &provenSegment{Segment: segments[i],
			statements: w.tree.Statements()[segments[i].First:][:len(segments[i].List)]}
		proven.segments = append(proven.segments, s)
	}
	p.asked = append(p.asked, proven.segments...)
	return proven, nil
}

var errNotProven = errors.New("a window's proofs are not there")

// encode returns what a member receives, once the proofs were made.
func (w *provenWindow) encode() (*encodedRollup, error) {
	var segments []rollup.Segment
	var proofs [][rollup.ProofSize]byte
	for _, s := range w.segments {
		if s.proof == [rollup.ProofSize]byte{} {
			return nil, errNotProven
		}
		segments, proofs = append(segments, s.Segment), append(proofs, s.proof)
	}
	return encode(w.header, rollup.ProofEvidence(noAcks, w.evidence.List, segments, proofs)), nil
}

// prepare makes or finds keys and starts a process that holds them: this program with the command
// prove-worker.
func (p *proving) prepare() error {
	if p.worker != nil {
		return nil
	}
	dir, err := keys.DefaultDir()
	if err != nil {
		return err
	}
	start := time.Now()
	if p.keys, err = keys.Development(dir, p.size,
		func(keys.Info) { start = time.Now(); p.setup = 1 }); err != nil {
		return err
	}
	if p.setup > 0 {
		p.setup = time.Since(start)
	}
	if p.check, err = verifier.New(p.keys.Verifying); err != nil {
		return err
	}
	p.worker, err = prover.Start(p.ctx, prover.Config{Dir: dir, Key: p.keys.Key})
	return err
}

// prove makes the next proof.
func (p *proving) prove() (int, error) {
	if p.made == len(p.asked) {
		return 0, errNotProven
	}
	s := p.asked[p.made]
	var err error
	if s.proof, p.stats, err = p.worker.Prove(p.ctx, &s.Segment, s.statements); err != nil {
		return 0, err
	}
	p.made++
	return 1, nil
}

func (p *proving) close() error {
	if p.worker != nil {
		p.worker.Close()
	}
	return nil
}

// comparisons measures each proof that was asked for, and the verification of them.
func (p *proving) comparisons() []Comparison {
	circuit := &Circuit{Statements: p.size, ProofSize: rollup.ProofSize}
	prove := Comparison{Name: fmt.Sprintf("Prove/statements=%d", p.size),
		What: fmt.Sprintf("proofs about %d statements, in a process of its own", p.size),
		Op:   "proof", Rounds: len(p.asked), Fixed: true, Cold: true, Circuit: circuit,
		Close: p.close,
		Contenders: []Contender{{Name: "prover", Kind: KindOwn, Prepare: p.prepare, Run: p.prove,
			Child: func() Usage { return Usage{p.stats.CPU, p.stats.PeakMemory} }}},
		Extra: func([]Sample) string {
			_ = p.close() // its memory is not needed by the others
			where := "the development keys were in the cache"
			if p.setup > 0 {
				where = fmt.Sprintf("the development keys took %.0f s to make", p.setup.Seconds())
			}
			return fmt.Sprintf("a proof has %d bytes; %s", rollup.ProofSize, where)
		}}
	switch p.size {
	case 4096:
		prove.Goals = []Goal{{What: "proving 4,096 statements ≤ 8 s and ≤ 1 GB", MaxNs: 8e9,
			MaxMemory: 1e9}}
	case 16384:
		prove.Goals = []Goal{{What: "proving 16,384 statements ≤ 25 s and ≤ 3 GB", MaxNs: 25e9,
			MaxMemory: 3e9}}
	}
	const times = 8
	verify := Comparison{Name: fmt.Sprintf("VerifyProof/statements=%d", p.size),
		What: "the check of one proof, without what surrounds it", Op: "proof",
		Cores: 1, Compute: true, Circuit: circuit,
		Goals: []Goal{
			{What: fmt.Sprintf("verifying a proof of %s statements ≤ 2 ms", text.Grouped(p.size)),
				MaxNs: 2e6}},
		Contenders: []Contender{{Name: "verifier", Kind: KindOwn, Run: func() (int, error) {
			for i := range times {
				s := p.asked[i%len(p.asked)]
				if err := p.check.VerifyProof(p.size, s.Public.Bytes(), &s.proof); err != nil {
					return 0, err
				}
			}
			return times, nil
		}}}}
	return []Comparison{prove, verify}
}
