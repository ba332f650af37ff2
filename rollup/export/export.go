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

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/internal/wire"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/registry"
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

const exportTag = "wb-exp/2"

func appendExport(dst []byte, network rollup.Network, t Type) []byte {
	dst = append(dst, exportTag...)
	dst = append(dst, network[:]...)
	return append(dst, byte(t))
}

// Anchor is what shows a rollup's header: its ticket, and the key of the node's word in there.
type Anchor struct {
	NodeKey     ledger.Key
	Certificate *rollup.Certificate
}

func newAnchor(c *rollup.Certificate, reg rollup.Registry) (Anchor, error) {
	key, ok := reg.NodeKey(c.Header.Node)
	if !ok {
		return Anchor{}, fmt.Errorf("%w %d", rollup.ErrUnknownNode, c.Header.Node)
	}
	return Anchor{NodeKey: key, Certificate: c}, nil
}

// Header returns the rollup's header.
func (a *Anchor) Header() *rollup.Header { return &a.Certificate.Header }

func (a *Anchor) network() rollup.Network { return a.Certificate.Header.Network }

func (a *Anchor) signers() rollup.Bitmap { return a.Certificate.Signers }

func (a *Anchor) append(dst []byte) []byte {
	return appendSized(append(dst, a.NodeKey[:]...), a.Certificate.Append(nil))
}

func (r *reader) anchor() (a Anchor) {
	r.Fill(a.NodeKey[:])
	a.Certificate = new(rollup.Certificate)
	if b := r.Next(int(r.U32())); r.Err == nil {
		var c *rollup.Certificate
		if c, r.Err = rollup.ParseCertificate(b); c != nil {
			a.Certificate = c
		}
	}
	return a
}

// Ack shows that one ack is in a certified rollup.
type Ack struct {
	Anchor
	Ack   rollup.Ack // without its signature, for which the rollup's aggregate stands
	Index uint32
	Path  []rollup.Hash
}

