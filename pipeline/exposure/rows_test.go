package exposure_test

import (
	"math"
	"testing"

	"github.com/waybill-network/waybill/pipeline/exposure"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// TestRows: what would not fit changes nothing.
func TestRows(t *testing.T) {
	net, err := pipelinetest.New(pipelinetest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b, r := exposure.New(0, 0), exposure.NewRows()
	b.Show(net.View())
	b.Open(rollup.WindowKey{}, r)
	add := func(payer, service uint32, units uint64, want rollup.Code) {
		t.Helper()
		if got := b.Take(r, payer, service, units); got != want {
			t.Errorf("%d, %d, %d: %v, want %v", payer, service, units, got, want)
		}
	}
	for i := range uint32(rollup.MaxRows) { // of services without a price
		add(i/16, 1+i%16, 1, rollup.CodeAccepted)
	}
	add(16, 1, 1, exposure.Full)
	add(0, 17, 1, exposure.Full)
	add(3, 3, math.MaxUint64-1, rollup.CodeAccepted)
	add(3, 3, 1, rollup.CodeOverflow)
	add(3, 4, 1, rollup.CodeAccepted)
	add(3, 3, 1, rollup.CodeOverflow)
	if r.Len() != rollup.MaxRows {
		t.Errorf("%d rows", r.Len())
	}
	b.Open(rollup.WindowKey{Window: 1}, r)
	add(16, 1, 1, rollup.CodeAccepted)
	add(99, 0, 1<<20, rollup.CodeInsufficientReserve) // nobody's
	if r.Len() != 1 {
		t.Errorf("after a reset and a refusal: %d rows", r.Len())
	}
	add(16, 1, 1, rollup.CodeAccepted)
}
