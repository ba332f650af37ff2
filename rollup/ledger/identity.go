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

// verifyPossessions checks keys strictly, and the proofs of those that are good, in one batch each.
// It returns an error for each claim that does not hold, nil for the others.
func verifyPossessions(net rollup.Network, claims []possession) []error {
	errs := make([]error, len(claims))
	encoded := make([]byte, 0, len(claims)*bls.PublicKeySize)
	for i := range claims {
		encoded = append(encoded, claims[i].key[:]...)
	}
	keys, verdicts, err := bls.ParsePublicKeys(column(encoded, bls.PublicKeySize), 0)
	if err != nil {
		panic(fmt.Sprintf("ledger: a batch of keys: %v", err)) // all have the size of one
	}
	var batch bls.Batch
	var open []int // the claims in it
	var messages, proofs []byte
	for i, c := range claims {
		if err := verdicts[i].Err(); err != nil {
			errs[i] = fmt.Errorf("%w: %w", errBLSKey, err)
			continue
		}
		batch.Signer = append(batch.Signer, uint32(len(open)))
		batch.Keys, open = append(batch.Keys, keys[i]), append(open, i)
		messages = append(messages, rollup.ProofMessage(&net, c.role, c.owner, *c.key)...)
		proofs = append(proofs, c.proof[:]...)
	}
	if len(open) == 0 {
		return errs
	}
	batch.Messages = column(messages, len(messages)/len(open))
	batch.Signatures = column(proofs, bls.SignatureSize)
	if verdicts, err = bls.Proofs.VerifyBatch(&batch); err != nil {
		panic(fmt.Sprintf("ledger: a batch of proofs: %v", err)) // its columns fit
	}
	for k, i := range open {
		if err := verdicts[k].Err(); err != nil {
			errs[i] = fmt.Errorf("%w: %w", errProof, err)
		}
	}
	return errs
}

// column is fields of a width, one behind the other.
func column(data []byte, width int) bls.Column {
	return bls.Column{Data: data, Stride: width, Width: width}
}

// signedByNode checks a node key's signature.
func signedByNode(
	net rollup.Network, owner Key, key *BLSKey, node Key, signature *Signature,
) bool {
	message := rollup.NodeMessage(&net, owner, *key, node)
	return ed25519.Verify(node.Public(), message, signature[:])
}
