package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/internal/kernelbench"
	"github.com/waybill-network/waybill/kernels/blake3"
	zeebo "github.com/zeebo/blake3"
)

const lukechampineName = "lukechampine.com/blake3"

func contentSuite(p Peers) Suite {
	return Suite{
		Name:  "content",
		Sized: true,
		What:  "content by its BLAKE3 digest: outboard trees over groups of 16 KiB, verification",
		Build: func(context.Context, bool) ([]Comparison, error) {
			return contentTrees(p, 16<<20), nil
		},
	}
}

var errContent = errors.New("the content does not verify")

// contentTrees measures content of so many bytes.
func contentTrees(p Peers, size int) []Comparison {
	in := pattern(size)
	return []Comparison{outboards(p, in), verifications(p, in, 1), verifications(p, in, 16)}
}

func outboards(p Peers, in []byte) Comparison {
	var list []Contender
	if p.Outboard != nil {
		list = p.Outboard(in)
	}
	var whole [blake3.Size]byte
	list = append(list, Contender{Name: zeeboName + ", the digest alone", Kind: KindContext,
		Result: func() []byte { return whole[:] }, Run: func() (int, error) {
			whole = zeebo.Sum256(in)
			return len(in), nil
		}})
	own := ownTrees(func(k kernelbench.Tree) Contender {
		var root [blake3.Size]byte
		tree := make([]byte, 0, blake3.OutboardSize(int64(len(in)), blake3.GroupSize))
		return Contender{Result: func() []byte { return root[:] }, Run: func() (int, error) {
			root, tree = k.Outboard(in, blake3.GroupSize, tree[:0])
			return len(in), nil
		}}
	})
	return Comparison{Name: fmt.Sprintf("Outboard/bytes=%d", len(in)),
		What: "root and outboard tree of content", Op: "byte", Cores: 1, Compute: true,
		Contenders: append(list, own...),
		Goals: []Goal{{What: "outboard ≥ 1.5× lukechampine's, both with all that the CPU has",
			Against: lukechampineName, Ratio: 1.5}}}
}

// verifications measures runs of so many groups.
func verifications(p Peers, in []byte, run int) Comparison {
	root, tree := blake3.Outboard(in, blake3.GroupSize)
	var list []Contender
	if p.Verify != nil {
		list = p.Verify(in)
	}
	list = append(list, ownTrees(func(k kernelbench.Tree) Contender {
		return Contender{Run: func() (int, error) {
			if err := k.Verify(root, in, tree, blake3.GroupSize, run); err != nil {
				return 0, fmt.Errorf("%w: %w", errContent, err)
			}
			return len(in), nil
		}}
	})...)
	return Comparison{Name: fmt.Sprintf("VerifyContent/bytes=%d/run=%d", len(in), run),
		What: fmt.Sprintf("all of a content verified, %d groups at a time", run), Op: "byte",
		Cores: 1, Compute: true, Contenders: list,
		Goals: []Goal{{What: "verification ≤ 0.35 ns a byte (AVX2)", Of: blake3AVX2,
			Against: blake3AVX2, MaxNs: 0.35}}}
}

// ownTrees are the contenders of every implementation, the fastest last.
func ownTrees(contender func(kernelbench.Tree) Contender) (list []Contender) {
	for name, k := range kernelbench.Each[kernelbench.Tree]("blake3-tree") {
		c := contender(k)
		c.Name, c.Kind = "kernels/blake3, "+name, KindOwn
		list = append(list, c)
	}
	slices.Reverse(list)
	return list
}
