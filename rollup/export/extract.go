package export

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
)

// Prover proves entries of the registry as a record has it. Indices ascend, and there is one at
// least. Errors: a [registry.Reason], or what the history of the registry answers.
type Prover interface {
	Heads() (registry.Heads, error)
	// Clients, Services and Nodes return the entries, one after the other, and a multiproof.
	Clients(indices []uint64) (entries, proof []byte, err error)
	Services(indices []uint64) (entries, proof []byte, err error)
	Nodes(indices []uint64) (entries, proof []byte, err error)
	// ProofKeys returns all entries.
	ProofKeys() ([]byte, error)
}

// Client is a client's entry of the registry.
type Client struct {
	Index uint64
	registry.Client
}

// Service is a service's entry.
type Service struct {
	Index uint32
	registry.Service
}

// Extract is what a rollup's verification needs of the registry, and how it leads to the root that
// the committee signed.
type Extract struct {
	Heads         registry.Heads
	Clients       []Client // those of the evidence, sorted
	ClientsProof  []byte
	Services      []Service // those of the rows, sorted
	ServicesProof []byte
	Node          registry.Node // the rollup's
	NodeProof     []byte
	ProofKeys     []registry.ProofKey // all of them, only for rung 3
}

func newExtract(h *rollup.Header, ev *rollup.Evidence, reg Prover) (x Extract, err error) {
	if x.Heads, err = reg.Heads(); err != nil {
		return x, err
	}
	entries, proof, err := reg.Clients(ev.AllClients())
	if err != nil {
		return x, fmt.Errorf("clients: %w", err)
	}
	x.ClientsProof = proof
	for i, index := range ev.AllClients() {
		leaf, err := registry.ParseClient(entries[i*registry.ClientSize : (i+1)*registry.ClientSize])
		if err != nil {
			return x, at("client", i, err)
		}
		x.Clients = append(x.Clients, Client{index, leaf})
	}
	services := servicesOf(h)
	if entries, x.ServicesProof, err = reg.Services(services); err != nil {
		return x, fmt.Errorf("services: %w", err)
	}
	for i, index := range services {
		leaf, err := registry.ParseService(entries[i*registry.ServiceSize : (i+1)*registry.ServiceSize])
		if err != nil {
			return x, at("service", i, err)
		}
		x.Services = append(x.Services, Service{uint32(index), leaf})
	}
	if entries, x.NodeProof, err = reg.Nodes([]uint64{uint64(h.Node)}); err != nil {
		return x, fmt.Errorf("node: %w", err)
	}
	if x.Node, err = registry.ParseNode(entries); err != nil {
		return x, err
	}
	if ev.Rung == rollup.RungProof {
		if entries, err = reg.ProofKeys(); err == nil {
			x.ProofKeys, err = parseProofKeys(entries)
		}
	}
	return x, err
}

