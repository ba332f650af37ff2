package rollup

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
)

func newRand(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 5))
}

// crowd is a registry in which every index is a client, with one of five keys, and has one of a few
// payers.
type crowd struct{ payers uint32 }

func (crowd) ClientKey(client uint32) (*bls.PublicKey, bool) {
	return registry().keys[client%5], true
}
func (c crowd) Payer(client, _ uint32) (uint32, bool) { return 100 + client%c.payers, true }
func (crowd) UnitCap(uint32) (uint64, bool)           { return MaxUnitCap, true }

// randomStatements returns n statements in order, of clients of the crowd with one to three
// services.
func randomStatements(rng *rand.Rand, n int, reg crowd) (statements []Statement) {
	client := uint32(0)
	for len(statements) < n {
		client += 1 + rng.Uint32()>>(11+rng.IntN(21))
		payer, _ := reg.Payer(client, 0)
		service := uint32(0)
		for range 1 + rng.IntN(3) {
			service += 1 + rng.Uint32N(4)
			s := Statement{Client: client, Payer: payer, Service: service,
				Acks: 1 + rng.Uint32()>>(16+rng.IntN(16))}
			s.Acks = min(s.Acks, MaxStatementAcks)
			s.Units = uint64(s.Acks) * (1 + rng.Uint64()>>(24+rng.IntN(40)))
			s.Units = min(s.Units, MaxStatementUnits)
			for i := range s.Root {
				s.Root[i] = byte(rng.Uint32())
			}
			s.Root = TruncateRoot(s.Root)
			statements = append(statements, s)
		}
	}
	return statements[:n]
}

// randomCosigned is a window of n statements of which everybody, or everybody but some, signed. It
// has no acks part: where not everybody signed it is no valid rollup, and good for what Segments
// computes.
func randomCosigned(rng *rand.Rand, n int) cosigned {
	reg := crowd{payers: 1 + rng.Uint32N(5)}
	statements := randomStatements(rng, n, reg)
	silent := rng.IntN(4)
	list := NewClientList(statements, func(client uint32) bool {
		return silent == 0 || client%uint32(silent+1) > 0 || client == statements[0].Client
	})
	return assemble(statements, list)
}

// assemble makes header and evidence of rung 2 of statements, without an acks part and without
// signatures.
func assemble(statements []Statement, list ClientList) cosigned {
	tree := NewStatementTree(statements)
	h := NewHeader(testNet, cosignKey)
	h.StatementCount, h.StatementRoot, h.ClientListDigest = uint32(len(statements)), tree.Root(),
		list.Digest()
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
	ev := &Evidence{Acks: Acks{0, 0, 0, 0}, Rung: RungStatements, Clients: list,
		Statements: statements}
	return cosigned{h, ev, tree, nil}
}
