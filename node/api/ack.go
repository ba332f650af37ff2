package api

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/rollup"
)

// NewAck returns an ack as people read it.
func NewAck(a *rollup.Ack) *Ack {
	return &Ack{Network: a.Network.String(), Epoch: a.Epoch, Window: a.Window, Node: a.Node,
		Client: a.Client, Service: a.Service, Seq: a.Seq, Units: a.Units,
		Request: a.Request.String(), Signature: hex.EncodeToString(a.Signature[:])}
}

// DecodeMessage reads what a client signs: the ack without its signature. A nil Ack is an error.
func (a *Ack) DecodeMessage() (ack rollup.Ack, err error) {
	if a == nil {
		return ack, errors.New("no ack")
	}
	ack = rollup.Ack{Epoch: a.Epoch, Window: a.Window, Node: a.Node, Client: a.Client,
		Service: a.Service, Seq: a.Seq, Units: a.Units}
	if err := ack.Network.UnmarshalText([]byte(a.Network)); err != nil {
		return ack, fmt.Errorf("network: %w", err)
	}
	if err := ack.Request.UnmarshalText([]byte(a.Request)); err != nil {
		return ack, fmt.Errorf("request: %w", err)
	}
	return ack, nil
}

// Decode reads the whole ack.
func (a *Ack) Decode() (rollup.Ack, error) {
	ack, err := a.DecodeMessage()
	if err != nil {
		return ack, err
	}
	signature, err := hex.DecodeString(a.Signature)
	if err != nil || len(signature) != len(ack.Signature) {
		return ack, fmt.Errorf("signature: not %d hexadecimal digits", 2*len(ack.Signature))
	}
	ack.Signature = [rollup.SignatureSize]byte(signature)
	return ack, nil
}
