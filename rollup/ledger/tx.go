package ledger

import (
	"github.com/waybill-network/waybill/rollup"
)

// Kind is the kind of a transaction (section 8).
type Kind uint8

// The kinds.
const (
	KindDeposit Kind = 1 + iota
	KindTransfer
	KindRegisterNode
	KindRegisterService
	KindRegisterClients
	KindSetPayer
	KindCertificate
	KindSettlement
)

var kindNames = [...]string{
	KindDeposit: "deposit", KindTransfer: "transfer", KindRegisterNode: "register_node",
	KindRegisterService: "register_service", KindRegisterClients: "register_clients", KindSetPayer: "set_payer",
	KindCertificate: "certificate", KindSettlement: "settlement_certificate",
}

// String returns the name of the kind.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "unknown"
}

// MarshalText implements [encoding.TextMarshaler].
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Limits of a transaction.
const (
	MaxClientsPerTx = 1024
	MaxName         = 255     // bytes of a unit name or an address
	MaxPrice        = 1 << 40 // micro-credits per 2^20 units
	MaxTxSize       = txHead + 40 + 2 + MaxClientsPerTx*(96+48) + 64
)

const (
	txTag  = "wb-txn/1"
	txHead = 8 + 8 + 1
)

// Tx is a transaction in parts, as JSON for people.
type Tx struct {
	Network rollup.Network `json:"network"`
	Kind    Kind           `json:"kind"`
	Signed  *Signed        `json:"signed,omitempty"` // kinds 1 to 6
	Body    any            `json:"body"`             // the payload: *Payment, *NodeRegistration, *ServiceRegistration, *ClientRegistration, *PayerChange, *rollup.Certificate or *rollup.SettlementCertificate
}

// Signed is what the kinds with a sender have in common.
type Signed struct {
	Sender    Key       `json:"sender"`
	Nonce     uint64    `json:"nonce,string"`
	Signature Signature `json:"signature"`
}

// Payment is the payload of a deposit and of a transfer.
type Payment struct {
	To     Key    `json:"to"`
	Amount uint64 `json:"amount,string"` // micro-credits
}

// NodeRegistration is the payload of register node.
type NodeRegistration struct {
	BLSKey       BLSKey       `json:"bls_key"`
	Proof        BLSSignature `json:"proof"`
	TransportKey Key          `json:"transport_key"`
	Stake        uint64       `json:"stake,string"` // micro-credits
	PeerAddress  string       `json:"peer_address"`
}

// ServiceRegistration is the payload of register service.
type ServiceRegistration struct {
	Price   uint64 `json:"price,string"`    // micro-credits per 2^20 units
	UnitCap uint64 `json:"unit_cap,string"` // units of one ack
	Unit    string `json:"unit"`
}

// ClientRegistration is the payload of register clients.
type ClientRegistration struct {
	Clients []ClientProof `json:"clients"` // 1 to MaxClientsPerTx
}

// ClientProof is a client's key with its proof of possession.
type ClientProof struct {
	Key   BLSKey       `json:"bls_key"`
	Proof BLSSignature `json:"proof"`
}

// PayerChange is the payload of set payer.
type PayerChange struct {
	Client  uint32       `json:"client"`
	Consent BLSSignature `json:"consent"` // the client's signature of PayerMessage
}

// ParseTx decodes a transaction, without checking signatures or anything that depends on the state.
func ParseTx(b []byte) (*Tx, error) { panic("not yet") }
