package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
	"github.com/waybill-network/waybill/rollup/word"
)

// The file of a book begins with journalTag. Behind it stand batches of records. In front of a
// batch are its length u32, its checksum u32, four zero bytes, and the checksum u32 of these twelve
// bytes. A record is its kind u8 and fields of fixed sizes, little-endian. Zeros fill a batch up to
// a multiple of 16 bytes, so that the head of the next one is in one sector. A batch that was being
// written when the machine stopped is at the end, and nothing of it had left the program.
var journalTag = []byte("wb-book/2\n\x00\x00\x00\x00\x00\x00")

const (
	batchHead = 16
	// rewriteAbove is the size of a file above which it is written anew when most of it has been
	// overtaken.
	rewriteAbove = 4 << 20
)

// recordKind is what a record tells.
type recordKind uint8

const (
	recordPlace  recordKind = 1 + iota // a node: index u16, network 32, node u32, key 32, born u32
	recordEpoch                        // index u16, epoch u32
	recordNext                         // series, next u64
	recordAck                          // series, number u32, units u64, request 32, id u64, at ms u64
	recordAnswer                       // series, number u32, code u8, state u8
	recordRoot                         // index u16, epoch, window, count u32, root 32, at ms u64
	recordOffer                        // index u16, epoch, window, count u32, root 32, signature 64
	// index u16, epoch of the ack u32, how many there were before u64, length u16, a word.Refusal
	recordRefusal
)

// The series of a record is index u16, epoch u32, client u64, service u32.
var recordSizes = [...]int{
	recordPlace:  2 + 32 + 4 + 32 + 4,
	recordEpoch:  2 + 4,
	recordNext:   laneSize + 8,
	recordAck:    laneSize + 4 + 8 + 32 + 8 + 8,
	recordAnswer: laneSize + 4 + 2,
	recordRoot:   2 + 4 + 4 + 4 + 32 + 8,
	recordOffer:  2 + 4 + 4 + 4 + 32 + 64,

	recordRefusal: refusalHead, // and the refusal
}

const refusalHead = 2 + 4 + 8 + 2

const laneSize = 2 + 4 + 8 + 4

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// journal is the file of a book. Records are added under the book's mutex.
type journal struct {
	path   string
	unlock func() error

	pending []byte // not yet written; guarded by the book's mutex

	disk  sync.Mutex // before the book's mutex
	file  *os.File
	spare []byte
	size  int64
	lean  int64 // size after the last rewriting
}

// OpenBook opens the book in a file, which it makes when there is none. Nobody else can open it
// until Close, or until the program ends. Errors: ErrBookInUse, ErrBookDamaged, and the system's.
func OpenBook(path string) (*Book, error) {
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("open book %s: %w", path, err)
	}
	b := MemoryBook()
	j := &journal{path: path, unlock: unlock}
	if err := j.open(b); err != nil {
		return nil, errors.Join(fmt.Errorf("open book %s: %w", path, err), unlock())
	}
	b.journal = j
	return b, nil
}

// open reads the file into the book.
func (j *journal) open(b *Book) error {
	content, err := os.ReadFile(j.path)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(content) < len(journalTag) &&
		bytes.HasPrefix(journalTag, content) { // new, or when it was new the machine stopped
		return j.rewrite(b)
	}
	if err != nil {
		return err
	}
	good, err := readJournal(b, content)
	if err != nil {
		return err
	}
	if j.file, err = os.OpenFile(j.path, os.O_RDWR, 0o600); err != nil {
		return err
	}
	if good < len(content) {
		err = j.file.Truncate(int64(good))
	}
	if err == nil {
		_, err = j.file.Seek(int64(good), io.SeekStart)
	}
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return errors.Join(err, j.file.Close())
	}
	j.size, j.lean = int64(good), int64(good)/2
	return nil
}

