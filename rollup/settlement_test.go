package rollup

import (
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
)

func TestSettlementRowLayout(t *testing.T) {
	row := SettlementRow{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	var want []byte
	for v := uint32(1); v < 5; v++ {
		want = le.AppendUint32(want, v)
	}
	for v := uint64(5); v < 13; v++ {
		want = le.AppendUint64(want, v)
	}
	b := row.Append(nil)
	wantBytes(t, "row", b, want)
	if got, err := ParseSettlementRow(b); err != nil || got != row || len(b) != SettlementRowSize {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, bad := range [][]byte{nil, b[:79], append(b[:80:80], 0)} {
		_, err := ParseSettlementRow(bad)
		wantError(t, err, ErrMalformed)
	}
	text, err := json.Marshal(row)
	wantText := `{"node":1,"service":2,"payer":3,"windows":4,"price":"5","acks":"6","units":"7",` +
		`"charge":"8","allowed":"9","paid":"10","to_node":"11","to_service":"12"}`
	if err != nil || string(text) != wantText {
		t.Fatalf("got %s, %v\nwant %s", text, err, wantText)
	}
}

func TestPayerRowLayout(t *testing.T) {
	payer := PayerRow{1, AccountKey{0: 2, 31: 3}, 4, 5, 6, 7}
	want := append(le.AppendUint32(nil, 1), payer.Key[:]...)
	for v := uint64(4); v < 8; v++ {
		want = le.AppendUint64(want, v)
	}
	b := payer.Append(nil)
	wantBytes(t, "payer", b, want)
	if got, err := ParsePayerRow(b); err != nil || got != payer || len(b) != PayerRowSize {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, bad := range [][]byte{nil, b[:67], append(b[:68:68], 0)} {
		_, err := ParsePayerRow(bad)
		wantError(t, err, ErrMalformed)
	}
	text, err := json.Marshal(payer)
	wantText := `{"payer":1,"key":"02` + strings.Repeat("00", 30) + `03",` +
		`"reserve":"4","thawing":"5","allowance":"6","paid":"7"}`
	if err != nil || string(text) != wantText {
		t.Fatalf("got %s, %v\nwant %s", text, err, wantText)
	}
}

// TestSettlementRoot builds the root from the roots of its trees, by the text of section 9.
func TestSettlementRoot(t *testing.T) {
	var rows, payers [][]byte
	for i := range testTable.Rows {
		rows = append(rows, testTable.Rows[i].Append(nil))
	}
	for i := range testTable.Payers {
		payers = append(payers, testTable.Payers[i].Append(nil))
	}
	r, p := mth("settlement", rows), mth("payer", payers)
	key := blake3.ContextKey("waybill/settlement/2")
	want := Hash(blake3.Keyed(&key, slices.Concat(r[:], p[:], make([]byte, 32))))
	if got := testTable.Root(); got != want {
		t.Errorf("%s, not %s", got, want)
	}
	if got := new(SettlementTable).Root(); got != blake3.Keyed(&key, make([]byte, 96)) {
		t.Errorf("of no rows: %s", got)
	}
}

// TestCharge compares with the rule in big numbers.
func TestCharge(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20000 {
		units, price := rng.Uint64()>>rng.IntN(64), rng.Uint64()>>rng.IntN(64)
		want := new(big.Int).Mul(new(big.Int).SetUint64(units), new(big.Int).SetUint64(price))
		if want.Rsh(want, 20); !want.IsUint64() {
			want.SetUint64(math.MaxUint64)
		}
		if got := Charge(units, price); got != want.Uint64() {
			t.Fatalf("%d units at %d: %d, not %s", units, price, got, want)
		}
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
