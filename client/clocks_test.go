package client

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

const day = 24 * time.Hour

// TestClocks: neither a client's clock nor a node's has a say in what is settled. The clients' is
// this machine's; the chain's is off from it by a day, and the node's from the chain's. A node
// takes nothing while its clock is wrong, and loses nothing by it.
func TestClocks(t *testing.T) {
	want := settled(t, 0, 0)
	for _, off := range []struct{ clients, node time.Duration }{
		{day, 0}, {-day, 0}, {0, day}, {0, -day}, {day, -day}, {-day, day},
	} {
		t.Run(fmt.Sprintf("clients %v, node %v", off.clients, off.node), func(t *testing.T) {
			if got := settled(t, off.clients, off.node); !slices.EqualFunc(got, want,
				func(a, b []rollup.SettlementRow) bool { return slices.Equal(a, b) }) {
				t.Errorf("settled are\n%+v, with right clocks\n%+v", got, want)
			}
		})
	}
}

// settled has clients deliver in two epochs, and returns the rows of their settlements. In each the
// node's clock is off when the first acks come.
func settled(t *testing.T, clientsOff, nodeOff time.Duration) (rows [][]rollup.SettlementRow) {
	t.Helper()
	n := testnet.NewAt(t, time.Now().Add(-clientsOff), []string{"127.0.0.1:1"}, clients)
	var wrong atomic.Int32 // readings, until the clock is right
	f := start(t, options{network: n, windowAge: 20 * time.Millisecond, now: func() time.Time {
		if wrong.Add(-1) >= 0 {
			return n.View().Time().Add(nodeOff)
		}
		return n.View().Time()
	}})
	c := f.client(t, nil)
	for epoch := range uint32(2) {
		wrong.Store(3)
		var outcomes []*Outcome
		deliveries := func(yield func(Delivery) bool) {
			for i := range uint64(24) {
				if !yield(Delivery{Client: i % clients, Units: 1000*uint64(epoch) + 1 + i}) {
					return
				}
			}
		}
		err := c.Deliver(t.Context(), deliveries, f.sign(),
			func(o *Outcome) { outcomes = append(outcomes, o) })
		if err != nil || len(outcomes) != 24 {
			t.Fatal(err, len(outcomes))
		}
		again := false
		for _, o := range outcomes {
			again = again || o.Attempts > 1
			if o.Code != rollup.CodeAccepted || o.Ack.Epoch != epoch {
				t.Errorf("epoch %d: %+v", epoch, o)
			}
			f.orderedAck(t, c, &o.Ack)
		}
		if again != (nodeOff != 0) {
			t.Errorf("sent again: %v", again)
		}
		f.Advance((testnet.EpochSeconds + 1) * time.Second)
		f.CertifyRecords(t)
	}
	f.Advance((testnet.EpochSeconds + 1) * time.Second)
	f.CertifyRecords(t)
	f.Advance(time.Minute)
	for epoch := range uint32(2) {
		s, ok := f.View().Settlement(epoch)
		if !ok {
			t.Fatalf("epoch %d is not settled", epoch)
		}
		rows = append(rows, s.Rows)
	}
	return rows
}

// orderedAck waits until an ack is in a rollup that the chain has ordered.
func (f *fixture) orderedAck(t *testing.T, c *Client, ack *rollup.Ack) {
	t.Helper()
	for t.Context().Err() == nil {
		updated := f.Updated()
		found, err := c.lookUp(t.Context(), ack)
		if err != nil {
			t.Fatal(err)
		}
		if found.State == api.AckState_ACK_STATE_ORDERED {
			return
		}
		<-updated
	}
}
