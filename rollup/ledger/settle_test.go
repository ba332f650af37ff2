package ledger

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// reference settles with whole numbers and fractions, straight from the text of section 9.
type reference struct {
	shares   rollup.Shares
	prices   map[uint32]*big.Int
	balances map[uint32]*big.Int
	credits  map[creditKey]*[2]*big.Int // acks, units
}

func number(v uint64) *big.Int { return new(big.Int).SetUint64(v) }

func (ref *reference) credit(k creditKey, acks, units uint64) {
	c := ref.credits[k]
	if c == nil {
		c = &[2]*big.Int{new(big.Int), new(big.Int)}
		ref.credits[k] = c
	}
	for i, v := range [...]uint64{acks, units} {
		if c[i].Add(c[i], number(v)); !c[i].IsUint64() {
			c[i].SetUint64(math.MaxUint64)
		}
	}
}

func (ref *reference) settle(owner func(what string, index uint32) uint32) (
	rows []rollup.SettlementRow) {
	debts := map[uint32]*big.Int{}
	for k, c := range ref.credits {
		charge := new(big.Int).Mul(c[1], ref.prices[k.service])
		if charge.Rsh(charge, 20); !charge.IsUint64() {
			charge.SetUint64(math.MaxUint64)
		}
		rows = append(rows, rollup.SettlementRow{Node: k.node, Service: k.service, Payer: k.payer,
			Acks:  c[0].Uint64(),
			Units: c[1].Uint64(), Charge: charge.Uint64()})
		if debts[k.payer] == nil {
			debts[k.payer] = new(big.Int)
		}
		debts[k.payer].Add(debts[k.payer], charge)
	}
	slices.SortFunc(rows, func(a, b rollup.SettlementRow) int {
		return slices.Compare([]uint32{a.Node, a.Service, a.Payer}, []uint32{b.Node, b.Service, b.Payer})
	})
	for payer, debt := range debts {
		ref.pay(rows, payer, debt)
	}
	rewards := map[uint32]*big.Int{}
	reward := func(account uint32, v *big.Int) {
		if rewards[account] == nil {
			rewards[account] = new(big.Int)
		}
		rewards[account].Add(rewards[account], v)
	}
	for i := range rows {
		r := &rows[i]
		part := func(share uint16) *big.Int {
			v := new(big.Int).Mul(number(r.Paid), number(uint64(share)))
			return v.Quo(v, big.NewInt(10000))
		}
		node, service := part(ref.shares.Node), part(ref.shares.Service)
		r.ToNode, r.ToService = node.Uint64(), service.Uint64()
		rest := number(r.Paid)
		rest.Sub(rest, node).Sub(rest, service)
		reward(owner("node", r.Node), node)
		reward(owner("service", r.Service), service)
		reward(0, rest)
	}
	for account, v := range rewards {
		ref.balances[account].Add(ref.balances[account], v)
	}
	clear(ref.credits)
	return rows
}

// pay takes a payer's debt, or what there is, by repeated choice of the largest remainder.
func (ref *reference) pay(rows []rollup.SettlementRow, payer uint32, debt *big.Int) {
	balance := ref.balances[payer]
	if debt.Sign() == 0 {
		return
	}
	b := balance
	if b.Cmp(debt) > 0 {
		b = debt
	}
	left := new(big.Int).Set(b)
	remainders := map[int]*big.Int{}
	for i := range rows {
		if rows[i].Payer == payer {
			q, m := new(big.Int).QuoRem(new(big.Int).Mul(number(rows[i].Charge), b), debt, new(big.Int))
			rows[i].Paid = q.Uint64()
			left.Sub(left, q)
			remainders[i] = m
		}
	}
	for ; left.Sign() > 0; left.Sub(left, big.NewInt(1)) {
		best := -1
		for i := range rows {
			if m := remainders[i]; m != nil && (best < 0 || m.Cmp(remainders[best]) > 0) {
				best = i
			}
		}
		rows[best].Paid++
		delete(remainders, best)
	}
	ref.balances[payer] = new(big.Int).Sub(balance, b)
}

// TestSettlementReference orders thousands of random windows over many epochs and compares every
// row and balance with the reference. Payers are often insolvent; charges tie, vanish, and exceed
// 64 bits.
func TestSettlementReference(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { settleAtRandom(t, rand.New(rand.NewPCG(seed, 7))) })
	}
}

