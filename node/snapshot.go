package node

import (
	"sync"
	"time"

	"github.com/waybill-network/waybill/kernels/cpu"
	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/pipeline/status"
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

// room reports whether more than min bytes are free. A disk that can not be measured is no reason
// to refuse: writes to it fail loudly.
func (u *usage) room(s *store.Store, min uint64) bool {
	now, err := u.get(s)
	return err != nil || now.Free >= min
}

// kernels says which implementation of each batch primitive was selected; the first call tests
// them.
var kernels = sync.OnceValue(func() (list []telemetry.Kernel) {
	for _, c := range cpu.Selected() {
		list = append(list, telemetry.Kernel{Name: c.Kernel, Implementation: c.Implementation,
			FellBack: c.SelfTestFailed()})
	}
	return list
})

// Snapshot says what the node is doing. While the node starts, parts that do not run yet are empty.
func (n *Node) Snapshot() telemetry.Snapshot {
	s := telemetry.Snapshot{
		Taken: time.Now(), Started: n.started, Build: telemetry.BuildInfo(),
		Node: telemetry.Node{Name: n.cfg.Node.Name, Index: n.index, Owner: n.owner,
			Registered: n.known, Wanted: n.cfg.Node.Serving, Key: ledger.KeyOf(n.id.Transport).String(),
			Network: n.network.String(), ChainID: n.id.Genesis.ChainID},
		Kernels: kernels(),
	}
	if n.chain == nil {
		return s
	}
	view := n.chain.View()
	n.fillPlace(&s.Node, view)
	engine := n.engine.Status()
	n.fillChain(&s, view, &engine)
	n.fillEpoch(&s, view)
	n.fillRules(&s.Rules, view)
	n.fillRotation(&s, view)
	n.fillDuty(&s, view)
	if n.pipeline != nil {
		s.Pipeline, s.Certify = n.pipeline.Stats(), n.outbox.Stats()
		s.Node.Serving, s.ShuttingDown = true, n.stopping.Load()
		n.fillCosign(&s.Cosign)
		n.fillCredit(&s.Credit, view)
	}
	n.fillContent(&s.Content)
	n.fillCompute(&s.Compute)
	s.Recent = n.history.Recent(s.Taken, countersOf(view, &s.Pipeline, &s.Certify))
	n.fillProving(&s.Proving, view.Epoch())
	n.fillCommittee(&s, view, &engine)
	n.fillSigner(&s.Signer)
	s.JudgeMembers()
	n.fillStore(&s)
	return s
}

// fillCredit says what payers can still pay for.
func (n *Node) fillCredit(c *telemetry.Credit, view *ledger.View) {
	told := make(map[uint32]bool)
	list := n.pipeline.Credits()
	for i := range list {
		x := &list[i]
		if !told[x.Payer] { // the exposure is that of all epochs
			told[x.Payer] = true
			c.Exposure += x.Exposure
		}
		if x.Epoch == view.Epoch() && x.Left == 0 && x.Refused() > 0 {
			c.Short++
		}
	}
	c.Payers = list[:min(len(list), telemetry.MaxPayers)]
	for epoch := view.NextToSettle(); epoch <= view.Epoch(); epoch++ {
		for _, row := range view.Credits(epoch) {
			if row.Node == n.index {
				c.Arrears += row.Allowed - row.Paid
				c.Above += row.Charge - row.Allowed
			}
		}
	}
}

// fillPlace says what the ledger knows of the node by now.
func (n *Node) fillPlace(t *telemetry.Node, view *ledger.View) {
	if n.known {
		return
	}
	if now, ok := view.NodeByKey(ledger.KeyOf(n.id.Transport)); ok {
		t.Index, t.Owner, t.Registered, t.Late = now.Index, now.Owner, true, true
	}
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
		case code == rollup.CodeAccepted || code == rollup.CodeOnAccount:
			c.Accepted += n
		case !code.OK():
			c.Refused += n
		}
	}
	return c
}

func (n *Node) fillChain(s *telemetry.Snapshot, view *ledger.View, engine *committee.Status) {
	executed, earned, rewarded := n.chain.stats()
	s.Chain = telemetry.Chain{
		Height: engine.Height, BlockTime: engine.Time, Executed: executed,
		AppHash: view.AppHash().String(), Peers: engine.Peers,
		Network:    engine.Network,
		Validators: len(view.Committee().Members), Validator: engine.Member >= 0,
		CatchingUp: engine.CatchingUp,
		Mempool:    engine.Mempool, Skew: engine.Clock.Skew.Seconds(), SkewAt: engine.Clock.At,
	}
	s.Chain.Unsigned, s.Chain.Certified = view.Records()
	if engine.Snapshotless != nil {
		s.Chain.Snapshotless = engine.Snapshotless.Error()
	}
	if engine.Err != nil {
		s.Chain.Failure = engine.Err.Error()
	}
	s.Transactions = n.chain.transactions()
	s.Node.Earned, s.Node.Rewarded = earned, rewarded
	if account, ok := view.Account(n.owner); ok && n.known {
		s.Node.Balance = account.Balance
	}
}

