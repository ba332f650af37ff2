// Package export is the files that outsiders check (section 10 of docs/protocol.md): that an ack is
// in a certified rollup, a whole rollup with its evidence, the settlement of an epoch. Verify
// decides whether a file is valid from what the genesis file tells, and nothing else; a Report says
// in plain sentences what was proved, and of which bytes.
package export

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/internal/wire"
	"github.com/waybill-network/waybill/rollup/ledger"
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
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// MarshalText implements [encoding.TextMarshaler].
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// File is what a file for outsiders holds: an *Ack, *Rollup, *Settlement or *StatementAck.
type File interface {
	Type() Type
	// Append appends the whole file to dst.
	Append(dst []byte) []byte

	network() rollup.Network
	verify(v *exportVerifier) error
	signers() rollup.Bitmap
	summary() string // a sentence without its end
}

const exportTag = "wb-exp/1"

func appendExport(dst []byte, net rollup.Network, t Type) []byte {
	dst = append(dst, exportTag...)
	dst = append(dst, net[:]...)
	return append(dst, byte(t))
}

// Ack shows that one ack is in a certified rollup.
type Ack struct {
	Certificate *rollup.Certificate
	Ack         rollup.Ack // without its signature, for which the rollup's aggregate stands
	Index       uint32
	Path        []rollup.Hash
}

// NewAck makes the file for ack i, in tree order, of the rollup that the certificate is about. It
// does not check the acks against the certificate.
func NewAck(c *rollup.Certificate, acks rollup.Acks, i int) *Ack {
	return &Ack{Certificate: c, Ack: acks.Ack(&c.Header, i), Index: uint32(i),
		Path: rollup.AckTree(acks, c.Header.Key()).Path(i)}
}

// Type returns TypeAck.
func (e *Ack) Type() Type { return TypeAck }

