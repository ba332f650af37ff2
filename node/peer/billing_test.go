package peer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// rolled is a valid rollup, with evidence of one rung.
type rolled struct{ header, evidence []byte }

// onRung makes the rollup of a window of the acks from first on, with evidence of a rung. Its
// clients co-sign whatever they are shown.
func onRung(t *testing.T, network *testnet.Network, rung rollup.Rung, key rollup.WindowKey,
	first uint32, count int) rolled {
	t.Helper()
	if rung == rollup.RungAcks {
		header, evidence := network.Rollup(t, key, first, count)
		return rolled{header, evidence}
	}
	header, statements, proven := network.Cosigned(t, key, first, count,
		func(s *rollup.Segment, statements []rollup.Statement) [rollup.ProofSize]byte {
			proof, err := prover.Prove(t.Context(), 0, s, statements)
			if err != nil {
				t.Fatal(err)
			}
			return proof
		})
	if rung == rollup.RungStatements {
		return rolled{header, statements}
	}
	return rolled{header, proven}
}

var everyRung = []rollup.Rung{rollup.RungAcks, rollup.RungStatements, rollup.RungProof}

// pushTo pushes a rollup of node 1 to a member.
func (r rolled) pushTo(t *testing.T, network *testnet.Network, nodes []*testNode,
	member uint32) error {
	t.Helper()
	_, err := nodes[1].members.Push(t.Context(), member, r.header, wordFor(network, r.header),
		r.evidence)
	return err
}

// TestDeliveryIsBilledOnce is a node that bills its deliveries ten times: it has all of its
// clients' signatures, and rollups that are valid on whatever rung it likes. Every honest member
// signs the first window and no other.
func TestDeliveryIsBilledOnce(t *testing.T) {
	for _, first := range everyRung {
		for _, again := range everyRung {
			network, nodes := startNetwork(t, 4, proving)
			honest := []uint32{0, 2, 3}
			for window := range uint32(10) {
				rung := again
				if window == 0 {
					rung = first
				}
				r := onRung(t, network, rung, rollup.WindowKey{Node: 1, Window: window}, 0, 12)
				for _, member := range honest {
					err := r.pushTo(t, network, nodes, member)
					if window == 0 {
						if err != nil {
							t.Fatal(err)
						}
						continue
					}
					refusal := wantReason(t, err, ReasonNumbers)
					if !strings.Contains(refusal.Err.Error(), "is next") {
						t.Errorf("the liar hears: %v", refusal)
					}
				}
			}
			for _, member := range honest {
				stats := nodes[member].member.Stats()
				if stats.Signed != 1 || stats.Refused[ReasonNumbers] != 9 {
					t.Errorf("%v, then %v: member %d: %+v", first, again, member, stats)
				}
			}
		}
	}
}

// TestPartOfARollup: one number that was signed before spoils a rollup, whatever else is in it, and
// binds the member to nothing; a rollup of what is new is signed.
func TestPartOfARollup(t *testing.T) {
	network, nodes := startNetwork(t, 2, proving)
	push := func(rung rollup.Rung, window, first uint32, count int) error {
		key := rollup.WindowKey{Node: 1, Window: window}
		return onRung(t, network, rung, key, first, count).pushTo(t, network, nodes, 0)
	}
	if err := push(rollup.RungAcks, 0, 0, 6); err != nil { // of four clients
		t.Fatal(err)
	}
	for _, rung := range everyRung {
		wantReason(t, push(rung, 1, 5, 8), ReasonNumbers)
	}
	if _, locked, err := nodes[0].store.Locked(rollup.WindowKey{Node: 1, Window: 1}); locked ||
		err != nil {
		t.Error("bound to a rollup that was refused", err)
	}
	if err := push(rollup.RungProof, 1, 6, 8); err != nil {
		t.Error(err)
	}
	if err := push(rollup.RungStatements, 2, 20, 8); err != nil { // a gap is the node's own loss
		t.Error(err)
	}
	wantReason(t, push(rollup.RungAcks, 3, 14, 4), ReasonNumbers)
}

