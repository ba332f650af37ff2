package rollup

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
)

var update = flag.Bool("update", false, "write testdata and the test values of docs/protocol.md")

const document = "../docs/protocol.md"

// TestGolden holds testdata, the fuzz corpora and section 12 of the document to the code.
func TestGolden(t *testing.T) {
	golden(t, "testdata/genesis.json", testGenesis(t))
	for name, file := range FixtureExports(t) {
		golden(t, "testdata/export-"+name+".wbx", file)
	}
	for target, inputs := range seeds(t) {
		for i, b := range inputs {
			dir := ""
			if target == "FuzzParse" {
				dir = "export/"
			}
			golden(t, fmt.Sprintf("%stestdata/fuzz/%s/seed-%d", dir, target, i),
				fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\n", b))
		}
	}

	doc, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- test values -->\n", "<!-- end of test values -->\n"
	before, rest, found := strings.Cut(string(doc), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no test values", document)
	}
	golden(t, document, []byte(before+begin+testValues(t)+end+after))
}

func golden(t *testing.T, path string, want []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code gives; "+
			"if the change is meant: go test ./rollup -run TestGolden -update", path)
	}
}

// testValues is the table of section 12.
func testValues(t *testing.T) string {
	h, ev := forge(t, testKey, testAcks())
	tree := AckTree(ev, h.Key())
	cert := certify(h, 0, 1, 3)
	client, member := registry().secrets[0], committeeSecrets()[0]
	memberKey := member.PublicKey().Bytes()
	proof := bls.Prove(member, ProofMessage(&testNet, RoleNode, testOwner(0), memberKey))
	var out strings.Builder
	out.WriteString("| what | bytes |\n|---|---|\n")
	row := func(what string, b any) {
		if text, ok := b.(fmt.Stringer); ok { // Hash and Network print themselves
			fmt.Fprintf(&out, "| %s | `%s` |\n", what, text)
			return
		}
		fmt.Fprintf(&out, "| %s | `%x` |\n", what, b)
	}
	l, r := tree.Leaf(0), tree.Leaf(1)
	row("network", testNet)
	row("client 0, secret key (big-endian)", client.Bytes())
	row("client 0, public key", client.PublicKey().Bytes())
	row("member 0, secret key (big-endian)", member.Bytes())
	row("member 0, public key", member.PublicKey().Bytes())
	row("member 0, proof of possession", proof.Bytes())
	word := ed25519.Sign(testEd25519("transport", 0),
		NodeMessage(&testNet, testOwner(0), memberKey, testNode(0)))
	row("member 0, node signature", word)
	transactions, grant := FixtureTransactions(t)
	row("grant of client 0", grant)
	for _, tx := range transactions {
		row(fmt.Sprintf("B3 of the transaction of kind %d (%d bytes)", tx.Kind, len(tx.Bytes)),
			blake3.Sum256(tx.Bytes))
	}
	row("ack 0", testAcks()[0].Append(nil))
	row("leaf of ack 0", AckTreeKind.LeafHash(Frame(testAcks()[0].Append(nil)).Leaf()))
	row("node over leaves 0 and 1 in tree order", AckTreeKind.NodeHash(&l, &r))
	row("ack root", h.AckRoot)
	row("ack aggregate", h.AckSignature)
	row("header and rows", h.Append(nil))
	row("rollup id", h.ID())
	row("committee root", committee().Root())
	row("bitmap of members 0, 1 and 3", []byte(cert.Signers))
	row("node 2's word for the rollup", cert.Own)
	row("certificate's signature", cert.Signature)
	row("settlement root", testTable.Root())
	record := FixtureExports(t)["settlement"][8+32+1:]
	row("heads of the registry", FixtureHeads())
	row("record of the settlement", record[:RecordSize])
	row("its signature", record[RecordSize+2:RecordSize+2+SignatureSize])
	w := goldenCosigned(t)
	statement := w.tree.Statements()[0]
	fields, root, _ := statement.Elements()
	segments, err := Segments(w.header, w.tree, w.evidence.List, 256, registry())
	if err != nil {
		t.Fatal(err)
	}
	message := CosignMessage(testNet, w.header.Key(), w.header.StatementCount, w.header.StatementRoot)
	s := segments[0]
	row("co-signed window: statement 0, as it is offered", statement.Append(nil))
	row("its element e0", Hash(fields.Bytes()))
	row("its element e1", Hash(root.Bytes()))
	row("statement root", w.header.StatementRoot)
	row("co-signed message", message[:])
	row("multi-signature of clients 0, 2 and 3", w.header.StatementSignature)
	row("list", w.evidence.List.Append(nil))
	row("list root", w.header.ListRoot)
	row("header and rows of the co-signed window", w.header.Append(nil))
	row("its rollup id", w.header.ID())
	row("segment of 256: node 0", Hash(s.Nodes[0].Bytes()))
	row("table digest", Hash(s.Table.Bytes()))
	row("signed digest", Hash(s.Signed.Bytes()))
	row("challenge", Hash(s.Challenge.Bytes()))
	row("fingerprint", Hash(s.Fingerprint.Bytes()))
	row("public input", Hash(s.Public.Bytes()))
	for _, name := range []string{"ack", "rollup", "settlement", "statements", "statement-ack"} {
		file := FixtureExports(t)[name]
		row(fmt.Sprintf("B3 of `export-%s.wbx` (%d bytes)", name, len(file)), blake3.Sum256(file))
	}
	// made by proofs/prooftest: proofs are random
	proven, err := os.ReadFile("testdata/proofs/export-proof.wbx")
	if err != nil {
		t.Fatal(err)
	}
	row(fmt.Sprintf("B3 of `proofs/export-proof.wbx` (%d bytes)", len(proven)), blake3.Sum256(proven))
	return out.String()
}

