package rollup

import (
	"cmp"
	"fmt"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
)

const (
	headerTag = "wb-rol/2"
	rowSize   = 24

	// HeaderSize is the size in bytes of a header without the rows beside it.
	HeaderSize = 8 + 32 + 3*4 + (4 + 32 + SignatureSize) + (4 + 32 + 32 + SignatureSize) + 2 + 32

	// MaxHeaderSize is the size in bytes of a header with the most rows beside it.
	MaxHeaderSize = HeaderSize + MaxRows*rowSize
)

var rollupKey = blake3.ContextKey("waybill/rollup/2")

// Row is what one payer owes for one service in one window.
type Row struct {
	Payer   uint32 `json:"payer"` // account
	Service uint32 `json:"service"`
	Acks    uint64 `json:"acks,string"`
	Units   uint64 `json:"units,string"`
}

// key is what rows are sorted by.
func (r Row) key() uint64 { return uint64(r.Payer)<<32 | uint64(r.Service) }

func compareRows(a, b Row) int { return cmp.Compare(a.key(), b.key()) }

// WindowKey names a window: there is at most one rollup for each.
type WindowKey struct {
	Node   uint32 `json:"node"`
	Epoch  uint32 `json:"epoch"`
	Window uint32 `json:"window"`
}

// String returns the key as people read it.
func (k WindowKey) String() string {
	return fmt.Sprintf("node %d, epoch %d, window %d", k.Node, k.Epoch, k.Window)
}

// Header is a rollup's commitment to its acks (section 6): an acks part, a statements part, or
// both. NewHeader sets the fields of an absent part.
type Header struct {
	Network      Network
	Epoch        uint32
	Window       uint32
	Node         uint32
	AckCount     uint32 // 1 to MaxAcks, 0: absent
	AckRoot      Hash
	AckSignature [SignatureSize]byte // the aggregate of the acks' signatures

	StatementCount     uint32 // 1 to MaxStatements, 0: absent
	StatementRoot      Hash
	ListRoot           Hash
	StatementSignature [SignatureSize]byte // the sum of the signatures of the clients that co-signed

	Rows []Row // 1 to MaxRows, sorted by (payer, service); their root is in the header
}

// NewHeader returns a header for the window with both parts absent and no rows.
func NewHeader(net Network, key WindowKey) *Header {
	return &Header{Network: net, Epoch: key.Epoch, Window: key.Window, Node: key.Node,
		AckSignature: bls.IdentitySignature, StatementSignature: bls.IdentitySignature}
}

// Key returns the window that the header is about.
func (h *Header) Key() WindowKey {
	return WindowKey{Node: h.Node, Epoch: h.Epoch, Window: h.Window}
}

// Totals returns how many acks and units the rollup is about, on all rungs. Those beyond AckCount
// are under statements that their clients co-signed.
func (h *Header) Totals() (acks, units uint64) {
	for _, r := range h.Rows {
		acks += r.Acks
		units += r.Units
	}
	return acks, units
}

// ID returns the rollup id, the keyed digest of the header's encoding.
func (h *Header) ID() Hash {
	var buf [HeaderSize]byte
	return blake3.Keyed(&rollupKey, h.appendHeader(buf[:0]))
}

// Append appends the header and the rows beside it to dst.
func (h *Header) Append(dst []byte) []byte {
	return appendRowEntries(h.appendHeader(dst), h.Rows)
}

func (h *Header) appendHeader(dst []byte) []byte {
	dst = append(dst, headerTag...)
	dst = append(dst, h.Network[:]...)
	dst = le.AppendUint32(dst, h.Epoch)
	dst = le.AppendUint32(dst, h.Window)
	dst = le.AppendUint32(dst, h.Node)
	dst = le.AppendUint32(dst, h.AckCount)
	dst = append(dst, h.AckRoot[:]...)
	dst = append(dst, h.AckSignature[:]...)
	dst = le.AppendUint32(dst, h.StatementCount)
	dst = append(dst, h.StatementRoot[:]...)
	dst = append(dst, h.ListRoot[:]...)
	dst = append(dst, h.StatementSignature[:]...)
	dst = le.AppendUint16(dst, uint16(len(h.Rows)))
	root := RowsRoot(h.Rows)
	return append(dst, root[:]...)
}

// RowsRoot returns the root of the tree over rows.
func RowsRoot(rows []Row) Hash {
	var buf [16 * rowSize]byte // most windows have few rows
	return RootOf(RowTreeKind, appendRowEntries(buf[:0], rows), rowSize)
}

// appendRows appends a count and the rows.
func appendRows(dst []byte, rows []Row) []byte {
	return appendRowEntries(le.AppendUint16(dst, uint16(len(rows))), rows)
}

