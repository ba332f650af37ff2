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

// KindOf returns the kind that an encoded transaction claims, zero when it is too short to say or claims none there is.
func KindOf(b []byte) Kind {
	if len(b) < txHead || string(b[:len(txTag)]) != txTag {
		return 0
	}
	k := Kind(b[txHead-1])
	if k < KindDeposit || k > KindSettlement {
		return 0
	}
	return k
}

// ParseTx decodes a transaction, without checking signatures or anything that depends on the state. The error is a
// *Refusal with CodeMalformed.
func ParseTx(b []byte) (*Tx, error) {
	if len(b) > MaxTxSize {
		return nil, refuse(CodeMalformed, "%d bytes, where %d may be", len(b), MaxTxSize)
	}
	kind := KindOf(b)
	if kind == 0 {
		return nil, refuse(CodeMalformed, "no transaction of a known kind")
	}
	tx := &Tx{Network: rollup.Network(b[len(txTag):]), Kind: kind}
	var err error
	switch body := b[txHead:]; kind {
	case KindCertificate:
		tx.Body, err = rollup.ParseCertificate(body)
	case KindSettlement:
		tx.Body, err = rollup.ParseSettlementCertificate(body)
	default:
		tx.Signed = new(Signed)
		r := newReader(body)
		r.Fill(tx.Signed.Sender[:])
		tx.Signed.Nonce = r.U64()
		tx.Body = r.payload(kind)
		r.Fill(tx.Signed.Signature[:])
		err = r.End()
	}
	if err != nil {
		return nil, refuse(CodeMalformed, "%s: %w", kind, err)
	}
	return tx, nil
}

// payload decodes what stands between nonce and signature.
func (r *reader) payload(kind Kind) any {
	switch kind {
	case KindDeposit, KindTransfer:
		p := new(Payment)
		r.Fill(p.To[:])
		p.Amount = r.U64()
		return p
	case KindRegisterNode:
		p := new(NodeRegistration)
		r.Fill(p.BLSKey[:])
		r.Fill(p.Proof[:])
		r.Fill(p.TransportKey[:])
		p.Stake = r.U64()
		p.PeerAddress = r.Name()
		return p
	case KindRegisterService:
		return &ServiceRegistration{Price: r.U64(), UnitCap: r.U64(), Unit: r.Name()}
	case KindRegisterClients:
		n := int(r.U16())
		if n == 0 || n > MaxClientsPerTx {
			r.Fail("%d clients, where 1 to %d may be", n, MaxClientsPerTx)
			return nil
		}
		p := &ClientRegistration{Clients: make([]ClientProof, n)}
		for i := range p.Clients {
			r.Fill(p.Clients[i].Key[:])
			r.Fill(p.Clients[i].Proof[:])
		}
		return p
	default:
		p := &PayerChange{Client: r.U32()}
		r.Fill(p.Consent[:])
		return p
	}
}

// appendPayload is the inverse of payload.
func appendPayload(b []byte, body any) []byte {
	switch p := body.(type) {
	case *Payment:
		b = append(b, p.To[:]...)
		b = le.AppendUint64(b, p.Amount)
	case *NodeRegistration:
		b = append(b, p.BLSKey[:]...)
		b = append(b, p.Proof[:]...)
		b = append(b, p.TransportKey[:]...)
		b = le.AppendUint64(b, p.Stake)
		b = appendName(b, p.PeerAddress)
	case *ServiceRegistration:
		b = le.AppendUint64(b, p.Price)
		b = le.AppendUint64(b, p.UnitCap)
		b = appendName(b, p.Unit)
	case *ClientRegistration:
		b = le.AppendUint16(b, uint16(len(p.Clients)))
		for i := range p.Clients {
			b = append(b, p.Clients[i].Key[:]...)
			b = append(b, p.Clients[i].Proof[:]...)
		}
	case *PayerChange:
		b = le.AppendUint32(b, p.Client)
		b = append(b, p.Consent[:]...)
	}
	return b
}

func appendName(b []byte, name string) []byte {
	return append(append(b, byte(len(name))), name...)
}
