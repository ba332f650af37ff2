package health

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

const epochSeconds = 3600

// net is a network whose committee rotates, and whose clock the test moves.
type net struct {
	*pipelinetest.Network
	t   *testing.T
	now atomic.Pointer[time.Time]
}

func newNet(t *testing.T, members int) *net {
	t.Helper()
	n := &net{t: t}
	start := time.Now().Truncate(time.Second)
	n.now.Store(&start)
	var err error
	n.Network, err = pipelinetest.New(pipelinetest.Config{Members: members, Clients: 5,
		EpochSeconds: epochSeconds, GraceSeconds: 1, Stake: 100 * ledger.StakePerPower, Start: start,
		Clock: func() time.Time { return *n.now.Load() },
		Rotation: &ledger.Rotation{Seats: 16, TermEpochs: 4, MinStake: ledger.StakePerPower,
			StakeCap: 1 << 40, JailWithhold: 3, SlashWithhold: 100, JailAbsent: 2, EvidenceEpochs: 168,
			EvidenceSeconds: 24 * 60 * 60, EvidenceBlocks: 50_000, Reward: 5_000}})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// advance makes a block that is so much later.
func (n *net) advance(d time.Duration) {
	later := n.now.Load().Add(d)
	n.now.Store(&later)
	n.Block()
}

func (n *net) submit(tx []byte) {
	n.t.Helper()
	if err := n.SubmitTx(context.Background(), tx); err != nil {
		n.t.Fatal(err)
	}
}

func (n *net) rotation() *ledger.RotationView {
	r, _ := n.View().Rotation()
	return r
}

// answerer is that of a member.
func (n *net) answerer(node uint32) *Answerer {
	return &Answerer{Chain: n, Self: node, Key: n.Members[node].Transport}
}

// ask returns what asks the answerers of all members.
func (n *net) ask(prober uint32, answerers []*Answerer) func(context.Context, uint32, []byte, bool,
) ([]byte, error) {
	caller := ledger.KeyOf(n.Members[prober].Transport)
	return func(_ context.Context, node uint32, probe []byte, _ bool) ([]byte, error) {
		return answerers[node].Answer(caller, probe)
	}
}

func openStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (n *net) prober(s *store.Store, node uint32,
	ask func(context.Context, uint32, []byte, bool) ([]byte, error)) *Prober {
	return NewProber(Config{Chain: n, Self: node, Key: n.Members[node].Transport, Ask: ask, Store: s,
		Logger: slog.New(slog.DiscardHandler)})
}

// found runs a prober through half an hour, in a bubble.
func (n *net) found(t *testing.T, p *Prober) (Found, []byte) {
	t.Helper()
	r := n.rotation()
	p.Begin(t.Context(), r.Epoch, r.Candidates, time.Now().Add(epochSeconds/2*time.Second))
	for range epochSeconds / 2 {
		if _, _, done := p.Verdicts(r.Epoch); done {
			break
		}
		time.Sleep(time.Second)
	}
	f, ok := p.Found()
	if !ok || !f.Done {
		t.Fatalf("nothing was found: %+v", f)
	}
	v, err := rotation.NewVerdicts(len(r.Candidates), f.Unhealthy)
	if err != nil {
		t.Fatal(err)
	}
	before, asked := n.View().Audit(p.cfg.Self)
	shown, err := p.Show(before, asked)
	if err != nil {
		t.Fatal(err)
	}
	return f, ledger.NewReport(n.ID, n.Members[p.cfg.Self].BLS, r.Epoch, p.cfg.Self, v, f.Receipts,
		shown)
}

// TestVerdicts: who is there is healthy, and whoever is not, or is not what it says, is not.
func TestVerdicts(t *testing.T) { synctest.Test(t, verdicts) }

func verdicts(t *testing.T) {
	n := newNet(t, 11)
	n.advance(epochSeconds * time.Second)
	n.advance(time.Second)
	answerers := make([]*Answerer, len(n.Members))
	for i := range answerers {
		answerers[i] = n.answerer(uint32(i))
	}
	kept := openStore(t)
	honest := n.ask(0, answerers)
	var asked [11]atomic.Int32
	lie := func(probe []byte, key ed25519.PrivateKey, change func(*rotation.Receipt)) []byte {
		p, err := rotation.ParseProbe(probe)
		if err != nil {
			t.Error(err)
			return nil
		}
		digest, _ := n.View().ProbeDigest(p.Epoch, &p.Nonce)
		r := &rotation.Receipt{Nonce: p.Nonce, Height: uint64(n.View().Height()), Digest: digest}
		change(r)
		r.Signature = rotation.Signature(ed25519.Sign(key, r.Message(p)))
		return r.Append(nil)[32:]
	}
	p := n.prober(kept, 0, func(ctx context.Context, node uint32, probe []byte, fresh bool,
	) ([]byte, error) {
		count, key := asked[node].Add(1), n.Members[node].Transport
		if fresh != (count%2 == 1) {
			t.Errorf("probe %d of node %d is fresh: %v", count, node, fresh)
		}
		switch {
		case node == 2, node == 3 && count%2 == 0, node == 8 && count == 4:
			return nil, errors.New("nobody is there")
		case node == 4:
			time.Sleep(MaxMedian + time.Millisecond)
		case node == 5:
			return lie(probe, key, func(r *rotation.Receipt) { r.Height = 1 }), nil
		case node == 6:
			return lie(probe, key, func(r *rotation.Receipt) {
				r.Digest = rotation.Digest(&r.Nonce, 0, nil)
			}), nil
		case node == 7:
			return lie(probe, n.Members[1].Transport, func(*rotation.Receipt) {}), nil
		case node == 9:
			return lie(probe, key, func(r *rotation.Receipt) { r.Height += 1000 }), nil
		case node == 10:
			<-ctx.Done() // it hangs
			return nil, ctx.Err()
		}
		return honest(ctx, node, probe, fresh)
	})
	f, tx := n.found(t, p)
	if want := []uint32{2, 3, 4, 5, 6, 7, 9, 10}; !slices.Equal(f.Unhealthy, want) {
		t.Errorf("unhealthy: %v, not %v", f.Unhealthy, want)
	}
	for _, m := range f.Measured {
		if m.Asked != rotation.Tries || m.Healthy != !slices.Contains(f.Unhealthy, m.Node) ||
			m.Answered < rotation.Tries && m.Why == "" {
			t.Errorf("%+v", m)
		}
	}
	n.submit(tx)
}

// TestVisits: a node that answers all probes and fails its clients is unhealthy; one that refused
// them for a good reason is not, nor one that was not visited; and visits that never end cost a
// report nothing.
func TestVisits(t *testing.T) { synctest.Test(t, visits) }

func visits(t *testing.T) {
	n := newNet(t, 5)
	n.advance(epochSeconds * time.Second)
	n.advance(time.Second)
	answerers := make([]*Answerer, len(n.Members))
	for i := range answerers {
		answerers[i] = n.answerer(uint32(i))
	}
	of := func(node uint32, visit func(context.Context, []uint32, time.Duration) map[uint32]Visited,
	) (Found, []byte) {
		p := n.prober(openStore(t), node, n.ask(node, answerers))
		p.cfg.Visit = visit
		return n.found(t, p)
	}
	f, tx := of(0, func(_ context.Context, nodes []uint32, over time.Duration) map[uint32]Visited {
		if !slices.Equal(nodes, []uint32{1, 2, 3, 4}) || over < epochSeconds/4*time.Second {
			t.Errorf("%v are visited, within %v", nodes, over)
		}
		return map[uint32]Visited{1: {Asked: 6, Failed: 6, Why: "nobody is there", Unfit: true},
			2: {Asked: 6, Refused: 6}, 3: {Asked: 6, Failed: 1, Served: 5}}
	})
	if !slices.Equal(f.Unhealthy, []uint32{1}) || f.Measured[1].Answered != rotation.Tries ||
		f.Measured[1].Visited.Failed != 6 || f.Measured[4].Visited != nil {
		t.Errorf("%+v", f)
	}
	n.submit(tx)
	slow, other := of(1, func(ctx context.Context, _ []uint32, _ time.Duration) map[uint32]Visited {
		<-ctx.Done()
		time.Sleep(epochSeconds * time.Second)
		return map[uint32]Visited{2: {Unfit: true}}
	})
	if len(slow.Unhealthy) > 0 {
		t.Errorf("%+v", slow)
	}
	n.submit(other)
	for i := range uint32(3) {
		_, tx := of(i+2, nil)
		n.submit(tx)
	}
	n.advance(epochSeconds / 2 * time.Second)
	// One member's word alone, true or not, takes a place among the candidates from nobody.
	if r := n.rotation(); len(r.Candidates) != 5 {
		t.Errorf("%d candidates", len(r.Candidates))
	}
}

// TestReports: what probers find goes through the ledger, audits and all, in an epoch after the
// other; and a member that was started again between them still shows its receipts.
func TestReports(t *testing.T) { synctest.Test(t, reports) }

func reports(t *testing.T) {
	n := newNet(t, 4)
	answerers := make([]*Answerer, len(n.Members))
	stores := make([]*store.Store, len(n.Members))
	for i := range answerers {
		answerers[i], stores[i] = n.answerer(uint32(i)), openStore(t)
	}
	for epoch := range 3 {
		n.advance(n.View().EpochEnd().Sub(*n.now.Load()))
		n.advance(0)
		if r := n.rotation(); r.Phase != ledger.PhaseReports {
			t.Fatalf("epoch %d: %s", epoch, r.Phase)
		}
		var txs [][]byte
		for i := range n.Members {
			_, asked := n.View().Audit(uint32(i))
			if want := rotation.MaxAsked * min(epoch, 1); len(asked) != want {
				t.Errorf("epoch %d: %v is asked for", epoch, asked)
			}
			p := n.prober(stores[i], uint32(i), n.ask(uint32(i), answerers))
			f, tx := n.found(t, p)
			again, _ := n.found(t, n.prober(stores[i], uint32(i), nil)) // asks nobody
			if len(f.Unhealthy) > 0 || again.Receipts != f.Receipts {
				t.Errorf("%+v, and again %+v", f, again)
			}
			txs = append(txs, tx)
		}
		for _, tx := range txs {
			n.submit(tx)
		}
		n.advance(epochSeconds / 2 * time.Second)
		message, ok := n.View().Beacon()
		if !ok {
			t.Fatalf("epoch %d: %s", epoch, n.rotation().Phase)
		}
		for i, m := range n.Members {
			n.submit(ledger.NewReveal(n.ID, m.BLS, n.rotation().Epoch, 0, uint32(i), message))
		}
		n.advance(epochSeconds / 10 * 3 * time.Second)
		term, height, _ := n.View().HandOver()
		snapshot := ledger.Snapshot{Height: height, Bytes: 1}
		over := n.View().HandOverMessage(snapshot)
		signers := n.View().Elected().Signers(0, 1, 2, 3)
		n.submit(ledger.NewHandOver(n.ID, &ledger.HandOver{Term: term,
			Snapshot: snapshot, Signers: signers,
			Signature: n.signed(over)}))
		n.advance(epochSeconds/10*2*time.Second - time.Second) // not the next epoch yet
		n.now.Store(ptr(n.View().EpochStart()))                // from where it is counted
	}
}

func ptr[T any](v T) *T { return &v }

// TestAnswerer: it answers members that ask in their own name, for this epoch, each so often; and
// nobody else.
func TestAnswerer(t *testing.T) {
	n := newNet(t, 4)
	a := n.answerer(1)
	probe := rotation.Probe{Network: n.ID, Candidate: 1, Prober: 2}
	caller := ledger.KeyOf(n.Members[2].Transport)
	if _, err := a.Answer(caller, probe.Append(nil)); !errors.Is(err, ErrNotNow) {
		t.Errorf("before reports are collected: %v", err)
	}
	n.advance(epochSeconds * time.Second)
	probe.Epoch = n.rotation().Epoch
	for name, c := range map[string]struct {
		change func(p *rotation.Probe)
		want   error
	}{
		"another network":   {func(p *rotation.Probe) { p.Network[0]++ }, ErrNotHere},
		"another candidate": {func(p *rotation.Probe) { p.Candidate = 3 }, ErrNotHere},
		"another prober":    {func(p *rotation.Probe) { p.Prober = 3 }, ErrNoProber},
		"no prober":         {func(p *rotation.Probe) { p.Prober = 99 }, ErrNoProber},
		"the last epoch":    {func(p *rotation.Probe) { p.Epoch-- }, ErrNotNow},
	} {
		p := probe
		c.change(&p)
		if _, err := a.Answer(caller, p.Append(nil)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, not %v", name, err, c.want)
		}
	}
	if _, err := a.Answer(caller, nil); !errors.Is(err, rollup.ErrMalformed) {
		t.Errorf("nothing: %v", err)
	}
	for i := range MaxAnswers + 1 {
		answer, err := a.Answer(caller, probe.Append(nil))
		if want := i == MaxAnswers; errors.Is(err, ErrTooMany) != want ||
			!want && len(answer) != rotation.AnswerSize {
			t.Errorf("answer %d: %d bytes, %v", i, len(answer), err)
		}
	}
	probe.Prober = 3
	if _, err := a.Answer(ledger.KeyOf(n.Members[3].Transport), probe.Append(nil)); err != nil {
		t.Errorf("another member: %v", err)
	}
}

// TestKeep: what is kept is what was put, and of the last epoch and the audited one alone.
func TestKeep(t *testing.T) {
	k := keep{openStore(t).KV("health")}
	made := func(epoch uint32) *rotation.Receipts {
		all := new(rotation.Receipts)
		for _, node := range []uint32{0, 7, 1<<32 - 1} {
			var list []*rotation.Receipt
			for i := range rotation.Answers {
				list = append(list, &rotation.Receipt{Height: uint64(epoch), Nonce: rollup.Hash{byte(i)}})
			}
			if err := all.Add(node, list); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	for epoch := range uint32(5) {
		audited := max(epoch, 1) - 1
		if err := k.put(epoch, audited, []uint32{3, 300 + epoch}, made(epoch)); err != nil {
			t.Fatal(err)
		}
		for e := range uint32(6) {
			unhealthy, done, err := k.verdicts(e)
			receipts, err2 := k.receipts(e)
			want := e == epoch || e == audited
			if err != nil || err2 != nil || done != want || (receipts.Len() == 3) != want ||
				want && (receipts.Root() != made(e).Root() || unhealthy[1] != 300+e) {
				t.Errorf("epoch %d of %d: %v, %v, %v, %v", e, epoch, done, unhealthy, err, err2)
			}
		}
	}
	if _, err := (&Prober{keep: k}).Show(4, []rotation.Asked{{Candidate: 8}}); !errors.Is(err,
		ErrNoReceipts) {
		t.Error(fmt.Errorf("a node without receipts: %w", err))
	}
}

// signed returns what all members sign together.
func (n *net) signed(message []byte) ledger.BLSSignature {
	var list []bls.Signature
	for _, m := range n.Members {
		list = append(list, bls.Default.Sign(m.BLS, message))
	}
	sum := bls.AggregateSignatures(list)
	return sum.Bytes()
}
