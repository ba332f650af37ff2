package export

import (
	"fmt"

	"github.com/waybill-network/waybill/rollup"
)

// StatementAck shows that one ack is under a statement that its client co-signed in a certified
// rollup.
type StatementAck struct {
	Certificate *rollup.Certificate
	Clients     rollup.ClientList // the header's
	// without its signature, for which the rollup's multi-signature stands
	Ack        rollup.Ack
	Index      uint32        // among the statement's acks
	Path       []rollup.Hash // to the root of the statement
	Payer      uint32        // what the statement says besides the ack's client and service
	Acks       uint32
	Units      uint64
	Statement  uint32        // index among the statements
	Statements []rollup.Hash // path from the statement to the header's root
}

// NewStatementAck makes the file for ack i of a window's archive, in the rollup that the
// certificate is about. Errors: ErrUnknownClient, ErrClientList for an ack whose client did not
// sign, ErrRoot for an archive that is not the rollup's.
func NewStatementAck(c *rollup.Certificate, archive rollup.Acks, list rollup.ClientList,
	reg rollup.Registry, i int) (*StatementAck, error) {
	key := c.Header.Key()
	statements, err := rollup.Statements(archive, key, reg, list.Has())
	if err != nil {
		return nil, fmt.Errorf("ack export: %w", err)
	}
	entry := archive.Entry(i)
	for j := range statements {
		s := &statements[j]
		if s.Client != entry.Client() || s.Service != entry.Service() || j >= len(list) ||
			!list[j].Signed {
			continue
		}
		tree := rollup.NewStatementTree(statements)
		if tree.Root() != c.Header.StatementRoot {
			return nil, fmt.Errorf("ack export: %w", rollup.ErrRoot)
		}
		first, acks := ofStatement(archive, s)
		return &StatementAck{Certificate: c, Clients: list, Ack: archive.Ack(&c.Header, i),
			Index: uint32(i - first),
			Path:  rollup.AckTree(acks, key).Path(i - first), Payer: s.Payer, Acks: s.Acks, Units: s.Units,
			Statement: uint32(j), Statements: tree.RangePath(j, j+1)}, nil
	}
	return nil, fmt.Errorf("ack export: %w: client %d did not sign", rollup.ErrClientList,
		entry.Client())
}

// ofStatement returns the acks under a statement, and the position of the first.
func ofStatement(a rollup.Acks, s *rollup.Statement) (first int, acks rollup.Acks) {
	first, _ = a.Index(s.Client, s.Service, 0)
	acks = le.AppendUint32(nil, s.Acks)
	return first, append(acks, a[4+first*rollup.EntrySize:4+(first+int(s.Acks))*rollup.EntrySize]...)
}

// Type returns TypeStatementAck.
func (e *StatementAck) Type() Type { return TypeStatementAck }

// Append appends the file to dst.
func (e *StatementAck) Append(dst []byte) []byte {
	dst = appendExport(dst, e.network(), TypeStatementAck)
	dst = appendCertificate(dst, e.Certificate)
	dst = appendSized(dst, e.Clients.Append(nil))
	dst = e.Ack.AppendLeaf(dst)
	dst = le.AppendUint32(dst, e.Index)
	dst = appendPath(dst, e.Path)
	dst = le.AppendUint32(dst, e.Payer)
	dst = le.AppendUint32(dst, e.Acks)
	dst = le.AppendUint64(dst, e.Units)
	dst = le.AppendUint32(dst, e.Statement)
	return appendPath(dst, e.Statements)
}

func (e *StatementAck) network() rollup.Network { return e.Certificate.Header.Network }

func (r *reader) statementAckExport() *StatementAck {
	e := &StatementAck{Certificate: r.sizedCertificate()}
	if list := r.Next(int(r.U32())); r.Err == nil {
		e.Clients, r.Err = rollup.ParseClientList(list)
	}
	e.Ack = r.exportedAck(e.network())
	e.Index = r.U32()
	e.Path = r.path()
	e.Payer, e.Acks, e.Units = r.U32(), r.U32(), r.U64()
	e.Statement = r.U32()
	e.Statements = r.path()
	return e
}

func (e *StatementAck) signers() rollup.Bitmap { return e.Certificate.Signers }

func (e *StatementAck) verify(v *exportVerifier) error {
	h := &e.Certificate.Header
	if err := ofWindow(&e.Ack, h); err != nil {
		return err
	}
	if digest := e.Clients.Digest(); digest != h.ClientListDigest ||
		len(e.Clients) != int(h.StatementCount) {
		return fmt.Errorf("%w: %s, not %s", rollup.ErrClientList, digest, h.ClientListDigest)
	}
	signer := rollup.ListedClient{Client: e.Ack.Client, Signed: true}
	if int(e.Statement) >= len(e.Clients) || e.Clients[e.Statement] != signer {
		return fmt.Errorf("%w: client %d signed no statement %d", rollup.ErrClientList, e.Ack.Client,
			e.Statement)
	}
	s := rollup.Statement{Client: e.Ack.Client, Payer: e.Payer, Service: e.Ack.Service, Acks: e.Acks,
		Units: e.Units}
	root, err := rollup.RootOfPath(rollup.AckTreeKind,
		rollup.AckTreeKind.LeafHash(e.Ack.AppendLeaf(nil)), uint64(e.Index), uint64(e.Acks), e.Path)
	if err != nil {
		return err
	}
	s.Root = rollup.TruncateRoot(root)
	if err := s.Check(); err != nil {
		return err
	}
	if err := rollup.VerifyStatementRange(h.StatementRoot, []rollup.Statement{s}, e.Statement,
		h.StatementCount, e.Statements); err != nil {
		return err
	}
	v.done(Check{Name: "inclusion", What: fmt.Sprintf(
		"the ack leads to its statement and that to the root, with %d hashes, and its client is "+
			"listed among those that signed", len(e.Path)+len(e.Statements)),
		Bytes: 32*(len(e.Path)+len(e.Statements)) + len(e.Clients.Append(nil))})
	return v.certificate(e.Certificate)
}

func (e *StatementAck) summary() string {
	return fmt.Sprintf("%s: ack %d of %d under statement %d of %d, "+
		"which the client signed at the window's close, in rollup %s",
		sentence(&e.Ack), e.Index, e.Acks, e.Statement, e.Certificate.Header.StatementCount,
		e.Certificate.Header.ID())
}
