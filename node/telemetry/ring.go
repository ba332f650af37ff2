package telemetry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
	"time"
)

// The past that a node keeps for the page: a point for every PointSpan, for PastSpan.
const (
	PointSpan = 15 * time.Second
	PastSpan  = 6 * time.Hour
	points    = int(PastSpan / PointSpan)
	pointSize = 64
)

// Point is what happened in one span of time, or in the part of it in which the node ran.
type Point struct {
	Start time.Time `json:"start"`
	Counters
	Delivered uint64 `json:"delivered"`     // bytes of content that were acknowledged
	Earned    uint64 `json:"earned,string"` // micro-credits that settlements gave the owner
	Ready     bool   `json:"ready"`         // at its end
	Warned    bool   `json:"warned"`        // some check warned, at its end
}

// Past remembers the points of the last hours in a file of a fixed size, in which each span has its
// place: a start reads it, a span is one small write, and nothing of it is synced, for nothing but
// charts depends on it. A point that was torn is missing. It is safe for concurrent use.
type Past struct {
	mu   sync.Mutex
	file *os.File // nil: it is kept in memory only
	all  [points]Point
	last total
	span int64 // of last
}

// total are the counters that a span begins with.
type total struct {
	Counters
	delivered, earned uint64
}

// OpenPast reads what a file keeps. When it cannot be used, the past is kept in memory, and the
// error says why.
func OpenPast(path string, now time.Time) (*Past, error) {
	p := new(Past)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return p, fmt.Errorf("telemetry: the page's past: %w", err)
	}
	b := make([]byte, points*pointSize)
	n, err := io.ReadFull(file, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return p, errors.Join(fmt.Errorf("telemetry: the page's past: %w", err), file.Close())
	}
	p.file = file
	for i := range n / pointSize {
		var t Point
		if t.decode(b[i*pointSize:]) && place(spanOf(t.Start)) == i && recent(t.Start, now) {
			p.all[i] = t
		}
	}
	return p, nil
}

func spanOf(t time.Time) int64 { return t.UnixMilli() / PointSpan.Milliseconds() }

func place(span int64) int { return int(span % int64(points)) }

func recent(t, now time.Time) bool { return !t.After(now) && now.Sub(t) < PastSpan }

// Begin notes the counters with which the process begins.
func (p *Past) Begin(now time.Time, c Counters, delivered, earned uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.span = total{c, delivered, earned}, spanOf(now)
}

// Due reports whether a span is over that has no point yet.
func (p *Past) Due(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return spanOf(now) > p.span
}

// Note makes a point of the span that is over.
func (p *Past) Note(s *Snapshot, c Counters) error {
	now := total{c, s.Content.Paid, s.Node.Earned}
	t := Point{Ready: true}
	for _, check := range Checks(s) {
		t.Ready, t.Warned = t.Ready && check.OK, t.Warned || check.Warning
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.last
	t.Start = time.UnixMilli(p.span * PointSpan.Milliseconds())
	t.Counters = Counters{Accepted: c.Accepted - before.Accepted, Refused: c.Refused - before.Refused,
		Ordered: c.Ordered - before.Ordered, Blocks: c.Blocks - before.Blocks}
	t.Delivered, t.Earned = now.delivered-before.delivered, now.earned-before.earned
	i := place(p.span)
	p.all[i], p.last, p.span = t, now, spanOf(s.Taken)
	if p.file == nil {
		return nil
	}
	if _, err := p.file.WriteAt(t.encode(), int64(i)*pointSize); err != nil {
		return fmt.Errorf("telemetry: the page's past: %w", err)
	}
	return nil
}

// Points returns what is known of the last hours, oldest first. Spans in which the node did not run
// are missing.
func (p *Past) Points(now time.Time) []Point {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Point, 0, points)
	newest := spanOf(now)
	for span := newest - int64(points) + 1; span <= newest; span++ {
		if t := p.all[place(span)]; spanOf(t.Start) == span {
			list = append(list, t)
		}
	}
	return list
}

// Close closes the file. Points that come later are in memory only.
func (p *Past) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == nil {
		return nil
	}
	err := p.file.Close()
	p.file = nil
	return err
}

// encode writes start, counters, flags and a checksum of what is before it.
func (t *Point) encode() []byte {
	b := make([]byte, 0, pointSize)
	b = binary.LittleEndian.AppendUint64(b, uint64(t.Start.UnixMilli()))
	for _, v := range []uint64{t.Accepted, t.Refused, t.Ordered, t.Blocks, t.Delivered, t.Earned} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	var flags uint32
	if t.Ready {
		flags |= 1
	}
	if t.Warned {
		flags |= 2
	}
	b = binary.LittleEndian.AppendUint32(b, flags)
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// decode reads a point, and reports whether it is whole.
func (t *Point) decode(b []byte) bool {
	body := b[:pointSize-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(b[pointSize-4:]) {
		return false
	}
	value := func(i int) uint64 { return binary.LittleEndian.Uint64(body[8*i:]) }
	flags := binary.LittleEndian.Uint32(body[56:])
	*t = Point{Start: time.UnixMilli(int64(value(0))), Counters: Counters{Accepted: value(1),
		Refused: value(2), Ordered: value(3), Blocks: value(4)}, Delivered: value(5),
		Earned: value(6), Ready: flags&1 != 0, Warned: flags&2 != 0}
	return t.Start.UnixMilli() > 0 // zeros have a checksum, too
}
