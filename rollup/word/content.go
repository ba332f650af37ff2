package word

import (
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/manifest"
)

// Content is a head that names a manifest and a path of it, and another content than the manifest
// has there. Whose manifest it is does not matter: the node says itself that it goes by this one.
type Content struct {
	Head      Head
	Signature Signature
	Manifest  manifest.Head
	Index     uint32 // of the entry
	Entry     manifest.Entry
	Path      Path // from the entry to the manifest's root
}

// NewContent returns the evidence that a head lies about what a manifest shows; nil when it does
// not, or when the head is about something else.
func NewContent(head Head, signature Signature, m *manifest.Head, s *manifest.Shown) *Content {
	if head.Manifest != m.Digest() || head.Path != manifest.PathDigest(s.Entry.Path) ||
		head.Content == s.Entry.Root {
		return nil
	}
	return &Content{Head: head, Signature: signature, Manifest: *m, Index: uint32(s.Index),
		Entry: s.Entry, Path: s.Path}
}

// Lie implements Evidence.
func (e *Content) Lie() Lie { return LieContent }

func (e *Content) append(dst []byte) []byte {
	dst = e.Manifest.Append(append(e.Head.Append(dst), e.Signature[:]...))
	entry := e.Entry.Append(nil)
	dst = le.AppendUint16(le.AppendUint32(dst, e.Index), uint16(len(entry)))
	return e.Path.append(append(dst, entry...))
}

func (r *reader) content() Evidence {
	e := &Content{Head: r.head(), Signature: r.signature()}
	signed := r.Next(manifest.SignedSize)
	e.Index = r.U32()
	entry := r.Next(int(r.U16()))
	e.Path = r.path()
	if r.Err != nil {
		return nil
	}
	var err error
	if e.Manifest, err = manifest.ParseHead(signed); err == nil {
		e.Entry, err = manifest.ParseEntry(entry)
	}
	if err != nil {
		r.Fail("%w", err)
	}
	return e
}

// Judge implements Evidence. The node lied.
func (e *Content) Judge(network *rollup.Network, reg Registry) (v Verdict, err error) {
	h := &e.Head
	switch {
	case e.Manifest.Network != *network:
		return v, refuse(ReasonNetwork, "the manifest")
	case h.Manifest != e.Manifest.Digest() || h.Path != manifest.PathDigest(e.Entry.Path):
		return v, refuse(ReasonSlot, "the head is of another manifest or path")
	case h.Content == e.Entry.Root:
		return v, refuse(ReasonTrue, "it is what the manifest has there")
	}
	err = e.Path.leads(manifest.TreeKind, e.Entry.Append(nil), e.Index, e.Manifest.Count,
		e.Manifest.Root)
	if err != nil {
		return v, err
	}
	if err := verifyOf(network, reg, h.Node, e.Head, &e.Signature); err != nil {
		return v, err
	}
	return Verdict{Lie: LieContent, Epoch: h.Epoch, Nodes: []uint32{h.Node}}, nil
}

func (e *Content) needs() needs { return needs{node: &e.Head.Node} }
