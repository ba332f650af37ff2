package health

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// The verdict rule of docs/rotation.md.
const (
	Timeout    = 5 * time.Second // of one probe
	MaxMedian  = 2 * time.Second
	MaxLag     = 20 // blocks
	MaxLagTime = 30 * time.Second
)

// askedAtOnce bounds the probes that are under way.
const askedAtOnce = 64

// ErrNoReceipts says that the receipts which an audit asks for are not there.
var ErrNoReceipts = errors.New("health: no receipts of an audited report")

// Config is what a Prober works with. All of it but Visit is required.
type Config struct {
	Chain Chain
	Self  uint32
	Key   ed25519.PrivateKey // the node's, which its peers know it by
	// Ask sends an encoded probe to a node, over a connection of its own when it is fresh, and
	// returns what was answered.
	Ask func(ctx context.Context, node uint32, probe []byte, fresh bool) ([]byte, error)
	// Visit asks nodes for content, as ordinary clients do, and begins to over so long a time. It
	// returns what came of it for those that it asked (package visit). Nil: nobody does.
	Visit  func(ctx context.Context, nodes []uint32, over time.Duration) map[uint32]Visited
	Store  *store.Store // receipts are kept there until their audit is over
	Logger *slog.Logger
}

// Prober probes the candidates of an epoch, so often and at such times that a node which is there
// half of the time does not pass. It implements duty.Health, and is safe for concurrent use.
type Prober struct {
	cfg  Config
	keep keep

	mu    sync.Mutex
	found *Found // of the epoch that was begun last
}

// NewProber returns a prober; Begin makes it work.
func NewProber(c Config) *Prober { return &Prober{cfg: c, keep: keep{c.Store.KV("health")}} }

// Found is what a member found of the candidates of an epoch. It must not be changed.
type Found struct {
	Epoch     uint32
	Done      bool     // the rest is there
	Unhealthy []uint32 // candidates, by position among them, ascending
	Receipts  rollup.Hash
	// Measured has the candidates that were probed since the process began, ascending by node.
	Measured []Measured
}

// Measured is what came of the probes of a candidate.
type Measured struct {
	Node     uint32
	Asked    int
	Answered int           // rightly
	Median   time.Duration // of those
	Healthy  bool
	Why      string   // the last failure, for people; empty when there was none
	Visited  *Visited // nil when no client of this node's was there
}

// Visited is what came of visits to a node: probes that nobody can tell from what clients do.
type Visited struct {
	Asked   int
	Served  int // rightly
	Refused int // for a reason that says nothing bad of the node
	Failed  int
	Median  time.Duration // until the first bytes came, of those served
	// Unfit says that more of them failed than may. Such a node is not healthy, whatever it answered
	// to probes; one that is not unfit has still to answer those.
	Unfit bool
	Why   string // the last failure, for people
}

// Found returns what was found in the epoch that was begun last.
func (p *Prober) Found() (Found, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found == nil {
		return Found{}, false
	}
	return *p.found, true
}

// Begin implements duty.Health. An epoch that was probed to the end before the process was stopped
// is not probed again: its receipts are those that the report names.
func (p *Prober) Begin(
	ctx context.Context, epoch uint32, candidates []rotation.Candidate, until time.Time,
) {
	p.mu.Lock()
	p.found = &Found{Epoch: epoch}
	p.mu.Unlock()
	go p.run(ctx, epoch, candidates, until)
}

// Verdicts implements duty.Health.
func (p *Prober) Verdicts(epoch uint32) (unhealthy []uint32, receipts rollup.Hash, ok bool) {
	f, ok := p.Found()
	return f.Unhealthy, f.Receipts, ok && f.Done && f.Epoch == epoch
}

// Show implements duty.Health.
func (p *Prober) Show(epoch uint32, asked []rotation.Asked) ([]rotation.Shown, error) {
	if len(asked) == 0 {
		return nil, nil
	}
	receipts, err := p.keep.receipts(epoch)
	if err != nil {
		return nil, err
	}
	var all []rotation.Shown
	for _, a := range asked {
		shown, ok := receipts.Show(epoch, a)
		if !ok {
			return nil, fmt.Errorf("%w: epoch %d, node %d", ErrNoReceipts, epoch, a.Candidate)
		}
		all = append(all, *shown)
	}
	return all, nil
}