func parseProofKeys(b []byte) (keys []registry.ProofKey, err error) {
	for ; len(b) > 0; b = b[registry.ProofKeySize:] {
		key, err := registry.ParseProofKey(b[:min(len(b), registry.ProofKeySize)])
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// servicesOf returns the services of a header's rows, ascending, each once.
func servicesOf(h *rollup.Header) []uint64 {
	services := make([]uint64, 0, len(h.Rows))
	for _, r := range h.Rows {
		services = append(services, uint64(r.Service))
	}
	slices.Sort(services)
	return slices.Compact(services)
}

const (
	clientSize  = 8 + registry.ClientSize
	serviceSize = 4 + registry.ServiceSize
)

func (x *Extract) size() int {
	return registry.HeadsSize + len(x.Clients)*clientSize + len(x.ClientsProof) +
		len(x.Services)*serviceSize + len(x.ServicesProof) + registry.NodeSize + len(x.NodeProof) +
		len(x.ProofKeys)*registry.ProofKeySize + 3*4
}

// append appends the extract: heads; clients and their proof; services and theirs; the node and its
// path; on rung 3 all proof keys. How many hashes a proof has follows from heads and indices.
func (x *Extract) append(dst []byte) []byte {
	dst = x.Heads.Append(dst)
	dst = le.AppendUint32(dst, uint32(len(x.Clients)))
	for i := range x.Clients {
		dst = x.Clients[i].Client.Append(le.AppendUint64(dst, x.Clients[i].Index))
	}
	dst = append(dst, x.ClientsProof...)
	dst = le.AppendUint32(dst, uint32(len(x.Services)))
	for i := range x.Services {
		dst = x.Services[i].Service.Append(le.AppendUint32(dst, x.Services[i].Index))
	}
	dst = append(dst, x.ServicesProof...)
	dst = append(x.Node.Append(dst), x.NodeProof...)
	if x.ProofKeys == nil {
		return dst
	}
	dst = le.AppendUint32(dst, uint32(len(x.ProofKeys)))
	for i := range x.ProofKeys {
		dst = x.ProofKeys[i].Append(dst)
	}
	return dst
}

// maxClients is how many clients the parts of a rollup can have together.
const maxClients = rollup.MaxAcks + rollup.MaxStatements

// extract reads an extract for the rollup of a node, on rung 3 with proof keys.
func (r *reader) extract(node uint32, proofs bool) (x Extract) {
	heads := r.Next(registry.HeadsSize)
	if r.Err != nil {
		return x
	}
	var err error
	if x.Heads, err = registry.ParseHeads(heads); err != nil {
		r.malformed(err)
		return x
	}
	r.clients(&x)
	r.services(&x)
	if leaf := r.Next(registry.NodeSize); r.Err == nil {
		if x.Node, err = registry.ParseNode(leaf); err != nil {
			r.malformed(err)
		}
	}
	x.NodeProof = r.proof(x.Heads.Nodes.Count, []uint64{uint64(node)})
	if !proofs {
		return x
	}
	n := r.Count(uint64(r.U32()), registry.ProofKeySize)
	if n == 0 {
		r.Fail("no proof keys")
	}
	if keys := r.Next(n * registry.ProofKeySize); r.Err == nil {
		if x.ProofKeys, err = parseProofKeys(keys); err != nil {
			r.malformed(err)
		}
	}
	return x
}

func (r *reader) clients(x *Extract) {
	n := r.U32()
	if n == 0 || n > maxClients {
		r.Fail("%d clients, where 1 to %d may be", n, maxClients)
	}
	x.Clients = make([]Client, r.Count(uint64(n), clientSize))
	indices := make([]uint64, len(x.Clients))
	for i := range x.Clients {
		indices[i] = r.U64()
		leaf, err := registry.ParseClient(r.Next(registry.ClientSize))
		if err != nil {
			r.malformed(at("client", i, err))
			return
		}
		x.Clients[i] = Client{indices[i], leaf}
	}
	x.ClientsProof = r.proof(x.Heads.Clients.Count, indices)
}

func (r *reader) services(x *Extract) {
	n := r.U32()
	if n == 0 || n > rollup.MaxRows {
		r.Fail("%d services, where 1 to %d may be", n, rollup.MaxRows)
	}
	x.Services = make([]Service, r.Count(uint64(n), serviceSize))
	indices := make([]uint64, len(x.Services))
	for i := range x.Services {
		index := r.U32()
		leaf, err := registry.ParseService(r.Next(registry.ServiceSize))
		if err != nil {
			r.malformed(at("service", i, err))
			return
		}
		x.Services[i], indices[i] = Service{index, leaf}, uint64(index)
	}
	x.ServicesProof = r.proof(x.Heads.Services.Count, indices)
}

// proof reads as many hashes as a proof of these entries has.
func (r *reader) proof(count uint64, indices []uint64) []byte {
	if r.Err != nil {
		return nil
	}
	n, err := registry.ProofHashes(count, indices)
	if err != nil {
		r.malformed(err)
		return nil
	}
	return r.Next(n * registry.HashSize)
}

// malformed fails with what another package found.
func (r *reader) malformed(err error) {
	if r.Err == nil {
		r.Err = fmt.Errorf("%w: %w", rollup.ErrMalformed, err)
	}
	r.B = nil
}

func compareClient(c Client, index uint64) int { return cmp.Compare(c.Index, index) }

func compareService(s Service, index uint32) int { return cmp.Compare(s.Index, index) }

// verify checks that all of the extract is in the registry of the record, and nothing is missing or
// left over: ErrRegistry, ErrClients.
func (x *Extract) verify(e *Rollup) error {
	if root := rollup.Hash(x.Heads.Root()); root != e.Record.RegistryRoot {
		return fmt.Errorf("%w: the heads give %s, not %s", rollup.ErrRegistry, root,
			e.Record.RegistryRoot)
	}
	if err := x.complete(e); err != nil {
		return err
	}
	clients, services := make([]uint64, len(x.Clients)), make([]uint64, len(x.Services))
	entries := make([]byte, 0, len(x.Clients)*registry.ClientSize)
	for i := range x.Clients {
		clients[i] = x.Clients[i].Index
		entries = x.Clients[i].Client.Append(entries)
	}
	if err := registry.Clients.Verify(x.Heads.Clients, clients, entries, x.ClientsProof); err != nil {
		return fmt.Errorf("%w: clients: %w", rollup.ErrRegistry, err)
	}
	entries = entries[:0]
	for i := range x.Services {
		services[i] = uint64(x.Services[i].Index)
		entries = x.Services[i].Service.Append(entries)
	}
	if err := registry.Services.Verify(x.Heads.Services, services, entries,
		x.ServicesProof); err != nil {
		return fmt.Errorf("%w: services: %w", rollup.ErrRegistry, err)
	}
	if err := registry.Nodes.Verify(x.Heads.Nodes, []uint64{uint64(e.Header.Node)},
		x.Node.Append(nil), x.NodeProof); err != nil {
		return fmt.Errorf("%w: node: %w", rollup.ErrRegistry, err)
	}
	return nil
}

// complete requires that clients are those of the evidence, services those of the rows: ErrClients.
func (x *Extract) complete(e *Rollup) error {
	have := make([]uint64, len(x.Clients))
	for i := range x.Clients {
		have[i] = x.Clients[i].Index
	}
	if want := e.Evidence.AllClients(); !slices.Equal(have, want) {
		return fmt.Errorf("%w: %d clients, and %d in the evidence", rollup.ErrClients, len(have),
			len(want))
	}
	services := make([]uint64, len(x.Services))
	for i := range x.Services {
		services[i] = uint64(x.Services[i].Index)
	}
	if want := servicesOf(e.Header); !slices.Equal(services, want) {
		return fmt.Errorf("%w: services %d, and the rows are of %d", rollup.ErrClients, services, want)
	}
	return nil
}

// proofKey returns the digest of the verifying key for a circuit's size in an epoch: ErrNoProofs,
// ErrRegistry.
func (x *Extract) proofKey(size int, epoch uint32) (digest rollup.Hash, err error) {
	var entries []byte
	for i := range x.ProofKeys {
		entries = x.ProofKeys[i].Append(entries)
	}
	if root := registry.ProofKeys.RootOf(entries); root != x.Heads.ProofKeys {
		return digest, fmt.Errorf("%w: the proof keys give %x, not %x", rollup.ErrRegistry, root,
			x.Heads.ProofKeys)
	}
	for i := range x.ProofKeys {
		if k := &x.ProofKeys[i]; int(k.Size) == size && k.ValidIn(epoch) {
			digest, err = k.Digest, nil // the newest
		}
	}
	if digest == (rollup.Hash{}) {
		return digest, fmt.Errorf("%w for circuits of %d statements in epoch %d", rollup.ErrNoProofs,
			size, epoch)
	}
	return digest, nil
}

// extracted is the registry that an extract is.
type extracted struct {
	*Extract
	keys []*bls.PublicKey
}

// registry decodes the clients' keys, in up to workers goroutines: ErrMalformed.
func (x *Extract) registry(workers int) (*extracted, error) {
	encoded := make([]byte, 0, len(x.Clients)*bls.PublicKeySize)
	for i := range x.Clients {
		encoded = append(encoded, x.Clients[i].Key[:]...)
	}
	keys, verdicts, err := bls.ParsePublicKeys(
		bls.Column{Data: encoded, Stride: bls.PublicKeySize, Width: bls.PublicKeySize}, workers)
	if err != nil {
		return nil, err
	}
	for i, verdict := range verdicts {
		if err := verdict.Err(); err != nil {
			return nil, at("client", i, fmt.Errorf("%w: %w", rollup.ErrMalformed, err))
		}
	}
	return &extracted{x, keys}, nil
}

func (x *extracted) Client(index uint64) (rollup.Client, bool) {
	i, ok := slices.BinarySearchFunc(x.Clients, index, compareClient)
	if !ok {
		return rollup.Client{}, false
	}
	c := &x.Clients[i]
	return rollup.Client{Key: x.keys[i], Payer: c.Payer, Since: c.Since, Until: c.Until,
		Numbers: c.Numbers, Services: c.Services}, true
}

func (x *extracted) UnitCap(service uint32) (uint64, bool) {
	i, ok := slices.BinarySearchFunc(x.Services, service, compareService)
	if !ok {
		return 0, false
	}
	return x.Services[i].Cap, true
}

func (x *extracted) NodeKey(uint32) ([32]byte, bool) { return x.Node.NodeKey, true }

// proofs returns what checks the proofs of rung 3: ErrNoProofs, ErrProof, ErrRegistry. For other
// rungs there is none.
func (e *Rollup) proofs(trust *Trust) (rollup.ProofVerifier, error) {
	if e.Evidence.Rung != rollup.RungProof {
		return nil, nil
	}
	if trust.Proofs == nil {
		return nil, rollup.ErrNoProofs
	}
	digest, err := e.proofKey(e.Evidence.Size, e.Header.Epoch)
	if err != nil {
		return nil, err
	}
	if got := rollup.Hash(blake3.Sum256(e.VerifyingKey)); got != digest {
		return nil, fmt.Errorf("%w: the verifying key is %s, not %s", rollup.ErrProof, got, digest)
	}
	proofs, err := trust.Proofs(e.Evidence.Size, e.VerifyingKey)
	if err != nil {
		return nil, fmt.Errorf("%w: verifying key: %w", rollup.ErrProof, err)
	}
	return proofs, nil
}
