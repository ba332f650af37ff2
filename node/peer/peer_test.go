package peer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/pinned"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

var quiet = slog.New(slog.DiscardHandler)

// testNode is one member of a test network with its server on loopback.
type testNode struct {
	store   *store.Store
	member  *Member
	members *Members
	address string
}

// startNetwork starts n members, each serving the peer API on a real socket; setUp may change their
// settings.
func startNetwork(t *testing.T, n int, setUp ...func(i int, c *MemberConfig)) (*testnet.Network,
	[]*testNode) {
	t.Helper()
	listeners := make([]net.Listener, n)
	addresses := make([]string, n)
	for i := range listeners {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i], addresses[i] = listener, listener.Addr().String()
	}
	network := testnet.New(t, addresses, 4)
	nodes := make([]*testNode, n)
	for i := range nodes {
		nodes[i] = startNode(t, network, i, listeners[i], setUp...)
	}
	return network, nodes
}

func startNode(t *testing.T, network *testnet.Network, i int, listener net.Listener,
	setUp ...func(i int, c *MemberConfig)) *testNode {
	t.Helper()
	db, err := store.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	certificate := certificateOf(t, network.Members[i].Transport)
	node := &testNode{store: db, address: listener.Addr().String()}
	config := MemberConfig{Network: network.ID,
		Keys: signer.NewLocal(network.Members[i].BLS, nil), Chain: network,
		Store: db, Workers: 1, Concurrent: 1, Waiting: 4, Penalty: time.Nanosecond,
		Logger: quiet}
	for _, f := range setUp {
		f(i, &config)
	}
	node.member = NewMember(config)
	node.members = NewMembers(MembersConfig{Chain: network, Certificate: certificate,
		Local: node.member, Self: uint32(i), Proofs: config.Proofs})
	server := NewServer(ServerConfig{Member: node.member, Store: db, Chain: network,
		Certificate: certificate, Logger: quiet})
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		node.members.Close()
		if err := server.Shutdown(t.Context()); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		serving.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return node
}

