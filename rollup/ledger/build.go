package ledger

import (
	"crypto/ed25519"

	"github.com/waybill-network/waybill/rollup"
)

// NewDeposit builds a deposit: amount micro-credits, made out of nothing, to the account of a key.
func NewDeposit(net rollup.Network, treasury ed25519.PrivateKey, nonce uint64, to Key, amount uint64) []byte {
	panic("not yet")
}

// NewTransfer builds a transfer of amount micro-credits to the account of a key.
func NewTransfer(net rollup.Network, sender ed25519.PrivateKey, nonce uint64, to Key, amount uint64) []byte {
	panic("not yet")
}

// NewRegisterNode builds the registration of a node that the sender owns.
func NewRegisterNode(net rollup.Network, owner ed25519.PrivateKey, nonce uint64, node *NodeRegistration) []byte {
	panic("not yet")
}

// NewRegisterService builds the registration of a service that the sender owns.
func NewRegisterService(net rollup.Network, owner ed25519.PrivateKey, nonce uint64, service *ServiceRegistration) []byte {
	panic("not yet")
}

// NewRegisterClients builds the registration of 1 to MaxClientsPerTx clients that the sender pays for.
func NewRegisterClients(net rollup.Network, payer ed25519.PrivateKey, nonce uint64, clients []ClientProof) []byte {
	panic("not yet")
}

// NewSetPayer builds the change of a client's payer to the sender, with the client's consent (PayerMessage).
func NewSetPayer(net rollup.Network, payer ed25519.PrivateKey, nonce uint64, client uint32, consent BLSSignature) []byte {
	panic("not yet")
}

// PayerMessage returns what a client signs with its BLS key to be paid for by payer: it fits one transaction only.
func PayerMessage(net rollup.Network, client uint32, payer Key, nonce uint64) []byte {
	panic("not yet")
}

// NewCertificate builds the transaction that orders a rollup.
func NewCertificate(net rollup.Network, c *rollup.Certificate) []byte { panic("not yet") }

// NewSettlementCertificate builds the transaction that puts the committee's signature on a settlement into the state.
func NewSettlementCertificate(net rollup.Network, c *rollup.SettlementCertificate) []byte {
	panic("not yet")
}
