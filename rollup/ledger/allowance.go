package ledger

import (
	"cmp"
	"crypto/ed25519"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// Allowance is the payload of allowance: how much any one node may charge the sender in an epoch.
// What is above is not owed. A higher one counts at once, a lower one from the next epoch, so that
// no ack that a node has taken turns unpaid.
type Allowance struct {
	Allowance uint64 `json:"allowance,string"` // micro-credits a node and epoch
}

// NewAllowance builds a transaction that sets what a node may charge the payer in an epoch, in
// micro-credits.
func NewAllowance(net rollup.Network, payer ed25519.PrivateKey, nonce, allowance uint64) []byte {
	return sign(net, KindAllowance, payer, nonce, &Allowance{allowance})
}

func (p *Allowance) decode(r *reader)       { p.Allowance = r.U64() }
func (p *Allowance) append(b []byte) []byte { return le.AppendUint64(b, p.Allowance) }

func (p *Allowance) judge(*world, *Tx, *account) error         { return nil }
func (p *Allowance) verify(*world, *Tx, *claims, *error) error { return nil }

func (p *Allowance) execute(s *State, sender uint32, _ *Result) {
	epoch := s.epoch()
	now := s.allowance(sender, epoch)
	a := s.accounts.edit(s.gen, sender)
	terms := a.allowances.since(s.unsettled)
	if p.Allowance >= now {
		terms = append(terms.until(epoch), allowanceTerm{epoch, p.Allowance})
	} else {
		terms = append(terms.until(epoch+1), allowanceTerm{epoch + 1, p.Allowance})
	}
	a.allowances = terms
	s.touch(indexKey(prefixAccount, sender))
}

// allowanceTerm is an allowance from an epoch on.
type allowanceTerm struct {
	from   uint32
	amount uint64
}

// allowances are what an account set, ascending, as far back as an epoch is not settled. They are
// replaced when they change.
type allowances []allowanceTerm

// search returns the position of the first term that begins in an epoch or later.
func (t allowances) search(epoch uint32) int {
	i, _ := slices.BinarySearchFunc(t, epoch, func(x allowanceTerm, e uint32) int {
		return cmp.Compare(x.from, e)
	})
	return i
}

// of returns the allowance of an epoch, if one was set.
func (t allowances) of(epoch uint32) (uint64, bool) {
	i, exact := slices.BinarySearchFunc(t, epoch, func(x allowanceTerm, e uint32) int {
		return cmp.Compare(x.from, e)
	})
	if exact {
		i++
	}
	if i == 0 {
		return 0, false
	}
	return t[i-1].amount, true
}

// until returns a copy of the terms that begin before an epoch.
func (t allowances) until(epoch uint32) allowances { return slices.Clone(t[:t.search(epoch)]) }

// since returns the terms that tell of an epoch and of later ones.
func (t allowances) since(epoch uint32) allowances {
	if i := t.search(epoch + 1); i > 1 {
		return t[i-1:]
	}
	return t
}

// allowance returns what a payer lets one node charge in an epoch that is not settled: the highest
// that was in force in it.
func (w *world) allowance(payer, epoch uint32) uint64 {
	if amount, set := w.accounts.at(payer).allowances.of(epoch); set {
		return amount
	}
	return w.params.Allowance
}