func certificateOf(t *testing.T, key ed25519.PrivateKey) tls.Certificate {
	t.Helper()
	certificate, err := NewCertificate(key)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// outsider returns members as seen by a node with another transport key, or with another idea of
// the network.
func outsider(t *testing.T, chain Chain, key ed25519.PrivateKey) *Members {
	t.Helper()
	m := NewMembers(MembersConfig{Chain: chain, Certificate: certificateOf(t, key)})
	t.Cleanup(m.Close)
	return m
}

// wordFor is the node's word that a rollup is its own; none for a header that does not decode.
func wordFor(network *testnet.Network, header []byte) (own [rollup.WordSize]byte) {
	if h, err := rollup.ParseHeader(header); err == nil {
		own = rollup.SignOwn(network.Members[h.Node].Transport, h)
	}
	return own
}

func wantReason(t *testing.T, err error, want Reason) *Refusal {
	t.Helper()
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Code != want || !errors.Is(err, want) {
		t.Fatalf("got %v, want a refusal as %v", err, want)
	}
	if want.Retry() != (want == ReasonLagging || want == ReasonBusy) {
		t.Errorf("%v says Retry() = %v", want, want.Retry())
	}
	return refusal
}

// wantPrior returns the rollup that a refusal for a conflict names.
func wantPrior(t *testing.T, err error) rollup.Hash {
	t.Helper()
	var prior *PriorError
	if !errors.As(wantReason(t, err, ReasonConflict), &prior) {
		t.Fatalf("no rollup is named: %v", err)
	}
	return prior.Prior
}

func TestPushGivesShares(t *testing.T) {
	network, nodes := startNetwork(t, 4)
	header, evidence := network.Rollup(t, rollup.WindowKey{Node: 1, Window: 3}, 0, 10)
	h, err := rollup.ParseHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	message := rollup.CertificateMessage(&network.ID, 0, h.Key(), h.ID())
	for i := range nodes { // member 1 is the pusher's own
		var first [48]byte
		for round := range 2 {
			share, err := nodes[1].members.Push(t.Context(), uint32(i), header,
				wordFor(network, header), evidence)
			if err != nil {
				t.Fatalf("member %d: %v", i, err)
			}
			signature, err := bls.ParseSignature(share[:])
			if err != nil || !bls.Default.Verify(network.Members[i].BLS.PublicKey(), message,
				&signature) {
				t.Fatalf("member %d: the share does not verify: %v", i, err)
			}
			if round == 0 {
				first = share
			} else if share != first {
				t.Errorf("member %d: another share for the same rollup", i)
			}
		}
		if id, locked, err := nodes[i].store.Locked(h.Key()); err != nil || !locked ||
			id != h.ID() {
			t.Errorf("member %d: lock %v %v %v", i, id, locked, err)
		}
		if has, err := nodes[i].store.HasEvidence(h.ID(), 0); err != nil || !has {
			t.Errorf("member %d keeps no evidence: %v", i, err)
		}
		if stats := nodes[i].member.Stats(); stats.Signed != 2 {
			t.Errorf("member %d: %d signed", i, stats.Signed)
		}
	}
	// The shares of all make a certificate that the ledger executes.
	network.MustSubmit(t, ledger.NewTicket(network.ID, network.Certificate(t, header, 0, 1, 2)))
}

func TestPushRefusals(t *testing.T) {
	network, nodes := startNetwork(t, 4)
	own := rollup.WindowKey{Node: 1}
	header, evidence := network.Rollup(t, own, 0, 5)
	push := func(header, evidence []byte) error {
		_, err := nodes[1].members.Push(t.Context(), 0, header, wordFor(network, header), evidence)
		return err
	}

	t.Run("another node's rollup", func(t *testing.T) {
		_, err := nodes[2].members.Push(t.Context(), 0, header, wordFor(network, header), evidence)
		wantReason(t, err, ReasonNotOwner)
		// its own member is no softer
		_, err = nodes[2].members.Push(t.Context(), 2, header, wordFor(network, header), evidence)
		wantReason(t, err, ReasonNotOwner)
	})
	t.Run("evidence that does not fit", func(t *testing.T) {
		bad := bytes.Clone(evidence)
		bad[len(bad)-1] ^= 1
		wantReason(t, push(header, bad), ReasonInvalid)
		wantReason(t, push(header, evidence[:len(evidence)-1]), ReasonInvalid)
		wantReason(t, push(header, nil), ReasonInvalid)
		wantReason(t, push(header[:len(header)-1], evidence), ReasonInvalid)
	})
	t.Run("aggregate signature", func(t *testing.T) {
		h, _ := rollup.ParseHeader(header)
		other, _ := network.Rollup(t, own, 100, 5)
		o, _ := rollup.ParseHeader(other)
		h.AckSignature = o.AckSignature
		wantReason(t, push(h.Append(nil), evidence), ReasonInvalid)
	})
	t.Run("another network", func(t *testing.T) {
		h, _ := rollup.ParseHeader(header)
		h.Network[9] ^= 1
		wantReason(t, push(h.Append(nil), evidence), ReasonInvalid)
	})
	t.Run("epoch to come", func(t *testing.T) {
		ahead, ev := network.Rollup(t, rollup.WindowKey{Node: 1, Epoch: 1}, 0, 2)
		wantReason(t, push(ahead, ev), ReasonLagging)
		network.Advance(testnet.EpochSeconds * time.Second)
		if err := push(ahead, ev); err != nil {
			t.Errorf("once the epoch runs: %v", err)
		}
	})
	t.Run("epoch gone by", func(t *testing.T) {
		network.Advance(11 * time.Second) // the grace, and a block more
		network.Advance(time.Second)
		wantReason(t, push(header, evidence), ReasonTooOld)
	})
	if stats := nodes[0].member.Stats(); stats.Refused[ReasonInvalid] != 6 ||
		stats.Refused[ReasonNotOwner] != 1 ||
		stats.Refused[ReasonLagging] != 1 || stats.Refused[ReasonTooOld] != 1 || stats.Signed != 1 {
		t.Errorf("stats: %+v", stats)
	}
}

func TestPushConflict(t *testing.T) {
	network, nodes := startNetwork(t, 4)
	key := rollup.WindowKey{Node: 1, Window: 7}
	first, firstEvidence := network.Rollup(t, key, 0, 3)
	second, secondEvidence := network.Rollup(t, key, 0, 4)
	third, thirdEvidence := network.Rollup(t, key, 0, 5)
	push := func(header, evidence []byte) error {
		_, err := nodes[1].members.Push(t.Context(), 2, header, wordFor(network, header), evidence)
		return err
	}
	if err := push(first, firstEvidence); err != nil {
		t.Fatal(err)
	}
	h, _ := rollup.ParseHeader(first)
	for range 2 {
		if prior := wantPrior(t, push(second, secondEvidence)); prior != h.ID() {
			t.Errorf("prior is %v, not %v", prior, h.ID())
		}
	}
	wantReason(t, push(third, thirdEvidence), ReasonConflict)
	if err := push(first, firstEvidence); err != nil {
		t.Errorf("the first again: %v", err)
	}
	for _, c := range []struct {
		header []byte
		kept   bool
	}{{first, true}, {second, true}, {third, false}} {
		h, _ := rollup.ParseHeader(c.header)
		if kept, err := nodes[2].store.HasEvidence(h.ID(), 0); err != nil || kept != c.kept {
			t.Errorf("rollup of %d acks: kept is %v, %v", h.AckCount, kept, err)
		}
	}
}

// laggard is a chain that shows an old view.
type laggard struct {
	mu   sync.Mutex
	view *ledger.View
}

func (l *laggard) View() *ledger.View {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view
}

func TestLaggingRegistry(t *testing.T) {
	network := testnet.New(t, []string{"127.0.0.1:1", "127.0.0.1:2"}, 2)
	db, err := store.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	chain := &laggard{view: network.View()}
	member := NewMember(MemberConfig{Network: network.ID,
		Keys: signer.NewLocal(network.Members[0].BLS, nil), Chain: chain,
		Store: db, Logger: quiet})
	network.AddClients(t, network.Members[0].Owner, 2)
	header, evidence := network.Rollup(t, rollup.WindowKey{Node: 1}, 0, 6)
	pusher := TransportKey(ledger.KeyOf(network.Members[1].Transport))
	_, err = member.Push(t.Context(), pusher, header, wordFor(network, header), evidence)
	wantReason(t, err, ReasonLagging)
	if !errors.Is(err, rollup.ErrUnknownClient) {
		t.Errorf("the reason got lost: %v", err)
	}
	chain.view = network.View()
	if _, err := member.Push(t.Context(), pusher, header, wordFor(network, header),
		evidence); err != nil {
		t.Errorf("once the chain caught up: %v", err)
	}
}

func TestIdentities(t *testing.T) {
	network, nodes := startNetwork(t, 2)
	header, evidence := network.Rollup(t, rollup.WindowKey{Node: 1}, 0, 1)

	t.Run("unregistered caller", func(t *testing.T) {
		stranger := outsider(t, network, testnet.Key("stranger", 0))
		// In TLS 1.3 a client learns only after its handshake that it was refused: by an alert, or
		// by a broken connection.
		if _, err := stranger.Push(t.Context(), 0, header, wordFor(network, header),
			evidence); err == nil {
			t.Error("a stranger was served")
		}
		stats := nodes[0].member.Stats()
		for reason, n := range stats.Refused {
			if n > 0 {
				t.Errorf("a stranger's push reached the member: %s", reason)
			}
		}
		if stats.Signed > 0 {
			t.Error("a stranger's rollup was signed")
		}
	})
	t.Run("server with another key", func(t *testing.T) {
		// A registry that says another key listens at member 0's address.
		wrong := testnet.New(t, []string{nodes[1].address, nodes[0].address}, 1)
		m := outsider(t, wrong, network.Members[1].Transport)
		if _, err := m.Push(t.Context(), 0, header, wordFor(network, header),
			evidence); !errors.Is(err, ErrIdentity) {
			t.Errorf("got %v, want ErrIdentity", err)
		}
	})
	dial := func(config *tls.Config) error {
		conn, err := tls.Dial("tcp", nodes[0].address, config)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		// TLS 1.3 tells a client of its refusal after the handshake
		_, err = conn.Read(make([]byte, 1))
		return err
	}
	t.Run("no certificate", func(t *testing.T) {
		err := dial(&tls.Config{InsecureSkipVerify: true, NextProtos: []string{pinned.ALPN}})
		if err == nil || !strings.Contains(err.Error(), "certificate required") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("TLS 1.2", func(t *testing.T) {
		err := dial(&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
		if err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("plain HTTP", func(t *testing.T) {
		response, err := http.Get("http://" + nodes[0].address + api.PeerServicePullProcedure)
		if err == nil {
			response.Body.Close()
			if response.StatusCode != http.StatusBadRequest {
				t.Errorf("status %v", response.Status)
			}
		}
	})
	t.Run("garbage", func(t *testing.T) {
		conn, err := net.Dial("tcp", nodes[0].address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(bytes.Repeat([]byte{0xa5}, 4096)); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, context.DeadlineExceeded) {
			t.Error("the server keeps the connection")
		}
	})
	if _, err := nodes[1].members.Push(t.Context(), 0, header, wordFor(network, header),
		evidence); err != nil {
		t.Errorf("after all that, the right node: %v", err)
	}
}

func TestOversizedPush(t *testing.T) {
	network, nodes := startNetwork(t, 2)
	header, _ := network.Rollup(t, rollup.WindowKey{Node: 1}, 0, 1)
	_, err := nodes[1].members.Push(t.Context(), 0, header, wordFor(network, header),
		make([]byte, MaxMessageSize))
	if connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("got %v", err)
	}
	var refusal *Refusal
	if errors.As(err, &refusal) {
		t.Error("an oversized message reads like a busy member")
	}
}

func TestPushAfterRestart(t *testing.T) {
	network, nodes := startNetwork(t, 2)
	first, evidence := network.Rollup(t, rollup.WindowKey{Node: 1}, 0, 2)
	if _, err := nodes[1].members.Push(t.Context(), 0, first, wordFor(network, first),
		evidence); err != nil {
		t.Fatal(err)
	}
	again := NewMember(MemberConfig{Network: network.ID,
		Keys:  signer.NewLocal(network.Members[0].BLS, nil),
		Chain: network, Store: nodes[0].store, Logger: quiet})
	pusher := TransportKey(ledger.KeyOf(network.Members[1].Transport))
	second, secondEvidence := network.Rollup(t, rollup.WindowKey{Node: 1}, 0, 3)
	_, err := again.Push(t.Context(), pusher, second, wordFor(network, second), secondEvidence)
	wantReason(t, err, ReasonConflict)
	if _, err := again.Push(t.Context(), pusher, first, wordFor(network, first),
		evidence); err != nil {
		t.Errorf("the rollup it is bound to: %v", err)
	}
}

func TestPuller(t *testing.T) {
	network, nodes := startNetwork(t, 4)
	var want []rollup.Hash
	puller := NewPuller(PullerConfig{Members: nodes[3].members, Store: nodes[3].store, Self: 3,
		Delay: time.Millisecond, Retry: 10 * time.Millisecond, Logger: quiet})
	for window := range uint32(3) {
		key := rollup.WindowKey{Node: 1, Window: window}
		header, evidence := network.Rollup(t, key, 4*window, 4)
		for i := range 3 {
			if _, err := nodes[1].members.Push(t.Context(), uint32(i), header,
				wordFor(network, header), evidence); err != nil {
				t.Fatal(err)
			}
		}
		c := network.Certificate(t, header, 0, 1, 2)
		want = append(want, c.Header.ID())
		if window == 0 { // ordered before the restart: found in the store
			if err := nodes[3].store.PutCertificate(key, c.Append(nil)); err != nil {
				t.Fatal(err)
			}
		} else {
			puller.Ordered(c)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { puller.Run(ctx) })
	for deadline := time.Now().Add(20 * time.Second); puller.Stats().Pulled < 3 &&
		time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	running.Wait()
	for _, id := range want {
		a, err := nodes[3].store.Archive(id)
		if err != nil {
			t.Errorf("rollup %v: %v", id, err)
			continue
		}
		evidence, err := a.Evidence(0)
		header := a.Header.Append(nil)
		if err != nil || match(id, 0, header, evidence, network.View(), nil) != nil {
			t.Errorf("rollup %v: %v", id, err)
		}
	}
	if stats := puller.Stats(); stats.Pulled != 3 || stats.Wanted != 0 {
		t.Errorf("stats: %+v", stats)
	}
	if _, _, err := nodes[3].members.Pull(t.Context(), 0, rollup.Hash{1},
		0); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("an unknown rollup: %v", err)
	}
}

func TestMatchRefusesOtherEvidence(t *testing.T) {
	network := testnet.New(t, []string{"127.0.0.1:1"}, 2)
	header, evidence := network.Rollup(t, rollup.WindowKey{}, 0, 4)
	other, otherEvidence := network.Rollup(t, rollup.WindowKey{}, 1, 4)
	h, _ := rollup.ParseHeader(header)
	if err := match(h.ID(), 0, header, evidence, network.View(), nil); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][2][]byte{
		"header": {other, otherEvidence}, "evidence": {header, otherEvidence},
		"neither": {nil, nil}, "cut": {header, evidence[:4]},
	} {
		if err := match(h.ID(), 0, c[0], c[1], network.View(), nil); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
