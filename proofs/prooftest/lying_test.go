package prooftest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/proofs/internal/lying"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/registry"
)

// TestLyingFiles has the whole committee certify windows that lie and such that do not, and demands
// the generator's verdict from their files. WAYBILL_LIES says how many; the files go to the folder
// that WAYBILL_LIES_DIR names, with the verdict in their names, for the independent verifier.
func TestLyingFiles(t *testing.T) {
	genesis := genesisOf(t, "genesis.json")
	lying.Network = genesis.Network()
	trust := export.TrustOf(genesis)
	dir := os.Getenv("WAYBILL_LIES_DIR")
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		keep(t, filepath.Join(dir, "genesis.json"), read(t, "genesis.json"))
	}
	lies := append(append(lying.Truths(), lying.Lies()...), lying.Hidden()...)
	n := len(lies)
	if more := os.Getenv("WAYBILL_LIES"); more != "" {
		var err error
		if n, err = strconv.Atoi(more); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(2, uint64(n)))
	var valid, refused, untold int
	for i := range n {
		lie := lies[i%len(lies)]
		w := tell(rng, lie)
		if w == nil {
			t.Fatalf("%s: no window has what it needs", lie.Name)
		}
		h, evidence := w.Show()
		reg := newProver(w.World.Clients, w.World.Caps, nil)
		e, err := export.NewRollup(reg.anchored(t, h, 0, 1, 2, 3), evidence, reg, nil)
		if errors.Is(err, rollup.ErrNotFound) || errors.Is(err, registry.ReasonGap) {
			untold++ // a file has all clients and services
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		file, verdict := e.Append(nil), "valid"
		_, err = export.Verify(file, trust)
		if (err == nil) != (lie.Second == nil) {
			t.Errorf("%s, of %d statements: %v, not %v", lie.Name, len(w.Statements), err, lie.Second)
		}
		if valid++; lie.Second != nil {
			verdict, valid, refused = "refused", valid-1, refused+1
		}
		if dir != "" {
			name := strings.NewReplacer(" ", "-", "/", "-").Replace(lie.Name)
			keep(t, filepath.Join(dir, fmt.Sprintf("%s-%04d-%s.wbx", verdict, i, name)), file)
		}
	}
	t.Logf("%d files valid, %d refused; %d lies that no file can tell", valid, refused, untold)
	if valid == 0 || refused == 0 {
		t.Error("one verdict is missing")
	}
}

func keep(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// tell finds a small window that the lie can be told of.
func tell(rng *rand.Rand, lie lying.Lie) *lying.Window {
	for range 2000 {
		if w := lying.Honest(rng, 1+rng.IntN(20)); lie.Tell(w, rng) {
			return w
		}
	}
	for range 20 { // it needs a cut
		if w := lying.Honest(rng, lying.Cut+1+rng.IntN(20)); lie.Tell(w, rng) {
			return w
		}
	}
	return nil
}
