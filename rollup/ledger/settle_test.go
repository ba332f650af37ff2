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

// reference is the money of a network in whole numbers and fractions, straight from the text of
// sections 8 and 9.
type reference struct {
	shares    rollup.Shares
	accounts  []*refAccount
	prices    []map[uint32]uint64    // of each service, by epoch
	allowed   map[[3]uint32]*big.Int // by epoch, node, payer
	rows      map[uint32]map[creditKey]*refRow
	allowance uint64
}

type refAccount struct {
	balance, reserve, committed, thawing *big.Int
	thawEpoch                            uint32
	allowances                           map[uint32]uint64 // by epoch; missing: the default
}

type refRow struct {
	windows                            uint32
	acks, units, charge, allowed, paid *big.Int
}

func number(v uint64) *big.Int { return new(big.Int).SetUint64(v) }

func atMost(a, b *big.Int) *big.Int {
	if a.Cmp(b) <= 0 {
		return new(big.Int).Set(a)
	}
	return new(big.Int).Set(b)
}

var limit = number(math.MaxUint64)

// order takes what one window's rows cost.
func (ref *reference) order(h *rollup.Header) {
	for _, row := range h.Rows {
		charge := new(big.Int).Mul(number(row.Units), number(ref.prices[row.Service][h.Epoch]))
		charge = atMost(charge.Rsh(charge, 20), limit)
		a, bound := ref.accounts[row.Payer], [3]uint32{h.Epoch, h.Node, row.Payer}
		if ref.allowed[bound] == nil {
			ref.allowed[bound] = new(big.Int)
		}
		allowance, set := a.allowances[h.Epoch]
		if !set {
			allowance = ref.allowance
		}
		allowed := atMost(charge, new(big.Int).Sub(number(allowance), ref.allowed[bound]))
		ref.allowed[bound].Add(ref.allowed[bound], allowed)
		paid := atMost(allowed, a.reserve)
		a.reserve.Sub(a.reserve, paid)
		if a.thawEpoch >= h.Epoch {
			more := atMost(new(big.Int).Sub(allowed, paid), a.thawing)
			a.thawing.Sub(a.thawing, more)
			paid.Add(paid, more)
		}
		a.committed.Add(a.committed, paid)
		ref.add(h, &row, charge, allowed, paid)
	}
}

func (ref *reference) add(h *rollup.Header, row *rollup.Row, charge, allowed, paid *big.Int) {
	if ref.rows[h.Epoch] == nil {
		ref.rows[h.Epoch] = map[creditKey]*refRow{}
	}
	k := creditKey{h.Node, row.Service, row.Payer}
	sum := ref.rows[h.Epoch][k]
	if sum == nil {
		sum = &refRow{acks: new(big.Int), units: new(big.Int), charge: new(big.Int),
			allowed: new(big.Int), paid: new(big.Int)}
		ref.rows[h.Epoch][k] = sum
	}
	sum.windows++
	for dst, v := range map[*big.Int]*big.Int{sum.acks: number(row.Acks), sum.units: number(row.Units),
		sum.charge: charge, sum.allowed: allowed, sum.paid: paid} {
		dst.Set(atMost(dst.Add(dst, v), limit))
	}
}

// settle divides what was paid in an epoch, and returns the table.
func (ref *reference) settle(epoch uint32, owner func(what string, index uint32) uint32) (
	rows []rollup.SettlementRow) {
	for k, r := range ref.rows[epoch] {
		part := func(share uint16) *big.Int {
			v := new(big.Int).Mul(r.paid, big.NewInt(int64(share)))
			return v.Quo(v, big.NewInt(10000))
		}
		node, service := part(ref.shares.Node), part(ref.shares.Service)
		rows = append(rows, rollup.SettlementRow{Node: k.node, Service: k.service, Payer: k.payer,
			Windows: r.windows, Price: ref.prices[k.service][epoch], Acks: r.acks.Uint64(),
			Units: r.units.Uint64(), Charge: r.charge.Uint64(), Allowed: r.allowed.Uint64(),
			Paid: r.paid.Uint64(), ToNode: node.Uint64(), ToService: service.Uint64()})
		rest := new(big.Int).Sub(r.paid, node)
		rest.Sub(rest, service)
		ref.accounts[0].balance.Add(ref.accounts[0].balance, rest)
		for what, v := range map[string]*big.Int{"node": node, "service": service} {
			index := k.node
			if what == "service" {
				index = k.service
			}
			a := ref.accounts[owner(what, index)]
			a.balance.Add(a.balance, v)
		}
		a := ref.accounts[k.payer]
		a.committed.Sub(a.committed, r.paid)
	}
	for _, a := range ref.accounts {
		if a.thawEpoch == epoch {
			a.balance.Add(a.balance, a.thawing)
			a.thawing.SetUint64(0)
		}
	}
	slices.SortFunc(rows, func(a, b rollup.SettlementRow) int { return a.Compare(&b) })
	return rows
}