func appendRowEntries(dst []byte, rows []Row) []byte {
	for _, r := range rows {
		dst = le.AppendUint32(dst, r.Payer)
		dst = le.AppendUint32(dst, r.Service)
		dst = le.AppendUint64(dst, r.Acks)
		dst = le.AppendUint64(dst, r.Units)
	}
	return dst
}

// ParseHeader decodes a header, the rows beside it, and nothing after them. Besides the layout it
// checks what holds for every valid header whatever its evidence: ErrMalformed, ErrCount (neither
// part, or too many acks or statements), ErrUnsorted (rows), ErrRows (they have another root, their
// acks do not add up to the ack count, or exceed their units), ErrOverflow. Whether the signatures
// are some, Verify decides.
func ParseHeader(b []byte) (*Header, error) {
	r := newReader(b)
	h := r.header()
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	return h, nil
}

// check holds the rules that need nothing but the header.
func (h *Header) check() error {
	noAcks := h.AckRoot == Hash{} && h.AckSignature == bls.IdentitySignature
	noStatements := h.StatementRoot == Hash{} && h.ListRoot == Hash{} &&
		h.StatementSignature == bls.IdentitySignature
	switch {
	case h.AckCount == 0 && h.StatementCount == 0:
		return fmt.Errorf("%w: neither acks nor statements", ErrCount)
	case h.AckCount > MaxAcks || h.StatementCount > MaxStatements:
		return fmt.Errorf("%w: %d acks, %d statements, where %d and %d may be", ErrCount, h.AckCount,
			h.StatementCount, MaxAcks, MaxStatements)
	case h.AckCount == 0 && !noAcks || h.StatementCount == 0 && !noStatements:
		return fmt.Errorf("%w: an absent part with something in it", ErrMalformed)
	case len(h.Rows) == 0 || len(h.Rows) > MaxRows:
		return fmt.Errorf("%w: %d rows, where 1 to %d may be", ErrMalformed, len(h.Rows), MaxRows)
	}
	acks, err := sumRows(h.Rows, h.StatementCount > 0)
	if err != nil {
		return err
	}
	if h.StatementCount == 0 && acks != uint64(h.AckCount) || acks < uint64(h.AckCount) {
		return fmt.Errorf("%w: together %d acks, not %d", ErrRows, acks, h.AckCount)
	}
	if h.StatementCount > 0 && acks == uint64(h.AckCount) {
		return fmt.Errorf("%w: no acks are left for the statements", ErrRows)
	}
	return nil
}

// sumRows checks order and bounds of rows, which may be of zeros where zeros says so, and returns
// how many acks they are together: ErrUnsorted, ErrRows, ErrOverflow.
func sumRows(rows []Row, zeros bool) (acks uint64, err error) {
	for i, r := range rows {
		switch {
		case i > 0 && compareRows(rows[i-1], r) >= 0:
			return 0, at("row", i, ErrUnsorted)
		case zeros && r.Acks == 0 && r.Units == 0:
		case r.Acks == 0 || r.Units < r.Acks:
			return 0, at("row", i, fmt.Errorf("%w: %d acks, %d units", ErrRows, r.Acks, r.Units))
		case !add(&acks, r.Acks):
			return 0, at("row", i, fmt.Errorf("%w: acks", ErrOverflow))
		}
	}
	return acks, nil
}

func (r *reader) header() *Header {
	r.Tag(headerTag)
	h := new(Header)
	r.Fill(h.Network[:])
	h.Epoch = r.U32()
	h.Window = r.U32()
	h.Node = r.U32()
	h.AckCount = r.U32()
	r.Fill(h.AckRoot[:])
	r.Fill(h.AckSignature[:])
	h.StatementCount = r.U32()
	r.Fill(h.StatementRoot[:])
	r.Fill(h.ListRoot[:])
	r.Fill(h.StatementSignature[:])
	n := r.U16()
	root := r.hash()
	h.Rows = r.rowEntries(n)
	if r.Err == nil && RowsRoot(h.Rows) != root {
		r.Err = fmt.Errorf("%w: they have another root", ErrRows)
	}
	return h
}

func (r *reader) rows() []Row { return r.rowEntries(r.U16()) }

func (r *reader) rowEntries(n uint16) []Row {
	if n > MaxRows {
		r.Fail("%d rows, where %d may be", n, MaxRows)
	}
	rows := make([]Row, r.Count(uint64(n), rowSize))
	for i := range rows {
		rows[i] = Row{Payer: r.U32(), Service: r.U32(), Acks: r.U64(), Units: r.U64()}
	}
	return rows
}
