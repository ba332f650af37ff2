// Package workload turns traffic into deliveries: a web server's access log, or a generator that
// imitates one.
//
// A delivery says who was served what, in the log's own terms. It knows nothing of keys, indices or
// acks. A log decides whose money moves, so nothing of it is guessed: [Open] tells the format by
// content or takes it from the caller, refuses every other format by its name, and a line that is
// not of the format is skipped, counted and named by a [LineError]. Names that came from outside
// are made fit to be shown (see [Delivery]).
package workload

import "fmt"

// MaxLine is the longest log line that is read, in bytes.
const MaxLine = 64 << 10

// Delivery is one fulfilled request. A client belongs to one payer, so the pair (Address, Payer)
// identifies it.
type Delivery struct {
	// Address is who asked, in the one canonical spelling that netip gives an address: without a
	// port, and as IPv4 where IPv6 only wraps it.
	Address string
	// Payer is whose content it was: the first segment of the path, decoded. Characters that are
	// not printable stand as \xNN, and a name of more than MaxName runes ends in a digest of
	// itself.
	Payer string
	// Path is what was asked for: the path's segments, decoded, with a slash between them. It is not
	// fit to be shown.
	Path string
	// Service is what was delivered: the kind of the response.
	Service string
	// Units are the bytes sent; 0 where the log says "-".
	Units uint64
	// Record is the request's record: the line without its ending.
	Record []byte
}

// LineError reports a line that is not of the log's format. Reading goes on behind it.
type LineError struct {
	Line   int // from 1
	Reason Reason
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// Unwrap gives the reason, so that errors.Is tells one from another.
func (e *LineError) Unwrap() error { return e.Reason }

// ReadError ends a log: what was read of it before stands, the rest cannot be had.
type ReadError struct {
	Name string // of the log
	Line int    // the line in which it ended
	Err  error
}

func (e *ReadError) Error() string { return fmt.Sprintf("%s: line %d: %v", e.Name, e.Line, e.Err) }

func (e *ReadError) Unwrap() error { return e.Err }

// FormatError refuses a log as a whole: it is of a format that is not read.
type FormatError struct {
	Name string // of the log
	Line int    // the line by which the format is known; 0 where it is known by its bytes
	What string // the format, and what to do about it
}

func (e *FormatError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.Name, e.What)
	}
	return fmt.Sprintf("%s: line %d: %s", e.Name, e.Line, e.What)
}
