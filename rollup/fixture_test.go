package rollup

import "testing"

// The fixtures below are for the tests in package rollup_test. Those may import rollup/export,
// which imports this package.

// Fixtures of the test network.
var (
	FixtureKey           = testKey
	FixtureShares        = testShares
	FixtureNet           = testNet
	FixtureTable         = testTable
	FixtureAcks          = testAcks
	FixtureForge         = forge
	FixtureSigned        = signed
	FixtureCertify       = certify
	FixtureCertifyRecord = certifyRecord
	FixtureCommittee     = committee
	FixtureSentinels     = sentinels
	FixtureWantError     = wantError
	FixtureWantBytes     = wantBytes
	FixturePay           = pay
	FixtureMultiSign     = multiSign
	FixtureSecret        = testSecret
	FixtureEd25519       = testEd25519
)

// FixtureRegistry returns the registry of the test network.
func FixtureRegistry() Registry { return registry() }

// FixtureWindow is the co-signed window.
type FixtureWindow struct {
	Header   *Header
	Archive  Acks
	Evidence *Evidence
	Third    *Evidence     // on rung 3
	Prover   ProofVerifier // that accepts Third
}

// FixtureCosigned returns the co-signed window of docs/protocol.md.
func FixtureCosigned(t testing.TB) *FixtureWindow {
	t.Helper()
	w := goldenCosigned(t)
	third, _ := w.third(t, 256, registry())
	return &FixtureWindow{w.header, w.archive, w.evidence, third, w.prove(256, registry())}
}

// FixtureTransaction is a transaction of the test network.
type FixtureTransaction struct {
	Kind  int
	Bytes []byte
}

// Set by package rollup_test: one honest file of each type, one of a rollup on rung 2, one on rung
// 3 whose proofs nothing but FixtureWindow.Prover accepts, the heads of the registry, and
// transactions.
var (
	FixtureExports func(testing.TB) map[string][]byte
	FixtureProven  func(testing.TB) []byte
	FixtureHeads   func() []byte
	// one of each kind, and the grant in the one of kind 5
	FixtureTransactions func(testing.TB) (all []FixtureTransaction, grant []byte)
)
