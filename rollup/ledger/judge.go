package ledger

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// PendingNonces is how far ahead of the sender's count a nonce may be for Check, so that a sender
// can have that many transactions wait for a block, in order. Apply takes the exact nonce only.
const PendingNonces = 64

func refuse(code TxCode, format string, args ...any) error {
	return rollup.Refuse(code, format, args...)
}

// verdict makes a result of a judgement. There is no transaction when it does not decode.
func verdict(tx *Tx, err error) Result {
	r := Result{Err: err}
	if tx != nil {
		r.Kind = tx.Kind
		if parts, ok := tx.Body.(inParts); ok {
			r.Fell = parts.fallen()
		}
	}
	if err != nil && !errors.As(err, &r.Code) {
		panic(fmt.Sprintf("ledger: a refusal without a code: %v", err))
	}
	return r
}

// judge says whether a transaction can be executed now, or, for ahead > 0, once up to ahead
// transactions of the same sender have been. It changes nothing but the memory of what verified.
// The cheap checks come first.
func (w *world) judge(raw []byte, ahead uint64) (*Tx, error) {
	tx, err := ParseTx(raw)
	if err != nil {
		return nil, err
	}
	if tx.Network != w.id {
		return tx, refuse(CodeWrongNetwork, "%s", tx.Network)
	}
	sender, err := w.judgeSender(tx, ahead)
	if err != nil {
		return tx, err
	}
	if err := tx.Body.judge(w, tx, sender); err != nil {
		return tx, err
	}
	digest := rollup.Hash(blake3.Sum256(raw))
	known := w.proven.has(&digest)
	if parts, ok := tx.Body.(inParts); ok {
		err := parts.settle(w, known)
		if !known && parts.whole() {
			w.proven.add(&digest)
		}
		return tx, err
	}
	if known {
		return tx, nil
	}
	if err := w.verify(tx, raw); err != nil {
		return tx, err
	}
	w.proven.add(&digest)
	return tx, nil
}

// judgeSender returns the sender's account. There is none when the kind has no sender or the
// treasury is.
func (w *world) judgeSender(tx *Tx, ahead uint64) (*account, error) {
	var account *account
	var next uint64
	switch kinds[tx.Kind].sender {
	case senderNone:
		return nil, nil
	case senderTreasury:
		if tx.Signed.Sender != w.treasury {
			return nil, refuse(CodeBadSignature, "%s is not the treasury", tx.Signed.Sender)
		}
		next = w.deposits
	case senderAccount:
		i, ok := w.accountByKey(tx.Signed.Sender)
		if !ok {
			return nil, refuse(CodeUnknownAccount, "%s", tx.Signed.Sender)
		}
		account = w.accounts.at(i)
		next = account.nonce
	}
	if nonce := tx.Signed.Nonce; nonce < next || nonce-next > ahead {
		return nil, refuse(CodeBadNonce, "%d, expected %d", nonce, next)
	}
	return account, nil
}

// room refuses what has no index left.
func room(what string, used uint64, more int, most uint64) error {
	if used+uint64(more) > most {
		return refuse(CodeOutOfRange, "no index is left for %s", what)
	}
	return nil
}

// verify checks signatures, keys, proofs and certificates. A sender with an account has a valid
// key.
func (w *world) verify(tx *Tx, raw []byte) error {
	if s := tx.Signed; s != nil {
		signed := raw[:len(raw)-len(s.Signature)]
		if !ed25519.Verify(s.Sender.Public(), signed, s.Signature[:]) {
			return refuse(CodeBadSignature, "of the sender")
		}
	}
	return tx.Body.verify(w, tx)
}
