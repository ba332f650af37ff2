package word

import (
	"crypto/ed25519"
	"encoding/binary"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/internal/wire"
)

var le = binary.LittleEndian

// Signature is a node's, of a word.
type Signature = [rollup.WordSize]byte

// Word is something that a node says. Words are compared with ==.
type Word interface {
	// Append appends node, epoch and what is said to dst.
	Append(dst []byte) []byte

	tag() string
	slot() (s Slot, ok bool)
}

// Slot is what a node may say one thing about.
type Slot struct {
	Tag                 string
	Node, Epoch, Window uint32
}

// Own says that a rollup is the node's: it is pushed and ordered only with it.
type Own struct {
	Node, Epoch, Window uint32
	Rollup              rollup.Hash // id
}

// Offer is what a node shows clients to co-sign.
type Offer struct {
	Node, Epoch, Window uint32
	Count               uint32      // of statements
	Root                rollup.Hash // over them
}

// Answers is a node's answer to a message of acks.
type Answers struct {
	Node, Epoch uint32
	Height      uint64      // of the node's newest block
	Count       uint16      // of answers
	Root        rollup.Hash // over them, see AnswerTree
}

// Head is what a node says before it sends content.
type Head struct {
	Node, Epoch    uint32
	Height         uint64 // of the node's newest block
	Client         uint64
	Session        [16]byte
	Service        uint32
	Price          uint64 // of 2^20 units in the epoch
	Content        rollup.Hash
	Manifest, Path rollup.Hash // digests of what was asked for
	Size           uint64      // of the content, in bytes
	Offset, Length uint64      // of what is sent of it
}

// Run is what a node says before it runs a module.
type Run struct {
	Node, Epoch   uint32
	Height        uint64 // of the node's newest block
	Client        uint64
	Session       [16]byte
	Service       uint32
	Price         uint64 // of 2^20 units in the epoch
	Module, Input rollup.Hash
	Args          rollup.Hash // digest of the arguments; zero where there are none
	InputSize     uint64
	Fuel          uint64 // that is used at most
}

// Ran is what a node says of a run that ended.
type Ran struct {
	Node, Epoch uint32      // of the run's word
	Run         rollup.Hash // digest of that word
	Outcome     uint8
	Exit        uint32
	Fuel        uint64 // that was used
	Output      rollup.Hash
	OutputSize  uint64
}

// Sizes of words in bytes, without tag, network and signature.
const (
	OwnSize     = 3*4 + 32
	OfferSize   = 4*4 + 32
	AnswersSize = 2*4 + 8 + 2 + 32
	HeadSize    = 2*4 + 2*8 + 16 + 4 + 8 + 3*32 + 3*8
	RunSize     = 2*4 + 2*8 + 16 + 4 + 8 + 3*32 + 2*8
	RanSize     = 2*4 + 32 + 1 + 4 + 8 + 32 + 8
)

func (o Own) tag() string     { return "wb-own/2" }
func (o Offer) tag() string   { return "wb-off/2" }
func (a Answers) tag() string { return "wb-ans/2" }
func (h Head) tag() string    { return "wb-hed/2" }
func (r Run) tag() string     { return "wb-run/2" }
func (r Ran) tag() string     { return "wb-ran/2" }

func (o Own) slot() (Slot, bool)     { return Slot{o.tag(), o.Node, o.Epoch, o.Window}, true }
func (o Offer) slot() (Slot, bool)   { return Slot{o.tag(), o.Node, o.Epoch, o.Window}, true }
func (a Answers) slot() (Slot, bool) { return Slot{}, false }
func (h Head) slot() (Slot, bool)    { return Slot{}, false }
func (r Run) slot() (Slot, bool)     { return Slot{}, false }
func (r Ran) slot() (Slot, bool)     { return Slot{}, false }

// Append implements Word.
func (o Own) Append(dst []byte) []byte { return append(window(dst, o.slot), o.Rollup[:]...) }

// Append implements Word.
func (o Offer) Append(dst []byte) []byte {
	return append(le.AppendUint32(window(dst, o.slot), o.Count), o.Root[:]...)
}

func window(dst []byte, slot func() (Slot, bool)) []byte {
	s, _ := slot()
	return le.AppendUint32(le.AppendUint32(le.AppendUint32(dst, s.Node), s.Epoch), s.Window)
}

// Append implements Word.
func (a Answers) Append(dst []byte) []byte {
	dst = le.AppendUint32(le.AppendUint32(dst, a.Node), a.Epoch)
	dst = le.AppendUint16(le.AppendUint64(dst, a.Height), a.Count)
	return append(dst, a.Root[:]...)
}

// Append implements Word.
func (h Head) Append(dst []byte) []byte {
	dst = le.AppendUint32(le.AppendUint32(dst, h.Node), h.Epoch)
	dst = le.AppendUint64(le.AppendUint64(dst, h.Height), h.Client)
	dst = append(dst, h.Session[:]...)
	dst = le.AppendUint64(le.AppendUint32(dst, h.Service), h.Price)
	for _, d := range [...]rollup.Hash{h.Content, h.Manifest, h.Path} {
		dst = append(dst, d[:]...)
	}
	for _, n := range [...]uint64{h.Size, h.Offset, h.Length} {
		dst = le.AppendUint64(dst, n)
	}
	return dst
}

