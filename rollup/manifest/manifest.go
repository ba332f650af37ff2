// Package manifest is what the owner of a service says about its site: which content stands under
// which path, of which media type, and for how long it may be kept without asking again. The owner
// signs it with the key of its account, for a network and a service.
//
// A manifest is a tree over its entries, in the order of their paths. So its digest is enough to
// show somebody one entry, and that there is none of a path (docs/protocol.md, section 19).
package manifest

import (
	"crypto/ed25519"
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/internal/wire"
)

// Tag begins a manifest.
const Tag = "wb-man/2"

// Sizes in bytes.
const (
	// SignedSize is how much of a manifest is signed.
	SignedSize = len(Tag) + 32 + 4 + 8 + 4 + 4 + 32
	// HeadSize is what stands before the entries: what is signed, and the signature.
	HeadSize = SignedSize + ed25519.SignatureSize
	// leastEntry is an entry without path and media type.
	leastEntry = 2 + 32 + 8 + 4 + 1
)

// Bounds of a manifest.
const (
	MaxEntries = 1 << 20
	MaxSize    = 1 << 50 // of a content, in bytes
	// Forever is the epoch until which a manifest holds that does not end.
	Forever = math.MaxUint32
)

var (
	// TreeKind is the kind of the tree over the entries.
	TreeKind  = rollup.NewTreeKind("manifest")
	digestKey = blake3.ContextKey("waybill/manifest/2")
	pathKey   = blake3.ContextKey("waybill/path/2")
)

var le = binary.LittleEndian

// Entry is what stands under a path.
type Entry struct {
	Path string      `json:"path"` // as CheckPath takes it
	Root rollup.Hash `json:"root"`
	Size uint64      `json:"size"` // in bytes, at most MaxSize
	// Life is for how many seconds a client may keep the content without asking again.
	Life uint32 `json:"life"`
	Type string `json:"type"` // media type, as CheckType takes it
}

// Append appends the entry's encoding.
func (e *Entry) Append(dst []byte) []byte {
	dst = le.AppendUint16(dst, uint16(len(e.Path)))
	dst = append(append(dst, e.Path...), e.Root[:]...)
	dst = le.AppendUint32(le.AppendUint64(dst, e.Size), e.Life)
	return append(append(dst, byte(len(e.Type))), e.Type...)
}

// Check sees that an entry can stand in a manifest.
func (e *Entry) Check() error {
	if err := CheckPath(e.Path); err != nil {
		return err
	}
	if e.Size > MaxSize {
		return refuse(ReasonSize, "%d bytes under %s", e.Size, e.Path)
	}
	return CheckType(e.Type)
}

// Head is what an owner signs.
type Head struct {
	Network rollup.Network `json:"network"`
	Service uint32         `json:"service"`
	// Serial grows from one manifest of a service to the next.
	Serial uint64 `json:"serial"`
	// Until is the epoch from which the manifest does not hold any more; Forever if it does not
	// end.
	Until uint32      `json:"until"`
	Count uint32      `json:"count"` // of entries, at least one
	Root  rollup.Hash `json:"root"`  // of the tree over them
}

// Append appends what is signed.
func (h *Head) Append(dst []byte) []byte {
	dst = append(append(dst, Tag...), h.Network[:]...)
	dst = le.AppendUint32(dst, h.Service)
	dst = le.AppendUint64(dst, h.Serial)
	dst = le.AppendUint32(le.AppendUint32(dst, h.Until), h.Count)
	return append(dst, h.Root[:]...)
}

// Digest is the digest by which other messages name a manifest.
func (h *Head) Digest() rollup.Hash { return blake3.Keyed(&digestKey, h.Append(nil)) }

// PathDigest is the digest by which other messages name a path. The path is clean.
func PathDigest(path string) rollup.Hash { return blake3.Keyed(&pathKey, []byte(path)) }

// Manifest is a manifest with its entries. Its fields are not changed.
type Manifest struct {
	Head
	Signature [ed25519.SignatureSize]byte
	Entries   []Entry // by path, ascending
	tree      *rollup.Tree
}

// New makes a manifest and signs it with the key of the owner's account. It sorts the entries.
// Count and root of the head are set.
func New(head Head, entries []Entry, owner ed25519.PrivateKey) (*Manifest, error) {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	if len(entries) == 0 || len(entries) > MaxEntries {
		return nil, refuse(ReasonCount, "%d entries, 1 to %d", len(entries), MaxEntries)
	}
	m := &Manifest{Head: head, Entries: entries}
	for i := range entries {
		if err := m.check(i); err != nil {
			return nil, err
		}
	}
	m.Count = uint32(len(entries))
	m.tree = treeOf(entries)
	m.Root = m.tree.Root()
	m.Signature = [ed25519.SignatureSize]byte(ed25519.Sign(owner, m.Head.Append(nil)))
	return m, nil
}

