// Package testnode is the inside of one serving node for tests of what stands at its door: a real
// pipeline over a real store, in a network whose only committee member it is. Only consensus is
// missing, as package testnet has it.
package testnode

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Options say what differs from a node whose window stays open and whose clients co-sign nothing.
type Options struct {
	Clients    int           // registered; 0: 4
	WindowAge  time.Duration // after which a window closes; 0: an hour
	CosignWait time.Duration
	Cosigners  pipeline.Cosigners
	Now        func() time.Time     // the node's clock; nil: this machine's
	Taken      func([]rollup.Chunk) // hears of acks that are durable; may be nil
	Exposure   uint64               // what the node risks at one payer; 0: the default

	Network *testnet.Network // that the node is of; nil: one of its own, with Clients
	Index   uint32           // of the node, which is the member of the same index
}

// Node is a running node without its doors.
type Node struct {
	*testnet.Network
	Store    *store.Store
	Pipeline *pipelinetest.Node
	Chain    Chain

	index uint32
}

// Start starts a node, which ends with the test. What serves its doors must end before: register
// that with tb.Cleanup afterwards.
func Start(tb testing.TB, o Options) *Node {
	tb.Helper()
	n := &Node{Network: o.Network, index: o.Index}
	if n.Network == nil {
		n.Network = testnet.New(tb, []string{"127.0.0.1:1"}, cmp.Or(o.Clients, 4))
	}
	var err error
	if n.Store, err = store.OpenMemory(); err != nil {
		tb.Fatal(err)
	}
	n.Chain = Chain{n.Network, n.Store}
	certificate, err := peer.NewCertificate(n.Members[o.Index].Transport)
	if err != nil {
		tb.Fatal(err)
	}
	member := peer.NewMember(peer.MemberConfig{Network: n.ID,
		Keys: signer.NewLocal(n.Members[o.Index].BLS, nil), Chain: n,
		Store: n.Store, Logger: slog.New(slog.DiscardHandler)})
	members := peer.NewMembers(
		peer.MembersConfig{Chain: n, Certificate: certificate, Local: member},
	)
	cfg := pipelinetest.NodeConfig{
		Config: pipeline.Config{Network: n.ID, Node: o.Index, Workers: 1,
			WindowAge: cmp.Or(o.WindowAge, time.Hour), Tail: time.Hour, MaxSkew: time.Hour,
			CosignWait: o.CosignWait, Cosigners: o.Cosigners, Now: o.Now,
			Taken: o.Taken, Exposure: o.Exposure},
		Certify: certify.Config{Key: n.Members[o.Index].Transport},
	}
	n.Pipeline, err = pipelinetest.NewNode(cfg, n.Store, n.Chain, members)
	if err != nil {
		tb.Fatal(err)
	}
	if err := n.Pipeline.Start(context.Background()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		n.Pipeline.Close()
		members.Close()
		if err := n.Store.Close(); err != nil {
			tb.Error(err)
		}
	})
	return n
}

// Chain keeps the certificates that it executes, as a node does.
type Chain struct {
	*testnet.Network
	store *store.Store
}

// SubmitTx executes a transaction in a block of its own.
func (c Chain) SubmitTx(ctx context.Context, tx []byte) error {
	err := c.Network.SubmitTx(ctx, tx)
	parsed, parseErr := ledger.ParseTx(tx)
	if err != nil || parseErr != nil || parsed.Kind != ledger.KindTicket {
		return err
	}
	certificate, ok := parsed.Body.(*ledger.Ticket)
	if !ok {
		return errors.New("testnode: a ticket without a certificate")
	}
	return c.store.PutCertificate(certificate.Header.Key(), certificate.Append(nil))
}

// Open is the open window.
func (n *Node) Open() rollup.WindowKey {
	w := n.Pipeline.OpenWindow()
	return rollup.WindowKey{Node: n.index, Epoch: w.Epoch, Window: w.Window}
}

// Frames are count acks of the traffic for the node in the epoch of the open window, from one on
// (see testnet.Network.Nth).
func (n *Node) Frames(from, count uint32) []byte {
	var b []byte
	for nth := from; nth < from+count; nth++ {
		ack := n.Nth(n.Open(), nth)
		b = ack.Append(b)
	}
	return b
}

// Ordered waits until the chain has executed the rollup of a window.
func (n *Node) Ordered(tb testing.TB, key rollup.WindowKey) {
	tb.Helper()
	for deadline := time.After(20 * time.Second); ; {
		updated := n.Updated()
		if n.View().IsOrdered(key) {
			return
		}
		select {
		case <-updated:
		case <-deadline:
			tb.Fatalf("the rollup of %v is not ordered", key)
		}
	}
}
