package content

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/waybill-network/waybill/rollup"
)

// denyEvery is how often the file of a deny list is looked at, when it is asked.
const denyEvery = 5 * time.Second

// Bounds of a deny list.
const (
	maxDenyBytes  = 256 << 20
	maxDenyReason = 200
)

// Deny is a list of roots that are neither taken nor given. Its file has one root a line, in 64
// digits of lower-case hexadecimal; behind a space, a reason may follow. Empty lines, and what
// begins with #, are comments. The file is read again when it changes, within a few seconds. One
// that cannot be read leaves the list as it was.
//
// A nil list denies nothing. A list is safe for concurrent use.
type Deny struct {
	path  string
	roots atomic.Pointer[map[rollup.Hash]string]
	asked atomic.Int64 // when the file was looked at, in ns since the beginning
	began time.Time

	mu   sync.Mutex
	seen os.FileInfo
	err  error
}

// OpenDeny reads a deny list. The file must be there.
func OpenDeny(path string) (*Deny, error) {
	d := &Deny{path: path, began: time.Now()}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.read(); d.err != nil {
		return nil, d.err
	}
	return d, nil
}

// Why tells whether a root is denied, and why.
func (d *Deny) Why(root rollup.Hash) (reason string, denied bool) {
	if d == nil {
		return "", false
	}
	now := int64(time.Since(d.began))
	if at := d.asked.Load(); now-at >= int64(denyEvery) && d.asked.CompareAndSwap(at, now) {
		d.look()
	}
	reason, denied = (*d.roots.Load())[root]
	return reason, denied
}

// Len is how many roots are denied.
func (d *Deny) Len() int {
	if d == nil {
		return 0
	}
	return len(*d.roots.Load())
}

// Err is why the file, which has changed, could not be read; nil if the list is what it says.
func (d *Deny) Err() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// look reads the file again if it has changed.
func (d *Deny) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	info, err := os.Stat(d.path)
	if err != nil {
		d.err = refuse(ReasonDenyList, "%w", err)
		return
	}
	if d.err == nil && os.SameFile(info, d.seen) && info.Size() == d.seen.Size() &&
		info.ModTime().Equal(d.seen.ModTime()) {
		return
	}
	d.read()
}

// read reads the file. The mutex is held.
func (d *Deny) read() {
	info, err := os.Stat(d.path)
	if err == nil && info.Size() > maxDenyBytes {
		d.err = refuse(ReasonDenyList, "%s: more than %d bytes", d.path, maxDenyBytes)
		return
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(d.path)
	}
	if err != nil {
		d.err = refuse(ReasonDenyList, "%w", err)
		return
	}
	roots, line, err := parseDeny(text)
	if err != nil {
		d.err = refuse(ReasonDenyList, "%s, line %d: %w", d.path, line, err)
		return
	}
	d.roots.Store(&roots)
	d.seen, d.err = info, nil
}

// parseDeny parses a list. With an error it returns the number of the line.
func parseDeny(text []byte) (roots map[rollup.Hash]string, line int, err error) {
	roots = map[rollup.Hash]string{}
	for raw := range bytes.Lines(text) {
		line++
		entry, _, _ := strings.Cut(string(raw), "#")
		name, reason, _ := strings.Cut(strings.TrimSpace(entry), " ")
		if name == "" {
			continue
		}
		root, err := ParseRoot(name)
		if err != nil {
			return nil, line, err
		}
		reason = strings.TrimSpace(reason)
		if !printable(reason) || len(reason) > maxDenyReason {
			return nil, line, ReasonDenyList
		}
		if reason == "" {
			reason = "no reason given"
		}
		roots[root] = reason
	}
	return roots, 0, nil
}

func printable(text string) bool {
	return utf8.ValidString(text) &&
		strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
