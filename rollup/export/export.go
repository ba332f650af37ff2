// Package export is the files that outsiders check (section 10 of docs/protocol.md): that an ack is
// in an ordered rollup, a whole rollup with its evidence, the settlement of an epoch. Each begins
// with the record of a block, which the committee signed, and leads to it. Verify
// decides whether a file is valid from what the genesis file tells, and nothing else; a Report says
// in plain sentences what was proved, and of which bytes.
package export

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/internal/wire"
	"github.com/waybill-network/waybill/rollup/word"
)

var le = binary.LittleEndian

// reader decodes export files; its failures wrap rollup.ErrMalformed.
type reader struct{ wire.Reader }

func newReader(b []byte) *reader {
	return &reader{wire.Reader{B: b, Kind: rollup.ErrMalformed}}
}

func (r *reader) hash() (h rollup.Hash) {
	r.Fill(h[:])
	return h
}

// at says where a check failed.
func at(what string, index int, err error) error {
	return &rollup.VerifyError{What: what, Index: index, Err: err}
}

// Type is the type byte of an export file.
type Type uint8

// The types of export files (section 10).
const (
	TypeAck          Type = 1
	TypeRollup       Type = 2
	TypeSettlement   Type = 3
	TypeStatementAck Type = 4
	TypeHandOvers    Type = 5
	TypeDraws        Type = 6
	TypeLie          Type = 7

	// TypeInvoice stands for invoices, which are text and have no type byte.
	TypeInvoice Type = 0
)

