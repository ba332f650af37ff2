package rollup

import (
	"cmp"
	"fmt"
	"math/bits"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// Sizes of the encoded rows of a settlement in bytes.
const (
	SettlementRowSize = 4*4 + 8*8
	PayerRowSize      = 4 + 32 + 4*8
)

// SettlementRow is what one payer owed and paid to one node for one service in one epoch. Amounts
// are in micro-credits (section 9).
type SettlementRow struct {
	Node      uint32 `json:"node"`
	Service   uint32 `json:"service"`
	Payer     uint32 `json:"payer"`
	Windows   uint32 `json:"windows"`      // that had the row: each charge of theirs was rounded down
	Price     uint64 `json:"price,string"` // of the epoch, per 2^20 units
	Acks      uint64 `json:"acks,string"`
	Units     uint64 `json:"units,string"`
	Charge    uint64 `json:"charge,string"`  // what the units cost
	Allowed   uint64 `json:"allowed,string"` // of it, what the payer's allowance left the node
	Paid      uint64 `json:"paid,string"`    // of that, what the payer had
	ToNode    uint64 `json:"to_node,string"`
	ToService uint64 `json:"to_service,string"`
}

// Compare orders rows by (node, service, payer).
func (r *SettlementRow) Compare(s *SettlementRow) int {
	return cmp.Or(cmp.Compare(r.Node, s.Node), cmp.Compare(r.Service, s.Service),
		cmp.Compare(r.Payer, s.Payer))
}

// Append appends the 80-byte encoding to dst.
func (r *SettlementRow) Append(dst []byte) []byte {
	for _, v := range [...]uint32{r.Node, r.Service, r.Payer, r.Windows} {
		dst = le.AppendUint32(dst, v)
	}
	for _, v := range [...]uint64{r.Price, r.Acks, r.Units, r.Charge, r.Allowed, r.Paid, r.ToNode,
		r.ToService} {
		dst = le.AppendUint64(dst, v)
	}
	return dst
}

// ParseSettlementRow decodes exactly 80 bytes. The error is ErrMalformed.
func ParseSettlementRow(b []byte) (SettlementRow, error) {
	r := newReader(b)
	row := SettlementRow{Node: r.U32(), Service: r.U32(), Payer: r.U32(), Windows: r.U32(),
		Price: r.U64(), Acks: r.U64(), Units: r.U64(), Charge: r.U64(), Allowed: r.U64(),
		Paid: r.U64(), ToNode: r.U64(), ToService: r.U64()}
	if err := r.End(); err != nil {
		return SettlementRow{}, fmt.Errorf("settlement row: %w", err)
	}
	return row, nil
}

// PayerRow is what a payer paid in an epoch, and what bounded it.
type PayerRow struct {
	Payer     uint32     `json:"payer"`
	Key       AccountKey `json:"key"`              // of its account
	Reserve   uint64     `json:"reserve,string"`   // behind the settlement
	Thawing   uint64     `json:"thawing,string"`   // likewise
	Allowance uint64     `json:"allowance,string"` // the epoch's highest, for one node
	Paid      uint64     `json:"paid,string"`      // to all nodes
}

// AccountKey is the Ed25519 key of an account.
type AccountKey [32]byte

// MarshalText implements [encoding.TextMarshaler].
func (k AccountKey) MarshalText() ([]byte, error) { return hexBytes(k[:]).MarshalText() }

// Append appends the 68-byte encoding to dst.
func (p *PayerRow) Append(dst []byte) []byte {
	dst = append(le.AppendUint32(dst, p.Payer), p.Key[:]...)
	for _, v := range [...]uint64{p.Reserve, p.Thawing, p.Allowance, p.Paid} {
		dst = le.AppendUint64(dst, v)
	}
	return dst
}

// ParsePayerRow decodes exactly 68 bytes. The error is ErrMalformed.
func ParsePayerRow(b []byte) (PayerRow, error) {
	r := newReader(b)
	p := PayerRow{Payer: r.U32()}
	r.Fill(p.Key[:])
	p.Reserve, p.Thawing, p.Allowance, p.Paid = r.U64(), r.U64(), r.U64(), r.U64()
	if err := r.End(); err != nil {
		return PayerRow{}, fmt.Errorf("payer row: %w", err)
	}
	return p, nil
}

// SettlementTable is the settlement of an epoch as its root binds it.
type SettlementTable struct {
	Rows   []SettlementRow `json:"rows"`   // sorted by (node, service, payer)
	Payers []PayerRow      `json:"payers"` // those of the rows, sorted
	// Duties are what members of the committee did, sorted; none where it does not rotate
	Duties []DutyRow `json:"duties,omitempty"`
}

// Append appends the encoding that files have: a count and the rows, a count and the payers, and,
// unless there are none, a count and the duties.
func (t *SettlementTable) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, uint32(len(t.Rows)))
	for i := range t.Rows {
		dst = t.Rows[i].Append(dst)
	}
	dst = le.AppendUint32(dst, uint32(len(t.Payers)))
	for i := range t.Payers {
		dst = t.Payers[i].Append(dst)
	}
	if len(t.Duties) == 0 {
		return dst
	}
	dst = le.AppendUint32(dst, uint32(len(t.Duties)))
	for i := range t.Duties {
		dst = t.Duties[i].Append(dst)
	}
	return dst
}

