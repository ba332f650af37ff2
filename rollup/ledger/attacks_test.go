package ledger

import (
	"math/big"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// TestCopiedProof: who sees a registration that waits, or one on another network, cannot register
// its key for himself, whatever of it he copies.
func TestCopiedProof(t *testing.T) {
	g, s := scene(t)
	other := testGenesis(4, 4, 4, 4)
	other.ChainID = "another"
	signGenesis(other)
	net, mallory := g.Network(), accountKey("carol") // who has account 6
	seen := newGrant(g, "alice", 5, "two")
	elsewhere := newGrant(other, "carol", 6, "two")
	asNode := prove(net, "two", rollup.RoleNode, KeyOf(mallory))
	edge := newNode(g, "alice", "edge", 1)

	granted := func(proof BLSSignature) []byte {
		g := Grant{Payer: 6, Key: seen.Key, Proof: proof, Services: Services(0), Numbers: Forever,
			Until: Forever}
		return NewGrants(net, []Grant{NewGrant(net, mallory, g)})
	}
	renamed := seen
	renamed.Payer = 6
	node := func(change func(*NodeRegistration)) []byte {
		n := *edge
		change(&n)
		return NewRegisterNode(net, mallory, 0, &n)
	}
	for name, tt := range map[string]struct {
		code TxCode
		tx   []byte
	}{
		"the proof for another payer":  {CodeBadProof, granted(seen.Proof)},
		"the proof on another network": {CodeBadProof, granted(elsewhere.Proof)},
		"the proof as a node":          {CodeBadProof, granted(asNode)},
		"the grant in another's name":  {CodeBadSignature, NewGrants(net, []Grant{renamed})},
		"the grant on another network": {CodeBadSignature, NewGrants(net, []Grant{elsewhere})},
		"the transaction of another": {CodeWrongNetwork,
			NewGrants(other.Network(), []Grant{elsewhere})},
		"a node for another owner": {CodeBadProof, node(func(*NodeRegistration) {})},
		"a node with its own proof": {CodeBadProof, node(func(n *NodeRegistration) {
			// as if the BLS key were his, too
			n.Proof = prove(net, "edge", rollup.RoleNode, KeyOf(mallory))
		})},
		"a node key for one's own BLS key": {CodeBadProof, node(func(n *NodeRegistration) {
			mine := newNode(g, "carol", "mine", 0)
			n.BLSKey, n.Proof = mine.BLSKey, mine.Proof
		})},
	} {
		if r := s.Check(tt.tx); r.Code != tt.code {
			t.Errorf("%s: checked: %s (%v), not %s", name, r.Code, r.Err, tt.code)
		}
	}
	s.Begin(100, at(s.time))
	// The grant itself, sent by anybody, makes the client that its payer wanted, once.
	copied := NewGrants(net, []Grant{seen})
	if r := s.Apply(copied); !r.OK() || s.clients.at(r.Index).payer != 5 {
		t.Errorf("the grant: %v", r.Err)
	}
	if r := s.Apply(copied); r.Code != CodeKeyTaken {
		t.Errorf("the grant again: %s", r.Code)
	}
	if r := s.Apply(NewRegisterNode(net, accountKey("alice"), 2, edge)); !r.OK() {
		t.Errorf("the node: %v", r.Err)
	}
	s.End()
}

// TestSuccessor: a network started anew under the name of another, with the same members, honours
// nothing that was signed for its predecessor.
func TestSuccessor(t *testing.T) {
	old, _ := scene(t)
	g := testGenesis(4, 4, 4, 4)
	g.GenesisTime = g.GenesisTime.Add(time.Second)
	signGenesis(g)
	was, is := old.Network(), g.Network()
	if g.ChainID != old.ChainID || was == is || was.Net() == is.Net() {
		t.Fatalf("networks %s and %s", was, is)
	}
	if err := old.Validate(); err != nil {
		t.Fatal(err)
	}
	copied := *g
	copied.Members = old.Members
	if err := copied.Validate(); err == nil {
		t.Error("the predecessor's members are taken without new proofs")
	}

	s, net := newState(t, g), g.Network()
	key := rollup.WindowKey{Node: 1}
	block(t, s, 1, 2*time.Second,
		NewDeposit(net, accountKey("treasury"), 0, accountOf("alice"), 1000),
		NewRegisterService(net, accountKey("alice"), 0,
			&ServiceRegistration{Price: 1 << 20, UnitCap: 100, Unit: "bytes"}))
	ticket := func(change func(*rollup.Certificate)) []byte {
		c := certificate(old, key, goodRows, 0, 1, 2)
		change(c)
		return NewTicket(net, c)
	}
	for name, tt := range map[string]struct {
		code TxCode
		tx   []byte
	}{
		"a transaction": {CodeWrongNetwork,
			NewTransfer(old.Network(), accountKey("alice"), 1, accountOf("bob"), 7)},
		"a transaction under the new name": {CodeBadSignature, append(head(net, KindTransfer),
			NewTransfer(old.Network(), accountKey("alice"), 1, accountOf("bob"), 7)[txHead:]...)},
		"a grant":  {CodeBadSignature, NewGrants(net, []Grant{newGrant(old, "alice", 5, "one")})},
		"a ticket": {CodeWrongNetwork, ticket(func(*rollup.Certificate) {})},
		"a ticket under the new name": {CodeBadWord,
			ticket(func(c *rollup.Certificate) { c.Header.Network = net })},
		"a ticket with the node's help": {CodeBadCertificate, ticket(func(c *rollup.Certificate) {
			c.Header.Network = net
			own(c, "node1 transport")
		})},
	} {
		if r := s.Check(tt.tx); r.Code != tt.code {
			t.Errorf("%s: %s (%v), not %s", name, r.Code, r.Err, tt.code)
		}
	}

	one := identity("one")
	ack := rollup.Ack{Net: old.Network().Net(), Node: 1, Units: 1}
	signature := bls.Default.Sign(one.secret, ack.AppendMessage(nil, &was))
	public := one.secret.PublicKey()
	if !bls.Default.Verify(public, ack.AppendMessage(nil, &was), &signature) ||
		bls.Default.Verify(public, ack.AppendMessage(nil, &is), &signature) {
		t.Error("an ack is good for another network than the one that it was signed for")
	}
}

// TestGrantsAlone: of grants in one transaction each stands or falls alone when it is executed, and
// the result says why; a door takes none that carry a false signature.
func TestGrantsAlone(t *testing.T) {
	g, s := scene(t)
	net := g.Network()
	forged := newGrant(g, "alice", 5, "four")
	forged.Signature[0] ^= 1
	unproven := newGrant(g, "alice", 5, "five", func(g *Grant) {
		g.Proof = prove(net, "five", rollup.RoleClient, accountOf("bob"))
	})
	misproven := newGrant(g, "alice", 5, "six", func(g *Grant) {
		g.Proof = prove(net, "five", rollup.RoleClient, accountOf("alice"))
	})
	grants := []Grant{
		newGrant(g, "alice", 5, "one"), // has it
		newGrant(g, "alice", 5, "two"),
		forged,
		unproven,
		newGrant(g, "carol", 6, "six"),
		misproven,                       // of a key that another grant has by then
		newGrant(g, "alice", 5, "four"), // as the payer signed it
		newGrant(g, "alice", 5, "seven", func(g *Grant) { g.From = 5 }),
		newGrant(g, "alice", 5, "eight", func(g *Grant) { g.Until = 4 }),
		newGrant(g, "alice", 5, "two", func(g *Grant) { g.Until = 9 }),
	}
	want := map[int]TxCode{0: CodeKeyTaken, 2: CodeBadSignature, 3: CodeBadProof, 5: CodeBadProof,
		7: CodeTooEarly, 8: CodeExpired, 9: CodeKeyTaken}
	tx := NewGrants(net, grants)
	if r := s.Check(tx); r.Code != CodeBadSignature {
		t.Errorf("checked: %s (%v)", r.Code, r.Err)
	}
	s.Begin(100, at(s.time))
	r := s.Apply(tx)
	if !r.OK() || r.Index != 1 || r.Count != 3 || len(r.Fell) != len(want) {
		t.Fatalf("%+v", r)
	}
	for _, f := range r.Fell {
		if f.Code() != want[f.Grant] {
			t.Errorf("grant %d: %v, not %s", f.Grant, f.Err, want[f.Grant])
		}
	}
	for name, index := range map[string]uint64{"one": 0, "two": 1, "six": 2, "four": 3} {
		if got, ok := s.clients.byKey(&identity(name).Key); !ok || got.index != index {
			t.Errorf("client %s has index %d, %v, not %d", name, got.index, ok, index)
		}
	}
	if again := s.Apply(tx); again.Code != CodeKeyTaken {
		t.Errorf("again: %s", again.Code)
	}
	s.End()
}

// TestCancellingKeys: keys of one owner whose sum is zero register like any others; they are as
// good as a published secret key, and bounded by their grants. The negative of somebody else's key
// does not: its proof needs a secret that nobody has.
func TestCancellingKeys(t *testing.T) {
	g, s := scene(t)
	net, payer := g.Network(), accountOf("alice")
	grant := func(secret *bls.SecretKey, proof BLSSignature) Grant {
		return NewGrant(net, accountKey("alice"), Grant{Payer: 5, Key: secret.PublicKey().Bytes(),
			Proof: proof, Services: Services(0), Numbers: 9, Until: 9})
	}
	a := identity("two").secret
	b := negative(t, a)
	var sum bls.Sum
	for _, secret := range []*bls.SecretKey{a, b} {
		signature := bls.Default.Sign(secret, []byte("anything"))
		sum.Add(&signature)
	}
	if total := sum.Signature(); !total.IsIdentity() {
		t.Fatal("they do not cancel")
	}
	prove := func(secret *bls.SecretKey) BLSSignature {
		return ProvePossession(secret, net, rollup.RoleClient, payer)
	}
	// of an honest key its owner's proof is known, and so the negative of that signature
	stolen := prove(a)
	stolen[0] ^= 0x20
	if r := s.Check(NewGrants(net, []Grant{grant(b, stolen)})); r.Code != CodeBadProof {
		t.Errorf("a negative key with a negative proof: %s", r.Code)
	}
	s.Begin(100, at(s.time))
	r := s.Apply(NewGrants(net, []Grant{grant(a, prove(a)), grant(b, prove(b))}))
	if !r.OK() || r.Count != 2 {
		t.Errorf("%+v", r)
	}
	s.End()
}

// negative returns the secret key whose public key is the negative.
func negative(t *testing.T, secret *bls.SecretKey) *bls.SecretKey {
	t.Helper()
	order, _ := new(big.Int).SetString(
		"73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001", 16)
	encoded := secret.Bytes()
	n := new(big.Int).SetBytes(encoded[:])
	minus, err := bls.ParseSecretKey(n.Sub(order, n).FillBytes(encoded[:]))
	if err != nil {
		t.Fatal(err)
	}
	return minus
}
