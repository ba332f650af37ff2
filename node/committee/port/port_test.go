package port

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/libs/protoio"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
	pb "github.com/cometbft/cometbft/proto/tendermint/p2p"
)

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func id(k ed25519.PrivateKey) p2p.ID { return p2p.PubKeyToID(cmted25519.PrivKey(k).PubKey()) }

// registry admits whom it holds.
type registry struct {
	mu    sync.Mutex
	nodes map[string]Identity
}

func (r *registry) add(k ed25519.PrivateKey, who Identity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nodes == nil {
		r.nodes = map[string]Identity{}
	}
	r.nodes[string(k.Public().(ed25519.PublicKey))] = who
}

func (r *registry) admit(k ed25519.PublicKey) (Identity, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	who, ok := r.nodes[string(k)]
	return who, ok
}

func info(k ed25519.PrivateKey) p2p.DefaultNodeInfo {
	return p2p.DefaultNodeInfo{ProtocolVersion: p2p.NewProtocolVersion(8, 11, 1),
		DefaultNodeID: id(k), Network: "net",
		Version: "0.39.4", ListenAddr: "tcp://127.0.0.1:1", Moniker: "test"}
}

// build makes a switch with small limits for peers that are not members.
func build(name string, r *registry, peers ...Target) *Switch {
	small := defaults
	small.followers, small.metered = 6, 5
	return New(Config{
		Key: key(name), Info: info(key(name)), Listen: "127.0.0.1:0", Peers: peers, Admit: r.admit,
		Mconn: conn.DefaultMConnConfig(), Engine: log.NewNopLogger(), limits: small,
		Logger: slog.New(slog.DiscardHandler),
	})
}

// open starts a switch without reactors.
func open(t *testing.T, name string, r *registry, peers ...Target) *Switch {
	t.Helper()
	return begin(t, build(name, r, peers...))
}

func begin(t *testing.T, s *Switch) *Switch {
	t.Helper()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.IsRunning() {
			_ = s.Stop()
		}
	})
	return s
}

func (s *Switch) address() string { return s.door.listener.Addr().String() }

func (s *Switch) target(name string) Target {
	return Target{ID: id(key(name)), Address: s.address()}
}

// await waits until the status of a peer is as wanted.
func await(t *testing.T, s *Switch, what string, done func([]Status) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		s.board.mu.Lock()
		changed := s.board.changed
		s.board.mu.Unlock()
		if done(s.Status()) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("waiting for %s at %+v", what, s.Status())
		}
	}
}

func one(connected bool, reason Reason) func([]Status) bool {
	return func(list []Status) bool {
		return len(list) == 1 && list[0].Connected == connected &&
			(connected || list[0].Reason == reason.String())
	}
}

// TestAdmission: a node that is not registered is turned away, and says so; once it is registered
// it gets in, and nobody has to restart.
func TestAdmission(t *testing.T) {
	var known, everybody registry
	a := open(t, "a", &known)
	everybody.add(key("a"), Identity{Node: 7, Registered: true, Member: true})
	b := open(t, "b", &everybody, a.target("a"))
	await(t, b, "to be turned away", one(false, ReasonNotAdmitted))
	if len(a.Status()) != 0 || a.Peers().Size() != 0 {
		t.Errorf("an unregistered peer: %+v", a.Status())
	}
	known.add(key("b"), Identity{Node: 9, Registered: true})
	await(t, b, "to be let in", one(true, ReasonNone))
	await(t, a, "the caller", one(true, ReasonNone))
	if s := a.Status()[0]; s.Node != 9 || s.Member || !s.Inbound || s.Name() != "node 9" {
		t.Errorf("%+v", s)
	}
	if s := b.Status()[0]; s.Node != 7 || !s.Member || s.Inbound {
		t.Errorf("%+v", s)
	}
	_ = a.Stop()
	await(t, b, "the end", func(l []Status) bool { return !l[0].Connected })
}

