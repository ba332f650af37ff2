package rollup

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup/internal/wire"
)

// Layout of an ack (section 4), in bytes.
const (
	AckSize         = 128 // the whole ack
	SignatureOffset = 80
	SignatureSize   = 48
	LeafOffset      = 16 // the entry of the ack tree: bytes 16 to 79
	LeafSize        = 64
	BodyOffset      = 40 // what the ack has for itself in a run: bytes 40 to 79
	BodySize        = 40

	// MessageSize is the size of what the client signs: tag, network, and the entry of the ack tree.
	MessageSize = messagePrefix + LeafSize

	messagePrefix = 8 + 32
)

// Limits of a rollup, a service and a registry.
const (
	MaxAcks    = 65536   // acks in a window
	MaxRows    = 256     // (payer, service) pairs in a window
	MaxUnitCap = 1 << 40 // the largest cap a service may set on the units of one ack
	MaxClients = 1 << 40 // clients of a network; a client's index is below it
)

const ackTag = "wb-ack/2"

// Network identifies a network: the digest of its whole genesis. It is part of everything that is
// signed, right behind the tag.
type Network [32]byte

var networkKey = blake3.ContextKey("waybill/network/2")

// NetworkOf returns the identifier of the network with the given canonical genesis (section 3).
func NetworkOf(genesis []byte) Network { return blake3.Keyed(&networkKey, genesis) }

// Net returns the beginning of the identifier, which stands in acks.
func (n Network) Net() Net { return Net(n[:8]) }

// Net is the first eight bytes of a Network. It is on the wire, so that what was meant for another
// network is refused early. It is never signed.
type Net [8]byte

// String returns the bytes in hexadecimal.
func (n Net) String() string { return hex.EncodeToString(n[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (n Net) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, n[:]), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]; only lower-case hexadecimal is accepted.
func (n *Net) UnmarshalText(text []byte) error { return parseHex(n[:], text) }

// String returns the identifier in hexadecimal.
func (n Network) String() string { return hex.EncodeToString(n[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (n Network) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, n[:]), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]; only lower-case hexadecimal is accepted.
func (n *Network) UnmarshalText(text []byte) error { return parseHex(n[:], text) }

// Hash is a 32-byte BLAKE3 digest.
type Hash [32]byte

// String returns the digest in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]; only lower-case hexadecimal is accepted.
func (h *Hash) UnmarshalText(text []byte) error { return parseHex(h[:], text) }

// parseHex fills dst from lower-case hexadecimal of exactly its size. The error is ErrMalformed.
func parseHex(dst, text []byte) error {
	if err := wire.ParseHex(dst, text); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// Ack is a delivery acknowledgement: a client's signed word that a request was fulfilled (section
// 4).
type Ack struct {
	Net       Net
	Epoch     uint32
	Node      uint32
	Client    uint64 // below MaxClients
	Service   uint32
	Number    uint32 // counts from 0 for each client, node, service and epoch
	Units     uint64 // of the service; at least 1
	Request   Hash   // root over the request records
	Signature [SignatureSize]byte
}

// Append appends the 128-byte encoding to dst.
func (a *Ack) Append(dst []byte) []byte {
	dst = append(dst, ackTag...)
	dst = append(dst, a.Net[:]...)
	dst = a.AppendLeaf(dst)
	return append(dst, a.Signature[:]...)
}

// AppendMessage appends the 104 bytes that the client signs on the network. Whether the network is
// the one that the ack names, the caller sees to.
func (a *Ack) AppendMessage(dst []byte, network *Network) []byte {
	return a.AppendLeaf(appendMessagePrefix(dst, network))
}

func appendMessagePrefix(dst []byte, network *Network) []byte {
	return append(append(dst, ackTag...), network[:]...)
}

// AppendLeaf appends the 64 bytes that enter the ack tree.
func (a *Ack) AppendLeaf(dst []byte) []byte {
	dst = le.AppendUint32(dst, a.Epoch)
	dst = le.AppendUint32(dst, a.Node)
	dst = le.AppendUint64(dst, a.Client)
	dst = le.AppendUint32(dst, a.Service)
	dst = le.AppendUint32(dst, a.Number)
	dst = le.AppendUint64(dst, a.Units)
	return append(dst, a.Request[:]...)
}

// SetLeaf fills the fields that the 64 bytes of a tree entry hold.
func (a *Ack) SetLeaf(b []byte) {
	a.Epoch = le.Uint32(b[0:])
	a.Node = le.Uint32(b[4:])
	a.Client = le.Uint64(b[8:])
	a.Service = le.Uint32(b[16:])
	a.Number = le.Uint32(b[20:])
	a.Units = le.Uint64(b[24:])
	a.Request = Hash(b[32:64])
}

// ParseAck decodes exactly 128 bytes. It checks length and tag; what the fields say, and the
// signature, are for the caller to judge. The error is ErrMalformed.
func ParseAck(b []byte) (Ack, error) {
	var a Ack
	if len(b) != AckSize {
		return a, fmt.Errorf("%w: an ack has %d bytes, not %d", ErrMalformed, AckSize, len(b))
	}
	f := Frame(b)
	if !f.Tagged() {
		return a, fmt.Errorf("%w: an ack begins with %q, not %q", ErrMalformed, ackTag, b[:len(ackTag)])
	}
	a.Net = f.Net()
	a.SetLeaf(f.Leaf())
	a.Signature = [SignatureSize]byte(f.Signature())
	return a, nil
}

var le = binary.LittleEndian

// Frame is an ack in place: exactly 128 bytes, read without a copy. Its methods panic on a shorter
// slice; the slices they return alias the frame.
type Frame []byte

// Tagged reports whether the frame begins with the ack tag.
func (f Frame) Tagged() bool { return string(f[:8]) == ackTag }

// Net returns the beginning of the network.
func (f Frame) Net() Net { return Net(f[8:16]) }

// Epoch returns the epoch field.
func (f Frame) Epoch() uint32 { return le.Uint32(f[16:]) }

// Node returns the node field.
func (f Frame) Node() uint32 { return le.Uint32(f[20:]) }

// Client returns the client field.
func (f Frame) Client() uint64 { return le.Uint64(f[24:]) }

// Service returns the service field.
func (f Frame) Service() uint32 { return le.Uint32(f[32:]) }

// Number returns the ack's number.
func (f Frame) Number() uint32 { return le.Uint32(f[36:]) }

// Units returns the units field.
func (f Frame) Units() uint64 { return le.Uint64(f[40:]) }

// Request returns the root over the request records.
func (f Frame) Request() Hash { return Hash(f[48:80]) }

// AppendMessage appends the 104 bytes that the client signed on the network.
func (f Frame) AppendMessage(dst []byte, network *Network) []byte {
	return append(appendMessagePrefix(dst, network), f.Leaf()...)
}

// Leaf returns the 64 bytes that enter the ack tree.
func (f Frame) Leaf() []byte { return f[LeafOffset:SignatureOffset:SignatureOffset] }

// Body returns the 40 bytes that stand for the ack in a run: units and request.
func (f Frame) Body() []byte { return f[BodyOffset:SignatureOffset:SignatureOffset] }

// Signature returns the 48 bytes of the client's signature.
func (f Frame) Signature() []byte { return f[SignatureOffset:AckSize:AckSize] }
