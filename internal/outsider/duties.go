package outsider

import (
	"errors"
	"fmt"
	"math/big"
)

// did is one duty row: what a member of the committee did in an epoch, and what that earned.
type did struct {
	node, blocks     uint32
	points, possible uint64
	flags            byte
	reward           uint64
}

// What a duty row's flags say.
const (
	wasAsked = 1 << iota
	hasReported
	hasWithheld
	isConvicted
)

// duties reads the rows that a settlement has where committees rotate: a count and rows, or, when
// there are none, nothing.
func (g *Genesis) duties(r *reader) ([][]byte, error) {
	if len(r.b) == 0 {
		return nil, nil
	}
	if g.every == 0 {
		return nil, errors.New("settlement: duties of a committee that does not rotate")
	}
	raw, err := r.table(33)
	if err == nil && len(raw) == 0 {
		err = errors.New("settlement: a count of no duties")
	}
	return raw, err
}

// counts reports whether a member has a part in the reward.
func (d *did) counts() bool {
	twice := new(big.Int).Lsh(new(big.Int).SetUint64(d.points), 1)
	return d.points > 0 && twice.Cmp(new(big.Int).SetUint64(d.possible)) >= 0 &&
		(d.flags&wasAsked == 0 || d.flags&hasReported != 0) &&
		d.flags&(hasWithheld|isConvicted) == 0
}

// can reports whether a member can have done what a row says.
func (d *did) can() bool {
	asked, reported, withheld := d.flags&wasAsked != 0, d.flags&hasReported != 0,
		d.flags&hasWithheld != 0
	return d.flags < 16 && (!reported || asked) && (!withheld || reported) &&
		uint64(d.blocks) <= d.possible && (d.blocks == 0) == (d.possible == 0)
}

// rewards computes what each duty earned, from the payments of the rows.
func (g *Genesis) rewards(rawRows, rawDuties [][]byte) error {
	pool, points := new(big.Int), new(big.Int)
	for _, b := range rawRows {
		r := &reader{b: b[len(b)-24:]}
		for i, sign := range []int64{1, -1, -1} { // paid, to node, to service
			v := new(big.Int).SetUint64(r.uint(8))
			if pool.Add(pool, v.Mul(v, big.NewInt(sign))); i == 2 && pool.Sign() < 0 {
				return errors.New("settlement: shares")
			}
		}
	}
	pool.Quo(pool.Mul(pool, big.NewInt(int64(g.reward))), big.NewInt(10_000))
	list := make([]did, len(rawDuties))
	for i, b := range rawDuties {
		r := &reader{b: b}
		d := did{r.u32(), r.u32(), r.uint(8), r.uint(8), r.take(1)[0], r.uint(8)}
		if i > 0 && d.node <= list[i-1].node {
			return errors.New("settlement: duties not sorted")
		}
		if !d.can() {
			return fmt.Errorf("settlement: nobody can have done what node %d did", d.node)
		}
		if list[i] = d; d.counts() {
			points.Add(points, new(big.Int).SetUint64(d.points))
		}
	}
	if !points.IsUint64() {
		return errors.New("settlement: points overflow")
	}
	for i := range list {
		d, want := &list[i], new(big.Int)
		if d.counts() {
			want.Quo(want.Mul(pool, new(big.Int).SetUint64(d.points)), points)
		}
		if want.Cmp(new(big.Int).SetUint64(d.reward)) != 0 {
			return fmt.Errorf("settlement: node %d earned %s by its duties", d.node, want)
		}
	}
	return nil
}
