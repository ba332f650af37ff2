package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/internal/verdict"
	"github.com/waybill-network/waybill/node/keys"
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
	for code := exitDone; code <= exitUnreadable; code++ {
		if !strings.Contains(string(page), fmt.Sprintf("\n| %d | ", code)) {
			t.Errorf("docs/exit-codes.md has no row for %d", code)
		}
	}
}