// String returns the type's name.
func (t Type) String() string {
	switch t {
	case TypeAck:
		return "ack"
	case TypeRollup:
		return "rollup"
	case TypeSettlement:
		return "settlement"
	case TypeStatementAck:
		return "statement ack"
	case TypeHandOvers:
		return "hand-overs"
	case TypeDraws:
		return "draws"
	case TypeLie:
		return "lie"
	case TypeInvoice:
		return "invoice"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// MarshalText implements [encoding.TextMarshaler].
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// File is what a file for outsiders holds: an *Ack, *Rollup, *Settlement, *StatementAck,
// *HandOvers, *Draws, *Lie or *Invoice.
type File interface {
	Type() Type
	// Append appends the whole file to dst.
	Append(dst []byte) []byte

	network() rollup.Network
	verify(v *exportVerifier) error
	// signers returns who signed for the file, of the committee of which term; nobody for nil.
	signers() (term uint32, set rollup.Bitmap)
	summary() string // a sentence without its end
}

const exportTag = "wb-exp/2"

func appendExport(dst []byte, network rollup.Network, t Type) []byte {
	dst = append(dst, exportTag...)
	dst = append(dst, network[:]...)
	return append(dst, byte(t))
}

// Ack shows that one ack is in a certified rollup.
type Ack struct {
	Anchor
	Ack   rollup.Ack // without its signature, for which the rollup's aggregate stands
	Index uint32
	Path  []rollup.Hash
}

// NewAck makes the file for ack i, in tree order, of the anchor's rollup. It does not check the
// acks against the rollup.
func NewAck(anchor *Anchor, acks rollup.Acks, i int) *Ack {
	h := anchor.Header
	return &Ack{Anchor: *anchor, Ack: acks.Ack(h, i), Index: uint32(i),
		Path: rollup.AckTree(acks, h.Key()).Path(i)}
}

// Type returns TypeAck.
func (e *Ack) Type() Type { return TypeAck }

// Append appends the file to dst.
func (e *Ack) Append(dst []byte) []byte {
	dst = appendExport(dst, e.network(), TypeAck)
	dst = e.Anchor.append(dst)
	dst = e.Ack.AppendLeaf(dst)
	dst = le.AppendUint32(dst, e.Index)
	return appendPath(dst, e.Path)
}

// appendPath appends a length byte and the path.
func appendPath(dst []byte, path []rollup.Hash) []byte {
	dst = append(dst, byte(len(path)))
	for _, h := range path {
		dst = append(dst, h[:]...)
	}
	return dst
}

func (r *reader) path() []rollup.Hash {
	path := make([]rollup.Hash, r.Count(uint64(r.U8()), len(rollup.Hash{})))
	for i := range path {
		path[i] = r.hash()
	}
	return path
}

// exportedAck reads bytes 16 to 79 of an ack.
func (r *reader) exportedAck(network rollup.Network) (a rollup.Ack) {
	a.Net = network.Net()
	if leaf := r.Next(rollup.LeafSize); leaf != nil {
		a.SetLeaf(leaf)
	}
	return a
}

func (r *reader) ackExport() *Ack {
	e := &Ack{Anchor: r.anchor()}
	e.Ack = r.exportedAck(e.network())
	e.Index = r.U32()
	e.Path = r.path()
	return e
}

// Rollup holds a rollup with its evidence, of any rung, and an extract of the registry that it is
// judged by.
type Rollup struct {
	Anchor
	Evidence *rollup.Evidence
	Extract
	VerifyingKey []byte // of the proofs' circuit, VerifyingKeySize bytes, only for rung 3
}

// NewRollup makes the file for the anchor's rollup. The registry is that of the anchor's record;
// for rung 3 it comes with the verifying key of the circuit. It does not verify the rollup. The
// error is the registry's.
func NewRollup(anchor *Anchor, ev *rollup.Evidence, reg Prover,
	verifyingKey []byte) (*Rollup, error) {
	e := &Rollup{Anchor: *anchor, Evidence: ev}
	if ev.Rung == rollup.RungProof {
		e.VerifyingKey = verifyingKey
	}
	var err error
	if e.Extract, err = newExtract(anchor.Header, ev, reg); err != nil {
		return nil, fmt.Errorf("rollup export: %w", err)
	}
	return e, nil
}

// Type returns TypeRollup.
func (e *Rollup) Type() Type { return TypeRollup }

// Append appends the file to dst.
func (e *Rollup) Append(dst []byte) []byte {
	evidence := e.Evidence.Append(nil)
	dst = slices.Grow(dst, rollup.MaxHeaderSize+len(evidence)+e.Extract.size())
	dst = appendExport(dst, e.network(), TypeRollup)
	dst = e.Anchor.append(dst)
	dst = appendSized(dst, evidence)
	dst = e.Extract.append(dst)
	return append(dst, e.VerifyingKey...)
}

// appendSized appends a u32 length and the bytes.
func appendSized(dst, b []byte) []byte {
	return append(le.AppendUint32(dst, uint32(len(b))), b...)
}

func (r *reader) rollupExport() *Rollup {
	e := &Rollup{Anchor: r.anchor()}
	evidence := r.Next(int(r.U32()))
	if r.Err == nil {
		e.Evidence, r.Err = rollup.ParseEvidence(evidence)
	}
	if r.Err != nil {
		return e
	}
	proofs := e.Evidence.Rung == rollup.RungProof
	e.Extract = r.extract(e.Header.Node, proofs)
	if proofs {
		e.VerifyingKey = r.Next(rollup.VerifyingKeySize)
	}
	return e
}

// Settlement holds the settlement of an epoch.
type Settlement struct {
	Witness
	rollup.SettlementTable
}

// Type returns TypeSettlement.
func (e *Settlement) Type() Type { return TypeSettlement }

// Append appends the file to dst.
func (e *Settlement) Append(dst []byte) []byte {
	dst = appendExport(dst, e.network(), TypeSettlement)
	dst = e.Witness.append(dst)
	return e.SettlementTable.Append(dst)
}

func (r *reader) settlementExport() *Settlement {
	e := &Settlement{Witness: r.witness()}
	if b := r.Next(len(r.B)); r.Err == nil {
		table, err := rollup.ParseSettlementTable(b)
		if err == nil {
			e.SettlementTable = *table
		}
		if field, ok := errors.AsType[*rollup.DecodeError](err); ok {
			r.Mark -= field.Offset // which counts from where the table begins
			err = field.Err
		}
		r.Err = err
	}
	return e
}

// Parse decodes an export file and nothing after it. It checks the encoding; Verify also checks
// what the file claims. Errors: ErrMalformed, ErrNetwork (the parts are of two
// networks), and those of ParseHeader and ParseEvidence, each in a *rollup.DecodeError.
func Parse(file []byte) (File, error) {
	if isInvoice(file) {
		return parseInvoice(file)
	}
	r := newReader(file)
	r.Tag(exportTag)
	var network rollup.Network
	r.Fill(network[:])
	if r.Err == nil && len(r.B) > 0 && Type(r.B[0]) == TypeLie {
		lie, err := word.ParseFile(file)
		if err != nil {
			return nil, fmt.Errorf("export: %w: %w", rollup.ErrMalformed, err)
		}
		return &Lie{File: lie}, nil
	}
	var e File
	switch t := Type(r.U8()); {
	case r.Err != nil:
	case t == TypeAck:
		e = r.ackExport()
	case t == TypeRollup:
		e = r.rollupExport()
	case t == TypeSettlement:
		e = r.settlementExport()
	case t == TypeStatementAck:
		e = r.statementAckExport()
	case t == TypeHandOvers:
		e = r.handOversExport(network)
	case t == TypeDraws:
		e = r.drawsExport(network)
	default:
		r.Fail("there is no export %s", t)
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("export: %w", &rollup.DecodeError{Offset: len(file) - r.Mark, Err: err})
	}
	if e.network() != network {
		return nil, fmt.Errorf("export: %w", &rollup.DecodeError{Offset: len(exportTag),
			Err: fmt.Errorf("%w: the record is of %s, the file of %s", rollup.ErrNetwork,
				e.network(), network)})
	}
	return e, nil
}
