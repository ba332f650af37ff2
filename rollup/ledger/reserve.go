package ledger

import (
	"crypto/ed25519"

	"github.com/waybill-network/waybill/rollup"
)

// Reserve is the payload of reserve: it moves money from the sender's balance to where its acks are
// paid from. Only what is there makes nodes serve.
type Reserve struct{ Moved }

// Thaw is the payload of thaw: it moves money from the sender's reserve back to its balance, where
// it arrives when the epoch has settled. Acks of this epoch, and of those before it, may take it
// until then: nodes served them because it was there.
type Thaw struct{ Moved }

// Moved is what the two have in common.
type Moved struct {
	Amount uint64 `json:"amount,string"` // micro-credits
}

// NewReserve builds a transaction that reserves amount micro-credits, at least 1, for acks.
func NewReserve(net rollup.Network, payer ed25519.PrivateKey, nonce, amount uint64) []byte {
	return sign(net, KindReserve, payer, nonce, &Reserve{Moved{amount}})
}

// NewThaw builds a transaction that takes amount micro-credits, at least 1, back from the reserve.
func NewThaw(net rollup.Network, payer ed25519.PrivateKey, nonce, amount uint64) []byte {
	return sign(net, KindThaw, payer, nonce, &Thaw{Moved{amount}})
}

func (p *Moved) decode(r *reader)       { p.Amount = r.U64() }
func (p *Moved) append(b []byte) []byte { return le.AppendUint64(b, p.Amount) }

func (p *Moved) verify(*world, *Tx, *claims, *error) error { return nil }

// of checks that there is an amount, and that a purse holds it.
func (p *Moved) of(purse uint64, short TxCode) error {
	switch {
	case p.Amount == 0:
		return refuse(CodeOutOfRange, "no amount")
	case p.Amount > purse:
		return refuse(short, "%d of %d", purse, p.Amount)
	}
	return nil
}

func (p *Reserve) judge(_ *world, _ *Tx, sender *account) error {
	return p.of(sender.balance, CodeInsufficientBalance)
}

func (p *Reserve) execute(s *State, sender uint32, _ *Result) {
	s.move(sender, func(m *money) { m.balance, m.reserve = m.balance-p.Amount, m.reserve+p.Amount })
}

func (p *Thaw) judge(_ *world, _ *Tx, sender *account) error {
	return p.of(sender.reserve, CodeInsufficientReserve)
}

func (p *Thaw) execute(s *State, sender uint32, _ *Result) {
	epoch := s.epoch()
	s.move(sender, func(m *money) {
		m.reserve, m.thawing, m.thawEpoch = m.reserve-p.Amount, m.thawing+p.Amount, epoch
	})
	s.thaws.add(epoch, sender)
}
