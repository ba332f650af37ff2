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
	"github.com/waybill-network/waybill/rollup/export"
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
	const nonce = 1 // each payer has registered its clients, and nothing else
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
		{"nonce used before", transfer(nonce-1, 1), ledger.CodeBadNonce},
		{"nonce far ahead", transfer(nonce+1_000_000, 1), ledger.CodeBadNonce},
		{"signature forged", forged, ledger.CodeBadSignature},
		{"amount changed after signing", changed, ledger.CodeBadSignature},
		{"more than the balance", transfer(nonce, richDeposit+1), ledger.CodeInsufficientBalance},
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
	const nonce = 1
	secret, _ := bls.KeyGen(seed("newcomer"))
	key := ledger.BLSKey(secret.PublicKey().Bytes())
	own, other := bls.Prove(secret), bls.Prove(p.Clients[0].Secret)
	proof := ledger.BLSSignature(own.Bytes())
	clients := func(proofs ...ledger.ClientProof) []byte {
		return ledger.NewRegisterClients(in.ID, payer, nonce, proofs)
	}
	setPayer := func(client uint32, signer *bls.SecretKey, key ledger.Key) []byte {
		consent := bls.Default.Sign(signer, ledger.PayerMessage(in.ID, client, key, nonce))
		return ledger.NewSetPayer(in.ID, payer, nonce, client, consent.Bytes())
	}
	member := &in.Genesis.Members[0]
	return []badTx{
		{"proof of possession of another key",
			clients(ledger.ClientProof{Key: key, Proof: other.Bytes()}), ledger.CodeBadProof},
		{"proof of possession that is the identity",
			clients(ledger.ClientProof{Key: key, Proof: bls.IdentitySignature}),
			ledger.CodeBadProof},
		{"a key that is the identity",
			clients(ledger.ClientProof{Key: ledger.BLSKey{0: 0xc0}, Proof: proof}),
			ledger.CodeBadProof},
		{"a client's key again",
			clients(ledger.ClientProof{Key: p.Clients[0].Key, Proof: other.Bytes()}),
			ledger.CodeKeyTaken},
		{"a node's key for a client",
			clients(ledger.ClientProof{Key: member.BLSKey, Proof: member.Proof}),
			ledger.CodeKeyTaken},
		{"one key twice in a transaction", clients(ledger.ClientProof{Key: key, Proof: proof},
			ledger.ClientProof{Key: key, Proof: proof}), ledger.CodeKeyTaken},
		{"a node with a transport key that is taken",
			ledger.NewRegisterNode(in.ID, payer, nonce, &ledger.NodeRegistration{
				BLSKey: key, Proof: proof, TransportKey: member.TransportKey, Stake: 1_000_000,
				PeerAddress: "127.0.0.1:1"}), ledger.CodeKeyTaken},
		{"a node with more stake than balance",
			ledger.NewRegisterNode(in.ID, payer, nonce, &ledger.NodeRegistration{
				BLSKey: key, Proof: proof, TransportKey: ledger.Key{1}, Stake: 2 * richDeposit,
				PeerAddress: "127.0.0.1:1"}), ledger.CodeInsufficientBalance},
		{"a service whose charges overflow", ledger.NewRegisterService(in.ID, payer, nonce,
			&ledger.ServiceRegistration{Price: ledger.MaxPrice, UnitCap: rollup.MaxUnitCap,
				Unit: "byte"}), ledger.CodeOutOfRange},
		{"payer of a client that does not consent",
			setPayer(p.Clients[1].Index, secret, ledger.KeyOf(payer)), ledger.CodeBadProof},
		{"payer with the consent for another payer",
			setPayer(p.Clients[1].Index, p.Clients[1].Secret, ledger.KeyOf(p.Payers[1])),
			ledger.CodeBadProof},
		{"payer of a client that there is not", setPayer(1<<20, secret, ledger.KeyOf(payer)),
			ledger.CodeUnknownClient},
	}
}

