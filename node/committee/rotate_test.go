package committee

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/duty"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// newRotating is newNetwork with a committee that rotates. Nodes have stake enough to be drawn.
func newRotating(t testing.TB, name string, n int, seats uint16, epochSeconds uint32,
	addresses []string, start time.Time, adjust ...func(*ledger.Rotation)) *network {
	t.Helper()
	net := newNetwork(t, name, n, epochSeconds, 1, addresses, start)
	net.genesis.Params.Rotation = &ledger.Rotation{Seats: seats, TermEpochs: 4, MinStake: 1_000_000,
		StakeCap: 1 << 40, JailWithhold: 2, SlashWithhold: 100, JailAbsent: 1, EvidenceEpochs: 168,
		EvidenceSeconds: 24 * 60 * 60, EvidenceBlocks: 50_000, Reward: 5_000}
	for _, f := range adjust {
		f(net.genesis.Params.Rotation)
	}
	for i := range net.genesis.Members {
		net.genesis.Members[i].Stake = 50_000_000
	}
	for i, m := range net.members {
		net.genesis.Sign(i, m.bls, m.transport)
	}
	genesis, err := ledger.ParseGenesis(net.genesis.Encode())
	if err != nil {
		t.Fatal(err)
	}
	net.genesis = genesis
	return net
}

// follower is the chain as duties see it.
type follower struct {
	*Engine
	mu      sync.Mutex
	changed chan struct{}
}

func (f *follower) Updated() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// dutiful starts a node that does its duties. Who answers at its consensus port is healthy.
func (n *network) dutiful(t testing.TB, i int, dir string, change ...func(*Config)) *running {
	t.Helper()
	r := n.start(t, i, dir, change...)
	f := &follower{Engine: r.Engine, changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	sub := r.Subscribe()
	tasks.Go(func() {
		for {
			if _, err := sub.Next(ctx); err != nil {
				return
			}
			f.mu.Lock()
			close(f.changed)
			f.changed = make(chan struct{})
			f.mu.Unlock()
		}
	})
	tasks.Go(func() {
		duty.Run(ctx, duty.Config{Chain: f, Node: uint32(i), Keys: n.members[i].keys(),
			Able: func() bool { return !r.Status().CatchingUp },
			Health: &witnesses{answers: answers{Self: uint32(i), Ask: n.dials}, net: n,
				chain: r.Engine, kept: map[uint32]*rotation.Receipts{}},
			Logger: slog.New(slog.DiscardHandler)})
	})
	go func() { <-r.stopped; cancel() }()
	t.Cleanup(func() { cancel(); tasks.Wait() })
	return r
}

// witnesses are answers at a port, and a receipt for each probe of those who answer: all nodes of
// these networks sign what is asked of them.
type witnesses struct {
	answers
	net   *network
	chain *Engine

	candidates []rotation.Candidate
	began      int64
	kept       map[uint32]*rotation.Receipts // by epoch
}

func (w *witnesses) Begin(ctx context.Context, epoch uint32, candidates []rotation.Candidate,
	until time.Time) {
	w.candidates, w.began = candidates, w.chain.View().Height()
	w.answers.Begin(ctx, epoch, candidates, until)
}

func (w *witnesses) Verdicts(epoch uint32) ([]uint32, rollup.Hash, bool) {
	unhealthy, _, ok := w.answers.Verdicts(epoch)
	if !ok {
		return nil, rollup.Hash{}, false
	}
	all := new(rotation.Receipts)
	for i, c := range w.candidates {
		if slices.Contains(unhealthy, uint32(i)) {
			continue
		}
		var list []*rotation.Receipt
		for count := range rotation.Answers {
			r := &rotation.Receipt{Nonce: sha256.Sum256(fmt.Append(nil, epoch, c.Node, w.Self, count)),
				Height: uint64(w.began)}
			r.Digest = rotation.Digest(&r.Nonce, 0, nil)
			message := r.Message(&rotation.Probe{Network: w.net.genesis.Network(), Epoch: epoch,
				Candidate: c.Node, Prober: w.Self, Nonce: r.Nonce})
			r.Signature = rotation.Signature(ed25519.Sign(w.net.members[c.Node].transport, message))
			list = append(list, r)
		}
		if err := all.Add(c.Node, list); err != nil {
			panic(err)
		}
	}
	w.kept[epoch] = all
	return unhealthy, all.Root(), true
}

var errNoReceipts = errors.New("no receipts of an audited report")

func (w *witnesses) Show(epoch uint32, asked []rotation.Asked) (list []rotation.Shown, err error) {
	for _, a := range asked {
		all := w.kept[epoch]
		if all == nil {
			return nil, errNoReceipts // of a node that was stopped
		}
		shown, ok := all.Show(epoch, a)
		if !ok {
			return nil, errNoReceipts
		}
		list = append(list, *shown)
	}
	return list, nil
}

func (n *network) dials(ctx context.Context, node uint32) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", n.members[node].address)
	if err != nil {
		return err
	}
	return c.Close()
}

