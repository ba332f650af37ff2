// Package hostile is for tests of what is shown to people: it fills what a program shows with
// texts as strangers would choose them, and finds what of them came through.
package hostile

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// mark begins the line that a hostile text tries to forge.
const mark = "FORGED"

// Text moves the cursor, begins a line, turns the order of letters, hides, and is long.
var Text = "a\x1b[2J\x1b]0;title\x07\r\n" + mark + "  0  0.000000\u2028" + mark + "\x00" +
	"\u009b31m\u202e\u200b\u2066\u00ad\u3164\ufeff\U000e0041\xff" +
	strings.Repeat("\u0301", 9) + strings.Repeat("n", 5000)

// Fill sets every string that can be reached from v, a pointer, to Text. Slices without elements
// and pointers to nothing get one.
func Fill(v any) { fill(reflect.ValueOf(v).Elem(), 0) }

func fill(v reflect.Value, depth int) {
	if depth > 12 || !v.CanSet() {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(Text)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), depth+1)
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			fill(v.Index(i), depth+1)
		}
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		fill(v.Elem(), depth+1)
	}
}

// Through returns what came through into a shown text, nil when it is fit for people: a character
// that acts or hides, a forged line, or a line that nobody reads to its end.
func Through(shown string) error {
	for i, line := range strings.Split(shown, "\n") {
		if strings.HasPrefix(strings.TrimLeft(line, " "), mark) {
			return fmt.Errorf("line %d is forged: %.60q", i+1, line)
		}
		if !utf8.ValidString(line) {
			return fmt.Errorf("line %d is not UTF-8: %.60q", i+1, line)
		}
		if n := len([]rune(line)); n > maxLine {
			return fmt.Errorf("line %d has %d characters", i+1, n)
		}
		for _, r := range line {
			if r != '\t' && r != '\u202f' && !unicode.IsPrint(r) || r == '\u3164' {
				return fmt.Errorf("line %d has %U: %.60q", i+1, r, line)
			}
		}
	}
	return nil
}

// maxLine is the longest line that is fit for people: some texts of the greatest length.
const maxLine = 40_000
