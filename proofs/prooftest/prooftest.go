// Package prooftest has what tests of proofs share: windows of statements, and development keys
// from the user's cache.
package prooftest

import (
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/rollup"
)

// Window is a window with statements only, of which no signature was made.
type Window struct {
	Header   *rollup.Header
	Tree     *rollup.StatementTree
	List     rollup.List
	Segments []rollup.Segment
}

// unitCap is that of every service: an ack of a window never has as many units.
const unitCap = 1 << 30

// caps is a registry of services alone.
type caps struct{ rollup.Registry }

func (caps) UnitCap(uint32) (uint64, bool) { return unitCap, true }

// NewWindow returns a window of n statements, cut for a circuit's size: two services a client, two
// payers, every seventh client unsigned. Windows of different seeds share nothing.
func NewWindow(tb testing.TB, n, size int, seed byte) *Window {
	tb.Helper()
	network := rollup.Network(blake3.Sum256([]byte("proofs")))
	h := rollup.NewHeader(network, rollup.WindowKey{Node: 1, Epoch: 2, Window: uint32(seed)})
	statements := make([]rollup.Statement, n)
	for i := range statements {
		client := uint64(i / 2)
		acks := 1 + uint32(client%100)
		statements[i] = rollup.Statement{Client: 3 * client, Payer: 10 + uint32(client%2),
			Service: uint32(i % 2), First: uint32(i) * 1000, Acks: acks,
			Units: uint64(acks) + uint64(i+1)<<10,
			Root:  rollup.TruncateRoot(blake3.Sum256([]byte{seed, byte(i), byte(i >> 8)}))}
	}
	w := &Window{Header: h, Tree: rollup.NewStatementTree(statements)}
	w.List = rollup.NewList(statements, func(client uint64) bool { return client/3%7 != 6 })
	for payer := range uint32(2) {
		for service := range uint32(2) {
			row := rollup.Row{Payer: 10 + payer, Service: service}
			for i, s := range statements {
				if s.Payer == row.Payer && s.Service == row.Service && w.List[i].Signed {
					row.Acks += uint64(s.Acks)
					row.Units += s.Units
				}
			}
			if row.Acks > 0 {
				h.Rows = append(h.Rows, row)
			}
		}
	}
	h.StatementCount, h.StatementRoot, h.ListRoot = uint32(n), w.Tree.Root(), w.List.Root()
	var err error
	if w.Segments, err = rollup.Segments(h, w.Tree, w.List, size, caps{}); err != nil {
		tb.Fatal(err)
	}
	return w
}

// Statements returns those of a segment.
func (w *Window) Statements(segment int) []rollup.Statement {
	s := &w.Segments[segment]
	return w.Tree.Statements()[s.First : s.First+len(s.List)]
}

// Keys returns a development key. The first test on a machine makes it.
func Keys(tb testing.TB, size int) keys.Pair {
	tb.Helper()
	dir, err := keys.DefaultDir()
	if err != nil {
		tb.Fatal(err)
	}
	pair, err := keys.Development(dir, size,
		func(keys.Info) { tb.Logf("a setup for %d statements begins", size) })
	if err != nil {
		tb.Fatal(err)
	}
	return pair
}
