package rollup

import (
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSettlementRowLayout(t *testing.T) {
	row := SettlementRow{1, 2, 3, 4, 5, 6, 7, 8, 9}
	var want []byte
	for _, v := range []uint32{1, 2, 3} {
		want = le.AppendUint32(want, v)
	}
	for v := uint64(4); v < 10; v++ {
		want = le.AppendUint64(want, v)
	}
	b := row.Append(nil)
	wantBytes(t, "row", b, want)
	if got, err := ParseSettlementRow(b); err != nil || got != row || len(b) != SettlementRowSize {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, bad := range [][]byte{nil, b[:59], append(b[:60:60], 0)} {
		_, err := ParseSettlementRow(bad)
		wantError(t, err, ErrMalformed)
	}
	text, err := json.Marshal(row)
	wantText := `{"node":1,"service":2,"payer":3,"acks":"4","units":"5",` +
		`"charge":"6","paid":"7","to_node":"8","to_service":"9"}`
	if err != nil || string(text) != wantText {
		t.Fatalf("got %s, %v\nwant %s", text, err, wantText)
	}
}

func TestSharesSplit(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	amounts := []uint64{0, 1, 9999, 10000, 10001, math.MaxUint64 - 1, math.MaxUint64}
	for range 1000 {
		amounts = append(amounts, rng.Uint64()>>rng.IntN(64))
	}
	of := func(paid uint64, share uint16) uint64 {
		v := new(big.Int).Mul(new(big.Int).SetUint64(paid), big.NewInt(int64(share)))
		return v.Quo(v, big.NewInt(10000)).Uint64()
	}
	for _, s := range []Shares{testShares, {10000, 0, 0}, {0, 10000, 0}, {0, 0, 10000},
		{3333, 3333, 3334}} {
		for _, paid := range amounts {
			node, service, protocol := s.Split(paid)
			if node != of(paid, s.Node) || service != of(paid, s.Service) || node+service+protocol != paid {
				t.Fatalf("%d by %+v: %d, %d, %d", paid, s, node, service, protocol)
			}
		}
	}
	for _, s := range []Shares{{}, {10000, 1, 0}, {65535, 10001, 0}, {3333, 3333, 3333}} {
		if s.Valid() {
			t.Errorf("%+v is valid", s)
		}
	}
}

// pay sets what was paid, and the shares of it.
func pay(r *SettlementRow, paid uint64) {
	r.Paid = paid
	r.ToNode, r.ToService, _ = testShares.Split(paid)
}

func paying(r SettlementRow, paid uint64) SettlementRow {
	pay(&r, paid)
	return r
}

func rich(payer uint32) SettlementRow {
	return paying(SettlementRow{Payer: payer, Acks: 1, Units: 1, Charge: math.MaxUint64},
		math.MaxUint64)
}

// unpayable charges one payer more than 2^64; sums of charges and units are beyond u64, and the
// table is honest.
var unpayable = func() (rows []SettlementRow) {
	charges := []uint64{math.MaxUint64, math.MaxUint64, 1 << 63}
	paid := make([]uint64, len(charges))
	Apportion(paid, charges, 1001)
	for i, c := range charges {
		rows = append(rows, paying(SettlementRow{Node: uint32(i), Acks: 1, Units: math.MaxUint64,
			Charge: c}, paid[i]))
	}
	return rows
}()

// TestApportion compares with the rule in big numbers.
func TestApportion(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20000 {
		charges := make([]uint64, 1+rng.IntN(6))
		var sum big.Int
		for i := range charges {
			charges[i] = rng.Uint64() >> rng.IntN(64)
			if rng.IntN(4) == 0 {
				charges[i] = math.MaxUint64 - rng.Uint64N(2)
			}
			sum.Add(&sum, new(big.Int).SetUint64(charges[i]))
		}
		balance := rng.Uint64() >> rng.IntN(64)
		got := make([]uint64, len(charges))
		Apportion(got, charges, balance)
		if want := apportioned(charges, balance, &sum); !slices.Equal(got, want) {
			t.Fatalf("%d among %v: got %v, want %v", balance, charges, got, want)
		}
	}
}

// apportioned gives one unit after the other to the largest remainder left, the first of equals.
func apportioned(charges []uint64, balance uint64, sum *big.Int) []uint64 {
	b := new(big.Int).SetUint64(balance)
	if b.Cmp(sum) >= 0 {
		return charges
	}
	paid := make([]uint64, len(charges))
	remainders := make([]*big.Int, len(charges))
	left := balance
	for i, c := range charges {
		product := new(big.Int).Mul(new(big.Int).SetUint64(c), b)
		q, r := product.QuoRem(product, sum, new(big.Int))
		paid[i], remainders[i] = q.Uint64(), r
		left -= paid[i]
	}
	for ; left > 0; left-- {
		best := 0
		for i := range remainders {
			if remainders[i].Cmp(remainders[best]) > 0 {
				best = i
			}
		}
		paid[best]++
		remainders[best] = big.NewInt(-1)
	}
	return paid
}
