package rollup

import (
	"encoding/json"
	"math/big"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// The statement tree and a segment's public input, once more, on big integers and from
// docs/protocol.md sections 13 to 15 alone.

type poseidon struct {
	Modulus  string     `json:"modulus"`
	M4       [][]int64  `json:"external_matrix_m4"`
	Diagonal []string   `json:"internal_matrix_diagonal_less_one"`
	Keys     [][]string `json:"round_keys"`

	r        *big.Int
	external [16][16]*big.Int
	internal [16][16]*big.Int
	keys     [][]*big.Int
	known    map[string]*big.Int // compressions
}

var bigPoseidon = sync.OnceValue(func() *poseidon {
	b, err := os.ReadFile("../docs/poseidon2-bn254-16.json")
	if err != nil {
		panic(err)
	}
	p := &poseidon{known: map[string]*big.Int{}}
	if err := json.Unmarshal(b, p); err != nil {
		panic(err)
	}
	number := func(s string) *big.Int {
		x, ok := new(big.Int).SetString(strings.TrimPrefix(s, "0x"), 16)
		if !ok {
			panic(s)
		}
		return x
	}
	p.r = number(p.Modulus)
	for i := range 16 {
		for j := range 16 {
			m := p.M4[i%4][j%4]
			if i/4 == j/4 {
				m *= 2
			}
			p.external[i][j] = big.NewInt(m)
			p.internal[i][j] = big.NewInt(1)
		}
		p.internal[i][i] = new(big.Int).Add(big.NewInt(1), number(p.Diagonal[i]))
	}
	for _, round := range p.Keys {
		var keys []*big.Int
		for _, k := range round {
			keys = append(keys, number(k))
		}
		p.keys = append(p.keys, keys)
	}
	return p
})

func (p *poseidon) multiply(m *[16][16]*big.Int, x []*big.Int) []*big.Int {
	out := make([]*big.Int, 16)
	for i := range out {
		sum := new(big.Int)
		for j := range x {
			sum.Add(sum, new(big.Int).Mul(m[i][j], x[j]))
		}
		out[i] = sum.Mod(sum, p.r)
	}
	return out
}

// compress takes up to sixteen elements; those that are missing are zero.
func (p *poseidon) compress(in []*big.Int) *big.Int {
	x := slices.Clone(in)
	for len(x) < 16 {
		x = append(x, new(big.Int))
	}
	name := ""
	for _, e := range x {
		name += e.Text(36) + " "
	}
	if out, ok := p.known[name]; ok {
		return out
	}
	first := x[0]
	x = p.multiply(&p.external, x)
	for _, keys := range p.keys {
		x = slices.Clone(x)
		for i, k := range keys {
			x[i] = new(big.Int).Exp(new(big.Int).Add(x[i], k), big.NewInt(5), p.r)
		}
		if len(keys) == 16 {
			x = p.multiply(&p.external, x)
		} else {
			x = p.multiply(&p.internal, x)
		}
	}
	out := new(big.Int).Add(x[0], first)
	out.Mod(out, p.r)
	p.known[name] = out
	return out
}

func (p *poseidon) parents(level []*big.Int) (out []*big.Int) {
	for chunk := range slices.Chunk(level, 16) {
		out = append(out, p.compress(chunk))
	}
	return out
}

func (p *poseidon) fold(x []*big.Int) *big.Int {
	for {
		if x = p.parents(x); len(x) == 1 {
			return x[0]
		}
	}
}

// littleEndian reads and writes 32 bytes.
func littleEndian(b Hash) *big.Int {
	slices.Reverse(b[:])
	return new(big.Int).SetBytes(b[:])
}

func encoded(x *big.Int) (b Hash) {
	x.FillBytes(b[:])
	slices.Reverse(b[:])
	return b
}

// packed is the sum of values shifted by the number of bits that follows each.
func packed(pairs ...uint64) *big.Int {
	sum := new(big.Int)
	for i := 0; i < len(pairs); i += 2 {
		v := new(big.Int).SetUint64(pairs[i])
		sum.Add(sum, v.Lsh(v, uint(pairs[i+1])))
	}
	return sum
}

// public is the public part of a statement.
func public(s *Statement) *big.Int {
	return packed(uint64(s.Payer), 0, uint64(s.Service), 32, s.Client, 64, uint64(s.First), 108,
		uint64(s.Acks), 141)
}

// levels is the tree over statements, from their elements to the root.
func (p *poseidon) levels(statements []Statement) [][]*big.Int {
	var level []*big.Int
	for _, s := range statements {
		level = append(level, new(big.Int).Add(public(&s), packed(s.Units, 165)),
			littleEndian(s.Root))
	}
	depth := 3
	for n := 2048; n < len(statements); n *= 16 {
		depth++
	}
	levels := [][]*big.Int{level}
	for range depth {
		level = p.parents(level)
		levels = append(levels, level)
	}
	return levels
}

// bigSegment is a segment on big integers.
type bigSegment struct {
	nodes           []*big.Int
	table           []Row
	caps            []uint64
	d, b, f, γ, pub *big.Int
	statements      []Statement
	signed          []bool
	first           int
}

// bigSegments computes the segments of statements with flags under a header.
func bigSegments(h *Header, statements []Statement, signed []bool, size int,
	reg Registry) []*bigSegment {
	p := bigPoseidon()
	levels := p.levels(statements)
	level, nodes := 2, size/128
	if size > 1024 {
		level, nodes = 3, size/2048
	}
	var segments []*bigSegment
	x := slices.Concat(h.Network[:], le.AppendUint32(nil, h.Epoch), le.AppendUint32(nil, h.Window),
		le.AppendUint32(nil, h.Node),
		le.AppendUint32(nil, uint32(len(statements))))
	root := encoded(levels[len(levels)-1][0])
	x = append(x, root[:]...)
	var leaves [][]byte
	for i := range statements {
		leaf := append(statements[i].Append(nil)[:20], 0)
		if signed[i] {
			leaf[20] = 1
		}
		leaves = append(leaves, leaf)
	}
	listRoot := mth("list", leaves)
	x = append(x, listRoot[:]...)
	x = le.AppendUint32(x, uint32(size))
	for first := 0; first < len(statements); first += size {
		s := &bigSegment{first: first, statements: statements[first:min(first+size, len(statements))]}
		s.signed = signed[first : first+len(s.statements)]
		for i := range nodes {
			node := new(big.Int)
			if j := len(segments)*nodes + i; j < len(levels[level]) {
				node = levels[level][j]
			}
			s.nodes = append(s.nodes, node)
			e := encoded(node)
			x = append(x, e[:]...)
		}
		segments = append(segments, s)
	}
	for _, s := range segments {
		x = le.AppendUint16(x, uint16(len(h.Rows)))
		for _, r := range h.Rows {
			row := Row{Payer: r.Payer, Service: r.Service}
			for i, st := range s.statements {
				if s.signed[i] && st.Payer == r.Payer && st.Service == r.Service {
					row.Acks += uint64(st.Acks)
					row.Units += st.Units
				}
			}
			limit, _ := reg.UnitCap(r.Service)
			s.table, s.caps = append(s.table, row), append(s.caps, limit)
			x = le.AppendUint32(le.AppendUint32(x, row.Payer), row.Service)
			x = le.AppendUint64(le.AppendUint64(le.AppendUint64(x, row.Acks), row.Units), limit)
		}
	}
	for _, s := range statements {
		x = le.AppendUint32(x, s.Payer)
	}
	key := blake3.Key(blake3.Sum256([]byte("waybill/proof-challenge/2")))
	γ := blake3.Keyed(&key, x)
	γ[31] &= 31
	for _, s := range segments {
		s.γ = littleEndian(γ)
		s.finish(size)
	}
	return segments
}

func (s *bigSegment) finish(size int) {
	p := bigPoseidon()
	table := make([]*big.Int, 256)
	for i := range table {
		table[i] = new(big.Int)
		if i < len(s.table) {
			r := s.table[i]
			table[i] = packed(uint64(r.Payer), 0, uint64(r.Service), 32, r.Acks, 64, r.Units, 128,
				s.caps[i], 192)
		}
	}
	s.d = p.fold(table)
	flags := make([]*big.Int, size/128)
	for i := range flags {
		flags[i] = new(big.Int)
		for j := range 128 {
			if k := 128*i + j; k < len(s.signed) && s.signed[k] {
				flags[i].SetBit(flags[i], j, 1)
			}
		}
	}
	s.b = p.fold(flags)
	s.f = new(big.Int)
	power := big.NewInt(1)
	for _, st := range s.statements {
		s.f.Add(s.f, new(big.Int).Mul(public(&st), power))
		power = new(big.Int).Mod(new(big.Int).Mul(power, s.γ), p.r)
	}
	s.f.Mod(s.f, p.r)
	in := slices.Clone(s.nodes)
	for len(in) < 8 {
		in = append(in, new(big.Int))
	}
	s.pub = p.compress(append(in, big.NewInt(int64(len(s.statements))), s.d, s.b, s.γ, s.f))
}

// TestSegmentsOnBigIntegers compares tree, digests, challenge and public inputs of windows of many
// shapes.
func TestSegmentsOnBigIntegers(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 6
	}
	rng := newRand(t)
	for round := range rounds {
		n := 1 + rng.IntN(40)
		if round%10 == 0 {
			n = []int{255, 256, 257, 520, 128, 129}[round/10%6]
		}
		w := randomCosigned(rng, n)
		size := 256
		if round%7 == 3 {
			size = CircuitSizes[rng.IntN(4)]
		}
		segments, err := Segments(w.header, w.tree, w.evidence.List, size, crowd{})
		if err != nil {
			t.Fatal(err)
		}
		flags := make([]bool, n)
		for i, c := range w.evidence.List {
			flags[i] = c.Signed
		}
		want := bigSegments(w.header, w.tree.Statements(), flags, size, crowd{})
		if len(want) != len(segments) {
			t.Fatalf("%d segments, not %d", len(segments), len(want))
		}
		for i, s := range segments {
			b := want[i]
			for name, pair := range map[string][2]Hash{
				"table digest":  {s.Table.Bytes(), encoded(b.d)},
				"signed digest": {s.Signed.Bytes(), encoded(b.b)},
				"challenge":     {s.Challenge.Bytes(), encoded(b.γ)},
				"fingerprint":   {s.Fingerprint.Bytes(), encoded(b.f)},
				"public input":  {s.Public.Bytes(), encoded(b.pub)},
			} {
				if pair[0] != pair[1] {
					t.Fatalf("round %d, %d statements of %d, segment %d: %s %s, not %s", round, n, size, i, name,
						pair[0], pair[1])
				}
			}
			if !slices.Equal(s.Rows, b.table) {
				t.Fatalf("rows %v, not %v", s.Rows, b.table)
			}
		}
	}
}