// TestMoneyReference does thousands of random things with money over many epochs, and compares
// every row and account with the reference. Payers are often short; charges vanish, and exceed 64
// bits.
func TestMoneyReference(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newMoneyModel(t, rand.New(rand.NewPCG(seed, 7)))
			for range 400 {
				m.block()
			}
			if m.settled < 10 || m.short == 0 || m.above == 0 {
				t.Errorf("%d epochs settled, %d rows short, %d above an allowance", m.settled, m.short,
					m.above)
			}
		})
	}
}

// moneyModel is a network and its reference.
type moneyModel struct {
	t       *testing.T
	rng     *rand.Rand
	g       *Genesis
	s       *State
	ref     reference
	height  int64
	clock   time.Duration
	windows uint32

	settled, short, above int
}

const modelNodes, modelServices, modelPayers = 4, 5, 6

func newMoneyModel(t *testing.T, rng *rand.Rand) *moneyModel {
	g := testGenesis(1, 1, 1, 1)
	node := rng.IntN(10001)
	service := rng.IntN(10001 - node)
	g.Params.Shares = rollup.Shares{Node: uint16(node), Service: uint16(service),
		Protocol: uint16(10000 - node - service)}
	g.Params.GraceSeconds, g.Params.Allowance = 150, rng.Uint64()>>rng.IntN(64)
	signGenesis(g)
	m := &moneyModel{t: t, rng: rng, g: g, s: newState(t, g), ref: reference{shares: g.Params.Shares,
		allowed: map[[3]uint32]*big.Int{}, rows: map[uint32]map[creditKey]*refRow{},
		allowance: g.Params.Allowance}}
	m.s.open = true
	for i := range modelPayers {
		m.s.addAccount(accountOf(fmt.Sprint("payer", i)))
	}
	for i := range modelServices {
		price := []uint64{0, 1, 1 << 20, rng.Uint64N(1 << 30), MaxPrice}[i]
		m.s.addService(Service{Owner: uint32(1 + rng.IntN(modelNodes+modelPayers)), Price: price,
			NextPrice: price, UnitCap: 1})
		m.ref.prices = append(m.ref.prices, map[uint32]uint64{0: price})
	}
	for range m.s.accounts.len() {
		m.ref.accounts = append(m.ref.accounts, &refAccount{balance: new(big.Int), reserve: new(big.Int),
			committed: new(big.Int), thawing: new(big.Int), allowances: map[uint32]uint64{}})
	}
	m.s.End()
	return m
}

// payer returns the index of a payer's account at random.
func (m *moneyModel) payer() uint32 { return uint32(1 + modelNodes + m.rng.IntN(modelPayers)) }

// do judges what a payload asks for, and executes it when it can be.
func (m *moneyModel) do(sender uint32, p Payload) bool {
	if p.judge(&m.s.world, nil, m.s.accounts.at(sender)) != nil {
		return false
	}
	p.execute(m.s, sender, new(Result))
	return true
}

// block runs a block of a few random things and compares.
func (m *moneyModel) block() {
	before := m.s.unsettled
	m.height++
	m.clock += time.Duration(m.rng.IntN(40)) * time.Second
	epoch := m.s.epoch()
	m.s.Begin(m.height, genesisTime.Add(m.clock))
	if e := m.s.epoch(); e > epoch {
		m.begin(e)
	}
	if m.s.unsettled > before {
		m.compareSettlement(before)
	}
	for range m.rng.IntN(6) {
		m.change()
	}
	for range m.rng.IntN(4) {
		m.order()
	}
	m.s.End() // panics when the sum is not the supply
	if sum, ok := m.s.sum(); !ok || sum != m.s.supply {
		m.t.Fatalf("block %d: the sum is %d, the supply %d", m.height, sum, m.s.supply)
	}
	m.compareAccounts()
}

