package node

import (
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/kernels/cpu"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// usageAge is how old the measured disk usage may be: measuring takes the database's lock.
const usageAge = 2 * time.Second

// usage remembers the last measurement of the disk.
type usage struct {
	mu    sync.Mutex
	at    time.Time
	value store.Usage
	err   error
}

func (u *usage) get(s *store.Store) (store.Usage, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if time.Since(u.at) > usageAge {
		u.value, u.err = s.Usage()
		u.at = time.Now()
	}
	return u.value, u.err
}

// room reports whether more than min bytes are free. A disk that can not be measured is no reason to refuse: writes to
// it fail loudly.
func (u *usage) room(s *store.Store, min uint64) bool {
	now, err := u.get(s)
	return err != nil || now.Free >= min
}

// kernels says which implementation of each batch primitive was selected; the first call tests them.
var kernels = sync.OnceValue(func() (list []telemetry.Kernel) {
	for _, c := range cpu.Selected() {
		list = append(list, telemetry.Kernel{Name: c.Kernel, Implementation: c.Implementation, FellBack: c.SelfTestFailed()})
	}
	return list
})

// Snapshot says what the node is doing. While the node starts, parts that do not run yet are empty.
func (n *Node) Snapshot() telemetry.Snapshot {
	s := telemetry.Snapshot{
		Taken: time.Now(), Started: n.started, Build: telemetry.BuildInfo(),
		Node:    telemetry.Node{Name: n.cfg.Node.Name, Index: n.index, Owner: n.owner, Network: n.network.String(), ChainID: n.id.Genesis.ChainID},
		Kernels: kernels(),
	}
	if n.chain == nil {
		return s
	}
	view := n.chain.View()
	n.fillChain(&s, view)
	n.fillEpoch(&s, view)
	var p pipeline.Stats
	var c certify.Stats
	if n.pipeline != nil {
		p, c = n.pipeline.Stats(), n.outbox.Stats()
		n.fillPipeline(&s, &p, &c)
	}
	s.Recent = n.history.Recent(s.Taken, countersOf(view, &p, &c))
	n.fillProving(&s.Proving, &c)
	n.fillCommittee(&s, view, c.Members)
	n.fillStore(&s)
	return s
}

// counters returns those whose recent growth is told.
func (n *Node) counters() telemetry.Counters {
	var p pipeline.Stats
	var c certify.Stats
	if n.pipeline != nil {
		p, c = n.pipeline.Stats(), n.outbox.Stats()
	}
	return countersOf(n.chain.View(), &p, &c)
}

func countersOf(view *ledger.View, p *pipeline.Stats, o *certify.Stats) telemetry.Counters {
	c := telemetry.Counters{Ordered: o.Ordered, Blocks: uint64(view.Height())}
	for _, code := range rollup.Codes() {
		switch n := p.Answered(code); {
		case code == rollup.CodeAccepted:
			c.Accepted = n
		case !code.OK():
			c.Refused += n
		}
	}
	return c
}

func (n *Node) fillChain(s *telemetry.Snapshot, view *ledger.View) {
	status := n.engine.Status()
	executed, earned := n.chain.stats()
	s.Chain = telemetry.Chain{
		Height: status.Height, BlockTime: status.Time, Executed: executed, AppHash: view.AppHash().String(), Peers: status.Peers,
		Network:    status.Network,
		Validators: len(view.Committee().Members), Validator: status.Member >= 0, CatchingUp: status.CatchingUp,
		Mempool: status.Mempool, Skew: executed.Sub(status.Time).Seconds(),
	}
	if status.Err != nil {
		s.Chain.Failure = status.Err.Error()
	}
	s.Node.Earned = earned
	if account, ok := view.Account(n.owner); ok && n.known {
		s.Node.Balance = account.Balance
	}
}

func (n *Node) fillEpoch(s *telemetry.Snapshot, view *ledger.View) {
	s.Epoch = telemetry.Epoch{Number: view.Epoch(), Start: view.EpochStart(), End: view.EpochEnd(), NextToSettle: view.NextToSettle(),
		Clients: view.Clients(), Services: view.Services(), Nodes: view.Nodes()}
	for epoch := int64(view.NextToSettle()) - 1; epoch >= 0 && len(s.Settlements) < 8; epoch-- {
		settled, ok := view.Settlement(uint32(epoch))
		if !ok {
			break
		}
		t := telemetry.Settlement{Epoch: settled.Epoch, Root: settled.Root.String(), Rows: len(settled.Rows), Certified: settled.Certificate != nil}
		charged, paid := settled.Totals()
		t.Paid, t.Arrears = paid, charged-paid
		for _, row := range settled.Rows {
			t.Acks += row.Acks
			t.Units += row.Units
			if n.known && row.Node == n.index {
				t.ToNode += row.ToNode
			}
		}
		s.Settlements = append(s.Settlements, t)
	}
}

func (n *Node) fillPipeline(s *telemetry.Snapshot, p *pipeline.Stats, c *certify.Stats) {
	s.Node.Serving = true
	s.ShuttingDown = n.stopping.Load()
	for _, stage := range append(slices.Clone(p.Stages), c.Certify) {
		s.Stages = append(s.Stages, telemetry.Stage{Name: stage.Name, Acks: stage.Acks, Refused: stage.Refused, Batches: stage.Batches,
			Queued: stage.Queued, Oldest: stage.Oldest, BatchAcks: stage.Size, Busy: stage.Busy, Last: stage.Last})
	}
	s.Budget = telemetry.Budget(p.Budget)
	for _, a := range p.Answers {
		s.Answers = append(s.Answers, telemetry.Answer(a))
	}
	s.Quarantine = telemetry.Quarantine(p.Quarantine)
	for _, w := range slices.Concat(p.Windows, c.Windows) {
		t := telemetry.Window{Epoch: w.Epoch, Window: w.Window, State: telemetry.WindowState(w.State), Acks: uint32(w.Acks), MaxAcks: rollup.MaxAcks,
			Units: w.Units, Rows: w.Rows, Statements: uint32(w.Statements), Cosigned: uint32(w.Cosigned), Rung: int(w.Rung),
			Segments: w.Segments, Proven: w.Proven, ProofFailure: w.ProofFailure, Opened: w.Opened, Closes: w.Closes,
			Sealed: w.Sealed, Ordered: w.Ordered, Power: w.Power, Quorum: w.Quorum}
		if w.ID != (rollup.Hash{}) {
			t.ID, t.Root = w.ID.String(), w.Root.String()
		}
		s.Windows = append(s.Windows, t)
	}
	s.Cosign.Acks = p.Offered
	n.fillCosign(&s.Cosign)
	s.Rollups = telemetry.RollupCounts{Sealed: p.Stage(pipeline.StageSeal).Batches, Rung1: c.Rungs[0], Rung2: c.Rungs[1], Rung3: c.Rungs[2],
		Certified: c.Certified, Ordered: c.Ordered, Pending: c.Pending, Oldest: c.Oldest}
}

func (n *Node) fillCosign(s *telemetry.Cosign) {
	if n.sessions == nil {
		return
	}
	stats := n.sessions.Stats()
	s.On, s.Sessions, s.Offers, s.Asked, s.Signed = true, stats.Following, stats.Offers, stats.Asked, stats.Signed
	s.Silent, s.Late, s.Garbage = stats.Silent, stats.Late, stats.Garbage
	for _, reason := range cosign.Reasons() {
		s.Refusals = append(s.Refusals, telemetry.Answer{Name: reason.String(), Count: stats.Refused[reason]})
	}
}

func (n *Node) fillCommittee(s *telemetry.Snapshot, view *ledger.View, pushed []certify.Member) {
	self, member := n.id.member()
	for _, m := range view.Committee().Members {
		t := telemetry.Member{Node: m.Node, Power: m.Power, Self: member && m.Node == self, Healthy: true}
		if registered, ok := view.Node(m.Node); ok {
			t.Address = registered.PeerAddress
		}
		for _, p := range pushed {
			if p.Node == m.Node {
				t.Shares, t.Failures, t.LastShare, t.Latency, t.LastError = p.Shares, p.Failures, p.LastShare, p.Latency, p.LastError
				t.Healthy = p.LastError == ""
			}
		}
		s.Committee = append(s.Committee, t)
	}
	if n.member != nil {
		stats := n.member.Stats()
		s.Rollups.MemberSigned = stats.Signed
		for _, count := range stats.Refused {
			s.Rollups.MemberRefused += count
		}
	}
}

func (n *Node) fillStore(s *telemetry.Snapshot) {
	s.Store = telemetry.Store{Path: n.cfg.Path(n.cfg.Store.Path), MinFree: uint64(n.cfg.Store.MinFree)}
	used, err := n.usage.get(n.store)
	s.Store.Bytes, s.Store.Free = used.Store, used.Free
	if err != nil {
		s.Store.Failure = err.Error()
	}
	if err := n.store.Err(); err != nil {
		s.Store.Failure = err.Error()
	}
}

// fillProving says what the node knows of proofs; p is empty while the node does not serve.
func (n *Node) fillProving(s *telemetry.Proving, p *certify.Stats) {
	s.Development = n.id.Genesis.Params.Proofs.Development
	for _, named := range n.keys.named {
		_, found := n.keys.found[int(named.Statements)]
		s.Keys = append(s.Keys, telemetry.ProofKey{Statements: int(named.Statements), Key: named.Key.String(), Found: found})
	}
	if n.prover == nil {
		return
	}
	s.On, s.Wait, s.Prover = true, n.cfg.Proofs.Wait.Seconds(), n.prover.snapshot()
	s.Windows, s.Proofs, s.Acks = p.Prove.Batches, p.Proofs, p.Prove.Acks
	s.Queued, s.Working, s.Oldest, s.Last = p.ProofQueue, p.Proving, p.Prove.Oldest, p.Prove.Last
	for _, why := range p.ProofFailures {
		s.Failures = append(s.Failures, telemetry.Answer(why))
	}
}