// NewAck makes the file for ack i, in tree order, of the rollup that the certificate is about. It
// does not check the acks against the certificate. The error is ErrUnknownNode.
func NewAck(c *rollup.Certificate, acks rollup.Acks, reg rollup.Registry, i int) (*Ack, error) {
	anchor, err := newAnchor(c, reg)
	if err != nil {
		return nil, fmt.Errorf("ack export: %w", err)
	}
	return &Ack{Anchor: anchor, Ack: acks.Ack(&c.Header, i), Index: uint32(i),
		Path: rollup.AckTree(acks, c.Header.Key()).Path(i)}, nil
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

// Client is what a rollup's verification needs to know about a client: its leaf of the registry.
type Client struct {
	Index uint64 `json:"client"`
	registry.Client
}

// Service is what it needs to know about a service.
type Service struct {
	Index uint32 `json:"service"`
	Cap   uint64 `json:"cap,string"`
}

const (
	clientSize  = 8 + registry.ClientSize
	serviceSize = 4 + 8
)

// maxClients is how many clients the parts of a rollup can have together.
const maxClients = rollup.MaxAcks + rollup.MaxStatements

// Rollup holds a certified rollup with its evidence, of any rung.
type Rollup struct {
	Anchor
	Evidence     *rollup.Evidence
	Clients      []Client  // those of the evidence, sorted
	Services     []Service // those of the rows, sorted
	VerifyingKey []byte    // of the proofs' circuit, VerifyingKeySize bytes, only for rung 3
}

// NewRollup makes the file for the rollup that the certificate is about, with clients, services and
// the node from the registry and, for rung 3, the verifying key of the circuit. It does not verify
// the rollup. Errors: ErrUnknownNode, ErrUnknownClient, ErrUnknownService.
func NewRollup(c *rollup.Certificate, ev *rollup.Evidence, reg rollup.Registry,
	verifyingKey []byte) (*Rollup, error) {
	anchor, err := newAnchor(c, reg)
	if err != nil {
		return nil, fmt.Errorf("rollup export: %w", err)
	}
	e := &Rollup{Anchor: anchor, Evidence: ev}
	if ev.Rung == rollup.RungProof {
		e.VerifyingKey = verifyingKey
	}
	for _, index := range ev.AllClients() {
		client, ok := reg.Client(index)
		if !ok {
			return nil, fmt.Errorf("rollup export: %w %d", rollup.ErrUnknownClient, index)
		}
		e.Clients = append(e.Clients, Client{index, registry.Client{Key: client.Key.Bytes(),
			Payer: client.Payer, Since: client.Since, Until: client.Until, Numbers: client.Numbers,
			Services: client.Services}})
	}
	for _, index := range servicesOf(&c.Header) {
		unitCap, ok := reg.UnitCap(index)
		if !ok {
			return nil, fmt.Errorf("rollup export: %w %d", rollup.ErrUnknownService, index)
		}
		e.Services = append(e.Services, Service{index, unitCap})
	}
	return e, nil
}

// servicesOf returns the services of a header's rows, ascending, each once.
func servicesOf(h *rollup.Header) []uint32 {
	services := make([]uint32, 0, len(h.Rows))
	for _, r := range h.Rows {
		services = append(services, r.Service)
	}
	slices.Sort(services)
	return slices.Compact(services)
}

// Type returns TypeRollup.
func (e *Rollup) Type() Type { return TypeRollup }

// Append appends the file to dst.
func (e *Rollup) Append(dst []byte) []byte {
	evidence := e.Evidence.Append(nil)
	dst = slices.Grow(dst, rollup.MaxCertificateSize+len(evidence)+len(e.Clients)*clientSize)
	dst = appendExport(dst, e.network(), TypeRollup)
	dst = e.Anchor.append(dst)
	dst = appendSized(dst, evidence)
	dst = le.AppendUint32(dst, uint32(len(e.Clients)))
	for i := range e.Clients {
		dst = le.AppendUint64(dst, e.Clients[i].Index)
		dst = e.Clients[i].Client.Append(dst)
	}
	dst = le.AppendUint32(dst, uint32(len(e.Services)))
	for _, s := range e.Services {
		dst = le.AppendUint32(dst, s.Index)
		dst = le.AppendUint64(dst, s.Cap)
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

func (r *reader) rollupExport() *Rollup {
	e := &Rollup{Anchor: r.anchor()}
	evidence := r.Next(int(r.U32()))
	if r.Err == nil {
		e.Evidence, r.Err = rollup.ParseEvidence(evidence)
	}
	e.Clients = r.clients()
	e.Services = r.services()
	if r.Err == nil && e.Evidence.Rung == rollup.RungProof {
		e.VerifyingKey = r.Next(rollup.VerifyingKeySize)
	}
	return e
}

func (r *reader) clients() []Client {
	n := r.U32()
	if n > maxClients {
		r.Fail("%d clients, where %d may be", n, maxClients)
	}
	clients := make([]Client, r.Count(uint64(n), clientSize))
	for i := range clients {
		c := &clients[i]
		c.Index = r.U64()
		leaf := r.Next(registry.ClientSize)
		if r.Err != nil {
			return nil
		}
		var err error
		if c.Client, err = registry.ParseClient(leaf); err != nil {
			r.Err = at("client", i, fmt.Errorf("%w: %w", rollup.ErrMalformed, err))
		} else if i > 0 && clients[i-1].Index >= c.Index {
			r.Err = at("client", i, rollup.ErrUnsorted)
		}
	}
	return clients
}

func (r *reader) services() []Service {
	n := r.U32()
	if n > rollup.MaxRows {
		r.Fail("%d services, where %d may be", n, rollup.MaxRows)
	}
	services := make([]Service, r.Count(uint64(n), serviceSize))
	for i := range services {
		s := Service{Index: r.U32(), Cap: r.U64()}
		if r.Err == nil && i > 0 && services[i-1].Index >= s.Index {
			r.Err = at("service", i, rollup.ErrUnsorted)
		}
		if r.Err == nil && (s.Cap == 0 || s.Cap > rollup.MaxUnitCap) {
			r.Err = at("service", i, fmt.Errorf("%w: a cap of %d", rollup.ErrMalformed, s.Cap))
		}
		services[i] = s
	}
	return services
}

func compareClient(c Client, index uint64) int { return cmp.Compare(c.Index, index) }

func compareService(s Service, index uint32) int { return cmp.Compare(s.Index, index) }

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
