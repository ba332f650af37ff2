package outsider

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"slices"
)

// charged is one row of a settlement: node, service, payer.
type charged struct {
	who                                                        [3]uint32
	windows                                                    uint32
	price, acks, units, charge, allowed, paid, toNode, toOwner uint64
}

// payer is one payer of a settlement, with what its rows add up to.
type payer struct {
	allowance, paid uint64

	rows, sum uint64
	allowed   map[uint32]*big.Int // by node
}

func (g *Genesis) settlement(r *reader) (string, error) {
	w, err := r.witness()
	if err != nil {
		return "", err
	}
	rawRows, err := r.table(80)
	if err != nil {
		return "", err
	}
	rawPayers, err := r.table(68)
	if err != nil {
		return "", err
	}
	rawDuties, err := g.duties(r)
	if err != nil {
		return "", err
	}
	if err := r.end("file"); err != nil {
		return "", err
	}
	payers, err := readPayers(rawPayers)
	if err != nil {
		return "", err
	}
	acks, paid, err := g.rows(rawRows, payers)
	if err != nil {
		return "", err
	}
	for index, p := range payers {
		if p.rows == 0 || p.sum != p.paid {
			return "", fmt.Errorf("settlement: payer %d paid something else", index)
		}
	}
	if err := g.rewards(rawRows, rawDuties); err != nil {
		return "", err
	}
	if w.settled == none {
		return "", errors.New("settlement: the record settled nothing")
	}
	rows, payerRoot := tree("settlement").root(rawRows), tree("payer").root(rawPayers)
	duties := tree("duty").root(rawDuties)
	root := keyed("waybill/settlement/2", slices.Concat(rows[:], payerRoot[:], duties[:]))
	if root != w.settlement {
		return "", errors.New("settlement: another root")
	}
	if err := w.signed(g); err != nil {
		return "", err
	}
	return fmt.Sprintf("settlement %x of epoch %d: %d acks, %d paid, in %d rows", root, w.settled,
		acks, paid,
		len(rawRows)), nil
}

// table reads a count and as many entries.
func (r *reader) table(width int) ([][]byte, error) {
	count := int(r.u32())
	if r.short || count > len(r.b)/width {
		return nil, fmt.Errorf("settlement: %w", errShort)
	}
	rows := make([][]byte, count)
	for i := range rows {
		rows[i] = r.take(width)
	}
	return rows, nil
}

func readPayers(raw [][]byte) (map[uint32]*payer, error) {
	payers := make(map[uint32]*payer)
	var last uint32
	for i, b := range raw {
		r := &reader{b: b}
		index := r.u32()
		if i > 0 && index <= last {
			return nil, errors.New("settlement: payers not sorted")
		}
		last = index
		r.take(32 + 8 + 8) // key, reserve, thawing
		payers[index] = &payer{allowance: r.uint(8), paid: r.uint(8),
			allowed: make(map[uint32]*big.Int)}
	}
	return payers, nil
}

// rows checks the rows, and adds them to their payers.
func (g *Genesis) rows(raw [][]byte, payers map[uint32]*payer) (acks, paid uint64, err error) {
	var last charged
	var overAcks, overPaid uint64
	for i, b := range raw {
		r := &reader{b: b}
		c := charged{[3]uint32{r.u32(), r.u32(), r.u32()}, r.u32(), r.uint(8), r.uint(8), r.uint(8),
			r.uint(8), r.uint(8),
			r.uint(8), r.uint(8), r.uint(8)}
		if i > 0 && slices.Compare(last.who[:], c.who[:]) >= 0 {
			return 0, 0, errors.New("settlement: rows not sorted")
		}
		last = c
		if err := g.row(&c); err != nil {
			return 0, 0, err
		}
		acks, overAcks = bits.Add64(acks, c.acks, 0)
		paid, overPaid = bits.Add64(paid, c.paid, 0)
		if overAcks+overPaid > 0 {
			return 0, 0, errors.New("settlement: a sum overflows")
		}
		p := payers[c.who[2]]
		if p == nil {
			return 0, 0, errors.New("settlement: a row without its payer")
		}
		p.rows, p.sum = p.rows+1, p.sum+c.paid
		sum := p.allowed[c.who[0]]
		if sum == nil {
			sum = new(big.Int)
			p.allowed[c.who[0]] = sum
		}
		if sum.Add(sum,
			new(big.Int).SetUint64(c.allowed)).Cmp(new(big.Int).SetUint64(p.allowance)) > 0 {
			return 0, 0, errors.New("settlement: above the allowance")
		}
	}
	return acks, paid, nil
}

// row checks one row by section 10.
func (g *Genesis) row(c *charged) error {
	switch {
	case c.windows < 1 || c.acks < uint64(c.windows) || c.units < c.acks:
		return errors.New("settlement: windows, acks or units")
	case c.units < math.MaxUint64 && !c.charges():
		return errors.New("settlement: the charge is not that of the units")
	case c.allowed > c.charge:
		return errors.New("settlement: allowed more than the charge")
	case c.paid > c.allowed:
		return errors.New("settlement: paid more than was allowed")
	case c.toNode != share(c.paid, g.shares.Node) || c.toOwner != share(c.paid, g.shares.Service):
		return errors.New("settlement: shares")
	}
	return nil
}

// charges reports whether the charge is that of the units, less one at most for each window but the
// first.
func (c *charged) charges() bool {
	exact := new(big.Int).Mul(new(big.Int).SetUint64(c.units), new(big.Int).SetUint64(c.price))
	exact.Rsh(exact, 20)
	if most := new(big.Int).SetUint64(math.MaxUint64); exact.Cmp(most) > 0 {
		exact = most
	}
	short := exact.Sub(exact, new(big.Int).SetUint64(c.charge))
	return short.Sign() >= 0 && short.Cmp(big.NewInt(int64(c.windows))) < 0
}

// share is ⌊paid · basisPoints / 10000⌋.
func share(paid uint64, basisPoints uint16) uint64 {
	hi, lo := bits.Mul64(paid, uint64(basisPoints))
	q, _ := bits.Div64(hi, lo, 10_000)
	return q
}
