//go:build linux

package crash

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// badTx is one line of the table of transactions.
type badTx struct {
	what string
	tx   []byte
	want ledger.TxCode
}

// refuseTransactions sends bad transactions to node 1.
func (in *inputs) refuseTransactions(ctx context.Context) {
	in.Helper()
	for _, bad := range slices.Concat(in.badPayments(), in.badRegistrations(),
		in.badCertificates(ctx)) {
		got := "ok"
		if _, err := in.Clients[1].SubmitTx(ctx, bad.tx); err != nil {
			var refusal *ledger.Refusal
			if got = err.Error(); errors.As(err, &refusal) {
				got = refusal.Code.String()
			}
		}
		in.record(bad.what, "tx", got, bad.want.String())
	}
	for _, text := range []string{"", "xyz"} {
		_, err := client.Call(ctx, in.Clients[1].Ledger().SubmitTx, &api.SubmitTxRequest{Tx: text})
		in.record(fmt.Sprintf("%q in place of hexadecimal", text), "tx",
			connect.CodeOf(err).String(), connect.CodeInvalidArgument.String())
	}
}

func (in *inputs) badPayments() []badTx {
	p := in.parties
	payer, to := p.Payers[0], ledger.KeyOf(p.Payers[1])
	const nonce = 2 // behind the reserve and the allowance; grants have none
	transfer := func(nonce, amount uint64) []byte {
		return ledger.NewTransfer(in.ID, payer, nonce, to, amount)
	}
	forged := transfer(nonce, 1)
	forged[len(forged)-1] ^= 1
	changed := transfer(nonce, 1)
	changed[len(changed)-72]++ // the amount
	foreign := in.ID
	foreign[0] ^= 1
	stranger := ed25519.NewKeyFromSeed(seed("stranger"))
	return []badTx{
		{"nonce used before", ledger.NewTransfer(in.ID, p.Owner, 0, to, 1), ledger.CodeBadNonce},
		{"nonce far ahead", transfer(nonce+1_000_000, 1), ledger.CodeBadNonce},
		{"signature forged", forged, ledger.CodeBadSignature},
		{"amount changed after signing", changed, ledger.CodeBadSignature},
		{"more than the balance", transfer(nonce, deposit+1), ledger.CodeInsufficientBalance},
		{"the most there is", transfer(nonce, ^uint64(0)), ledger.CodeInsufficientBalance},
		{"nothing at all", transfer(nonce, 0), ledger.CodeOutOfRange},
		{"to the zero key", ledger.NewTransfer(in.ID, payer, nonce, ledger.Key{}, 1),
			ledger.CodeOutOfRange},
		{"another network", ledger.NewTransfer(foreign, payer, nonce, to, 1),
			ledger.CodeWrongNetwork},
		{"from a key without an account", ledger.NewTransfer(in.ID, stranger, 0, to, 1),
			ledger.CodeUnknownAccount},
		{"a deposit that the treasury did not sign", ledger.NewDeposit(in.ID, payer, 4, to, 1),
			ledger.CodeBadSignature},
		{"a deposit beyond the supply", ledger.NewDeposit(in.ID, in.Treasury, 4, to, ^uint64(0)),
			ledger.CodeOverflow},
		{"a byte after the transaction", append(transfer(nonce, 1), 0), ledger.CodeMalformed},
		{"a transaction cut short", transfer(nonce, 1)[:100], ledger.CodeMalformed},
		{"a kind that there is not", append(slices.Clone(transfer(nonce, 1)[:16]), 99),
			ledger.CodeMalformed},
	}
}