// readJournal reads a book from the content of its file. It returns how much of it holds: all but a
// batch at the end that was not written to its end. The error is ErrBookDamaged.
func readJournal(b *Book, content []byte) (good int, err error) {
	if !bytes.HasPrefix(content, journalTag) {
		return 0, fmt.Errorf("%w: it does not begin like one", ErrBookDamaged)
	}
	good = len(journalTag)
	for good < len(content) {
		n, whole := wholeBatch(content[good:])
		if !whole {
			return good, tornBehind(content, good)
		}
		if err := b.replay(content[good+batchHead : good+n]); err != nil {
			return 0, fmt.Errorf("%w, in the batch at byte %d", err, good)
		}
		good += n
	}
	return good, nil
}

// wholeBatch returns the size of the batch that a file goes on with, if it is all there.
func wholeBatch(rest []byte) (size int, whole bool) {
	if !hasHead(rest) {
		return 0, false
	}
	n := uint64(le.Uint32(rest)) + batchHead
	if n > uint64(len(rest)) {
		return 0, false
	}
	return int(n), crc32.Checksum(rest[batchHead:n], castagnoli) == le.Uint32(rest[4:])
}

func hasHead(rest []byte) bool {
	return len(rest) >= batchHead && crc32.Checksum(rest[:12], castagnoli) == le.Uint32(rest[12:])
}

// tornBehind makes sure that what does not hold is the last batch: ErrBookDamaged.
func tornBehind(content []byte, good int) error {
	for at := good + batchHead; at < len(content); at += batchHead {
		if hasHead(content[at:]) {
			return fmt.Errorf("%w: what stands at byte %d", ErrBookDamaged, good)
		}
	}
	return nil
}

// replay reads the records of a batch.
func (b *Book) replay(batch []byte) error {
	for len(batch) > 0 {
		if batch[0] == 0 && len(bytes.Trim(batch, "\x00")) == 0 {
			return nil
		}
		kind := recordKind(batch[0])
		size, whole := recordSize(kind, batch[1:])
		if !whole {
			return fmt.Errorf("%w: no record of kind %d with %d bytes", ErrBookDamaged, kind,
				len(batch)-1)
		}
		fields := fields{batch[1 : 1+size]}
		batch = batch[1+size:]
		if err := b.apply(kind, &fields); err != nil {
			return fmt.Errorf("%w: a record of kind %d: %w", ErrBookDamaged, kind, err)
		}
	}
	return nil
}

// recordSize returns the size of a record behind its kind, if it is all there.
func recordSize(kind recordKind, rest []byte) (size int, whole bool) {
	if kind < recordPlace || kind > recordRefusal || len(rest) < recordSizes[kind] {
		return 0, false
	}
	size = recordSizes[kind]
	if kind == recordRefusal {
		size += int(le.Uint16(rest[refusalHead-2:]))
	}
	return size, len(rest) >= size
}

// fields reads what is there, by the size of the record.
type fields struct{ b []byte }

func (f *fields) next(n int) (field []byte) {
	field, f.b = f.b[:n], f.b[n:]
	return field
}

func (f *fields) u8() uint8         { return f.next(1)[0] }
func (f *fields) u16() uint16       { return le.Uint16(f.next(2)) }
func (f *fields) u32() uint32       { return le.Uint32(f.next(4)) }
func (f *fields) u64() uint64       { return le.Uint64(f.next(8)) }
func (f *fields) hash() rollup.Hash { return rollup.Hash(f.next(32)) }
func (f *fields) time() time.Time   { return time.UnixMilli(int64(f.u64())) }

var errNoSuch = errors.New("it names what was not written down before")