func testNode(i int) [32]byte {
	return [32]byte(testEd25519("transport", i).Public().(ed25519.PublicKey))
}

func testOwner(i int) [32]byte {
	return [32]byte(testEd25519("owner", i).Public().(ed25519.PublicKey))
}

// testCanonical is the canonical encoding of that genesis, which the network's id is a digest of,
// put together as section 3 says.
func testCanonical() (b []byte) {
	text := func(s string) { b = append(le.AppendUint16(b, uint16(len(s))), s...) }
	key := func(role string, i int) {
		b = append(b, testEd25519(role, i).Public().(ed25519.PublicKey)...)
	}
	b = le.AppendUint16(b, 2)
	text(testChain)
	text("2026-01-01T00:00:00Z")
	key("treasury", 0)
	for _, v := range [...]uint32{60, 10, 5} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range [...]uint16{8000, 1500, 500} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint64(b, 10)            // fee of a grant
	b = le.AppendUint32(b, 720)           // epochs of a grant
	b = le.AppendUint64(b, 1_000_000_000) // allowance
	b = le.AppendUint64(b, 1_000_000)     // stake to serve
	b = le.AppendUint16(b, 5000)          // slash
	b = le.AppendUint32(b, 691_200)       // unbonding
	b = append(b, 0)                      // no development network
	b = le.AppendUint32(b, 0)             // no proof keys
	b = le.AppendUint32(b, 4)             // members
	for i, power := range testPowers {
		key("owner", i)
		bls := testSecret("member", i).PublicKey().Bytes()
		b = append(b, bls[:]...)
		key("transport", i)
		key("consensus", i)
		text(fmt.Sprintf("127.0.0.1:%d", 7000+i))
		text(fmt.Sprintf("127.0.0.1:%d", 7100+i))
		b = le.AppendUint64(b, power*1_000_000)
	}
	return b
}

// testGenesis is the genesis file of the test network.
func testGenesis(t *testing.T) []byte {
	type member struct {
		Owner        hexBytes `json:"owner"`
		BLSKey       hexBytes `json:"bls_key"`
		Proof        hexBytes `json:"proof"`
		TransportKey hexBytes `json:"transport_key"`
		NodeSig      hexBytes `json:"node_signature"`
		ConsensusKey hexBytes `json:"consensus_key"`
		PeerAddress  string   `json:"peer_address"`
		P2PAddress   string   `json:"p2p_address"`
		Stake        uint64   `json:"stake"`
	}
	ed := func(role string, i int) hexBytes {
		return hexBytes(testEd25519(role, i).Public().(ed25519.PublicKey))
	}
	var members []member
	for i, sk := range committeeSecrets() {
		key, owner := sk.PublicKey().Bytes(), testOwner(i)
		proof := bls.Prove(sk, ProofMessage(&testNet, RoleNode, owner, key))
		encoded, node := proof.Bytes(), testEd25519("transport", i)
		word := ed25519.Sign(node, NodeMessage(&testNet, owner, key, [32]byte(ed("transport", i))))
		members = append(members, member{ed("owner", i), key[:], encoded[:], ed("transport", i), word,
			ed("consensus", i), fmt.Sprintf("127.0.0.1:%d", 7000+i), fmt.Sprintf("127.0.0.1:%d", 7100+i),
			testPowers[i] * 1_000_000})
	}
	b, err := json.MarshalIndent(map[string]any{
		"version": 2, "chain_id": testChain, "genesis_time": "2026-01-01T00:00:00Z",
		"treasury": ed("treasury", 0),
		"params": map[string]any{"epoch_seconds": 60, "grace_seconds": 10, "grace_blocks": 5,
			"shares": testShares, "grant_fee": 10, "grant_epochs": 720, "allowance": 1_000_000_000,
			"serve_stake": 1_000_000, "slash_equivocation": 5000, "unbond_seconds": 691_200,
			"proofs": map[string]any{"development": false, "keys": []any{}}},
		"committee": members,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}
