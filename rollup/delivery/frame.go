package delivery

import (
	"github.com/waybill-network/waybill/rollup/word"
)

// Kind says what a frame of a stream is.
type Kind uint8

// The kinds of frames.
const (
	KindHead   Kind = iota + 1 // the node's word, first in a stream
	KindRun                    // parents of groups, whose bytes follow behind the frame
	KindAsk                    // an ack is due
	KindEnd                    // all was sent; nothing follows
	KindAbort                  // nothing follows, for a reason
	KindStart                  // the node's word of a run, first in a stream
	KindMeter                  // how much fuel a run has used
	KindOutput                 // bytes of a run's output
	KindResult                 // the node's word of how a run ended; nothing follows
)

const (
	// GroupSize is the bytes of a group, of which only a content's last one has fewer.
	GroupSize = 16 << 10
	// MaxRun is how many groups a run has at most: 1 MiB.
	MaxRun = 64
	// ParentSize is the size in bytes of a parent: the chaining values of its two halves.
	ParentSize = 64

	// PrefixSize is what stands before the body of every frame: its kind and the body's length.
	PrefixSize = 1 + 4
	// HeadSize is the body of a head: the word and its signature.
	HeadSize = word.HeadSize + 64

	// StartSize and ResultSize are the bodies of a start and a result: word and signature.
	StartSize  = word.RunSize + 64
	ResultSize = word.RanSize + 64
	// MaxOutput is how many bytes of output a frame has at most.
	MaxOutput = 64 << 10

	runSize, askSize, abortSize, meterSize = 8 + 4, 8 + 8, 1 + 8, 8

	// MaxFrame is the longest body of a frame.
	MaxFrame = MaxOutput

	maxRunFrame = runSize + maxParents*ParentSize
	// A run of n groups has at most n − 1 parents within, and those on the two ways from the root
	// to its ends.
	maxParents = MaxRun - 1 + 2*(50-14)
)

// Head is the first frame: what the node signs of the stream.
type Head struct {
	Word      word.Head
	Signature word.Signature
}

// Run announces groups. Parents are those of the tree over the content's groups that have a group
// of the run below them and none of an earlier run of the stream, from the root down, left before
// right: what a blake3.Decoder needs. Behind the frame lie the bytes of the groups, without
// anything between.
type Run struct {
	First   uint64 // group
	Groups  uint32
	Parents []byte // ParentSize each
}

// Ask says that the node wants an ack.
type Ask struct {
	Due    uint64 // bytes that were sent in the session and are not acknowledged
	Window uint64 // how many that may be
}

// Abort ends a stream.
type Abort struct {
	Reason Reason
	Arg    uint64 // milliseconds after which it may be tried again; 0: that is not known
}

func prefix(dst []byte, kind Kind, length int) []byte {
	return le.AppendUint32(append(dst, byte(kind)), uint32(length))
}

// Append appends the frame to dst.
func (h *Head) Append(dst []byte) []byte {
	return append(h.Word.Append(prefix(dst, KindHead, HeadSize)), h.Signature[:]...)
}

// Append appends the frame to dst, without the bytes that follow it.
func (r *Run) Append(dst []byte) []byte {
	dst = le.AppendUint64(prefix(dst, KindRun, runSize+len(r.Parents)), r.First)
	return append(le.AppendUint32(dst, r.Groups), r.Parents...)
}

// Append appends the frame to dst.
func (a *Ask) Append(dst []byte) []byte {
	return le.AppendUint64(le.AppendUint64(prefix(dst, KindAsk, askSize), a.Due), a.Window)
}

// AppendEnd appends the frame that ends a stream to dst.
func AppendEnd(dst []byte) []byte { return prefix(dst, KindEnd, 0) }

// Append appends the frame to dst.
func (a *Abort) Append(dst []byte) []byte {
	return le.AppendUint64(append(prefix(dst, KindAbort, abortSize), byte(a.Reason)), a.Arg)
}

