//go:build linux

package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/netns"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/node/telemetry"
)

// Ten nodes share nine seats, so that some always have none, and exactly a third can be cut off.
const (
	faultNodes = 10
	faultSeats = 9
)

// faults are a network whose committee rotates, and what is done to the wires between its nodes.
type faults struct {
	*Network
	t    *testing.T
	ctx  context.Context
	rng  *rand.Rand
	took map[string][]time.Duration
}

// view is how a node sees the chain.
type view struct {
	Chain struct {
		Height int64 `json:"height"`
	} `json:"chain"`
	Rotation *telemetry.Rotation `json:"rotation"`
}

// power returns how many seats nodes have together, in the last term and in the next.
func (v *view) power(nodes ...uint32) (now, next int) {
	for _, seat := range v.Rotation.Sits {
		holder := seat.Holder
		if holder != nil && slices.Contains(nodes, *holder) {
			now++
		}
		if seat.Moves {
			holder = seat.To
		}
		if holder != nil && slices.Contains(nodes, *holder) {
			next++
		}
	}
	return now, next
}

// newcomers returns who gets seats and has none.
func (v *view) newcomers() (nodes []uint32) {
	for node := range uint32(faultNodes) {
		if now, next := v.power(node); now == 0 && next > 0 {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

func (f *faults) view(i int) (*view, error) {
	r, err := http.Get(f.Nodes[i].Operator + "/api/snapshot")
	if err != nil {
		return nil, errors.Join(errNotYet, err)
	}
	defer r.Body.Close()
	v := new(view)
	if err := json.NewDecoder(r.Body).Decode(v); err != nil || v.Rotation == nil {
		return nil, errors.Join(errNotYet, err)
	}
	return v, nil
}

// awaitView waits until a node sees something.
func (f *faults) awaitView(i int, what string, ok func(*view) bool) (v *view) {
	f.t.Helper()
	if err := f.await(f.ctx, fmt.Sprintf("%s on node %d", what, i), func() (_ bool, err error) {
		v, err = f.view(i)
		return err == nil && ok(v), err
	}); err != nil {
		f.t.Fatal(err)
	}
	return v
}

// certified waits until the next hand-over is certified: it happens when the epoch ends.
func (f *faults) certified() *view {
	f.t.Helper()
	return f.awaitView(0, "a certified hand-over",
		func(v *view) bool { return v.Rotation.Phase == "certified" })
}

// over waits until a node has the block with a hand-over that was certified in a view, and returns
// the view of then.
func (f *faults) over(i int, certified *view) *view {
	f.t.Helper()
	return f.awaitView(i, "the hand-over",
		func(v *view) bool { return v.Rotation.Epoch != certified.Rotation.Epoch })
}

func (f *faults) height(i int, least int64) *view {
	f.t.Helper()
	return f.awaitView(i, fmt.Sprintf("block %d", least),
		func(v *view) bool { return v.Chain.Height >= least })
}

// inStep heals the wires, and waits until nodes have what node 0 had then.
func (f *faults) inStep(what string, nodes []uint32) {
	f.t.Helper()
	top := f.awaitView(0, "a view", func(*view) bool { return true }).Chain.Height
	f.wires.heal()
	healed := time.Now()
	for _, i := range nodes {
		at := f.height(int(i), top).Chain.Height
		f.note(what+": back in step", healed)
		f.t.Logf("  node %d has block %d after %v", i, at, time.Since(healed).Round(time.Millisecond))
	}
}

// stops waits until no node has had a new block for three seconds, and heals the wires; then until
// the chain goes on.
func (f *faults) stops(what string) {
	f.t.Helper()
	var top int64
	since := time.Now()
	if err := f.await(f.ctx, "the chain to stop", func() (bool, error) {
		for i := range f.Nodes {
			if v, err := f.view(i); err == nil && v.Chain.Height > top {
				top, since = v.Chain.Height, time.Now()
			}
		}
		return time.Since(since) > 3*time.Second, nil
	}); err != nil {
		f.t.Fatal(err)
	}
	f.wires.heal()
	healed := time.Now()
	f.height(0, top+1)
	f.note(what+": goes on", healed)
	for i := range f.Nodes {
		f.height(i, top+1)
	}
	f.note(what+": all go on", healed)
}

func (f *faults) note(what string, since time.Time) {
	f.took[what] = append(f.took[what], time.Since(since))
}

// pick returns nodes at random, none of which takes acks, whose seats fit.
func (f *faults) pick(v *view, fit func(now, next int) bool) []uint32 {
	f.t.Helper()
	for range 10_000 {
		all := f.rng.Perm(faultNodes - Serving)
		var some []uint32
		for _, i := range all[:1+f.rng.IntN(len(all)-1)] {
			some = append(some, uint32(i+Serving))
		}
		if fit(v.power(some...)) {
			slices.Sort(some)
			return some
		}
	}
	f.t.Fatal("no nodes have as many seats as they should")
	return nil
}

// partition cuts a minority off before the block of a hand-over, until the others have passed it.
func (f *faults) partition() { f.cutFew(f.certified()) }

func (f *faults) cutFew(v *view) {
	minority := f.pick(v, func(now, next int) bool {
		return now > 0 && 3*now < faultSeats && 3*next < faultSeats
	})
	f.wires.part(minority...)
	h := f.over(0, v).Chain.Height
	f.height(0, h+5)
	f.t.Logf("nodes %v were cut off when block %d handed over", minority, h)
	f.inStep("a minority", minority)
}

// halves parts the nodes right behind the block of a hand-over, so that neither side has a quorum.
func (f *faults) halves() {
	v := f.certified()
	side := f.pick(v, func(now, next int) bool {
		return 3*min(now, next) >= faultSeats && 3*max(now, next) < 2*faultSeats
	})
	h := f.over(0, v).Chain.Height
	f.wires.part(side...)
	f.t.Logf("nodes %v were parted from the others behind block %d", side, h)
	f.stops("two halves")
}

// third cuts exactly a third of the power off, each of them alone.
func (f *faults) third() {
	v := f.awaitView(0, "an epoch", func(v *view) bool { return v.Rotation.Phase == "reports" })
	some := f.pick(v, func(now, next int) bool { return 3*now == faultSeats && now == next })
	f.wires.isolate(some...)
	f.t.Logf("nodes %v, a third, were cut off at block %d", some, v.Chain.Height)
	f.stops("a third")
}

// allNew waits for a term that has new members, and cuts them off.
func (f *faults) allNew() {
	for {
		v := f.certified()
		if v.seatsNew() {
			f.cutNew(v)
			return
		}
		f.over(0, v)
	}
}

// next takes the next hand-over for what it is good for.
func (f *faults) next() {
	if v := f.certified(); v.seatsNew() {
		f.cutNew(v)
	} else {
		f.cutFew(v)
	}
}

// seatsNew says whether there are new members, none of which takes acks.
func (v *view) seatsNew() bool {
	some := v.newcomers()
	return len(some) > 0 && some[0] >= Serving
}

// cutNew cuts all new members off when they have the block that seats them. The chain goes on.
func (f *faults) cutNew(v *view) {
	some := v.newcomers()
	var h int64
	for _, i := range some {
		h = max(h, f.over(int(i), v).Chain.Height)
	}
	f.wires.isolate(some...)
	f.height(0, h+10)
	f.t.Logf("nodes %v, new in their seats, were cut off at block %d", some, h)
	f.inStep("new members", some)
}

// slow makes every wire slow and lossy through a hand-over.
func (f *faults) slow() {
	f.wires.bad(150*time.Millisecond, 0.05)
	bad := time.Now()
	f.over(0, f.certified())
	f.note("300 ms and 5 % loss: a hand-over", bad)
	f.wires.heal()
}

// away cuts one member off until a hand-over and many blocks have passed.
func (f *faults) away() {
	v := f.awaitView(0, "a view", func(*view) bool { return true })
	some := f.pick(v, func(now, _ int) bool { return now > 0 && 3*now < faultSeats })[:1]
	f.wires.isolate(some...)
	cut := time.Now()
	f.over(0, f.certified())
	f.height(0, v.Chain.Height+100)
	f.t.Logf("node %d was cut off for %v", some[0], time.Since(cut).Round(time.Second))
	f.inStep("a member, away for long", some)
}

// clone starts a member's home elsewhere, as a copy and as what a backup gives, while it runs.
func (f *faults) clone() {
	const member = Serving
	there := faultNodes // a host of its own
	home := f.Nodes[member].Home
	copied := filepath.Join(f.Dir, fmt.Sprintf("clone%d", time.Now().UnixNano()))
	out, err := f.wires.at(f.ctx, there, "cp", "-a", home, copied)
	if err != nil {
		f.t.Fatalf("%v: %s", err, out)
	}
	f.rehome(copied, member)
	out, err = f.wires.at(f.ctx, there, Binary(f.t), "start", "--home", copied)
	if err == nil || !strings.Contains(out, "waybill restore --home") {
		f.t.Errorf("a copy of a home that runs elsewhere: %v: %s", err, out)
	}
	archive, restored := copied+".wbk", copied+"-restored"
	f.waybill(f.ctx, f.t, "backup", "--home", home, "--keys", archive)
	f.waybill(f.ctx, f.t, "restore", archive, "--home", restored)
	f.rehome(restored, member)
	started := time.Now()
	out, err = f.wires.at(f.ctx, there, Binary(f.t), "start", "--home", restored)
	if err == nil || !strings.Contains(out, "another process votes") {
		f.t.Errorf("a backup of a home that runs, elsewhere: %v: %s", err, out)
	}
	f.note("a clone: it ends", started)
}

// rehome has a copy of a home listen where it is.
func (f *faults) rehome(home string, member int) {
	f.t.Helper()
	file := filepath.Join(home, "config.toml")
	b, err := os.ReadFile(file)
	if err != nil {
		f.t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), f.wires.host(member)+":", f.wires.host(faultNodes)+":")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// TestFaults has a committee rotate while wires between its members fail, in network namespaces:
// one history comes of it, no ack is lost or paid twice, and every hand-over verifies from the
// genesis file alone. How long things take is reported, and not demanded.
func TestFaults(t *testing.T) {
	quick := os.Getenv("FAULTS") == "quick"
	if os.Getenv("FAULTS") == "" {
		t.Skip("make faults runs it")
	}
	netns.Need(t)
	ctx := deadline(t, 10*time.Minute, 8*time.Minute)
	seed := number(t, "CRASH_SEED", uint64(time.Now().UnixNano())%1_000_000)
	t.Logf("CRASH_SEED=%d, %d rounds", seed, rounds(t))
	w := newWires(t, faultNodes+1, seed) // one more, for a clone
	o := homes.Options{Nodes: faultNodes, Seats: faultSeats, HostOf: w.host,
		BasePort: basePort, EpochSeconds: 24, GraceSeconds: 40, GraceBlocks: 20,
		Configure: func(_ int, c *config.Config) {
			c.Pipeline.WindowAge, c.Pipeline.Tail = 4*time.Second, time.Second
			c.Pipeline.CosignWait, c.Store.Retention = 5*time.Second, 0
		}}
	if quick {
		o.EpochSeconds, o.GraceSeconds = 8, 8
	}
	began := time.Now()
	f := &faults{start(ctx, t, o, w), t, ctx, rand.New(rand.NewPCG(seed, 2)),
		map[string][]time.Duration{}}
	p, err := f.Register(ctx, 0, 24)
	if err != nil {
		t.Fatal(err)
	}
	before, err := f.Balances(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	load, err := f.Load(ctx, p, 2, 8, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	steps := []func(){f.partition, f.third, f.allNew, f.halves, f.clone, f.slow, f.away}
	if quick {
		steps = []func(){f.next, f.third}
	}
	for range rounds(t) {
		for _, step := range steps {
			step()
		}
		if err := f.progress(ctx, load); err != nil {
			t.Fatal(err)
		}
	}
	if err := load.Stop(); err != nil {
		t.Fatal(err)
	}
	audit, err := f.Audit(ctx, p, load.Books, before)
	if err := errors.Join(err, load.Close()); err != nil {
		t.Fatal(err)
	}
	f.honest(ctx)
	term := f.handOvers(ctx)
	f.Stop(ctx, t)
	chain, err := f.AuditChains(audit)
	if err != nil {
		t.Fatal(err)
	}
	carried, dropped := w.counts()
	t.Logf("%d hand-overs, %d blocks of one history on %d nodes; %d acks in %d rollups, each paid "+
		"once; %d settlements; %d packets, %d of them lost; %v", term, len(chain), faultNodes,
		len(audit.Ordered), audit.Rollups, len(audit.Rows), carried, dropped,
		time.Since(began).Round(time.Second))
	for _, what := range slices.Sorted(maps.Keys(f.took)) {
		list := slices.Sorted(slices.Values(f.took[what]))
		t.Logf("%-45s %3d times, median %v, at most %v", what, len(list),
			list[len(list)/2].Round(time.Millisecond), list[len(list)-1].Round(time.Millisecond))
	}
}

// honest demands that nobody is convicted: nobody lied.
func (f *faults) honest(ctx context.Context) {
	f.t.Helper()
	r, err := client.Call(ctx, f.Clients[0].Ledger().GetNodes, &api.GetNodesRequest{})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, node := range r.Nodes {
		if node.Convictions != 0 {
			f.t.Errorf("node %d is convicted", node.Index)
		}
	}
}

// handOvers has the program verify every hand-over from the genesis file alone, as each node
// exports them, and returns the last term.
func (f *faults) handOvers(ctx context.Context) (last uint32) {
	f.t.Helper()
	for i := range f.Nodes {
		r, err := client.Call(ctx, f.Clients[i].Ledger().ExportTerms, &api.ExportTermsRequest{})
		if err != nil {
			f.t.Fatal(err)
		}
		file := filepath.Join(f.Dir, fmt.Sprintf("terms%d.wbx", i))
		if err := os.WriteFile(file, r.File, 0o600); err != nil {
			f.t.Fatal(err)
		}
		out := f.waybill(ctx, f.t, "verify", "--genesis", filepath.Join(f.Dir, homes.GenesisFile), file)
		trust := f.trust()
		trust.Terms = f.Genesis.Terms()
		if err := verifyTerms(r.File, trust); err != nil {
			f.t.Errorf("node %d: %v", i, err)
		}
		if i == 0 {
			last = trust.Terms.Last()
			f.t.Log(out)
		}
	}
	return last
}
