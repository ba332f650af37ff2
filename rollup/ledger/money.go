package ledger

// money is what an account has, in micro-credits. Acks are paid from the reserve; the balance is
// the account's own, and nobody may count on it.
type money struct {
	balance   uint64
	reserve   uint64
	committed uint64 // what tickets took; it is divided when their epochs settle
	thawing   uint64 // on its way from the reserve to the balance
	thawEpoch uint32 // with whose settlement thawing is free; until then acks of it may take it
}

// purses returns what adds up to all that the account has.
func (m *money) purses() [4]uint64 {
	return [...]uint64{m.balance, m.reserve, m.committed, m.thawing}
}

// total adds up the purses modulo 2^64.
func (m *money) total() (sum uint64) {
	for _, amount := range m.purses() {
		sum += amount
	}
	return sum
}

// chargeable returns what acks of an epoch may be paid from: what was taken out of the reserve
// counts for the epoch in which it was, and for those before.
func (m *money) chargeable(epoch uint32) uint64 {
	if epoch <= m.thawEpoch {
		return m.reserve + m.thawing
	}
	return m.reserve
}

// take moves up to an amount to committed for acks of an epoch, from the reserve first, and returns
// how much it was.
func (m *money) take(epoch uint32, amount uint64) uint64 {
	amount = min(amount, m.chargeable(epoch))
	fromReserve := min(amount, m.reserve)
	m.reserve -= fromReserve
	m.thawing -= amount - fromReserve
	m.committed += amount
	return amount
}

// move changes the money of an account, and is the only way in which it changes.
func (s *State) move(index uint32, change func(*money)) {
	a := s.accounts.edit(s.gen, index)
	before := a.total()
	change(&a.money)
	s.held += a.total() - before
	s.touch(indexKey(prefixAccount, index))
}

func (s *State) pay(index uint32, amount uint64) {
	s.move(index, func(m *money) { m.balance += amount })
}

// thaws holds the accounts whose money is free with the settlement of an epoch. One that thawed
// again later stands with both epochs.
type thaws map[uint32]map[uint32]struct{}

func (t thaws) add(epoch, account uint32) {
	if t[epoch] == nil {
		t[epoch] = make(map[uint32]struct{})
	}
	t[epoch][account] = struct{}{}
}

// freeThawed gives back what was thawing until an epoch settled.
func (s *State) freeThawed(epoch uint32) {
	for account := range s.thaws[epoch] { // order-free: accounts do not touch each other
		s.move(account, func(m *money) {
			if m.thawEpoch == epoch {
				m.balance, m.thawing, m.thawEpoch = m.balance+m.thawing, 0, 0
			}
		})
	}
	delete(s.thaws, epoch)
}
