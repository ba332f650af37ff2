package peer

import (
	"testing"
	"time"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// accusing is a network whose members accuse, when they are told to.
type accusing struct {
	*testing.T
	*testnet.Network
	nodes    []*testNode
	accusers []*Accuser
}

func newAccusing(t *testing.T) *accusing {
	a := &accusing{T: t}
	a.Network, a.nodes = startNetwork(t, 4, func(i int, c *MemberConfig) {
		court, ok := c.Chain.(Court)
		if !ok {
			t.Fatal("the chain takes no evidence")
		}
		accuser, err := NewAccuser(AccuserConfig{Network: c.Network, Chain: court, Store: c.Store,
			Self: uint32(i), Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		a.accusers, c.Accuse = append(a.accusers, accuser), accuser.Accuse
	})
	return a
}

// push is node 1's of a rollup of some acks, with a word of its own, to a member.
func (a *accusing) push(member int, window uint32, acks int, spoil bool) (header []byte,
	err error) {
	a.Helper()
	header, evidence := a.Rollup(a.T, rollup.WindowKey{Node: 1, Window: window}, 8*window, acks)
	if spoil {
		evidence = evidence[1:]
	}
	_, err = a.nodes[1].members.Push(a.Context(), uint32(member), header,
		wordFor(a.Network, header),
		evidence)
	return header, err
}

// order has the chain order a rollup, and tells some members.
func (a *accusing) order(header []byte, members ...int) {
	a.Helper()
	c := a.Certificate(a.T, header, 0, 1, 2)
	a.MustSubmit(a.T, ledger.NewTicket(a.ID, c))
	for _, m := range members {
		a.nodes[m].member.Ordered(c)
	}
}

// convicted has all accusers submit what they have, and returns how often node 1 was convicted.
func (a *accusing) convicted() int {
	for range 2 { // the second time finds that it is done
		for _, accuser := range a.accusers {
			accuser.submit(a.Context())
		}
	}
	for i, accuser := range a.accusers {
		if n := len(accuser.pending); n > 0 {
			a.Errorf("member %d: %d accusations wait", i, n)
		}
	}
	for i := range uint32(4) {
		if i != 1 && len(a.View().Convictions(i)) > 0 {
			a.Errorf("node %d was convicted", i)
		}
	}
	return len(a.View().Convictions(1))
}

func (a *accusing) want(what string, convictions int) {
	a.Helper()
	if n := a.convicted(); n != convictions {
		a.Errorf("%s: %d convictions, not %d", what, n, convictions)
	}
}

// TestTwoWordsConvict: a node that says two things of a window is convicted by the members that
// heard both, one of them perhaps only in the ticket.
func TestTwoWordsConvict(t *testing.T) {
	a := newAccusing(t)
	var ordered []byte
	for member := range 3 {
		header, err := a.push(member, 0, 3, false)
		if err != nil {
			t.Fatal(err)
		}
		ordered = header
	}
	if _, err := a.push(3, 0, 4, false); err != nil {
		t.Fatal(err) // a member that saw nothing else signs it
	}
	a.want("nobody heard both", 0)
	a.order(ordered, 0, 1, 2, 3)
	a.want("member 3 heard one, and the ticket has another", 1)
	stake, _ := a.View().Node(1)
	if power := a.View().Committee().Members[1].Power; stake.Stake*2 != power*ledger.StakePerPower {
		t.Errorf("a stake of %d is left of a power of %d", stake.Stake, power)
	}

	if _, err := a.push(0, 1, 3, false); err != nil {
		t.Fatal(err)
	}
	_, err := a.push(0, 1, 2, false)
	wantReason(t, err, ReasonConflict)
	a.want("one member heard both", 2)
	_, err = a.push(0, 1, 1, false)
	wantReason(t, err, ReasonConflict)
	a.want("a third word of the window", 2)

	_, err = a.push(2, 2, 3, true)
	wantReason(t, err, ReasonInvalid)
	if _, err = a.push(2, 2, 4, false); err != nil {
		t.Fatal(err)
	}
	a.want("the first word was of a rollup that is not valid", 3)

	a.order(func() []byte { header, _ := a.push(2, 3, 3, false); return header }(), 0)
	a.nodes[0].member.Ordered(a.Certificate(t, ordered, 0, 1, 2))
	a.want("nothing new was said", 3)
}

// TestHonestWords: what honest nodes do, and what others do in their names, accuses nobody.
func TestHonestWords(t *testing.T) {
	a := newAccusing(t)
	for window := range uint32(2) {
		for range 2 { // again, as after a crash
			header, err := a.push(0, window, 3, false)
			if err != nil {
				t.Fatal(err)
			}
			if window == 1 {
				a.nodes[0].member.Ordered(a.Certificate(t, header, 0, 1, 2))
			}
		}
	}
	header, evidence := a.Rollup(t, rollup.WindowKey{Node: 1, Window: 5}, 50, 3)
	other, _ := a.Rollup(t, rollup.WindowKey{Node: 1, Window: 5}, 50, 4)
	_, err := a.nodes[1].members.Push(t.Context(), 0, header, wordFor(a.Network, other), evidence)
	wantReason(t, err, ReasonBadWord)
	_, err = a.nodes[2].members.Push(t.Context(), 0, other, wordFor(a.Network, other), evidence)
	wantReason(t, err, ReasonNotOwner)
	a.want("honest", 0)
}

// TestAccusationsSurvive: what was heard and what is to be said outlives the process.
func TestAccusationsSurvive(t *testing.T) {
	a := newAccusing(t)
	if _, err := a.push(3, 0, 4, false); err != nil {
		t.Fatal(err)
	}
	ordered, err := a.push(0, 0, 3, false)
	if err != nil {
		t.Fatal(err)
	}
	a.order(ordered) // nobody is told: the process ends with the block
	db := a.nodes[3].store
	c := a.Certificate(t, ordered, 0, 1, 2)
	if err := db.PutCertificate(c.Header.Key(), c.Append(nil)); err != nil {
		t.Fatal(err)
	}
	restart := func() *Accuser {
		t.Helper()
		accuser, err := NewAccuser(AccuserConfig{Network: a.ID, Chain: a.Network, Store: db,
			Self:   3,
			Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		return accuser
	}
	accuser := restart()
	member := NewMember(MemberConfig{Network: a.ID,
		Keys: signer.NewLocal(a.Members[3].BLS, nil), Chain: a.Network,
		Store:  db,
		Accuse: accuser.Accuse, Logger: quiet})
	if err := member.Review(); err != nil {
		t.Fatal(err)
	}
	if len(accuser.pending) != 1 {
		t.Fatalf("%d accusations", len(accuser.pending))
	}
	accuser = restart() // before it said anything
	if len(accuser.pending) != 1 {
		t.Fatalf("%d accusations after the second restart", len(accuser.pending))
	}
	accuser.submit(t.Context())
	accuser.submit(t.Context())
	if n := len(a.View().Convictions(1)); n != 1 ||
		len(accuser.pending)+len(restart().pending) > 0 {
		t.Errorf("%d convictions, %d accusations", n, len(accuser.pending))
	}
	member.Ordered(c) // in vain: it is convicted
	accuser = restart()
	if len(accuser.pending) > 0 {
		t.Error("it is accused again")
	}
}

// TestWordsAreForgotten: with the epoch.
func TestWordsAreForgotten(t *testing.T) {
	a := newAccusing(t)
	if _, err := a.push(0, 0, 3, false); err != nil {
		t.Fatal(err)
	}
	words := a.nodes[0].member.words
	key := rollup.WindowKey{Node: 1}
	if _, said, err := words.first(key); said == nil || err != nil {
		t.Fatal("the word is not kept", err)
	}
	for range 3 {
		a.Advance(testnet.EpochSeconds * time.Second)
	}
	header, evidence := a.Rollup(t, rollup.WindowKey{Node: 1, Epoch: a.View().Epoch()}, 0, 2)
	if _, err := a.nodes[1].members.Push(t.Context(), 0, header, wordFor(a.Network, header),
		evidence); err != nil {
		t.Fatal(err)
	}
	if _, said, err := words.first(key); said != nil || err != nil {
		t.Errorf("the word is kept: %v", err)
	}
	if _, said, _ := words.first(rollup.WindowKey{Node: 1, Epoch: a.View().Epoch()}); said == nil {
		t.Error("the new one is not")
	}
}

// TestSelf: a node whose home is used twice says so, and accuses itself of nothing.
func TestSelf(t *testing.T) {
	a := newAccusing(t)
	if _, err := a.push(1, 0, 3, false); err != nil {
		t.Fatal(err)
	}
	_, err := a.push(1, 0, 4, false)
	wantReason(t, err, ReasonConflict)
	a.want("itself", 0)
}

// TestWordsBound: a node cannot fill a member's disk with words.
func TestWordsBound(t *testing.T) {
	db, err := store.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w := newWords(db)
	w.kept[billedBy{1, 0}] = maxWords
	own := ownOf(rollup.NewHeader(rollup.Network{}, rollup.WindowKey{Node: 1}))
	for range 2 {
		if e, err := w.hear(own, [rollup.WordSize]byte{}); e != nil || err != nil {
			t.Fatal(e, err)
		}
		own.Rollup[0]++
	}
	own.Epoch++
	for i := range 2 { // another epoch has its own
		e, err := w.hear(own, [rollup.WordSize]byte{})
		if err != nil || (e != nil) != (i == 1) {
			t.Fatal(e, err)
		}
		own.Rollup[0]++
	}
}
