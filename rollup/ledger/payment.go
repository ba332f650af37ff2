package ledger

import (
	"crypto/ed25519"
	"math"

	"github.com/waybill-network/waybill/rollup"
)

// Deposit is the payload of a deposit: credits from outside.
type Deposit struct{ Payment }

// Transfer is the payload of a transfer from the sender's account.
type Transfer struct{ Payment }

// Payment is what a deposit and a transfer have in common.
type Payment struct {
	To     Key    `json:"to"`
	Amount uint64 `json:"amount,string"` // micro-credits
}

// NewDeposit builds a deposit: amount micro-credits, at least 1, from outside into the account of a
// key.
func NewDeposit(
	net rollup.Network, treasury ed25519.PrivateKey, nonce uint64, to Key, amount uint64,
) []byte {
	return sign(net, KindDeposit, treasury, nonce, &Deposit{Payment{To: to, Amount: amount}})
}

// NewTransfer builds a transfer of amount micro-credits, at least 1, to the account of a key.
func NewTransfer(
	net rollup.Network, sender ed25519.PrivateKey, nonce uint64, to Key, amount uint64,
) []byte {
	return sign(net, KindTransfer, sender, nonce, &Transfer{Payment{To: to, Amount: amount}})
}

func (p *Payment) decode(r *reader) {
	r.Fill(p.To[:])
	p.Amount = r.U64()
}

func (p *Payment) append(b []byte) []byte {
	b = append(b, p.To[:]...)
	return le.AppendUint64(b, p.Amount)
}

func (p *Deposit) judge(w *world, _ *Tx, _ *account) error {
	if p.Amount > math.MaxUint64-w.supply {
		return refuse(CodeOverflow, "supply %d, deposit %d", w.supply, p.Amount)
	}
	return p.receivable(w)
}

func (p *Transfer) judge(w *world, _ *Tx, sender *account) error {
	if p.Amount > sender.balance {
		return refuse(CodeInsufficientBalance, "%d of %d", sender.balance, p.Amount)
	}
	return p.receivable(w)
}

// receivable checks that there is an amount, and an account that gets it or an index for a new one.
func (p *Payment) receivable(w *world) error {
	if p.Amount == 0 {
		return refuse(CodeOutOfRange, "no amount")
	}
	if _, ok := w.accountByKey(p.To); ok {
		return nil
	}
	return room("accounts", uint64(w.accounts.len()), 1, math.MaxUint32)
}

// verify checks the key of a new account. One that has an account was valid when it got it.
func (p *Payment) verify(w *world, _ *Tx, _ *claims, _ *error) error {
	if _, known := w.accountByKey(p.To); !known && !p.To.Valid() {
		return refuse(CodeOutOfRange, "%s is not a valid key", p.To)
	}
	return nil
}

func (p *Deposit) execute(s *State, _ uint32, r *Result) {
	s.supply += p.Amount
	p.credit(s, r)
}

func (p *Transfer) execute(s *State, sender uint32, r *Result) {
	s.move(sender, func(m *money) { m.balance -= p.Amount })
	p.credit(s, r)
}

// credit pays the amount to the receiver's account, which it creates when there is none.
func (p *Payment) credit(s *State, r *Result) {
	to, known := s.accountByKey(p.To)
	if !known {
		to = s.addAccount(p.To)
	}
	s.pay(to, p.Amount)
	r.Index, r.Count = uint64(to), 1
}
