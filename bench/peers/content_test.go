package main

import (
	"bytes"
	"encoding/binary"
	"testing"

	"lukechampine.com/blake3/bao"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// TestTreesAreBao holds trees against another implementation of Bao, whose outboard encoding is the
// size and then the nodes as a decoder of the whole content needs them.
func TestTreesAreBao(t *testing.T) {
	in := make([]byte, 300<<10)
	for i := range in {
		in[i] = byte(i*i>>5 ^ i>>3)
	}
	for log, group := range map[int]int{0: blake3.MinGroup, chunksLog: blake3.GroupSize} {
		for _, size := range []int{1, 1024, 1025, 3000, 16384, 16385, 50_000, 131_073, len(in)} {
			data := in[:size]
			want, root := bao.EncodeBuf(data, log, true)
			got, tree := blake3.Outboard(data, group)
			groups := blake3.Groups(int64(size), group)
			encoded, err := blake3.AppendNodes(binary.LittleEndian.AppendUint64(nil, uint64(size)),
				bytes.NewReader(tree), int64(size), group, 0, 0, groups)
			if err != nil {
				t.Fatal(err)
			}
			if got != root || !bytes.Equal(encoded, want) {
				t.Errorf("%d bytes in groups of %d: not as Bao has them", size, group)
			}
			slice := int64(size) / 2 / int64(group)
			nodes, err := blake3.AppendNodes(nil, bytes.NewReader(tree), int64(size), group, slice,
				slice, groups)
			if err != nil {
				t.Fatal(err)
			}
			d := blake3.NewDecoder(root, int64(size), group, slice)
			if _, err := d.Decode(nodes, data[slice*int64(group):]); err != nil || !d.Done() {
				t.Errorf("%d bytes in groups of %d from %d on: %v", size, group, slice, err)
			}
		}
	}
}