// begin takes over what is in force for an epoch that begins.
func (m *moneyModel) begin(epoch uint32) {
	for _, a := range m.ref.accounts {
		if _, set := a.allowances[epoch]; !set {
			if v, set := a.allowances[epoch-1]; set {
				a.allowances[epoch] = v
			}
		}
	}
	for _, prices := range m.ref.prices {
		if _, set := prices[epoch]; !set {
			prices[epoch] = prices[epoch-1]
		}
	}
}

// change lets a payer do something with its money, or a service fall in price.
func (m *moneyModel) change() {
	payer, epoch := m.payer(), m.s.epoch()
	a := m.ref.accounts[payer]
	amount := m.rng.Uint64() >> (8 + m.rng.IntN(56))
	switch m.rng.IntN(5) {
	case 0:
		m.s.supply += amount
		m.s.pay(payer, amount)
		a.balance.Add(a.balance, number(amount))
	case 1:
		if m.do(payer, &Reserve{Moved{amount}}) {
			a.balance.Sub(a.balance, number(amount))
			a.reserve.Add(a.reserve, number(amount))
		}
	case 2:
		if m.do(payer, &Thaw{Moved{amount}}) {
			a.reserve.Sub(a.reserve, number(amount))
			a.thawing.Add(a.thawing, number(amount))
			a.thawEpoch = epoch
		}
	case 3:
		now, set := a.allowances[epoch]
		if !set {
			now = m.ref.allowance
		}
		m.do(payer, &Allowance{amount})
		if a.allowances[epoch] = now; amount >= now {
			a.allowances[epoch] = amount
		}
		a.allowances[epoch+1] = amount
	case 4:
		service := uint32(m.rng.IntN(modelServices))
		owner := m.s.services.at(service).Owner
		if m.do(owner, &PriceCut{Service: service, Price: m.rng.Uint64N(1 << 30)}) {
			m.ref.prices[service][epoch+1] = m.s.services.at(service).NextPrice
		}
	}
}

// order executes a window of an epoch that is not settled.
func (m *moneyModel) order() {
	epoch := m.s.unsettled + uint32(m.rng.IntN(len(m.s.starts)))
	m.windows++
	h := rollup.NewHeader(m.g.Network(), rollup.WindowKey{Node: uint32(m.rng.IntN(modelNodes)),
		Epoch: epoch, Window: m.windows})
	h.Rows = randomRows(m.rng, modelServices, modelPayers)
	(&Ticket{&rollup.Certificate{Header: *h}}).execute(m.s, 0, nil)
	m.ref.order(h)
}

func (m *moneyModel) compareSettlement(epoch uint32) {
	m.t.Helper()
	got, ok := m.s.settlement(epoch)
	if !ok {
		m.t.Fatalf("epoch %d is not settled", epoch)
	}
	owner := func(what string, index uint32) uint32 {
		if what == "node" {
			return m.s.nodes.at(index).owner
		}
		return m.s.services.at(index).Owner
	}
	want := m.ref.settle(epoch, owner)
	if !slices.Equal(got.Rows, want) {
		m.t.Fatalf("epoch %d:\n%v, not\n%v", epoch, got.Rows, want)
	}
	if err := got.Check(m.g.Params.Shares, 0); err != nil {
		m.t.Fatalf("epoch %d: what readers recompute: %v", epoch, err)
	}
	charged, allowed, paid := got.Totals()
	if charged > allowed {
		m.above++
	}
	if allowed > paid {
		m.short++
	}
	m.settled++
}

func (m *moneyModel) compareAccounts() {
	m.t.Helper()
	for i, want := range m.ref.accounts {
		a := m.s.accounts.at(uint32(i))
		for k, v := range []*big.Int{want.balance, want.reserve, want.committed, want.thawing} {
			if number(a.purses()[k]).Cmp(v) != 0 {
				m.t.Fatalf("block %d: purse %d of account %d has %d, not %s", m.height, k, i,
					a.purses()[k], v)
			}
		}
	}
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
		"reserve":   func(s *State) { s.accounts.edit(s.gen, 1).reserve++ },
		"committed": func(s *State) { s.accounts.edit(s.gen, 1).committed++ },
		"thawing":   func(s *State) { s.accounts.edit(s.gen, 1).thawing++ },
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
