package snapshot

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the test values")

const goldenFile = "testdata/snapshot.json"

// golden are the test values: records, each of so many of one byte, and what is signed of their
// stream.
type golden struct {
	Records []goldenRecord `json:"records"`
	Bytes   uint64         `json:"bytes"`
	Root    string         `json:"root"`
}

type goldenRecord struct {
	Key    string `json:"key"`
	Byte   byte   `json:"byte"`
	Length int    `json:"length"`
}

// TestGolden holds bytes and root of a stream, which internal/outsider makes from the document.
func TestGolden(t *testing.T) {
	g := golden{Records: []goldenRecord{{"61", 0, 0}, {"6100", 1, 1}, {"6b00000001", 2, ChunkSize},
		{"6b00000002", 3, ChunkSize - 60}, {"7e", 4, 3_000_000}}}
	var records []pair
	for _, r := range g.Records {
		key, err := hex.DecodeString(r.Key)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, pair{key, bytes.Repeat([]byte{r.Byte}, r.Length)})
	}
	_, s, _ := stream(t, records)
	g.Bytes, g.Root = s.Bytes, s.Root.String()
	got, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if got = append(got, '\n'); *update {
		if err := os.WriteFile(goldenFile, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has other values; -update writes these", goldenFile)
	}
}
