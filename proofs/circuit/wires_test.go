package circuit

import (
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/test"

	"github.com/waybill-network/waybill/kernels/poseidon2"
	"github.com/waybill-network/waybill/proofs/internal/lying"
	"github.com/waybill-network/waybill/rollup"
)

// claim is a segment of a window, with what a verifier would know of it.
type claim struct {
	shape      Shape
	segment    rollup.Segment
	statements []rollup.Statement
	known      components
}

func element(x *big.Int) poseidon2.Element {
	var e fr.Element
	e.SetBigInt(x)
	return poseidon2.Element(e)
}

// claimOf makes the claim of a window that fits one segment. The caps of its segment are what a
// liar chose, those that the verifier knows the registry's.
func claimOf(shape Shape, w *lying.Window, made lying.Claim) claim {
	c := claim{shape: shape, segment: made.Segment, statements: made.Statements}
	seen := made.Segment
	seen.Caps = nil
	for _, r := range seen.Rows {
		seen.Caps = append(seen.Caps, w.World.Caps[r.Service])
	}
	under := w.Under
	if under == nil {
		under = w.Statements
	}
	c.known = componentsOf(shape, &seen, w.Statements, under)
	c.segment.Public = element(c.known.public())
	return c
}

func (c *claim) values() fr.Vector { return c.shape.assign(&c.segment, c.statements) }

// plain is the claim of a plain window.
func plain(shape Shape, n int) claim {
	w := lying.Plain(n)
	h, second := w.Show()
	_, claims := w.Prove(h, second, lying.Cut, lying.Choice{})
	return claimOf(shape, w, claims[0])
}

// everything takes any proof.
type everything struct{}

func (everything) VerifyProof(int, [32]byte, *[rollup.ProofSize]byte) error { return nil }

// tinyThird is the verdict of rung 3 with the tiny circuit in place of that of 256 statements,
// which is fast. It needs few statements and rows.
func tinyThird(t testing.TB, w *lying.Window, h *rollup.Header, second *rollup.Evidence) error {
	var err error
	for _, choice := range choices {
		ev, claims := w.Prove(h, second, lying.Cut, choice)
		if err = w.Verify(h, ev, everything{}); err != nil {
			return err
		}
		c := claimOf(tiny, w, claims[0])
		if err = satisfied(t, tiny, c.values()); err == nil {
			return nil
		}
	}
	return err
}

// TestDisturbedWindows changes a few things of small windows at random, which may be a lie or not:
// the rungs have one verdict. WAYBILL_WINDOWS says how many.
func TestDisturbedWindows(t *testing.T) {
	rng := seeded(t)
	n := count(t, "WAYBILL_WINDOWS", 150)
	accepted := 0
	for range n {
		w := lying.Honest(rng, 1+rng.IntN(tiny.Statements-2))
		for range rng.IntN(3) {
			disturb(w, rng)
		}
		for i := range w.Under { // evidence with other private parts is wrong where the header is not
			w.Under[i].Units, w.Under[i].Root = w.Statements[i].Units, w.Statements[i].Root
		}
		if rng.IntN(2) == 0 {
			w.Total()
		}
		if len(w.Rows) > tiny.Rows || len(w.Under) > tiny.Statements {
			continue
		}
		h, second := w.Show()
		got, want := tinyThird(t, w, h, second), w.Verify(h, second, nil)
		if (got == nil) != (want == nil) {
			t.Fatalf("rung 2 says %v, rung 3 %v: %+v", want, got, w)
		}
		if want == nil {
			accepted++
		}
	}
	if accepted < n/20 || accepted > n-n/20 {
		t.Errorf("%d of %d hold: too little is compared", accepted, n)
	}
	t.Logf("%d of %d hold", accepted, n)
}

// disturb changes something, which may make no difference.
func disturb(w *lying.Window, rng *rand.Rand) {
	n := len(w.Statements)
	i, j := rng.IntN(n), rng.IntN(n)
	s, o := &w.Statements[i], &w.Statements[j]
	row := &w.Rows[rng.IntN(len(w.Rows))]
	switch rng.IntN(12) {
	case 0:
		s.Units ^= 1 << rng.IntN(50)
	case 1:
		s.Units, o.Units = o.Units, s.Units
	case 2:
		s.Units += uint64(rng.IntN(3)) - 1
	case 3:
		s.Acks ^= 1 << rng.IntN(24)
	case 4:
		s.First ^= 1 << rng.IntN(32)
	case 5:
		s.Service = o.Service
	case 6:
		w.Signed[i] = w.Signed[j]
	case 7:
		row.Units += uint64(rng.IntN(3)) - 1
	case 8:
		row.Acks += uint64(rng.IntN(3)) - 1
	case 9:
		w.World.Caps[s.Service] = 1 + rng.Uint64N(1<<rng.IntN(41))
	case 10:
		w.Statements[i], w.Statements[j] = w.Statements[j], w.Statements[i]
	default:
		w.Under = slices.Clone(w.Statements)
		switch u := &w.Under[i]; rng.IntN(5) {
		case 0:
			u.Acks = o.Acks
		case 1:
			u.Client = o.Client
		case 2:
			u.Payer = o.Payer
		case 3:
			u.Service = o.Service
		case 4:
			u.First ^= 1 << rng.IntN(32)
		}
	}
}

