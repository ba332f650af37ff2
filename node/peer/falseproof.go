package peer

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
)

// FalseProof is a rollup with evidence of both rungs, of which one lies: the proofs verify, and the
// statements that the header commits to do not give its totals. That can not be with sound proofs.
// Somebody has the secret of the setup, or the circuit or its verifier is wrong.
type FalseProof struct {
	Header     *rollup.Header
	Proven     []byte // evidence of rung 3, which verifies
	Statements []byte // evidence of rung 2, which is under the header's roots and does not
	Err        error  // what the rules say to it
}

// maxDenied is how many rollups whose statements were refused are remembered, for proofs of them
// that come later.
const maxDenied = 8

// denial is evidence of rung 2 that the rules refuse, although the header commits to it.
type denial struct {
	id         rollup.Hash
	statements []byte
	err        error
}

// denied notes that the rules refuse evidence, and raises the alarm when proofs of the same rollup
// are kept that they accept.
func (m *Member) denied(h *rollup.Header, evidence []byte, ev *rollup.Evidence, why error) {
	if ev.Rung != rollup.RungStatements || !errors.Is(why, ReasonInvalid) ||
		ev.Match(h, m.cfg.Chain.View()) != nil {
		return // not what the header commits to: that is its sender's lie alone
	}
	d := denial{h.ID(), bytes.Clone(evidence), why}
	m.mu.Lock()
	if len(m.denials) == maxDenied {
		m.denials = m.denials[1:]
	}
	m.denials = append(m.denials, d)
	m.mu.Unlock()
	proven, err := m.provenHere(h)
	if err != nil {
		m.cfg.Logger.Error("statements deny a rollup, and what is kept of it can not be read",
			"rollup", d.id, "err", err)
	}
	if proven != nil {
		m.alarm(h, proven, &d)
	}
}

// proven looks for a denial of a rollup whose proofs were just found valid: ReasonInvalid.
func (m *Member) proven(h *rollup.Header, evidence []byte, ev *rollup.Evidence) error {
	if ev.Rung != rollup.RungProof {
		return nil
	}
	id := h.ID()
	m.mu.Lock()
	var found *denial
	for _, d := range m.denials {
		if d.id == id {
			found = &d
		}
	}
	m.mu.Unlock()
	if found == nil {
		return nil
	}
	m.alarm(h, evidence, found)
	return &Refusal{Code: ReasonInvalid,
		Err: fmt.Errorf("its proofs verify, and its statements deny it: %w", found.err)}
}

// provenHere returns the evidence of rung 3 that is kept of a rollup, when it verifies.
func (m *Member) provenHere(h *rollup.Header) ([]byte, error) {
	archive, err := m.cfg.Store.Archive(h.ID())
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	proven, err := archive.Evidence(rollup.RungProof)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, rollup.ErrNotFound) {
		return nil, nil // it is kept on another rung
	}
	if err != nil {
		return nil, err
	}
	ev, err := rollup.ParseEvidence(proven)
	if err != nil {
		return nil, err
	}
	if err := m.verify(h, ev); err != nil {
		return nil, nil
	}
	return proven, nil
}

func (m *Member) alarm(h *rollup.Header, proven []byte, d *denial) {
	m.cfg.Logger.Error(
		"ALARM: a proof is false: it verifies, and the rollup's own statements deny it",
		"node", h.Node, "epoch", h.Epoch, "window", h.Window, "rollup", d.id, "err", d.err)
	if m.cfg.Alarm != nil {
		m.cfg.Alarm(&FalseProof{Header: h, Proven: proven, Statements: d.statements, Err: d.err})
	}
}
