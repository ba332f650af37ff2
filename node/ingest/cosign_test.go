package ingest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// cosigning configures a client that co-signs for the fixture's clients.
func (f *fixture) cosigning(change func(*CosignConfig)) func(*ClientConfig) {
	return func(c *ClientConfig) {
		c.Cosign = &CosignConfig{Sign: f.signOffer, Payer: func(client uint32) (uint32, bool) { return f.View().Payer(client, f.View().Epoch()) }}
		if change != nil {
			change(c.Cosign)
		}
	}
}

func (f *fixture) signOffer(clients []uint32, message []byte, signatures [][rollup.SignatureSize]byte) error {
	for i, client := range clients {
		s := bls.Default.Sign(f.Clients[client], message)
		signatures[i] = s.Bytes()
	}
	return nil
}

// following runs Cosign until the test ends, and returns once the node can ask.
func (f *fixture) following(t *testing.T, clients ...*Client) {
	t.Helper()
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); running.Wait() })
	for _, c := range clients {
		running.Go(func() {
			if err := c.Cosign(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("co-signing ended: %v", err)
			}
		})
	}
	f.until(t, "sessions follow", func() bool { return f.sessions.Stats().Following == len(clients) })
}

// until waits for something that is on its way.
func (f *fixture) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for long: %s", what)
		}
	}
}

// rolledUp waits until the windows are ordered, and adds up their acks by rung.
func (f *fixture) rolledUp(t *testing.T, windows []rollup.WindowKey) (acks, cosigned uint64) {
	t.Helper()
	for _, key := range windows {
		f.ordered(t, key)
		w, err := f.store.Window(key)
		if err != nil {
			t.Fatal(err)
		}
		h, err := rollup.ParseHeader(w.Header)
		if err != nil {
			t.Fatal(err)
		}
		ev, err := rollup.ParseEvidence(w.Evidence)
		if err != nil {
			t.Fatal(err)
		}
		if err := rollup.Verify(h, ev, f.ID, f.View(), nil, 1); err != nil {
			t.Fatal(err)
		}
		for _, r := range h.Rows {
			cosigned += r.Acks
		}
		acks += uint64(h.AckCount)
	}
	return acks, cosigned - acks
}

// deliver has acks of some clients accepted and returns their windows.
func (f *fixture) deliver(t *testing.T, c *Client, seqs uint32, clients ...uint32) (windows []rollup.WindowKey) {
	t.Helper()
	acks := func(yield func(rollup.Ack) bool) {
		for seq := range seqs {
			for _, client := range clients {
				if !yield(rollup.Ack{Client: client, Seq: seq, Units: 3 + uint64(seq)}) {
					return
				}
			}
		}
	}
	sign := func(acks []rollup.Ack) error {
		for i := range acks {
			f.Sign(&acks[i])
		}
		return nil
	}
	err := c.Deliver(t.Context(), acks, sign, func(o *Outcome) {
		if o.Err != nil || !o.Code.OK() {
			t.Errorf("%+v", o)
		}
		key := rollup.WindowKey{Node: o.Ack.Node, Epoch: o.Ack.Epoch, Window: o.Ack.Window}
		if !slices.Contains(windows, key) {
			windows = append(windows, key)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return windows
}

// TestCosign: what two programs submit and co-sign is rolled up under statements, what a third submits is not, and all of it
// is certified.
func TestCosign(t *testing.T) {
	f := start(t, options{windowAge: 300 * time.Millisecond, cosignWait: 10 * time.Second})
	first, second := f.client(t, f.cosigning(nil)), f.client(t, f.cosigning(nil))
	third := f.client(t, nil)
	f.following(t, first, second)
	windows := slices.Concat(f.deliver(t, first, 10, 0, 2), f.deliver(t, second, 7, 3), f.deliver(t, third, 5, 1))
	slices.SortFunc(windows, func(a, b rollup.WindowKey) int { return int(a.Window) - int(b.Window) })
	if acks, cosigned := f.rolledUp(t, slices.Compact(windows)); acks != 5 || cosigned != 27 {
		t.Errorf("%d acks by rung 1 and %d by rung 2", acks, cosigned)
	}
	stats := f.sessions.Stats()
	if stats.Signed == 0 || stats.Signed != stats.Asked || stats.Silent != 0 || stats.Garbage != 0 || stats.Refused != [numReasons]uint64{} {
		t.Errorf("%+v", stats)
	}
	if p := f.pipeline.Stats(); p.Acks != 5 || p.Stated != 27 || p.Offered != 27 {
		t.Errorf("%d acks by rung 1, %d by rung 2, %d offered", p.Acks, p.Stated, p.Offered)
	}
	if a, b := first.CosignStats(), second.CosignStats(); a.Signed+b.Signed != stats.Signed || len(a.Refused) != 0 {
		t.Errorf("%+v, %+v", a, b)
	}
}
