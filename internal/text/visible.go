package text

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// What comes from outside, such as names in a log, a ledger or a file, and errors of other
// machines, reaches a person through the functions of this file: cells of a Table and values of
// Pairs by themselves, all that a command prints through a Guard, lines of a log and answers to
// health checks where they are written. None of it can move the cursor, begin a line that looks
// like one of the program's, turn the order of letters, or hide.

// Longest texts, in characters. What is cut says how long it was.
const (
	maxName = 96  // of a name
	maxCell = 240 // of a cell of a table
	maxLine = 4096
)

// maxMarks is how many combining marks may follow each other.
const maxMarks = 3

// Line returns s as one line of visible characters. All others are escaped, as in Go and in JSON.
func Line(s string) string { return cut(escape(s, false), maxLine) }

// Brief returns s cut to the length of a line, and otherwise as it is: for a writer that escapes.
func Brief(s string) string { return cut(s, maxLine) }

// Name returns s as Line does, and short.
func Name(s string) string { return cut(escape(s, false), maxName) }

// Lines returns s as Line does, but keeps its ends of lines. Those that follow the first begin with
// a mark, so that none looks like a line of the program's.
func Lines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = Line(line)
	}
	return strings.Join(lines, "\n  · ")
}

func cut(s string, most int) string {
	n := utf8.RuneCountInString(s)
	if n <= most {
		return s
	}
	return string([]rune(s)[:most]) + fmt.Sprintf("… (%s characters)", Grouped(n))
}

// escape replaces what is not visible. Ends of lines and tabs are left alone when layout is true.
func escape(s string, layout bool) string {
	if plain(s, layout) {
		return s
	}
	var b strings.Builder
	marks := 0
	for i, r := range s {
		if marks++; !unicode.Is(unicode.M, r) {
			marks = 0
		}
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case layout && (r == '\n' || r == '\t'),
			visible(r) && marks <= maxMarks && (marks == 0 || i > 0):
			b.WriteRune(r)
		default:
			b.WriteString(escaped(r))
		}
	}
	return b.String()
}

// plain reports whether nothing of s needs a look, as is the case nearly always.
func plain(s string, layout bool) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c > '~') && !(layout && (c == '\n' || c == '\t')) {
			return false
		}
	}
	return true
}

// visible says that a character takes its place on a line and can be seen there. Of spaces that is
// the usual one, and the narrow one between groups of digits.
func visible(r rune) bool {
	switch r {
	case '\u202f':
		return true
	case '\u034f', '\u115f', '\u1160', '\u17b4', '\u17b5', '\u2800', '\u3164', '\uffa0':
		return false // letters, marks and symbols that show nothing
	}
	return unicode.IsPrint(r) && !unicode.Is(unicode.Variation_Selector, r)
}

// escaped writes a character so that JSON reads it back.
func escaped(r rune) string {
	switch r {
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
		return fmt.Sprintf(`\u%04x\u%04x`, high, low)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// Guard passes on what is visible, ends of lines and tabs, and escapes all else. In JSON, where
// such characters only stand in strings, the value stays the same. It is not safe for concurrent
// use.
type Guard struct {
	w    io.Writer
	rest []byte // of a character whose end has not come
}

// NewGuard returns a guard before w.
func NewGuard(w io.Writer) *Guard { return &Guard{w: w} }

// Raw returns what the guard stands before, for bytes that are no text.
func (g *Guard) Raw() io.Writer { return g.w }

// Write implements io.Writer.
func (g *Guard) Write(p []byte) (int, error) {
	if len(g.rest) == 0 && plain(string(p), true) {
		return g.w.Write(p)
	}
	all := append(g.rest, p...)
	whole := len(all)
	for back := 1; back < utf8.UTFMax && back <= len(all); back++ {
		if c := all[len(all)-back]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(all[len(all)-back:]) {
				whole -= back
			}
			break
		}
	}
	g.rest = bytes.Clone(all[whole:])
	if _, err := io.WriteString(g.w, escape(string(all[:whole]), true)); err != nil {
		return 0, err
	}
	return len(p), nil
}