func (in *inputs) badRegistrations() []badTx {
	p := in.parties
	payer := p.Payers[0]
	const nonce = 2
	secret, _ := bls.KeyGen(seed("newcomer"))
	newcomer := &Client{Secret: secret, Key: secret.PublicKey().Bytes(), network: in.ID}
	key := newcomer.Key
	// grant is a grant of the first payer to a newcomer, with one thing changed before it is signed.
	grant := func(change func(g *ledger.Grant)) ledger.Grant {
		g := in.grant(p, 0, newcomer)
		change(&g)
		return ledger.NewGrant(in.ID, payer, g)
	}
	grants := func(change func(g *ledger.Grant)) []byte {
		return ledger.NewGrants(in.ID, []ledger.Grant{grant(change)})
	}
	prove := func(sk *bls.SecretKey, role rollup.Role, owner ledger.Key) func(*ledger.Grant) {
		return func(g *ledger.Grant) {
			g.Proof = ledger.ProvePossession(sk, in.ID, role, owner)
		}
	}
	member := &in.Genesis.Members[0]
	forged := grant(func(*ledger.Grant) {})
	forged.Numbers = 7 // after it was signed
	other := forged
	other.Payer = p.Accounts[1] // the first one's signature
	node := func(change func(n *ledger.NodeRegistration)) []byte {
		transport := ed25519.NewKeyFromSeed(seed("transport"))
		n := &ledger.NodeRegistration{BLSKey: key, TransportKey: ledger.KeyOf(transport),
			Proof:         ledger.ProvePossession(secret, in.ID, rollup.RoleNode, ledger.KeyOf(payer)),
			NodeSignature: ledger.SignNode(in.ID, ledger.KeyOf(payer), key, transport),
			Stake:         1_000_000, PeerAddress: "127.0.0.1:1"}
		change(n)
		return ledger.NewRegisterNode(in.ID, payer, nonce, n)
	}
	revoke := func(clients ...uint64) []byte {
		return ledger.NewRevoke(in.ID, payer, nonce, clients)
	}
	return []badTx{
		{"proof of possession of another key",
			grants(prove(p.Clients[0].Secret, rollup.RoleClient, ledger.KeyOf(payer))),
			ledger.CodeBadProof},
		{"proof of possession for another payer",
			grants(prove(secret, rollup.RoleClient, ledger.KeyOf(p.Payers[1]))),
			ledger.CodeBadProof},
		{"proof of possession of a node's owner",
			grants(prove(secret, rollup.RoleNode, ledger.KeyOf(payer))), ledger.CodeBadProof},
		{"proof of possession that is the identity",
			grants(func(g *ledger.Grant) { g.Proof = bls.IdentitySignature }),
			ledger.CodeBadProof},
		{"a key that is the identity",
			grants(func(g *ledger.Grant) { g.Key = ledger.BLSKey{0: 0xc0} }),
			ledger.CodeBadProof},
		{"a client's key again",
			grants(func(g *ledger.Grant) { g.Key = p.Clients[0].Key }), ledger.CodeKeyTaken},
		{"a node's key for a client",
			grants(func(g *ledger.Grant) { g.Key = member.BLSKey }), ledger.CodeKeyTaken},
		{"a grant that was changed after signing",
			ledger.NewGrants(in.ID, []ledger.Grant{forged}), ledger.CodeBadSignature},
		{"a grant in the name of another payer",
			ledger.NewGrants(in.ID, []ledger.Grant{other}), ledger.CodeBadSignature},
		{"a grant of a service that there is not",
			grants(func(g *ledger.Grant) { g.Services = ledger.Services(0, 77) }),
			ledger.CodeUnknownService},
		{"a grant for later",
			grants(func(g *ledger.Grant) { g.From = 1 << 20 }), ledger.CodeTooEarly},
		{"a grant that has ended",
			grants(func(g *ledger.Grant) { g.From, g.Until = 0, 0 }), ledger.CodeExpired},
		{"a node with a transport key that is taken",
			node(func(n *ledger.NodeRegistration) { n.TransportKey = member.TransportKey }),
			ledger.CodeKeyTaken},
		{"a node whose own key does not consent",
			node(func(n *ledger.NodeRegistration) { n.TransportKey = ledger.KeyOf(p.Owner) }),
			ledger.CodeBadProof},
		{"a node with more stake than balance",
			node(func(n *ledger.NodeRegistration) { n.Stake = 2 * deposit }),
			ledger.CodeInsufficientBalance},
		{"a node with less stake than it takes to serve",
			node(func(n *ledger.NodeRegistration) { n.Stake = 1 }), ledger.CodeInsufficientStake},
		{"stake of another's node", ledger.NewAddStake(in.ID, payer, nonce, 0, 1), ledger.CodeNotOwner},
		{"a member's stake, taken by another", ledger.NewUnstake(in.ID, payer, nonce, 0, 1),
			ledger.CodeNotOwner},
		{"what left the stake of no node", ledger.NewWithdraw(in.ID, payer, nonce, 1<<20),
			ledger.CodeUnknownNode},
		{"out of jail, where no committee rotates", ledger.NewUnjail(in.ID, payer, nonce,
			0), ledger.CodeNoRotation},
		{"a reserve of more than the balance", ledger.NewReserve(in.ID, payer, nonce, deposit),
			ledger.CodeInsufficientBalance},
		{"a thaw of more than the reserve", ledger.NewThaw(in.ID, payer, nonce, deposit),
			ledger.CodeInsufficientReserve},
		{"a lower price of another's service", ledger.NewLowerPrice(in.ID, payer, nonce, 0, 1),
			ledger.CodeNotOwner},
		{"a price that rises", ledger.NewLowerPrice(in.ID, p.Owner, uint64(len(prices)), 0,
			prices[0]+1), ledger.CodeOutOfRange},
		{"a service whose charges overflow", ledger.NewRegisterService(in.ID, payer, nonce,
			&ledger.ServiceRegistration{Price: ledger.MaxPrice, UnitCap: rollup.MaxUnitCap,
				Unit: "byte"}), ledger.CodeOutOfRange},
		{"a revocation of another payer's client", revoke(p.Clients[1].Index), ledger.CodeNotPayer},
		{"a revocation of a client that there is not", revoke(1 << 20), ledger.CodeUnknownClient},
		{"a revocation of nobody", revoke(), ledger.CodeMalformed},
	}
}

