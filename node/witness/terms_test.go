package witness_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/node/witness"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

func rotating(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../rollup/testdata/rotating/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTerms keeps what the blocks of a recorded network say of its committees, and makes the files
// of that network again, from the genesis on and from later.
func TestTerms(t *testing.T) {
	genesis, err := ledger.ParseGenesis(rotating(t, "genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	state, err := ledger.New(genesis)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := witness.New(s, state)
	if _, err := w.HandOvers(1, nil); !errors.Is(err, witness.ErrMissing) {
		t.Errorf("before any: %v", err)
	}
	trust := export.TrustOf(genesis)
	report, err := export.Verify(rotating(t, "hand-overs.wbx"), trust)
	if err != nil {
		t.Fatal(err)
	}
	overs := report.File.(*export.HandOvers)
	file, err := export.Parse(rotating(t, "draws.wbx"))
	if err != nil {
		t.Fatal(err)
	}
	draws := file.(*export.Draws)
	keys := map[uint32][bls.PublicKeySize]byte{}
	for _, k := range overs.Keys {
		keys[k.Node] = k.Key
	}
	first, _ := trust.Terms.Committee(0)
	for _, m := range first.Members {
		keys[m.Node] = m.Key.Bytes()
	}
	before := make([]rotation.Seats, len(overs.Hops))
	before[0] = trust.Terms.Seats(0)
	for i := range overs.Hops {
		if i > 0 {
			done := *draws.Draws
			done.Terms = done.Terms[:i]
			if before[i], err = trust.Terms.Redraw(&done, trust.TermEpochs); err != nil {
				t.Fatal(err)
			}
		}
		hop, e := &overs.Hops[i], draws.Terms[i]
		committee, err := trust.Terms.Committee(uint32(i + 1))
		if err != nil {
			t.Fatal(err)
		}
		ready, gone := e.Ready, e.Gone
		e.Ready, e.Gone = nil, nil
		for _, event := range []ledger.Event{
			ledger.SeatsDrawn{Epoch: hop.Epoch, Seed: hop.Seed, Evidence: &e},
			ledger.SeatsFixed{Epoch: hop.Epoch, Ready: ready, Gone: gone},
			ledger.HandedOver{Committee: committee, Hop: hop, Before: before[i]},
		} {
			b := ledger.Block{Events: []ledger.Event{event}}
			if err := w.Keep(state.View(), &b); err != nil {
				t.Fatal(err)
			}
		}
	}
	key := func(node uint32) ([bls.PublicKeySize]byte, bool) { k, ok := keys[node]; return k, ok }
	made, err := w.HandOvers(1, key)
	if err != nil || !bytes.Equal(made.Append(nil), overs.Append(nil)) {
		t.Errorf("other hand-overs: %v", err)
	}
	drawn, err := w.Draws(1)
	if err != nil || !bytes.Equal(drawn.Append(nil), draws.Append(nil)) {
		t.Errorf("other draws: %v", err)
	}
	for term := uint32(2); term <= overs.Last(); term++ {
		later, err := w.HandOvers(term, key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := export.Verify(later.Append(nil), trust); err != nil {
			t.Errorf("from term %d on: %v", term, err)
		}
		drawn, err := w.Draws(term)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := export.Verify(drawn.Append(nil), trust); err != nil {
			t.Errorf("drawn from term %d on: %v", term, err)
		}
	}
	if err := w.Prune(overs.Hops[3].Epoch); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Draws(1); !errors.Is(err, witness.ErrMissing) {
		t.Errorf("of a pruned epoch: %v", err)
	}
	if _, err := w.HandOvers(1, key); err != nil {
		t.Errorf("hand-overs are for ever: %v", err)
	}
}
