package word

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

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

var update = flag.Bool("update", false, "write rollup/testdata/lies")

const testdata = "../testdata/lies"

// member is an entry of the test network's genesis file; only the fields of the file are encoded.
type member struct {
	Owner        string `json:"owner"`
	BLSKey       string `json:"bls_key"`
	Proof        string `json:"proof"`
	TransportKey string `json:"transport_key"`
	NodeSig      string `json:"node_signature"`
	ConsensusKey string `json:"consensus_key"`
	PeerAddress  string `json:"peer_address"`
	P2PAddress   string `json:"p2p_address"`
	Stake        uint64 `json:"stake"`
}

func public(i uint32) []byte { return nodeKey(i).Public().(ed25519.PublicKey) }

// testMember has one key as owner, node and consensus.
func testMember(i uint32) member {
	key, node := keys().members[i].PublicKey().Bytes(), fmt.Sprintf("%x", public(i))
	return member{Owner: node, BLSKey: fmt.Sprintf("%x", key), TransportKey: node,
		ConsensusKey: node, PeerAddress: fmt.Sprintf("127.0.0.1:%d", 7000+i),
		P2PAddress: fmt.Sprintf("127.0.0.1:%d", 7100+i), Stake: 10_000_000}
}

const (
	testChain = "waybill-lies"
	testTime  = "2026-01-01T00:00:00Z"
)

// testCanonical is the canonical genesis of the test network (section 3 of the protocol).
func testCanonical() (b []byte) {
	text := func(s string) { b = append(le.AppendUint16(b, uint16(len(s))), s...) }
	b = le.AppendUint16(b, 2)
	text(testChain)
	text(testTime)
	b = append(b, public(0)...)
	for _, v := range [...]uint32{60, 10, 5} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range [...]uint16{8000, 1500, 500} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(le.AppendUint64(b, 10), 720)                  // grants: fee, epochs
	b = le.AppendUint64(le.AppendUint64(b, 1_000_000_000), 1_000_000) // allowance, stake to serve

	b = le.AppendUint16(b, 5000)         // slash
	b = le.AppendUint32(b, 691_200)      // unbonding
	b = le.AppendUint32(append(b, 0), 0) // neither development nor proof keys
	b = le.AppendUint32(b, testNodes)
	for i := range uint32(testNodes) {
		key := keys().members[i].PublicKey().Bytes()
		b = append(append(b, public(i)...), key[:]...)
		b = append(append(b, public(i)...), public(i)...)
		m := testMember(i)
		text(m.PeerAddress)
		text(m.P2PAddress)
		b = le.AppendUint64(b, m.Stake)
	}
	return b
}

func testGenesis(t *testing.T) []byte {
	t.Helper()
	var members []member
	for i := range uint32(testNodes) {
		m := testMember(i)
		owner, key := [32]byte(public(i)), keys().members[i].PublicKey().Bytes()
		proof := bls.Prove(keys().members[i], rollup.ProofMessage(&testNet, rollup.RoleNode, owner, key))
		encoded := proof.Bytes()
		m.Proof = fmt.Sprintf("%x", encoded)
		m.NodeSig = fmt.Sprintf("%x",
			ed25519.Sign(nodeKey(i), rollup.NodeMessage(&testNet, owner, key, owner)))
		members = append(members, m)
	}
	b, err := json.MarshalIndent(map[string]any{
		"version": 2, "chain_id": testChain, "genesis_time": testTime,
		"treasury": fmt.Sprintf("%x", public(0)),
		"params": map[string]any{"epoch_seconds": 60, "grace_seconds": 10, "grace_blocks": 5,
			"shares":    map[string]any{"node": 8000, "service": 1500, "protocol": 500},
			"grant_fee": 10, "grant_epochs": 720, "allowance": 1_000_000_000, "serve_stake": 1_000_000,
			"slash_equivocation": 5000, "unbond_seconds": 691_200,
			"proofs": map[string]any{"development": false, "keys": []any{}}},
		"committee": members,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// TestGolden holds the files of rollup/testdata/lies to the code: one of every lie that is told in
// term 0, the only one of which a genesis file tells the committee.
func TestGolden(t *testing.T) {
	golden(t, "genesis.json", testGenesis(t))
	list, of := files(t)
	for i, f := range list {
		if !strings.Contains(of[i].name, "two terms") && of[i].name != "two statements" &&
			of[i].name != "two committees of a later term" {
			name := strings.NewReplacer(" ", "-", ",", "", "'s", "s").Replace(of[i].name)
			golden(t, fmt.Sprintf("%d-%s.wbx", f.Evidence.Lie(), name), f.Append(nil))
		}
	}
}

func golden(t *testing.T, name string, want []byte) {
	t.Helper()
	path := filepath.Join(testdata, name)
	if *update {
		if err := os.MkdirAll(testdata, 0o755); err != nil {
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
			"if the change is meant: go test ./rollup/word -run TestGolden -update", path)
	}
}
