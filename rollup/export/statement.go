package export

import (
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// StatementAck shows that one ack is under a statement that its client co-signed in a certified
// rollup.
type StatementAck struct {
	Anchor
	// without its signature, for which the rollup's multi-signature stands
	Ack        rollup.Ack
	Path       []rollup.Hash // to the root of the statement
	Payer      uint32        // what the statement says besides the ack's client and service
	First      uint32
	Acks       uint32
	Units      uint64
	Statement  uint32        // index among the statements, and in the list
	List       []rollup.Hash // path from the list's entry to the header's list root
	Statements []rollup.Hash // path from the statement to the header's statement root
}

// NewStatementAck makes the file for ack i of a window's archive, in the anchor's rollup. Errors:
// ErrUnknownClient, ErrList for an ack whose client did not sign, ErrRoot for an archive that is
// not the rollup's.
func NewStatementAck(anchor *Anchor, archive rollup.Acks, list rollup.List, reg rollup.Registry,
	i int) (*StatementAck, error) {
	h := anchor.Header
	key := h.Key()
	statements, err := rollup.Statements(archive, key, reg, list.Has())
	if err != nil {
		return nil, fmt.Errorf("ack export: %w", err)
	}
	ack := archive.Ack(h, i)
	j := slices.IndexFunc(statements, func(s rollup.Statement) bool {
		return s.Client == ack.Client && s.Service == ack.Service
	})
	if j < 0 || j >= len(list) || !list[j].Signed {
		return nil, fmt.Errorf("ack export: %w: client %d did not sign", rollup.ErrList, ack.Client)
	}
	tree := rollup.NewStatementTree(statements)
	if tree.Root() != h.StatementRoot {
		return nil, fmt.Errorf("ack export: %w", rollup.ErrRoot)
	}
	s := &statements[j]
	own := archive.Only(s.Client, s.Service)
	return &StatementAck{Anchor: *anchor, Ack: ack,
		Path:  rollup.AckTree(own, key).Path(int(ack.Number - s.First)),
		Payer: s.Payer, First: s.First, Acks: s.Acks, Units: s.Units, Statement: uint32(j),
		List: list.Tree().Path(j), Statements: tree.RangePath(j, j+1)}, nil
}

// Type returns TypeStatementAck.
func (e *StatementAck) Type() Type { return TypeStatementAck }

// Append appends the file to dst.
func (e *StatementAck) Append(dst []byte) []byte {
	dst = appendExport(dst, e.network(), TypeStatementAck)
	dst = e.Anchor.append(dst)
	dst = e.Ack.AppendLeaf(dst)
	dst = appendPath(dst, e.Path)
	dst = le.AppendUint32(dst, e.Payer)
	dst = le.AppendUint32(dst, e.First)
	dst = le.AppendUint32(dst, e.Acks)
	dst = le.AppendUint64(dst, e.Units)
	dst = le.AppendUint32(dst, e.Statement)
	dst = appendPath(dst, e.List)
	return appendPath(dst, e.Statements)
}

func (r *reader) statementAckExport() *StatementAck {
	e := &StatementAck{Anchor: r.anchor()}
	e.Ack = r.exportedAck(e.network())
	e.Path = r.path()
	e.Payer, e.First, e.Acks, e.Units = r.U32(), r.U32(), r.U32(), r.U64()
	e.Statement = r.U32()
	e.List = r.path()
	e.Statements = r.path()
	return e
}

func (e *StatementAck) verify(v *exportVerifier) error {
	h := e.Header
	if err := ofWindow(&e.Ack, h); err != nil {
		return err
	}
	run := rollup.Run{Client: e.Ack.Client, Service: e.Ack.Service, First: e.First, Count: e.Acks}
	if e.Ack.Number < e.First || uint64(e.Ack.Number) >= run.End() {
		return fmt.Errorf("%w: number %d is not among the %d from %d on", rollup.ErrNumbers, e.Ack.Number,
			e.Acks, e.First)
	}
	entry := rollup.ListEntry{Run: run, Signed: true}
	if err := rollup.VerifyPath(rollup.ListTreeKind, h.ListRoot,
		entry.LeafHash(), uint64(e.Statement), uint64(h.StatementCount), e.List); err != nil {
		return fmt.Errorf("list: %w", err)
	}
	root, err := rollup.RootOfPath(rollup.AckTreeKind,
		rollup.AckTreeKind.LeafHash(e.Ack.AppendLeaf(nil)), uint64(e.Ack.Number-e.First),
		uint64(e.Acks), e.Path)
	if err != nil {
		return err
	}
	s := rollup.Statement{Client: run.Client, Payer: e.Payer, Service: run.Service, First: e.First,
		Acks: e.Acks, Units: e.Units, Root: rollup.TruncateRoot(root)}
	if err := s.Check(); err != nil {
		return err
	}
	if s.Units > uint64(s.Acks)*rollup.MaxUnitCap { // the file does not have the service's own cap
		return fmt.Errorf("%w: %d units of %d acks", rollup.ErrStatement, s.Units, s.Acks)
	}
	if err := rollup.VerifyStatementRange(h.StatementRoot, []rollup.Statement{s}, e.Statement,
		h.StatementCount, e.Statements); err != nil {
		return err
	}
	hashes := len(e.Path) + len(e.List) + len(e.Statements)
	v.done(Check{Name: "inclusion", What: fmt.Sprintf(
		"the ack leads to its statement and that to the root, and its client is listed among those "+
			"that signed, with %d hashes", hashes), Bytes: 32 * hashes})
	return v.anchor(&e.Anchor)
}

func (e *StatementAck) summary() string {
	return fmt.Sprintf("%s: ack %d of %d under statement %d of %d, "+
		"which the client signed at the window's close, in rollup %s",
		sentence(&e.Ack, e.Header), e.Ack.Number-e.First, e.Acks, e.Statement, e.Header.StatementCount,
		e.Header.ID())
}
