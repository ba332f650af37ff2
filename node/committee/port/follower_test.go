package port

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
	pb "github.com/cometbft/cometbft/proto/tendermint/blocksync"
)

// listener is a reactor that counts what it hears.
type listener struct {
	*p2p.BaseReactor
	channel byte
	heard   atomic.Int64
	came    chan struct{}
}

func newListener(channel byte) *listener {
	l := &listener{channel: channel, came: make(chan struct{}, 1000)}
	l.BaseReactor = p2p.NewBaseReactor("listener", l)
	return l
}

func (l *listener) GetChannels() []*conn.ChannelDescriptor {
	return []*conn.ChannelDescriptor{{ID: l.channel, Priority: 1, SendQueueCapacity: 100,
		MessageType: &pb.Message{}}}
}

func (l *listener) Receive(p2p.Envelope) {
	l.heard.Add(1)
	select {
	case l.came <- struct{}{}:
	default:
	}
}

const (
	plain   = 0x41
	metered = 0x42
)

// talk has a peer send on the metered channel, and then on the other one until that is heard.
func talk(t *testing.T, who Identity, messages int) (heard int64) {
	var known, everybody registry
	known.add(key("b"), who)
	everybody.add(key("a"), Identity{Registered: true, Member: true})
	a, b := build("a", &known), build("b", &everybody)
	a.c.Metered = metered
	hears, done := newListener(metered), newListener(plain)
	a.AddReactor("metered", hears)
	a.AddReactor("plain", done)
	b.AddReactor("metered", newListener(metered))
	b.AddReactor("plain", newListener(plain))
	begin(t, a)
	b.c.Peers = []Target{a.target("a")}
	b.board = newBoard(b.c.Peers, b.c.Logger)
	begin(t, b)
	await(t, b, "a connection", one(true, ReasonNone))
	p := b.Peers().Get(id(key("a")))
	for range messages {
		p.Send(p2p.Envelope{ChannelID: metered, Message: &pb.StatusRequest{}})
	}
	for range 3 { // what was sent before comes before, give or take a turn of the channels
		if !p.Send(p2p.Envelope{ChannelID: plain, Message: &pb.StatusRequest{}}) {
			t.Fatal("not sent")
		}
		select {
		case <-done.came:
		case <-time.After(20 * time.Second):
			t.Fatal("not heard")
		}
	}
	return hears.heard.Load()
}

// TestMetered: a peer that is not a member is heard only so often.
func TestMetered(t *testing.T) {
	const messages = 400
	var known registry
	s := build("s", &known)
	burst := int64(s.meter.burstEach)
	if heard := talk(t, Identity{Registered: true}, messages); heard > burst+20 || heard == 0 {
		t.Errorf("a follower is heard %d times of %d, at most %d", heard, messages, burst)
	}
	if heard := talk(t, Identity{Registered: true, Member: true}, messages); heard < messages-100 {
		t.Errorf("a member is heard %d times of %d", heard, messages)
	}
}

// TestFollowers: registered nodes that are no members have so many places, and members always one.
func TestFollowers(t *testing.T) {
	var known registry
	a := open(t, "a", &known)
	join := func(name string, who Identity) error {
		known.add(key(name), who)
		_, err := call(t, a, key(name), nil)
		return err
	}
	for i := range a.c.limits.followers {
		if err := join(fmt.Sprint("f", i), Identity{Node: uint32(i), Registered: true}); err != nil {
			t.Fatal(i, err)
		}
	}
	await(t, a, "all", func(l []Status) bool { return len(l) == a.c.limits.followers })
	for name, who := range map[string]Identity{"m": {Member: true, Registered: true}, "o": {}} {
		if err := join(name, who); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := join("late", Identity{Node: 99, Registered: true}); err != nil {
		t.Fatal(err) // it is turned away after both have introduced themselves
	}
	await(t, a, "the member and the observer", func(l []Status) bool {
		return len(l) == a.c.limits.followers+2
	})
	if a.Peers().Has(id(key("late"))) {
		t.Error("one follower too many")
	}
}
