package manifest

import (
	"crypto/ed25519"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/internal/wire"
)

// Showing is what a manifest has under one path, for who does not have the manifest: what is signed
// of it, the signature, and what Show gives.
type Showing struct {
	Head
	Signature [ed25519.SignatureSize]byte
	Shown     []Shown
}

// Showing shows what stands under a path, or that nothing does.
func (m *Manifest) Showing(path string) (*Showing, error) {
	shown, err := m.Show(path)
	if err != nil {
		return nil, err
	}
	return &Showing{Head: m.Head, Signature: m.Signature, Shown: shown}, nil
}

// Append appends the encoding to dst.
func (s *Showing) Append(dst []byte) []byte {
	dst = append(s.Head.Append(dst), s.Signature[:]...)
	dst = append(dst, byte(len(s.Shown)))
	for i := range s.Shown {
		x := &s.Shown[i]
		entry := x.Entry.Append(nil)
		dst = le.AppendUint16(le.AppendUint32(dst, uint32(x.Index)), uint16(len(entry)))
		dst = append(append(dst, entry...), byte(len(x.Path)))
		for j := range x.Path {
			dst = append(dst, x.Path[j][:]...)
		}
	}
	return dst
}

// ParseShowing decodes a showing and nothing after it: ReasonMalformed, or what Entry.Check says.
// Nothing is verified.
func ParseShowing(b []byte) (*Showing, error) {
	r := &wire.Reader{B: b, Kind: ReasonMalformed}
	s := &Showing{Head: parseHead(r)}
	r.Fill(s.Signature[:])
	n := int(r.U8())
	if n < 1 || n > 2 {
		r.Fail("%d entries", n)
	}
	for range n {
		x := Shown{Index: uint64(r.U32())}
		entry := r.Next(int(r.U16()))
		x.Path = make([]rollup.Hash, r.Count(uint64(r.U8()), len(rollup.Hash{})))
		for j := range x.Path {
			r.Fill(x.Path[j][:])
		}
		if r.Err != nil {
			break
		}
		var err error
		if x.Entry, err = ParseEntry(entry); err != nil {
			return nil, err
		}
		s.Shown = append(s.Shown, x)
	}
	return s, r.End()
}

// Resolve verifies a showing under the key of the owner of a service, as VerifyHead does, and
// returns what stands under a path: ReasonAbsent when nothing does, ReasonProof when that is not
// shown.
func (s *Showing) Resolve(network *rollup.Network, service, epoch uint32, owner [32]byte,
	path string) (Entry, error) {
	if err := VerifyHead(&s.Head, &s.Signature, network, service, epoch, owner); err != nil {
		return Entry{}, err
	}
	return s.Head.Resolve(path, s.Shown)
}
