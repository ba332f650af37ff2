package ledger

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// PendingNonces is how far ahead of the sender's count a nonce may be for Check, so that a sender can have that many
// transactions wait for a block, in order. Apply takes the exact nonce only.
const PendingNonces = 64

func refuse(code TxCode, format string, args ...any) error {
	return rollup.Refuse(code, format, args...)
}

// verdict makes a result of a judgement.
func verdict(kind Kind, err error) Result {
	r := Result{Kind: kind, Err: err}
	if err != nil && !errors.As(err, &r.Code) {
		panic(fmt.Sprintf("ledger: a refusal without a code: %v", err))
	}
	return r
}

// judge says whether a transaction can be executed now, or, for ahead > 0, once up to ahead transactions of the same
// sender have been. It changes nothing but the memory of what verified. The cheap checks come first.
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
	if err := w.judgeBody(tx, sender); err != nil {
		return tx, err
	}
	digest := rollup.Hash(blake3.Sum256(raw))
	if w.proven.has(&digest) {
		return tx, nil
	}
	if err := w.verify(tx, raw); err != nil {
		return tx, err
	}
	w.proven.add(&digest)
	return tx, nil
}

// judgeSender returns the sender's account, nil when there is none because the kind has no sender or the treasury is.
func (w *world) judgeSender(tx *Tx, ahead uint64) (*account, error) {
	if tx.Signed == nil {
		return nil, nil
	}
	var sender *account
	next := w.deposits
	if tx.Kind != KindDeposit {
		i, ok := w.accountByKey(tx.Signed.Sender)
		if !ok {
			return nil, refuse(CodeUnknownAccount, "%s", tx.Signed.Sender)
		}
		sender = w.accounts.at(i)
		next = sender.nonce
	} else if tx.Signed.Sender != w.treasury {
		return nil, refuse(CodeBadSignature, "%s is not the treasury", tx.Signed.Sender)
	}
	if nonce := tx.Signed.Nonce; nonce < next || nonce-next > ahead {
		return nil, refuse(CodeBadNonce, "%d, expected %d", nonce, next)
	}
	return sender, nil
}

// judgeBody checks a payload against the state.
func (w *world) judgeBody(tx *Tx, sender *account) error {
	switch p := tx.Body.(type) {
	case *Payment:
		return w.judgePayment(tx.Kind, p, sender)
	case *NodeRegistration:
		return w.judgeNode(p, sender)
	case *ServiceRegistration:
		// A price times a cap of 2^64 is still allowed; it has no lower bits.
		if hi, lo := bits.Mul64(p.Price, p.UnitCap); p.Price > MaxPrice || p.UnitCap < 1 || p.UnitCap > rollup.MaxUnitCap ||
			hi > 1 || hi == 1 && lo > 0 {
			return refuse(CodeOutOfRange, "price %d with cap %d", p.Price, p.UnitCap)
		}
		return room("services", w.services.len(), 1)
	case *ClientRegistration:
		seen := make(map[BLSKey]bool, len(p.Clients))
		for i := range p.Clients {
			key := &p.Clients[i].Key
			if seen[*key] || w.taken(key) {
				return refuse(CodeKeyTaken, "client %d of the transaction", i)
			}
			seen[*key] = true
		}
		return room("clients", w.clients.len(), len(p.Clients))
	case *PayerChange:
		if !w.clients.has(p.Client) {
			return refuse(CodeUnknownClient, "%d", p.Client)
		}
		return nil
	case *rollup.Certificate:
		return w.judgeCertificate(&p.Header)
	case *rollup.SettlementCertificate:
		return w.judgeSettlement(p)
	}
	panic("ledger: a payload of no kind")
}

func (w *world) judgePayment(kind Kind, p *Payment, sender *account) error {
	switch {
	case p.Amount == 0:
		return refuse(CodeOutOfRange, "no amount")
	case kind == KindDeposit && p.Amount > math.MaxUint64-w.supply:
		return refuse(CodeOverflow, "supply %d, deposit %d", w.supply, p.Amount)
	case kind == KindTransfer && p.Amount > sender.balance:
		return refuse(CodeInsufficientBalance, "%d of %d", sender.balance, p.Amount)
	}
	if _, ok := w.accountByKey(p.To); ok {
		return nil
	}
	return room("accounts", w.accounts.len(), 1)
}

func (w *world) judgeNode(p *NodeRegistration, sender *account) error {
	_, known := w.nodeByTransport(p.TransportKey)
	switch {
	case known:
		return refuse(CodeKeyTaken, "transport key %s", p.TransportKey)
	case w.taken(&p.BLSKey):
		return refuse(CodeKeyTaken, "BLS key %s", p.BLSKey)
	case p.Stake > sender.balance:
		return refuse(CodeInsufficientBalance, "%d of %d", sender.balance, p.Stake)
	}
	return room("nodes", w.nodes.len(), 1)
}