// fillDuty says what this node did as a member in the running epoch.
func (n *Node) fillDuty(s *telemetry.Snapshot, view *ledger.View) {
	if !s.Node.Registered {
		return
	}
	standing, stands := view.Standing(s.Node.Index)
	if !stands {
		return
	}
	s.Duty = &telemetry.Duty{Absences: len(standing.Absences)}
	for _, d := range view.Duties(view.Epoch()) {
		if d.Node == s.Node.Index {
			s.Duty.Blocks, s.Duty.Points, s.Duty.Possible = d.Blocks, d.Points, d.Possible
		}
	}
}

func (n *Node) fillEpoch(s *telemetry.Snapshot, view *ledger.View) {
	s.Epoch = telemetry.Epoch{Number: view.Epoch(), Start: view.EpochStart(), End: view.EpochEnd(),
		NextToSettle: view.NextToSettle(),
		Clients:      int(view.Clients()), Services: view.Services(), Nodes: view.Nodes()}
	for epoch := int64(view.NextToSettle()) - 1; epoch >= 0 && len(s.Settlements) < 8; epoch-- {
		settled, ok := view.Settlement(uint32(epoch))
		if !ok {
			break
		}
		t := telemetry.Settlement{Epoch: settled.Epoch, Root: settled.Root.String(),
			Rows: len(settled.Rows), Certified: view.Certified(settled.Height)}
		t.At, _ = n.engine.BlockTime(int64(settled.Height))
		charged, allowed, paid := settled.Totals()
		t.Paid, t.Arrears, t.Above = paid, allowed-paid, charged-allowed
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

// fillRules says by which rules blocks are executed, and which come.
func (n *Node) fillRules(r *telemetry.Rules, view *ledger.View) {
	r.Version, r.Known, r.Plans = view.Version(), view.KnownVersion(), view.Plans()
	next, planned := view.Upgrade()
	if !planned {
		return
	}
	epochs := time.Duration(next.Epoch - view.Epoch() - 1)
	length := time.Duration(view.Params().EpochSeconds) * time.Second
	r.Next = &telemetry.Upgrade{Version: next.Version, Epoch: next.Epoch, Name: next.Name,
		At: view.EpochEnd().Add(min(epochs*length, maxAhead))}
}

// maxAhead bounds how far ahead an epoch is told of as a time.
const maxAhead = 100 * 365 * 24 * time.Hour

func (n *Node) fillCosign(s *telemetry.Cosign) {
	if n.sessions == nil {
		return
	}
	stats := n.sessions.Stats()
	s.On, s.Sessions, s.Offers, s.Asked = true, stats.Following, stats.Offers, stats.Asked
	s.Signed, s.Silent, s.Late, s.Garbage = stats.Signed, stats.Silent, stats.Late, stats.Garbage
	for _, reason := range cosign.Reasons() {
		count := status.Count{Name: reason.String(), Count: stats.Refused[reason]}
		s.Refusals = append(s.Refusals, count)
	}
}

// fillCommittee says what is known of each member; what the engine knows is by position.
func (n *Node) fillCommittee(s *telemetry.Snapshot, view *ledger.View, e *committee.Status) {
	for i, m := range view.Committee().Members {
		t := telemetry.Member{Power: m.Power, Self: n.known && m.Node == n.index,
			Convictions: len(view.Convictions(m.Node))}
		t.Node = m.Node
		if i < len(e.Votes) {
			v := e.Votes[i]
			t.Voted, t.VotedAt, t.Missed, t.Silent = v.Height, v.At, v.Missed, v.Silent.Seconds()
		}
		if i < len(e.Doubles) {
			t.Doubles, t.DoubledAt = e.Doubles[i].Count, e.Doubles[i].At
		}
		if registered, ok := view.Node(m.Node); ok {
			t.Address = registered.PeerAddress
		}
		for _, pushed := range s.Certify.Members {
			if pushed.Node == m.Node {
				t.Member = pushed
			}
		}
		s.Committee = append(s.Committee, t)
	}
	if n.member == nil {
		return
	}
	stats := n.member.Stats()
	s.Member.Signed = stats.Signed
	for _, reason := range peer.Reasons() {
		count := status.Count{Name: reason.String(), Count: stats.Refused[reason]}
		s.Member.Refusals = append(s.Member.Refusals, count)
	}
	if n.puller != nil {
		s.Member.Pulls = n.puller.Stats()
	}
}

func (n *Node) fillStore(s *telemetry.Snapshot) {
	s.Alarms = n.alarms.list()
	s.Store = telemetry.Store{Path: n.cfg.Path(n.cfg.Store.Path),
		MinFree: uint64(n.cfg.Store.MinFree)}
	used, err := n.usage.get(n.store)
	s.Store.Bytes, s.Store.Free = used.Store, used.Free
	if err != nil {
		s.Store.Failure = err.Error()
	}
	if err := n.store.Err(); err != nil {
		s.Store.Failure = err.Error()
	}
}

// fillProving says what the node has for proofs.
func (n *Node) fillProving(s *telemetry.Proving, epoch uint32) {
	s.Development = n.id.Genesis.Params.Proofs.Development
	s.Keys = n.keys.current(epoch)
	if n.prover != nil {
		s.On, s.Wait, s.Prover = true, n.cfg.Proofs.Wait.Seconds(), n.prover.snapshot()
	}
}
