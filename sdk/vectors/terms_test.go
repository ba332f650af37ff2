package vectors

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// terms are the committees that rotated in a recorded network: its genesis, its hand-overs, whose
// committees follow, and a record of a later term.
func terms(t *testing.T) object {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile("../../rollup/testdata/rotating/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	genesis, file := read("genesis.json"), read("hand-overs.wbx")
	g, err := ledger.ParseGenesis(genesis)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := export.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	chain := g.Terms()
	if err := chain.Extend(parsed.(*export.HandOvers).HandOvers, 1); err != nil {
		t.Fatal(err)
	}
	var roots []string
	for term := range chain.Last() + 1 {
		c, err := chain.Committee(term)
		if err != nil {
			t.Fatal(err)
		}
		root := c.Root()
		roots = append(roots, text(root[:]))
	}
	// A settlement begins with a record, its signers and their signature.
	const begins = 8 + 32 + 1
	settlement := read("settlement.wbx")[begins:]
	record, err := rollup.ParseRecord(settlement[:rollup.RecordSize])
	if err != nil {
		t.Fatal(err)
	}
	rest := settlement[rollup.RecordSize:]
	signed := rest[:1+int(rest[0])+rollup.SignatureSize]
	certificate := append(binary.LittleEndian.AppendUint64(nil, record.Height), signed...)
	recovered := read("recovered.json")
	after, err := ledger.ParseGenesis(recovered)
	if err != nil {
		t.Fatal(err)
	}
	id, root := after.Network(), after.Committee().Root()
	return object{"recovered": object{"genesis": string(recovered), "network": text(id[:]),
		"nodes": after.Checkpoint.Nodes, "root": text(root[:])}, "genesis": string(genesis),
		"hand_overs": text(file), "roots": roots,
		"record": text(settlement[:rollup.RecordSize]), "certificate": text(certificate),
		"term": record.Term, "epoch": record.Epoch, "height": record.Height}
}
