package rollup

import (
	"bytes"
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

func TestDutyRowLayout(t *testing.T) {
	d := DutyRow{1, 2, 3, 4, DutyAsked | DutyReported, 6}
	want := []byte{1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 3,
		6, 0, 0, 0, 0, 0, 0, 0}
	b := d.Append(nil)
	if !bytes.Equal(b, want) {
		t.Errorf("%x, not %x", b, want)
	}
	if got, err := ParseDutyRow(b); err != nil || got != d || len(b) != DutyRowSize {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range [][]byte{b[:len(b)-1], append(b, 0), nil} {
		if _, err := ParseDutyRow(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

// TestDutyRules compares what counts, and what is absence, with the words of section 9.
func TestDutyRules(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	for range 20_000 {
		possible := rng.Uint64() >> rng.IntN(64)
		d := DutyRow{Blocks: rng.Uint32N(40), Points: possible / (1 + rng.Uint64N(6)), Possible: possible,
			Flags: DutyFlags(rng.IntN(16))}
		d.Points += rng.Uint64N(3)
		times := func(n int64, v uint64) *big.Int {
			return new(big.Int).Mul(big.NewInt(n), new(big.Int).SetUint64(v))
		}
		half := d.Points > 0 && times(2, d.Points).Cmp(times(1, possible)) >= 0
		counts := half && (d.Flags&DutyAsked == 0 || d.Flags&DutyReported != 0) &&
			d.Flags&(DutyWithheld|DutyConvicted) == 0
		absent := d.Blocks >= 20 && times(4, d.Points).Cmp(times(1, possible)) < 0
		if d.Counts() != counts || d.Absent() != absent {
			t.Fatalf("%+v: counts %v, absent %v", d, d.Counts(), d.Absent())
		}
	}
}

// TestReward divides random pools, and compares with big numbers; what is given is never more than
// the pool, and short of it by less than a micro-credit a member.
func TestReward(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 7))
	for range 2000 {
		pool := rng.Uint64() >> rng.IntN(64)
		rows, sum := make([]DutyRow, rng.IntN(20)), new(big.Int)
		for i := range rows {
			points := rng.Uint64() >> (5 + rng.IntN(59))
			rows[i] = DutyRow{Node: uint32(i), Points: points, Possible: points,
				Flags: DutyFlags(rng.IntN(2) * int(DutyWithheld)), Reward: 99}
			if rows[i].Counts() {
				sum.Add(sum, new(big.Int).SetUint64(points))
			}
		}
		given, err := Reward(rows, pool)
		if err != nil {
			t.Fatal(err)
		}
		var total uint64
		for i := range rows {
			want := new(big.Int)
			if rows[i].Counts() {
				want.Mul(new(big.Int).SetUint64(pool), new(big.Int).SetUint64(rows[i].Points)).Quo(want, sum)
			}
			if want.Cmp(new(big.Int).SetUint64(rows[i].Reward)) != 0 {
				t.Fatalf("%d of %d points, a pool of %d: %d, not %d", rows[i].Points, sum, pool,
					rows[i].Reward, want)
			}
			total += rows[i].Reward
		}
		if total != given || given > pool ||
			sum.Sign() > 0 && pool-given >= max(1, uint64(len(rows))) {
			t.Fatalf("%d of %d given, rows have %d", given, pool, total)
		}
	}
	rows := []DutyRow{{Points: math.MaxUint64}, {Node: 1, Points: 1}}
	if _, err := Reward(rows, 1); !errors.Is(err, ErrOverflow) {
		t.Errorf("too many points: %v", err)
	}
}

// TestDutiesOfTable: duties are bound by the root, follow the payers only when there are some, and
// each lie about them is found.
func TestDutiesOfTable(t *testing.T) {
	table := SettlementTable{Rows: testTable.Rows, Payers: testTable.Payers}
	plain := table.Append(nil)
	if table.Duties != nil {
		t.Fatal("the table has duties")
	}
	table.Duties = []DutyRow{{Node: 1, Blocks: 2, Points: 6, Possible: 8},
		{Node: 4, Blocks: 2, Points: 4, Possible: 4, Flags: DutyAsked | DutyReported},
		{Node: 5, Blocks: 1, Points: 0, Possible: 3}}
	const reward = 4000
	pool := table.DutyPool(reward)
	if _, err := Reward(table.Duties, pool); err != nil || pool < 10 ||
		table.Duties[0].Reward != pool*6/10 || table.Duties[2].Reward != 0 {
		t.Fatalf("%d: %+v, %v", pool, table.Duties, err)
	}
	if err := table.Check(testShares, reward); err != nil {
		t.Fatal(err)
	}
	b := table.Append(nil)
	if !bytes.Equal(b[:len(plain)], plain) || len(b) != len(plain)+4+3*DutyRowSize {
		t.Errorf("%d bytes, of %d without duties", len(b), len(plain))
	}
	again, err := ParseSettlementTable(b)
	if err != nil || again.Root() != table.Root() || again.Root() == testTable.Root() {
		t.Errorf("%+v, %v", again, err)
	}
	for name, bad := range map[string][]byte{"no duties": append(plain, 0, 0, 0, 0),
		"cut": b[:len(b)-1], "more": append(b, 0)} {
		if _, err := ParseSettlementTable(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, lie := range map[string]func(d []DutyRow){
		"more for one":       func(d []DutyRow) { d[0].Reward++ },
		"less for one":       func(d []DutyRow) { d[1].Reward-- },
		"for nothing":        func(d []DutyRow) { d[2].Reward = 1 },
		"not sorted":         func(d []DutyRow) { d[0], d[1] = d[1], d[0] },
		"an unknown flag":    func(d []DutyRow) { d[0].Flags = 16 },
		"reported, unasked":  func(d []DutyRow) { d[0].Flags = DutyReported },
		"withheld, silent":   func(d []DutyRow) { d[2].Flags = DutyAsked | DutyWithheld },
		"blocks for nothing": func(d []DutyRow) { d[2].Possible = 0 },
		"points moved":       func(d []DutyRow) { d[0].Points++ },
	} {
		wrong := table
		wrong.Duties = append([]DutyRow(nil), table.Duties...)
		if lie(wrong.Duties); wrong.Check(testShares, reward) == nil {
			t.Errorf("%s is not found", name)
		}
	}
}
