package ledger

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// Settlement is the table of a settled epoch (section 9). It is immutable.
type Settlement struct {
	Epoch  uint32                 `json:"epoch"`
	Root   rollup.Hash            `json:"root"`
	Rows   []rollup.SettlementRow `json:"rows"`   // sorted by (node, service, payer)
	Height uint64                 `json:"height"` // of the block that settled: its record has the root
}

func searchSettlement(settlements []*Settlement, epoch uint32) (int, bool) {
	return slices.BinarySearchFunc(settlements, epoch,
		func(s *Settlement, e uint32) int { return cmp.Compare(s.Epoch, e) })
}

// Totals returns the sums of the table's charges and payments in micro-credits; the difference is
// arrears. A sum of charges above 2^64 - 1 is given as 2^64 - 1; that of payments is at most the
// supply.
func (s *Settlement) Totals() (charged, paid uint64) {
	for i := range s.Rows {
		charged = addSaturating(charged, s.Rows[i].Charge)
		paid += s.Rows[i].Paid
	}
	return charged, paid
}

// Arrears returns what a payer was charged and did not pay, at most 2^64 - 1 micro-credits.
func (s *Settlement) Arrears(payer uint32) (arrears uint64) {
	for i := range s.Rows {
		if s.Rows[i].Payer == payer {
			arrears = addSaturating(arrears, s.Rows[i].Charge-s.Rows[i].Paid)
		}
	}
	return arrears
}

// divide makes the settlement table of an epoch's credits, sorted: what each pays out of a balance,
// and who gets it (section 9, steps 1 to 3).
func divide(credits map[creditKey]*credit, shares rollup.Shares, price,
	balance func(uint32) uint64) []rollup.SettlementRow {
	rows := make([]rollup.SettlementRow, 0, len(credits))
	for k, c := range credits { // order-free: sorted below
		rows = append(rows, rollup.SettlementRow{Node: k.node, Service: k.service, Payer: k.payer,
			Acks: c.acks, Units: c.units, Charge: charge(c.units, price(k.service))})
	}
	slices.SortFunc(rows, func(a, b rollup.SettlementRow) int { return a.Compare(&b) })
	byPayer := make(map[uint32][]*rollup.SettlementRow)
	for i := range rows {
		byPayer[rows[i].Payer] = append(byPayer[rows[i].Payer], &rows[i])
	}
	var charges, paid []uint64
	for payer, owed := range byPayer { // order-free: payers do not touch each other
		charges, paid = charges[:0], paid[:0]
		for _, r := range owed {
			charges, paid = append(charges, r.Charge), append(paid, 0)
		}
		rollup.Apportion(paid, charges, balance(payer))
		for i, r := range owed {
			r.Paid = paid[i]
			r.ToNode, r.ToService, _ = shares.Split(r.Paid)
		}
	}
	return rows
}

// charge returns ⌊units · price / 2^20⌋, at most 2^64 - 1.
func charge(units, price uint64) uint64 {
	hi, lo := bits.Mul64(units, price)
	if hi >= 1<<20 {
		return math.MaxUint64
	}
	return hi<<44 | lo>>20
}

// keepEpochs is how many epochs a certified settlement is kept beyond its own.
const keepEpochs = 8

// settle settles the oldest epoch that is not.
func (s *State) settle() {
	epoch := s.unsettled
	credits := s.credits[epoch]
	rows := divide(credits, s.params.Shares,
		func(service uint32) uint64 { return s.services.at(service).Price },
		func(payer uint32) uint64 { return s.accounts.at(payer).balance })
	for k := range credits { // order-free: a set of records
		s.touch(creditRecordKey(epoch, k))
	}
	delete(s.credits, epoch)
	for _, r := range rows {
		s.setBalance(r.Payer, s.accounts.at(r.Payer).balance-r.Paid)
	}
	for _, r := range rows {
		s.pay(s.nodes.at(r.Node).owner, r.ToNode)
		s.pay(s.services.at(r.Service).Owner, r.ToService)
		s.pay(0, r.Paid-r.ToNode-r.ToService)
	}
	settlement := &Settlement{Epoch: epoch, Root: rollup.SettlementRoot(rows), Rows: rows,
		Height: uint64(s.height)}
	s.ordering.settled = settlement
	s.settlements = append(s.settlements[:len(s.settlements):len(s.settlements)], settlement)
	s.touch(settlementKey(epoch))
	s.touch(epochKey(epoch))
	s.unsettled, s.starts = epoch+1, s.starts[1:]
	s.forgetWindows(epoch)
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