func settleAtRandom(t *testing.T, rng *rand.Rand) {
	const nodes, services, payers, epochs, windows = 4, 5, 6, 12, 80
	g := testGenesis(1, 1, 1, 1)
	node := rng.IntN(10001)
	service := rng.IntN(10001 - node)
	g.Params.Shares = rollup.Shares{Node: uint16(node), Service: uint16(service),
		Protocol: uint16(10000 - node - service)}
	signGenesis(g)
	s := newState(t, g)
	s.open = true
	ref := reference{shares: g.Params.Shares, prices: map[uint32]*big.Int{},
		balances: map[uint32]*big.Int{},
		credits:  map[creditKey]*[2]*big.Int{}}
	for i := range payers {
		account := s.addAccount(accountOf(fmt.Sprint("payer", i)))
		s.deposit(account, rng.Uint64()>>(4+rng.IntN(60)))
	}
	for i := range services {
		price := []uint64{0, 1, 1 << 20, rng.Uint64N(1 << 30), MaxPrice}[i]
		s.addService(Service{Owner: uint32(1 + rng.IntN(nodes+payers)), Price: price, UnitCap: 1})
		ref.prices[uint32(i)] = number(price)
	}
	for i := range s.accounts.len() {
		ref.balances[uint32(i)] = number(s.accounts.at(uint32(i)).balance)
	}
	owner := func(what string, index uint32) uint32 {
		if what == "node" {
			return s.nodes.at(index).owner
		}
		return s.services.at(index).Owner
	}
	s.End()
	for epoch := range uint32(epochs) {
		s.Begin(int64(2*epoch+1), genesisTime.Add(time.Duration(epoch)*70*time.Second+time.Second))
		for w := range uint32(windows) {
			h := rollup.NewHeader(g.Network(), rollup.WindowKey{Node: uint32(rng.IntN(nodes)), Epoch: epoch,
				Window: w})
			h.Rows = randomRows(rng, services, payers)
			(&Ticket{&rollup.Certificate{Header: *h}}).execute(s, 0, nil)
			for _, r := range h.Rows {
				ref.credit(creditKey{h.Node, r.Service, r.Payer}, r.Acks, r.Units)
			}
		}
		if rng.IntN(2) == 0 { // some become rich again
			account := uint32(1 + nodes + rng.IntN(payers))
			amount := rng.Uint64() >> (6 + rng.IntN(58))
			s.deposit(account, amount)
			ref.balances[account].Add(ref.balances[account], number(amount))
		}
		s.End()
		s.Begin(int64(2*epoch+2), genesisTime.Add(time.Duration(epoch+1)*70*time.Second-10*time.Second))
		s.End()
		s.Begin(int64(2*epoch+2), genesisTime.Add(time.Duration(epoch+1)*70*time.Second))
		s.End()
		got, ok := s.settlement(epoch)
		if !ok {
			t.Fatalf("epoch %d is not settled", epoch)
		}
		want := ref.settle(owner)
		if !slices.Equal(got.Rows, want) {
			t.Fatalf("epoch %d:\n%v, not\n%v", epoch, got.Rows, want)
		}
		if got.Root != rollup.SettlementRoot(want) {
			t.Fatalf("epoch %d: root %s", epoch, got.Root)
		}
		for i := range s.accounts.len() {
			if b := s.accounts.at(uint32(i)).balance; number(b).Cmp(ref.balances[uint32(i)]) != 0 {
				t.Fatalf("epoch %d: account %d has %d, not %s", epoch, i, b, ref.balances[uint32(i)])
			}
		}
		charged, paid := got.Totals()
		if charged < paid {
			t.Errorf("epoch %d: charged %d, paid %d", epoch, charged, paid)
		}
	}
}

// deposit does what a deposit does.
func (s *State) deposit(account uint32, amount uint64) {
	s.supply += amount
	s.pay(account, amount)
}

func randomRows(rng *rand.Rand, services, payers int) (rows []rollup.Row) {
	for payer := range payers {
		for service := range services {
			if rng.IntN(4) > 0 {
				continue
			}
			acks := 1 + rng.Uint64N(65536)
			units := acks + rng.Uint64()>>(8+rng.IntN(56)) // up to 2^56, often equal
			rows = append(rows, rollup.Row{Payer: uint32(5 + payer), Service: uint32(service), Acks: acks,
				Units: units})
		}
	}
	if rng.IntN(50) == 0 && len(rows) > 0 {
		rows[0].Units = math.MaxUint64 // no honest sum of acks; the sum must stop all the same
	}
	return rows
}

// TestConservationIsChecked is the checker's companion: money out of nowhere must stop the block,
// at once or, when the running sum was cheated as well, at the next settlement.
func TestConservationIsChecked(t *testing.T) {
	g := testGenesis(1)
	for name, cheat := range map[string]func(*State){
		"paid":      func(s *State) { s.pay(1, 1) },
		"supply":    func(s *State) { s.supply++ },
		"unnoticed": func(s *State) { s.accounts.edit(s.gen, 1).balance++ },
		"stake":     func(s *State) { s.nodes.edit(s.gen, 0).stake-- },
		"overflowed": func(s *State) {
			s.accounts.edit(s.gen, 0).balance -= 1_000_000
			s.accounts.edit(s.gen, 1).balance += 1_000_000
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newState(t, g)
			block(t, s, 1, 61*time.Second)
			defer func() {
				if recover() == nil {
					t.Error("the block was finished")
				}
			}()
			s.Begin(2, genesisTime.Add(80*time.Second)) // settles epoch 0
			cheat(s)
			s.End()
		})
	}
}
