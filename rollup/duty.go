package rollup

import (
	"fmt"
	"math/bits"
)

// DutyRowSize is the size of an encoded duty row in bytes.
const DutyRowSize = 4 + 4 + 8 + 8 + 1 + 8

// AbsentBlocks is the least number of blocks that a member could have voted on in an epoch for its
// absence to count.
const AbsentBlocks = 20

// DutyFlags say what a member did in an epoch beside its votes.
type DutyFlags uint8

// The flags. Who reported was asked to, and who withheld a reveal reported.
const (
	DutyAsked     DutyFlags = 1 << iota // it was a member when reports were counted
	DutyReported                        // it had reported then
	DutyWithheld                        // it announced a reveal and did not make it
	DutyConvicted                       // it was convicted before the epoch settled
	dutyFlags     = DutyConvicted<<1 - 1
)

// DutyRow is what a member of a committee did in one epoch, and what that earned it (section 9).
type DutyRow struct {
	Node     uint32    `json:"node"`
	Blocks   uint32    `json:"blocks"`          // on which it could have voted
	Points   uint64    `json:"points,string"`   // seats, summed over the votes that blocks carry
	Possible uint64    `json:"possible,string"` // the same, had it voted on all blocks
	Flags    DutyFlags `json:"flags"`
	Reward   uint64    `json:"reward,string"` // micro-credits
}

// Append appends the 33-byte encoding to dst.
func (d *DutyRow) Append(dst []byte) []byte {
	dst = le.AppendUint32(le.AppendUint32(dst, d.Node), d.Blocks)
	dst = append(le.AppendUint64(le.AppendUint64(dst, d.Points), d.Possible), byte(d.Flags))
	return le.AppendUint64(dst, d.Reward)
}

// ParseDutyRow decodes exactly 33 bytes. The error is ErrMalformed.
func ParseDutyRow(b []byte) (DutyRow, error) {
	r := newReader(b)
	d := DutyRow{Node: r.U32(), Blocks: r.U32(), Points: r.U64(), Possible: r.U64(),
		Flags: DutyFlags(r.U8()), Reward: r.U64()}
	if err := r.End(); err != nil {
		return DutyRow{}, fmt.Errorf("duty row: %w", err)
	}
	return d, nil
}

// Counts reports whether a member has a part in the reward: half of its possible points, its
// report, and nothing that it announced and withheld, or was convicted of.
func (d *DutyRow) Counts() bool {
	return d.Points > 0 && d.Points >= d.Possible-d.Possible/2 &&
		d.Flags&(DutyAsked|DutyReported) != DutyAsked && d.Flags&(DutyWithheld|DutyConvicted) == 0
}

// Absent reports whether a member has less than a quarter of its possible points, of enough blocks.
func (d *DutyRow) Absent() bool {
	return d.Blocks >= AbsentBlocks && d.Points < d.Possible/4+min(1, d.Possible%4)
}

// possible reports whether a row can be what a member did.
func (d *DutyRow) possible() bool {
	f := d.Flags
	return f <= dutyFlags && (f&DutyReported == 0 || f&DutyAsked != 0) &&
		(f&DutyWithheld == 0 || f&DutyReported != 0) && uint64(d.Blocks) <= d.Possible &&
		(d.Blocks > 0) == (d.Possible > 0)
}

// Reward divides a pool among the rows that count, by their points: each gets what its part is,
// rounded down. It returns the sum of the rewards, which is at most the pool; what is left stays
// where the pool comes from. The error is ErrOverflow, when the points exceed 64 bits.
func Reward(rows []DutyRow, pool uint64) (given uint64, err error) {
	var points uint64
	for i := range rows {
		if rows[i].Counts() && !add(&points, rows[i].Points) {
			return 0, fmt.Errorf("duties: %w", ErrOverflow)
		}
	}
	for i := range rows {
		d := &rows[i]
		if d.Reward = 0; d.Counts() {
			hi, lo := bits.Mul64(pool, d.Points)
			d.Reward, _ = bits.Div64(hi, lo, points) // hi is less: of the points, d has some
			given += d.Reward
		}
	}
	return given, nil
}

// DutyPool returns what of a settlement's payments is divided among the committee: the protocol's
// part of each row, and of their sum ⌊· reward / 10000⌋.
func (t *SettlementTable) DutyPool(reward uint16) uint64 {
	var protocol uint64
	for i := range t.Rows {
		r := &t.Rows[i]
		protocol += r.Paid - r.ToNode - r.ToService // less than the sum of what was paid
	}
	return part(protocol, reward)
}

// checkDuties recomputes the rewards. All else of the rows is known to hold.
func (t *SettlementTable) checkDuties(reward uint16) error {
	want := append([]DutyRow(nil), t.Duties...)
	if _, err := Reward(want, t.DutyPool(reward)); err != nil {
		return err
	}
	for i := range t.Duties {
		d := &t.Duties[i]
		switch {
		case i > 0 && t.Duties[i-1].Node >= d.Node:
			return at("duty", i, ErrUnsorted)
		case !d.possible():
			return at("duty", i, fmt.Errorf("%w: node %d has flags %d, %d of %d points and %d blocks",
				ErrSettlement, d.Node, d.Flags, d.Points, d.Possible, d.Blocks))
		case d.Reward != want[i].Reward:
			return at("duty", i, fmt.Errorf("%w: node %d earned %d by its duties, not %d",
				ErrSettlement, d.Node, want[i].Reward, d.Reward))
		}
	}
	return nil
}
