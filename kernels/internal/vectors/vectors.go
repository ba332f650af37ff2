// Package vectors finds the published test vectors that are not part of the module.
package vectors

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Path names a file in the directory that WAYBILL_VECTORS names. Without it the test is skipped, or
// fails if REQUIRE_VECTORS is 1.
func Path(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("WAYBILL_VECTORS")
	if dir == "" {
		if os.Getenv("REQUIRE_VECTORS") == "1" {
			t.Fatal("REQUIRE_VECTORS is 1, but WAYBILL_VECTORS names no directory")
		}
		t.Skip("WAYBILL_VECTORS names no directory")
	}
	return filepath.Join(dir, name)
}

// Load decodes the JSON vector file at Path.
func Load(t *testing.T, name string, into any) {
	t.Helper()
	Read(t, Path(t, name), into)
}

// Read decodes a JSON vector file.
func Read(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
