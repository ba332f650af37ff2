package visit

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// TestPurse: what is taken is what may be spent at most, what comes back is the rest, and costs are
// never below the exact ones.
func TestPurse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		bytes, price := r.Uint64N(1<<24), r.Uint64N(1<<40+1)
		exact := new(big.Int).Mul(new(big.Int).SetUint64(bytes), new(big.Int).SetUint64(price))
		exact.Rsh(exact, 20)
		got := new(big.Int).SetUint64(costOf(bytes, price))
		if d := got.Sub(got, exact); d.Sign() <= 0 || d.Cmp(big.NewInt(2)) > 0 {
			t.Fatalf("%d bytes at %d: %v more than they cost", bytes, price, d)
		}
	}
	p := &purse{bytes: 1000, credits: 5000}
	if !p.pay(1000) || p.pay(4001) || p.take(1001, 1<<20) || !p.take(1000, 1<<20) || p.take(1, 1) {
		t.Errorf("%d bytes and %d credits are left", p.bytes, p.credits)
	}
	if p.back(1000, 1<<20, 400); p.bytes != 600 || p.credits != 3600-1 && p.credits != 3600 {
		t.Errorf("%d bytes and %d credits are left", p.bytes, p.credits)
	}
	if p.back(100, math.MaxUint32, 1<<30); p.bytes != 600 { // who had more gets nothing back
		t.Errorf("%d bytes are left", p.bytes)
	}
}

// TestMoments: visits are spread over the whole time, not always as many, and in order.
func TestMoments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, over := time.Now(), 1000*time.Second
		counts := make(map[int]int)
		for range 1000 {
			list := moments(over)
			counts[len(list)]++
			part := over / time.Duration(len(list))
			for i, at := range list {
				if d := at.Sub(begin) - time.Duration(i)*part; d < 0 || d > part {
					t.Fatalf("visit %d of %d is after %v", i, len(list), at.Sub(begin))
				}
			}
		}
		for n := Least; n <= Greatest; n++ {
			if counts[n] == 0 {
				t.Errorf("never %d visits: %v", n, counts)
			}
		}
		if len(counts) != Greatest-Least+1 {
			t.Errorf("%v", counts)
		}
	})
}