// room refuses what has no index left.
func room(what string, used, more int) error {
	if uint64(used)+uint64(more) > math.MaxUint32 {
		return refuse(CodeOutOfRange, "no index is left for %s", what)
	}
	return nil
}

func (w *world) judgeCertificate(h *rollup.Header) error {
	current := w.epoch()
	switch {
	case !w.nodes.has(h.Node):
		return refuse(CodeUnknownNode, "%d", h.Node)
	case h.Epoch > current:
		return refuse(CodeEpochAhead, "%d, now %d", h.Epoch, current)
	case current-h.Epoch > w.params.LateEpochs:
		return refuse(CodeEpochTooOld, "%d, now %d", h.Epoch, current)
	case w.ordered.has(h.Key()):
		return refuse(CodeAlreadyOrdered, "node %d, epoch %d, window %d", h.Node, h.Epoch, h.Window)
	}
	for _, row := range h.Rows {
		if !w.accounts.has(row.Payer) {
			return refuse(CodeUnknownPayer, "%d", row.Payer)
		}
		if !w.services.has(row.Service) {
			return refuse(CodeUnknownService, "%d", row.Service)
		}
	}
	return nil
}

func (w *world) judgeSettlement(c *rollup.SettlementCertificate) error {
	if c.Epoch >= w.unsettled {
		return refuse(CodeNotSettled, "epoch %d", c.Epoch)
	}
	if s, kept := w.settlement(c.Epoch); !kept || s.Certificate != nil {
		return refuse(CodeAlreadyCertified, "epoch %d", c.Epoch) // only certified ones are not kept
	}
	return nil
}

// verify checks signatures, keys, proofs and certificates. A sender with an account has a valid key.
func (w *world) verify(tx *Tx, raw []byte) error {
	if s := tx.Signed; s != nil && !ed25519.Verify(s.Sender.Public(), raw[:len(raw)-len(s.Signature)], s.Signature[:]) {
		return refuse(CodeBadSignature, "of the sender")
	}
	switch p := tx.Body.(type) {
	case *Payment:
		if _, known := w.accountByKey(p.To); !known && !p.To.Valid() {
			return refuse(CodeOutOfRange, "%s is not a valid key", p.To)
		}
	case *NodeRegistration:
		if !p.TransportKey.Valid() {
			return refuse(CodeOutOfRange, "%s is not a valid key", p.TransportKey)
		}
		return verifyProofs([]ClientProof{{p.BLSKey, p.Proof}})
	case *ClientRegistration:
		return verifyProofs(p.Clients)
	case *PayerChange:
		consent, err := bls.ParseSignature(p.Consent[:])
		if err != nil {
			return refuse(CodeBadProof, "the client's consent: %w", err)
		}
		key := w.clients.at(p.Client).key.public()
		if !bls.Default.Verify(key, PayerMessage(w.id, p.Client, tx.Signed.Sender, tx.Signed.Nonce), &consent) {
			return refuse(CodeBadProof, "the client's consent does not verify")
		}
	case *rollup.Certificate:
		return certificateError(p.Verify(w.id, w.committee))
	case *rollup.SettlementCertificate:
		s, _ := w.settlement(p.Epoch)
		return certificateError(p.Verify(w.id, w.committee, s.Root, w.committeeRoot))
	}
	return nil
}

// verifyProofs checks keys strictly and their proofs of possession as one batch.
func verifyProofs(clients []ClientProof) error {
	keys := make([]*bls.PublicKey, len(clients))
	proofs := make([]bls.Signature, len(clients))
	for i := range clients {
		var err error
		if keys[i], err = bls.ParsePublicKey(clients[i].Key[:]); err != nil {
			return refuse(CodeBadProof, "key %d: %w", i, err)
		}
		if proofs[i], err = bls.ParseSignature(clients[i].Proof[:]); err != nil {
			return refuse(CodeBadProof, "proof %d: %w", i, err)
		}
	}
	bad, err := bls.VerifyProofs(keys, proofs)
	if err != nil {
		return refuse(CodeBadProof, "%w", err)
	}
	if len(bad) > 0 {
		return refuse(CodeBadProof, "of key %d", bad[0])
	}
	return nil
}

// certificateError gives a failed check of a certificate its code.
func certificateError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rollup.ErrNetwork):
		return refuse(CodeWrongNetwork, "%w", err)
	case errors.Is(err, rollup.ErrBitmap):
		return refuse(CodeBadBitmap, "%w", err)
	case errors.Is(err, rollup.ErrQuorum):
		return refuse(CodeNoQuorum, "%w", err)
	}
	return refuse(CodeBadCertificate, "%w", err)
}
