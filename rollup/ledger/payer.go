package ledger

import (
	"crypto/ed25519"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// PayerChange is the payload of set payer.
type PayerChange struct {
	Client  uint32       `json:"client"`
	Consent BLSSignature `json:"consent"` // the client's signature of PayerMessage
}

// NewSetPayer builds the change of a client's payer to the sender, with the client's signature of
// PayerMessage.
func NewSetPayer(
	net rollup.Network, payer ed25519.PrivateKey, nonce uint64, client uint32, consent BLSSignature,
) []byte {
	return sign(net, KindSetPayer, payer, nonce, &PayerChange{Client: client, Consent: consent})
}

// PayerMessage returns what a client signs with its BLS key to be paid for by payer, in the payer's
// transaction with that nonce and no other.
func PayerMessage(net rollup.Network, client uint32, payer Key, nonce uint64) []byte {
	b := append([]byte("wb-pay/1"), net[:]...)
	b = le.AppendUint32(b, client)
	b = append(b, payer[:]...)
	return le.AppendUint64(b, nonce)
}

func (p *PayerChange) decode(r *reader) {
	p.Client = r.U32()
	r.Fill(p.Consent[:])
}

func (p *PayerChange) append(b []byte) []byte {
	b = le.AppendUint32(b, p.Client)
	return append(b, p.Consent[:]...)
}

func (p *PayerChange) judge(w *world, _ *Tx, _ *account) error {
	if !w.clients.has(p.Client) {
		return refuse(CodeUnknownClient, "%d", p.Client)
	}
	return nil
}

func (p *PayerChange) verify(w *world, tx *Tx) error {
	consent, err := bls.ParseSignature(p.Consent[:])
	if err != nil {
		return refuse(CodeBadProof, "the client's consent: %w", err)
	}
	key := w.clients.at(p.Client).key.public()
	message := PayerMessage(w.id, p.Client, tx.Signed.Sender, tx.Signed.Nonce)
	if !bls.Default.Verify(key, message, &consent) {
		return refuse(CodeBadProof, "the client's consent does not verify")
	}
	return nil
}

func (p *PayerChange) execute(s *State, sender uint32, r *Result) {
	r.Index, r.Count = p.Client, 1
	s.setPayer(p.Client, sender)
}

// setPayer makes an account pay for a client from the next epoch on, and forgets who paid in epochs
// that no certificate may name any more.
func (s *State) setPayer(index, payer uint32) {
	c := s.clients.edit(s.gen, index)
	from := s.epoch() + 1
	payers := slices.Clone(c.payers)
	if last := len(payers) - 1; payers[last].from == from {
		payers[last].payer = payer
	} else {
		payers = append(payers, payerSpan{from, payer})
	}
	for len(payers) > 1 &&
		uint64(payers[1].from)+uint64(s.params.LateEpochs) <= uint64(s.epoch()) {
		payers = payers[1:]
	}
	c.payers = payers
	s.touch(indexKey(prefixClient, index))
	s.events = append(s.events, PayerChanged{Client: index, Payer: payer, From: from})
}
