package ledger

import (
	"cmp"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// Settlement is the settlement of an epoch (section 9). It is immutable.
type Settlement struct {
	Epoch uint32      `json:"epoch"`
	Root  rollup.Hash `json:"root"`
	rollup.SettlementTable
	Height uint64 `json:"height"` // of the block that settled: its record has the root
}

func searchSettlement(settlements []*Settlement, epoch uint32) (int, bool) {
	return slices.BinarySearchFunc(settlements, epoch,
		func(s *Settlement, e uint32) int { return cmp.Compare(s.Epoch, e) })
}

// Totals returns the sums of the table's charges, of what was allowed of them, and of payments in
// micro-credits. What was allowed and not paid is arrears. A sum of charges above 2^64 - 1 is given
// as 2^64 - 1, and so is that of what was allowed; that of payments is at most the supply.
func (s *Settlement) Totals() (charged, allowed, paid uint64) {
	for i := range s.Rows {
		charged = addSaturating(charged, s.Rows[i].Charge)
		allowed = addSaturating(allowed, s.Rows[i].Allowed)
		paid += s.Rows[i].Paid
	}
	return charged, allowed, paid
}

// Arrears returns what a payer owed and did not pay, at most 2^64 - 1 micro-credits. What its
// allowance did not cover was not owed.
func (s *Settlement) Arrears(payer uint32) (arrears uint64) {
	for i := range s.Rows {
		if s.Rows[i].Payer == payer {
			arrears = addSaturating(arrears, s.Rows[i].Allowed-s.Rows[i].Paid)
		}
	}
	return arrears
}

// rows makes the settlement table of what was ordered of an epoch, sorted.
func (w *world) rows(epoch uint32) []rollup.SettlementRow {
	b := w.books.of(epoch)
	if b == nil {
		return nil
	}
	rows := make([]rollup.SettlementRow, b.credits.len())
	for i := range rows {
		c, r := b.credits.at(uint32(i)), &rows[i]
		*r = rollup.SettlementRow{Node: c.node, Service: c.service, Payer: c.payer, Windows: c.windows,
			Price: w.services.at(c.service).PriceIn(epoch), Acks: c.acks, Units: c.units,
			Charge: c.Charge.Charge, Allowed: c.Allowed, Paid: c.Paid}
		r.ToNode, r.ToService, _ = w.params.Shares.Split(r.Paid)
	}
	slices.SortFunc(rows, func(a, b rollup.SettlementRow) int { return a.Compare(&b) })
	return rows
}

// payers returns the payers of an epoch's rows, sorted, with what they have left.
func (w *world) payers(epoch uint32, rows []rollup.SettlementRow) []rollup.PayerRow {
	paid := make(map[uint32]uint64)
	for i := range rows {
		paid[rows[i].Payer] += rows[i].Paid
	}
	payers := make([]rollup.PayerRow, 0, len(paid))
	for payer, sum := range paid { // order-free: sorted below
		a := w.accounts.at(payer)
		payers = append(payers, rollup.PayerRow{Payer: payer, Key: rollup.AccountKey(a.key),
			Reserve: a.reserve, Thawing: a.thawing, Allowance: w.allowance(payer, epoch), Paid: sum})
	}
	slices.SortFunc(payers, func(a, b rollup.PayerRow) int { return cmp.Compare(a.Payer, b.Payer) })
	return payers
}

// keepEpochs is how many epochs a certified settlement is kept beyond its own.
const keepEpochs = 8

// settle settles the oldest epoch that is not: it divides what tickets took.
func (s *State) settle() {
	epoch := s.unsettled
	rows := s.rows(epoch)
	for i := range rows {
		r := &rows[i]
		s.touch(creditRecordKey(epoch, creditKey{r.Node, r.Service, r.Payer}))
		s.move(r.Payer, func(m *money) { m.committed -= r.Paid })
		s.pay(s.nodes.at(r.Node).owner, r.ToNode)
		s.pay(s.services.at(r.Service).Owner, r.ToService)
		s.pay(0, r.Paid-r.ToNode-r.ToService)
	}
	s.freeThawed(epoch)
	table := rollup.SettlementTable{Rows: rows, Payers: s.payers(epoch, rows)}
	s.reward(epoch, &table)
	s.books = slices.DeleteFunc(slices.Clone(s.books), func(b book) bool { return b.epoch == epoch })
	settlement := &Settlement{Epoch: epoch, Root: table.Root(), SettlementTable: table,
		Height: uint64(s.height)}
	s.ordering.settled = settlement
	s.settlements = append(s.settlements[:len(s.settlements):len(s.settlements)], settlement)
	s.touch(settlementKey(epoch))
	s.touch(epochKey(epoch))
	s.unsettled, s.starts = epoch+1, s.starts[1:]
	s.forgetWindows(epoch)
	s.forgetTerms()
	s.full = true
	s.events = append(s.events, Settled{settlement})
	s.forgetRecords()
	s.forgetSettlements()
}

// forgetWindows forgets what was ordered of a settled epoch.
func (s *State) forgetWindows(epoch uint32) {
	if len(s.ordered) == 0 || s.ordered[0].epoch != epoch {
		return
	}
	nodes := &s.ordered[0].nodes
	for node := range nodes.size() {
		if len(*nodes.at(node)) > 0 {
			s.touch(windowsKey(epoch, node))
		}
	}
	s.ordered = s.ordered[1:]
}

// forgetSettlements drops settlements whose record was.
func (s *State) forgetSettlements() {
	keep := s.settlements[:0:0]
	for _, t := range s.settlements {
		if _, kept := s.record(t.Height); !kept && t.Height != uint64(s.height) {
			s.touch(settlementKey(t.Epoch))
			continue
		}
		keep = append(keep, t)
	}
	s.settlements = keep
}
