package text_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/internal/text/hostile"
)

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"GET /film":                 "GET /film",
		"12\u202f345 µs → é":        "12\u202f345 µs → é",
		"日本 עברית":                  "日本 עברית",
		"\x1b[31m":                  `\u001b[31m`,
		"a\nb\tc\rd":                `a\nb\tc\rd`,
		"\xff\xc3":                  `\xff\xc3`,
		"\ufffd":                    "\ufffd",
		"\u202eabc\u200b":           `\u202eabc\u200b`,
		"\u00a0\u2028":              `\u00a0\u2028`,
		"\U000e0041":                `\udb40\udc41`,
		"e\u0301":                   "e\u0301",
		"\u0301":                    `\u0301`,
		"z\u0301\u0301\u0301\u0301": "z\u0301\u0301\u0301\\u0301",
		"☺\ufe0f":                   `☺\ufe0f`,
		`C:\dir`:                    `C:\dir`,
	} {
		if got := text.Line(in); got != want {
			t.Errorf("%q is shown as %q, not %q", in, got, want)
		}
	}
	if got := text.Name(strings.Repeat("n", 4096)); got != strings.Repeat("n", 96)+
		"… (4\u202f096 characters)" {
		t.Errorf("a long name is shown as %q", got)
	}
	if got := text.Lines("one\ntwo\x1b"); got != "one\n  · two\\u001b" {
		t.Errorf("%q", got)
	}
}

// TestGuard: a guard lets through what it should, whatever pieces it is written in, and JSON keeps
// its values.
func TestGuard(t *testing.T) {
	document, err := json.Marshal(map[string]string{"a": "né\u202e\u009b\U000e0041 ☺"})
	if err != nil {
		t.Fatal(err)
	}
	whole := append(document, "\n\ttext"...)
	for size := 1; size <= len(whole); size++ {
		var out bytes.Buffer
		g := text.NewGuard(&out)
		for piece := whole; len(piece) > 0; piece = piece[min(size, len(piece)):] {
			n, err := g.Write(piece[:min(size, len(piece))])
			if err != nil || n != min(size, len(piece)) {
				t.Fatal(n, err)
			}
		}
		if err := hostile.Through(out.String()); err != nil {
			t.Fatalf("in pieces of %d: %v", size, err)
		}
		var again map[string]string
		if err := json.NewDecoder(&out).Decode(&again); err != nil ||
			again["a"] != "né\u202e\u009b\U000e0041 ☺" {
			t.Fatalf("in pieces of %d: %q, %v", size, again, err)
		}
	}
}

func TestHostileTables(t *testing.T) {
	for name, show := range map[string]func(w io.Writer){
		"table": func(w io.Writer) {
			text.Table(w, []string{">n", "name"}, [][]string{{hostile.Text, hostile.Text}})
		},
		"pairs": func(w io.Writer) { text.Pairs(w, "name", hostile.Text) },
	} {
		var b strings.Builder
		show(&b)
		if err := hostile.Through(b.String()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
