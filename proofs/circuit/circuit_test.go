package circuit

import (
	"errors"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark/constraint"
	"github.com/consensys/gnark/constraint/solver"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs"
	"github.com/consensys/gnark/test"

	"github.com/waybill-network/waybill/kernels/poseidon2"
	"github.com/waybill-network/waybill/rollup"
)

// tiny is the same relation on fewer places, fast enough for thousands of windows. Its limbs are as wide as the large
// circuits' are.
var tiny = Shape{Statements: 16, Rows: 20, Level: 1, Width: 11}

var small, _ = ShapeOf(256)

var systems sync.Map // of Shape

func system(t testing.TB, shape Shape) constraint.ConstraintSystem {
	t.Helper()
	compiled := sync.OnceValues(func() (constraint.ConstraintSystem, error) { return compile(shape) })
	found, _ := systems.LoadOrStore(shape, compiled)
	s, err := found.(func() (constraint.ConstraintSystem, error))()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// satisfied solves the compiled system for input wires, with a random point in place of the commitment's digest.
func satisfied(t testing.TB, shape Shape, values fr.Vector) error {
	t.Helper()
	s := system(t, shape)
	w, err := Witness(values)
	if err != nil {
		t.Fatal(err)
	}
	point := solver.OverrideHint(solver.GetHintID(cs.Bsb22CommitmentComputePlaceholder), func(_ *big.Int, _, out []*big.Int) error {
		var e fr.Element
		e.MustSetRandom()
		e.BigInt(out[0])
		return nil
	})
	return s.IsSolved(w, point)
}

// values are those that a prover would give the claim's wires, true or not.
func (c *claim) values(t testing.TB) fr.Vector {
	t.Helper()
	components := c.components()
	return c.valuesFor(t, components.public())
}

func (c *claim) valuesFor(t testing.TB, public *big.Int) fr.Vector {
	t.Helper()
	segment := &rollup.Segment{Rows: c.rows, Public: element(public), Challenge: element(c.gamma)}
	for i := range c.statements {
		segment.Clients = append(segment.Clients, rollup.ListedClient{Client: c.statements[i].Client, Signed: c.signed[i]})
	}
	return c.shape.assign(segment, c.statements)
}

func element(x *big.Int) poseidon2.Element {
	var e fr.Element
	e.SetBigInt(x)
	return poseidon2.Element(e)
}

// window returns a claim that holds. It has n statements, of at most n clients, and at least one row.
func window(rng *rand.Rand, shape Shape, n int) claim {
	c := claim{shape: shape, gamma: new(big.Int).Rsh(new(big.Int).SetBytes(randomBytes(rng)), 3)}
	payers, services := 1+rng.IntN(4), 1+rng.IntN(5)
	client, signs := pick(rng), rng.IntN(4) > 0
	payer := rng.IntN(payers)
	for len(c.statements) < n {
		for service := range services {
			if len(c.statements) == n || rng.IntN(2) == 0 {
				continue
			}
			acks := [...]uint32{1, 65536, 1 + rng.Uint32N(65536)}[rng.IntN(3)]
			units := [...]uint64{uint64(acks), 1<<56 - 1, rng.Uint64N(1 << 56)}[rng.IntN(3)]
			s := rollup.Statement{Client: client, Payer: spread(payer), Service: spread(service), Acks: acks, Units: units}
			copy(s.Root[:], randomBytes(rng))
			s.Root[31] &= 0x1f
			c.statements, c.signed = append(c.statements, s), append(c.signed, signs)
		}
		client += 1 + [...]uint32{0, rng.Uint32N(1000), rng.Uint32N(1 << 24)}[rng.IntN(3)]
		payer, signs = rng.IntN(payers), rng.IntN(4) > 0
	}
	c.total()
	for extra := rng.IntN(3); extra > 0 && len(c.rows) < shape.Rows; extra-- { // of the acks part alone
		c.rows = append(c.rows, rollup.Row{Payer: 1<<31 + 1, Service: uint32(extra)})
	}
	slices.SortFunc(c.rows, compareIDs)
	return c.honest()
}

// spread makes ids small, close to a limb's bound, or close to 2^32.
func spread(i int) uint32 { return [...]uint32{0, 7, 1<<11 - 1, 1 << 31, 1<<32 - 1}[i] }

func pick(rng *rand.Rand) uint32 { return [...]uint32{0, 1, rng.Uint32N(1 << 28)}[rng.IntN(3)] }

func randomBytes(rng *rand.Rand) []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// total makes the rows that follow from the statements.
func (c *claim) total() {
	c.rows = nil
	for _, s := range c.statements {
		if _, found := findRow(c.rows, &s); !found {
			c.rows = append(c.rows, rollup.Row{Payer: s.Payer, Service: s.Service})
			slices.SortFunc(c.rows, compareIDs)
		}
	}
	for i, s := range c.statements {
		if c.signed[i] {
			row, _ := findRow(c.rows, &s)
			c.rows[row].Acks += uint64(s.Acks)
			c.rows[row].Units += s.Units
		}
	}
}

func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func holds(t testing.TB, c claim) {
	t.Helper()
	if err := c.check(); err != nil {
		t.Fatalf("the reference refuses: %v", err)
	}
	if err := satisfied(t, c.shape, c.values(t)); err != nil {
		t.Fatalf("the circuit refuses: %v", err)
	}
}

func fails(t *testing.T, name string, c claim) {
	t.Helper()
	if err := c.check(); err == nil {
		t.Errorf("%s: the reference accepts", name)
	}
	if err := satisfied(t, c.shape, c.values(t)); err == nil {
		t.Errorf("%s: the circuit accepts", name)
	}
}

// TestEngine runs the relation outside a constraint system too.
func TestEngine(t *testing.T) {
	rng := seeded(t)
	for _, n := range []int{1, 13, 16} {
		c := window(rng, tiny, n)
		assignment := New(tiny)
		c.fill(t, assignment)
		if err := test.IsSolved(New(tiny), assignment, ecc.BN254.ScalarField()); err != nil {
			t.Errorf("%d statements: %v", n, err)
		}
		c.rows[0].Acks++
		c.fill(t, assignment)
		if test.IsSolved(New(tiny), assignment, ecc.BN254.ScalarField()) == nil {
			t.Errorf("%d statements: it accepts another sum", n)
		}
	}
}

// fill gives the wires of an assignment their values, and holds gnark's order of them against ours.
func (c *claim) fill(t *testing.T, assignment *Circuit) {
	values := c.values(t)
	next := 0
	one := func(v *frontend.Variable) { *v = values[next]; next++ }
	num := func(n number) {
		for i := range n.Limbs {
			one(&n.Limbs[i])
		}
		for i := range n.Bits {
			one(&n.Bits[i])
		}
	}
	one(&assignment.Public)
	one(&assignment.Challenge)
	for i := range assignment.Statements {
		s := &assignment.Statements[i]
		for _, v := range []*frontend.Variable{&s.Present, &s.Signed, &s.Client, &s.Payer, &s.Service, &s.Row} {
			one(v)
		}
		num(s.Acks)
		num(s.Units)
		one(&s.Root)
		one(&s.Carry)
		num(s.Gap)
		num(s.RowGap)
	}
	num(assignment.Tail)
	for i := range assignment.Rows {
		r := &assignment.Rows[i]
		num(r.Payer)
		num(r.Service)
		one(&r.Element)
		num(r.Count)
		one(&r.Ratio)
	}
	for i := range assignment.Uses {
		one(&assignment.Uses[i])
	}
	if next != len(values) {
		t.Fatalf("%d values, %d wires", len(values), next)
	}
	w, err := frontend.NewWitness(assignment, ecc.BN254.ScalarField())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(w.Vector().(fr.Vector), values) {
		t.Fatal("gnark orders the wires otherwise")
	}
}

// TestShapesOfWindows holds reference, circuit and package rollup against each other on windows of every kind.
func TestShapesOfWindows(t *testing.T) {
	rng := seeded(t)
	set := func(c claim, signed func(i int) bool) claim {
		for i := range c.signed {
			c.signed[i] = signed(i)
		}
		c.total()
		return c.honest()
	}
	for _, shape := range []Shape{tiny, small} {
		size := shape.Statements
		for _, n := range []int{1, 2, size / 2, size/2 + 1, size - 1, size} {
			c := window(rng, shape, n)
			holds(t, c)
			c.listed = nil
			holds(t, set(c, func(i int) bool { return i != n/2 }))
			if shape == tiny {
				c.listed = nil
				holds(t, set(c, func(i int) bool { return i == n/2 }))
				c.listed = nil
				holds(t, set(c, func(i int) bool { return false }))
			}
		}
	}
	full := claim{shape: small, gamma: big.NewInt(2)} // as many rows as there can be, and the highest ids
	for i := range uint32(256) {
		full.statements = append(full.statements, rollup.Statement{Client: 1<<32 - 256 + i, Payer: 1<<32 - 1, Service: 1<<32 - 256 + i,
			Acks: 1 + 257*i, Units: 1<<56 - 1 - uint64(i)})
		full.signed = append(full.signed, i%3 != 0)
	}
	full.statements[255].Acks = 65536
	full.total()
	holds(t, full.honest())
}

func TestAgreesWithRollup(t *testing.T) {
	rng := seeded(t)
	for _, n := range []int{1, 200, 256, 300} {
		c := window(rng, small, n)
		tree := rollup.NewStatementTree(c.statements)
		h := &rollup.Header{StatementCount: uint32(n), StatementRoot: tree.Root(), Rows: c.rows}
		signed := func(client uint32) bool { return c.signed[slices.Index(c.clients(), client)] }
		c.signed[0] = true
		list := rollup.NewClientList(c.statements, signed)
		for i := range list {
			c.signed[i] = list[i].Signed
		}
		segments, err := rollup.Segments(h, tree, list, 256)
		if err != nil {
			t.Fatal(err)
		}
		for i := range segments {
			s := &segments[i]
			to := min(n, (i+1)*256)
			part := claim{shape: small, statements: c.statements[i*256 : to], signed: c.signed[i*256 : to], rows: s.Rows}
			challenge := fr.Element(s.Challenge)
			part.gamma = challenge.BigInt(new(big.Int))
			part = part.honest()
			if err := part.check(); err != nil {
				t.Fatal(err)
			}
			components := part.components()
			if public := element(components.public()); public != s.Public {
				t.Fatalf("segment %d of %d statements: the public input is %v, not %v", i, n, s.Public, public)
			}
			values, err := Assign(s, part.statements)
			if err != nil {
				t.Fatal(err)
			}
			if err := satisfied(t, small, values); err != nil {
				t.Fatal(err)
			}
			for what, spoil := range map[string]func(s *rollup.Segment, st []rollup.Statement){
				"no statements": func(s *rollup.Segment, st []rollup.Statement) { s.Clients = nil },
				"client":        func(s *rollup.Segment, st []rollup.Statement) { st[0].Client++ },
				"payer":         func(s *rollup.Segment, st []rollup.Statement) { st[0].Payer++ },
				"no acks":       func(s *rollup.Segment, st []rollup.Statement) { st[0].Acks = 0 },
				"units":         func(s *rollup.Segment, st []rollup.Statement) { st[0].Units = 1 << 56 },
				"service":       func(s *rollup.Segment, st []rollup.Statement) { st[0].Service = 99 },
				"rows":          func(s *rollup.Segment, st []rollup.Statement) { s.Rows = append(s.Rows, rollup.Row{}, rollup.Row{}) },
			} {
				copied, statements := *s, slices.Clone(part.statements)
				copied.Rows = slices.Clone(s.Rows)
				spoil(&copied, statements)
				if _, err := Assign(&copied, statements); !errors.Is(err, ErrSegment) {
					t.Errorf("%s: %v", what, err)
				}
			}
			copied := *s
			copied.Size = 512
			if _, err := Assign(&copied, part.statements); !errors.Is(err, ErrSize) {
				t.Errorf("size 512: %v", err)
			}
		}
	}
}

func (c *claim) clients() (clients []uint32) {
	for _, s := range c.statements {
		clients = append(clients, s.Client)
	}
	return clients
}
