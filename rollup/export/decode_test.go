package export_test

import (
	"errors"
	"os"
	"testing"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
)

// TestOffsets cuts and extends a file: the offset is where the field begins that is not whole, or
// where the rest begins, and what stands before it decodes as far.
func TestOffsets(t *testing.T) {
	for _, name := range []string{"ack", "rollup", "settlement", "statement-ack"} {
		file, err := os.ReadFile("../testdata/export-" + name + ".wbx")
		if err != nil {
			t.Fatal(err)
		}
		last := 0
		for n := range file {
			at := offset(t, file[:n])
			if at > n || at < last {
				t.Fatalf("%s of %d bytes: at byte %d, and at %d with one less", name, n, at, last)
			}
			last = at
		}
		if at := offset(t, append(file, 0)); at != len(file) {
			t.Errorf("%s: one byte too many is at %d, not %d", name, at, len(file))
		}
	}
}

func offset(t *testing.T, file []byte) int {
	t.Helper()
	_, err := export.Parse(file)
	field, ok := errors.AsType[*rollup.DecodeError](err)
	if !ok {
		t.Fatalf("%d bytes: %v", len(file), err)
	}
	return field.Offset
}
