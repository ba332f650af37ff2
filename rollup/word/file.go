package word

import (
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
)

const (
	fileTag  = "wb-exp/2"
	fileType = 7
)

// MaxFileSize bounds every file in bytes, whatever committee, windows and registry.
const MaxFileSize = 4608

// File is evidence for who has nothing but a genesis file.
type File struct {
	Network  rollup.Network
	Evidence Evidence
	// Witness is nil when whoever reads the file knows the parties: those of the genesis, and
	// members of committees.
	Witness *Witness
}

// Witness shows what the registry says of the parties, under a record of the committee.
type Witness struct {
	Record rollup.Record
	Sum
	Heads registry.Heads
	// Leaves are those that the evidence asks for: of a node, a client and a service.
	Node, Client, Service *Leaf
}

// Leaf is an entry of a registry's tree with its path, 32 bytes a hash.
type Leaf struct {
	Entry []byte
	Path  []byte
}

// need is a leaf that evidence asks for.
type need struct {
	kind  *registry.Kind
	index uint64
	head  func(*registry.Heads) registry.Head
	leaf  func(*Witness) **Leaf
}

func nodeHead(h *registry.Heads) registry.Head    { return h.Nodes }
func clientHead(h *registry.Heads) registry.Head  { return h.Clients }
func serviceHead(h *registry.Heads) registry.Head { return h.Services }

// list returns the leaves that are asked for, in the order of the file.
func (n needs) list() (list []need) {
	if n.node != nil {
		list = append(list, need{registry.Nodes, uint64(*n.node), nodeHead,
			func(w *Witness) **Leaf { return &w.Node }})
	}
	if n.client != nil {
		list = append(list, need{registry.Clients, *n.client, clientHead,
			func(w *Witness) **Leaf { return &w.Client }})
	}
	if n.service != nil {
		list = append(list, need{registry.Services, uint64(*n.service), serviceHead,
			func(w *Witness) **Leaf { return &w.Service }})
	}
	return list
}

// Append appends the file to dst.
func (f *File) Append(dst []byte) []byte {
	dst = append(append(append(dst, fileTag...), f.Network[:]...), fileType)
	dst = Append(dst, f.Evidence)
	w := f.Witness
	if w == nil {
		return append(dst, 0)
	}
	dst = w.Sum.append(w.Record.Append(append(dst, 1)))
	dst = w.Heads.Append(dst)
	for _, n := range f.Evidence.needs().list() {
		leaf := *n.leaf(w)
		dst = append(append(dst, leaf.Entry...), leaf.Path...)
	}
	return dst
}

// ParseFile decodes a file and nothing after it. Errors are those of Parse, and ReasonWitness, in a
// *rollup.DecodeError.
func ParseFile(b []byte) (*File, error) {
	r := newReader(b)
	f := r.file()
	if err := r.End(); err != nil {
		return nil, &rollup.DecodeError{Offset: len(b) - r.Mark, Err: err}
	}
	return f, nil
}

func (r *reader) file() *File {
	r.Tag(fileTag)
	f := new(File)
	r.Fill(f.Network[:])
	if t := r.U8(); t != fileType {
		r.Fail("type %d, not %d", t, fileType)
	}
	f.Evidence = r.evidence()
	switch there := r.U8(); {
	case r.Err != nil || there == 0:
	case there != 1:
		r.Fail("a witness of kind %d", there)
	default:
		f.Witness = r.witness(f.Evidence.needs().list())
	}
	return f
}

func (r *reader) witness(list []need) *Witness {
	w := &Witness{Record: r.record(), Sum: r.sum()}
	heads := r.Next(registry.HeadsSize)
	if r.Err != nil {
		return nil
	}
	var err error
	if w.Heads, err = registry.ParseHeads(heads); err != nil {
		r.Fail("%w", err)
	}
	if len(list) == 0 {
		r.fail(ReasonWitness, "evidence that needs none")
	}
	for _, n := range list {
		*n.leaf(w) = r.leaf(n, n.head(&w.Heads).Count)
	}
	return w
}

func (r *reader) leaf(n need, count uint64) *Leaf {
	hashes, err := registry.ProofHashes(count, []uint64{n.index})
	if err != nil {
		r.fail(ReasonWitness, "%v: %w", n.kind, err)
		return nil
	}
	entry, path := r.Next(n.kind.Width()), r.Next(hashes*registry.HashSize)
	return &Leaf{append([]byte(nil), entry...), append([]byte(nil), path...)}
}

// Verify checks the file and returns who lied. It takes committees from trust, and, for a file
// without a witness, all else as well. The error is a Reason: the file shows nothing.
func (f *File) Verify(network rollup.Network, trust Registry) (v Verdict, err error) {
	if f.Network != network {
		return v, refuse(ReasonNetwork, "%v", f.Network)
	}
	if f.Witness == nil {
		return f.Evidence.Judge(&network, trust)
	}
	needs := f.Evidence.needs()
	if err := f.Witness.verify(network, trust, needs); err != nil {
		return v, err
	}
	shown := &shown{Registry: trust, needs: needs, record: &f.Witness.Record}
	if err := shown.take(f.Witness); err != nil {
		return v, err
	}
	return f.Evidence.Judge(&network, shown)
}

