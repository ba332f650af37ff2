package outsider

import (
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"slices"
)

// payment is one row of a settlement: node, service, payer; then acks, units, charge, paid, to node, to service.
type payment struct {
	who                                          [3]uint32
	acks, units, charge, paid, toNode, toService uint64
}

func (g *Genesis) settlement(r *reader) (string, error) {
	w, err := r.witness()
	if err != nil {
		return "", err
	}
	count := int(r.u32())
	if r.short || count > len(r.b)/60 {
		return "", fmt.Errorf("settlement: %w", errShort)
	}
	raw, rows := make([][]byte, count), make([]payment, count)
	var acks, paid, overAcks, overPaid uint64
	for i := range rows {
		raw[i] = r.b[:60]
		p := payment{[3]uint32{r.u32(), r.u32(), r.u32()}, r.uint(8), r.uint(8), r.uint(8), r.uint(8), r.uint(8), r.uint(8)}
		rows[i] = p
		acks, overAcks = bits.Add64(acks, p.acks, 0)
		paid, overPaid = bits.Add64(paid, p.paid, 0)
		switch {
		case overAcks+overPaid > 0:
			return "", errors.New("settlement: a sum overflows")
		case i > 0 && slices.Compare(rows[i-1].who[:], p.who[:]) >= 0:
			return "", errors.New("settlement: rows not sorted")
		case p.acks < 1 || p.units < p.acks:
			return "", errors.New("settlement: acks or units")
		case p.paid > p.charge:
			return "", errors.New("settlement: paid more than the charge")
		case p.toNode != share(p.paid, g.shares.Node) || p.toService != share(p.paid, g.shares.Service):
			return "", errors.New("settlement: shares")
		}
	}
	if err := r.end("file"); err != nil {
		return "", err
	}
	byPayer := map[uint32][]payment{}
	for _, p := range rows {
		byPayer[p.who[2]] = append(byPayer[p.who[2]], p)
	}
	for _, owed := range byPayer {
		if !apportioned(owed) {
			return "", errors.New("settlement: a short payer's balance is not divided by largest remainders")
		}
	}
	if w.settled == none {
		return "", errors.New("settlement: the record settled nothing")
	}
	root := tree("settlement").root(raw)
	if root != w.settlement {
		return "", errors.New("settlement: another root")
	}
	if err := w.signed(g); err != nil {
		return "", err
	}
	return fmt.Sprintf("settlement %x of epoch %d: %d acks, %d paid, in %d rows", root, w.settled, acks, paid, count), nil
}

// share is ⌊paid · basisPoints / 10000⌋.
func share(paid uint64, basisPoints uint16) uint64 {
	hi, lo := bits.Mul64(paid, uint64(basisPoints))
	q, _ := bits.Div64(hi, lo, 10_000)
	return q
}

// apportioned checks step 2 of section 9 for one payer, as far as the table shows it: what they paid in all is the sum
// of the charges, or it was the whole balance and is divided by largest remainders.
func apportioned(rows []payment) bool {
	number := func(v uint64) *big.Int { return new(big.Int).SetUint64(v) }
	sum, balance := new(big.Int), new(big.Int)
	for _, p := range rows {
		sum.Add(sum, number(p.charge))
		balance.Add(balance, number(p.paid))
	}
	if sum.Cmp(balance) == 0 { // none paid more than its charge, so each is paid in full
		return true
	}
	type part struct{ paid, due, remainder *big.Int }
	parts := make([]part, len(rows))
	left := new(big.Int).Set(balance)
	for i, p := range rows {
		due, remainder := new(big.Int).QuoRem(new(big.Int).Mul(number(p.charge), balance), sum, new(big.Int))
		parts[i] = part{number(p.paid), due, remainder}
		left.Sub(left, due)
	}
	slices.SortStableFunc(parts, func(x, y part) int { return y.remainder.Cmp(x.remainder) })
	for i, p := range parts {
		if int64(i) < left.Int64() {
			p.due.Add(p.due, big.NewInt(1))
		}
		if p.paid.Cmp(p.due) != 0 {
			return false
		}
	}
	return true
}
