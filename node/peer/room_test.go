package peer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/door"
	"github.com/waybill-network/waybill/node/pinned"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// strangers registers nodes with a stake each, and returns their transport keys.
func strangers(t *testing.T, network *testnet.Network, count int, stake uint64) (
	keys []ed25519.PrivateKey) {
	t.Helper()
	owner := network.Members[0].Owner
	account, ok := network.View().AccountByKey(ledger.KeyOf(owner))
	if !ok {
		t.Fatal("no account")
	}
	for i := range count {
		name := fmt.Sprintf("stranger of %d", stake)
		key, secret := testnet.Key(name, i), testnet.SecretKey(name, i)
		by, bls := ledger.KeyOf(owner), ledger.BLSKey(secret.PublicKey().Bytes())
		registration := &ledger.NodeRegistration{
			BLSKey: bls, Proof: ledger.ProvePossession(secret, network.ID, rollup.RoleNode, by),
			TransportKey: ledger.KeyOf(key), NodeSignature: ledger.SignNode(network.ID, by, bls,
				key),
			Stake: stake, PeerAddress: "127.0.0.1:1",
		}
		nonce := account.Nonce + uint64(i)
		network.MustSubmit(t, ledger.NewRegisterNode(network.ID, owner, nonce, registration))
		keys = append(keys, key)
	}
	return keys
}

// slowBody is a body of which a first byte comes, and then nothing until it is closed.
type slowBody struct {
	first sync.Once
	begun func()
	end   chan struct{}
}

