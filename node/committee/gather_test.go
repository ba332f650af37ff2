package committee

import (
	"slices"
	"sync"
	"testing"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/waybill-network/waybill/rollup/ledger"
)

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