// badCertificates makes certificates with the members' own keys: whatever a minority may sign, and
// what outsiders may make of it.
func (in *inputs) badCertificates(ctx context.Context) []badTx {
	in.Helper()
	var keys []*bls.SecretKey
	var transports []ed25519.PrivateKey
	for i := range in.Nodes {
		id := in.Identity(in.T, i)
		keys, transports = append(keys, id.BLS), append(transports, id.Transport)
	}
	certify := func(h *rollup.Header, claimed []int, signers ...int) *rollup.Certificate {
		c := &rollup.Certificate{Header: *h, Signers: rollup.NewBitmap(len(keys))}
		if int(h.Node) < len(transports) {
			c.Own = rollup.SignOwn(transports[h.Node], h)
		}
		var sum bls.Sum
		for _, i := range signers {
			share := bls.Default.Sign(keys[i],
				rollup.CertificateMessage(&in.ID, c.Term, h.Key(), h.ID()))
			sum.Add(&share)
		}
		for _, i := range claimed {
			c.Signers.Set(i)
		}
		signature := sum.Signature()
		c.Signature = signature.Bytes()
		return c
	}
	tx := func(c *rollup.Certificate) []byte { return ledger.NewTicket(in.ID, c) }
	header := func(key rollup.WindowKey) *rollup.Header {
		return in.seal(in.T, in.parties, key, 3, fmt.Sprint(key)).header
	}
	epoch := in.accept(ctx, in.parties.Clients[5]).Epoch // which is not settled for some time
	open := header(rollup.WindowKey{Epoch: epoch, Window: 2_000_000})
	wordless := certify(open, []int{0, 1, 2}, 0, 1, 2)
	wordless.Own = rollup.SignOwn(transports[1], open)
	later := certify(open, []int{0, 1, 2}, 0, 1, 2)
	later.Term = 1
	beyond := certify(open, []int{0, 1, 2}, 0, 1, 2)
	beyond.Signers[0] |= 1 << 4
	foreign := certify(open, []int{0, 1, 2}, 0, 1, 2)
	foreign.Header.Network[0] ^= 1
	unknownPayer, unknownService := *open, *open
	unknownPayer.Rows, unknownService.Rows = slices.Clone(open.Rows), slices.Clone(open.Rows)
	unknownPayer.Rows[len(open.Rows)-1].Payer = 1 << 20
	unknownService.Rows[len(open.Rows)-1].Service = 1 << 20

	ordered, err := in.someRollup(ctx, epoch)
	if err != nil {
		in.Fatal(err)
	}
	second := header(ordered.Key())
	record := &rollup.RecordCertificate{Height: 1, Signers: rollup.NewBitmap(len(keys))}
	return []badTx{
		{"certificate of one member", tx(certify(open, []int{0}, 0)), ledger.CodeNoQuorum},
		{"certificate of half the power", tx(certify(open, []int{0, 1}, 0, 1)),
			ledger.CodeNoQuorum},
		{"bitmap names a member that did not sign", tx(certify(open, []int{0, 1, 2}, 0, 1)),
			ledger.CodeBadCertificate},
		{"bitmap names others than signed", tx(certify(open, []int{0, 1, 2}, 0, 1, 3)),
			ledger.CodeBadCertificate},
		{"one member's share three times", tx(certify(open, []int{0, 1, 2}, 0, 0, 0)),
			ledger.CodeBadCertificate},
		{"bitmap names a member that there is not", tx(beyond), ledger.CodeBadBitmap},
		{"certificate of another network", tx(foreign), ledger.CodeWrongNetwork},
		{"certificate with another node's word", tx(wordless), ledger.CodeBadWord},
		{"certificate of another term", tx(later), ledger.CodeWrongTerm},
		{"a certificate of the same rollup again", tx(certify(ordered, []int{0, 1, 2}, 0, 1, 2)),
			ledger.CodeAlreadyOrdered},
		{"another certificate for a window, with a quorum",
			tx(certify(second, []int{1, 2, 3}, 1, 2, 3)), ledger.CodeAlreadyOrdered},
		{"certificate of an epoch ahead, with a quorum",
			tx(certify(header(rollup.WindowKey{Epoch: 1 << 20}), []int{0, 1, 2}, 0, 1, 2)),
			ledger.CodeEpochAhead},
		{"certificate of a node that there is not, with a quorum",
			tx(certify(header(rollup.WindowKey{Node: 9, Epoch: epoch}), []int{0, 1, 2}, 0, 1, 2)),
			ledger.CodeUnknownNode},
		{"certificate with an unknown payer, with a quorum",
			tx(certify(&unknownPayer, []int{0, 1, 2}, 0, 1, 2)), ledger.CodeUnknownPayer},
		{"certificate with an unknown service, with a quorum",
			tx(certify(&unknownService, []int{0, 1, 2}, 0, 1, 2)), ledger.CodeUnknownService},
		{"a record's certificate from outside", ledger.NewRecordCertificate(in.ID, record),
			ledger.CodeNotProposer},
	}
}

// someRollup waits for an ordered rollup of an epoch and returns its header.
func (in *inputs) someRollup(ctx context.Context, epoch uint32) (*rollup.Header, error) {
	var key rollup.WindowKey
	err := in.await(ctx, "an ordered rollup", func() (bool, error) {
		list, err := client.Call(ctx, in.Clients[1].Ledger().ListRollups, &api.ListRollupsRequest{})
		if err != nil {
			return false, err
		}
		for _, r := range list.Rollups {
			if r.Ordered && r.Epoch == epoch {
				key = rollup.WindowKey{Node: r.Node, Epoch: r.Epoch, Window: r.Window}
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	e, err := in.exportRollup(ctx, 0, key, 0)
	if err != nil {
		return nil, err
	}
	return e.Header, nil
}
