package export_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/word"
)

const lies = "../testdata/lies"

// TestLies takes the file of every lie, and says who told it.
func TestLies(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(lies, "genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	genesis, err := ledger.ParseGenesis(raw)
	if err != nil {
		t.Fatal(err)
	}
	trust := export.TrustOf(genesis)
	names, err := filepath.Glob(filepath.Join(lies, "*.wbx"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range names {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		name = filepath.Base(name)
		r, err := export.Verify(file, trust)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		t.Logf("%s: %s", name, r.Summary())
		liar := "the nodes [1 3], as members of the committee,"
		switch kind := file[41]; {
		case kind == 1, kind > 15 && kind < 20:
			liar = "node 2"
		case kind > 20:
			liar = "client 3"
		case strings.Contains(name, "share"):
			liar = "node 3"
		}
		if r.Type != export.TypeLie || !strings.HasPrefix(r.Summary(), liar+" told lie ") {
			t.Errorf("%s: a %s: %s; the liar is %s", name, r.Type, r.Summary(), liar)
		}
		if again := r.File.Append(nil); string(again) != string(file) {
			t.Errorf("%s is another file when it is encoded again", name)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		file[len(file)-1] ^= 1
		if _, err := export.Verify(file, trust); err == nil {
			t.Errorf("%s: with its last byte changed it still shows something", name)
		}
		if _, err := export.Parse(file[:50]); !errors.Is(err, rollup.ErrMalformed) {
			t.Errorf("%s, cut: %v", name, err)
		}
	}
}

// TestLiesOfGenesis: a file without a witness is about whom the genesis file tells of.
func TestLiesOfGenesis(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(lies, "genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	genesis, err := ledger.ParseGenesis(raw)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(lies, "1-two-rollups.wbx"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := word.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f.Witness = nil
	trust := export.TrustOf(genesis)
	r, err := export.Verify(f.Append(nil), trust)
	if err != nil {
		t.Fatal(err)
	}
	const want = "node 2 told lie 1 in epoch 4: two rollups of a window."
	if s := r.Summary(); len(r.Signers) > 0 || s != want {
		t.Errorf("%s: signed by %d", s, r.Signers)
	}
	delete(trust.NodeKeys, 2)
	if _, err := export.Verify(f.Append(nil), trust); !errors.Is(err, word.ReasonUnknown) {
		t.Errorf("of a node of a later time: %v", err)
	}
}