// busy deposits all the time, so that blocks come as they do on a network that is used.
func (n *network) busy(t testing.TB, r *running) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_, nonce := r.View().Treasury()
			tx, _ := n.deposit(nonce)
			_ = r.SubmitTx(ctx, tx) // one that is known already, now and then
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
}

// fewest returns the member that has the fewest seats, but for one.
func fewest(seats rotation.Seats, but uint32) (node uint32) {
	least := len(seats) + 1
	for _, m := range seats.Members() {
		if held := seats.Held(m); m != but && held < least {
			node, least = m, held
		}
	}
	return node
}

// term says that a term is in office.
func term(number uint32) func(*ledger.View) bool {
	return func(v *ledger.View) bool { return v.Committee().Term >= number }
}

// agree demands that nodes have the same hashes, the same seats, and that the engine's validators
// are the committee in office at each height that all have, key for key and seat for seat.
func agree(t *testing.T, n *network, nodes []*running, terms uint32) {
	t.Helper()
	sameHashes(t, nodes)
	view := nodes[0].View()
	top := view.Height()
	for _, r := range nodes {
		top = min(top, r.View().Height())
	}
	distinct := map[string]bool{}
	for h := int64(1); h <= top; h++ {
		validators, err := nodes[0].parts.states.LoadValidators(h)
		if err != nil {
			t.Fatal(err)
		}
		office := view.CommitteeVoting(h)
		if len(validators.Validators) != len(office.Members) {
			t.Fatalf("height %d: %d validators, a committee of %d", h, len(validators.Validators),
				len(office.Members))
		}
		for _, v := range validators.Validators {
			node, _ := nodes[0].app.directory.node(v.Address)
			member, is := office.Member(node)
			if !is || member.Power != uint64(v.VotingPower) {
				t.Fatalf("height %d: node %d has a power of %d, and %d seats", h, node,
					v.VotingPower, member.Power)
			}
		}
		distinct[office.Root().String()] = true
	}
	remembered(t, nodes[0], top)
	for number := range terms + 1 {
		want, known := view.CommitteeAt(number)
		for i, r := range nodes {
			got, ok := r.View().CommitteeAt(number)
			if !known || !ok || got.Root() != want.Root() {
				t.Errorf("node %d has another committee of term %d", i, number)
			}
		}
	}
	if len(distinct) < 2 {
		t.Error("the committee was the same all the time")
	}
	for _, r := range nodes {
		if size := r.parts.evidence.Size(); size != 0 || r.Status().Err != nil {
			t.Errorf("%d signed twice; %v", size, r.Status().Err)
		}
	}
}

