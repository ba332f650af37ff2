package blake3

import (
	"bytes"

	"github.com/waybill-network/waybill/internal/kernelbench"
	"github.com/waybill-network/waybill/kernels/cpu"
)

func init() {
	type hash = func(key *Key, out, in []byte, stride int)
	kernelbench.Register(kernel, func(l lanes) hash { return l.hash })
	kernelbench.Register(trees{kernel}, func(l lanes) kernelbench.Tree {
		return kernelbench.Tree{Outboard: l.outboard, Verify: l.verify}
	})
}

// trees is the kernel under the name that its trees have.
type trees struct{ *cpu.Kernel[lanes] }

func (trees) Name() string { return "blake3-tree" }

// verify decodes data group run by group run, as a receiver does.
func (l lanes) verify(root [Size]byte, data, tree []byte, group, run int) error {
	size, reader := int64(len(data)), bytes.NewReader(tree)
	d := NewDecoder(root, size, group, 0)
	d.lanes = l
	var nodes []byte
	for next := int64(0); next < d.groups; next += int64(run) {
		end := min(next+int64(run), d.groups)
		var err error
		if nodes, err = AppendNodes(nodes[:0], reader, size, group, 0, next, end); err != nil {
			return err
		}
		n, err := d.Decode(nodes, data[:min(len(data), run*group)])
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}