func (p *Prober) run(
	ctx context.Context, epoch uint32, candidates []rotation.Candidate, until time.Time,
) {
	f, err := p.probed(ctx, epoch, candidates, until)
	if err != nil {
		if ctx.Err() == nil {
			p.cfg.Logger.Warn("candidates could not be probed: this node does not report", "epoch",
				epoch, "err", err)
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found.Epoch == epoch {
		p.found = f
	}
}

func (p *Prober) probed(ctx context.Context, epoch uint32, candidates []rotation.Candidate,
	until time.Time) (*Found, error) {
	unhealthy, done, err := p.keep.verdicts(epoch)
	if err != nil {
		return nil, err
	}
	f := &Found{Epoch: epoch, Done: true, Unhealthy: unhealthy}
	var receipts *rotation.Receipts
	if done {
		receipts, err = p.keep.receipts(epoch)
	} else {
		receipts, err = p.probe(ctx, f, candidates, until)
	}
	if err != nil {
		return nil, err
	}
	f.Receipts = receipts.Root()
	if !done {
		p.cfg.Logger.Info("candidates were probed", "epoch", epoch, "candidates", len(candidates),
			"unhealthy", len(f.Unhealthy))
	}
	return f, nil
}

// probe probes those candidates that this member has a say on, and keeps what they signed.
func (p *Prober) probe(ctx context.Context, f *Found, candidates []rotation.Candidate,
	until time.Time) (*rotation.Receipts, error) {
	view := p.cfg.Chain.View()
	reports, ok := reportsOf(view, f.Epoch)
	position, member := view.Elected().Position(p.cfg.Self)
	if !ok || !member {
		return nil, fmt.Errorf("%w: epoch %d", ErrNotNow, f.Epoch)
	}
	var list []*candidate
	for i, c := range candidates {
		if node, known := view.Node(c.Node); known && reports.Say(position, i) {
			list = append(list, &candidate{position: i, node: node})
		}
	}
	visits := p.visit(ctx, list, until)
	if err := p.askAll(ctx, &reports, list, until); err != nil {
		return nil, err
	}
	var visited map[uint32]Visited
	select {
	case visited = <-visits:
	case <-time.After(time.Until(until) * 3 / 4): // they do not end, and the report has to come
		p.cfg.Logger.Info("visits to nodes took too long, and count for nothing", "epoch", f.Epoch)
	}
	// A height that this node has not reached may be made up, and its audit would fail.
	height := uint64(p.cfg.Chain.View().Height())
	receipts := new(rotation.Receipts)
	for _, c := range list {
		m := c.verdict(height)
		if v, was := visited[m.Node]; was {
			m.Visited, m.Healthy = &v, m.Healthy && !v.Unfit
		}
		f.Measured = append(f.Measured, m)
		if !m.Healthy {
			f.Unhealthy = append(f.Unhealthy, uint32(c.position))
			continue
		}
		if err := receipts.Add(c.node.Index, c.receipts()); err != nil {
			return nil, err
		}
	}
	audited, _ := p.cfg.Chain.View().Audit(p.cfg.Self)
	return receipts, p.keep.put(f.Epoch, audited, f.Unhealthy, receipts)
}

// visit begins to ask all but this node for content, and returns where what came of it comes.
func (p *Prober) visit(ctx context.Context, list []*candidate, until time.Time,
) <-chan map[uint32]Visited {
	visits := make(chan map[uint32]Visited, 1)
	if p.cfg.Visit == nil {
		close(visits)
		return visits
	}
	var nodes []uint32
	for _, c := range list {
		if c.node.Index != p.cfg.Self {
			nodes = append(nodes, c.node.Index)
		}
	}
	left := max(time.Until(until), 0)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, left*9/10)
		defer cancel()
		visits <- p.cfg.Visit(ctx, nodes, left*7/10)
	}()
	return visits
}

// reportsOf returns what the reports of an epoch are about.
func reportsOf(view *ledger.View, epoch uint32) (ledger.ReportsView, bool) {
	all := view.Reports()
	i := slices.IndexFunc(all, func(r ledger.ReportsView) bool { return r.Epoch == epoch })
	if i < 0 {
		return ledger.ReportsView{}, false
	}
	return all[i], true
}

// candidate is one that is probed.
type candidate struct {
	position int
	node     ledger.Node

	mu       sync.Mutex
	asked    int
	answered []answer
	why      string
}

type answer struct {
	receipt *rotation.Receipt
	took    time.Duration
}

// verdict holds the rule against the answers.
func (c *candidate) verdict(height uint64) Measured {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = slices.DeleteFunc(c.answered, func(a answer) bool {
		ahead := a.receipt.Height > height
		if ahead {
			c.why = fmt.Sprintf("it has block %d, which nobody has", a.receipt.Height)
		}
		return ahead
	})
	slices.SortFunc(c.answered, func(a, b answer) int { return cmp.Compare(a.took, b.took) })
	m := Measured{Node: c.node.Index, Asked: c.asked, Answered: len(c.answered), Why: c.why}
	if m.Answered > 0 {
		m.Median = c.answered[m.Answered/2].took
	}
	m.Healthy = m.Answered >= rotation.Answers && m.Median <= MaxMedian
	return m
}

// receipts returns those that a healthy candidate's leaf holds: of the fastest answers.
func (c *candidate) receipts() (list []*rotation.Receipt) {
	for _, a := range c.answered[:rotation.Answers] {
		list = append(list, a.receipt)
	}
	return list
}

