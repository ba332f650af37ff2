package export

import (
	"bytes"
	"testing"
)

// FuzzParse never panics, and what it accepts it encodes to the same bytes. Its corpus is kept by
// rollup's TestGolden.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		file, err := Parse(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the input changed")
		}
		if err == nil && !bytes.Equal(file.Append(nil), b) {
			t.Fatalf("encoded again it is\n%x, not\n%x", file.Append(nil), b)
		}
	})
}
