package circuit

import (
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"

	"github.com/waybill-network/waybill/rollup"
)

// example is a window of the tiny circuit, or of the small one, in which every lie below can be told.
func example(shape Shape, n int) claim {
	c := claim{shape: shape, gamma: big.NewInt(1 << 40)}
	for i := range uint32(n) {
		s := rollup.Statement{Client: 10 + i/2*3, Payer: 5 + i/2%2, Service: 3 + i%2*4, Acks: 100 + i, Units: 1<<20 + uint64(i)<<30}
		s.Root[0] = byte(i)
		c.statements, c.signed = append(c.statements, s), append(c.signed, i/2%3 != 1)
	}
	c.total()
	return c.honest()
}

// TestLies tells one lie at a time, each with the public input and the wires that suit it best.
func TestLies(t *testing.T) {
	lies := map[string]func(c *claim){
		// Of the verifier's list.
		"another client is listed": func(c *claim) { c.listed[4].client++ },
		"payers are swapped":       func(c *claim) { c.listed[0].payer, c.listed[2].payer = c.listed[2].payer, c.listed[0].payer },
		"clients are swapped":      func(c *claim) { c.listed[0].client, c.listed[2].client = c.listed[2].client, c.listed[0].client },
		"a client is missing":      func(c *claim) { c.listed = slices.Delete(c.listed, 4, 5) },
		"the last client is missing": func(c *claim) {
			c.listed, c.flags, c.count = c.listed[:len(c.listed)-1], c.flags[:len(c.flags)-1], c.count-1
		},
		"a client is listed twice":      func(c *claim) { c.listed = slices.Insert(c.listed, 4, c.listed[4]) },
		"one more is counted":           func(c *claim) { c.count++ },
		"one less is counted":           func(c *claim) { c.count-- },
		"an unsigned one is listed so":  func(c *claim) { c.flags[2] = true },
		"a signed one is listed not so": func(c *claim) { c.flags[0] = false },
		"nobody is listed as signed":    func(c *claim) { clear(c.flags) },
		// Of the tree.
		"another client in the tree":  func(c *claim) { c.tree[1].Client++ },
		"another payer in the tree":   func(c *claim) { c.tree[1].Payer++ },
		"another service in the tree": func(c *claim) { c.tree[1].Service++ },
		"fewer acks in the tree":      func(c *claim) { c.tree[1].Acks-- },
		"fewer units in the tree":     func(c *claim) { c.tree[1].Units-- },
		"another root in the tree":    func(c *claim) { c.tree[1].Root[3]++ },
		"one less in the tree":        func(c *claim) { c.tree = c.tree[:len(c.tree)-1] },
		"something beyond the last":   func(c *claim) { c.tree = append(c.tree, rollup.Statement{Root: rollup.Hash{1}}) },
		"the tree of another window":  func(c *claim) { c.tree = slices.Clone(c.tree); slices.Reverse(c.tree) },
		// Of the table.
		"a row with one ack more":          func(c *claim) { c.rows[0].Acks++ },
		"a row with one ack less":          func(c *claim) { c.rows[0].Acks-- },
		"a row with one unit more":         func(c *claim) { c.rows[0].Units++ },
		"a row with one unit less":         func(c *claim) { c.rows[0].Units-- },
		"units for an ack":                 func(c *claim) { c.rows[0].Acks += 1 << 32; c.rows[0].Units-- },
		"a row of another payer":           func(c *claim) { c.rows[3].Payer++ },
		"a row of another service":         func(c *claim) { c.rows[3].Service++ },
		"units moved between rows":         func(c *claim) { c.rows[0].Units, c.rows[1].Units = c.rows[1].Units, c.rows[0].Units },
		"unsigned statements are paid for": func(c *claim) { s := c.signed; c.signed = repeat(true, len(s)); c.total(); c.signed, c.flags = s, s },
		"a row with sums and no statement": func(c *claim) { c.rows = append(c.rows, rollup.Row{Payer: 99, Acks: 1, Units: 1}) },
		"a statement without a row":        func(c *claim) { c.rows = c.rows[1:] },
		"an unsigned one without a row": func(c *claim) {
			c.signed[0], c.signed[1] = false, false
			for i := range c.statements {
				c.statements[i].Payer = 6
			}
			c.statements[0].Payer = 5
			c.total()
			c.rows = c.rows[1:]
		},
		"an unsigned one of padding's row": func(c *claim) {
			c.statements[0].Payer, c.statements[0].Service, c.signed[0], c.signed[1] = 0, 0, false, false
			c.total()
			c.rows = c.rows[1:]
		},
		// Of the statements.
		"statements are swapped":      func(c *claim) { swap(c, 2, 5) },
		"services are not in order":   func(c *claim) { swap(c, 2, 3) },
		"a statement twice":           func(c *claim) { duplicate(c, 6) },
		"an unsigned statement twice": func(c *claim) { duplicate(c, 2) },
		"the last statement twice":    func(c *claim) { duplicate(c, len(c.statements)-1) },
		"an unlisted client is signed": func(c *claim) {
			c.signed[2], c.signed[3] = true, true
			c.total()
			c.flags = repeat(false, len(c.signed))
			c.flags[0] = true
		},
		"no acks":                       func(c *claim) { c.statements[0].Acks = 0; c.total() },
		"too many acks":                 func(c *claim) { c.statements[0].Acks = 65537; c.total() },
		"too many units":                func(c *claim) { c.statements[0].Units = 1 << 56; c.total() },
		"as many units as there can be": func(c *claim) { c.statements[0].Units = 1<<64 - 1; c.total() },
	}
	for _, c := range []claim{example(tiny, 14), example(tiny, 16), example(small, 100)} {
		holds(t, c)
	}
	for _, name := range slices.Sorted(maps.Keys(lies)) {
		for _, n := range []int{10, 15} {
			c := example(tiny, n)
			c.tree, c.flags = slices.Clone(c.tree), slices.Clone(c.flags)
			before := slices.Clone(c.statements)
			signed := slices.Clone(c.signed)
			lies[name](&c)
			if !slices.Equal(before, c.statements) || !slices.Equal(signed, c.signed) { // the public input is about them
				flags := c.flags
				c.listed = nil
				c = c.honest()
				if name == "an unlisted client is signed" {
					c.flags = flags
				}
			}
			fails(t, fmt.Sprintf("%s, of %d", name, n), c)
		}
	}
}

