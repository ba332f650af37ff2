package committee

import (
	"errors"
	"sync"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// planned returns a plan that three of four members signed.
func (c *committeeApps) planned(version uint32) []byte {
	p := &ledger.Plan{Upgrade: ledger.Upgrade{Version: version, Epoch: ledger.PlanNotice,
		Name: "the next"}}
	p.Signers = rollup.NewBitmap(len(c.members))
	var sum bls.Sum
	for i := range 3 {
		p.Signers.Set(i)
		signature := bls.Default.Sign(c.members[i].bls, ledger.PlanMessage(c.genesis.Network(), 0,
			&p.Upgrade))
		sum.Add(&signature)
	}
	total := sum.Signature()
	p.Signature = total.Bytes()
	return ledger.NewPlan(c.genesis.Network(), p)
}

// failures collects why apps cannot go on.
type failures chan error

// unknown reports whether the next of them, which it waits for, is an unknown version.
func (f failures) unknown() bool {
	select {
	case err := <-f:
		return errors.As(err, new(*ledger.UnknownVersionError))
	case <-time.After(time.Minute):
		return false
	}
}

// developmentApps are of a network on which an upgrade may be rehearsed.
func developmentApps(t *testing.T) (*committeeApps, failures) {
	failed := make(failures, 64)
	c := &committeeApps{network: newNetwork(t, "apps", 4, 10, 5, nil, genesisTime), t: t}
	c.genesis.Params.Proofs.Development = true
	for i, m := range c.members {
		c.genesis.Sign(i, m.bls, m.transport)
	}
	for i := range c.members {
		s, err := store.OpenMemory()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		c.apps = append(c.apps, c.open(i, s))
		c.apps[i].fail = func(err error) { failed <- err }
	}
	return c, failed
}

// TestUpgrade: members that do not know a version neither vote for the block that begins its epoch
// nor execute it, what they stored is that of the block before, and those that know it go on from
// there.
func TestUpgrade(t *testing.T) {
	c, failed := developmentApps(t)
	if codes := c.decide(time.Second, c.planned(ledger.Version+1)); codes[0] != ledger.CodeOK {
		t.Fatal(codes)
	}
	length := time.Duration(c.genesis.Params.EpochSeconds) * time.Second
	for epoch := range time.Duration(ledger.PlanNotice - 1) {
		if len(failed) > 0 {
			t.Fatalf("stopped in epoch %d: %v", epoch, <-failed)
		}
		c.decide((epoch + 1) * length)
	}
	for range c.apps { // their epoch is over by the clock, and nobody proposes a block
		if !failed.unknown() {
			t.Fatal("a member waits for a proposal that may never come")
		}
	}
	late := genesisTime.Add(ledger.PlanNotice * length)
	propose := func(a *app, at time.Time) bool {
		answer, err := a.ProcessProposal(t.Context(), &abci.RequestProcessProposal{
			Height: c.height + 1, Time: at})
		if err != nil {
			t.Fatal(err)
		}
		return answer.IsAccepted()
	}
	if !propose(c.apps[0], late.Add(-1)) || len(failed) > 0 {
		t.Fatal("the last block of the old rules is refused")
	}
	if propose(c.apps[0], late) || !failed.unknown() {
		t.Error("a vote for a block of unknown rules")
	}
	height, hash := c.height, c.apps[0].view.Load().AppHash()
	block := &abci.RequestFinalizeBlock{Height: height + 1, Time: late}
	var unknown *ledger.UnknownVersionError
	if _, err := c.apps[0].FinalizeBlock(t.Context(), block); !errors.As(err, &unknown) ||
		!failed.unknown() {
		t.Errorf("a block of unknown rules is executed, or: %v", err)
	}
	c.apps[1].syncing = func() bool { return true }
	var fetching sync.WaitGroup
	returned := false
	fetching.Go(func() {
		_, _ = c.apps[1].FinalizeBlock(t.Context(), block)
		returned = true
	})
	if fetching.Wait(); returned || !failed.unknown() {
		t.Error("the routine that fetches blocks goes on to an error that ends the process")
	}

	c.genesis.Rehearsed = ledger.Version + 1
	for i, a := range c.apps {
		c.apps[i] = c.open(i, a.store)
		if v := c.apps[i].view.Load(); v.Height() != height || v.AppHash() != hash {
			t.Errorf("member %d: at block %d with %s", i, v.Height(), v.AppHash())
		}
	}
	if !propose(c.apps[0], late) {
		t.Error("a program that knows the version refuses its first block")
	}
	c.decide(ledger.PlanNotice * length)
	if v := c.apps[0].view.Load(); v.Version() != ledger.Version+1 ||
		v.Epoch() != ledger.PlanNotice || c.failed != nil {
		t.Errorf("version %d in epoch %d: %v", v.Version(), v.Epoch(), c.failed)
	}
	c.genesis.Rehearsed = 0
	config := c.config(0, "", c.apps[0].store)
	if _, err := newApp(&config, func(error) {}); !errors.As(err, &unknown) {
		t.Errorf("what a later version wrote is read by an earlier program, or: %v", err)
	}
}
