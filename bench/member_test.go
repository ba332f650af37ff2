package bench

import (
	"errors"
	"testing"

	"github.com/waybill-network/waybill/rollup"
)

// TestMemberSuite: a node feeds a member, on both rungs, and certificates pass.
func TestMemberSuite(t *testing.T) {
	list, err := feeds(t.Context(), []int{1}, rollup.CircuitSizes[0], 2)
	if err != nil {
		t.Fatal(err)
	}
	prove, fed := list[0].Contenders[0], list[2]
	if err := fed.Contenders[0].Prepare(); !errors.Is(err, errNotProven) {
		t.Errorf("nodes push what is not proven: %v", err)
	}
	if err := prove.Prepare(); err != nil {
		t.Fatal(err)
	}
	if _, err := prove.Run(); err != nil {
		t.Fatal(err)
	}
	if err := list[0].Close(); err != nil {
		t.Error(err)
	}
	runOnce(t, fed, *certificates(20))
	again := fed.Contenders[1]
	if err := again.Prepare(); err != nil {
		t.Fatal(err)
	}
	if acks, err := again.Run(); err != nil || acks != 2*rollup.CircuitSizes[0] {
		t.Errorf("%d acks, %v", acks, err)
	}
	if _, err := again.Run(); !errors.Is(err, errUnsigned) {
		t.Errorf("rollups that were signed before: %v", err)
	}
	if err := fed.Close(); err != nil {
		t.Error(err)
	}
}

// TestCertificatesCanBeRefused: what is measured is what a member would vote for.
func TestCertificatesCanBeRefused(t *testing.T) {
	for _, together := range []bool{true, false} {
		c := new(certified)
		txs, err := c.tickets(5)
		if err != nil {
			t.Fatal(err)
		}
		txs[3][len(txs[3])-1] ^= 1
		if err := c.judge(txs, together); err == nil {
			t.Error("a false certificate passes")
		}
	}
}
