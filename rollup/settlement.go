package rollup

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
)

// SettlementRowSize is the size of an encoded settlement row in bytes.
const SettlementRowSize = 3*4 + 6*8

// SettlementRow is what one payer owed and paid to one node for one service in one epoch. Amounts
// are in micro-credits (section 9).
type SettlementRow struct {
	Node      uint32 `json:"node"`
	Service   uint32 `json:"service"`
	Payer     uint32 `json:"payer"`
	Acks      uint64 `json:"acks,string"`
	Units     uint64 `json:"units,string"`
	Charge    uint64 `json:"charge,string"`
	Paid      uint64 `json:"paid,string"`
	ToNode    uint64 `json:"to_node,string"`
	ToService uint64 `json:"to_service,string"`
}

// Compare orders rows by (node, service, payer).
func (r *SettlementRow) Compare(s *SettlementRow) int {
	return cmp.Or(cmp.Compare(r.Node, s.Node), cmp.Compare(r.Service, s.Service),
		cmp.Compare(r.Payer, s.Payer))
}

// Append appends the 60-byte encoding to dst.
func (r *SettlementRow) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, r.Node)
	dst = le.AppendUint32(dst, r.Service)
	dst = le.AppendUint32(dst, r.Payer)
	for _, v := range [...]uint64{r.Acks, r.Units, r.Charge, r.Paid, r.ToNode, r.ToService} {
		dst = le.AppendUint64(dst, v)
	}
	return dst
}

// ParseSettlementRow decodes exactly 60 bytes. The error is ErrMalformed.
func ParseSettlementRow(b []byte) (SettlementRow, error) {
	r := newReader(b)
	row := r.settlementRow()
	if err := r.End(); err != nil {
		return SettlementRow{}, fmt.Errorf("settlement row: %w", err)
	}
	return row, nil
}

func (r *reader) settlementRow() SettlementRow {
	return SettlementRow{Node: r.U32(), Service: r.U32(), Payer: r.U32(), Acks: r.U64(),
		Units:  r.U64(),
		Charge: r.U64(), Paid: r.U64(), ToNode: r.U64(), ToService: r.U64()}
}

// SettlementRoot returns the root of the settlement table; that of no rows is zero.
func SettlementRoot(rows []SettlementRow) Hash {
	return RootOf(SettlementTreeKind, appendSettlementRows(nil, rows), SettlementRowSize)
}

func appendSettlementRows(dst []byte, rows []SettlementRow) []byte {
	for i := range rows {
		dst = rows[i].Append(dst)
	}
	return dst
}

// Shares says, in basis points, how what was paid is divided; the sum is 10,000.
type Shares struct {
	Node     uint16 `json:"node"`
	Service  uint16 `json:"service"`
	Protocol uint16 `json:"protocol"`
}

// Valid reports whether the shares add up to 10,000.
func (s Shares) Valid() bool { return uint32(s.Node)+uint32(s.Service)+uint32(s.Protocol) == 10000 }

// Split divides a payment (section 9, step 3). The three parts add up to paid. It panics on invalid
// shares.
func (s Shares) Split(paid uint64) (node, service, protocol uint64) {
	if !s.Valid() {
		panic("rollup: shares do not add up")
	}
	node = part(paid, s.Node)
	service = part(paid, s.Service)
	return node, service, paid - node - service
}

// part returns ⌊paid · share / 10000⌋ for a share of at most 10,000.
func part(paid uint64, share uint16) uint64 {
	hi, lo := bits.Mul64(paid, uint64(share))
	q, _ := bits.Div64(hi, lo, 10000)
	return q
}

// CheckSettlement holds the rules of section 10, type 3, that need no signature.
func CheckSettlement(rows []SettlementRow, shares Shares) error {
	var acks, paid uint64
	for i := range rows {
		r := &rows[i]
		if i > 0 && rows[i-1].Compare(r) >= 0 {
			return at("settlement row", i, ErrUnsorted)
		}
		node, service, _ := shares.Split(r.Paid)
		switch {
		case r.Acks == 0 || r.Units < r.Acks:
			return at("settlement row", i, fmt.Errorf("%w: %d acks, %d units", ErrSettlement, r.Acks,
				r.Units))
		case r.Paid > r.Charge:
			return at("settlement row", i, fmt.Errorf("%w: paid %d of %d", ErrSettlement, r.Paid, r.Charge))
		case r.ToNode != node || r.ToService != service:
			return at("settlement row", i, fmt.Errorf("%w: the shares of %d are %d and %d, not %d and %d",
				ErrSettlement, r.Paid, node, service, r.ToNode, r.ToService))
		}
		if !add(&acks, r.Acks) || !add(&paid, r.Paid) {
			return at("settlement row", i, ErrOverflow)
		}
	}
	return checkApportioned(rows)
}

// checkApportioned requires that what a payer paid in all is divided among its charges by the
// rules.
func checkApportioned(rows []SettlementRow) error {
	byPayer := make([]int, len(rows))
	for i := range byPayer {
		byPayer[i] = i
	}
	slices.SortStableFunc(byPayer, func(i, j int) int {
		return cmp.Compare(rows[i].Payer,
			rows[j].Payer)
	})
	var charges, paid []uint64
	for len(byPayer) > 0 {
		payer, total := rows[byPayer[0]].Payer, uint64(0)
		charges = charges[:0]
		for _, i := range byPayer {
			if rows[i].Payer != payer {
				break
			}
			charges = append(charges, rows[i].Charge)
			total += rows[i].Paid
		}
		paid = slices.Grow(paid[:0], len(charges))[:len(charges)]
		Apportion(paid, charges, total)
		for k, i := range byPayer[:len(charges)] {
			if rows[i].Paid != paid[k] {
				return at("settlement row", i, fmt.Errorf("%w: payer %d's %d give %d for this row, not %d",
					ErrSettlement, payer, total, paid[k], rows[i].Paid))
			}
		}
		byPayer = byPayer[len(charges):]
	}
	return nil
}

// add adds v to *sum and reports whether it fits.
func add(sum *uint64, v uint64) bool {
	s, carry := bits.Add64(*sum, v, 0)
	*sum = s
	return carry == 0
}