// apply does what a record tells.
func (b *Book) apply(kind recordKind, f *fields) error {
	if kind == recordPlace {
		index := f.u16()
		pin := Pin{Network: rollup.Network(f.hash()), Node: f.u32(), Key: f.hash()}
		if int(index) != len(b.indexed) || b.places[pin] != nil {
			return errNoSuch
		}
		b.addPlace(pin, f.u32())
		return nil
	}
	index := int(f.u16())
	if index >= len(b.indexed) {
		return errNoSuch
	}
	p := b.indexed[index]
	epoch := f.u32()
	switch kind {
	case recordEpoch:
		if epoch < p.epoch {
			return errNoSuch
		}
		p.advance(epoch)
		return nil
	case recordRoot:
		w := windowOf{epoch, f.u32()}
		root := cosign.Root{Count: f.u32(), Hash: f.hash()}
		p.roots[w] = signedRoot{root, f.time()}
		return nil
	case recordOffer:
		b.hear(&offered{p, word.Offer{Node: p.pin.Node, Epoch: epoch, Window: f.u32(),
			Count: f.u32(), Root: f.hash()}, word.Signature(f.next(64))})
		return nil
	case recordRefusal:
		return b.applyRefusal(p, epoch, f)
	}
	l := p.seriesOf(seriesKey{epoch, f.u64(), f.u32()})
	switch kind {
	case recordNext:
		l.next, l.asked = max(l.next, min(f.u64(), maxNumber+1)), true
		return nil
	case recordAck:
		return b.applyAck(l, f)
	}
	e := l.acks[f.u32()]
	if e == nil {
		return errNoSuch
	}
	e.code, e.state = rollup.Code(f.u8()), state(f.u8())
	if e.state > stateFaulty {
		return errNoSuch
	}
	return nil
}

func (b *Book) applyAck(l *series, f *fields) error {
	e := &entry{
		series:  l,
		number:  f.u32(),
		units:   f.u64(),
		request: f.hash(),
		id:      f.u64(),
		at:      f.time(),
	}
	if l.acks[e.number] != nil || e.number > maxNumber {
		return errNoSuch
	}
	b.enter(e)
	return nil
}

func (b *Book) applyRefusal(p *place, epoch uint32, f *fields) error {
	before := f.u64()
	f.u16() // its length
	said, err := word.ParseRefusal(f.b)
	ack := rollup.Frame(said.Ack[:])
	if err != nil || ack.Epoch() != epoch {
		return errNoSuch
	}
	if len(b.words.refusals) == 0 {
		b.words.dropped = before
	}
	if before != b.words.before() {
		return errNoSuch
	}
	b.addRefusal(&refused{p, said})
	if l := p.series[seriesKey{epoch, ack.Client(), ack.Service()}]; l != nil {
		if e := l.acks[ack.Number()]; e != nil {
			e.refused = true
		}
	}
	return nil
}

func (j *journal) begin(kind recordKind, index uint16) {
	j.pending = le.AppendUint16(append(j.pending, byte(kind)), index)
}

func (j *journal) u32(v uint32) { j.pending = le.AppendUint32(j.pending, v) }
func (j *journal) u64(v uint64) { j.pending = le.AppendUint64(j.pending, v) }

func (j *journal) place(p *place) {
	j.begin(recordPlace, p.index)
	j.pending = append(j.pending, p.pin.Network[:]...)
	j.u32(p.pin.Node)
	j.pending = append(j.pending, p.pin.Key[:]...)
	j.u32(p.born)
}

func (j *journal) epoch(p *place) {
	j.begin(recordEpoch, p.index)
	j.u32(p.epoch)
}

func (j *journal) series(kind recordKind, l *series) {
	j.begin(kind, l.place.index)
	j.u32(l.key.epoch)
	j.u64(l.key.client)
	j.u32(l.key.service)
}

func (j *journal) next(l *series) {
	j.series(recordNext, l)
	j.u64(l.next)
}

func (j *journal) ack(e *entry) {
	j.series(recordAck, e.series)
	j.u32(e.number)
	j.u64(e.units)
	j.pending = append(j.pending, e.request[:]...)
	j.u64(e.id)
	j.u64(uint64(e.at.UnixMilli()))
}

func (j *journal) answer(e *entry) {
	j.series(recordAnswer, e.series)
	j.u32(e.number)
	j.pending = append(j.pending, byte(e.code), byte(e.state))
}

func (j *journal) root(p *place, w windowOf, root signedRoot) {
	j.begin(recordRoot, p.index)
	j.u32(w.epoch)
	j.u32(w.window)
	j.u32(root.Count)
	j.pending = append(j.pending, root.Hash[:]...)
	j.u64(uint64(root.at.UnixMilli()))
}