// badCertificates makes certificates with the members' own keys: whatever a minority may sign, and
// what outsiders may make of it.
func (in *inputs) badCertificates(ctx context.Context) []badTx {
	in.Helper()
	var keys []*bls.SecretKey
	for i := range in.Nodes {
		keys = append(keys, in.Identity(in.T, i).BLS)
	}
	certify := func(h *rollup.Header, claimed []int, signers ...int) *rollup.Certificate {
		c := &rollup.Certificate{Header: *h, Signers: rollup.NewBitmap(len(keys))}
		var sum bls.Sum
		for _, i := range signers {
			share := bls.Default.Sign(keys[i], rollup.CertificateMessage(in.ID, h.Epoch, h.ID()))
			sum.Add(&share)
		}
		for _, i := range claimed {
			c.Signers.Set(i)
		}
		signature := sum.Signature()
		c.Signature = signature.Bytes()
		return c
	}
	tx := func(c *rollup.Certificate) []byte { return ledger.NewCertificate(in.ID, c) }
	header := func(key rollup.WindowKey) *rollup.Header {
		return in.seal(in.T, in.parties, key, 3, fmt.Sprint(key)).header
	}
	open := header(rollup.WindowKey{Window: 2_000_000})
	beyond := certify(open, []int{0, 1, 2}, 0, 1, 2)
	beyond.Signers[0] |= 1 << 4
	foreign := certify(open, []int{0, 1, 2}, 0, 1, 2)
	foreign.Header.Network[0] ^= 1
	unknownPayer, unknownService := *open, *open
	unknownPayer.Rows, unknownService.Rows = slices.Clone(open.Rows), slices.Clone(open.Rows)
	unknownPayer.Rows[len(open.Rows)-1].Payer = 1 << 20
	unknownService.Rows[len(open.Rows)-1].Service = 1 << 20

	ordered, err := in.someRollup(ctx)
	if err != nil {
		in.Fatal(err)
	}
	second := header(ordered.Header.Key())
	settlement := &rollup.SettlementCertificate{Signers: rollup.NewBitmap(len(keys))}
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
		{"the same certificate again", tx(ordered), ledger.CodeAlreadyOrdered},
		{"another certificate for a window, with a quorum",
			tx(certify(second, []int{1, 2, 3}, 1, 2, 3)), ledger.CodeAlreadyOrdered},
		{"certificate of an epoch ahead, with a quorum",
			tx(certify(header(rollup.WindowKey{Epoch: 1 << 20}), []int{0, 1, 2}, 0, 1, 2)),
			ledger.CodeEpochAhead},
		{"certificate of a node that there is not, with a quorum",
			tx(certify(header(rollup.WindowKey{Node: 9}), []int{0, 1, 2}, 0, 1, 2)),
			ledger.CodeUnknownNode},
		{"certificate with an unknown payer, with a quorum",
			tx(certify(&unknownPayer, []int{0, 1, 2}, 0, 1, 2)), ledger.CodeUnknownPayer},
		{"certificate with an unknown service, with a quorum",
			tx(certify(&unknownService, []int{0, 1, 2}, 0, 1, 2)), ledger.CodeUnknownService},
		{"settlement certificate from outside", ledger.NewSettlementCertificate(in.ID, settlement),
			ledger.CodeNotProposer},
	}
}

// someRollup waits for an ordered rollup and returns its certificate.
func (in *inputs) someRollup(ctx context.Context) (*rollup.Certificate, error) {
	var key rollup.WindowKey
	err := in.await(ctx, "an ordered rollup", func() (bool, error) {
		list, err := client.Call(ctx, in.Clients[1].Ledger().ListRollups, &api.ListRollupsRequest{})
		if err != nil {
			return false, err
		}
		for _, r := range list.Rollups {
			if r.Ordered {
				key = rollup.WindowKey{Node: r.Node, Epoch: r.Epoch, Window: r.Window}
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	response, err := client.Call(ctx, in.Clients[0].Ledger().ExportRollup,
		&api.ExportRollupRequest{Node: key.Node, Epoch: key.Epoch, Window: key.Window})
	if err != nil {
		return nil, err
	}
	e, err := export.Parse(response.File)
	if err != nil {
		return nil, err
	}
	return e.(*export.Rollup).Certificate, nil
}