// TestWindowsAscend: a window below one that was signed is refused, and is no fault.
func TestWindowsAscend(t *testing.T) {
	network, nodes := startNetwork(t, 2)
	push := func(window, first uint32) error {
		key := rollup.WindowKey{Node: 1, Window: window}
		return onRung(t, network, rollup.RungAcks, key, first, 4).pushTo(t, network, nodes, 0)
	}
	if err := push(3, 0); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		wantReason(t, push(2, 4), ReasonBehind)
	}
	if err := push(4, 4); err != nil {
		t.Error(err)
	}
}

// TestTablesSurvive: what was signed is known after a restart of the member, and until the epoch is
// settled; other epochs and other nodes count for themselves.
func TestTablesSurvive(t *testing.T) {
	network, nodes := startNetwork(t, 3)
	db := nodes[0].store
	member := nodes[0].member
	push := func(key rollup.WindowKey, first uint32) error {
		header, evidence := network.Rollup(t, key, first, 4)
		caller := TransportKey(ledger.KeyOf(network.Members[key.Node].Transport))
		_, err := member.Push(t.Context(), caller, header, wordFor(network, header), evidence)
		return err
	}
	if err := push(rollup.WindowKey{Node: 1, Window: 5}, 4); err != nil {
		t.Fatal(err)
	}
	member = NewMember(MemberConfig{Network: network.ID,
		Keys:  signer.NewLocal(network.Members[0].BLS, nil),
		Chain: network,
		Store: db, Logger: quiet, Penalty: time.Nanosecond})
	wantReason(t, push(rollup.WindowKey{Node: 1, Window: 6}, 0), ReasonNumbers)
	wantReason(t, push(rollup.WindowKey{Node: 1, Window: 4}, 8), ReasonBehind)
	if err := push(rollup.WindowKey{Node: 2, Window: 0}, 0); err != nil {
		t.Error(err)
	}
	network.Advance(testnet.EpochSeconds * time.Second)
	if err := push(rollup.WindowKey{Node: 1, Epoch: 1}, 0); err != nil {
		t.Error(err)
	}
	if numbers, window, err := db.Billed(1, 0); err != nil || window != 6 ||
		numbers.Next(0, 0) != 2 {
		t.Error(window, err)
	}
	network.Advance(12 * time.Second)
	network.Advance(time.Second)
	wantReason(t, push(rollup.WindowKey{Node: 1, Window: 9}, 12), ReasonTooOld)
	if err := push(rollup.WindowKey{Node: 1, Epoch: 1, Window: 1}, 4); err != nil {
		t.Error(err)
	}
	if numbers, window, err := db.Billed(1, 0); err != nil || window != 0 ||
		numbers.Next(0, 0) != 0 {
		t.Error("a settled epoch's table is kept", window, err)
	}
}

// TestNoTable: a member whose store is newer than an epoch signs nothing of it.
func TestNoTable(t *testing.T) {
	network, nodes := startNetwork(t, 2)
	db, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	nodes[0].member.cfg.Store, nodes[0].member.billings = db, newBillings(db)
	push := func(epoch uint32) error {
		key := rollup.WindowKey{Node: 1, Epoch: epoch}
		return onRung(t, network, rollup.RungAcks, key, 0, 4).pushTo(t, network, nodes, 0)
	}
	wantReason(t, push(0), ReasonNoTable)
	if err := db.Begin(1); err != nil {
		t.Fatal(err)
	}
	wantReason(t, push(0), ReasonNoTable)
	network.Advance(testnet.EpochSeconds * time.Second)
	wantReason(t, push(0), ReasonNoTable)
	if err := push(1); err != nil {
		t.Error(err)
	}
}