// remembered demands that the chain in a node's store is what the node saw: hashes, and who could
// vote with how many seats.
func remembered(t *testing.T, n *running, top int64) {
	t.Helper()
	past := OpenPast(n.store)
	voted := 0
	for h := int64(2); h <= top; h++ {
		b, err := past.Block(h)
		if err != nil {
			t.Fatal(err)
		}
		office := n.View().CommitteeVoting(h - 1)
		if !bytes.Equal(b.AppHash, n.appHashAt(h-1)) || len(b.Votes) != len(office.Members) {
			t.Errorf("block %d: hash %x, %d votes", h, b.AppHash, len(b.Votes))
		}
		for _, v := range b.Votes {
			node, known := n.app.directory.node(v.Address[:])
			member, is := office.Member(node)
			if !known || !is || member.Power != uint64(v.Power) {
				t.Errorf("block %d: a vote of node %d with %d seats", h, node, v.Power)
			}
			if v.Voted {
				voted++
			}
		}
	}
	if first, last := past.Heights(); first != 1 || last < top || voted < int(top) {
		t.Errorf("blocks %d to %d, %d votes", first, last, voted)
	}
	if _, err := past.Block(top + 1000); !errors.Is(err, ErrPast) {
		t.Errorf("a block that is not there: %v", err)
	}
}

// other returns a node that has a snapshot.
func other(nodes []*running) int {
	return slices.IndexFunc(nodes, func(r *running) bool { return len(r.Snapshots()) > 0 })
}

// oneSnapshot demands that committees signed snapshots, and that all nodes have the same.
func oneSnapshot(t *testing.T, nodes []*running) {
	t.Helper()
	var roots = map[uint64]ledger.Snapshot{}
	for i, n := range nodes {
		list := n.app.snapshots.Certified()
		if len(list) > 3 {
			t.Errorf("node %d keeps %d snapshots", i, len(list))
		}
		for _, s := range list {
			if known, ok := roots[s.Height]; ok && known != s {
				t.Errorf("node %d has the snapshot %+v, not %+v", i, s, known)
			}
			roots[s.Height] = s
		}
	}
	last := nodes[0].View().Elected().Term
	for term := uint32(1); term <= last; term++ {
		s, err := nodes[0].Witness().Snapshot(term)
		if err != nil {
			t.Error(err)
		}
		if s.Height == 0 { // of a hand-over that was certified late
			continue
		}
		if known, ok := roots[s.Height]; ok && known != s {
			t.Errorf("term %d was handed over with %+v, not %+v", term, s, known)
		}
	}
	if len(roots) == 0 {
		t.Errorf("no committee of %d signed a snapshot", last)
	}
}

// TestRotate runs six nodes that share sixteen seats through a hand-over, or as many as
// WAYBILL_ROTATE_TERMS says. A member stops when a hand-over is certified, and loses its seats to
// others. In the block in which it does another one stops, and both come back from their disks
// while the next committee begins to vote. A newcomer joins from a snapshot at last.
func TestRotate(t *testing.T) {
	terms := uint32(1)
	if s := os.Getenv("WAYBILL_ROTATE_TERMS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		terms = uint32(n)
	}
	addresses := freeAddresses(t, 7)
	net := newRotating(t, "rotate", 6, 16, 5, addresses, time.Now().UTC())
	newcomer := net.stranger(addresses[6])
	var nodes []*running
	var dirs []string
	for i := range 6 {
		dirs = append(dirs, t.TempDir())
		nodes = append(nodes, net.dutiful(t, i, dirs[i]))
	}
	events := nodes[0].Subscribe()
	net.busy(t, nodes[0])
	for round, last := 0, uint32(0); last < terms; round++ {
		// When it is certified who sits next, one of them with few seats goes: the others are a
		// quorum, and nothing waits for what it announced.
		var gone uint32
		nodes[0].wait(t, "a certified hand-over", func(v *ledger.View) bool {
			r, _ := v.Rotation()
			if r.Phase != ledger.PhaseCertified {
				return false
			}
			gone = fewest(r.Next, 0)
			return true
		})
		nodes[gone].stop(t)
		nodes[0].wait(t, "a term without the member that stopped", func(v *ledger.View) bool {
			last = v.Elected().Term
			_, sits := v.Elected().Position(gone)
			return !sits
		})
		r, _ := nodes[0].View().Rotation()
		other := fewest(r.Seats, 0)
		nodes[other].stop(t)
		nodes[other] = net.dutiful(t, int(other), dirs[other])
		nodes[gone] = net.dutiful(t, int(gone), dirs[gone])
		nodes[0].wait(t, "the new committee", term(last))
		last = nodes[0].View().Committee().Term
	}
	height := nodes[0].View().Height()
	for _, n := range nodes {
		n.wait(t, "the chain", func(v *ledger.View) bool { return v.Height() > height+2 })
	}
	agree(t, net, nodes, terms)
	oneSnapshot(t, nodes)
	dir, from := t.TempDir(), nodes[0]
	if len(from.Snapshots()) == 0 { // it may have been the one that stopped
		from = nodes[other(nodes)]
	}
	block := net.join(t, dir, from, false)
	joined := net.start(t, newcomer, dir)
	headersBelow(t, joined, nodes[0], block, block)
	followed(t, joined, nodes[0], block)

	took := 0
	for _, e := range events.Take().Events {
		switch e := e.(type) {
		case ledger.HandedOver:
			took++
		case ledger.RotationSkipped:
			t.Logf("epoch %d: %s", e.Epoch, e.Why)
		}
	}
	if took < int(terms) {
		t.Errorf("%d hand-overs", took)
	}
	if waiting, certified := nodes[0].View().Records(); waiting > 2 || certified == 0 {
		t.Errorf("%d records wait, the last one that is certified is of %d", waiting, certified)
	}
}

