package committee

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// TestNetwork runs four members over loopback: transactions, an epoch, a certified settlement, a
// member that leaves and returns.
func TestNetwork(t *testing.T) {
	net := newNetwork(t, "network", 4, 3, 1, freeAddresses(t, 4), time.Now().UTC())
	var nodes []*running
	var dirs []string
	for i := range net.members {
		dirs = append(dirs, t.TempDir())
		nodes = append(nodes, net.start(t, i, dirs[i]))
	}
	events := nodes[2].Subscribe()
	submit := func(node int, nonce uint64) {
		t.Helper()
		tx, to := net.deposit(nonce)
		if err := nodes[node].SubmitTx(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
		if err := nodes[node].SubmitTx(t.Context(), tx); err != nil &&
			!errors.Is(err, ledger.CodeBadNonce) {
			t.Fatalf("again: %v", err)
		}
		nodes[node].wait(t, "a deposit", funded(to))
	}
	for nonce := range uint64(5) {
		submit(int(nonce)%4, nonce)
	}
	tooLate, _ := net.deposit(0)
	var refusal *ledger.Refusal
	if err := nodes[1].SubmitTx(t.Context(), tooLate); err != nil && !errors.As(err, &refusal) {
		t.Errorf("replayed deposit: %v", err)
	}
	if err := nodes[1].SubmitTx(t.Context(), []byte("junk")); !errors.Is(err,
		ledger.CodeMalformed) {
		t.Errorf("junk: %v", err)
	}

	nodes[3].stop(t)
	submit(0, 5)
	height := nodes[0].View().Height()
	nodes[3] = net.start(t, 3, dirs[3])
	nodes[3].wait(t, "the chain", func(v *ledger.View) bool { return v.Height() >= height })
	submit(3, 6)
	for i, nonce := range []uint64{9, 8, 7} { // against their order, each at another member
		tx, _ := net.deposit(nonce)
		if err := nodes[i].SubmitTx(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
	}
	_, last := net.deposit(9)
	nodes[3].wait(t, "deposits out of order", funded(last))

	for i, n := range nodes {
		n.wait(t, "a certified settlement", func(v *ledger.View) bool {
			s, ok := v.Settlement(0)
			return ok && v.Certified(s.Height)
		})
		v := n.View()
		s, _ := v.Settlement(0)
		if r, _ := v.Record(s.Height); r.Record.SettledEpoch != 0 ||
			r.Record.SettlementRoot != s.Root {
			t.Errorf("node %d: record %+v of the settlement", i, r.Record)
		}
		file, err := n.Witness().Settlement(0)
		if err != nil {
			t.Fatalf("node %d: %v", i, err)
		}
		if _, err := export.Verify(file.Append(nil), export.TrustOf(net.genesis)); err != nil {
			t.Errorf("node %d: the settlement's file: %v", i, err)
		}
		if s := n.Status(); s.Err != nil || s.Peers == 0 || s.Member != i ||
			s.Lag > 10*time.Second {
			t.Errorf("node %d: %+v", i, s)
		}
	}
	sameHashes(t, nodes)
	var epochs, certified bool
	for _, e := range events.Take().Events {
		switch e.(type) {
		case ledger.EpochStarted:
			epochs = true
		case ledger.RecordCertified:
			certified = true
		}
	}
	if !epochs || !certified {
		t.Error("events of the epoch or of its settlement are missing")
	}
	nodes[0].Stop()
	if err := nodes[0].SubmitTx(t.Context(), tooLate); !errors.Is(err, ErrStopped) {
		t.Errorf("submit after stop: %v", err)
	}
}

func funded(key ledger.Key) func(*ledger.View) bool {
	return func(v *ledger.View) bool {
		_, ok := v.AccountByKey(key)
		return ok
	}
}

func sameHashes(t *testing.T, nodes []*running) {
	t.Helper()
	top := nodes[0].View().Height()
	for _, n := range nodes[1:] {
		top = min(top, n.View().Height())
	}
	if top < 10 {
		t.Errorf("only %d blocks", top)
	}
	for h := int64(1); h < top-1; h++ {
		want := nodes[0].appHashAt(h)
		for i, n := range nodes[1:] {
			if got := n.appHashAt(h); !bytes.Equal(got, want) {
				t.Errorf("node %d: app hash %x at height %d, expected %x", i+1, got, h, want)
			}
		}
	}
}

// TestStart: what an engine does not start with, and what it leaves behind.
func TestStart(t *testing.T) {
	net := newNetwork(t, "alone", 1, 3600, 1, freeAddresses(t, 1), time.Now().UTC())
	dir, registry := t.TempDir(), prometheus.NewPedanticRegistry()
	open := func() *store.Store {
		s, err := store.Open(filepath.Join(dir, "store"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	c := net.config(0, dir, s)
	c.Registerer = registry
	e, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	tx, to := net.deposit(0)
	if err := e.SubmitTx(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	(&running{e, s}).wait(t, "a deposit", funded(to))
	if families, err := registry.Gather(); err != nil || len(families) != 6 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
	e.Stop()
	e.Stop()
	if families, err := registry.Gather(); err != nil || len(families) != 0 {
		t.Errorf("%d metrics after stop, %v", len(families), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open()
	defer s.Close()
	refused := func(what string, want error, change func(*Config)) {
		t.Helper()
		c := net.config(0, dir, s)
		change(&c)
		if e, err := Start(t.Context(), c); err == nil {
			e.Stop()
			t.Errorf("%s: started", what)
		} else if want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	other := newNetwork(t, "another", 1, 3600, 1, nil, time.Now().UTC())
	refused("another genesis", ErrGenesis, func(c *Config) { c.Genesis = other.genesis })
	refused("another BLS key", ErrKey, func(c *Config) { c.Keys = other.members[0].keys() })
	refused("no memory of votes", ErrSignState, func(c *Config) { c.Home = t.TempDir() })
	observer := net.config(0, t.TempDir(), s) // has a copy of the store, and never voted
	observer.ConsensusKey, observer.Keys = key("observer"), nil
	if e, err := Start(t.Context(), observer); err != nil {
		t.Errorf("no memory of votes, and none needed: %v", err)
	} else {
		e.Stop()
	}
	refused("timeouts", nil, func(c *Config) { c.Timeouts = "moon" })
	refused("address", nil, func(c *Config) { c.Listen = "nowhere" })

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ahead := newNetwork(t, "ahead", 1, 3600, 1, freeAddresses(t, 1),
		time.Now().UTC().Add(time.Hour))
	memory, err := store.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	if _, err := Start(ctx, ahead.config(0, t.TempDir(), memory)); !errors.Is(err,
		context.Canceled) {
		t.Errorf("genesis an hour ahead: %v", err)
	}
}

// TestHalt: a chain that cannot be stored stops, says so, and can still be stopped.
func TestHalt(t *testing.T) {
	net := newNetwork(t, "halt", 1, 1, 1, freeAddresses(t, 1), time.Now().UTC())
	s, err := store.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	full := errors.New("no room")
	c := net.config(0, t.TempDir(), s)
	c.Keep = func(b *ledger.Block) error {
		for _, event := range b.Events {
			if _, ok := event.(ledger.EpochStarted); ok {
				return full
			}
		}
		return nil
	}
	e, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	select {
	case <-e.Failed():
	case <-time.After(20 * time.Second):
		t.Fatal("goes on without a store")
	}
	if err := e.Status().Err; !errors.Is(err, full) {
		t.Errorf("failed with %v", err)
	}
	if tx, _ := net.deposit(0); !errors.Is(e.SubmitTx(t.Context(), tx), full) {
		t.Error("takes transactions that it will not execute")
	}
	if height, _, _, err := s.LoadLedger(); err != nil || height != e.View().Height() ||
		e.View().Epoch() != 0 {
		t.Errorf("height %d is stored, %d visible: %v", height, e.View().Height(), err)
	}

	var lines bytes.Buffer
	var reason any
	l := logger{Logger: slog.New(slog.NewTextHandler(&lines, nil)),
		halted: func(r any) { reason = r }}
	l.With("module", "consensus").Error(consensusHalted, "err", full, "stack", "…")
	if reason != full || !strings.Contains(lines.String(), "no room") {
		t.Errorf("halted by %v, logged %q", reason, lines.String())
	}
}

// TestDoubles: two votes of a member that exclude each other are counted, and not one line each.
func TestDoubles(t *testing.T) {
	d := newDoubles(func(address []byte) (uint32, bool) {
		return uint32(address[0]), len(address) == 1
	})
	var lines bytes.Buffer
	l := logger{Logger: slog.New(slog.NewTextHandler(&lines, nil)), double: d.saw}
	twice := &types.ErrVoteConflictingVotes{VoteA: &types.Vote{ValidatorAddress: []byte("b")},
		VoteB: &types.Vote{ValidatorAddress: []byte("b")}}
	for range 3 {
		l.Error(ownConflict, "height", int64(7))
		l.Error("failed to process message", "err", twice)
	}
	twice.VoteA.ValidatorAddress = []byte("of no member")
	l.Error("failed to process message", "err", twice)
	got := d.status(&rollup.Committee{Members: []rollup.Member{{Node: 'a'}, {Node: 'b'}}})
	if got[0].Count != 0 || got[1].Count != 3 || got[1].At.IsZero() || lines.Len() > 0 {
		t.Errorf("%+v, logged %q", got, lines.String())
	}
	l.Error("failed to process message", "err", errors.New("another"))
	if !strings.Contains(lines.String(), "another") {
		t.Errorf("logged %q", lines.String())
	}
}

// TestClock: only a block that was judged while it was proposed says how late this clock is, and
// one that was judged late does not. The first block has no time of its own.
func TestClock(t *testing.T) {
	c := newApps(t)
	a := c.apps[0]
	measure := func(live int64, late time.Duration) Clock {
		view := a.view.Load()
		a.clock.measure(view, live, view.Time().Add(late))
		return a.clock.status()
	}
	c.decide(time.Millisecond)
	if got := measure(a.view.Load().Height(), time.Second); !got.At.IsZero() {
		t.Errorf("by the first block: %+v", got)
	}
	c.decide(2 * time.Millisecond)
	height := a.view.Load().Height()
	if got := measure(height-1, time.Second); !got.At.IsZero() {
		t.Errorf("by a block of others: %+v", got)
	}
	for i, step := range []struct{ late, want time.Duration }{
		{time.Second, time.Second}, {100 * time.Second, time.Second}, {2 * time.Second, time.Second},
		{3 * time.Second, time.Second}, {3 * time.Second, time.Second},
		{3 * time.Second, 2 * time.Second}, // the first is too old
		{-time.Second, -time.Second},
	} {
		got := measure(height, step.late)
		if got.Skew != step.want || !got.At.Equal(a.view.Load().Time().Add(step.late)) {
			t.Errorf("step %d: %+v", i, got)
		}
	}
}

func TestPeers(t *testing.T) {
	p := Peer{Key: ledger.KeyOf(key("peer")), Address: "localhost:1"}
	if q, err := ParsePeer(p.String()); err != nil || q.String() != p.String() {
		t.Errorf("%v, %v", q, err)
	}
	id, _, _ := strings.Cut(p.String(), "@")
	for _, bad := range []string{"", "@h:1", id, id + "@", id + "@h", id[1:] + "@h:1",
		id + "00@h:1", "xx" + id[2:] + "@h:1"} {
		if _, err := ParsePeer(bad); err == nil {
			t.Errorf("%q: parsed", bad)
		}
	}
}
