package committee

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// TestGathering: what comes while a batch is verified is one batch, and nobody returns before his
// transaction was in one.
func TestGathering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches [][]byte // first bytes
		g := newGathering(func(txs [][]byte) {
			time.Sleep(time.Second)
			var b []byte
			for _, tx := range txs {
				b = append(b, tx[0])
			}
			batches = append(batches, b)
		})
		start := time.Now()
		took := make([]time.Duration, 10)
		var wg sync.WaitGroup
		for i := range took {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 150 * time.Millisecond)
				g.join([]byte{byte(i)})
				took[i] = time.Since(start)
			})
		}
		wg.Wait()
		want := [][]byte{{0}, {1, 2, 3, 4, 5, 6}, {7, 8, 9}}
		if !slices.EqualFunc(batches, want, slices.Equal) {
			t.Errorf("batches of %d, expected %d", batches, want)
		}
		for i, b := range batches {
			for _, tx := range b {
				if end := time.Duration(i+1) * time.Second; took[tx] != end {
					t.Errorf("transaction %d returned after %v, expected %v", tx, took[tx], end)
				}
			}
		}
	})
}

// TestGatheredTransactions: transactions that come at the same time through the engine's connection
// get the answers that each gets alone.
func TestGatheredTransactions(t *testing.T) {
	c, tx := granting(t)
	names := []string{"one", "two", "three", "four", "five", "six"}
	grants := c.grants(names...)
	grants[2].Signature[5] ^= 1
	grants[4].Proof = grants[0].Proof
	grants[4] = ledger.NewGrant(c.genesis.Network(), key("a"), grants[4])
	want := []ledger.TxCode{0, 0, ledger.CodeBadSignature, 0, ledger.CodeBadProof, 0}
	client, err := clients{c.apps[0]}.NewABCIClient()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	defer client.Stop()
	client.SetResponseCallback(func(*abci.Request, *abci.Response) {})
	codes := make([]ledger.TxCode, len(grants))
	var wg sync.WaitGroup
	for i := range grants {
		wg.Go(func() {
			res, err := client.CheckTxAsync(t.Context(),
				&abci.RequestCheckTx{Tx: tx(grants[i : i+1]), Type: abci.CheckTxType_New})
			if err != nil {
				t.Error(err)
				return
			}
			codes[i] = ledger.TxCode(res.Response.GetCheckTx().Code)
		})
	}
	wg.Wait()
	if !slices.Equal(codes, want) {
		t.Errorf("%v, expected %v", codes, want)
	}
}
