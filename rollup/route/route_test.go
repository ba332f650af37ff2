package route

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
)

var update = flag.Bool("update", false, "write testdata/route.json")

// vector is one root with nodes, and who its candidates are. Numbers that can be above 2^53 are
// text.
type vector struct {
	Root       rollup.Hash  `json:"root"`
	Stakes     []stakeOf    `json:"nodes"`
	K          int          `json:"k"`
	Draws      []textNumber `json:"draws"`
	Distances  []textNumber `json:"distances"`
	Candidates []uint32     `json:"candidates"`
}

type stakeOf struct {
	Index uint32     `json:"index"`
	Stake textNumber `json:"stake"`
}

type textNumber uint64

func (n textNumber) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%d", uint64(n)), nil }

func (n *textNumber) UnmarshalText(b []byte) error {
	_, err := fmt.Sscan(string(b), (*uint64)(n))
	return err
}

func rootOf(i int) rollup.Hash { return blake3.Sum256(fmt.Append(nil, "content ", i)) }

// cases are nodes of many kinds of stake.
func cases() (list []vector) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 12 {
		v := vector{Root: rootOf(i), K: []int{1, 3, Default, Default}[i%4], Stakes: []stakeOf{},
			Draws: []textNumber{}, Distances: []textNumber{}}
		for n := range []int{0, 1, 3, 9, 40}[i%5] {
			stake := []uint64{1_000_000, 0, math.MaxUint64, r.Uint64() >> 20, 1}[r.IntN(5)]
			v.Stakes = append(v.Stakes, stakeOf{uint32(n * n), textNumber(stake)})
		}
		list = append(list, v)
	}
	return list
}

func (v *vector) fill() {
	nodes := make([]Node, 0, len(v.Stakes))
	for _, n := range v.Stakes {
		nodes = append(nodes, Node{n.Index, uint64(n.Stake)})
		x := draw(&v.Root, n.Index)
		v.Draws = append(v.Draws, textNumber(x))
		v.Distances = append(v.Distances, textNumber(distance(x)))
	}
	v.Candidates = Candidates(v.Root, nodes, v.K)
}

// TestGolden holds candidates to testdata/route.json, which other implementations read.
func TestGolden(t *testing.T) {
	list := cases()
	for i := range list {
		list[i].fill()
	}
	text, err := json.MarshalIndent(list, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	const path = "testdata/route.json"
	if *update {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, want) {
		t.Errorf("%s is not what the code gives; if the change is meant: "+
			"go test ./rollup/route -run TestGolden -update", path)
	}
}

// TestDistance holds the logarithm to that of floating point.
func TestDistance(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, x := range append([]uint64{0, 1, 2, 1<<63 - 1, 1 << 63, math.MaxUint64},
		r.Uint64(), r.Uint64()>>9, r.Uint64()>>31, r.Uint64()>>50) {
		want := (64 - math.Log2(float64(x|1))) * (1 << fraction)
		if got := float64(distance(x)); math.Abs(got-want) > 1e-5*(1<<fraction) {
			t.Errorf("%x: %g, not %g", x, got, want)
		}
	}
	if distance(math.MaxUint64) == 0 {
		t.Error("a distance of nothing")
	}
}

// TestShares: nodes are first in proportion to their stakes.
func TestShares(t *testing.T) {
	nodes := []Node{{0, 1}, {1, 2}, {2, 4}, {3, 1}, {4, 0}}
	const roots = 8000
	var first [5]int
	for i := range roots {
		first[Candidates(rootOf(i), nodes, 1)[0]]++
	}
	for i, n := range nodes {
		want := float64(roots) * float64(n.Stake) / 8
		// Five standard deviations, of a binomial distribution.
		if math.Abs(float64(first[i])-want) > 5*math.Sqrt(want) {
			t.Errorf("node %d of stake %d is first for %d of %d roots", i, n.Stake, first[i], roots)
		}
	}
}

// TestLeaves: without a node, the candidates of a root are those that they were, and one more; and
// the order of the nodes says nothing.
func TestLeaves(t *testing.T) {
	var nodes []Node
	for i := range uint32(30) {
		nodes = append(nodes, Node{i, 1 + uint64(i)%7})
	}
	for i := range 50 {
		all := Candidates(rootOf(i), nodes, 30)
		gone := uint32(i) % 30
		left := slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool { return n.Index == gone })
		slices.Reverse(left)
		want := slices.DeleteFunc(slices.Clone(all), func(n uint32) bool { return n == gone })
		if got := Candidates(rootOf(i), left, Default); !slices.Equal(got, want[:Default]) {
			t.Errorf("root %d without node %d: %v, not %v", i, gone, got, want[:Default])
		}
	}
}