func (b *slowBody) Read(p []byte) (n int, err error) {
	b.first.Do(func() { p[0], n = 10, 1 }) // the tag of the header's field
	if n == 0 {
		b.begun()
		<-b.end
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// holdPlaces opens pushes whose bodies do not come, calls of them for each key, until the test
// ends.
func holdPlaces(t *testing.T, network *testnet.Network, address string, keys []ed25519.PrivateKey,
	calls int) {
	t.Helper()
	end := make(chan struct{})
	var begun, running sync.WaitGroup
	for _, key := range keys {
		protocols := new(http.Protocols)
		protocols.SetHTTP2(true)
		transport := &http.Transport{Protocols: protocols,
			TLSClientConfig: pinned.Client(certificateOf(t, key),
				TransportKey(ledger.KeyOf(network.Members[0].Transport)))}
		t.Cleanup(transport.CloseIdleConnections)
		for range calls {
			begun.Add(1)
			body := &slowBody{begun: begun.Done, end: end}
			running.Go(func() {
				r, err := http.NewRequest(http.MethodPost,
					"https://"+address+api.PeerServicePushProcedure, body)
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Content-Type", "application/proto")
				response, err := transport.RoundTrip(r)
				if err == nil {
					response.Body.Close()
				}
			})
		}
	}
	begun.Wait()
	t.Cleanup(func() { close(end); running.Wait() })
}

// TestStrangersHoldNoPlaces: five nodes without stake begin as many pushes as they may and send
// nothing more. All pushes of a member are taken meanwhile.
func TestStrangersHoldNoPlaces(t *testing.T) {
	network, nodes := startNetwork(t, 2)
	keys := strangers(t, network, 5, 0)
	holdPlaces(t, network, nodes[0].address, keys, 4)
	refused := 0
	for window := range uint32(40) {
		header, evidence := network.Rollup(t, rollup.WindowKey{Node: 1, Window: window}, window, 1)
		if _, err := nodes[1].members.Push(t.Context(), 0, header, wordFor(network, header),
			evidence); err != nil {
			t.Logf("window %d: %v", window, err)
			refused++
		}
	}
	if refused > 0 {
		t.Errorf("%d of 40 pushes were refused", refused)
	}
}

// TestStrangersBesideAStranger: one of them that behaves is served as well.
func TestStrangersBesideAStranger(t *testing.T) {
	network, nodes := startNetwork(t, 2)
	keys := strangers(t, network, 6, 0)
	holdPlaces(t, network, nodes[0].address, keys[1:], 4)
	node, _ := network.View().NodeByKey(ledger.KeyOf(keys[0]))
	header, evidence := network.Rollup(t, rollup.WindowKey{Node: node.Index}, 0, 1)
	h, err := rollup.ParseHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	members, own := outsider(t, network, keys[0]), rollup.SignOwn(keys[0], h)
	if _, err := members.Push(t.Context(), 0, header, own, evidence); err != nil {
		t.Error(err)
	}
}

// TestPenalty: whoever pushes what is not valid waits, longer each time, and is told so; others do
// not.
func TestPenalty(t *testing.T) {
	network, nodes := startNetwork(t, 3, func(_ int, c *MemberConfig) { c.Penalty = time.Hour })
	header, evidence := network.Rollup(t, rollup.WindowKey{Node: 1}, 0, 1)
	push := func(evidence []byte) error {
		_, err := nodes[1].members.Push(t.Context(), 0, header, wordFor(network, header), evidence)
		return err
	}
	bad := bytes.Clone(evidence)
	bad[len(bad)-1] ^= 1
	wantReason(t, push(bad), ReasonInvalid)
	err := push(evidence)
	wantReason(t, err, ReasonBusy)
	if after := door.RetryAfter(err); after <= penaltyLast-time.Minute || after > penaltyLast {
		t.Errorf("the delay asked is %v: %v", after, err)
	}
	if stats := nodes[0].member.Stats(); stats.Refused[ReasonBusy] != 1 {
		t.Errorf("%+v", stats)
	}
	other, otherEvidence := network.Rollup(t, rollup.WindowKey{Node: 2}, 0, 1)
	if _, err := nodes[2].members.Push(t.Context(), 0, other, wordFor(network, other),
		otherEvidence); err != nil {
		t.Errorf("another node: %v", err)
	}
}

func TestPenalties(t *testing.T) {
	p, caller, now := newPenalties(time.Second), TransportKey{1}, time.Unix(1, 0)
	if wait := p.wait(caller, now); wait != 0 {
		t.Errorf("a stranger waits %v", wait)
	}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		if wait := p.fault(caller, now); wait != want*time.Second {
			t.Errorf("fault %d: %v", i+1, wait)
		}
	}
	if wait := p.wait(caller, now.Add(time.Minute)); wait != 4*time.Minute {
		t.Errorf("a minute later: %v", wait)
	}
	for range 8 {
		p.good(caller)
	}
	// 11 faults, 8 taken back, and one more
	if wait := p.fault(caller, now); wait != 8*time.Second {
		t.Errorf("after good conduct: %v", wait)
	}
	quiet := p.caller[caller].until.Add(2 * penaltyForget)
	if wait := p.fault(caller, quiet); wait != 4*time.Second {
		t.Errorf("after quiet: %v", wait)
	}
	for range 3 {
		p.good(caller)
	}
	if len(p.caller) != 0 {
		t.Error("nothing is forgotten")
	}
	for i := range maxPenalties + 10 {
		p.fault(TransportKey{byte(i), byte(i >> 8), 1}, now.Add(time.Duration(i)))
	}
	if len(p.caller) != maxPenalties || p.caller[TransportKey{0, 0, 1}] != nil ||
		p.caller[TransportKey{100, 0, 1}] == nil {
		t.Errorf("%d callers are remembered", len(p.caller))
	}
}

func TestBusy(t *testing.T) {
	network, nodes := startNetwork(t, 2)
	room, pusher := nodes[0].member.room, TransportKey(ledger.KeyOf(network.Members[1].Transport))
	header, evidence := network.Rollup(t, rollup.WindowKey{Node: 1}, 0, 1)
	var places []*place
	for {
		p, ok := room.enter(pusher, seated)
		if !ok {
			break
		}
		places = append(places, p)
	}
	if len(places) == 0 {
		t.Fatal("no place")
	}
	_, err := nodes[1].members.Push(t.Context(), 0, header, wordFor(network, header), evidence)
	wantReason(t, err, ReasonBusy)
	for _, p := range places {
		room.leave(p)
	}
	if _, err := nodes[1].members.Push(t.Context(), 0, header, wordFor(network, header),
		evidence); err != nil {
		t.Errorf("once there is room: %v", err)
	}
	long, ok := room.enter(TransportKey{}, seated) // a verification that takes long
	if !ok || room.await(t.Context(), long) != nil {
		t.Fatal("no turn")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	header, evidence = network.Rollup(t, rollup.WindowKey{Node: 1, Window: 1}, 1, 1)
	if _, err := nodes[1].members.Push(ctx, 0, header, wordFor(network, header),
		evidence); connect.CodeOf(err) != connect.CodeDeadlineExceeded {
		t.Errorf("a push whose time ran out: %v", err)
	}
	room.leave(long)
	if _, err := nodes[1].members.Push(t.Context(), 0, header, wordFor(network, header),
		evidence); err != nil {
		t.Errorf("once there is a turn: %v", err)
	}
}

// TestTurns: members of the committee go first, but not always; among callers of one standing turns
// go round, whoever came first; one that gives up costs no turn.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(1, 40)
		holder, _ := r.enter(TransportKey{0xff}, seated)
		if err := r.await(t.Context(), holder); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []string
		var waits sync.WaitGroup
		wait := func(ctx context.Context, name byte, s standing) {
			p, ok := r.enter(TransportKey{name}, s)
			if !ok {
				t.Fatalf("no place for %c", name)
			}
			waits.Go(func() {
				defer r.leave(p)
				if err := r.await(ctx, p); err != nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, string(name))
			})
			synctest.Wait() // they come one by one
		}
		gone, leave := context.WithCancel(t.Context())
		for range 4 {
			wait(t.Context(), 'a', stakeless)
		}
		wait(gone, 'x', seated)
		wait(t.Context(), 'b', stakeless)
		for range 12 {
			wait(t.Context(), 'M', seated)
		}
		wait(t.Context(), 'N', seated)
		leave()
		synctest.Wait()
		r.leave(holder)
		waits.Wait()
		if got, want := fmt.Sprint(order), "[a M N M M M M b M M M M M M a M a a]"; got != want {
			t.Errorf("order is %s, not %s", got, want)
		}
		if len(r.running) != 0 || r.turns != 1 || len(r.last) != 0 {
			t.Errorf("the room is not empty: %+v", r)
		}
	})
}

// TestStakelessLeaveATurn: where there are several turns, nodes without stake never have all.
func TestStakelessLeaveATurn(t *testing.T) {
	r := newRoom(2, 4)
	a, _ := r.enter(TransportKey{1}, stakeless)
	b, _ := r.enter(TransportKey{2}, stakeless)
	if err := r.await(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.await(ctx, b); !errors.Is(err, context.Canceled) {
		t.Errorf("a second one has its turn: %v", err)
	}
	m, _ := r.enter(TransportKey{3}, staked)
	if err := r.await(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func TestStandings(t *testing.T) {
	network := testnet.New(t, []string{"127.0.0.1:1"}, 1)
	poor := strangers(t, network, 1, ledger.StakePerPower-1)
	rich := strangers(t, network, 1, ledger.StakePerPower)
	for _, c := range []struct {
		key  ed25519.PrivateKey
		want standing
	}{{network.Members[0].Transport, seated}, {poor[0], stakeless}, {rich[0], staked},
		{testnet.Key("nobody", 0), stakeless}} {
		if got := standingOf(network.View(), TransportKey(ledger.KeyOf(c.key))); got != c.want {
			t.Errorf("standing %d, not %d", got, c.want)
		}
	}
}
