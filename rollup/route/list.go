package route

import (
	"fmt"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/internal/wire"
	"github.com/waybill-network/waybill/rollup/registry"
)

const tag = "wb-lst/2"

// List is all nodes as a certified record has them. Who has the committee of the genesis file needs
// to trust nobody who gives one.
type List struct {
	Record      *rollup.Record
	Certificate *rollup.RecordCertificate
	Heads       registry.Heads
	Nodes       []registry.Node // by index
}

// Append appends the encoding to dst.
func (l *List) Append(dst []byte) []byte {
	dst = l.Record.Append(append(dst, tag...))
	dst = l.Certificate.Append(dst)
	return l.appendNodes(l.Heads.Append(dst))
}

func (l *List) appendNodes(dst []byte) []byte {
	for i := range l.Nodes {
		dst = l.Nodes[i].Append(dst)
	}
	return dst
}

// ParseList decodes a list and nothing after it. The error is rollup.ErrMalformed.
func ParseList(b []byte) (*List, error) {
	r := &wire.Reader{B: b, Kind: rollup.ErrMalformed}
	r.Tag(tag)
	l := new(List)
	var err error
	if l.Record, err = rollup.ParseRecord(r.Next(rollup.RecordSize)); err != nil {
		r.Fail("%w", err)
	}
	const sum = 8 + 1 // what of a certificate tells its length
	if r.Has(sum) {
		length := sum + int(r.B[sum-1]) + rollup.SignatureSize
		if l.Certificate, err = rollup.ParseRecordCertificate(r.Next(length)); err != nil {
			r.Fail("%w", err)
		}
	}
	if l.Heads, err = registry.ParseHeads(r.Next(registry.HeadsSize)); err != nil {
		r.Fail("%w", err)
	}
	n := r.Count(l.Heads.Nodes.Count, registry.NodeSize)
	l.Nodes = make([]registry.Node, n)
	for i := range l.Nodes {
		if l.Nodes[i], err = registry.ParseNode(r.Next(registry.NodeSize)); err != nil {
			r.Fail("node %d: %w", i, err)
			break
		}
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("route: list of nodes: %w", err)
	}
	return l, nil
}

// Verify checks that the committee signed for these nodes: what [rollup.RecordCertificate.Verify]
// refuses, or registry.ReasonRoot.
func (l *List) Verify(network rollup.Network, committee *rollup.Committee) error {
	if err := l.Certificate.Verify(l.Record, network, committee); err != nil {
		return fmt.Errorf("route: list of nodes: %w", err)
	}
	switch {
	case l.Heads.Root() != l.Record.RegistryRoot:
		return fmt.Errorf("route: list of nodes: heads: %w", registry.ReasonRoot)
	case registry.Nodes.RootOf(l.appendNodes(nil)) != l.Heads.Nodes.Root ||
		uint64(len(l.Nodes)) != l.Heads.Nodes.Count:
		return fmt.Errorf("route: list of nodes: %w", registry.ReasonRoot)
	}
	return nil
}