func repeat(v bool, n int) []bool { return slices.Repeat([]bool{v}, n) }

func swap(c *claim, i, j int) {
	c.statements[i], c.statements[j] = c.statements[j], c.statements[i]
	c.signed[i], c.signed[j] = c.signed[j], c.signed[i]
}

func duplicate(c *claim, i int) {
	c.statements = slices.Insert(c.statements, i, c.statements[i])
	c.signed = slices.Insert(c.signed, i, c.signed[i])
	c.total()
}

// TestSumsDoNotWrap has units of one row that exceed 64 bits, which takes more than 256 statements.
func TestSumsDoNotWrap(t *testing.T) {
	shape := Shape{Statements: 384, Rows: 2, Level: 2, Width: 11}
	c := claim{shape: shape, gamma: big.NewInt(3)}
	for i := range uint32(300) {
		c.statements = append(c.statements, rollup.Statement{Client: i, Acks: 65536, Units: 1<<56 - 1})
		c.signed = append(c.signed, i >= 44)
	}
	c.total()
	holds(t, c.honest())
	c.signed = repeat(true, 300)
	c.total() // modulo 2^64
	fails(t, "wrapped units", c.honest())
}

// TestPublicInput replaces one component of the public input after another.
func TestPublicInput(t *testing.T) {
	for _, shape := range []Shape{tiny, small} {
		c := example(shape, shape.Statements/2-1)
		good := c.components()
		if err := satisfied(t, shape, c.valuesFor(t, good.public())); err != nil {
			t.Fatal(err)
		}
		other := example(shape, shape.Statements/2)
		another := other.components()
		one := big.NewInt(1)
		for name, x := range map[string]components{
			"node 0":         {[]*big.Int{another.nodes[0]}, good.count, good.table, good.flags, good.gamma, good.fingerprint},
			"node 1":         {[]*big.Int{good.nodes[0], one}, good.count, good.table, good.flags, good.gamma, good.fingerprint},
			"node 7":         {append(slices.Clone(good.nodes), repeatOne(8-len(good.nodes))...), good.count, good.table, good.flags, good.gamma, good.fingerprint},
			"count":          {good.nodes, another.count, good.table, good.flags, good.gamma, good.fingerprint},
			"no count":       {good.nodes, new(big.Int), good.table, good.flags, good.gamma, good.fingerprint},
			"table":          {good.nodes, good.count, another.table, good.flags, good.gamma, good.fingerprint},
			"flags":          {good.nodes, good.count, good.table, new(big.Int), good.gamma, good.fingerprint},
			"gamma":          {good.nodes, good.count, good.table, good.flags, new(big.Int).Add(good.gamma, one), good.fingerprint},
			"fingerprint":    {good.nodes, good.count, good.table, good.flags, good.gamma, new(big.Int).Add(good.fingerprint, one)},
			"another window": another,
		} {
			if satisfied(t, shape, c.valuesFor(t, x.public())) == nil {
				t.Errorf("%s: another one is accepted", name)
			}
		}
		for _, public := range []*big.Int{new(big.Int), one, another.public()} {
			if satisfied(t, shape, c.valuesFor(t, public)) == nil {
				t.Errorf("the public input %v is accepted", public)
			}
		}
	}
}

