package ledger

import "github.com/waybill-network/waybill/rollup"

// Settlement is the table of a settled epoch (section 9). It is immutable; its certificate may be added to a copy.
type Settlement struct {
	Epoch       uint32                        `json:"epoch"`
	Root        rollup.Hash                   `json:"root"`
	Rows        []rollup.SettlementRow        `json:"rows"` // sorted by (node, service, payer)
	Certificate *rollup.SettlementCertificate `json:"certificate,omitempty"`
}

// Totals returns the sums of the table's charges and payments in micro-credits; the difference is arrears. A sum of
// charges above 2^64 - 1 is given as 2^64 - 1; that of payments is at most the supply.
func (s *Settlement) Totals() (charged, paid uint64) { panic("not yet") }

// Arrears returns what a payer did not pay, at most 2^64 - 1 micro-credits.
func (s *Settlement) Arrears(payer uint32) uint64 { panic("not yet") }
