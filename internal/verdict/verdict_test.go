package verdict

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/word"
)

// Every sentinel of the protocol's core has a code, and a name of its own.
func TestCodes(t *testing.T) {
	text, err := os.ReadFile("../../rollup/errors.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\tErr(\w+) += errors.New\("(.*)"\)`).FindAllStringSubmatch(
		string(text), -1)
	if len(found) < 30 {
		t.Fatalf("%d sentinels found", len(found))
	}
	for _, m := range found {
		known := false
		for _, c := range codes {
			known = known || c.err.Error() == m[2]
		}
		if !known {
			t.Errorf("Err%s has no code", m[1])
		}
	}
	for r := word.ReasonMalformed; !strings.Contains(r.String(), "("); r++ {
		if codeOf(fmt.Errorf("a: %w", r)) == codeOther {
			t.Errorf("%v has no code", r)
		}
	}
	for _, c := range codes {
		if !regexp.MustCompile(`^[a-z_]+$`).MatchString(c.code) {
			t.Errorf("code %q", c.code)
		}
	}
}

func TestJudge(t *testing.T) {
	field := func(offset int, err error) error { return &rollup.DecodeError{Offset: offset, Err: err} }
	for _, c := range []struct {
		err    error
		judged bool
		code   string
		begins string
	}{
		{&fs.PathError{Err: fs.ErrNotExist}, false, "missing", "cannot be read: "},
		{&fs.PathError{Err: errors.New("input/output error")}, false, "unreadable",
			"cannot be read: input/output error"},
		{field(0, rollup.ErrMalformed), false, "foreign", "is no export"},
		{field(9, rollup.ErrMalformed), false, "malformed", "at byte 9: "},
		{field(8, rollup.ErrNetwork), false, "network", "at byte 8: "},
		{&export.NetworkError{}, false, "network", "is this the right genesis file? It is that of "},
		{&export.NetworkError{Err: field(44, rollup.ErrMalformed)}, false, "network",
			"is this the right genesis file? It is that of network "},
		{fmt.Errorf("ack export: %w", rollup.ErrNetwork), true, "network", "ack export: "},
		{fmt.Errorf("x: %w", rollup.ErrQuorum), true, "quorum", "x: "},
		{fmt.Errorf("x: %w", rollup.ErrUnknownTerm), false, "unknown_term", "hand-overs are needed"},
		{fmt.Errorf("x: %w", rollup.ErrGap), false, "gap", "hand-overs are needed"},
		{fmt.Errorf("%w: %w", rollup.ErrHandOver, rollup.ErrQuorum), true, "hand_over", "rollup: "},
		{rollup.Refuse(word.ReasonTrue, "x"), true, "may_be_true", ""},
		{errors.New("news"), true, "other", "news"},
	} {
		v := Verdict{File: "f"}
		v.judge(c.err)
		if v.Holds || v.Judged != c.judged || v.Code != c.code ||
			!strings.HasPrefix(v.Error, c.begins) {
			t.Errorf("%v: %+v, want %+v", c.err, v, c)
		}
		if says := strings.Contains(v.String(), "DOES NOT HOLD"); says != c.judged {
			t.Errorf("%v: %s", c.err, v)
		}
	}
}

// One that does not hold is told before those that could not be judged, whatever their order.
func TestWorst(t *testing.T) {
	holds, not, unread := Verdict{Holds: true, Judged: true}, Verdict{Judged: true}, Verdict{}
	for _, c := range []struct {
		verdicts []Verdict
		want     error
	}{
		{nil, nil},
		{[]Verdict{holds, holds}, nil},
		{[]Verdict{holds, unread}, ErrNotJudged},
		{[]Verdict{unread, not, holds}, ErrDoesNotHold},
		{[]Verdict{not, unread}, ErrDoesNotHold},
	} {
		if err := Worst(c.verdicts); err != c.want {
			t.Errorf("%v: %v, want %v", c.verdicts, err, c.want)
		}
	}
}