func repeatOne(n int) []*big.Int { return slices.Repeat([]*big.Int{big.NewInt(1)}, n) }

// wires locates the wires of statement i in a witness, and its size.
type wires struct{ present, signed, client, payer, service, row, acks, units, root, carry, gap, rowGap, size int }

func (s Shape) wires(i int) wires {
	w := wires{0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0}
	w.units = w.acks + len(s.exactly(acksBits).Limbs) + len(s.exactly(acksBits).Bits)
	w.root = w.units + len(s.exactly(unitsBits).Limbs) + len(s.exactly(unitsBits).Bits)
	w.carry = w.root + 1
	w.gap = w.carry + 1
	w.rowGap = w.gap + len(s.atLeast(clientBits).Limbs)
	w.size = w.rowGap + len(s.atLeast(rowBits).Limbs)
	from := 2 + i*w.size
	for _, at := range []*int{&w.present, &w.signed, &w.client, &w.payer, &w.service, &w.row, &w.acks, &w.units, &w.root, &w.carry, &w.gap, &w.rowGap} {
		*at += from
	}
	return w
}

// TestEveryWire changes every input wire by itself. Only what an absent statement or row leaves free may change.
func TestEveryWire(t *testing.T) {
	rng := seeded(t)
	shape := tiny
	shape.Width = 9
	c := example(shape, 14)
	good := c.values(t)
	free, bits := map[int]bool{}, map[int]bool{}
	for i := len(c.statements); i < shape.Statements; i++ {
		w := shape.wires(i)
		free[w.payer], free[w.service], free[w.root] = true, true, true
		for at := w.acks + len(shape.exactly(acksBits).Limbs); at < w.units; at++ {
			bits[at] = true
		}
		for at := w.units + len(shape.exactly(unitsBits).Limbs); at < w.root; at++ {
			bits[at] = true
		}
	}
	first, size, _ := shape.rows()
	for i := len(c.rows); i < shape.Rows; i++ {
		free[first+(i+1)*size-1] = true // the ratio of two zeros
	}
	for i := range good {
		values := slices.Clone(good)
		var delta fr.Element
		delta.SetInt64([]int64{1, -1, 1 << 32, rng.Int64()}[rng.IntN(4)])
		values[i].Add(&values[i], &delta)
		if accepted := satisfied(t, shape, values) == nil; accepted != (free[i] || bits[i] && delta.IsOne()) {
			t.Errorf("wire %d of %d plus %s: accepted is %v", i, len(good), delta.String(), accepted)
		}
	}
}

// rows locates the wires of the rows in a witness: the first, how many there are in a row, and how many are a payer's.
func (s Shape) rows() (first, size, payer int) {
	first = s.wires(s.Statements).present + len(s.atLeast(clientBits).Limbs)
	payer = len(s.exactly(idBits).Limbs) + len(s.exactly(idBits).Bits)
	return first, 2*payer + 1 + len(s.atLeast(countBits).Limbs) + 1, payer
}