func (j *journal) offer(o *offered) {
	j.begin(recordOffer, o.place.index)
	j.u32(o.word.Epoch)
	j.u32(o.word.Window)
	j.u32(o.word.Count)
	j.pending = append(j.pending, o.word.Root[:]...)
	j.pending = append(j.pending, o.signature[:]...)
}

// refusal notes a refusal, with how many there were before.
func (j *journal) refusal(r *refused, before uint64) {
	j.begin(recordRefusal, r.place.index)
	j.u32(rollup.Frame(r.said.Ack[:]).Epoch())
	j.u64(before)
	at := len(j.pending)
	j.pending = r.said.Append(le.AppendUint16(j.pending, 0))
	le.PutUint16(j.pending[at:], uint16(len(j.pending)-at-2))
}

// sync returns when all records are on disk: those of several callers go there together.
func (j *journal) sync(b *Book) error {
	j.disk.Lock()
	defer j.disk.Unlock()
	b.mu.Lock()
	if b.err != nil {
		defer b.mu.Unlock()
		return b.err
	}
	records := j.pending
	j.pending = j.spare[:0]
	b.mu.Unlock()
	var err error
	if len(records) > 0 {
		err = j.append(records)
	}
	j.spare = records
	if err == nil && j.size > max(rewriteAbove, 3*j.lean) {
		b.mu.Lock()
		err = j.rewrite(b)
		b.mu.Unlock()
	}
	if err != nil {
		err = fmt.Errorf("book %s: %w", j.path, err)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.err = err // how much is on disk is not known
	}
	return err
}

func (j *journal) append(records []byte) error {
	batch := appendBatch(nil, records)
	if _, err := j.file.Write(batch); err != nil {
		return err
	}
	j.size += int64(len(batch))
	return j.file.Sync()
}

// appendBatch appends records as a batch.
func appendBatch(dst, records []byte) []byte {
	size := (len(records) + batchHead - 1) / batchHead * batchHead
	at := len(dst)
	dst = append(append(dst, make([]byte, batchHead)...), records...)
	dst = append(dst, make([]byte, size-len(records))...)
	head := dst[at:]
	le.PutUint32(head, uint32(size))
	le.PutUint32(head[4:], crc32.Checksum(head[batchHead:], castagnoli))
	le.PutUint32(head[12:], crc32.Checksum(head[:12], castagnoli))
	return dst
}

// rewrite puts a new file in place of the old one, with what the book knows. The caller holds the
// book's mutex.
func (j *journal) rewrite(b *Book) error {
	content := j.content(b)
	file, err := replaceFile(j.path, content)
	if err != nil {
		return err
	}
	if j.file != nil {
		err = j.file.Close()
	}
	j.file, j.size, j.lean = file, int64(len(content)), int64(len(content))
	return err
}

// content returns what a file has that holds what the book knows, and nothing else. What was to be
// written is in it.
func (j *journal) content(b *Book) []byte {
	j.pending = j.pending[:0]
	content := bytes.Clone(journalTag)
	flush := func(least int) {
		if len(j.pending) > least {
			content = appendBatch(content, j.pending)
			j.pending = j.pending[:0]
		}
	}
	for _, p := range b.indexed {
		j.place(p)
		if p.epoch != p.born {
			j.epoch(p)
		}
		for _, l := range p.series {
			if l.next > 0 {
				j.next(l)
			}
			flush(1 << 20)
		}
		for w, root := range p.roots {
			j.root(p, w, root)
		}
	}
	for _, e := range b.order {
		j.ack(e)
		if e.state != statePending {
			j.answer(e)
		}
		flush(1 << 20)
	}
	b.words.each(j.offer, func(r *refused, before uint64) {
		j.refusal(r, before)
		flush(1 << 20)
	})
	flush(0)
	return content
}

// replaceFile writes a file so that there is always either the old one or the new one, and returns
// it open at its end.
func replaceFile(path string, content []byte) (*os.File, error) {
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// close closes the file and lets others open it.
func (j *journal) close() error { return errors.Join(j.file.Close(), j.unlock()) }
