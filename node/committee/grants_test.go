package committee

import (
	"fmt"
	"slices"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// grants returns a's grants to clients of these names.
func (c *committeeApps) grants(names ...string) (grants []ledger.Grant) {
	c.t.Helper()
	net, payer := c.genesis.Network(), key("a")
	account, ok := c.apps[0].view.Load().AccountByKey(ledger.KeyOf(payer))
	if !ok {
		c.t.Fatal("the payer has no account")
	}
	for _, name := range names {
		secret, err := bls.KeyGen(fmt.Appendf(nil, "%032s", name))
		if err != nil {
			c.t.Fatal(err)
		}
		grants = append(grants, ledger.NewGrant(net, payer, ledger.Grant{
			Payer: account.Index, Key: secret.PublicKey().Bytes(), Services: ledger.Services(0),
			Proof:   ledger.ProvePossession(secret, net, rollup.RoleClient, account.Key),
			Numbers: ledger.Forever, Until: ledger.Forever,
		}))
	}
	return grants
}

// granting is a network in which a has credits and a service.
func granting(t *testing.T) (*committeeApps, func([]ledger.Grant) []byte) {
	c := newApps(t)
	c.rich("a")
	net := c.genesis.Network()
	codes := c.decide(0, ledger.NewRegisterService(net, key("a"), 0,
		&ledger.ServiceRegistration{Price: 1, UnitCap: 1, Unit: "x"}))
	if codes[0] != ledger.CodeOK {
		t.Fatal(codes)
	}
	return c, func(grants []ledger.Grant) []byte { return ledger.NewGrants(net, grants) }
}

// TestGrantsWaitOnce: grants have no nonce, so that anybody could fill the mempool with the same
// ones in other orders. A client's key waits in one transaction, whatever that is.
func TestGrantsWaitOnce(t *testing.T) {
	c, tx := granting(t)
	grants := c.grants("one", "two", "three")
	reversed := slices.Clone(grants)
	slices.Reverse(reversed)
	c.admit(true, tx(grants[:2]), tx(grants[:2]))
	c.admit(false, tx(reversed), tx(grants[:1]), tx(grants[1:]))

	// Who names a key without its payer's grant keeps it from nobody.
	early := grants[2]
	early.From = 9
	early = ledger.NewGrant(c.genesis.Network(), key("a"), early)
	c.admit(true, tx([]ledger.Grant{c.grants("four")[0], early}), tx(grants[2:]))

	c.decide(time.Millisecond, tx(grants[:1]))
	if left := c.recheck(tx(grants[:2]), tx(grants[2:])); len(left) != 2 {
		t.Errorf("%d of 2 stay", len(left)) // a part of the first stands still
	}
	c.decide(2*time.Millisecond, tx(grants[1:2]))
	rest := [][]byte{tx(grants[2:])}
	if left := c.recheck(tx(grants[:2]), rest[0]); !equalTxs(left, rest) {
		t.Errorf("%d stay, though nothing of one stands", len(left))
	}
}

// TestForgedGrants: a false signature or proof keeps a transaction out of the mempool and a block
// out of the chain. Were it in a block all the same, the rest of its grants would stand.
func TestForgedGrants(t *testing.T) {
	c, tx := granting(t)
	for name, forge := range map[string]func(*ledger.Grant){
		"signature": func(g *ledger.Grant) { g.Signature[3] ^= 1 },
		"proof": func(g *ledger.Grant) {
			g.Proof = c.grants("another")[0].Proof
			*g = ledger.NewGrant(c.genesis.Network(), key("a"), *g)
		},
	} {
		grants := c.grants("first "+name, "second "+name)
		if !c.process(tx(grants)) {
			t.Fatalf("%s: good grants refused", name)
		}
		forge(&grants[0])
		bad := tx(grants)
		answer, err := c.apps[0].CheckTx(t.Context(), &abci.RequestCheckTx{Tx: bad})
		code := ledger.TxCode(answer.Code)
		if err != nil || code != ledger.CodeBadSignature && code != ledger.CodeBadProof {
			t.Errorf("%s: into the mempool: %v, %v", name, code, err)
		}
		if c.process(bad) {
			t.Errorf("%s: into a block", name)
		}
		if txs := c.prepare(c.votes(), 1<<20, bad); len(txs) != 0 {
			t.Errorf("%s: proposed", name)
		}
		before := c.apps[0].view.Load().Clients()
		codes := c.decide(time.Duration(c.height)*time.Millisecond, bad)
		if codes[0] != ledger.CodeOK {
			t.Errorf("%s: the rest fell, too: %v", name, codes)
		}
		if n := c.apps[0].view.Load().Clients() - before; n != 1 {
			t.Errorf("%s: %d clients", name, n)
		}
	}
}
