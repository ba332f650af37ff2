package pipeline

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
)

// The states of a window until it is sealed, in order. Those after that are certify.States.
const (
	StateOpen      status.State = "open"      // takes acks
	StateCosigning status.State = "cosigning" // its clients are asked to co-sign
	StateSealing   status.State = "sealing"   // takes no acks, and is not durable as a rollup yet
)

// States returns the states of a window until it is sealed, in order.
func States() []status.State {
	return []status.State{StateOpen, StateCosigning, StateSealing}
}

// The stages of this room, in order. A batch is a batch of acks until window, and then a window.
// What passes cosign are acks under statements that their client co-signed.
const (
	StageAdmit  = "admit"
	StageVerify = "verify"
	StageCommit = "commit"
	StageWindow = "window"
	StageCosign = "cosign"
	StageSeal   = "seal"
)

// Stages returns the names of the stages of this room, in order.
func Stages() []string {
	return []string{StageAdmit, StageVerify, StageCommit, StageWindow, StageCosign, StageSeal}
}

// Stats is what the pipeline says about itself at one instant. Counters only grow while the
// process lives.
type Stats struct {
	Stages []status.Stage `json:"stages"` // in the order of Stages

	Answers    []status.Count  `json:"answers"` // counter: acks by answer, one for each code
	Writes     uint64          `json:"writes"`  // counter: synced writes of acks
	Budget     Budget          `json:"budget"`
	Quarantine Quarantine      `json:"quarantine"`
	Offered    uint64          `json:"offered_acks"` // counter: for clients to co-sign
	Account    Account         `json:"account"`
	States     []status.Count  `json:"states"`  // windows by state, all of States
	Windows    []status.Window `json:"windows"` // newest first

	// Closed is why no window is open in this epoch: the store is new, see ErrNew.
	Closed string `json:"closed,omitzero"`
}

// Stage returns the stage with a name, a zero one if there is none.
func (s *Stats) Stage(name string) status.Stage {
	for _, stage := range s.Stages {
		if stage.Name == name {
			return stage
		}
	}
	return status.Stage{Name: name}
}

// Answered returns how many acks were answered with a code.
func (s *Stats) Answered(code rollup.Code) uint64 {
	for _, a := range s.Answers {
		if a.Name == code.String() {
			return a.Count
		}
	}
	return 0
}

// Budget is what admission has lent out.
type Budget struct {
	Acks     int   `json:"acks"`
	MaxAcks  int   `json:"max_acks"`
	Bytes    int64 `json:"bytes"`
	MaxBytes int64 `json:"max_bytes"`
	New      int   `json:"new_acks"` // of Acks, those of sources that are not established
	Sources  int   `json:"sources"`  // open
}

// Quarantine is the clients that sent bad signatures and are verified apart.
type Quarantine struct {
	Total   int      `json:"total"`
	Clients []uint64 `json:"clients"` // some of them, at most 32
}

// list returns the windows of this room, newest first.
func (ws *windows) list() (list []status.Window) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	add := func(w *window) {
		s := w.status
		s.Acks, s.Units, s.Rows = w.acks()-w.lost, w.units, w.memory.rows.Len()
		list = append(list, s)
	}
	for _, e := range ws.taking {
		if e.open != nil && e.open.memory != nil {
			add(e.open)
		}
	}
	for _, w := range slices.Backward(ws.draining) {
		add(w)
	}
	return list
}

// counters are written by the stages.
type counters struct {
	admit, verify, commit, window, cosign, seal status.Counters

	codes   [rollup.NumCodes]atomic.Uint64
	writes  atomic.Uint64
	sources atomic.Int64
	offered atomic.Uint64
}

func (c *counters) answer(code rollup.Code, n int) { c.codes[code].Add(uint64(n)) }

// refuse counts acks that a stage answered itself.
func (c *counters) refuse(s *status.Counters, code rollup.Code, n int) {
	c.answer(code, n)
	s.Settle(0, n)
}

// Stats returns the state of the pipeline. It takes every lock for a moment: for a scrape, not for
// every ack.
func (p *Pipeline) Stats() Stats {
	c := &p.counters
	now := time.Now()
	s := Stats{Writes: c.writes.Load(), Offered: c.offered.Load(), Windows: p.windows.list()}
	if err := p.checkStore(); err != nil {
		s.Closed = err.Error()
	}
	for _, code := range rollup.Codes() {
		s.Answers = append(s.Answers, status.Count{Name: code.String(), Count: c.codes[code].Load()})
	}
	s.Budget = Budget{MaxAcks: p.cfg.MaxAcks, MaxBytes: p.cfg.MaxBytes, Sources: int(c.sources.Load())}
	acks, bytes := p.budgets[classEstablished].used()
	newAcks, newBytes := p.budgets[classNew].used()
	s.Budget.Acks, s.Budget.Bytes, s.Budget.New = acks+newAcks, bytes+newBytes, newAcks
	s.Account = p.windows.account()
	s.Quarantine.Total, s.Quarantine.Clients = p.quarantine.list(32)

	admit, verify := c.admit.Stage(StageAdmit, false), c.verify.Stage(StageVerify, false)
	commit, window := c.commit.Stage(StageCommit, false), c.window.Stage(StageWindow, true)
	cosign, seal := c.cosign.Stage(StageCosign, true), c.seal.Stage(StageSeal, true)
	admit.Queue(s.Budget.Acks, time.Time{}, now)
	verify.Queue(p.queue.len(), p.queue.oldest(), now)
	acks, since := p.committer.queued()
	commit.Queue(acks, since, now)
	count := make(map[status.State]uint64)
	for i := range s.Windows {
		w := &s.Windows[i]
		w.Closes = p.closes(w)
		count[w.State]++
		switch w.State {
		case StateOpen:
			window.Queue(w.Acks, w.Opened, now)
		case StateCosigning:
			cosign.Queue(w.Acks, w.Opened, now)
		case StateSealing:
			seal.Queue(w.Acks, w.Opened, now)
		}
	}
	for _, state := range States() {
		s.States = append(s.States, status.Count{Name: string(state), Count: count[state]})
	}
	s.Stages = []status.Stage{admit, verify, commit, window, cosign, seal}
	return s
}

// closes returns when a window stops taking new acks at the latest.
func (p *Pipeline) closes(w *status.Window) time.Time {
	closes := w.Opened.Add(p.cfg.WindowAge)
	view := p.chain.View()
	if end := view.EpochEnd(); w.Epoch == view.Epoch() && end.Before(closes) {
		return end
	}
	return closes
}
