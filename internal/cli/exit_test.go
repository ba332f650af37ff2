package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/internal/mainjob"
	"github.com/waybill-network/waybill/internal/verdict"
	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/rollup/ledger"
)

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{nil, exitDone},
		{errors.New("no"), exitFailed},
		{verdict.ErrDoesNotHold, exitFailed},
		{errors.Join(verdict.ErrNotJudged, verdict.ErrDoesNotHold), exitFailed},
		{verdict.ErrNotJudged, exitUnreadable},
		{fmt.Errorf("a: %w", &ledger.UnknownVersionError{}), exitUpgrade},
		{fmt.Errorf("a: %w", &committee.BlockError{Err: fs.ErrNotExist}), exitBlock},
		{errors.Join(fs.ErrNotExist, (&mainjob.Delivered{Requests: 1}).Check()), exitUnanswered},
		{(&mainjob.Delivered{Requests: 1, Received: 2}).Check(), exitUnanswered},
		{(&mainjob.Delivered{Requests: 1, Received: 1}).Check(), exitDone},
		{usagef("a"), exitUsage},
		{usagef("a: %w", fs.ErrNotExist), exitUsage},
		{fmt.Errorf("a: %w", &fs.PathError{Err: fs.ErrNotExist}), exitUnreadable},
		{fmt.Errorf("a: %w", unreadable(errors.New("b"))), exitUnreadable},
		{fmt.Errorf("a: %w", keys.ErrWrongPassword), exitUnreadable},
	} {
		if code := exitCode(c.err); code != c.code {
			t.Errorf("%v: %d, want %d", c.err, code, c.code)
		}
	}
	if unreadable(nil) != nil {
		t.Error("no error is one")
	}
	page, err := os.ReadFile("../../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	for code := exitDone; code <= exitBlock; code++ {
		if !strings.Contains(string(page), fmt.Sprintf("\n| %d | ", code)) {
			t.Errorf("docs/exit-codes.md has no row for %d", code)
		}
	}
}

// codes are what a script reads of the same.
func (n *network) codes(t *testing.T, good, lies, short string) {
	t.Helper()
	var verdicts []verdict.Verdict
	code, out, _ := cli(t, "verify", "--json", "--genesis", n.genesis, good, n.genesis, short,
		good+".nosuch", lies)
	if err := json.Unmarshal([]byte(dropContent(t, out)), &verdicts); err != nil || code != 1 {
		t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
	for i, want := range []struct {
		holds, judged bool
		code          string
		offset        int
	}{{true, true, "", -1}, {false, false, "foreign", 0}, {false, false, "malformed", 8},
		{false, false, "missing", -1}, {false, true, "settlement", -1}} {
		v, offset := verdicts[i], -1
		if v.Offset != nil {
			offset = *v.Offset
		}
		if v.Holds != want.holds || v.Judged != want.judged || v.Code != want.code ||
			offset != want.offset {
			t.Errorf("%s: %+v at %d, want %+v", v.File, v, offset, want)
		}
	}
}

// dropContent leaves the files' contents out, which are only written.
func dropContent(t *testing.T, out string) string {
	t.Helper()
	var list []map[string]any
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err, out)
	}
	for _, v := range list {
		delete(v, "content")
	}
	b, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
