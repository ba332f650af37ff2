package replay_test

import (
	"bytes"
	"iter"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/internal/testnode"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/rollup"
)

// serving is a node that can die: its connections break, and new ones are refused.
type serving struct {
	net.Listener
	url  string
	node *testnode.Node

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func (s *serving) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		_ = c.Close()
	}
	s.conns = append(s.conns, c)
	return c, nil
}

// breakOff closes all connections, and new ones at once until mend.
func (s *serving) breakOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
	for _, c := range s.conns {
		_ = c.Close()
	}
}

// attempts is how many connections there were.
func (s *serving) attempts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *serving) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = false
}

func (s *serving) die() {
	_ = s.Close()
	s.breakOff()
}

// serve starts the node with an index of a network. Everything in it is the real thing but for
// consensus.
func serve(t *testing.T, network *testnet.Network, index uint32) *serving {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	sessions := ingest.NewSessions(quiet)
	n := testnode.Start(t, testnode.Options{Network: network, Index: index,
		WindowAge: 200 * time.Millisecond, CosignWait: time.Second, Cosigners: sessions})
	server := ingest.NewServer(ingest.Config{Network: network.ID, Node: index, Version: "test",
		Key:      network.Members[index].Transport,
		Pipeline: n.Pipeline.Pipeline, Sessions: sessions, Chain: n.Chain,
		Witness: network.Witness, Store: n.Store,
		Status: func() any { return struct{}{} }, Logger: quiet})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &serving{Listener: listener, url: "http://" + listener.Addr().String(), node: n}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(s) }) // a dead node's listener is closed under it
	t.Cleanup(func() {
		s.die()
		_ = server.Shutdown(t.Context())
		running.Wait()
	})
	return s
}

func downConfig(network *testnet.Network, urls ...string) replay.Config {
	return replay.Config{Genesis: network.Genesis, Nodes: urls, Treasury: network.Treasury,
		Seed: bytes.Repeat([]byte{9}, 32), Deposit: 1_000_000_000, Price: 1000, Batch: 4,
		Patience: 5 * time.Second}
}

// missing requires that one node alone is named with what it was not given, and that the other one
// was given all that was its.
func missing(t *testing.T, r *replay.Replay, total int, node string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), node) {
		t.Errorf("%v does not name %s", err, node)
	}
	tally, left := r.Tally(), r.Undelivered()
	if len(left) != 1 || left[0].Node != node || left[0].Acks != tally.Undelivered ||
		tally.Undelivered == 0 || tally.Accepted == 0 ||
		tally.Accepted+tally.Undelivered != uint64(total) {
		t.Errorf("of %d: %+v in %+v", total, left, tally)
	}
	if err := r.Finish(t.Context()); err != nil { // waits for the other node alone
		t.Error(err)
	}
	if did, err := r.Cosigned(); err != nil || did.Signed == 0 {
		t.Errorf("%+v, %v", did, err)
	}
}

// TestANodeIsDownFromTheStart: the parties are registered through the other node, whose deliveries
// are made; those of the node that is down are counted under its name.
func TestANodeIsDownFromTheStart(t *testing.T) {
	t.Parallel()
	for _, down := range []int{0, 1} { // the first one is asked about the ledger by preference
		network := testnet.New(t, []string{"127.0.0.1:1", "127.0.0.1:1"}, 1)
		urls := []string{"http://127.0.0.1:1", "http://127.0.0.1:1"}
		urls[1-down] = serve(t, network, uint32(1-down)).url
		r, err := replay.New(t.Context(), downConfig(network, urls...))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		g := workload.Generator{Seed: 1, Requests: 60}
		if _, err := r.Register(t.Context(), deliveries(g), nil); err != nil {
			t.Fatal(err)
		}
		err = r.Deliver(t.Context(), deliveries(g))
		missing(t, r, g.Requests, urls[down], err)
	}
}

// TestANodeComesLate: what was for it waits for it.
func TestANodeComesLate(t *testing.T) {
	t.Parallel()
	network := testnet.New(t, []string{"127.0.0.1:1", "127.0.0.1:1"}, 1)
	first, late := serve(t, network, 0), serve(t, network, 1)
	late.breakOff()
	cfg := downConfig(network, first.url, late.url)
	cfg.Patience = time.Minute
	r, err := replay.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	g := workload.Generator{Seed: 1, Requests: 60}
	if _, err := r.Register(t.Context(), deliveries(g), nil); err != nil {
		t.Fatal(err)
	}
	if n := late.attempts(); n == 0 {
		t.Error("the late node was not asked")
	}
	late.mend()
	if err := r.Deliver(t.Context(), deliveries(g)); err != nil {
		t.Fatal(err)
	}
	if tally := r.Tally(); tally.Accepted != uint64(g.Requests) || r.Undelivered() != nil {
		t.Errorf("%+v, %+v", tally, r.Undelivered())
	}
}

// TestANodeDiesAmidDeliveries: the other one is given all that is its, the books say of every
// delivery what became of it, and the node that died is named.
func TestANodeDiesAmidDeliveries(t *testing.T) {
	t.Parallel()
	network := testnet.New(t, []string{"127.0.0.1:1", "127.0.0.1:1"}, 1)
	first, second := serve(t, network, 0), serve(t, network, 1)
	r, err := replay.New(t.Context(), downConfig(network, first.url, second.url))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	g := workload.Generator{Seed: 1, Requests: 200}
	if _, err := r.Register(t.Context(), deliveries(g), nil); err != nil {
		t.Fatal(err)
	}
	err = r.Deliver(t.Context(), killing(t, second, deliveries(g)))
	missing(t, r, g.Requests, second.url, err)
}

// killing lets a node die when half of the deliveries are on their way, and it has accepted some.
func killing(
	t *testing.T,
	s *serving,
	all iter.Seq[workload.Delivery],
) iter.Seq[workload.Delivery] {
	return func(yield func(workload.Delivery) bool) {
		n := 0
		for d := range all {
			if n++; n == 100 {
				deadline := time.Now().Add(20 * time.Second)
				for s.node.Pipeline.Stats().Codes()[rollup.CodeAccepted] == 0 {
					if time.Sleep(time.Millisecond); time.Now().After(deadline) {
						t.Error("the node accepts nothing")
						break
					}
				}
				s.die()
			}
			if !yield(d) {
				return
			}
		}
	}
}

// TestNoNodeAnswers: nothing is waited for.
func TestNoNodeAnswers(t *testing.T) {
	t.Parallel()
	network := testnet.New(t, []string{"127.0.0.1:1"}, 1)
	cfg := downConfig(network, "http://127.0.0.1:1", "http://127.0.0.1:2")
	cfg.Patience = time.Hour
	_, err := replay.New(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "no node answers: ") ||
		!strings.Contains(err.Error(), "127.0.0.1:2 does not answer") {
		t.Error(err)
	}
}
