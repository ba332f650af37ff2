package committee

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/word"
)

// lie is evidence of a pair of words of a node for one window.
func (c *committeeApps) lie(node, window uint32, pair byte) []byte {
	net := c.genesis.Network()
	var words [2]word.Own
	var signatures [2]word.Signature
	for i := range words {
		words[i] = word.Own{Node: node, Window: window, Rollup: rollup.Hash{byte(i), pair}}
		own := key(fmt.Sprintf("%s/%d/transport", c.genesis.ChainID, node))
		signatures[i] = word.Sign(&net, own, words[i])
	}
	return ledger.NewEvidence(net, word.NewTwoRollups(words, signatures))
}

// TestEvidenceWaitsOnce: a liar can make any number of pairs against itself, so that it could fill
// the mempool with them. Of each accused node one waits, and what follows has its turn.
func TestEvidenceWaitsOnce(t *testing.T) {
	c := newApps(t)
	first := c.lie(1, 0, 0)
	c.admit(true, first, first)
	c.admit(false, c.lie(1, 0, 1), c.lie(1, 1, 0))
	c.admit(true, c.lie(2, 0, 0))
	if codes := c.decide(time.Millisecond, first); codes[0] != ledger.CodeOK {
		t.Fatal(codes)
	}
	if left := c.recheck(first, c.lie(2, 0, 0)); len(left) != 1 {
		t.Errorf("%d stay of the one that is not executed", len(left))
	}
	c.admit(false, first, c.lie(1, 0, 1))

	// A false signature takes no place, and convicts nobody if a proposer puts it into a block.
	forged := bytes.Clone(c.lie(3, 0, 0))
	forged[len(forged)-1] ^= 1
	answer, err := c.apps[0].CheckTx(t.Context(), &abci.RequestCheckTx{Tx: forged})
	if err != nil || ledger.TxCode(answer.Code) != ledger.CodeBadWord {
		t.Errorf("into the mempool: %v, %v", answer, err)
	}
	c.admit(true, c.lie(3, 0, 0))
	codes := c.decide(2*time.Millisecond, forged, c.lie(3, 0, 0), c.lie(3, 0, 1))
	want := []ledger.TxCode{ledger.CodeBadWord, ledger.CodeOK, ledger.CodeAlreadyConvicted}
	if !slices.Equal(codes, want) {
		t.Errorf("in a block: %v", codes)
	}
	c.admit(true, c.lie(1, 1, 0))
	if n := len(c.apps[0].view.Load().Convictions(1)); n != 1 {
		t.Errorf("%d convictions", n)
	}
}
