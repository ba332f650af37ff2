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
	MessageSize     = 80  // what the client signs: bytes 0 to 79
	SignatureOffset = 80
	SignatureSize   = 48
	LeafOffset      = 16 // the entry of the ack tree: bytes 16 to 79
	LeafSize        = 64
	EntryOffset     = 28 // the entry of the evidence: bytes 28 to 79
	EntrySize       = 52
)

// Limits of a rollup and of a service.
const (
	MaxAcks    = 65536   // acks in a window
	MaxRows    = 256     // (payer, service) pairs in a window
	MaxUnitCap = 1 << 40 // the largest cap a service may set on the units of one ack
)

const ackTag = "wb-ack/1"

// Network identifies a network; it is part of everything that is signed.
type Network [8]byte

// NetworkID returns the identifier of the network with the given chain id (section 3).
func NetworkID(chainID string) Network {
	sum := blake3.Sum256([]byte("waybill/network/1" + chainID))
	return Network(sum[:8])
}

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
	Network   Network
	Epoch     uint32
	Window    uint32
	Node      uint32
	Client    uint32
	Service   uint32
	Seq       uint32 // the client's counter within this node, epoch and window
	Units     uint64 // of the service; at least 1
	Request   Hash   // of the request record
	Signature [SignatureSize]byte
}

// Append appends the 128-byte encoding to dst.
func (a *Ack) Append(dst []byte) []byte {
	dst = a.appendMessage(dst)
	return append(dst, a.Signature[:]...)
}

// Message writes the 80 bytes that the client signs.
func (a *Ack) Message(dst *[MessageSize]byte) { a.appendMessage(dst[:0]) }

func (a *Ack) appendMessage(dst []byte) []byte {
	dst = append(dst, ackTag...)
	dst = append(dst, a.Network[:]...)
	return a.AppendLeaf(dst)
}

func (a *Ack) AppendLeaf(dst []byte) []byte {
	dst = le.AppendUint32(dst, a.Epoch)
	dst = le.AppendUint32(dst, a.Window)
	dst = le.AppendUint32(dst, a.Node)
	dst = le.AppendUint32(dst, a.Client)
	dst = le.AppendUint32(dst, a.Service)
	dst = le.AppendUint32(dst, a.Seq)
	dst = le.AppendUint64(dst, a.Units)
	return append(dst, a.Request[:]...)
}

// SetLeaf fills the fields that the 64 bytes of a tree entry hold.
func (a *Ack) SetLeaf(b []byte) {
	a.Epoch = le.Uint32(b[0:])
	a.Window = le.Uint32(b[4:])
	a.Node = le.Uint32(b[8:])
	a.Client = le.Uint32(b[12:])
	a.Service = le.Uint32(b[16:])
	a.Seq = le.Uint32(b[20:])
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
	a.Network = f.Network()
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

// Network returns the network field.
func (f Frame) Network() Network { return Network(f[8:16]) }

// Epoch returns the epoch field.
func (f Frame) Epoch() uint32 { return le.Uint32(f[16:]) }

// Window returns the window field.
func (f Frame) Window() uint32 { return le.Uint32(f[20:]) }

// Node returns the node field.
func (f Frame) Node() uint32 { return le.Uint32(f[24:]) }

// Client returns the client field.
func (f Frame) Client() uint32 { return le.Uint32(f[28:]) }

// Service returns the service field.
func (f Frame) Service() uint32 { return le.Uint32(f[32:]) }

// Seq returns the client's counter.
func (f Frame) Seq() uint32 { return le.Uint32(f[36:]) }

// Units returns the units field.
func (f Frame) Units() uint64 { return le.Uint64(f[40:]) }

// Request returns the hash of the request record.
func (f Frame) Request() Hash { return Hash(f[48:80]) }

// Key returns the node, epoch and window that the ack belongs to.
func (f Frame) Key() WindowKey {
	return WindowKey{Node: f.Node(), Epoch: f.Epoch(), Window: f.Window()}
}

// Message returns the 80 bytes that the client signed.
func (f Frame) Message() []byte { return f[:MessageSize:MessageSize] }

// Leaf returns the 64 bytes that enter the ack tree.
func (f Frame) Leaf() []byte { return f[LeafOffset:MessageSize:MessageSize] }

// Entry returns the 52 bytes that enter the evidence.
func (f Frame) Entry() []byte { return f[EntryOffset:MessageSize:MessageSize] }

// Signature returns the 48 bytes of the client's signature.
func (f Frame) Signature() []byte { return f[SignatureOffset:AckSize:AckSize] }
