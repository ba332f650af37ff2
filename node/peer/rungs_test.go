package peer

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

var prover = new(pipelinetest.Prover)

// proving members check the proofs of pipelinetest.
func proving(_ int, c *MemberConfig) { c.Proofs = prover.In }

// cosigned is a rollup of 12 acks with its evidence of both rungs.
func cosigned(t *testing.T, network *testnet.Network, key rollup.WindowKey) (h *rollup.Header,
	header, statements, proven []byte) {
	t.Helper()
	header, statements, proven = network.Cosigned(t, key, 0, 12,
		func(s *rollup.Segment, statements []rollup.Statement) [rollup.ProofSize]byte {
			proof, err := prover.Prove(t.Context(), 0, s, statements)
			if err != nil {
				t.Fatal(err)
			}
			return proof
		})
	h, err := rollup.ParseHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	return h, header, statements, proven
}

// spoiled is evidence of rung 3 with another proof.
func spoiled(proven []byte) []byte {
	bad := bytes.Clone(proven)
	bad[len(bad)-1] ^= 1
	return bad
}

// wantKept checks what a member gives for a rollup when it is asked for each rung.
func wantKept(t *testing.T, nodes []*testNode, member int, id rollup.Hash, statements,
	proven []byte) {
	t.Helper()
	best := proven
	if best == nil {
		best = statements
	}
	for rung, want := range [][]byte{best, nil, statements, proven} {
		_, evidence, err := nodes[(member+1)%len(nodes)].members.Pull(t.Context(), uint32(member),
			id, rollup.Rung(rung))
		if want == nil && connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("member %d, rung %d: %v", member, rung, err)
		}
		if want != nil && (err != nil || !bytes.Equal(evidence, want)) {
			t.Errorf("member %d, rung %d: %d bytes, %v", member, rung, len(evidence), err)
		}
	}
}

// TestPushRungs: evidence of two rungs is one rollup, in whatever order it comes, and what came is
// kept.
func TestPushRungs(t *testing.T) {
	network, nodes := startNetwork(t, 3, proving)
	h, header, statements, proven := cosigned(t, network, rollup.WindowKey{Node: 1})
	for member, order := range [][][]byte{{proven, statements}, {statements, proven}, {proven}} {
		var first [48]byte
		for i, evidence := range append(order, order...) {
			share, err := nodes[1].members.Push(t.Context(), uint32(member), header,
				wordFor(network, header), evidence)
			if err != nil {
				t.Fatalf("member %d, push %d: %v", member, i, err)
			}
			if i == 0 {
				first = share
			}
			if share != first {
				t.Errorf("member %d: another share for the same rollup", member)
			}
		}
		if len(order) == 1 {
			wantKept(t, nodes, member, h.ID(), nil, proven)
		} else {
			wantKept(t, nodes, member, h.ID(), statements, proven)
		}
		if stats := nodes[member].member.Stats(); stats.Signed != uint64(2*len(order)) {
			t.Errorf("member %d: %d signed", member, stats.Signed)
		}
	}
	// Another rollup for the window is a conflict on either rung.
	other, otherStatements, otherProven := network.Cosigned(t, h.Key(), 100, 9,
		func(s *rollup.Segment, statements []rollup.Statement) [rollup.ProofSize]byte {
			proof, _ := prover.Prove(t.Context(), 0, s, statements)
			return proof
		})
	for _, evidence := range [][]byte{otherProven, otherStatements} {
		_, err := nodes[1].members.Push(t.Context(), 0, other, wordFor(network, other), evidence)
		if prior := wantPrior(t, err); prior != h.ID() {
			t.Errorf("prior is %v", prior)
		}
	}
}

