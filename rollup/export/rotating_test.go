package export_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
)

const rotating = "../testdata/rotating/"

func rotatingFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(rotating + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func rotatingTrust(t testing.TB) *export.Trust {
	t.Helper()
	return export.TrustOf(rotatingGenesis(t))
}

func rotatingGenesis(t testing.TB) *ledger.Genesis {
	t.Helper()
	g, err := ledger.ParseGenesis(rotatingFile(t, "genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestRotating checks files of a network whose committee rotates, which a ledger made: a settlement
// that a later committee signed holds once hand-overs lead there, and not before.
func TestRotating(t *testing.T) {
	trust := rotatingTrust(t)
	settlement := rotatingFile(t, "settlement.wbx")
	for _, name := range []string{"settlement.wbx", "draws.wbx"} {
		if _, err := export.Verify(rotatingFile(t, name), trust); !errors.Is(err,
			rollup.ErrUnknownTerm) {
			t.Errorf("%s, with the genesis alone: %v", name, err)
		}
	}
	for _, name := range []string{"hand-overs.wbx", "draws.wbx", "settlement.wbx"} {
		file := rotatingFile(t, name)
		r, err := export.Verify(file, trust)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Log(r.Summary())
		if _, err := json.Marshal(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if again := r.File.Append(nil); string(again) != string(file) {
			t.Errorf("%s is another file when it is encoded again", name)
		}
		if !strings.Contains(r.Summary(), "signed by") || len(r.Signers) == 0 || r.Total != 16 {
			t.Errorf("%s: %s", name, r.Summary())
		}
	}
	e, err := export.Parse(settlement)
	if err != nil {
		t.Fatal(err)
	}
	record := e.(*export.Settlement).Record
	record.Term--
	if _, err := export.Verify(e.Append(nil), trust); err == nil {
		t.Error("it holds in the name of another term")
	}
}

// TestRotatingEveryByteCounts: one byte is another, and nothing holds. Of what comes in the same
// form again and again some bytes are tried.
func TestRotatingEveryByteCounts(t *testing.T) {
	genesis := rotatingGenesis(t)
	for _, name := range []string{"hand-overs.wbx", "draws.wbx", "settlement.wbx"} {
		file := rotatingFile(t, name)
		trust := rotatingTrust(t)
		if name != "hand-overs.wbx" {
			if _, err := export.Verify(rotatingFile(t, "hand-overs.wbx"), trust); err != nil {
				t.Fatal(err)
			}
		}
		for i := range file {
			if i > 400 && i%13 > 0 {
				continue
			}
			file[i] ^= 1 << (i % 8)
			if name == "hand-overs.wbx" {
				trust.Terms = genesis.Terms()
			}
			if _, err := export.Verify(file, trust); err == nil {
				t.Errorf("%s: byte %d of %d, and it holds", name, i, len(file))
			}
			file[i] ^= 1 << (i % 8)
		}
		for n := 41; n < len(file); n += 7 {
			_, err := export.Parse(file[:n])
			if field, ok := errors.AsType[*rollup.DecodeError](err); !ok || field.Offset > n {
				t.Errorf("%s, cut to %d bytes: %v", name, n, err)
			}
		}
	}
}
