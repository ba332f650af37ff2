package committee

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// rich gives accounts of these names a balance, with the first deposits.
func (c *committeeApps) rich(names ...string) {
	c.t.Helper()
	var txs [][]byte
	for i, name := range names {
		txs = append(txs, ledger.NewDeposit(c.genesis.Network(), c.treasury, uint64(i),
			ledger.KeyOf(key(name)), 1<<40))
	}
	for _, code := range c.decide(0, txs...) {
		if code != ledger.CodeOK {
			c.t.Fatal(code)
		}
	}
}

func (c *committeeApps) transfer(from string, nonce, amount uint64) []byte {
	return ledger.NewTransfer(c.genesis.Network(), key(from), nonce, ledger.KeyOf(key("sink")),
		amount)
}

// checkTx asks member 0's mempool connection, for the first time or after a block.
func (c *committeeApps) checkTx(tx []byte, kind abci.CheckTxType) (code ledger.TxCode, line bool) {
	c.t.Helper()
	res, err := c.apps[0].CheckTx(c.t.Context(), &abci.RequestCheckTx{Tx: tx, Type: kind})
	if err != nil {
		c.t.Fatal(err)
	}
	return ledger.TxCode(res.Code), res.Codespace == codespaceLine
}

func (c *committeeApps) admit(want bool, txs ...[]byte) {
	c.t.Helper()
	for i, tx := range txs {
		if code, line := c.checkTx(tx, abci.CheckTxType_New); (code == ledger.CodeOK) != want ||
			!want && !line {
			c.t.Errorf("transaction %d: %v, line %v; admitted is to be %v", i, code, line, want)
		}
	}
}

// recheck is what the engine does with the mempool after a block; it returns what stays.
func (c *committeeApps) recheck(txs ...[]byte) (left [][]byte) {
	c.t.Helper()
	for _, tx := range txs {
		if code, _ := c.checkTx(tx, abci.CheckTxType_Recheck); code == ledger.CodeOK {
			left = append(left, tx)
		}
	}
	return left
}