// TestEngine runs the relation outside a constraint system too.
func TestEngine(t *testing.T) {
	for _, n := range []int{1, 13, 16} {
		c := plain(tiny, n)
		assignment := New(tiny)
		c.fill(t, assignment)
		if err := test.IsSolved(New(tiny), assignment, ecc.BN254.ScalarField()); err != nil {
			t.Errorf("%d statements: %v", n, err)
		}
		c.segment.Rows[0].Acks++
		c.fill(t, assignment)
		if test.IsSolved(New(tiny), assignment, ecc.BN254.ScalarField()) == nil {
			t.Errorf("%d statements: it accepts another sum", n)
		}
	}
}

// fill gives the wires of an assignment their values, and holds gnark's order of them against ours.
func (c *claim) fill(t *testing.T, assignment *Circuit) {
	values := c.values()
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
		for _, v := range []*frontend.Variable{&s.Present, &s.Signed, &s.ID, &s.Cap, &s.Row} {
			one(v)
		}
		for _, n := range []number{s.Client, s.First, s.Acks, s.Excess, s.Slack} {
			num(n)
		}
		one(&s.Root)
	}
	for i := range assignment.Rows {
		r := &assignment.Rows[i]
		num(r.ID)
		num(r.Cap)
		num(r.Count)
		one(&r.Element)
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

// wires locates the wires of a statement in a witness.
type wires struct {
	present, signed, id, cap, row           int
	client, first, acks, excess, slack, end int // the first limb of each
}

func size(n number) int { return len(n.Limbs) + len(n.Bits) }

func (s Shape) wires(i int) wires {
	c := New(s).Statements[0]
	w := wires{present: 0, signed: 1, id: 2, cap: 3, row: 4, client: 5}
	w.first = w.client + size(c.Client)
	w.acks = w.first + size(c.First)
	w.excess = w.acks + size(c.Acks)
	w.slack = w.excess + size(c.Excess)
	root := w.slack + size(c.Slack)
	from := 2 + i*(root+1)
	for _, at := range []*int{&w.present, &w.signed, &w.id, &w.cap, &w.row, &w.client, &w.first,
		&w.acks, &w.excess, &w.slack} {
		*at += from
	}
	w.end = from + root + 1
	return w
}

func (w *wires) root() int { return w.end - 1 }

// rowWires locates the wires of a row.
type rowWires struct{ id, cap, count, element int }

func (s Shape) rowWires(i int) rowWires {
	r := New(s).Rows[0]
	w := rowWires{cap: size(r.ID)}
	w.count = w.cap + size(r.Cap)
	w.element = w.count + size(r.Count)
	from := s.wires(s.Statements-1).end + i*(w.element+1)
	return rowWires{from, from + w.cap, from + w.count, from + w.element}
}

// TestEveryWire changes every input wire by itself. Only what an absent statement leaves free may
// change.
func TestEveryWire(t *testing.T) {
	rng := seeded(t)
	shape := tiny
	shape.Width = 9
	c := plain(shape, 14)
	good := c.values()
	if err := satisfied(t, shape, good); err != nil {
		t.Fatal(err)
	}
	free := map[int]bool{}
	for i := len(c.statements); i < shape.Statements; i++ {
		w := shape.wires(i)
		free[w.id], free[w.cap], free[w.row], free[w.root()] = true, true, true, true
	}
	for i := range good {
		values := slices.Clone(good)
		var delta fr.Element
		delta.SetInt64([]int64{1, -1, 1 << 32, rng.Int64()}[rng.IntN(4)])
		values[i].Add(&values[i], &delta)
		if accepted := satisfied(t, shape, values) == nil; accepted != free[i] {
			t.Errorf("wire %d of %d plus %s: accepted is %v", i, len(good), delta.String(), accepted)
		}
	}
}

// fingerprintOf is what the circuit computes of wires, whatever the list says.
func (c *claim) fingerprintOf(values fr.Vector) *big.Int {
	sum := new(big.Int)
	for i := c.shape.Statements - 1; i >= 0; i-- {
		w := c.shape.wires(i)
		part := c.integer(values, w.acks, w.excess)
		for _, field := range [][2]int{{w.first, w.acks}, {w.client, w.first}} {
			bits := uint(33)
			if field[0] == w.client {
				bits = 44
			}
			part.Add(part.Lsh(part, bits), c.integer(values, field[0], field[1]))
		}
		part.Lsh(part, 64).Add(part, values[w.id].BigInt(new(big.Int)))
		part.Mul(part, values[w.present].BigInt(new(big.Int)))
		sum.Mod(sum.Add(sum.Mul(sum, c.known.gamma), part), order)
	}
	return sum
}

// integer is the number of limbs.
func (c *claim) integer(values fr.Vector, from, to int) *big.Int {
	sum := new(big.Int)
	for i := to - 1; i >= from; i-- {
		sum.Lsh(sum, c.shape.Width).Add(sum, values[i].BigInt(new(big.Int)))
	}
	return sum
}

// TestSplits has statements and rows whose packed values are right and whose fields are not.
func TestSplits(t *testing.T) {
	c := plain(tiny, 14)
	good := c.values()
	if c.known.fingerprint.Cmp(c.fingerprintOf(good)) != 0 {
		t.Error("the test does not know the fingerprint")
	}
	w, last, absent := tiny.wires(6), tiny.wires(13), tiny.wires(14)
	if s := c.statements[6]; s.Service != 3 || s.Acks != 106 || !c.segment.List[6].Signed {
		t.Fatal("the changes below are about another statement")
	}
	const cap = 1 << 30 // of the statement's service
	rows := tiny.rowWires(0)
	other := tiny.rowWires(1)
	type change struct {
		at int
		by *big.Int
	}
	n := big.NewInt
	minus := func(x *big.Int) *big.Int { return new(big.Int).Neg(x) }
	sum := func(x ...*big.Int) *big.Int {
		s := new(big.Int)
		for _, v := range x {
			s.Add(s, v)
		}
		return s
	}
	capped := func(acks *big.Int) *big.Int { return new(big.Int).Mul(acks, n(cap)) }
	for name, changes := range map[string][]change{
		// The element in the tree stays, and the fingerprint is made to follow.
		"row and client":   {{w.id, power(64)}, {w.client, n(-1)}},
		"client and first": {{w.client, power(44)}, {w.first, n(-1)}},
		"first and acks": {{w.first, power(33)}, {w.acks, n(-1)}, {w.excess, n(1)},
			{w.slack, n(-cap)}},
		"acks and units": {{w.acks, power(24)}, {w.excess, minus(sum(power(24), n(1)))},
			{w.slack, sum(capped(power(24)), n(1))}},
		"acks and units, the other way": {{w.acks, minus(power(24))}, {w.excess, sum(power(24), n(1))},
			{w.slack, minus(sum(capped(power(24)), n(1)))}},
		// The sums stay.
		"a higher cap":        {{w.cap, n(1)}, {w.slack, n(106)}},
		"a lower cap":         {{w.cap, n(-1)}, {w.slack, n(-106)}},
		"another row":         {{w.row, n(1)}},
		"an ack and a unit":   {{w.acks, n(1)}, {w.excess, n(-1)}, {w.slack, n(cap)}},
		"a unit and no ack":   {{w.excess, n(1)}, {w.slack, n(-1)}},
		"slack without units": {{w.slack, n(1)}},
		// Of the rows.
		"a row's id and acks":      {{rows.id, power(64)}},
		"a row's cap and count":    {{rows.cap, power(44)}, {rows.count, n(1)}},
		"a row's cap and id":       {{rows.cap, n(1)}, {rows.id, minus(power(192))}},
		"a row's count":            {{rows.count, n(1)}},
		"a row read as another":    {{rows.id, n(4 << 32)}},
		"two rows exchanged":       {{rows.id, n(4 << 32)}, {other.id, n(-4 << 32)}},
		"an absent one is signed":  {{absent.signed, n(1)}},
		"a gap in presence":        {{last.present, n(-1)}, {absent.present, n(1)}},
		"presence of two":          {{absent.present, n(2)}},
		"an absent one is present": {{absent.present, n(1)}},
		"signed two":               {{w.signed, n(1)}},
	} {
		values := slices.Clone(good)
		for _, ch := range changes {
			var delta fr.Element
			delta.SetBigInt(ch.by)
			values[ch.at].Add(&values[ch.at], &delta)
		}
		// The best public input that can be made for it.
		x := c.known
		x.fingerprint = c.fingerprintOf(values)
		values[0] = fr.Element(element(x.public()))
		if satisfied(t, tiny, values) == nil {
			t.Errorf("%s: accepted", name)
		}
		if err := satisfied(t, tiny, c.recount(values)); err == nil {
			t.Errorf("%s: accepted with the limbs counted again", name)
		}
	}
	if err := satisfied(t, tiny, c.recount(good)); err != nil {
		t.Errorf("the limbs, counted again: %v", err)
	}
}

// TestMerges has rows read as others so that ids and sums stay what they are together: those of
// payers 2 and 4 as 4 and 2, which the rows of payers 6 and 0 make good. The index in each row's
// key refuses that, or else payers of equal acks could be billed for one another.
func TestMerges(t *testing.T) {
	w := &lying.Window{World: &lying.World{Clients: map[uint64]rollup.Client{},
		Caps: map[uint32]uint64{0: 1 << 20}}}
	for i, payer := range []uint32{2, 4} {
		w.World.Clients[uint64(i)] = rollup.Client{Payer: payer}
		w.Statements = append(w.Statements, rollup.Statement{Client: uint64(i), Payer: payer, Acks: 100,
			Units: uint64(1000 * (i + 1))})
		w.Signed = append(w.Signed, true)
	}
	w.Total()
	w.Rows = slices.Concat([]rollup.Row{{}}, w.Rows, []rollup.Row{{Payer: 6}}) // these have acks alone
	claim := func() claim {
		h, second := w.Show()
		_, claims := w.Prove(h, second, lying.Cut, lying.Choice{})
		return claimOf(tiny, w, claims[0])
	}
	honest := claim()
	if err := satisfied(t, tiny, honest.values()); err != nil {
		t.Fatal(err)
	}
	w.Rows[1].Units, w.Rows[2].Units = w.Rows[2].Units, w.Rows[1].Units
	c := claim()
	values := c.values()
	set := func(at int, v uint64) { values[at].SetUint64(v) }
	set(tiny.wires(0).row, 2)
	set(tiny.wires(1).row, 1)
	for row, id := range []uint64{2, 4, 2, 4} { // of payers 0, 2, 4 and 6
		set(tiny.rowWires(row).id, id)
	}
	if satisfied(t, tiny, c.recount(values)) == nil {
		t.Error("accepted")
	}
}

// recount makes good how often each entry of the lookup table is used, as far as limbs are entries.
func (c *claim) recount(values fr.Vector) fr.Vector {
	values = slices.Clone(values)
	layout := New(c.shape)
	uses := make([]uint64, len(layout.Uses))
	look := func(at int, n number) int {
		for i := range n.Limbs {
			if v := values[at+i]; v.IsUint64() && v.Uint64() < uint64(len(uses)) {
				uses[v.Uint64()]++
			}
		}
		return at + size(n)
	}
	at := 2
	for _, s := range layout.Statements {
		at += 5
		for _, n := range []number{s.Client, s.First, s.Acks, s.Excess, s.Slack} {
			at = look(at, n)
		}
		at++
	}
	for _, r := range layout.Rows {
		for _, n := range []number{r.ID, r.Cap, r.Count} {
			at = look(at, n)
		}
		at++
	}
	for i, n := range uses {
		values[at+i].SetUint64(n)
	}
	return values
}

// TestPublicInput replaces one component of the public input after another.
func TestPublicInput(t *testing.T) {
	small, err := ShapeOf(256)
	if err != nil {
		t.Fatal(err)
	}
	for _, shape := range []Shape{tiny, small} {
		c, another := plain(shape, 15), plain(shape, 13)
		if shape == small {
			c, another = plain(shape, 200), plain(shape, 198)
		}
		good := c.known
		with := func(public *big.Int) error {
			c.segment.Public = element(public)
			return satisfied(t, shape, c.values())
		}
		if err := with(good.public()); err != nil {
			t.Fatal(err)
		}
		one := big.NewInt(1)
		for name, change := range map[string]func(x *components){
			"node 0": func(x *components) { x.nodes = append([]*big.Int{one}, x.nodes[1:]...) },
			"node 1": func(x *components) { x.nodes = []*big.Int{x.nodes[0], one} },
			"node 7": func(x *components) {
				x.nodes = append(slices.Clone(x.nodes), slices.Repeat([]*big.Int{one}, 8-len(x.nodes))...)
			},
			"count":       func(x *components) { x.count = another.known.count },
			"no count":    func(x *components) { x.count = new(big.Int) },
			"table":       func(x *components) { x.table = another.known.table },
			"flags":       func(x *components) { x.flags = new(big.Int) },
			"gamma":       func(x *components) { x.gamma = new(big.Int).Add(x.gamma, one) },
			"fingerprint": func(x *components) { x.fingerprint = new(big.Int).Add(x.fingerprint, one) },
			"all":         func(x *components) { *x = another.known },
		} {
			x := good
			change(&x)
			if with(x.public()) == nil {
				t.Errorf("%s: another one is accepted", name)
			}
		}
		for _, public := range []*big.Int{new(big.Int), one} {
			if with(public) == nil {
				t.Errorf("the public input %v is accepted", public)
			}
		}
	}
}