// Append implements Word.
func (r Run) Append(dst []byte) []byte {
	dst = le.AppendUint32(le.AppendUint32(dst, r.Node), r.Epoch)
	dst = le.AppendUint64(le.AppendUint64(dst, r.Height), r.Client)
	dst = append(dst, r.Session[:]...)
	dst = le.AppendUint64(le.AppendUint32(dst, r.Service), r.Price)
	for _, d := range [...]rollup.Hash{r.Module, r.Input, r.Args} {
		dst = append(dst, d[:]...)
	}
	return le.AppendUint64(le.AppendUint64(dst, r.InputSize), r.Fuel)
}

// Append implements Word.
func (r Ran) Append(dst []byte) []byte {
	dst = le.AppendUint32(le.AppendUint32(dst, r.Node), r.Epoch)
	dst = append(append(dst, r.Run[:]...), r.Outcome)
	dst = le.AppendUint64(le.AppendUint32(dst, r.Exit), r.Fuel)
	return le.AppendUint64(append(dst, r.Output[:]...), r.OutputSize)
}

// ParseOwn decodes a word and nothing after it: ReasonMalformed. So do the others.
func ParseOwn(b []byte) (Own, error) { return parse(b, (*reader).own) }

// ParseOffer decodes an offer.
func ParseOffer(b []byte) (Offer, error) { return parse(b, (*reader).offer) }

// ParseAnswers decodes what is signed of answers.
func ParseAnswers(b []byte) (Answers, error) { return parse(b, (*reader).answers) }

// ParseHead decodes a head.
func ParseHead(b []byte) (Head, error) { return parse(b, (*reader).head) }

// ParseRun decodes what a node says before it runs a module.
func ParseRun(b []byte) (Run, error) { return parse(b, (*reader).run) }

// ParseRan decodes what a node says of a run.
func ParseRan(b []byte) (Ran, error) { return parse(b, (*reader).ran) }

// Message returns what a node signs.
func Message(network *rollup.Network, w Word) []byte {
	return w.Append(append(append(make([]byte, 0, 256), w.tag()...), network[:]...))
}

// Sign signs a word with the node's key. The node has it on disk before it lets it leave.
func Sign(network *rollup.Network, key ed25519.PrivateKey, w Word) Signature {
	return Signature(ed25519.Sign(key, Message(network, w)))
}

// Verify checks a word under a key of the registry, which is one of prime order (section 2). The
// error is ReasonSignature. It costs some 50 µs.
func Verify(network *rollup.Network, key [32]byte, w Word, signature *Signature) error {
	if !ed25519.Verify(key[:], Message(network, w), signature[:]) {
		return refuse(ReasonSignature, "%T of a node", w)
	}
	return nil
}

// Digest returns the digest by which other messages name a word.
func Digest(network *rollup.Network, w Word) rollup.Hash {
	return blake3.Sum256(Message(network, w))
}

// SlotOf returns a word's slot, false when it has none.
func SlotOf(w Word) (Slot, bool) { return w.slot() }

// Exclude reports whether a node must not say both: they have the same slot, and say different
// things of it.
func Exclude(a, b Word) bool {
	sa, oka := a.slot()
	sb, okb := b.slot()
	return oka && okb && sa == sb && a != b
}

// reader decodes what this package encodes; its failures wrap ReasonMalformed.
type reader struct{ wire.Reader }

func parse[T any](b []byte, read func(*reader) T) (T, error) {
	r := newReader(b)
	v := read(r)
	return v, r.End()
}

func newReader(b []byte) *reader { return &reader{wire.Reader{B: b, Kind: ReasonMalformed}} }

func (r *reader) hash() (h rollup.Hash) {
	r.Fill(h[:])
	return h
}

func (r *reader) signature() (s Signature) {
	r.Fill(s[:])
	return s
}

func (r *reader) record() (v rollup.Record) {
	b := r.Next(rollup.RecordSize)
	if r.Err != nil {
		return v
	}
	record, err := rollup.ParseRecord(b)
	if err != nil {
		r.Fail("%w", err)
		return v
	}
	return *record
}

func (r *reader) own() Own {
	return Own{Node: r.U32(), Epoch: r.U32(), Window: r.U32(), Rollup: r.hash()}
}

func (r *reader) offer() Offer {
	return Offer{Node: r.U32(), Epoch: r.U32(), Window: r.U32(), Count: r.U32(), Root: r.hash()}
}

func (r *reader) answers() Answers {
	return Answers{Node: r.U32(), Epoch: r.U32(), Height: r.U64(), Count: r.U16(), Root: r.hash()}
}

func (r *reader) head() (h Head) {
	h.Node, h.Epoch = r.U32(), r.U32()
	h.Height, h.Client = r.U64(), r.U64()
	r.Fill(h.Session[:])
	h.Service, h.Price = r.U32(), r.U64()
	h.Content, h.Manifest, h.Path = r.hash(), r.hash(), r.hash()
	h.Size, h.Offset, h.Length = r.U64(), r.U64(), r.U64()
	return h
}

func (r *reader) run() (v Run) {
	v.Node, v.Epoch = r.U32(), r.U32()
	v.Height, v.Client = r.U64(), r.U64()
	r.Fill(v.Session[:])
	v.Service, v.Price = r.U32(), r.U64()
	v.Module, v.Input, v.Args = r.hash(), r.hash(), r.hash()
	v.InputSize, v.Fuel = r.U64(), r.U64()
	return v
}

func (r *reader) ran() Ran {
	return Ran{Node: r.U32(), Epoch: r.U32(), Run: r.hash(), Outcome: r.U8(), Exit: r.U32(),
		Fuel: r.U64(), Output: r.hash(), OutputSize: r.U64()}
}
