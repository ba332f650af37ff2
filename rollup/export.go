package rollup

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
)

// ExportType is the type byte of an export file.
type ExportType uint8

// The types of export files (section 10).
const (
	ExportAck          ExportType = 1
	ExportRollup       ExportType = 2
	ExportSettlement   ExportType = 3
	ExportStatementAck ExportType = 4
)

// String returns the type's name.
func (t ExportType) String() string {
	switch t {
	case ExportAck:
		return "ack"
	case ExportRollup:
		return "rollup"
	case ExportSettlement:
		return "settlement"
	case ExportStatementAck:
		return "statement ack"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// MarshalText implements [encoding.TextMarshaler].
func (t ExportType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Export is what a file for outsiders holds: an *AckExport, *RollupExport, *SettlementExport or *StatementAckExport.
type Export interface {
	Type() ExportType
	// Append appends the whole file to dst.
	Append(dst []byte) []byte

	network() Network
	verify(v *exportVerifier) error
	signers() Bitmap
	summary() string // a sentence without its end
}

const exportTag = "wb-exp/1"

func appendExport(dst []byte, net Network, t ExportType) []byte {
	dst = append(dst, exportTag...)
	dst = append(dst, net[:]...)
	return append(dst, byte(t))
}

// AckExport shows that one ack is in a certified rollup.
type AckExport struct {
	Certificate *Certificate
	Ack         Ack // without its signature, for which the rollup's aggregate stands
	Index       uint32
	Path        []Hash
}

// NewAckExport makes the file for ack i, in tree order, of the rollup that the certificate is about. It does not
// check the acks against the certificate.
func NewAckExport(c *Certificate, acks Acks, i int) *AckExport {
	return &AckExport{Certificate: c, Ack: acks.Ack(&c.Header, i), Index: uint32(i), Path: AckTree(acks, c.Header.Key()).Path(i)}
}

// Type returns ExportAck.
func (e *AckExport) Type() ExportType { return ExportAck }

// Append appends the file to dst.
func (e *AckExport) Append(dst []byte) []byte {
	dst = appendExport(dst, e.network(), ExportAck)
	dst = appendCertificate(dst, e.Certificate)
	dst = e.Ack.appendLeaf(dst)
	dst = le.AppendUint32(dst, e.Index)
	return appendPath(dst, e.Path)
}

// appendPath appends a length byte and the path.
func appendPath(dst []byte, path []Hash) []byte {
	dst = append(dst, byte(len(path)))
	for _, h := range path {
		dst = append(dst, h[:]...)
	}
	return dst
}

func (r *reader) path() []Hash {
	path := make([]Hash, r.U8())
	for i := range path {
		path[i] = r.hash()
	}
	return path
}

// exportedAck reads bytes 16 to 79 of an ack.
func (r *reader) exportedAck(net Network) (a Ack) {
	a.Network = net
	if leaf := r.Next(LeafSize); leaf != nil {
		a.setLeaf(leaf)
	}
	return a
}

func (e *AckExport) network() Network { return e.Certificate.Header.Network }

func (r *reader) ackExport() *AckExport {
	e := &AckExport{Certificate: r.sizedCertificate()}
	e.Ack = r.exportedAck(e.network())
	e.Index = r.U32()
	e.Path = r.path()
	return e
}

// RollupClient is what a rollup's verification needs to know about a client.
type RollupClient struct {
	Client uint32 `json:"client"`
	Payer  uint32 `json:"payer"` // in the header's epoch
	Key    BLSKey `json:"key"`
}

// BLSKey is the 96-byte encoding of a BLS public key.
type BLSKey [bls.PublicKeySize]byte

const rollupClientSize = 4 + 4 + bls.PublicKeySize

// maxExportClients is how many clients the parts of a rollup can have together.
const maxExportClients = MaxAcks + MaxStatements

// RollupExport holds a certified rollup with its evidence, of any rung.
type RollupExport struct {
	Certificate  *Certificate
	Evidence     *Evidence
	Clients      []RollupClient // those of the evidence, sorted
	VerifyingKey []byte         // of the proofs' circuit, VerifyingKeySize bytes, only for rung 3
}

// NewRollupExport makes the file for the rollup that the certificate is about, with clients from the registry and, for rung
// 3, the verifying key of the circuit. It does not verify the rollup. The error is ErrUnknownClient.
func NewRollupExport(c *Certificate, ev *Evidence, reg Registry, verifyingKey []byte) (*RollupExport, error) {
	e := &RollupExport{Certificate: c, Evidence: ev}
	if ev.Rung == RungProof {
		e.VerifyingKey = verifyingKey
	}
	for _, client := range ev.clients() {
		key, known := reg.ClientKey(client)
		payer, paid := reg.Payer(client, c.Header.Epoch)
		if !known || !paid {
			return nil, fmt.Errorf("rollup export: %w %d", ErrUnknownClient, client)
		}
		e.Clients = append(e.Clients, RollupClient{Client: client, Payer: payer, Key: key.Bytes()})
	}
	return e, nil
}

// Type returns ExportRollup.
func (e *RollupExport) Type() ExportType { return ExportRollup }

// Append appends the file to dst.
func (e *RollupExport) Append(dst []byte) []byte {
	evidence := e.Evidence.Append(nil)
	dst = slices.Grow(dst, MaxCertificateSize+len(evidence)+len(e.Clients)*rollupClientSize)
	dst = appendExport(dst, e.network(), ExportRollup)
	dst = appendCertificate(dst, e.Certificate)
	dst = appendSized(dst, evidence)
	dst = le.AppendUint32(dst, uint32(len(e.Clients)))
	for i := range e.Clients {
		c := &e.Clients[i]
		dst = le.AppendUint32(dst, c.Client)
		dst = le.AppendUint32(dst, c.Payer)
		dst = append(dst, c.Key[:]...)
	}
	if e.Evidence.Rung == RungProof {
		dst = append(dst, e.VerifyingKey...)
	}
	return dst
}

// appendSized appends a u32 length and the bytes.
func appendSized(dst, b []byte) []byte {
	return append(le.AppendUint32(dst, uint32(len(b))), b...)
}

func (e *RollupExport) network() Network { return e.Certificate.Header.Network }

func (r *reader) rollupExport() *RollupExport {
	e := &RollupExport{Certificate: r.sizedCertificate()}
	evidence := r.Next(int(r.U32()))
	if r.Err == nil {
		e.Evidence, r.Err = ParseEvidence(evidence)
	}
	n := int(r.U32())
	if n > maxExportClients {
		r.Fail("%d clients, where %d may be", n, maxExportClients)
	}
	if !r.Has(n * rollupClientSize) {
		return e
	}
	e.Clients = make([]RollupClient, n)
	for i := range e.Clients {
		c := &e.Clients[i]
		c.Client, c.Payer = r.U32(), r.U32()
		r.Fill(c.Key[:])
		if i > 0 && e.Clients[i-1].Client >= c.Client {
			r.Err = at("client", i, ErrUnsorted)
			return e
		}
	}
	if e.Evidence.Rung == RungProof {
		e.VerifyingKey = r.Next(VerifyingKeySize)
	}
	return e
}

func compareClient(c RollupClient, client uint32) int { return cmp.Compare(c.Client, client) }

// SettlementExport holds the certified settlement of an epoch.
type SettlementExport struct {
	Network       Network
	Rows          []SettlementRow // sorted by (node, service, payer)
	NextCommittee Hash
	Certificate   *SettlementCertificate // also names the epoch
}

// Type returns ExportSettlement.
func (e *SettlementExport) Type() ExportType { return ExportSettlement }

// Append appends the file to dst.
func (e *SettlementExport) Append(dst []byte) []byte {
	dst = appendExport(dst, e.Network, ExportSettlement)
	dst = le.AppendUint32(dst, e.Certificate.Epoch)
	dst = le.AppendUint32(dst, uint32(len(e.Rows)))
	dst = appendSettlementRows(dst, e.Rows)
	dst = append(dst, e.NextCommittee[:]...)
	dst = e.Certificate.Signers.append(dst)
	return append(dst, e.Certificate.Signature[:]...)
}

func (e *SettlementExport) network() Network { return e.Network }

func (r *reader) settlementExport(net Network) *SettlementExport {
	e := &SettlementExport{Network: net, Certificate: new(SettlementCertificate)}
	e.Certificate.Epoch = r.U32()
	n := int(r.U32())
	if !r.Has(n * SettlementRowSize) {
		return e
	}
	e.Rows = make([]SettlementRow, n)
	for i := range e.Rows {
		e.Rows[i] = r.settlementRow()
		if i > 0 && e.Rows[i-1].Compare(&e.Rows[i]) >= 0 {
			r.Err = at("settlement row", i, ErrUnsorted)
			break
		}
	}
	e.NextCommittee = r.hash()
	e.Certificate.Signers = r.bitmap()
	r.Fill(e.Certificate.Signature[:])
	return e
}

// ParseExport decodes an export file and nothing after it. It checks the encoding; VerifyExport also checks what the
// file claims. Errors: ErrMalformed, ErrNetwork (the parts are of two networks), and those of ParseHeader and
// ParseEvidence.
func ParseExport(file []byte) (Export, error) {
	r := newReader(file)
	r.Tag(exportTag)
	var net Network
	r.Fill(net[:])
	var e Export
	switch t := ExportType(r.U8()); {
	case r.Err != nil:
	case t == ExportAck:
		e = r.ackExport()
	case t == ExportRollup:
		e = r.rollupExport()
	case t == ExportSettlement:
		e = r.settlementExport(net)
	case t == ExportStatementAck:
		e = r.statementAckExport()
	default:
		r.Fail("there is no export %s", t)
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	if e.network() != net {
		return nil, fmt.Errorf("export: %w: the certificate is of %s, the file of %s", ErrNetwork, e.network(), net)
	}
	return e, nil
}

func appendCertificate(dst []byte, c *Certificate) []byte {
	return appendSized(dst, c.Append(nil))
}

// sizedCertificate reads a certificate after its length.
func (r *reader) sizedCertificate() *Certificate {
	b := r.Next(int(r.U32()))
	if r.Err == nil {
		c, err := ParseCertificate(b)
		if err == nil {
			return c
		}
		r.Err = err
	}
	return new(Certificate)
}