// check sees that an entry is one, and stands behind the one before it.
func (m *Manifest) check(i int) error {
	if err := m.Entries[i].Check(); err != nil {
		return err
	}
	if i == 0 {
		return nil
	}
	switch c := strings.Compare(m.Entries[i-1].Path, m.Entries[i].Path); {
	case c == 0:
		return refuse(ReasonDuplicate, "%s", m.Entries[i].Path)
	case c > 0:
		return refuse(ReasonOrder, "%s stands before %s", m.Entries[i-1].Path, m.Entries[i].Path)
	}
	return nil
}

func treeOf(entries []Entry) *rollup.Tree {
	leaves := make([]byte, 0, len(entries)*len(rollup.Hash{}))
	var b []byte
	for i := range entries {
		b = entries[i].Append(b[:0])
		leaf := TreeKind.LeafHash(b)
		leaves = append(leaves, leaf[:]...)
	}
	return rollup.TreeOfLeaves(TreeKind, leaves)
}

// Append appends the manifest's encoding.
func (m *Manifest) Append(dst []byte) []byte {
	dst = append(m.Head.Append(dst), m.Signature[:]...)
	for i := range m.Entries {
		dst = m.Entries[i].Append(dst)
	}
	return dst
}

// Parse decodes a manifest, all of it and nothing else: entries in order, and the root over them.
// It does not look at the signature: see Verify.
func Parse(b []byte) (*Manifest, error) {
	r := &wire.Reader{B: b, Kind: ReasonMalformed}
	m := &Manifest{Head: parseHead(r)}
	r.Fill(m.Signature[:])
	n := r.Count(uint64(m.Count), leastEntry)
	if r.Err != nil {
		return nil, r.Err
	}
	if n == 0 || n > MaxEntries {
		return nil, refuse(ReasonCount, "%d entries, 1 to %d", n, MaxEntries)
	}
	m.Entries = make([]Entry, 0, min(n, 4096))
	for i := range n {
		if m.Entries = append(m.Entries, parseEntry(r)); r.Err != nil {
			return nil, r.Err
		}
		if err := m.check(i); err != nil {
			return nil, err
		}
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	m.tree = treeOf(m.Entries)
	if root := m.tree.Root(); root != m.Root {
		return nil, refuse(ReasonRoot, "%v, not %v", root, m.Root)
	}
	return m, nil
}

func parseHead(r *wire.Reader) (h Head) {
	r.Tag(Tag)
	r.Fill(h.Network[:])
	h.Service, h.Serial = r.U32(), r.U64()
	h.Until, h.Count = r.U32(), r.U32()
	r.Fill(h.Root[:])
	return h
}

func parseEntry(r *wire.Reader) (e Entry) {
	e.Path = string(r.Next(int(r.U16())))
	r.Fill(e.Root[:])
	e.Size, e.Life = r.U64(), r.U32()
	e.Type = string(r.Next(int(r.U8())))
	return e
}

// ParseHead decodes what is signed of a manifest.
func ParseHead(b []byte) (Head, error) {
	r := &wire.Reader{B: b, Kind: ReasonMalformed}
	h := parseHead(r)
	return h, r.End()
}

// ParseEntry decodes an entry, which is checked.
func ParseEntry(b []byte) (Entry, error) {
	r := &wire.Reader{B: b, Kind: ReasonMalformed}
	e := parseEntry(r)
	if err := r.End(); err != nil {
		return Entry{}, err
	}
	return e, e.Check()
}

// Verify sees that a manifest's head is one of a network and a service, holds in an epoch, and is
// signed by the account that owns the service. The key is one of prime order (section 2). Who has
// seen a manifest of the service does not take one with a lower serial.
func (m *Manifest) Verify(network *rollup.Network, service, epoch uint32, owner [32]byte) error {
	return VerifyHead(&m.Head, &m.Signature, network, service, epoch, owner)
}

// VerifyHead is Verify for a head without its entries.
func VerifyHead(h *Head, signature *[ed25519.SignatureSize]byte, network *rollup.Network,
	service, epoch uint32, owner [32]byte) error {
	switch {
	case h.Network != *network:
		return refuse(ReasonNetwork, "%v, not %v", h.Network, *network)
	case h.Service != service:
		return refuse(ReasonService, "%d, not %d", h.Service, service)
	case h.Until != Forever && epoch >= h.Until:
		return refuse(ReasonExpired, "in epoch %d; it is %d", h.Until, epoch)
	case !ed25519.Verify(owner[:], h.Append(nil), signature[:]):
		return refuse(ReasonSignature, "of the owner of service %d", service)
	}
	return nil
}

// Lookup returns what stands under a path.
func (m *Manifest) Lookup(path string) (Entry, error) {
	if err := CheckPath(path); err != nil {
		return Entry{}, err
	}
	i, found := m.find(path)
	if !found {
		return Entry{}, refuse(ReasonAbsent, "%s", path)
	}
	return m.Entries[i], nil
}

func (m *Manifest) find(path string) (int, bool) {
	return slices.BinarySearchFunc(m.Entries, path, func(e Entry, path string) int {
		return strings.Compare(e.Path, path)
	})
}