// Append appends the file to dst.
func (e *Ack) Append(dst []byte) []byte {
	dst = appendExport(dst, e.network(), TypeAck)
	dst = appendCertificate(dst, e.Certificate)
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
func (r *reader) exportedAck(net rollup.Network) (a rollup.Ack) {
	a.Network = net
	if leaf := r.Next(rollup.LeafSize); leaf != nil {
		a.SetLeaf(leaf)
	}
	return a
}

func (e *Ack) network() rollup.Network { return e.Certificate.Header.Network }

func (r *reader) ackExport() *Ack {
	e := &Ack{Certificate: r.sizedCertificate()}
	e.Ack = r.exportedAck(e.network())
	e.Index = r.U32()
	e.Path = r.path()
	return e
}

// Client is what a rollup's verification needs to know about a client.
type Client struct {
	Client uint32        `json:"client"`
	Payer  uint32        `json:"payer"` // in the header's epoch
	Key    ledger.BLSKey `json:"key"`
}

const rollupClientSize = 4 + 4 + bls.PublicKeySize

// maxExportClients is how many clients the parts of a rollup can have together.
const maxExportClients = rollup.MaxAcks + rollup.MaxStatements

// Rollup holds a certified rollup with its evidence, of any rung.
type Rollup struct {
	Certificate  *rollup.Certificate
	Evidence     *rollup.Evidence
	Clients      []Client // those of the evidence, sorted
	VerifyingKey []byte   // of the proofs' circuit, VerifyingKeySize bytes, only for rung 3
}

// NewRollup makes the file for the rollup that the certificate is about, with clients from the
// registry and, for rung 3, the verifying key of the circuit. It does not verify the rollup. The
// error is ErrUnknownClient.
func NewRollup(c *rollup.Certificate, ev *rollup.Evidence, reg rollup.Registry,
	verifyingKey []byte) (*Rollup, error) {
	e := &Rollup{Certificate: c, Evidence: ev}
	if ev.Rung == rollup.RungProof {
		e.VerifyingKey = verifyingKey
	}
	for _, client := range ev.AllClients() {
		key, known := reg.ClientKey(client)
		payer, paid := reg.Payer(client, c.Header.Epoch)
		if !known || !paid {
			return nil, fmt.Errorf("rollup export: %w %d", rollup.ErrUnknownClient, client)
		}
		e.Clients = append(e.Clients, Client{Client: client, Payer: payer, Key: key.Bytes()})
	}
	return e, nil
}

// Type returns TypeRollup.
func (e *Rollup) Type() Type { return TypeRollup }

// Append appends the file to dst.
func (e *Rollup) Append(dst []byte) []byte {
	evidence := e.Evidence.Append(nil)
	dst = slices.Grow(dst, rollup.MaxCertificateSize+len(evidence)+len(e.Clients)*rollupClientSize)
	dst = appendExport(dst, e.network(), TypeRollup)
	dst = appendCertificate(dst, e.Certificate)
	dst = appendSized(dst, evidence)
	dst = le.AppendUint32(dst, uint32(len(e.Clients)))
	for i := range e.Clients {
		c := &e.Clients[i]
		dst = le.AppendUint32(dst, c.Client)
		dst = le.AppendUint32(dst, c.Payer)
		dst = append(dst, c.Key[:]...)
	}
	if e.Evidence.Rung == rollup.RungProof {
		dst = append(dst, e.VerifyingKey...)
	}
	return dst
}

// appendSized appends a u32 length and the bytes.
func appendSized(dst, b []byte) []byte {
	return append(le.AppendUint32(dst, uint32(len(b))), b...)
}

func (e *Rollup) network() rollup.Network { return e.Certificate.Header.Network }

func (r *reader) rollupExport() *Rollup {
	e := &Rollup{Certificate: r.sizedCertificate()}
	evidence := r.Next(int(r.U32()))
	if r.Err == nil {
		e.Evidence, r.Err = rollup.ParseEvidence(evidence)
	}
	n := r.U32()
	if n > maxExportClients {
		r.Fail("%d clients, where %d may be", n, maxExportClients)
	}
	e.Clients = make([]Client, r.Count(uint64(n), rollupClientSize))
	if r.Err != nil {
		return e
	}
	for i := range e.Clients {
		c := &e.Clients[i]
		c.Client, c.Payer = r.U32(), r.U32()
		r.Fill(c.Key[:])
		if i > 0 && e.Clients[i-1].Client >= c.Client {
			r.Err = at("client", i, rollup.ErrUnsorted)
			return e
		}
	}
	if e.Evidence.Rung == rollup.RungProof {
		e.VerifyingKey = r.Next(rollup.VerifyingKeySize)
	}
	return e
}

func compareClient(c Client, client uint32) int { return cmp.Compare(c.Client, client) }

// Settlement holds the certified settlement of an epoch.
type Settlement struct {
	Network       rollup.Network
	Rows          []rollup.SettlementRow // sorted by (node, service, payer)
	NextCommittee rollup.Hash
	Certificate   *rollup.SettlementCertificate // also names the epoch
}

// Type returns TypeSettlement.
func (e *Settlement) Type() Type { return TypeSettlement }

// Append appends the file to dst.
func (e *Settlement) Append(dst []byte) []byte {
	dst = appendExport(dst, e.Network, TypeSettlement)
	dst = le.AppendUint32(dst, e.Certificate.Epoch)
	dst = le.AppendUint32(dst, uint32(len(e.Rows)))
	for i := range e.Rows {
		dst = e.Rows[i].Append(dst)
	}
	dst = append(dst, e.NextCommittee[:]...)
	return append(dst, e.Certificate.Append(nil)[4:]...) // the epoch stands above
}

func (e *Settlement) network() rollup.Network { return e.Network }

func (r *reader) settlementExport(net rollup.Network) *Settlement {
	e := &Settlement{Network: net, Certificate: new(rollup.SettlementCertificate)}
	e.Certificate.Epoch = r.U32()
	n := r.U32()
	e.Rows = make([]rollup.SettlementRow, r.Count(uint64(n), rollup.SettlementRowSize))
	for i := range e.Rows {
		e.Rows[i], r.Err = rollup.ParseSettlementRow(r.Next(rollup.SettlementRowSize))
		if i > 0 && e.Rows[i-1].Compare(&e.Rows[i]) >= 0 {
			r.Err = at("settlement row", i, rollup.ErrUnsorted)
			break
		}
	}
	e.NextCommittee = r.hash()
	rest := r.Next(len(r.B))
	if r.Err != nil {
		return e
	}
	c, err := rollup.ParseSettlementCertificate(
		append(le.AppendUint32(nil, e.Certificate.Epoch), rest...))
	if r.Err = err; err == nil {
		e.Certificate = c
	}
	return e
}

// Parse decodes an export file and nothing after it. It checks the encoding; Verify also checks
// what the file claims. Errors: ErrMalformed, ErrNetwork (the parts are of two networks), and those
// of ParseHeader and ParseEvidence.
func Parse(file []byte) (File, error) {
	r := newReader(file)
	r.Tag(exportTag)
	var net rollup.Network
	r.Fill(net[:])
	var e File
	switch t := Type(r.U8()); {
	case r.Err != nil:
	case t == TypeAck:
		e = r.ackExport()
	case t == TypeRollup:
		e = r.rollupExport()
	case t == TypeSettlement:
		e = r.settlementExport(net)
	case t == TypeStatementAck:
		e = r.statementAckExport()
	default:
		r.Fail("there is no export %s", t)
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	if e.network() != net {
		return nil, fmt.Errorf("export: %w: the certificate is of %s, the file of %s", rollup.ErrNetwork,
			e.network(), net)
	}
	return e, nil
}

func appendCertificate(dst []byte, c *rollup.Certificate) []byte {
	return appendSized(dst, c.Append(nil))
}

// sizedCertificate reads a certificate after its length.
func (r *reader) sizedCertificate() *rollup.Certificate {
	b := r.Next(int(r.U32()))
	if r.Err == nil {
		c, err := rollup.ParseCertificate(b)
		if err == nil {
			return c
		}
		r.Err = err
	}
	return new(rollup.Certificate)
}
