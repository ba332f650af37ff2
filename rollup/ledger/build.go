package ledger

import (
	"crypto/ed25519"

	"github.com/waybill-network/waybill/rollup"
)

// The builders below encode what they are given, and sign it; whether it will be executed is for the ledger to judge.
// A nonce is the number of transactions that the sender's key has had executed: see Account.Nonce and View.Treasury.

// NewDeposit builds a deposit: amount micro-credits, at least 1, from outside into the account of a key.
func NewDeposit(net rollup.Network, treasury ed25519.PrivateKey, nonce uint64, to Key, amount uint64) []byte {
	return sign(net, KindDeposit, treasury, nonce, &Payment{To: to, Amount: amount})
}

// NewTransfer builds a transfer of amount micro-credits, at least 1, to the account of a key.
func NewTransfer(net rollup.Network, sender ed25519.PrivateKey, nonce uint64, to Key, amount uint64) []byte {
	return sign(net, KindTransfer, sender, nonce, &Payment{To: to, Amount: amount})
}

// NewRegisterNode builds the registration of a node that the sender owns.
func NewRegisterNode(net rollup.Network, owner ed25519.PrivateKey, nonce uint64, node *NodeRegistration) []byte {
	return sign(net, KindRegisterNode, owner, nonce, node)
}

// NewRegisterService builds the registration of a service that the sender owns.
func NewRegisterService(net rollup.Network, owner ed25519.PrivateKey, nonce uint64, service *ServiceRegistration) []byte {
	return sign(net, KindRegisterService, owner, nonce, service)
}

// NewRegisterClients builds the registration of 1 to MaxClientsPerTx clients that the sender pays for.
func NewRegisterClients(net rollup.Network, payer ed25519.PrivateKey, nonce uint64, clients []ClientProof) []byte {
	return sign(net, KindRegisterClients, payer, nonce, &ClientRegistration{Clients: clients})
}

// NewSetPayer builds the change of a client's payer to the sender, with the client's signature of PayerMessage.
func NewSetPayer(net rollup.Network, payer ed25519.PrivateKey, nonce uint64, client uint32, consent BLSSignature) []byte {
	return sign(net, KindSetPayer, payer, nonce, &PayerChange{Client: client, Consent: consent})
}

// PayerMessage returns what a client signs with its BLS key to be paid for by payer, in the payer's transaction with
// that nonce and no other.
func PayerMessage(net rollup.Network, client uint32, payer Key, nonce uint64) []byte {
	b := append([]byte("wb-pay/1"), net[:]...)
	b = le.AppendUint32(b, client)
	b = append(b, payer[:]...)
	return le.AppendUint64(b, nonce)
}

// NewCertificate builds the transaction that orders a rollup.
func NewCertificate(net rollup.Network, c *rollup.Certificate) []byte {
	return c.Append(head(net, KindCertificate))
}

// NewSettlementCertificate builds the transaction that puts the committee's word on a settlement into the state.
func NewSettlementCertificate(net rollup.Network, c *rollup.SettlementCertificate) []byte {
	return c.Append(head(net, KindSettlement))
}

func head(net rollup.Network, kind Kind) []byte {
	return append(append([]byte(txTag), net[:]...), byte(kind))
}

func sign(net rollup.Network, kind Kind, key ed25519.PrivateKey, nonce uint64, body any) []byte {
	b := head(net, kind)
	sender := KeyOf(key)
	b = append(b, sender[:]...)
	b = le.AppendUint64(b, nonce)
	b = appendPayload(b, body)
	return append(b, ed25519.Sign(key, b)...)
}
