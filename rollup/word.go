package rollup

import (
	"crypto/ed25519"
	"fmt"

	"github.com/waybill-network/waybill/kernels/bls"
	signatures "github.com/waybill-network/waybill/kernels/ed25519"
)

// WordSize is the size in bytes of a node's signature of what it says.
const WordSize = ed25519.SignatureSize

// OwnMessage returns what a node signs with its node key about a rollup that it pushes (section 7):
// that the rollup is its own. Two different ones for a window convict it.
func OwnMessage(network *Network, key WindowKey, id Hash) []byte {
	b := make([]byte, 0, 8+32+3*4+32)
	b = append(b, "wb-own/2"...)
	b = append(b, network[:]...)
	b = le.AppendUint32(b, key.Node)
	b = le.AppendUint32(b, key.Epoch)
	b = le.AppendUint32(b, key.Window)
	return append(b, id[:]...)
}

// SignOwn returns a node's word for the rollup with the header.
func SignOwn(key ed25519.PrivateKey, h *Header) [WordSize]byte {
	return [WordSize]byte(ed25519.Sign(key, OwnMessage(&h.Network, h.Key(), h.ID())))
}

// VerifyOwn checks a node's word for the rollup with the header: ErrUnknownNode, ErrWord. It costs
// some 30 µs.
func VerifyOwn(h *Header, word *[WordSize]byte, reg Registry) error {
	key, ok := reg.NodeKey(h.Node)
	if !ok {
		return fmt.Errorf("%w %d", ErrUnknownNode, h.Node)
	}
	said := signatures.Signed{Key: key, Message: OwnMessage(&h.Network, h.Key(), h.ID()),
		Signature: *word}
	if !said.Verify() {
		return fmt.Errorf("%w: of node %d for window %d of epoch %d", ErrWord, h.Node, h.Window, h.Epoch)
	}
	return nil
}

// Role is what a BLS key is registered for.
type Role uint8

// The roles.
const (
	RoleClient Role = 1
	RoleNode   Role = 2
)

// ProofMessage returns what a proof of possession signs (section 2): owner is the Ed25519 key of
// the account that pays for the client, or owns the node. So a copied proof registers nothing for
// anybody else, nor on another network.
func ProofMessage(network *Network, role Role, owner [32]byte, key [bls.PublicKeySize]byte) []byte {
	return appendProof([]byte("wb-pop/2"), network, role, owner, key)
}

// NodeMessage returns what a node's Ed25519 key signs when the node is registered (section 2).
func NodeMessage(network *Network, owner [32]byte, key [bls.PublicKeySize]byte,
	node [32]byte) []byte {
	return append(appendProof([]byte("wb-nod/2"), network, RoleNode, owner, key), node[:]...)
}

func appendProof(dst []byte, network *Network, role Role, owner [32]byte,
	key [bls.PublicKeySize]byte) []byte {
	dst = append(dst, network[:]...)
	dst = append(dst, byte(role))
	dst = append(dst, owner[:]...)
	return append(dst, key[:]...)
}