func equalTxs(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

// TestProposalOrder has transactions reach the proposer in the wrong order: none is lost.
func TestProposalOrder(t *testing.T) {
	c := newApps(t)
	c.rich("a", "b")
	a := func(nonce uint64) []byte { return c.transfer("a", nonce, 1) }
	b := func(nonce uint64) []byte { return c.transfer("b", nonce, 1) }
	deposit, _ := c.deposit(2)
	for name, v := range map[string]struct{ mempool, want [][]byte }{
		"in order": {[][]byte{a(0), a(1), a(2)}, [][]byte{a(0), a(1), a(2)}},
		"reversed": {[][]byte{a(2), a(1), a(0)}, [][]byte{a(0), a(1), a(2)}},
		"two senders": {[][]byte{a(1), b(0), a(0), b(2), b(1)},
			[][]byte{b(0), a(0), a(1), b(1), b(2)}},
		"gap":             {[][]byte{a(0), a(2), b(1), a(3)}, [][]byte{a(0)}},
		"gap closed last": {[][]byte{a(3), a(0), a(2), a(1)}, [][]byte{a(0), a(1), a(2), a(3)}},
		"one nonce twice": {[][]byte{a(0), c.transfer("a", 0, 2), a(1)}, [][]byte{a(0), a(1)}},
		"one early twice": {[][]byte{a(1), c.transfer("a", 1, 2), a(0)}, [][]byte{a(0), a(1)}},
		"deposits count too": {[][]byte{c.transfer("a", 1, 1), deposit, a(0)},
			[][]byte{deposit, a(0), a(1)}},
		"stale deposit": {[][]byte{ledger.NewDeposit(c.genesis.Network(), c.treasury, 1,
			ledger.KeyOf(key("a")), 1)}, nil},
		"largest nonce":     {[][]byte{a(1<<64 - 1), a(1 << 63), a(0)}, [][]byte{a(0)}},
		"sender of nothing": {[][]byte{c.transfer("nobody", 0, 1)}, nil},
	} {
		got := c.prepare(c.votes(), 1<<20, v.mempool...)
		if !equalTxs(got, v.want) {
			t.Errorf("%s: %d transactions, not those or not so", name, len(got))
		}
		if !c.process(got...) {
			t.Errorf("%s: refused by others", name)
		}
	}
	// What does not fit waits, and all behind it.
	if got := c.prepare(c.votes(), encodedSize(a(0), a(1)), a(1), a(2), a(0), b(0)); !equalTxs(got,
		[][]byte{a(0), a(1)}) {
		t.Errorf("%d transactions in a full block", len(got))
	}
	// Any order at all, block by block, until all is executed.
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var mempool [][]byte
	for nonce := range uint64(20) {
		mempool = append(mempool, a(nonce), b(nonce))
	}
	random.Shuffle(len(mempool), func(i, j int) { mempool[i], mempool[j] = mempool[j], mempool[i] })
	for len(mempool) > 0 {
		block := c.prepare(c.votes(), 4*encodedSize(a(0)), mempool...)
		if len(block) == 0 || !c.process(block...) {
			t.Fatalf("block of %d transactions, %d wait", len(block), len(mempool))
		}
		for i, code := range c.decide(time.Duration(c.height)*time.Millisecond, block...) {
			if code != ledger.CodeOK {
				t.Fatalf("transaction %d: %v", i, code)
			}
		}
		mempool = slices.DeleteFunc(mempool, func(tx []byte) bool {
			return slices.ContainsFunc(block,
				func(done []byte) bool { return bytes.Equal(tx, done) })
		})
	}
}

// TestLine: a nonce may be ahead of its turn within bounds, and a transaction whose turn is over
// leaves.
func TestLine(t *testing.T) {
	c := newApps(t)
	c.rich("a", "b")
	a := func(nonce uint64) []byte { return c.transfer("a", nonce, 1) }
	c.admit(true, a(2), a(1), a(0), a(0), c.transfer("b", 1, 1))
	c.admit(false, c.transfer("a", 1, 2)) // another one with this nonce
	c.admit(true, a(ledger.PendingNonces))
	if code, line := c.checkTx(a(ledger.PendingNonces+1),
		abci.CheckTxType_New); code != ledger.CodeBadNonce || line {
		t.Errorf("beyond what may wait: %v", code)
	}
	forged := bytes.Clone(c.transfer("b", 0, 5))
	forged[len(forged)-1] ^= 1
	if code, _ := c.checkTx(forged, abci.CheckTxType_New); code != ledger.CodeBadSignature {
		t.Errorf("forged: %v", code)
	}
	c.admit(true, c.transfer("b", 0, 6)) // a forgery takes nobody's place

	c.decide(time.Second, a(0), a(1))
	wait := [][]byte{a(2), c.transfer("b", 1, 1), c.transfer("b", 0, 6)}
	if left := c.recheck(append(wait, a(0), a(1))...); !equalTxs(left, wait) {
		t.Errorf("%d of %d stay after a block", len(left), len(wait))
	}
	c.decide(2*time.Second, c.transfer("a", 2, 9)) // by way of another node
	if left := c.recheck(a(2)); len(left) != 0 {
		t.Error("a transaction whose turn is over stays")
	}
}

// TestGap: what waits with a gap before it may do so for some time, and take some room.
func TestGap(t *testing.T) {
	c := newApps(t)
	names := make([]string, 9)
	for i := range names {
		names[i] = fmt.Sprint("sender ", i)
	}
	c.rich(names...)
	app := c.apps[0]
	wait := [][]byte{c.transfer(names[0], 1, 1), c.transfer(names[1], 2, 1),
		c.transfer(names[1], 0, 1)}
	c.admit(true, wait...)
	size := int64(len(wait[0]))
	if app.line.gapBytes != 2*size {
		t.Errorf("%d bytes behind gaps", app.line.gapBytes)
	}
	c.admit(true, c.transfer(names[1], 1, 1))
	if app.line.gapBytes != size {
		t.Errorf("%d bytes behind gaps after one was closed", app.line.gapBytes)
	}
	late := maxGapTime + time.Second
	wait = append(wait, c.transfer(names[1], 1, 1))
	for after := time.Second; after <= late; after += time.Second {
		c.decide(after)
		stay := wait
		if after > maxGapTime {
			stay = wait[1:] // the others are behind no gap, in whatever order they are checked
		}
		if left := c.recheck(wait...); !equalTxs(left, stay) {
			t.Fatalf("%d of %d wait after %v", len(left), len(stay), after)
		}
	}
	c.admit(true, wait[0]) // and may come again

	// A transaction that a block carried and that failed leaves a gap, which is noticed one block
	// later.
	c.decide(late+time.Second,
		ledger.NewTransfer(c.genesis.Network(), key(names[1]), 0, ledger.KeyOf(key("sink")), 1<<50))
	c.recheck(wait[1], wait[3])
	c.decide(late + 2*time.Second)
	c.recheck(wait[1], wait[3])
	if app.line.gapBytes != 2*size {
		t.Errorf("%d bytes behind a gap that a failure left", app.line.gapBytes)
	}

	c.decide(late + 3*time.Second)
	c.recheck()
	// it names clients that are nobody's, but it is long, and the line does not look into it
	big := func(i int, nonce uint64) []byte {
		clients := make([]uint64, ledger.MaxGrants)
		for i := range clients {
			clients[i] = uint64(i)
		}
		return ledger.NewRevoke(c.genesis.Network(), key(names[i]), nonce, clients)
	}
	view := app.view.Load()
	join := func(raw []byte) bool {
		tx, err := ledger.ParseTx(raw)
		if err != nil {
			t.Fatal(err)
		}
		return app.line.join(view, tx, raw, nil)
	}
	n, nonce := 0, uint64(1)
	for n < len(names) && join(big(n, nonce)) {
		if nonce++; nonce > ledger.PendingNonces {
			n, nonce = n+1, 1
		}
	}
	if n == len(names) || app.line.gapBytes > maxGapBytes ||
		app.line.gapBytes+int64(len(big(0, 1))) <= maxGapBytes {
		t.Errorf("%d bytes of %d senders behind gaps", app.line.gapBytes, n)
	}
	if !join(c.transfer(names[n], 0, 1)) || !join(big(n, nonce)) || !join(big(0, 0)) {
		t.Error("no place without a gap")
	}
	if !join(big(n, nonce+2)) {
		t.Error("a closed gap leaves no room")
	}
}