func TestEligible(t *testing.T) {
	nodes := []registry.Node{
		{Until: registry.None, Stake: 9},
		{Until: registry.None, Stake: 4},
		{Since: 3, Until: registry.None, Stake: 9},
		{Until: 2, Stake: 9},
		{Until: registry.None, Stake: 9, Status: registry.Convicted},
		{Until: registry.None, Stake: 5, Status: registry.Standing},
	}
	if got, want := Eligible(nodes, 2, 5), []Node{{0, 9}, {5, 5}}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	if got := Eligible([]registry.Node{{Until: 1}}, 0, 0); got != nil {
		t.Errorf("%v without stake", got)
	}
}

// list is a list of three nodes, and who signed it.
func list(t testing.TB) (*List, rollup.Network, *rollup.Committee) {
	t.Helper()
	l := &List{}
	for i := range 3 {
		l.Nodes = append(l.Nodes, registry.Node{Until: registry.None, Stake: 1 + uint64(i),
			NodeKey: [32]byte{byte(i)}})
	}
	l.Heads.Nodes = registry.Head{Count: 3, Root: registry.Nodes.RootOf(l.appendNodes(nil))}
	l.Services = []registry.Service{{Cap: 5, Price: 2, NextPrice: 1, From: 3}, {Cap: 6}}
	l.Heads.Services = registry.Head{Count: 2,
		Root: registry.Services.RootOf(l.appendServices(nil))}
	network := rollup.Network{7}
	l.Record = &rollup.Record{Network: network, Height: 5, Epoch: 1,
		RegistryRoot: l.Heads.Root(), SettledEpoch: rollup.NoEpoch}
	key, err := bls.KeyGen(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	committee := &rollup.Committee{Members: []rollup.Member{{Power: 1, Key: key.PublicKey()}}}
	signature := rollup.SignRecord(key, l.Record)
	l.Certificate = &rollup.RecordCertificate{Height: 5, Signers: rollup.Bitmap{1},
		Signature: signature.Bytes()}
	return l, network, committee
}

// TestList: a list is believed as it was signed, and no other.
func TestList(t *testing.T) {
	good, network, committee := list(t)
	encoded := good.Append(nil)
	l, err := ParseList(encoded)
	if err != nil || !bytes.Equal(l.Append(nil), encoded) || l.Verify(network, committee) != nil {
		t.Fatal(err, l.Verify(network, committee))
	}
	for i := range uint64(3) {
		entry, proof, err := l.Prover().Nodes([]uint64{i})
		if err != nil || registry.Nodes.Verify(l.Heads.Nodes, []uint64{i}, entry, proof) != nil {
			t.Errorf("node %d is not proved: %v", i, err)
		}
	}
	entry, proof, err := l.Prover().Services([]uint64{1})
	if err != nil || registry.Services.Verify(l.Heads.Services, []uint64{1}, entry, proof) != nil {
		t.Errorf("a service is not proved: %v", err)
	}
	if err := l.Verify(rollup.Network{8}, committee); !errors.Is(err, rollup.ErrNetwork) {
		t.Errorf("another network: %v", err)
	}
	for i := range encoded {
		bad := bytes.Clone(encoded)
		bad[i] ^= 1
		if l, err := ParseList(bad); err == nil && l.Verify(network, committee) == nil {
			t.Errorf("byte %d counts for nothing", i)
		}
	}
	for _, bad := range [][]byte{nil, encoded[:len(encoded)-1], append(bytes.Clone(encoded), 0),
		encoded[:200]} {
		if _, err := ParseList(bad); !errors.Is(err, rollup.ErrMalformed) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

func FuzzParseList(f *testing.F) {
	l, _, _ := list(f)
	f.Add(l.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := ParseList(b); err == nil && !bytes.Equal(l.Append(nil), b) {
			t.Error("another encoding")
		}
	})
}
