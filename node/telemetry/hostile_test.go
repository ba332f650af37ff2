package telemetry

import (
	"bytes"
	"errors"
	"testing"

	"github.com/waybill-network/waybill/internal/text/hostile"
)

// TestHostile: what other machines say, errors above all, goes into answers and lines of the log in
// characters that can be seen, and makes no lines of its own.
func TestHostile(t *testing.T) {
	var s Snapshot
	hostile.Fill(&s)
	source := func() Snapshot { return s }
	h := Handler(NewRegistry(source), source, false)
	for _, path := range []string{"/readyz", "/readyz?verbose", "/livez"} {
		if _, body := get(t, h, path, ""); hostile.Through(body) != nil {
			t.Errorf("%s: %v", path, hostile.Through(body))
		}
	}
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		l, err := NewLogger(&out, "info", format)
		if err != nil {
			t.Fatal(err)
		}
		l.With("name", hostile.Text).Warn(hostile.Text, "err", errors.New(hostile.Text), "why",
			hostile.Text)
		if err := hostile.Through(out.String()); err != nil ||
			bytes.Count(out.Bytes(), []byte("\n")) != 1 {
			t.Errorf("%s: %v", format, err)
		}
	}
}
