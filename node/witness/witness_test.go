package witness_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/node/witness"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/word"
)

const clients = 5

// order has the chain order a rollup of a window, and returns it.
func order(t *testing.T, n *testnet.Network, key rollup.WindowKey, first uint32) (
	*rollup.Header, *rollup.Evidence) {
	t.Helper()
	header, encoded := n.Rollup(t, key, first, 2*clients)
	n.MustSubmit(t, ledger.NewTicket(n.ID, n.Certificate(t, header, 0, 1, 2)))
	h, err := rollup.ParseHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := rollup.ParseEvidence(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return h, evidence
}

// file is the rollup's, verified.
func file(t *testing.T, w *witness.Witness, genesis *ledger.Genesis, h *rollup.Header,
	evidence *rollup.Evidence) []byte {
	t.Helper()
	anchor, err := w.Anchor(h)
	if err != nil {
		t.Fatal(err)
	}
	e, err := export.NewRollup(anchor, evidence, w.Registry(anchor.Record.Height), nil)
	if err != nil {
		t.Fatal(err)
	}
	b := e.Append(nil)
	if _, err := export.Verify(b, export.TrustOf(genesis)); err != nil {
		t.Fatal(err)
	}
	return b
}

func start(t *testing.T) *testnet.Network {
	return testnet.New(t,
		[]string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"}, clients)
}

// revoke ends clients at the end of the epoch that runs.
func revoke(t *testing.T, n *testnet.Network, clients ...uint64) {
	t.Helper()
	payer := n.Members[0].Owner
	account, _ := n.View().AccountByKey(ledger.KeyOf(payer))
	n.MustSubmit(t, ledger.NewRevoke(n.ID, payer, account.Nonce, clients))
}

// convict has the chain convict a node of two rollups of a window of its own.
func convict(t *testing.T, n *testnet.Network, node uint32) {
	t.Helper()
	var words [2]word.Own
	var signatures [2]word.Signature
	window := uint32(len(n.View().Convictions(node)))
	for i := range words {
		words[i] = word.Own{Node: node, Window: 100 + window, Rollup: rollup.Hash{byte(i)}}
		signatures[i] = word.Sign(&n.ID, n.Members[node].Transport, words[i])
	}
	n.MustSubmit(t, ledger.NewEvidence(n.ID, word.NewTwoRollups(words, signatures)))
}

// TestPast: the file of a rollup stays what it was, byte for byte, while the registry goes on.
func TestPast(t *testing.T) {
	n := start(t)
	h, evidence := order(t, n, rollup.WindowKey{Node: 1}, 0)
	if _, err := n.Witness.Anchor(h); !errors.Is(err, witness.ErrUnsigned) {
		t.Fatalf("before the committee signed: %v", err)
	}
	n.CertifyRecords(t)
	before := file(t, n.Witness, n.Genesis, h, evidence)
	unchanged := func(what string) {
		t.Helper()
		if !bytes.Equal(file(t, n.Witness, n.Genesis, h, evidence), before) {
			t.Errorf("%s: the file is another", what)
		}
	}
	revoke(t, n, 0, 3)
	unchanged("after a revocation")
	n.AddClients(t, n.Members[0].Owner, 9)
	revoke(t, n, 1, 7)
	unchanged("after more clients, one of them revoked")

	second, evidence2 := order(t, n, rollup.WindowKey{Node: 1, Window: 1}, 2*clients)
	n.CertifyRecords(t)
	later := file(t, n.Witness, n.Genesis, second, evidence2)
	convict(t, n, 1) // its leaf is in both files
	unchanged("after the node was convicted")
	revoke(t, n, 2)
	convict(t, n, 1)
	n.AddClients(t, n.Members[0].Owner, 1)
	unchanged("after another rollup")
	if !bytes.Equal(file(t, n.Witness, n.Genesis, second, evidence2), later) {
		t.Error("the second rollup's file is another")
	}

	other := *h
	other.Window = 9
	if _, err := n.Witness.Anchor(&other); !errors.Is(err, witness.ErrMissing) {
		t.Errorf("a window that was not ordered: %v", err)
	}
	other = *h
	other.AckRoot[0] ^= 1
	if _, err := n.Witness.Anchor(&other); !errors.Is(err, rollup.ErrNotFound) {
		t.Errorf("another rollup of the window: %v", err)
	}
	if _, err := n.Witness.Registry(1 << 40).Heads(); !errors.Is(err, witness.ErrMissing) {
		t.Errorf("a height without a record: %v", err)
	}
	_, _, err := n.Witness.Registry(1 << 40).Clients([]uint64{0})
	if !errors.Is(err, witness.ErrMissing) {
		t.Errorf("a height without a record: %v", err)
	}
}

// chain executes a network's blocks again, with what it kept of those that it committed.
type chain struct {
	t       *testing.T
	genesis *ledger.Genesis
	store   *store.Store
	records map[string][]byte // the ledger's, committed

	state *ledger.State
	w     *witness.Witness
	block ledger.Block // executed last
}

func newChain(t *testing.T, genesis *ledger.Genesis) *chain {
	t.Helper()
	s, err := store.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c := &chain{t: t, genesis: genesis, store: s, records: map[string][]byte{}}
	c.restart()
	return c
}

// restart goes on from what is stored.
func (c *chain) restart() {
	c.t.Helper()
	state, err := ledger.Restore(c.genesis, func(yield func(k, v []byte) bool) {
		for _, k := range slices.Sorted(maps.Keys(c.records)) {
			if !yield([]byte(k), c.records[k]) {
				return
			}
		}
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.state, c.w = state, witness.New(c.store, state)
}

// execute executes a block, with more transactions in it.
func (c *chain) execute(b testnet.Block, more ...[]byte) {
	c.t.Helper()
	c.block = c.w.Execute(func() ledger.Block {
		c.state.Begin(b.Height, b.Time)
		for _, tx := range slices.Concat(b.Txs, more) {
			if r := c.state.Apply(tx); !r.OK() {
				c.t.Fatalf("block %d: %v", b.Height, r.Err)
			}
		}
		return c.state.End()
	})
}

func (c *chain) keep() {
	c.t.Helper()
	if err := c.w.Keep(c.state.View(), &c.block); err != nil {
		c.t.Fatal(err)
	}
}

func (c *chain) commit() {
	for _, r := range c.block.Records {
		if delete(c.records, string(r.Key)); r.Value != nil {
			c.records[string(r.Key)] = r.Value
		}
	}
}

// TestCrash: at every block the process dies between Keep and the ledger's commit, so that the
// block is executed again over what was kept of it. Files are those of a chain that never died,
// also while a block is executed and not kept yet.
func TestCrash(t *testing.T) {
	n := start(t)
	h, evidence := order(t, n, rollup.WindowKey{Node: 2}, 0)
	n.CertifyRecords(t)
	certified := len(n.Blocks())
	revoke(t, n, 1, 4)
	n.AddClients(t, n.Members[0].Owner, 3)
	revoke(t, n, 0, 6)
	n.Advance(testnet.EpochSeconds * time.Second)
	n.Advance(time.Minute)
	n.CertifyRecords(t)
	want := file(t, n.Witness, n.Genesis, h, evidence)

	c := newChain(t, n.Genesis)
	for i, b := range n.Blocks() {
		for range 2 { // the second time over what is kept of the first
			c.restart()
			c.execute(b)
			if i >= certified && !bytes.Equal(file(t, c.w, c.genesis, h, evidence), want) {
				t.Fatalf("block %d, executed and not kept: another file", b.Height)
			}
			c.keep()
		}
		c.commit()
		if i >= certified && !bytes.Equal(file(t, c.w, c.genesis, h, evidence), want) {
			t.Fatalf("block %d: another file", b.Height)
		}
	}
	ours, err := c.w.Settlement(0)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := n.Witness.Settlement(0)
	if err != nil || !bytes.Equal(ours.Append(nil), theirs.Append(nil)) {
		t.Errorf("another file of the settlement: %v", err)
	}

	func() {
		defer func() {
			if recover() == nil {
				t.Error("a block within a block")
			}
		}()
		c.w.Execute(func() ledger.Block { panic("broken") })
	}()
	anchor, err := c.w.Anchor(h)
	if err != nil {
		t.Fatal(err)
	}
	_, err = export.NewRollup(anchor, evidence, c.w.Registry(anchor.Record.Height), nil)
	if !errors.Is(err, witness.ErrBroken) {
		t.Errorf("after a block that could not be executed: %v", err)
	}
}

// TestOwnBlock: a block that orders a rollup revokes one of its clients, and the next block
// another. The record has the registry as it is after the block.
func TestOwnBlock(t *testing.T) {
	n := start(t)
	h, evidence := order(t, n, rollup.WindowKey{Node: 3}, 0)
	ordered := len(n.Blocks())
	revoke(t, n, 1)
	revoke(t, n, 2)
	blocks := n.Blocks()
	c := newChain(t, n.Genesis)
	for _, b := range blocks[:ordered-1] {
		c.execute(b)
		c.keep()
	}
	c.execute(blocks[ordered-1], blocks[ordered].Txs[0])
	c.keep()
	record := c.block.Record
	next := blocks[ordered]
	next.Txs = [][]byte{ledger.NewRecordCertificate(n.ID, n.SignRecord(&record.Record))}
	c.execute(next)
	c.keep()
	before := file(t, c.w, c.genesis, h, evidence)
	c.execute(blocks[ordered+1])
	c.keep()
	if !bytes.Equal(file(t, c.w, c.genesis, h, evidence), before) {
		t.Error("another file after another revocation")
	}
}

func TestPrune(t *testing.T) {
	n := start(t)
	h0, evidence0 := order(t, n, rollup.WindowKey{Node: 0}, 0)
	n.Advance(testnet.EpochSeconds * time.Second)
	n.Advance(time.Minute)
	if _, err := n.Witness.Settlement(0); !errors.Is(err, witness.ErrUnsigned) {
		t.Errorf("a settlement that is not signed: %v", err)
	}
	h1, evidence1 := order(t, n, rollup.WindowKey{Node: 0, Epoch: 1}, 2*clients)
	revoke(t, n, 2)
	n.CertifyRecords(t)
	file(t, n.Witness, n.Genesis, h0, evidence0)
	want := file(t, n.Witness, n.Genesis, h1, evidence1)
	settlement := func() {
		t.Helper()
		f, err := n.Witness.Settlement(0)
		if err != nil {
			t.Fatal(err)
		}
		report, err := export.Verify(f.Append(nil), export.TrustOf(n.Genesis))
		if err != nil {
			t.Fatal(err)
		}
		if rows := report.File.(*export.Settlement).Rows; len(rows) != 1 ||
			rows[0].Acks != 2*clients {
			t.Errorf("rows %+v", rows)
		}
	}
	settlement()
	for range 2 {
		if err := n.Witness.Prune(1); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Witness.Anchor(h0); !errors.Is(err, witness.ErrMissing) {
			t.Errorf("a rollup of a forgotten epoch: %v", err)
		}
		if !bytes.Equal(file(t, n.Witness, n.Genesis, h1, evidence1), want) {
			t.Error("the file of a kept epoch is another")
		}
		settlement()
	}
	if err := n.Witness.Prune(9); err != nil {
		t.Fatal(err)
	}
	settlement()
	if _, err := n.Witness.Settlement(1); !errors.Is(err, witness.ErrMissing) {
		t.Errorf("an epoch that is not settled: %v", err)
	}
}
