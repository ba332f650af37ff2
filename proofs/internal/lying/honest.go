package lying

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"

	"github.com/waybill-network/waybill/rollup"
)

// Values at the edges of fields and limbs.
var (
	serviceEdges = []uint32{0, 1, 7, 1<<11 - 1, 1 << 31, math.MaxUint32 - 1}
	payerEdges   = []uint32{0, 5, 1<<8 - 1, 1 << 16, math.MaxUint32}
	capEdges     = []uint64{1, 3, 1000, 1 << 20, 1<<22 + 1, 1 << 30, rollup.MaxUnitCap}
)

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// Honest returns a true window of n statements in which everything takes values at its edges: some
// clients did not sign, of some of these the acks stand in the acks part, and somebody may have
// nothing but acks.
func Honest(rng *rand.Rand, n int) *Window {
	w := &Window{World: &World{Clients: map[uint64]rollup.Client{}, Caps: map[uint32]uint64{}}}
	services := sample(rng, serviceEdges, 1+rng.IntN(3))
	payers := sample(rng, payerEdges, 1+rng.IntN(4))
	for _, s := range services {
		w.World.Caps[s] = pick(rng, capEdges...)
	}
	client := pick(rng, 0, 1, rng.Uint64N(1<<32), 1<<39)
	silent := rng.IntN(4) // one in so many
	for len(w.Statements) < n {
		signs := silent == 0 || rng.IntN(silent+1) > 0 || len(w.Statements) == 0
		payer := pick(rng, payers...)
		if !signs && rng.IntN(3) == 0 {
			payer = 99 // whose clients all stay silent
		}
		w.World.admit(client, payer, services)
		for i, service := range services {
			if left := len(services) - i; len(w.Statements) < n && (rng.IntN(2) == 0 || left == 1) {
				w.Statements = append(w.Statements, w.statement(rng, client, service, signs))
				w.Signed = append(w.Signed, signs)
			}
		}
		if !signs && len(w.Acks) < 2 && rng.IntN(2) == 0 {
			w.acknowledge(rng, client, pick(rng, services...))
		}
		client += 1 + pick(rng, 0, rng.Uint64N(1000), rng.Uint64N(1<<30))
	}
	if rng.IntN(4) == 0 {
		last := uint64(rollup.MaxClients - 1)
		w.World.admit(last, pick(rng, payers...), services)
		w.acknowledge(rng, last, services[0])
	}
	w.Total()
	return w
}

// sample returns n of the values, ascending.
func sample(rng *rand.Rand, values []uint32, n int) []uint32 {
	out := slices.Clone(values)
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	out = out[:n]
	slices.Sort(out)
	return out
}

// statement returns one in bounds. What an unsigned one says of numbers is anything.
func (w *Window) statement(rng *rand.Rand, client uint64, service uint32,
	signs bool) rollup.Statement {
	unitCap := w.World.Caps[service]
	most := uint32(min(rollup.MaxStatementAcks, rollup.MaxStatementUnits/unitCap))
	s := rollup.Statement{Client: client, Payer: w.World.Clients[client].Payer, Service: service,
		Acks: pick(rng, 1, most, 1+rng.Uint32N(most), min(most, 1+rng.Uint32N(100)))}
	acks := uint64(s.Acks)
	s.Units = acks + pick(rng, 0, acks*(unitCap-1), rng.Uint64N(acks*(unitCap-1)+1))
	s.First = pick(rng, 0, numbers-s.Acks, rng.Uint32N(numbers-s.Acks))
	if !signs {
		s.First = pick(rng, s.First, math.MaxUint32, rng.Uint32())
	}
	s.Root = element(rng)
	return s
}

// element returns an encoded element of the field: often one above those of honest nodes.
func element(rng *rand.Rand) rollup.Hash {
	var e fr.Element
	if rng.IntN(8) == 0 {
		e.SetInt64(pick(rng, int64(0), 1, -1))
	} else {
		e = fr.Element{rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64() >> 3}
	}
	var root rollup.Hash
	fr.LittleEndian.PutElement((*[32]byte)(&root), e)
	return root
}

// acknowledge puts a run of a client into the acks part.
func (w *Window) acknowledge(rng *rand.Rand, client uint64, service uint32) {
	a := Acked{Client: client, Service: service, First: rng.Uint32N(1000)}
	for range 1 + rng.IntN(2) {
		a.Units = append(a.Units, 1+rng.Uint64N(w.World.Caps[service]))
	}
	w.Acks = append(w.Acks, a)
}

// Plain returns a true window of n statements without acks and without edges, which is the same for
// every call: two services a client, two payers, and every third client did not sign.
func Plain(n int) *Window {
	w := &Window{World: &World{Clients: map[uint64]rollup.Client{},
		Caps: map[uint32]uint64{3: 1 << 30, 7: 1 << 29}}}
	for i := range n {
		client := 10 + 3*uint64(i/2)
		w.World.admit(client, 5+uint32(i/2%2), []uint32{3, 7})
		acks := 100 + uint32(i)
		w.Statements = append(w.Statements, rollup.Statement{Client: client, Payer: 5 + uint32(i/2%2),
			Service: []uint32{3, 7}[i%2], First: 1000 * uint32(i), Acks: acks,
			Units: 1<<30 + uint64(i)<<20, Root: rollup.Hash{byte(i)}})
		w.Signed = append(w.Signed, i/2%3 != 1)
	}
	w.Total()
	return w
}