// TestWord: a rollup without its node's word is not looked at.
func TestWord(t *testing.T) {
	network, nodes := startNetwork(t, 3)
	key := rollup.WindowKey{Node: 1}
	header, evidence := network.Rollup(t, key, 0, 4)
	other, _ := network.Rollup(t, key, 0, 5)
	h, err := rollup.ParseHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	for name, own := range map[string][rollup.WordSize]byte{
		"none": {}, "another rollup's": wordFor(network, other),
		"another node's": rollup.SignOwn(network.Members[2].Transport, h),
	} {
		// Evidence that is none shows that the word comes first.
		_, err := nodes[1].members.Push(t.Context(), 0, header, own, []byte{1})
		wantReason(t, err, ReasonBadWord)
		t.Logf("%s: %v", name, err)
	}
	if _, err := nodes[1].members.Push(t.Context(), 0, header, wordFor(network, header),
		evidence); err != nil {
		t.Error(err)
	}
}

// TestSignatureWaits: windows are verified side by side, and the signature of a higher one waits
// for the lower one, whatever becomes of that.
func TestSignatureWaits(t *testing.T) {
	network, nodes := startNetwork(t, 2, func(_ int, c *MemberConfig) { c.Concurrent = 1 })
	b := nodes[0].member.billings.billing(&rollup.Header{Node: 1})
	b.begin(3) // a push that is being verified
	done := make(chan error)
	r := onRung(t, network, rollup.RungAcks, rollup.WindowKey{Node: 1, Window: 4}, 4, 4)
	var pushing sync.WaitGroup
	pushing.Go(func() { done <- r.pushTo(t, network, nodes, 0) })
	lower := onRung(t, network, rollup.RungAcks, rollup.WindowKey{Node: 1, Window: 2}, 0, 4)
	if err := lower.pushTo(t, network, nodes, 0); err != nil { // there is a turn for it
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Errorf("it did not wait: %v", err)
	default:
	}
	b.end(3)
	if err := <-done; err != nil {
		t.Error(err)
	}
	pushing.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.begin(5)
	defer b.end(5)
	if err := b.await(ctx, 6); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestTwoAtOnce: of two rollups of one window, and of two windows with one number, that are pushed
// at once a member signs one.
func TestTwoAtOnce(t *testing.T) {
	network, nodes := startNetwork(t, 2, func(_ int, c *MemberConfig) { c.Concurrent = 4 })
	for round := range uint32(5) {
		var rollups []rolled
		for i := range uint32(3) {
			key := rollup.WindowKey{Node: 1, Window: 10*round + i%2}
			rollups = append(rollups,
				onRung(t, network, rollup.RungAcks, key, 12*round, 4+4*int(i)))
		}
		errs := make([]error, len(rollups))
		var pushing sync.WaitGroup
		for i, r := range rollups {
			pushing.Go(func() { errs[i] = r.pushTo(t, network, nodes, 0) })
		}
		pushing.Wait()
		signed := 0
		for _, err := range errs {
			if err == nil {
				signed++
				continue
			}
			reasons := []Reason{ReasonConflict, ReasonNumbers, ReasonBehind}
			if !slices.ContainsFunc(reasons, func(r Reason) bool { return errors.Is(err, r) }) {
				t.Error(err)
			}
		}
		if signed != 1 {
			t.Errorf("%d of them were signed: %v", signed, errs)
		}
	}
}

// TestFaults: what a restored member says of itself passes, and is nobody's fault. A fault is
// final.
func TestFaults(t *testing.T) {
	for _, r := range Reasons() {
		if r.Fault() && r.Retry() {
			t.Errorf("%v: a fault that passes", r)
		}
	}
	for _, r := range []Reason{ReasonNoTable, ReasonBehind, ReasonTooOld} {
		if r.Fault() {
			t.Errorf("%v is a fault", r)
		}
	}
	if !ReasonNumbers.Fault() || !ReasonConflict.Fault() {
		t.Error("numbers that were signed before are no fault")
	}
}
