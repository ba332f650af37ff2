package ledger

import (
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

// attempt is a transaction on its way through judge.
type attempt struct {
	raw    []byte
	tx     *Tx // nil when it does not decode
	digest rollup.Hash
	known  bool  // all that it rests on verified before
	err    error // why it is refused, so far
}

// judge says whether a transaction can be executed now, or, for ahead > 0, once up to ahead
// transactions of the same sender have been. It changes nothing but the memory of what verified.
func (w *world) judge(raw []byte, ahead uint64) (*Tx, error) {
	a := attempt{raw: raw}
	var c claims
	w.open(&a, ahead, &c)
	c.verify()
	w.conclude(&a)
	return a.tx, a.err
}

// verify verifies what transactions rest on, all in one batch, and remembers it, so that judging
// them one by one takes no time.
func (w *world) verify(txs [][]byte) {
	attempts := make([]attempt, len(txs))
	var c claims
	for i := range attempts {
		attempts[i].raw = txs[i]
		w.open(&attempts[i], PendingNonces, &c)
	}
	c.verify()
	for i := range attempts {
		w.conclude(&attempts[i])
	}
}

// open does the cheap checks, the cheapest first, and gathers the signatures to verify.
func (w *world) open(a *attempt, ahead uint64, c *claims) {
	if a.tx, a.err = ParseTx(a.raw); a.err != nil {
		return
	}
	if a.tx.Network != w.id {
		a.err = refuse(CodeWrongNetwork, "%s", a.tx.Network)
		return
	}
	sender, err := w.judgeSender(a.tx, ahead)
	if err == nil {
		err = a.tx.Body.judge(w, a.tx, sender)
	}
	if a.err = err; err != nil {
		return
	}
	a.digest = blake3.Sum256(a.raw)
	if a.known = w.proven.has(&a.digest); a.known {
		return
	}
	if a.err = w.refuted.of(&a.digest); a.err != nil {
		return
	}
	if s := a.tx.Signed; s != nil { // a sender with an account has a valid key
		c.word(claim{&a.err, errSender}, s.Sender, a.raw[:len(a.raw)-len(s.Signature)], s.Signature)
	}
	if err := a.tx.Body.verify(w, a.tx, c, &a.err); err != nil {
		a.err = err
	}
}

// conclude says what became of a transaction whose claims were verified, and remembers that.
func (w *world) conclude(a *attempt) {
	if a.digest == (rollup.Hash{}) {
		return // it did not get so far
	}
	if a.err != nil {
		a.err = coded(a.err)
		w.refuted.add(&a.digest, a.err)
		return
	}
	parts, inParts := a.tx.Body.(inParts)
	if !a.known && (!inParts || parts.whole()) {
		w.proven.add(&a.digest, nil)
	}
	if inParts {
		a.err = parts.conclude(w, a.known)
	}
}

// coded gives what verify found its code, unless it has one.
func coded(err error) error {
	var code TxCode
	switch {
	case err == nil || errors.As(err, &code):
		return err
	case errors.Is(err, errSender), errors.Is(err, errPayer):
		code = CodeBadSignature
	case errors.Is(err, errProof), errors.Is(err, errNodeWord), errors.Is(err, errBLSKey),
		errors.Is(err, errConsensusWord):
		code = CodeBadProof
	case errors.Is(err, errReceipt):
		code = CodeBadAudit
	case errors.Is(err, rollup.ErrNetwork):
		code = CodeWrongNetwork
	case errors.Is(err, rollup.ErrWord):
		code = CodeBadWord
	case errors.Is(err, rollup.ErrTerm):
		code = CodeWrongTerm
	case errors.Is(err, rollup.ErrBitmap):
		code = CodeBadBitmap
	case errors.Is(err, rollup.ErrQuorum):
		code = CodeNoQuorum
	default:
		code = CodeBadCertificate
	}
	return refuse(code, "%w", err)
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