// askAll asks each candidate Tries times, once in each of as many parts of the time, at moments
// that nobody knows before.
func (p *Prober) askAll(ctx context.Context, about *ledger.ReportsView, list []*candidate,
	until time.Time) error {
	left := max(time.Until(until), 0)
	ctx, cancel := context.WithTimeout(ctx, left*9/10) // the rest is for the report
	defer cancel()
	part := left * 7 / 10 / rotation.Tries
	heights := newHeights(p.cfg.Chain)
	slots := make(chan struct{}, askedAtOnce)
	var asking sync.WaitGroup
	defer asking.Wait()
	begin := time.Now()
	for try := range rotation.Tries {
		for _, next := range schedule(len(list), part) {
			at := begin.Add(time.Duration(try)*part + next.after)
			if !heights.sleep(ctx, time.Until(at)) {
				return context.Cause(ctx)
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			asking.Go(func() {
				defer func() { <-slots }()
				p.ask(ctx, about, list[next.who], heights, try%2 == 0)
			})
		}
	}
	return nil
}

// turn is when somebody is asked.
type turn struct {
	who   int
	after time.Duration
}

// schedule spreads n turns at random over a time, in their order.
func schedule(n int, over time.Duration) []turn {
	turns := make([]turn, n)
	for i := range turns {
		turns[i] = turn{i, time.Duration(mathrand.Int64N(int64(over) + 1))}
	}
	slices.SortFunc(turns, func(a, b turn) int { return cmp.Compare(a.after, b.after) })
	return turns
}

// ask probes a candidate once.
func (p *Prober) ask(ctx context.Context, about *ledger.ReportsView, c *candidate,
	heights *heights, fresh bool) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	probe := &rotation.Probe{Network: p.cfg.Chain.View().Network(), Epoch: about.Epoch,
		Candidate: c.node.Index, Prober: p.cfg.Self}
	_, _ = rand.Read(probe.Nonce[:]) // it never fails
	begin := time.Now()
	encoded, err := p.answerOf(ctx, probe, fresh)
	took := time.Since(begin)
	var receipt *rotation.Receipt
	if err == nil {
		receipt, err = p.check(about, c, heights, probe, encoded)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if err != nil {
		c.why = err.Error()
		return
	}
	c.answered = append(c.answered, answer{receipt, took})
}

// answerOf asks a node, which may be this one.
func (p *Prober) answerOf(ctx context.Context, probe *rotation.Probe, fresh bool) ([]byte, error) {
	if probe.Candidate != p.cfg.Self {
		return p.cfg.Ask(ctx, probe.Candidate, probe.Append(nil), fresh)
	}
	view := p.cfg.Chain.View()
	digest, now := view.ProbeDigest(probe.Epoch, &probe.Nonce)
	if !now {
		return nil, fmt.Errorf("%w: epoch %d", ErrNotNow, probe.Epoch)
	}
	r := sign(p.cfg.Key, probe, uint64(view.Height()), digest)
	return r.Append(nil)[len(r.Nonce):], nil
}

// Why an answer does not count.
var (
	ErrAnswer = errors.New("health: a wrong answer to a probe")
	ErrBehind = errors.New("health: the candidate is behind the chain")
)

// check returns the receipt that an answer is.
func (p *Prober) check(about *ledger.ReportsView, c *candidate, heights *heights,
	probe *rotation.Probe, encoded []byte) (*rotation.Receipt, error) {
	r, err := rotation.ParseReceipt(append(probe.Nonce[:], encoded...))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	digest, now := p.cfg.Chain.View().ProbeDigest(probe.Epoch, &probe.Nonce)
	key := c.node.TransportKey
	switch {
	case !now:
		return nil, fmt.Errorf("%w: epoch %d", ErrNotNow, probe.Epoch)
	case r.Digest != digest:
		return nil, fmt.Errorf("%w: it has other clients", ErrAnswer)
	case !ed25519.Verify(key.Public(), r.Message(probe), r.Signature[:]):
		return nil, fmt.Errorf("%w: its signature does not verify", ErrAnswer)
	case r.Height < uint64(about.Began) || !heights.near(r.Height):
		return nil, fmt.Errorf("%w: it has block %d", ErrBehind, r.Height)
	}
	return r, nil
}

// heights remembers how far the chain was a while ago. It is safe for concurrent use.
type heights struct {
	chain Chain
	mu    sync.Mutex
	seen  []seen // a second apart
}

type seen struct {
	at     time.Time
	height int64
}

func newHeights(chain Chain) *heights {
	h := &heights{chain: chain}
	h.look()
	return h
}

func (h *heights) look() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.seen = append(h.seen, seen{now, h.chain.View().Height()})
	for len(h.seen) > 1 && now.Sub(h.seen[1].at) >= MaxLagTime {
		h.seen = h.seen[1:]
	}
}

// near reports whether the chain was no further when this node began to look, or MaxLagTime ago, or
// is no further than MaxLag blocks.
func (h *heights) near(height uint64) bool {
	h.look()
	h.mu.Lock()
	defer h.mu.Unlock()
	return height+MaxLag >= uint64(h.seen[len(h.seen)-1].height) ||
		height >= uint64(h.seen[0].height)
}

// sleep waits, and looks each second; false when the context ended.
func (h *heights) sleep(ctx context.Context, d time.Duration) bool {
	for d > 0 {
		step := min(d, time.Second)
		select {
		case <-time.After(step):
		case <-ctx.Done():
			return false
		}
		d -= step
		h.look()
	}
	return ctx.Err() == nil
}
