package prooftest

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/proofs/prover"
	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/registry"
)

var update = flag.Bool("update", false, "prove the co-signed window of the protocol's section 12 "+
	"again and write it to rollup/testdata/proofs")

const testdata = "../../rollup/testdata"

// TestExport holds the export of a rollup on rung 3 to that of the same window on rung 2, whose
// network has no proof keys.
func TestExport(t *testing.T) {
	second := parse(t, "export-statements.wbx")
	if *update {
		write(t)
	}
	genesis := genesisOf(t, "proofs/genesis.json")
	trust := export.TrustOf(genesis)
	trust.Proofs = verifier.OfKey
	file := read(t, "proofs/export-proof.wbx")
	report, err := export.Verify(file, trust)
	if err != nil {
		t.Fatal(err)
	}
	third := report.File.(*export.Rollup)
	if !slices.Equal(third.Header.Rows, second.Header.Rows) ||
		!slices.Equal(third.Evidence.List, second.Evidence.List) ||
		third.Evidence.Rung != rollup.RungProof {
		t.Error("it is about another window, or on another rung")
	}
	t.Log(report.Summary())

	// The proof's and the key's bytes all count.
	proof := bytes.Index(file, third.Evidence.Segments[0].Proof[:])
	key := len(file) - rollup.VerifyingKeySize
	for i := proof; i < proof+rollup.ProofSize; i += 16 {
		refuse(t, file, i, trust)
	}
	for i := key; i < len(file); i += 90 {
		refuse(t, file, i, trust)
	}
	// The digest is the registry's, and not the genesis file's.
	bad := bytes.Clone(file)
	bad[key-registry.ProofKeySize+4] ^= 1
	if _, err := export.Verify(bad, trust); !errors.Is(err, rollup.ErrRegistry) {
		t.Errorf("under another key's digest: %v", err)
	}
}

func refuse(t *testing.T, file []byte, i int, trust *export.Trust) {
	t.Helper()
	bad := bytes.Clone(file)
	bad[i] ^= 1
	if _, err := export.Verify(bad, trust); !errors.Is(err, rollup.ErrProof) {
		t.Errorf("with byte %d changed: %v", i, err)
	}
}

// write proves the window with a development key of this machine, which goes into the genesis file
// beside it.
func write(t *testing.T) {
	const size = 256
	pair := Keys(t, size)
	proving, err := pair.Proving()
	if err != nil {
		t.Fatal(err)
	}
	genesis := genesisOf(t, "genesis.json")
	genesis.Params.Proofs = ledger.Proofs{Development: true,
		Keys: []ledger.ProofKey{{Statements: size, Key: rollup.Hash(pair.Key)}}}
	for i := range genesis.Members {
		genesis.Sign(i, blsKey("member", i), nodeKey("transport", i))
	}
	d := newDocumented(t, genesis.Network())
	segments, err := rollup.Segments(d.header, d.tree, d.evidence.List, size, d)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := prover.Prove(proving, &segments[0], d.tree.Statements())
	if err != nil {
		t.Fatal(err)
	}
	ev := rollup.ProofEvidence(d.evidence.Acks, d.evidence.List, segments,
		[][rollup.ProofSize]byte{proof})
	reg := d.prover(size, rollup.Hash(pair.Key))
	third, err := export.NewRollup(reg.anchored(t, d.header, 0, 1, 3), ev, reg,
		pair.Verifying.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(testdata, "proofs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"export-proof.wbx": third.Append(nil),
		"genesis.json": genesis.Encode()} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func parse(t *testing.T, name string) *export.Rollup {
	e, err := export.Parse(read(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return e.(*export.Rollup)
}

func genesisOf(t *testing.T, name string) *ledger.Genesis {
	g, err := ledger.ParseGenesis(read(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func read(t *testing.T, name string) []byte {
	b, err := os.ReadFile(filepath.Join(testdata, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
