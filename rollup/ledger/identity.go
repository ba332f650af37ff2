package ledger

import (
	"crypto/ed25519"
	"errors"
	"fmt"

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
	errProof    = errors.New("the proof of possession does not verify")
	errNodeWord = errors.New("the node key's signature does not verify")
	errBLSKey   = errors.New("not a BLS key")
)

// verifyPossessions checks keys strictly and proofs as one batch. It returns an error for each that
// does not hold, nil for the others.
func verifyPossessions(net rollup.Network, claims []possession) []error {
	verdicts := make([]error, len(claims))
	batch := make([]int, 0, len(claims)) // the claims whose key and proof decode
	keys := make([]*bls.PublicKey, 0, len(claims))
	proofs := make([]bls.Signature, 0, len(claims))
	var messages []byte
	for i, c := range claims {
		key, err := bls.ParsePublicKey(c.key[:])
		if err != nil {
			verdicts[i] = fmt.Errorf("%w: %w", errBLSKey, err)
			continue
		}
		proof, err := bls.ParseSignature(c.proof[:])
		if err != nil {
			verdicts[i] = fmt.Errorf("%w: %w", errProof, err)
			continue
		}
		batch, keys, proofs = append(batch, i), append(keys, key), append(proofs, proof)
		messages = append(messages, rollup.ProofMessage(&net, c.role, c.owner, *c.key)...)
	}
	if len(batch) == 0 {
		return verdicts
	}
	width := len(messages) / len(batch)
	column := bls.Column{Data: messages, Stride: width, Width: width}
	bad, err := bls.VerifyProofs(keys, column, proofs)
	if err != nil {
		panic(fmt.Sprintf("ledger: a batch of proofs: %v", err)) // its columns fit
	}
	for _, i := range bad {
		verdicts[batch[i]] = errProof
	}
	return verdicts
}

// signedByNode checks a node key's signature.
func signedByNode(
	net rollup.Network, owner Key, key *BLSKey, node Key, signature *Signature,
) bool {
	message := rollup.NodeMessage(&net, owner, *key, node)
	return ed25519.Verify(node.Public(), message, signature[:])
}