// verify checks record, heads and paths: ReasonWitness.
func (w *Witness) verify(network rollup.Network, trust Registry, needs needs) error {
	committee, ok := trust.Committee(w.Record.Term)
	switch {
	case w.Record.Network != network:
		return refuse(ReasonNetwork, "the record")
	case !ok:
		return refuse(ReasonUnknown, "the committee of term %d", w.Record.Term)
	case rollup.Hash(w.Heads.Root()) != w.Record.RegistryRoot:
		return refuse(ReasonWitness, "heads of another registry")
	case needs.epoch != nil && *needs.epoch != w.Record.Epoch:
		return refuse(ReasonWitness, "a record of epoch %d, not %d", w.Record.Epoch, *needs.epoch)
	}
	for _, n := range needs.list() {
		leaf := *n.leaf(w)
		if leaf == nil {
			return refuse(ReasonWitness, "no leaf of the %v", n.kind)
		}
		err := n.kind.Verify(n.head(&w.Heads), []uint64{n.index}, leaf.Entry, leaf.Path)
		if err != nil {
			return refuse(ReasonWitness, "%v: %w", n.kind, err)
		}
	}
	err := committee.Verify(w.Record.Append(nil), w.Signers, &w.Signature)
	if err != nil {
		return refuse(ReasonWitness, "the record: %w", err)
	}
	return nil
}

// shown is a registry of the leaves that a file shows.
type shown struct {
	Registry // committees
	needs    needs
	record   *rollup.Record
	node     registry.Node
	client   rollup.Client
	service  registry.Service
}

// take decodes leaves: ReasonWitness.
func (s *shown) take(w *Witness) (err error) {
	if s.needs.node != nil {
		s.node, err = registry.ParseNode(w.Node.Entry)
	}
	if err == nil && s.needs.service != nil {
		s.service, err = registry.ParseService(w.Service.Entry)
	}
	if err == nil && s.needs.client != nil {
		err = s.takeClient(w.Client.Entry)
	}
	if err != nil {
		return refuse(ReasonWitness, "%w", err)
	}
	return nil
}

func (s *shown) takeClient(entry []byte) error {
	c, err := registry.ParseClient(entry)
	if err != nil {
		return err
	}
	s.client = rollup.Client{Payer: c.Payer, Since: c.Since, Until: c.Until, Numbers: c.Numbers,
		Services: c.Services}
	s.client.Key, err = bls.ParsePublicKey(c.Key[:])
	return err
}

func (s *shown) NodeKey(node uint32) (key [32]byte, ok bool) {
	return s.node.NodeKey, s.needs.node != nil && *s.needs.node == node
}

func (s *shown) Rollups() (count uint32, root rollup.Hash, ok bool) {
	return s.record.RollupCount, s.record.RollupsRoot, true
}

func (s *shown) Client(index uint64) (rollup.Client, bool) {
	return s.client, s.needs.client != nil && *s.needs.client == index
}

func (s *shown) UnitCap(service uint32) (uint64, bool) {
	return s.service.Cap, s.needs.service != nil && *s.needs.service == service
}

func (s *shown) Price(service, epoch uint32) (uint64, bool) {
	return s.service.PriceIn(epoch), s.needs.service != nil && *s.needs.service == service
}

// Prover proves entries of the registry, as a record has it. Errors: a [registry.Reason], or what
// the history of the registry answers.
type Prover interface {
	Heads() (registry.Heads, error)
	// Clients, Services and Nodes return the entries, one after the other, and a multiproof.
	Clients(indices []uint64) (entries, proof []byte, err error)
	Services(indices []uint64) (entries, proof []byte, err error)
	Nodes(indices []uint64) (entries, proof []byte, err error)
}

// NewWitness returns what a registry says of the parties to evidence, under the record of a block
// that left it so; nil when nothing is needed. The error is ReasonWitness.
func NewWitness(e Evidence, record *rollup.Record, signed Sum, reg Prover) (*Witness, error) {
	list := e.needs().list()
	if len(list) == 0 {
		return nil, nil
	}
	w := &Witness{Record: *record, Sum: signed}
	var err error
	if w.Heads, err = reg.Heads(); err != nil {
		return nil, refuse(ReasonWitness, "%w", err)
	}
	for _, n := range list {
		prove := reg.Nodes
		switch n.kind {
		case registry.Clients:
			prove = reg.Clients
		case registry.Services:
			prove = reg.Services
		}
		entry, path, err := prove([]uint64{n.index})
		if err != nil {
			return nil, refuse(ReasonWitness, "%v %d: %w", n.kind, n.index, err)
		}
		*n.leaf(w) = &Leaf{entry, path}
	}
	return w, nil
}
