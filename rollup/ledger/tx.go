package ledger

import (
	"crypto/ed25519"

	"github.com/waybill-network/waybill/rollup"
)

// Limits of a transaction.
const (
	MaxName   = 255 // bytes of a unit name or an address
	MaxTxSize = txHead + 2 + MaxGrants*grantSize
)

const (
	txTag  = "wb-txn/2"
	txHead = 8 + 32 + 1
)

// Tx is a transaction in parts, as JSON for people.
type Tx struct {
	Network rollup.Network `json:"network"`
	Kind    Kind           `json:"kind"`
	Signed  *Signed        `json:"signed,omitempty"` // of the kinds with a sender
	Body    Payload        `json:"body"`             // of the type that belongs to the kind
}

// Signed is what the kinds with a sender have in common.
type Signed struct {
	Sender    Key       `json:"sender"`
	Nonce     uint64    `json:"nonce,string"`
	Signature Signature `json:"signature"`
}

// KindOf returns the kind that an encoded transaction claims, zero when it is too short to say or
// claims none there is.
func KindOf(b []byte) Kind {
	if len(b) < txHead || string(b[:len(txTag)]) != txTag || !Kind(b[txHead-1]).known() {
		return 0
	}
	return Kind(b[txHead-1])
}

// ParseTx decodes a transaction, without checking signatures or anything that depends on the state.
// The error is a *Refusal with CodeMalformed.
func ParseTx(b []byte) (*Tx, error) {
	if len(b) > MaxTxSize {
		return nil, refuse(CodeMalformed, "%d bytes, where %d may be", len(b), MaxTxSize)
	}
	kind := KindOf(b)
	if kind == 0 {
		return nil, refuse(CodeMalformed, "no transaction of a known kind")
	}
	tx := &Tx{Network: rollup.Network(b[len(txTag):]), Kind: kind, Body: kinds[kind].make()}
	r := newReader(b[txHead:])
	if kinds[kind].sender == senderNone {
		tx.Body.decode(r)
	} else {
		tx.Signed = new(Signed)
		r.Fill(tx.Signed.Sender[:])
		tx.Signed.Nonce = r.U64()
		tx.Body.decode(r)
		r.Fill(tx.Signed.Signature[:])
	}
	if err := r.End(); err != nil {
		return nil, refuse(CodeMalformed, "%s: %w", kind, err)
	}
	return tx, nil
}

// The builders beside the kinds encode what they are given, and sign it; whether it will be
// executed is for the ledger to judge. A nonce is the number of transactions that the sender's key
// has had executed: see Account.Nonce and View.Treasury.

func head(net rollup.Network, kind Kind) []byte {
	return append(append([]byte(txTag), net[:]...), byte(kind))
}

func sign(
	net rollup.Network, kind Kind, key ed25519.PrivateKey, nonce uint64, body Payload,
) []byte {
	b := head(net, kind)
	sender := KeyOf(key)
	b = append(b, sender[:]...)
	b = le.AppendUint64(b, nonce)
	b = body.append(b)
	return append(b, ed25519.Sign(key, b)...)
}

func appendName(b []byte, name string) []byte {
	return append(append(b, byte(len(name))), name...)
}