// Prefix is what stands before a frame's body.
type Prefix struct {
	Kind   Kind
	Length int // of the body
}

// ParsePrefix decodes exactly PrefixSize bytes: ReasonMalformed for a kind that there is not, and
// for a length that a frame of the kind does not have.
func ParsePrefix(b []byte) (p Prefix, err error) {
	r := newReader(b)
	kind, length := Kind(r.U8()), r.U32()
	fits := false
	switch kind {
	case KindHead:
		fits = length == HeadSize
	case KindRun:
		fits = length >= runSize && length <= maxRunFrame && (length-runSize)%ParentSize == 0
	case KindAsk:
		fits = length == askSize
	case KindEnd:
		fits = length == 0
	case KindAbort:
		fits = length == abortSize
	case KindStart:
		fits = length == StartSize
	case KindMeter:
		fits = length == meterSize
	case KindOutput:
		fits = length > 0 && length <= MaxOutput
	case KindResult:
		fits = length == ResultSize
	}
	if !fits {
		r.Fail("a frame of kind %d with %d bytes", kind, length)
	}
	return Prefix{kind, int(length)}, r.End()
}

// ParseHead decodes the body of a head.
func ParseHead(b []byte) (h Head, err error) {
	r := newReader(b)
	if w := r.Next(word.HeadSize); w != nil {
		if h.Word, err = word.ParseHead(w); err != nil {
			r.Fail("%w", err)
		}
	}
	r.Fill(h.Signature[:])
	return h, r.End()
}

// ParseRun decodes the body of a run, 1 to MaxRun groups. The parents stay in place.
func ParseRun(b []byte) (run Run, err error) {
	r := newReader(b)
	run.First, run.Groups = r.U64(), r.U32()
	if run.Groups == 0 || run.Groups > MaxRun || run.First > maxGroups-uint64(run.Groups) {
		r.Fail("%d groups from %d on", run.Groups, run.First)
	}
	n := len(r.B)
	if n%ParentSize != 0 || n/ParentSize > maxParents {
		r.Fail("%d bytes of parents", n)
	}
	run.Parents = r.Next(n)
	return run, r.End()
}

// ParseAsk decodes the body of an ask.
func ParseAsk(b []byte) (a Ask, err error) {
	r := newReader(b)
	a = Ask{Due: r.U64(), Window: r.U64()}
	return a, r.End()
}

// ParseAbort decodes the body of an abort. Reasons of later versions decode.
func ParseAbort(b []byte) (a Abort, err error) {
	r := newReader(b)
	a = Abort{Reason: Reason(r.U8()), Arg: r.U64()}
	if a.Reason == 0 {
		r.Fail("no reason")
	}
	return a, r.End()
}

// MaxSize is the largest content in bytes.
const MaxSize = 1 << 50

const maxGroups = MaxSize / GroupSize

// Groups returns how many groups a content of a size, up to MaxSize, has.
func Groups(size uint64) uint64 { return (size + GroupSize - 1) / GroupSize }

// Span is what a node sends for a range of a content: the whole groups that have a byte of it.
type Span struct {
	First, Groups uint64
	From, Bytes   uint64 // of the content
}

// Widen returns the span of a range. It refuses one that is not within the content, and one of no
// bytes unless the content has none: ReasonRange.
func Widen(size, offset, length uint64) (s Span, err error) {
	switch {
	case size > MaxSize:
		return s, Refuse(ReasonRange, "a content of %d bytes", size)
	case offset > size || length > size-offset || length == 0 && size > 0:
		return s, Refuse(ReasonRange, "%d bytes from %d on, of %d", length, offset, size)
	}
	s.First = offset / GroupSize
	s.Groups = Groups(offset+length) - s.First
	s.From = s.First * GroupSize
	s.Bytes = min(size, s.From+s.Groups*GroupSize) - s.From
	return s, nil
}
