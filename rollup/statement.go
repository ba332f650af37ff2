package rollup

import (
	"fmt"
	"math/bits"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/poseidon2"
)

// Limits of statements. A client with a service beyond them stays in the acks part.
const (
	MaxStatements     = 65536     // in a window
	MaxStatementAcks  = 1<<22 - 1 // in a statement
	MaxStatementUnits = 1 << 44   // in a statement, whatever the service's cap

	// StatementSize is the size in bytes of an encoded statement. The payer, whom the registry names,
	// is not in it.
	StatementSize = 8 + 3*4 + privateSize

	// privateSize is the size of what the list does not show of a statement.
	privateSize = 8 + 32
)

// Statement says what a client acknowledged for one service in one window (section 14).
type Statement struct {
	Client  uint64 `json:"client"`
	Payer   uint32 `json:"payer"` // account that pays for the client
	Service uint32 `json:"service"`
	First   uint32 `json:"first"`        // number of the first ack
	Acks    uint32 `json:"acks"`         // 1 to MaxStatementAcks
	Units   uint64 `json:"units,string"` // Acks to Acks times the service's cap
	Root    Hash   `json:"root"`         // see StatementRoot
}

// Run returns the acks that the statement is about.
func (s *Statement) Run() Run {
	return Run{Client: s.Client, Service: s.Service, First: s.First, Count: s.Acks}
}

// StatementRoot returns the root that an honest statement about these acks has: that of the ack
// tree over them, with the top three bits of its last byte cleared, so that it is below the order
// of the proof's field.
func StatementRoot(acks Acks, key WindowKey) Hash { return TruncateRoot(AckTree(acks, key).Root()) }

// TruncateRoot clears the top three bits of the last byte of a root.
func TruncateRoot(root Hash) Hash {
	root[len(root)-1] &= 0x1f
	return root
}

// Append appends the encoding, which leaves the payer out.
func (s *Statement) Append(dst []byte) []byte { return s.appendPrivate(appendRun(dst, s.Run())) }

// appendPrivate appends what the list does not show.
func (s *Statement) appendPrivate(dst []byte) []byte {
	return append(le.AppendUint64(dst, s.Units), s.Root[:]...)
}

// ParseStatement decodes exactly StatementSize bytes; the payer stays zero. Errors: ErrMalformed,
// ErrStatement.
func ParseStatement(b []byte) (Statement, error) {
	r := newReader(b)
	s := Statement{Client: r.U64(), Service: r.U32(), First: r.U32(), Acks: r.U32(), Units: r.U64(),
		Root: r.hash()}
	if s.Client >= MaxClients {
		r.Fail("client %d", s.Client)
	}
	err := r.End()
	if err == nil {
		err = s.Check()
	}
	if err != nil {
		return Statement{}, fmt.Errorf("statement: %w", err)
	}
	return s, nil
}

// Check holds the bounds of a statement that need no cap: ErrStatement.
func (s *Statement) Check() error {
	if err := checkStatementAcks(s.Acks, 1); err != nil {
		return err
	}
	return s.checkPrivate(MaxStatementUnits)
}

// CheckCap holds the bounds of a statement about a service with a cap: ErrStatement.
func (s *Statement) CheckCap(unitCap uint64) error {
	if err := checkStatementAcks(s.Acks, unitCap); err != nil {
		return err
	}
	return s.checkPrivate(uint64(s.Acks) * unitCap)
}

// checkStatementAcks holds those that the list shows: ErrStatement.
func checkStatementAcks(acks uint32, unitCap uint64) error {
	hi, most := bits.Mul64(uint64(acks), unitCap)
	if acks == 0 || acks > MaxStatementAcks || hi > 0 || most > MaxStatementUnits {
		return fmt.Errorf("%w: %d acks of up to %d units", ErrStatement, acks, unitCap)
	}
	return nil
}

// checkPrivate holds the others, of a statement that may have so many units: ErrStatement.
func (s *Statement) checkPrivate(most uint64) error {
	if s.Units < uint64(s.Acks) || s.Units > most {
		return fmt.Errorf("%w: %d units, where %d to %d may be", ErrStatement, s.Units, s.Acks, most)
	}
	if _, err := poseidon2.ParseElement(s.Root[:]); err != nil {
		return fmt.Errorf("%w: root %s: %w", ErrStatement, s.Root, err)
	}
	return nil
}

// Elements returns the two elements that stand for the statement in the tree. The error, of a root
// that is none, is ErrStatement.
func (s *Statement) Elements() (fields, root poseidon2.Element, err error) {
	run := s.Run()
	w := publicPart(s.Payer, &run)
	fields = poseidon2.FromUint64s([4]uint64{w[0], w[1], w[2] | s.Units<<37, s.Units >> 27})
	if root, err = poseidon2.ParseElement(s.Root[:]); err != nil {
		err = fmt.Errorf("%w: root %s: %w", ErrStatement, s.Root, err)
	}
	return fields, root, err
}

// publicPart is payer + 2^32·service + 2^64·client + 2^108·first + 2^141·acks: of the statement's
// first element all but the units, which begin at 2^165.
func publicPart(payer uint32, run *Run) [3]uint64 {
	return [3]uint64{
		uint64(payer) | uint64(run.Service)<<32,
		run.Client | uint64(run.First)<<44,
		uint64(run.First)>>20 | uint64(run.Count)<<13,
	}
}

// Statements returns the statements about the acks of a window's offered clients, in order: one for
// each of a client's services, and none for a client with a service beyond the limits. Errors:
// ErrUnknownClient, ErrUnknownService.
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
		client, known := reg.Client(run.Client)
		if !known {
			return nil, fmt.Errorf("statements: %w", at("ack", from,
				fmt.Errorf("%w %d", ErrUnknownClient, run.Client)))
		}
		unitCap, known := reg.UnitCap(run.Service)
		if !known {
			return nil, fmt.Errorf("statements: %w", at("ack", from,
				fmt.Errorf("%w %d", ErrUnknownService, run.Service)))
		}
		s, ok := newStatement(acks, leaves, from, run)
		if fits = fits && ok && s.CheckCap(unitCap) == nil; !fits {
			statements = statements[:before]
			continue
		}
		s.Payer = client.Payer
		statements = append(statements, s)
	}
	return statements, nil
}

// newStatement returns the statement about a run whose first ack is at from, and false when its
// units overflow. It uses up the leaves.
func newStatement(acks Acks, leaves []byte, from int, run Run) (Statement, bool) {
	s := Statement{Client: run.Client, Service: run.Service, First: run.First, Acks: run.Count}
	to := from + int(run.Count)
	for i := from; i < to; i++ {
		if !add(&s.Units, acks.Units(i)) {
			return s, false
		}
	}
	s.Root = TruncateRoot(blake3.Root(&AckTreeKind.Node, leaves[from*blake3.Size:to*blake3.Size]))
	return s, true
}
