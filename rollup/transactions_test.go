package rollup_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/word"
)

func init() { rollup.FixtureTransactions = testTransactions }

// testEvidence is node 2's word for two rollups of one window.
func testEvidence(h *rollup.Header) word.Evidence {
	net, key := rollup.FixtureNet, rollup.FixtureKey
	ids := []rollup.Hash{h.ID(), blake3.Sum256([]byte("another rollup"))}
	slices.SortFunc(ids, func(a, b rollup.Hash) int { return bytes.Compare(a[:], b[:]) })
	e := &word.TwoRollups{Node: key.Node, Epoch: key.Epoch, Window: key.Window}
	for i, id := range ids {
		e.Rollups[i] = id
		e.Signatures[i] = word.Sign(&net, rollup.FixtureEd25519("transport", 2),
			word.Own{Node: key.Node, Epoch: key.Epoch, Window: key.Window, Rollup: id})
	}
	return e
}

// testTransactions returns a transaction of each kind, as section 12 of the document describes
// them, and the grant.
func testTransactions(t testing.TB) (all []rollup.FixtureTransaction, grant []byte) {
	t.Helper()
	net, ed := rollup.FixtureNet, rollup.FixtureEd25519
	owner := ed("owner", 0)
	client, joining := rollup.FixtureSecret("client", 0), rollup.FixtureSecret("joining", 0)
	account := ledger.KeyOf(owner)
	node := &ledger.NodeRegistration{BLSKey: joining.PublicKey().Bytes(),
		Proof:        ledger.ProvePossession(joining, net, rollup.RoleNode, account),
		TransportKey: ledger.KeyOf(ed("joining", 0)), Stake: 2_000_000, PeerAddress: "127.0.0.1:7009"}
	node.NodeSignature = ledger.SignNode(net, account, node.BLSKey, ed("joining", 0))
	g := ledger.NewGrant(net, owner, ledger.Grant{Payer: 1, Key: client.PublicKey().Bytes(),
		Proof:    ledger.ProvePossession(client, net, rollup.RoleClient, account),
		Services: ledger.Services(0, 1), Numbers: 1000, From: 1, Until: 9})
	h, _ := rollup.FixtureForge(t, rollup.FixtureKey, rollup.FixtureAcks())
	record := settle(rollup.FixtureTable, 0, 1, 3).Certificate
	key := &ledger.ProofKeyChange{ProofKeyTerm: ledger.ProofKeyTerm{Statements: 256,
		Key: blake3.Sum256([]byte("key")), From: 30, Until: 40}}
	signers, sum := rollup.FixtureMultiSign(ledger.ProofKeyMessage(net, 0, &key.ProofKeyTerm), 0, 1, 3)
	key.Signers, key.Signature = signers, sum
	plan := &ledger.Plan{Upgrade: ledger.Upgrade{Version: 3, Epoch: 30, Name: "waybill 3"}}
	plan.Signers, plan.Signature = rollup.FixtureMultiSign(ledger.PlanMessage(net, 0, &plan.Upgrade),
		0, 1, 3)
	grants := ledger.NewGrants(net, []ledger.Grant{g})
	all = []rollup.FixtureTransaction{
		{Kind: 1, Bytes: ledger.NewDeposit(net, ed("treasury", 0), 7, account, 1_000_000)},
		{Kind: 2, Bytes: ledger.NewTransfer(net, owner, 0, ledger.KeyOf(ed("owner", 1)), 5)},
		{Kind: 3, Bytes: ledger.NewRegisterNode(net, owner, 1, node)},
		{Kind: 4, Bytes: ledger.NewRegisterService(net, owner, 2,
			&ledger.ServiceRegistration{Price: 1000, UnitCap: 1 << 20, Unit: "byte"})},
		{Kind: 5, Bytes: grants},
		{Kind: 6, Bytes: ledger.NewRevoke(net, owner, 3, []uint64{0, 1 << 39})},
		{Kind: 7, Bytes: ledger.NewTicket(net, rollup.FixtureCertify(h, 0, 1, 3))},
		{Kind: 8, Bytes: ledger.NewRecordCertificate(net, record)},
		{Kind: 14, Bytes: ledger.NewEvidence(net, testEvidence(h))},
		{Kind: 19, Bytes: ledger.NewReserve(net, owner, 4, 300)},
		{Kind: 20, Bytes: ledger.NewThaw(net, owner, 5, 200)},
		{Kind: 22, Bytes: ledger.NewAllowance(net, owner, 6, 1000)},
		{Kind: 23, Bytes: ledger.NewLowerPrice(net, owner, 7, 1, 999)},
		{Kind: 25, Bytes: ledger.NewProofKey(net, key)},
		{Kind: 26, Bytes: ledger.NewPlan(net, plan)},
	}
	for _, tx := range all {
		if _, err := ledger.ParseTx(tx.Bytes); err != nil {
			t.Errorf("kind %d: %v", tx.Kind, err)
		}
	}
	const head = 8 + 32 + 1 + 2
	return all, grants[head:]
}