// caller is a node by hand.
func call(t *testing.T, s *Switch, as ed25519.PrivateKey,
	change func(*p2p.DefaultNodeInfo)) (*conn.SecretConnection, error) {
	t.Helper()
	raw, err := net.Dial("tcp", s.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	if err := raw.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	secret, err := conn.MakeSecretConnection(raw, cmted25519.PrivKey(as))
	if err != nil {
		return nil, err
	}
	own := info(as)
	own.Channels = []byte{heartbeatChannel}
	if change != nil {
		change(&own)
	}
	if _, err := protoio.NewDelimitedWriter(secret).WriteMsg(own.ToProto()); err != nil {
		return nil, err
	}
	var theirs pb.DefaultNodeInfo
	_, err = protoio.NewDelimitedReader(secret, p2p.MaxNodeInfoSize()).ReadMsg(&theirs)
	return secret, err
}

// TestReplace: who holds the key and calls again has the older connection closed, not the newer.
func TestReplace(t *testing.T) {
	var known registry
	known.add(key("b"), Identity{Registered: true})
	a := open(t, "a", &known)
	first, err := call(t, a, key("b"), nil)
	if err != nil {
		t.Fatal(err)
	}
	await(t, a, "the caller", one(true, ReasonNone))
	before := a.Status()[0].Since
	if _, err := call(t, a, key("b"), nil); err != nil {
		t.Fatal(err)
	}
	await(t, a, "the caller again", func(l []Status) bool {
		return len(l) == 1 && l[0].Connected && l[0].Since.After(before)
	})
	if _, err := io.Copy(io.Discard, first); errors.Is(err, context.DeadlineExceeded) {
		t.Error("the older connection stays open")
	}
	if n := a.Peers().Size(); n != 1 {
		t.Errorf("%d peers", n)
	}
}

// TestIncompatible: the handshake says what does not fit.
func TestIncompatible(t *testing.T) {
	var known registry
	a := open(t, "a", &known)
	for reason, change := range map[Reason]func(*p2p.DefaultNodeInfo){
		ReasonEngine:  func(i *p2p.DefaultNodeInfo) { i.Version = "0.40.0" },
		ReasonNetwork: func(i *p2p.DefaultNodeInfo) { i.Network = "other" },
		ReasonNone:    func(i *p2p.DefaultNodeInfo) { i.Version = "0.39.9" },
	} {
		other := info(key("b"))
		other.Channels = []byte{heartbeatChannel}
		change(&other)
		if got := ReasonOf(a.compatible(other)); got != reason {
			t.Errorf("%v, expected %v", got, reason)
		}
	}
	old := info(key("b"))
	if got := ReasonOf(a.compatible(old)); got == ReasonNone {
		t.Error("without heartbeats")
	}
	known.add(key("b"), Identity{Registered: true})
	lie := func(i *p2p.DefaultNodeInfo) { i.DefaultNodeID = id(key("c")) }
	if _, err := call(t, a, key("b"), lie); err == nil {
		await(t, a, "nobody", func(l []Status) bool { return len(l) == 0 })
	}
	if a.Peers().Size() != 0 {
		t.Error("a peer under another's id")
	}
}

// TestSameMoment: two that call each other at once keep the same connection, whichever each of them
// hears of first.
func TestSameMoment(t *testing.T) {
	low, high := p2p.ID("1"), p2p.ID("2")
	// By low's call, and by high's: what each side sees is that it dialled, or that it did not.
	keeps := func(own, other p2p.ID, firstByLow bool) (byLow bool) {
		out := firstByLow == (own == low)
		if keepsOlder(own, other, out, !out, 0) {
			return firstByLow
		}
		return !firstByLow
	}
	for _, atLow := range []bool{true, false} {
		for _, atHigh := range []bool{true, false} {
			if !keeps(low, high, atLow) || !keeps(high, low, atHigh) {
				t.Errorf("%v %v: not the call of the lower id", atLow, atHigh)
			}
		}
	}
	if keepsOlder(low, high, true, false, time.Minute) || keepsOlder(low, high, true, true, 0) {
		t.Error("an old connection outlives a new one")
	}
}

// TestKnock: what is no ephemeral key ends at the first gate, whatever length it claims, and a
// caller that says nothing soon after.
func TestKnock(t *testing.T) {
	a := open(t, "a", &registry{})
	for name, first := range map[string][]byte{
		"silence": nil, "HTTP": []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n0123456789"),
		"half":               {34, 0x0a, 32},
		"a length of 2^32-1": append([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, make([]byte, 30)...),
	} {
		raw, err := net.Dial("tcp", a.address())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Write(first); err != nil {
			t.Fatal(err)
		}
		if err := raw.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := raw.Read(make([]byte, 1))
		if n > 0 || errors.Is(err, context.DeadlineExceeded) || ReasonOf(err) != ReasonClosed {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		raw.Close()
	}
	if n := a.door.turned.Load(); n != 4 {
		t.Errorf("%d turned away", n)
	}
}

func TestReasons(t *testing.T) {
	dead := Target{ID: id(key("x")), Address: "127.0.0.1:1"}
	a := open(t, "a", &registry{}, dead)
	await(t, a, "a refusal", one(false, ReasonRefused))
	for r := ReasonNone; r <= ReasonStopped; r++ {
		if r != ReasonNone && (ReasonOf(refuse(r, io.EOF)) != r || r.Error() != "port: "+r.String()) {
			t.Errorf("%d: %v", r, r)
		}
	}
	if ReasonOf(io.EOF) != ReasonClosed || ReasonOf(errors.New("?")) != ReasonProtocol ||
		ReasonOf(nil) != ReasonNone {
		t.Error("reasons of plain errors")
	}
}
