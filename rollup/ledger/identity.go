package ledger

import (
	"crypto/ed25519"
	"errors"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// ProvePossession makes the proof with which a BLS key is registered on a network: as a client's
// for the account that pays, or as a node's for the one that owns it. It registers the key for
// nobody else, and nowhere else.
func ProvePossession(
	secret *bls.SecretKey, net rollup.Network, role rollup.Role, owner Key,
) BLSSignature {
	key := secret.PublicKey().Bytes()
	proof := bls.Prove(secret, rollup.ProofMessage(&net, role, owner, key))
	return proof.Bytes()
}

// SignNode makes the signature with which a node key agrees to be the transport key of a node with
// that owner and BLS key. Without it, somebody could take a stranger's key first.
func SignNode(net rollup.Network, owner Key, key BLSKey, node ed25519.PrivateKey) Signature {
	message := rollup.NodeMessage(&net, owner, key, KeyOf(node))
	return Signature(ed25519.Sign(node, message))
}

// possession is a claim that a proof shows.
type possession struct {
	role  rollup.Role
	owner Key
	key   *BLSKey
	proof *BLSSignature
}

var (
	errSender   = errors.New("of the sender")
	errPayer    = errors.New("of the payer")
	errProof    = errors.New("the proof of possession does not verify")
	errNodeWord = errors.New("the node key's signature does not verify")
	errBLSKey   = errors.New("not a BLS key")
)
