package rollup

import (
	"cmp"
	"fmt"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/poseidon2"
)

// Limits of statements. A client with a service beyond them stays in the acks part.
const (
	MaxStatements     = 65536     // in a window
	MaxStatementAcks  = 65536     // in a statement
	MaxStatementUnits = 1<<56 - 1 // in a statement

	// StatementSize is the size in bytes of an encoded statement. The payer, whom the registry names,
	// is not in it.
	StatementSize = 56
)

// Statement says what a client acknowledged for one service in one window (section 14).
type Statement struct {
	Client  uint64 `json:"client"`
	Payer   uint32 `json:"payer"` // account that pays for the client in the window's epoch
	Service uint32 `json:"service"`
	Acks    uint32 `json:"acks"`         // 1 to MaxStatementAcks
	Units   uint64 `json:"units,string"` // Acks to MaxStatementUnits
	Root    Hash   `json:"root"`         // see StatementRoot
}

// StatementRoot returns the root that a statement about these acks has: that of the ack tree over
// them, with the top three bits of its last byte cleared, so that it is below the order of the
// proof's field.
func StatementRoot(acks Acks, key WindowKey) Hash { return TruncateRoot(AckTree(acks, key).Root()) }

// TruncateRoot clears the top three bits of the last byte of a root, as those in statements are.
func TruncateRoot(root Hash) Hash {
	root[len(root)-1] &= 0x1f
	return root
}

// Append appends the encoding, which leaves the payer out.
func (s *Statement) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, s.Client)
	dst = le.AppendUint32(dst, s.Service)
	dst = le.AppendUint32(dst, s.Acks)
	dst = le.AppendUint64(dst, s.Units)
	return append(dst, s.Root[:]...)
}

// ParseStatement decodes exactly StatementSize bytes; the payer stays zero. Errors: ErrMalformed,
// ErrStatement.
func ParseStatement(b []byte) (Statement, error) {
	r := newReader(b)
	s := r.statement()
	err := r.End()
	if err == nil {
		err = s.Check()
	}
	if err != nil {
		return Statement{}, fmt.Errorf("statement: %w", err)
	}
	return s, nil
}

func (r *reader) statement() Statement {
	return Statement{Client: r.U64(), Service: r.U32(), Acks: r.U32(), Units: r.U64(), Root: r.hash()}
}

// Check holds the bounds of a statement: ErrStatement.
func (s *Statement) Check() error {
	switch {
	case s.Acks == 0 || s.Acks > MaxStatementAcks || s.Units < uint64(s.Acks) ||
		s.Units > MaxStatementUnits:
		return fmt.Errorf("%w: %d acks, %d units", ErrStatement, s.Acks, s.Units)
	case s.Root != TruncateRoot(s.Root):
		return fmt.Errorf("%w: root %s is not below 2^253", ErrStatement, s.Root)
	}
	return nil
}

func (s *Statement) compare(other *Statement) int {
	return cmp.Or(cmp.Compare(s.Client, other.Client), cmp.Compare(s.Service, other.Service))
}

// checkStatements requires 1 to MaxStatements statements in bounds, strictly in order of (client,
// service).
func checkStatements(statements []Statement) error {
	if n := len(statements); n == 0 || n > MaxStatements {
		return fmt.Errorf("%w: %d statements, where 1 to %d may be", ErrCount, n, MaxStatements)
	}
	for i := range statements {
		if err := statements[i].Check(); err != nil {
			return at("statement", i, err)
		}
		if i > 0 && statements[i-1].compare(&statements[i]) >= 0 {
			return at("statement", i, ErrUnsorted)
		}
	}
	return nil
}

// Elements returns the two elements that stand for the statement in the tree.
func (s *Statement) Elements() (fields, root poseidon2.Element) {
	return poseidon2.FromUint64s([3]uint64{
		uint64(s.Payer) | uint64(s.Service)<<32,
		s.Client | uint64(s.Acks)<<32,
		s.Units,
	}), poseidon2.Truncate(s.Root)
}

// Statements returns the statements about the acks of a window's offered clients, in order: one for
// each of a client's services, and none for a client with a service beyond the limits. The
// registry's payers are those of the key's epoch. The error is ErrUnknownClient.
func Statements(acks Acks, key WindowKey, reg Registry,
	offered func(client uint64) bool) ([]Statement, error) {
	leaves := new(leafHasher).hash(acks, key)
	var statements []Statement
	last, before, fits := uint64(MaxClients), 0, true // of the client whose runs are looked at
	for from, run := range acks.Runs() {
		if !offered(run.Client) {
			continue
		}
		if run.Client != last {
			last, before, fits = run.Client, len(statements), true
		}
		client, ok := reg.Client(run.Client)
		if !ok {
			return nil, fmt.Errorf("statements: %w", at("ack", from,
				fmt.Errorf("%w %d", ErrUnknownClient, run.Client)))
		}
		to := from + int(run.Count)
		s := Statement{Client: run.Client, Payer: client.Payer, Service: run.Service, Acks: run.Count}
		for i := from; i < to; i++ {
			fits = fits && add(&s.Units, acks.Units(i))
		}
		if fits = fits && s.Check() == nil; !fits {
			statements = statements[:before]
			continue
		}
		s.Root = TruncateRoot(blake3.Root(&AckTreeKind.Node, leaves[from*blake3.Size:to*blake3.Size]))
		statements = append(statements, s)
	}
	return statements, nil
}
