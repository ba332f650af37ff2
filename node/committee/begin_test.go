package committee

import (
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/waybill-network/waybill/node/store"
)

// TestNewStore: a store that was lost signs from the epoch after the first block that this process
// has judged. Blocks that come by catching up say nothing.
func TestNewStore(t *testing.T) {
	c := newApps(t)
	lost, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer lost.Close()
	c.apps = append(c.apps[:0], c.open(0, lost))
	since := func() int {
		if epoch, known := lost.Since(); known {
			return int(epoch)
		}
		return -1
	}
	judge := func(height int64) {
		t.Helper()
		if _, err := c.apps[0].ProcessProposal(t.Context(),
			&abci.RequestProcessProposal{Height: height}); err != nil {
			t.Fatal(err)
		}
	}
	c.decide(0)
	judge(c.height) // of a height that it has executed already
	c.decide(25 * time.Second)
	if s := since(); s != -1 {
		t.Errorf("a store that caught up signs from epoch %d", s)
	}
	judge(c.height + 1)
	c.decide(26 * time.Second) // in epoch 1, which began at 25 s
	if s := since(); s != 2 {
		t.Errorf("a store that takes part since epoch 1 signs from epoch %d", s)
	}
	judge(c.height + 1)
	c.decide(41 * time.Second)
	if s := since(); s != 2 {
		t.Errorf("and later from epoch %d", s)
	}
}
