package delivery

import (
	"encoding/binary"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/internal/wire"
)

var le = binary.LittleEndian

const sessionTag = "wb-ses/2"

// Sizes in bytes of what a client signs to open a session, and of that with its signature.
const (
	SessionSize = len(sessionTag) + 32 + 4 + 8 + 4 + 16 + 32
	OpenSize    = SessionSize + rollup.SignatureSize
)

// Session is what a client signs to open a session. Sessions are compared with ==.
type Session struct {
	Network   rollup.Network
	Node      uint32
	Client    uint64
	Epoch     uint32
	ID        [16]byte // that the client draws
	Challenge [32]byte // the node's
}

// Append appends what is signed to dst.
func (s *Session) Append(dst []byte) []byte {
	dst = append(append(dst, sessionTag...), s.Network[:]...)
	dst = le.AppendUint64(le.AppendUint32(dst, s.Node), s.Client)
	dst = append(le.AppendUint32(dst, s.Epoch), s.ID[:]...)
	return append(dst, s.Challenge[:]...)
}

// Open is a session with its client's signature.
type Open struct {
	Session
	Signature [rollup.SignatureSize]byte
}

// SignSession signs a session with its client's key.
func SignSession(key *bls.SecretKey, s Session) Open {
	signature := bls.Default.Sign(key, s.Append(nil))
	return Open{s, signature.Bytes()}
}

// Append appends the encoding to dst.
func (o *Open) Append(dst []byte) []byte { return append(o.Session.Append(dst), o.Signature[:]...) }

// ParseOpen decodes exactly OpenSize bytes: ReasonMalformed. The signature is not looked at.
func ParseOpen(b []byte) (o Open, err error) {
	r := newReader(b)
	r.Tag(sessionTag)
	r.Fill(o.Network[:])
	o.Node, o.Client, o.Epoch = r.U32(), r.U64(), r.U32()
	r.Fill(o.ID[:])
	r.Fill(o.Challenge[:])
	r.Fill(o.Signature[:])
	if o.Client >= rollup.MaxClients {
		r.Fail("client %d", o.Client)
	}
	return o, r.End()
}

// StopSize is the size in bytes of a stop.
const StopSize = 16 + 32

// Stop says that a client wants no more of a stream.
type Stop struct {
	Session [16]byte
	Head    rollup.Hash // word.Digest of the stream's head
}

// Append appends the encoding to dst.
func (s *Stop) Append(dst []byte) []byte {
	return append(append(dst, s.Session[:]...), s.Head[:]...)
}

// ParseStop decodes exactly StopSize bytes: ReasonMalformed.
func ParseStop(b []byte) (s Stop, err error) {
	r := newReader(b)
	r.Fill(s.Session[:])
	s.Head = r.hash()
	return s, r.End()
}

type reader struct{ wire.Reader }

func newReader(b []byte) *reader {
	return &reader{wire.Reader{B: b, Kind: ReasonMalformed}}
}

func (r *reader) hash() (h rollup.Hash) {
	r.Fill(h[:])
	return h
}