// ParseSettlementTable decodes what Append wrote. What it says is for Check. Errors: ErrMalformed,
// ErrUnsorted, in a *DecodeError.
func ParseSettlementTable(b []byte) (*SettlementTable, error) {
	r, t := newReader(b), new(SettlementTable)
	err := t.decode(r)
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return nil, &DecodeError{Offset: len(b) - r.Mark, Err: fmt.Errorf("settlement: %w", err)}
	}
	return t, nil
}

func (t *SettlementTable) decode(r *reader) error {
	for i := range r.Count(uint64(r.U32()), SettlementRowSize) {
		row, err := ParseSettlementRow(r.Next(SettlementRowSize))
		if err == nil && i > 0 && t.Rows[i-1].Compare(&row) >= 0 {
			err = at("settlement row", i, ErrUnsorted)
		}
		if err != nil {
			return err
		}
		t.Rows = append(t.Rows, row)
	}
	for i := range r.Count(uint64(r.U32()), PayerRowSize) {
		payer, err := ParsePayerRow(r.Next(PayerRowSize))
		if err == nil && i > 0 && t.Payers[i-1].Payer >= payer.Payer {
			err = at("payer", i, ErrUnsorted)
		}
		if err != nil {
			return err
		}
		t.Payers = append(t.Payers, payer)
	}
	if len(r.B) == 0 || r.Err != nil {
		return nil
	}
	return t.decodeDuties(r)
}

// decodeDuties decodes what stands there only when there is some.
func (t *SettlementTable) decodeDuties(r *reader) error {
	count := r.Count(uint64(r.U32()), DutyRowSize)
	if r.Err == nil && count == 0 {
		return fmt.Errorf("%w: no duties, and their count", ErrMalformed)
	}
	for i := range count {
		d, err := ParseDutyRow(r.Next(DutyRowSize))
		if err == nil && i > 0 && t.Duties[i-1].Node >= d.Node {
			err = at("duty", i, ErrUnsorted)
		}
		if err != nil {
			return err
		}
		t.Duties = append(t.Duties, d)
	}
	return nil
}

var settlementKey = blake3.ContextKey("waybill/settlement/2")

// Root returns the root of the settlement: over the roots of its rows, of its payers, and of the
// committee's duties.
func (t *SettlementTable) Root() Hash {
	var rows, payers, duties []byte
	for i := range t.Rows {
		rows = t.Rows[i].Append(rows)
	}
	for i := range t.Payers {
		payers = t.Payers[i].Append(payers)
	}
	for i := range t.Duties {
		duties = t.Duties[i].Append(duties)
	}
	var b []byte
	for _, root := range [...]Hash{RootOf(SettlementTreeKind, rows, SettlementRowSize),
		RootOf(PayerTreeKind, payers, PayerRowSize), RootOf(DutyTreeKind, duties, DutyRowSize)} {
		b = append(b, root[:]...)
	}
	return blake3.Keyed(&settlementKey, b)
}

// Shares says, in basis points, how what was paid is divided; the sum is 10,000.
type Shares struct {
	Node     uint16 `json:"node"`
	Service  uint16 `json:"service"`
	Protocol uint16 `json:"protocol"`
}

// Valid reports whether the shares add up to 10,000.
func (s Shares) Valid() bool { return uint32(s.Node)+uint32(s.Service)+uint32(s.Protocol) == 10000 }

// Split divides a payment (section 9). The three parts add up to paid. It panics on invalid shares.
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

// add adds v to *sum and reports whether it fits.
func add(sum *uint64, v uint64) bool {
	s, carry := bits.Add64(*sum, v, 0)
	*sum = s
	return carry == 0
}