// TestWithheld: one of six members proposes empty blocks, and another leaves out what members say
// and what they certify. The committee hands over all the same, records are certified, and
// transactions ordered: what one proposer leaves out the next one has.
func TestWithheld(t *testing.T) {
	if os.Getenv("WAYBILL_ROTATE_TERMS") == "" {
		if os.Getenv("REQUIRE_ROTATE") != "" {
			t.Fatal("WAYBILL_ROTATE_TERMS says nothing")
		}
		t.Skip("make rotate runs it")
	}
	const terms = 3
	net := newRotating(t, "withheld", 6, 16, 5, freeAddresses(t, 6), time.Now().UTC())
	var empty, without atomic.Int64
	withholds := map[int]func([][]byte) [][]byte{
		1: func(txs [][]byte) [][]byte {
			if len(txs) > 0 {
				empty.Add(1)
			}
			return nil
		},
		2: func(txs [][]byte) (rest [][]byte) {
			for _, raw := range txs {
				tx, err := ledger.ParseTx(raw)
				if err == nil && (isDuty(tx.Kind) || tx.Kind == ledger.KindRecord ||
					tx.Kind == ledger.KindHandOver) {
					without.Add(1)
					continue
				}
				rest = append(rest, raw)
			}
			return rest
		},
	}
	var nodes []*running
	for i := range 6 {
		nodes = append(nodes, net.dutiful(t, i, t.TempDir(),
			func(c *Config) { c.propose = withholds[i] }))
	}
	events := nodes[0].Subscribe()
	net.busy(t, nodes[0])
	nodes[0].wait(t, "three terms", term(terms))
	height := nodes[0].View().Height()
	for _, n := range nodes {
		n.wait(t, "the chain", func(v *ledger.View) bool { return v.Height() > height+2 })
	}
	agree(t, net, nodes, terms)
	if empty.Load() == 0 || without.Load() == 0 {
		t.Errorf("%d blocks were emptied, %d transactions left out", empty.Load(), without.Load())
	}
	if waiting, certified := nodes[0].View().Records(); waiting > 4 || certified == 0 {
		t.Errorf("%d records wait, the last one that is certified is of %d", waiting, certified)
	}
	skipped := 0
	for _, e := range events.Take().Events {
		if _, is := e.(ledger.RotationSkipped); is {
			skipped++
		}
	}
	_, deposits := nodes[0].View().Treasury()
	t.Logf("%d blocks emptied, %d transactions left out, %d of %d epochs without a hand-over, %d "+
		"deposits", empty.Load(), without.Load(), skipped, nodes[0].View().Epoch(), deposits)
	if deposits == 0 {
		t.Error("nothing was ordered")
	}
}

