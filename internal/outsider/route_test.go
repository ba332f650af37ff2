package outsider

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"slices"
	"testing"
)

// TestRoute computes the candidates of section 20 from the document.
func TestRoute(t *testing.T) {
	var values []struct {
		Root  string
		Nodes []struct {
			Index uint32
			Stake string
		}
		K          int
		Candidates []uint32
	}
	file := read(t, "../../rollup/route/testdata/route.json")
	if err := json.Unmarshal(file, &values); err != nil || len(values) < 10 {
		t.Fatal(len(values), err)
	}
	for _, v := range values {
		root, err := hex.DecodeString(v.Root)
		if err != nil {
			t.Fatal(err)
		}
		quotient := make(map[uint32]*big.Rat)
		var order []uint32
		for _, n := range v.Nodes {
			if stake, ok := new(big.Rat).SetString(n.Stake); !ok {
				t.Fatal(n.Stake)
			} else if stake.Sign() > 0 {
				d := new(big.Rat).SetInt(distanceOf(root, n.Index))
				quotient[n.Index] = d.Quo(d, stake)
				order = append(order, n.Index)
			}
		}
		slices.Sort(order)
		slices.SortStableFunc(order, func(a, b uint32) int { return quotient[a].Cmp(quotient[b]) })
		if order = order[:min(v.K, len(order))]; !slices.Equal(order, v.Candidates) {
			t.Errorf("%s: %v, not %v", v.Root, order, v.Candidates)
		}
	}
}

func distanceOf(root []byte, node uint32) *big.Int {
	x := binary.LittleEndian.Uint64(b3k("waybill/route/2", enc(root, node))) | 1
	m := new(big.Int).SetUint64(x)
	i := m.BitLen() - 1
	m.Lsh(m, uint(63-i))
	l := new(big.Int).Lsh(big.NewInt(int64(i)), 32)
	for p := int64(1) << 31; p > 0; p /= 2 {
		s := new(big.Int).Mul(m, m)
		if s.BitLen() > 127 {
			m.Rsh(s, 64)
			l.Add(l, big.NewInt(p))
		} else {
			m.Rsh(s, 63)
		}
	}
	return l.Sub(new(big.Int).Lsh(big.NewInt(1), 38), l)
}