// TestSplits has statements and rows whose packed values are right and whose fields are not.
func TestSplits(t *testing.T) {
	c := example(tiny, 14)
	good := c.values(t)
	w, last := tiny.wires(6), tiny.wires(13)
	absent := tiny.wires(14)
	rows, _, id := tiny.rows()
	type change struct {
		at int
		by *big.Int
	}
	one, less, far := big.NewInt(1), big.NewInt(-1), power(32)
	for name, changes := range map[string][]change{
		// payer + 2^32·service stays, and with it the element in the tree; the fingerprint is made to follow.
		"payer and service":           {{w.payer, far}, {w.service, less}},
		"service and client":          {{w.service, far}, {w.client, less}},
		"client and acks":             {{w.client, far}, {w.acks, less}},
		"acks and units":              {{w.acks, far}, {w.units, less}},
		"payer of a row":              {{rows, far}, {rows + id, less}},
		"an absent one with a client": {{absent.client, one}},
		"a signed absent one":         {{absent.signed, one}},
		"a gap in presence":           {{last.present, less}, {absent.present, one}},
		"presence of two":             {{absent.present, big.NewInt(2)}},
		"signed two":                  {{w.signed, one}},
	} {
		values := slices.Clone(good)
		for _, ch := range changes {
			var delta fr.Element
			delta.SetBigInt(ch.by)
			values[ch.at].Add(&values[ch.at], &delta)
		}
		// The best public input that can be made for it: the fingerprint of the wires as they are.
		x := c.components()
		x.fingerprint = fingerprintOf(values, c.gamma)
		values[0] = fr.Element(element(x.public()))
		if satisfied(t, tiny, values) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	x := c.components()
	if x.fingerprint.Cmp(fingerprintOf(good, c.gamma)) != 0 {
		t.Error("the test does not know the fingerprint")
	}
}

func fingerprintOf(values fr.Vector, gamma *big.Int) *big.Int {
	sum := new(big.Int)
	for i := tiny.Statements - 1; i >= 0; i-- {
		w := tiny.wires(i)
		pair := values[w.payer].BigInt(new(big.Int))
		pair.Add(pair.Lsh(pair, 32), values[w.client].BigInt(new(big.Int)))
		pair.Mul(pair, values[w.present].BigInt(new(big.Int)))
		sum.Mod(sum.Add(sum.Mul(sum, gamma), pair), order)
	}
	return sum
}

// TestRandomWindows compares reference and circuit on windows as they are and with random changes; WAYBILL_WINDOWS says how many.
func TestRandomWindows(t *testing.T) {
	rng := seeded(t)
	n := 500
	if testing.Short() {
		n = 100
	}
	if more := os.Getenv("WAYBILL_WINDOWS"); more != "" {
		var err error
		if n, err = strconv.Atoi(more); err != nil {
			t.Fatal(err)
		}
	}
	accepted := 0
	for i := range n {
		shape := tiny
		if i%100 == 99 {
			shape = small
		}
		c := window(rng, shape, 1+rng.IntN(shape.Statements))
		if rng.IntN(4) > 0 {
			c.disturb(rng)
		}
		if c.twoPayers() { // no verifier asks that, as the registry names one payer of a client
			continue
		}
		err := c.check()
		if got := satisfied(t, shape, c.values(t)); (got == nil) != (err == nil) {
			t.Fatalf("window %d: the reference says %v, the circuit %v: %+v", i, err, got, c)
		}
		if err == nil {
			accepted++
		}
	}
	if accepted == 0 || accepted == n {
		t.Errorf("%d of %d hold: nothing is compared", accepted, n)
	}
	t.Logf("%d of %d hold", accepted, n)
}

func (c *claim) twoPayers() bool {
	payers := map[uint32]uint32{}
	for _, p := range c.listed {
		if payer, known := payers[p.client]; known && payer != p.payer {
			return true
		}
		payers[p.client] = p.payer
	}
	return false
}

// disturb changes something, which may make no difference.
func (c *claim) disturb(rng *rand.Rand) {
	n := len(c.statements)
	if n == 0 || len(c.rows) == 0 {
		return
	}
	i, j, row := rng.IntN(n), rng.IntN(n), rng.IntN(len(c.rows))
	public := true // follows from the changed statements
	switch rng.IntN(12) {
	case 0:
		c.statements[i].Client += rng.Uint32N(3)
	case 1:
		c.statements[i].Payer = c.statements[j].Payer
	case 2:
		c.statements[i].Service = c.statements[j].Service
	case 3:
		c.statements[i].Acks ^= 1 << rng.IntN(18)
	case 4:
		c.statements[i].Units ^= 1 << rng.IntN(58)
	case 5:
		swap(c, i, j)
	case 6:
		c.signed[i] = c.signed[j]
	case 7:
		c.rows[row].Acks += rng.Uint64N(2)
		return
	case 8:
		c.rows[row].Units ^= 1 << rng.IntN(64)
		return
	case 9:
		public = false
		c.flags = slices.Clone(c.flags)
		c.flags[i] = c.flags[j]
	case 10:
		public = false
		c.listed[i] = c.listed[j]
	case 11:
		public = false
		c.tree = slices.Clone(c.tree)
		c.tree[i].Root = c.tree[j].Root
	}
	if rng.IntN(2) == 0 {
		c.total()
	}
	if public {
		c.listed = nil
		*c = c.honest()
	}
}
