package workload

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
)

// Log is an access log that can be read any number of times, by one reader at a time.
type Log struct {
	Name   string
	Format Format // never FormatAuto
	file   *os.File
	gzip   bool
}

// Open opens a log, plain or compressed by gzip, and looks at its beginning. The path "-" is
// standard input. What can be read only once, such as a pipe, is read to its end into a temporary
// file first. The errors are those of the file system and a [*FormatError].
func Open(path string, format Format) (*Log, error) {
	l := &Log{Name: path, Format: format}
	if err := l.open(path); err != nil {
		return nil, err
	}
	if err := l.look(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Log) open(path string) (err error) {
	in := os.Stdin
	if path == "-" {
		l.Name = "standard input"
	} else if in, err = os.Open(path); err != nil {
		return err
	}
	if info, err := in.Stat(); err == nil && info.Mode().IsRegular() {
		l.file = in
		return nil
	}
	defer in.Close()
	if l.file, err = os.CreateTemp("", "waybill-log-"); err != nil {
		return err
	}
	if err = os.Remove(l.file.Name()); err == nil { // its name only: it goes when it is closed
		_, err = io.Copy(l.file, in)
	}
	if err != nil {
		l.file.Close()
		return fmt.Errorf("%s: %w", l.Name, err)
	}
	return nil
}

// look tells compression and format.
func (l *Log) look() error {
	magic := make([]byte, 2)
	n, _ := l.file.ReadAt(magic, 0)
	l.gzip = bytes.Equal(magic[:n], gzipMagic)
	head := make([]byte, sampled)
	in := newLines(l.content())
	err := in.skipNULs()
	if err == nil {
		n, err = io.ReadFull(in.r, head)
	} else {
		n = 0
	}
	if err != nil && n == 0 && !errors.Is(err, io.EOF) {
		return &ReadError{l.Name, 1, named(err)}
	}
	head = head[:n]
	if whole := bytes.LastIndexByte(head, '\n'); n == sampled && whole >= 0 {
		head = head[:whole+1]
	}
	if l.Format == FormatAuto {
		l.Format, err = detect(l.Name, head)
		return err
	}
	if what := binaryFormat(head); what != "" {
		return &FormatError{Name: l.Name, What: what}
	}
	return nil
}

// content reads the file from its beginning, decompressed.
func (l *Log) content() io.Reader {
	r := bufio.NewReaderSize(io.NewSectionReader(l.file, 0, 1<<62), 1<<16)
	if l.gzip {
		return &members{in: r}
	}
	return r
}

// Close closes the log.
func (l *Log) Close() error { return l.file.Close() }

// Deliveries yields a delivery a line. A line that cannot be read yields a [*LineError] and reading
// goes on. A [*ReadError] is yielded last.
func (l *Log) Deliveries() iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		parse := parsers[l.Format]
		lines := newLines(l.content())
		for n := 1; ; n++ {
			line, whole, err := lines.next()
			if err == io.EOF {
				return
			}
			var d Delivery
			if errors.As(err, new(Reason)) {
				err = &LineError{n, ReasonTooLong}
			} else if err != nil {
				yield(d, &ReadError{l.Name, n, named(err)})
				return
			} else if d, err = parseLine(parse, line, whole); err != nil {
				var reason Reason
				errors.As(err, &reason)
				d, err = Delivery{}, &LineError{n, reason}
			}
			if !yield(d, err) {
				return
			}
		}
	}
}

// parseLine refuses what no format has.
func parseLine(parse parser, line []byte, whole bool) (Delivery, error) {
	switch {
	case len(line) == 0:
		return Delivery{}, ReasonEmpty
	case bytes.ContainsAny(line, "\x00\r"):
		return Delivery{}, ReasonControl
	}
	return parse(line, whole)
}

// lines splits a text into lines of at most MaxLine bytes.
type lines struct {
	r *bufio.Reader
}

func newLines(r io.Reader) lines {
	in := bufio.NewReaderSize(r, MaxLine+2)
	if mark, _ := in.Peek(3); string(mark) == "\xef\xbb\xbf" {
		in.Discard(3)
	}
	return lines{in}
}

// next returns the next line without its ending, valid until the next call; whole says that it had
// one. The error is ReasonTooLong for a line that was skipped, io.EOF at the end, or the reader's.
func (l lines) next() (line []byte, whole bool, err error) {
	if err = l.skipNULs(); err != nil {
		return nil, false, err
	}
	line, err = l.r.ReadSlice('\n')
	switch {
	case err == nil:
		line, whole = bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), true
		err = limit(line)
	case errors.Is(err, io.EOF) && len(line) > 0:
		err = limit(line)
	case errors.Is(err, bufio.ErrBufferFull):
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = l.r.ReadSlice('\n')
		}
		if err == nil || errors.Is(err, io.EOF) {
			err = ReasonTooLong
		}
	}
	return line, whole, err
}

func limit(line []byte) error {
	if len(line) > MaxLine {
		return ReasonTooLong
	}
	return nil
}

// skipNULs passes over NULs before a line: a server that writes at its old offset into a file that
// was truncated leaves a run of them, of any length.
func (l lines) skipNULs() error {
	for {
		b, err := l.r.Peek(1)
		if err != nil || b[0] != 0 {
			return err
		}
		b, _ = l.r.Peek(l.r.Buffered())
		l.r.Discard(len(b) - len(bytes.TrimLeft(b, "\x00")))
	}
}

// members reads the members of a gzip file one after the other, and takes zeros behind the last one
// as padding, which tape and block devices leave.
type members struct {
	in  *bufio.Reader
	z   *gzip.Reader
	err error // is returned from then on
}

func (m *members) Read(b []byte) (n int, err error) {
	if m.err != nil {
		return 0, m.err
	}
	n, m.err = m.read(b)
	return n, m.err
}

func (m *members) read(b []byte) (n int, err error) {
	if m.z == nil {
		if m.z, err = gzip.NewReader(m.in); err != nil {
			return 0, err
		}
		m.z.Multistream(false)
	}
	if n, err = m.z.Read(b); err == io.EOF {
		err = m.following()
	}
	return n, err
}

// following opens the next member, if there is one.
func (m *members) following() error {
	b, err := m.in.Peek(2)
	switch {
	case len(b) == 0:
		return err
	case b[0] == 0:
		if err := (lines{m.in}).skipNULs(); err != nil {
			return err
		}
		return errAfterGzip
	case !bytes.Equal(b, gzipMagic):
		return errAfterGzip
	}
	if err := m.z.Reset(m.in); err != nil {
		return err
	}
	m.z.Multistream(false)
	return nil
}

var errAfterGzip = errors.New("workload: data behind the end of the gzip file")

var gzipMagic = []byte{0x1f, 0x8b}

// named says what a decompressor's error means for the file.
func named(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the gzip file is truncated: %w", err)
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return fmt.Errorf("the gzip file is damaged: %w", err)
	}
	return err
}
