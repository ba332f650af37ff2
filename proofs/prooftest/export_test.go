package prooftest

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/waybill-network/waybill/proofs/prover"
	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
)

var update = flag.Bool("update", false, "prove the co-signed window of docs/protocol.md section 12 again and write it to rollup/testdata/proofs")

const testdata = "../../rollup/testdata"

// TestExport holds the export of a rollup on rung 3 to that of the same rollup on rung 2.
func TestExport(t *testing.T) {
	second := parse(t, "export-statements.wbx")
	if *update {
		write(t, second)
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
	if !bytes.Equal(third.Certificate.Append(nil), second.Certificate.Append(nil)) || third.Evidence.Rung != rollup.RungProof {
		t.Error("it is about another rollup, or on another rung")
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
	other := *trust
	other.ProofKey = func(size int) (rollup.Hash, bool) { return rollup.Hash{}, true }
	if _, err := export.Verify(file, &other); !errors.Is(err, rollup.ErrProof) {
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

// write proves the rollup with a development key of this machine, which goes into the genesis file beside it.
func write(t *testing.T, second *export.Rollup) {
	const size = 256
	pair := Keys(t, size)
	proving, err := pair.Proving()
	if err != nil {
		t.Fatal(err)
	}
	payers := make(map[uint32]uint32)
	for _, c := range second.Clients {
		payers[c.Client] = c.Payer
	}
	statements := second.Evidence.Statements
	for i := range statements {
		statements[i].Payer = payers[statements[i].Client]
	}
	ev := second.Evidence
	segments, err := rollup.Segments(&second.Certificate.Header, rollup.NewStatementTree(statements), ev.Clients, size)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := prover.Prove(proving, &segments[0], statements)
	if err != nil {
		t.Fatal(err)
	}
	third := *second
	third.Evidence = rollup.ProofEvidence(ev.Acks, ev.Clients, segments, [][rollup.ProofSize]byte{proof})
	third.VerifyingKey = pair.Verifying.Bytes()
	genesis := genesisOf(t, "genesis.json")
	genesis.Params.Proofs = ledger.Proofs{Development: true, Keys: []ledger.ProofKey{{Statements: size, Key: rollup.Hash(pair.Key)}}}
	dir := filepath.Join(testdata, "proofs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"export-proof.wbx": third.Append(nil), "genesis.json": genesis.Encode()} {
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
