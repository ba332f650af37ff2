package ledger

import (
	"cmp"
	"math"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// Charge is what a row of an executed ticket took: first ordered, first paid (section 9).
type Charge struct {
	Charge  uint64 // what the units cost
	Allowed uint64 // of it, what the payer's allowance left the node
	Paid    uint64 // of that, what the payer had
}

// creditKey is what rows are added up by. Its order is that of the settlement table.
type creditKey struct{ node, service, payer uint32 }

func (k creditKey) append(b []byte) []byte {
	return be.AppendUint32(be.AppendUint32(be.AppendUint32(b, k.node), k.service), k.payer)
}

// credit is what tickets of an epoch brought so far; sums stop at 2^64 - 1.
type credit struct {
	creditKey
	windows     uint32
	acks, units uint64
	Charge
}

// bound is what one node was allowed to charge one payer in an epoch so far.
type bound struct {
	node, payer uint32
	allowed     uint64
}

func boundDigest(node, payer uint32) [32]byte {
	return digestOf(be.AppendUint32(be.AppendUint32(nil, node), payer))
}

// book holds what was ordered of an epoch that is not settled.
type book struct {
	epoch   uint32
	credits vector[uint32, credit]
	bounds  vector[uint32, bound]

	creditIndex, boundIndex trie
}

// books are those of the epochs that have any, ascending. The slice is replaced when it changes, so
// that copies of it are snapshots.
type books []book

func (b books) search(epoch uint32) (int, bool) {
	return slices.BinarySearchFunc(b, epoch, func(x book, e uint32) int {
		return cmp.Compare(x.epoch, e)
	})
}

// of returns an epoch's book to read, nil when it has none.
func (b books) of(epoch uint32) *book {
	if i, ok := b.search(epoch); ok {
		return &b[i]
	}
	return nil
}

func (b *book) credit(k creditKey) *credit {
	if b == nil {
		return nil
	}
	digest := digestOf(k.append(nil))
	if i, ok := b.creditIndex.find(&digest); ok && b.credits.at(uint32(i)).creditKey == k {
		return b.credits.at(uint32(i))
	}
	return nil
}

// allowed returns what a node was allowed to charge a payer so far.
func (b *book) allowed(node, payer uint32) uint64 {
	if b == nil {
		return 0
	}
	digest := boundDigest(node, payer)
	if i, ok := b.boundIndex.find(&digest); ok {
		if x := b.bounds.at(uint32(i)); x.node == node && x.payer == payer {
			return x.allowed
		}
	}
	return 0
}

// book returns an epoch's book to change.
func (s *State) book(epoch uint32) *book {
	i, ok := s.books.search(epoch)
	s.books = slices.Clone(s.books)
	if !ok {
		s.books = slices.Insert(s.books, i, book{epoch: epoch})
	}
	return &s.books[i]
}

// edit returns a credit to change, and makes it when there is none.
func (b *book) edit(gen uint64, k creditKey) *credit {
	digest := digestOf(k.append(nil))
	i, ok := b.creditIndex.find(&digest)
	if !ok || b.credits.at(uint32(i)).creditKey != k {
		i = uint64(b.credits.size())
		b.credits.push(gen, credit{creditKey: k})
		b.creditIndex.insert(gen, &digest, i, func(i uint64) [32]byte {
			return digestOf(b.credits.at(uint32(i)).creditKey.append(nil))
		})
	}
	return b.credits.edit(gen, uint32(i))
}

// allow adds to what a node was allowed to charge a payer. The sum is at most the allowance.
func (b *book) allow(gen uint64, node, payer uint32, amount uint64) {
	digest := boundDigest(node, payer)
	i, ok := b.boundIndex.find(&digest)
	if !ok || b.bounds.at(uint32(i)).node != node || b.bounds.at(uint32(i)).payer != payer {
		i = uint64(b.bounds.size())
		b.bounds.push(gen, bound{node: node, payer: payer})
		b.boundIndex.insert(gen, &digest, i, func(i uint64) [32]byte {
			return boundDigest(b.bounds.at(uint32(i)).node, b.bounds.at(uint32(i)).payer)
		})
	}
	b.bounds.edit(gen, uint32(i)).allowed += amount
}

// charge takes what a row of an executed ticket costs, at once: within the allowance that the payer
// gives the node, and within what the payer reserved.
func (s *State) charge(b *book, node uint32, row *rollup.Row) Charge {
	k := creditKey{node: node, service: row.Service, payer: row.Payer}
	c := Charge{Charge: rollup.Charge(row.Units, s.services.at(row.Service).PriceIn(b.epoch))}
	c.Allowed = min(c.Charge, s.allowance(row.Payer, b.epoch)-b.allowed(node, row.Payer))
	s.move(row.Payer, func(m *money) { c.Paid = m.take(b.epoch, c.Allowed) })
	b.allow(s.gen, node, row.Payer, c.Allowed)
	sum := b.edit(s.gen, k)
	sum.windows++
	sum.acks, sum.units = addSaturating(sum.acks, row.Acks), addSaturating(sum.units, row.Units)
	sum.Charge.Charge = addSaturating(sum.Charge.Charge, c.Charge)
	sum.Allowed += c.Allowed // at most the allowance
	sum.Paid += c.Paid
	s.touch(creditRecordKey(b.epoch, k))
	return c
}

func addSaturating(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

// Charged returns what a node was allowed to charge a payer for acks of an epoch that is not
// settled, as far as their windows are ordered.
func (v *View) Charged(node, payer, epoch uint32) uint64 {
	return v.books.of(epoch).allowed(node, payer)
}

// Allowance returns what a payer lets one node charge in an epoch that is not settled, at least: it
// can become more, and never less.
func (v *View) Allowance(payer, epoch uint32) uint64 {
	if !v.accounts.has(payer) {
		return 0
	}
	return v.allowance(payer, epoch)
}

// Chargeable returns what a payer's account holds for acks of an epoch that is not settled.
func (v *View) Chargeable(payer, epoch uint32) uint64 {
	if !v.accounts.has(payer) {
		return 0
	}
	return v.accounts.at(payer).chargeable(epoch)
}

// Credits returns what was ordered of an epoch that is not settled, as the rows that it would
// settle with now, sorted.
func (v *View) Credits(epoch uint32) []rollup.SettlementRow { return v.rows(epoch) }
