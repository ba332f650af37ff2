package route

import (
	"fmt"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/internal/wire"
	"github.com/waybill-network/waybill/rollup/registry"
)

const tag = "wb-lst/2"

// List is all nodes and services as a certified record has them. Who has the committee of the
// genesis file needs to trust nobody who gives one.
type List struct {
	Record      *rollup.Record
	Certificate *rollup.RecordCertificate
	Heads       registry.Heads
	Nodes       []registry.Node    // by index
	Services    []registry.Service // by index
}

// Append appends the encoding to dst.
func (l *List) Append(dst []byte) []byte {
	dst = l.Record.Append(append(dst, tag...))
	dst = l.Certificate.Append(dst)
	return l.appendServices(l.appendNodes(l.Heads.Append(dst)))
}

func (l *List) appendServices(dst []byte) []byte {
	for i := range l.Services {
		dst = l.Services[i].Append(dst)
	}
	return dst
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
	l.Services = make([]registry.Service, r.Count(l.Heads.Services.Count, registry.ServiceSize))
	for i := range l.Services {
		if l.Services[i], err = registry.ParseService(r.Next(registry.ServiceSize)); err != nil {
			r.Fail("service %d: %w", i, err)
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
	case registry.Services.RootOf(l.appendServices(nil)) != l.Heads.Services.Root ||
		uint64(len(l.Services)) != l.Heads.Services.Count:
		return fmt.Errorf("route: list of services: %w", registry.ReasonRoot)
	}
	return nil
}

// Prover proves entries of a list.
type Prover struct{ list *List }

// Prover returns what proves nodes and services under the list's record.
func (l *List) Prover() Prover { return Prover{l} }

// Heads returns the list's heads.
func (p Prover) Heads() (registry.Heads, error) { return p.list.Heads, nil }

// Clients returns registry.ReasonNone: a list has none.
func (p Prover) Clients([]uint64) (entries, proof []byte, err error) {
	return nil, nil, fmt.Errorf("route: a list has no clients: %w", registry.ReasonNone)
}

// Nodes returns entries and their multiproof.
func (p Prover) Nodes(indices []uint64) (entries, proof []byte, err error) {
	return prove(registry.Nodes, p.list.appendNodes(nil), indices)
}

// Services returns entries and their multiproof.
func (p Prover) Services(indices []uint64) (entries, proof []byte, err error) {
	return prove(registry.Services, p.list.appendServices(nil), indices)
}

func prove(kind *registry.Kind, all []byte, indices []uint64) (entries, proof []byte, err error) {
	tree, width := registry.New(kind, new(registry.Memory)), kind.Width()
	every := make([]uint64, len(all)/width)
	for i := range every {
		every[i] = uint64(i)
	}
	if err := tree.Set(every, all); err != nil {
		return nil, nil, fmt.Errorf("route: %w", err)
	}
	if proof, err = tree.Prove(indices); err != nil {
		return nil, nil, fmt.Errorf("route: %w", err)
	}
	for _, i := range indices {
		entries = append(entries, all[int(i)*width:][:width]...)
	}
	return entries, proof, nil
}
