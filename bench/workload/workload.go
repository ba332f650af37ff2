// Package workload turns traffic into deliveries: a web access log, or a generator that imitates one.
//
// A delivery says who was served what, in the log's own terms; it knows nothing of keys, indices or acks.
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

// MaxLine is the longest log line accepted, in bytes.
const MaxLine = 64 << 10

// Delivery is one fulfilled request. A client belongs to one payer, so the pair (Address, Payer) identifies it.
type Delivery struct {
	Address string // who asked: the log's remote host
	Payer   string // whose content it was: the first path segment
	Service string // what was delivered: the kind of the response
	Units   uint64 // bytes sent; 0 where the log says "-"
	Record  []byte // the request record: the log line without its line ending
}

// LineError reports a log line that is not in Common or Combined Log Format.
type LineError struct {
	Line   int // from 1
	Reason string
}

func (e *LineError) Error() string { return fmt.Sprintf("log line %d: %s", e.Line, e.Reason) }

// ErrLineTooLong reports a line of more than MaxLine bytes.
var ErrLineTooLong = errors.New("line too long")

// Open opens a log file, uncompressed or gzip (told by its first bytes, not by its name).
func Open(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(f, 1<<16)
	if magic, _ := r.Peek(2); !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return &logFile{Reader: r, file: f}, nil
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &logFile{Reader: z, file: f}, nil
}

type logFile struct {
	io.Reader
	file *os.File
}

func (l *logFile) Close() error { return l.file.Close() }

// ReadLog yields a delivery a line. A line that cannot be read yields a *LineError and reading goes on; an error of the
// reader itself, or a line over MaxLine, is yielded last.
func ReadLog(r io.Reader) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, 4096), MaxLine)
		for n := 1; lines.Scan(); n++ {
			d, reason := parseLine(lines.Bytes())
			var err error
			if reason != "" {
				err = &LineError{Line: n, Reason: reason}
			}
			if !yield(d, err) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			if errors.Is(err, bufio.ErrTooLong) {
				err = ErrLineTooLong
			}
			yield(Delivery{}, err)
		}
	}
}