// TestHandOverExtension: a vote carries the signature of a hand-over behind those of records.
func TestHandOverExtension(t *testing.T) {
	net := newNetwork(t, "x", 1, 3, 1, nil, genesisTime)
	record := recordSignature{7,
		rollup.SignRecord(net.members[0].bls, &rollup.Record{Height: 7})}
	over := handOverSignature{3, record.signature}
	both := extension{records: []recordSignature{record}, handOver: &over}
	alone := extension{handOver: &over}
	for name, x := range map[string]*extension{"both": &both, "alone": &alone} {
		b := x.append(nil)
		again, ok := parseExtension(b)
		if !ok || !bytes.Equal(again.append(nil), b) || again.handOver.term != 3 {
			t.Errorf("%s: %+v, %v", name, again, ok)
		}
		for name, bad := range map[string][]byte{"short": b[:len(b)-1], "long": append(b, 0),
			"twice": slices.Concat(b, alone.append(nil))} {
			if _, ok := parseExtension(bad); ok {
				t.Errorf("%s is taken", name)
			}
		}
	}
	if _, ok := parseExtension(slices.Concat(alone.append(nil),
		(&extension{records: []recordSignature{record}}).append(nil))); ok {
		t.Error("another order is taken")
	}
}

// TestShareOfBoth: what a member signs of records and of a hand-over, whose messages are of two
// lengths, verifies together; a signature in another one's place does not.
func TestShareOfBoth(t *testing.T) {
	net := newNetwork(t, "x", 1, 3, 1, nil, genesisTime)
	key := net.members[0].bls
	committee := &rollup.Committee{Members: []rollup.Member{{Node: 4, Power: 1,
		Key: key.PublicKey()}}}
	owed := []statement{
		{number: 7, message: bytes.Repeat([]byte{7}, 180), committee: committee},
		{number: 8, message: bytes.Repeat([]byte{8}, 180), committee: committee},
		{handOver: true, number: 1, message: bytes.Repeat([]byte{1}, 90), committee: committee},
	}
	var signatures []bls.Signature
	for _, s := range owed {
		signatures = append(signatures, bls.Default.Sign(key, s.message))
	}
	said := func(a, b, c int) []byte {
		x := extension{records: []recordSignature{{7, signatures[a]}, {8, signatures[b]}},
			handOver: &handOverSignature{1, signatures[c]}}
		return x.append(nil)
	}
	if good, ok := share(owed, 4, said(0, 1, 2)); !ok || len(good) != 3 {
		t.Error("the member's own signatures are refused")
	}
	// a hand-over of another message, as who has another snapshot signs it, costs no vote
	if good, ok := share(owed, 4, said(0, 1, 1)); !ok || len(good) != 2 {
		t.Errorf("another hand-over: %v, %d signatures", ok, len(good))
	}
	silent := extension{records: []recordSignature{{7, signatures[0]}, {8, signatures[1]}}}
	if good, ok := share(owed, 4, silent.append(nil)); !ok || len(good) != 2 {
		t.Errorf("no hand-over: %v, %d signatures", ok, len(good))
	}
	unknown := slices.Clone(owed)
	unknown[2].message = nil
	if good, ok := share(unknown, 4, said(0, 1, 2)); !ok || len(good) != 2 {
		t.Errorf("one that cannot be checked: %v, %d signatures", ok, len(good))
	}
	if _, ok := share(owed[:2], 4, said(0, 1, 2)); ok {
		t.Error("a hand-over that nobody waits for is taken")
	}
	for _, order := range [][3]int{{1, 0, 2}, {0, 2, 1}, {2, 1, 0}} {
		if _, ok := share(owed, 4, said(order[0], order[1], order[2])); ok {
			t.Errorf("signatures %v are taken", order)
		}
	}
}
