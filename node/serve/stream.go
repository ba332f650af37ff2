package serve

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/word"
)

// stream answers a call for content.
func (s *Server) stream(c *Call, x Name) error {
	if err := c.Permit(x.Root); err != nil {
		return err
	}
	file, err := s.cfg.Content.Open(c.Request.Context(), x.Root)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it was only read
	span, err := spanOf(c.Request, file.Size())
	if err != nil {
		return err
	}
	head := word.Head{Node: s.cfg.Node, Epoch: c.Epoch, Height: c.Height, Client: c.Client,
		Session: c.Session, Service: c.Service, Price: c.Price, Content: x.Root,
		Manifest: x.Manifest, Path: x.Path, Size: file.Size(), Offset: span.From,
		Length: span.Bytes}
	frame := (&delivery.Head{Word: head, Signature: c.Sign(head)}).Append(nil)
	if err := c.Begin(c.Digest(head), frame); err != nil {
		return err
	}
	if c.terms.head {
		return c.write(delivery.AppendEnd(nil))
	}
	o := &outlet{Call: c, file: file, root: x.Root}
	defer o.room.release()
	return o.send(span)
}

// spanOf reads the Range of a request: one range, or all.
func spanOf(r *http.Request, size uint64) (delivery.Span, error) {
	text := r.Header.Get("Range")
	if text == "" {
		return delivery.Widen(size, 0, size)
	}
	bad := delivery.Refuse(delivery.ReasonRange, "Range: %s, of %d bytes", text, size)
	set, ok := strings.CutPrefix(text, "bytes=")
	first, last, dash := strings.Cut(set, "-")
	if !ok || !dash {
		return delivery.Span{}, bad
	}
	from, err := strconv.ParseUint(first, 10, 64)
	if first == "" { // the last so many bytes
		n, err := strconv.ParseUint(last, 10, 64)
		if err != nil || n == 0 {
			return delivery.Span{}, bad
		}
		n = min(n, size)
		return delivery.Widen(size, size-n, n)
	}
	to := size
	if last != "" && err == nil {
		to, err = strconv.ParseUint(last, 10, 62)
		to = min(to+1, size)
	}
	if err != nil || from >= to {
		return delivery.Span{}, bad
	}
	return delivery.Widen(size, from, to-from)
}

// outlet sends content.
type outlet struct {
	*Call
	file    File
	root    rollup.Hash
	first   uint64 // group of the stream
	parents []byte
	frame   []byte
	room    room
	gone    uint64 // bytes of this stream that were written
}

// step returns how many bytes are written at once. What is written is a frame of HTTP/2, which its
// reader has when all of it is there: a stream begins with single groups, so that the first can be
// verified after the first round trip, and no frame is larger than half of what came before.
// Streams that are many have little room each.
func (o *outlet) step() uint64 {
	groups := min(o.gone/2, rooms/uint64(max(1, o.server.stats.open.Load()))) / delivery.GroupSize
	return min(sliceBytes, max(1, groups)*delivery.GroupSize)
}

// send sends runs until the span is sent, and the end.
func (o *outlet) send(span delivery.Span) error {
	o.first = span.First
	for next, end := span.First, span.First+span.Groups; next < end; {
		if o.ctx.Err() != nil {
			return o.cut()
		}
		n, err := o.run(next, end)
		if err != nil {
			return err
		}
		next += n
	}
	o.deadlines.Write(o.server.cfg.Slow)
	return o.write(delivery.AppendEnd(o.frame[:0]))
}

// run sends the next run, as long as credit and rate allow, and returns how many groups it had.
func (o *outlet) run(next, end uint64) (uint64, error) {
	s := o.server
	_, window := s.accounts.due(o.session)
	groups := min(delivery.MaxRun, end-next, max(1, window/2/delivery.GroupSize))
	from := next * delivery.GroupSize
	most := min(o.file.Size(), from+groups*delivery.GroupSize) - from
	taken, ask, err := o.Take(most, delivery.GroupSize)
	if err != nil {
		return 0, err
	}
	groups = delivery.Groups(taken)
	sent := uint64(0)
	defer func() { o.Return(taken - sent) }()
	if err := s.pass(o.ctx, taken); err != nil {
		return 0, err
	}
	if err := errors.Join(o.file.Check(), o.Permit(o.root)); err != nil {
		return 0, err
	}
	if o.parents, err = o.file.Parents(o.parents[:0], o.first, next, next+groups); err != nil {
		return 0, err
	}
	o.deadlines.Write(s.cfg.Slow)
	run := delivery.Run{First: next, Groups: uint32(groups), Parents: o.parents}
	o.frame = run.Append(o.frame[:0])
	if sent, err = o.bytes(from, taken); err != nil {
		return 0, err
	}
	if ask {
		return groups, o.Ask()
	}
	return groups, nil
}

// bytes sends the frame, and the bytes behind it. It returns how many of them were handed to the
// connection, those of a write that failed among them: they may have arrived.
func (o *outlet) bytes(from, length uint64) (sent uint64, err error) {
	for ahead := o.frame; sent < length; ahead = nil { // frame and first bytes are one write
		n := min(o.step(), length-sent)
		b := append(o.room.of(len(ahead)+int(n)), ahead...)[:len(ahead)+int(n)]
		if _, err := o.file.ReadAt(b[len(ahead):], int64(from+sent)); err != nil {
			o.broken = true // a run that was announced cannot be taken back
			return sent, delivery.Refuse(delivery.ReasonFailed, "%w", err)
		}
		if sent > 0 {
			o.deadlines.Write(o.server.cfg.Slow)
		}
		err := o.write(b)
		sent, o.gone = sent+n, o.gone+n
		o.server.stats.sent.Add(n)
		if err != nil {
			return sent, err
		}
		o.server.volume.use(n)
	}
	return sent, nil
}
