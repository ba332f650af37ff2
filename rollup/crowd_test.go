package rollup

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func newRand(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 5))
}

// crowd is a registry in which every index is a client, with one of five keys, one of a few payers
// and three of a dozen services.
type crowd struct{ payers uint32 }

func (c crowd) Client(client uint64) (Client, bool) {
	k := uint32(client % 4)
	return Client{Key: registry().keys[client%5], Payer: 100 + uint32(client%uint64(c.payers)),
		Until: math.MaxUint32, Numbers: math.MaxUint32, Services: [3]uint32{k, k + 1, k + 5}}, true
}

func (crowd) UnitCap(uint32) (uint64, bool)   { return 1 << 22, true }
func (crowd) NodeKey(uint32) ([32]byte, bool) { return [32]byte{}, false }

// randomStatements returns n statements in order, of clients of the crowd with one to three
// services.
func randomStatements(rng *rand.Rand, n int, reg crowd) (statements []Statement) {
	client := uint64(0)
	for len(statements) < n {
		client += 1 + rng.Uint64()>>(35+rng.IntN(29))
		c, _ := reg.Client(client)
		for _, service := range c.Services[:1+rng.IntN(3)] {
			s := Statement{Client: client, Payer: c.Payer, Service: service,
				First: rng.Uint32() >> (10 + rng.IntN(22)), Acks: 1 + rng.Uint32()>>(10+rng.IntN(22))}
			s.Acks = min(s.Acks, MaxStatementAcks)
			s.Units = uint64(s.Acks) * (1 + rng.Uint64()>>(42+rng.IntN(22)))
			for i := range s.Root {
				s.Root[i] = byte(rng.Uint32())
			}
			s.Root[31] &= 0x2f // below the order, and often above what honest nodes have
			statements = append(statements, s)
		}
	}
	return statements[:n]
}

// randomCosigned is a window of n statements of which everybody, or everybody but some, signed,
// without signatures.
func randomCosigned(rng *rand.Rand, n int) cosigned {
	reg := crowd{payers: 1 + rng.Uint32N(5)}
	statements := randomStatements(rng, n, reg)
	silent := rng.Uint64N(4)
	list := NewList(statements, func(client uint64) bool {
		return silent == 0 || client%(silent+1) > 0 || client == statements[0].Client
	})
	return assemble(statements, list)
}

// assemble makes header and evidence of rung 2 of statements, without an acks part and without
// signatures.
func assemble(statements []Statement, list List) cosigned {
	tree := NewStatementTree(statements)
	h := NewHeader(testNet, cosignKey)
	h.StatementCount, h.StatementRoot, h.ListRoot = uint32(len(statements)), tree.Root(),
		list.Root()
	for i, s := range statements {
		key := Row{Payer: s.Payer, Service: s.Service}
		j, found := slices.BinarySearchFunc(h.Rows, key, compareRows)
		if !found {
			h.Rows = slices.Insert(h.Rows, j, key)
		}
		if list[i].Signed {
			h.Rows[j].Acks += uint64(s.Acks)
			h.Rows[j].Units += s.Units
		}
	}
	ev := &Evidence{Acks: Acks{0, 0, 0, 0}, Rung: RungStatements, List: list,
		Statements: statements}
	return cosigned{h, ev, tree, nil}
}
