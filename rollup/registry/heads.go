package registry

import "github.com/waybill-network/waybill/kernels/blake3"

// HeadsSize is the size of heads in bytes.
const HeadsSize = 8 + 32 + 4 + 32 + 4 + 32 + 32

// Head is a tree's number of entries and its root.
type Head struct {
	Count uint64
	Root  Hash
}

// Heads are what the registry root is over.
type Heads struct {
	Clients, Nodes, Services Head
	ProofKeys                Hash
}

var rootKey = blake3.ContextKey("waybill/registry/2")

// Root returns the registry root.
func (h *Heads) Root() Hash { return blake3.Keyed(&rootKey, h.Append(nil)) }

// Append appends the encoding to dst.
func (h *Heads) Append(dst []byte) []byte {
	dst = append(le.AppendUint64(dst, h.Clients.Count), h.Clients.Root[:]...)
	dst = append(le.AppendUint32(dst, uint32(h.Nodes.Count)), h.Nodes.Root[:]...)
	dst = append(le.AppendUint32(dst, uint32(h.Services.Count)), h.Services.Root[:]...)
	return append(dst, h.ProofKeys[:]...)
}

// ParseHeads decodes heads: ReasonLength, ReasonField. A tree without entries has zeros for a root,
// and none other has.
func ParseHeads(b []byte) (h Heads, err error) {
	if len(b) != HeadsSize {
		return h, refuse(ReasonLength, "heads of %d bytes", len(b))
	}
	r := fields(b)
	h.Clients.Count = r.u64()
	r.fill(h.Clients.Root[:])
	h.Nodes.Count = uint64(r.u32())
	r.fill(h.Nodes.Root[:])
	h.Services.Count = uint64(r.u32())
	r.fill(h.Services.Root[:])
	r.fill(h.ProofKeys[:])
	if h.Clients.Count > MaxClients {
		return h, refuse(ReasonField, "%d clients", h.Clients.Count)
	}
	for i, head := range [...]*Head{&h.Clients, &h.Nodes, &h.Services} {
		if (head.Count == 0) != (head.Root == Hash{}) {
			return h, refuse(ReasonField, "head %d: %d entries under %x", i, head.Count, head.Root)
		}
	}
	return h, nil
}
