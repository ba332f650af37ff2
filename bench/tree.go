package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/kernels/poseidon2"
	"github.com/waybill-network/waybill/rollup"
	zeebo "github.com/zeebo/blake3"
)

var treeSuite = Suite{
	Name:  "tree",
	Sized: true,
	What:  "the ack tree, sealing a whole window, and the statement tree",
	Build: func(context.Context, bool) ([]Comparison, error) {
		list, err := trees(rollup.MaxAcks)
		return append(list, statementTree(rollup.MaxStatements)), err
	},
}

var errRoots = errors.New("contenders found different roots")

// trees measures windows of n acks, a power of two.
func trees(n int) ([]Comparison, error) {
	frames := scrambled(n, 4096)
	leafKey, nodeKey := blake3.ContextKey("waybill/ack-leaf/2"),
		blake3.ContextKey("waybill/ack-node/2")
	leafHasher, err := zeebo.NewKeyed(leafKey[:])
	if err != nil {
		return nil, err
	}
	nodeHasher, err := zeebo.NewKeyed(nodeKey[:])
	if err != nil {
		return nil, err
	}
	level := make([]byte, n*blake3.Size)
	var want [blake3.Size]byte // as the first contender found it
	var sealer rollup.Sealer
	return []Comparison{{
		Name: fmt.Sprintf("AckTree/leaves=%d", n), What: "leaf and node hashes of a full window",
		Op: "leaf", Cores: 1, Compute: true,
		Contenders: []Contender{
			{Name: "zeebo/blake3, hash by hash", Run: func() (int, error) {
				for i := range n {
					leafHasher.Reset()
					leafHasher.Write(frame(frames, i).Leaf())
					leafHasher.Sum(level[i*blake3.Size : i*blake3.Size])
				}
				want = oneByOne(nodeHasher, level)
				return n, nil
			}},
			{Name: "kernels/blake3, level by level", Kind: KindOwn, Run: func() (int, error) {
				blake3.HashStrided64(&leafKey, level, frames[rollup.LeafOffset:], rollup.AckSize)
				if blake3.Root(&nodeKey, level) != want {
					return 0, errRoots
				}
				return n, nil
			}},
		},
		Goals: []Goal{{What: "ack tree of 65,536 leaves ≤ 1.6 ms a core: 40.96 million leaves/s",
			PerSecond: rollup.MaxAcks / 1.6e-3}},
	}, {
		Name: fmt.Sprintf("Seal/acks=%d", n),
		What: "sort, tree, totals, header and evidence of a full window", Op: "ack", Cores: 1,
		Compute: true,
		Contenders: []Contender{{Name: "rollup.Sealer", Kind: KindOwn, Run: func() (int, error) {
			_, _, err := sealer.Seal(benchNetwork, rollup.WindowKey{}, frames,
				bls.IdentitySignature, everyone{})
			return n, err
		}}},
	}}, nil
}

// statementTree measures the tree of n statements, from the statements on.
func statementTree(n int) Comparison {
	statements, roots := make([]rollup.Statement, n), pattern(n*len(rollup.Hash{}))
	for i := range statements {
		root := rollup.TruncateRoot(rollup.Hash(roots[i*len(rollup.Hash{}):]))
		statements[i] = rollup.Statement{Client: uint64(i), Payer: uint32(i % 8),
			Acks: 1 + uint32(i%100), Units: 1 << (i % 44), Root: root}
	}
	gnark := newGnarkPoseidon2()
	var theirs poseidon2.Element
	var ours rollup.Hash
	return Comparison{
		Name: fmt.Sprintf("StatementTree/statements=%d", n),
		What: "the tree over the statements of a window", Op: "statement", Cores: 1,
		Compute: true,
		Contenders: []Contender{
			{Name: gnarkPoseidon2Name,
				Result: func() []byte { return encoded([]poseidon2.Element{theirs}) },
				Run: func() (int, error) {
					level := make([]poseidon2.Element, 0, 2*n)
					for i := range statements {
						fields, root, err := statements[i].Elements()
						if err != nil {
							return 0, err
						}
						level = append(level, fields, root)
					}
					for depth := 0; depth < 3 || len(level) > 1; depth++ {
						parents := level[:0]
						for children := range slices.Chunk(level, poseidon2.Width) {
							parent, err := gnark.compress(children)
							if err != nil {
								return 0, err
							}
							parents = append(parents, parent)
						}
						level = parents
					}
					theirs = level[0]
					return n, nil
				}},
			{Name: "rollup.NewStatementTree", Kind: KindOwn,
				Result: func() []byte { return ours[:] }, Run: func() (int, error) {
					ours = rollup.NewStatementTree(statements).Root()
					return n, nil
				}},
		},
		Goals: []Goal{{What: "statement tree of 65,536 statements ≤ 150 ms a core",
			PerSecond: rollup.MaxStatements / 150e-3}},
	}
}

// oneByOne returns the root over a level of a power of two of hashes, which it overwrites.
func oneByOne(h *zeebo.Hasher, level []byte) [blake3.Size]byte {
	for len(level) > blake3.Size {
		parents := 0
		for i := 0; i+2*blake3.Size <= len(level); i += 2 * blake3.Size {
			h.Reset()
			h.Write(level[i : i+2*blake3.Size])
			h.Sum(level[parents:parents])
			parents += blake3.Size
		}
		level = level[:parents]
	}
	return [blake3.Size]byte(level)
}

// scrambled makes the unsigned acks of a window of n, a power of two, in an order far from the
// sealed one.
func scrambled(n, clients int) []byte {
	frames := make([]byte, 0, n*rollup.AckSize)
	for i := range n {
		k := uint32(i*40503) % uint32(n) // odd, so a permutation of a power of two
		client := k % uint32(clients)
		ack := rollup.Ack{Net: benchNetwork.Net(), Client: uint64(client),
			Service: client % services, Number: k / uint32(clients), Units: 1 + uint64(k)}
		binary.LittleEndian.PutUint32(ack.Request[:], k)
		ack.Signature = bls.IdentitySignature
		frames = ack.Append(frames)
	}
	return frames
}

// everyone is a registry in which every client exists, in eight payers' names. Only sealing, which
// needs no keys, uses it.
type everyone struct{}

func (everyone) Client(index uint64) (rollup.Client, bool) {
	return rollup.Client{Payer: uint32(index % 8), Until: math.MaxUint32, Numbers: math.MaxUint32,
		Services: [3]uint32{uint32(index % services), rollup.NoService, rollup.NoService}}, true
}

func (everyone) UnitCap(uint32) (uint64, bool)   { return rollup.MaxUnitCap, true }
func (everyone) NodeKey(uint32) ([32]byte, bool) { return [32]byte{}, false }
