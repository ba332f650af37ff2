package api

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/rollup"
)

// NewAck returns an ack of a network as people read it.
func NewAck(network *rollup.Network, a *rollup.Ack) *Ack {
	return &Ack{Network: network.String(), Epoch: a.Epoch, Node: a.Node, Client: a.Client,
		Service: a.Service, Number: a.Number, Units: a.Units, Request: a.Request.String(),
		Signature: hex.EncodeToString(a.Signature[:])}
}

// Decode reads an ack and the network that it says it is of. A nil Ack is an error.
func (a *Ack) Decode() (ack rollup.Ack, network rollup.Network, err error) {
	if a == nil {
		return ack, network, errors.New("no ack")
	}
	ack = rollup.Ack{Epoch: a.Epoch, Node: a.Node, Client: a.Client, Service: a.Service,
		Number: a.Number, Units: a.Units}
	if err := network.UnmarshalText([]byte(a.Network)); err != nil {
		return ack, network, fmt.Errorf("network: %w", err)
	}
	ack.Net = network.Net()
	if err := ack.Request.UnmarshalText([]byte(a.Request)); err != nil {
		return ack, network, fmt.Errorf("request: %w", err)
	}
	signature, err := hex.DecodeString(a.Signature)
	if err != nil || len(signature) != len(ack.Signature) {
		return ack, network, fmt.Errorf("signature: not %d hexadecimal digits",
			2*len(ack.Signature))
	}
	ack.Signature = [rollup.SignatureSize]byte(signature)
	return ack, network, nil
}