// TestPushBadProof: it is refused, and binds the member to nothing.
func TestPushBadProof(t *testing.T) {
	network, nodes := startNetwork(t, 2, proving)
	h, header, statements, proven := cosigned(t, network, rollup.WindowKey{Node: 1})
	push := func(evidence []byte) error {
		_, err := nodes[1].members.Push(t.Context(), 0, header, wordFor(network, header), evidence)
		return err
	}
	const rungAt = 4 + 20 + 12/4*rollup.BodySize // behind the acks of client 0
	bad := [][]byte{spoiled(proven), proven[:len(proven)-1],
		slices.Concat(proven[:rungAt], []byte{4}, proven[rungAt+1:])}
	for _, evidence := range bad {
		wantReason(t, push(evidence), ReasonInvalid)
	}
	if _, locked, err := nodes[0].store.Locked(h.Key()); locked || err != nil {
		t.Errorf("the window is locked, or: %v", err)
	}
	if err := push(statements); err != nil {
		t.Fatal(err)
	}
	for _, evidence := range bad {
		wantReason(t, push(evidence), ReasonInvalid)
	}
	wantKept(t, nodes, 0, h.ID(), statements, nil)
	if err := push(proven); err != nil {
		t.Fatal(err)
	}
	wantKept(t, nodes, 0, h.ID(), statements, proven)
}

// TestPushNoProofs: a member that lacks the key says so, for good, and takes the statements.
func TestPushNoProofs(t *testing.T) {
	network, nodes := startNetwork(t, 2)
	h, header, statements, proven := cosigned(t, network, rollup.WindowKey{Node: 1})
	_, err := nodes[1].members.Push(t.Context(), 0, header, wordFor(network, header), proven)
	wantReason(t, err, ReasonNoProofs)
	if _, locked, err := nodes[0].store.Locked(h.Key()); locked || err != nil {
		t.Errorf("the window is locked, or: %v", err)
	}
	if _, err := nodes[1].members.Push(t.Context(), 0, header, wordFor(network, header),
		statements); err != nil {
		t.Fatal(err)
	}
	wantKept(t, nodes, 0, h.ID(), statements, nil)
	if stats := nodes[0].member.Stats(); stats.Refused[ReasonNoProofs] != 1 || stats.Signed != 1 {
		t.Errorf("%+v", stats)
	}
}

// TestPullProof: evidence of rung 3 is verified before it is kept, whoever signed for it; a member
// that hands out a bad proof is passed over.
func TestPullProof(t *testing.T) {
	network, nodes := startNetwork(t, 4, proving)
	h, header, _, proven := cosigned(t, network, rollup.WindowKey{Node: 1})
	for member, evidence := range [][]byte{spoiled(proven), proven, proven} {
		if err := nodes[member].store.PutEvidence(h.ID(), header, evidence); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := nodes[3].members.Pull(t.Context(), 0, h.ID(), 0); !errors.Is(err,
		ErrMismatch) || !errors.Is(err, rollup.ErrProof) {
		t.Errorf("a bad proof: %v", err)
	}
	puller := NewPuller(PullerConfig{Members: nodes[3].members, Store: nodes[3].store, Self: 3,
		Delay: time.Millisecond, Logger: quiet})
	puller.Ordered(network.Certificate(t, header, 0, 1, 2))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	var running sync.WaitGroup
	running.Go(func() { puller.Run(ctx) })
	for puller.Stats().Pulled == 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	cancel()
	running.Wait()
	wantKept(t, nodes, 3, h.ID(), nil, proven)
}

// TestServerWithoutMember answers Pull alone.
func TestServerWithoutMember(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	network := testnet.New(t, []string{listener.Addr().String(), "127.0.0.1:1"}, 4)
	db, err := store.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	h, header, statements, proven := cosigned(t, network, rollup.WindowKey{Node: 0})
	if err := db.PutEvidence(h.ID(), header, statements); err != nil {
		t.Fatal(err)
	}
	server := NewServer(ServerConfig{Store: db, Chain: network,
		Certificate: certificateOf(t, network.Members[0].Transport), Logger: quiet})
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	defer serving.Wait()
	defer server.Shutdown(t.Context())
	members := outsider(t, network, network.Members[1].Transport)
	if _, evidence, err := members.Pull(t.Context(), 0, h.ID(),
		rollup.RungStatements); err != nil || !bytes.Equal(evidence, statements) {
		t.Errorf("%d bytes, %v", len(evidence), err)
	}
	if _, _, err := members.Pull(t.Context(), 0, h.ID(),
		9); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("rung 9: %v", err)
	}
	if _, err := members.Push(t.Context(), 0, header, wordFor(network, header),
		proven); connect.CodeOf(err) != connect.CodeUnimplemented {
		t.Errorf("a push: %v", err)
	}
}
