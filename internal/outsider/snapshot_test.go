package outsider

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
	"testing"
)

// TestSnapshot makes the stream of docs/rotation.md, section "Snapshots", and its root.
func TestSnapshot(t *testing.T) {
	var values struct {
		Records []struct {
			Key    string `json:"key"`
			Byte   byte   `json:"byte"`
			Length int    `json:"length"`
		} `json:"records"`
		Bytes int    `json:"bytes"`
		Root  string `json:"root"`
	}
	if err := json.Unmarshal(read(t, "../../rollup/snapshot/testdata/snapshot.json"),
		&values); err != nil {
		t.Fatal(err)
	}
	var stream []byte
	for _, r := range values.Records {
		key, err := hex.DecodeString(r.Key)
		if err != nil {
			t.Fatal(err)
		}
		stream = append(append(stream, byte(len(key))), key...)
		stream = binary.LittleEndian.AppendUint32(stream, uint32(r.Length))
		stream = append(stream, bytes.Repeat([]byte{r.Byte}, r.Length)...)
	}
	root := tree("snapshot").root(slices.Collect(slices.Chunk(stream, 1<<20)))
	if len(stream) != values.Bytes || hex.EncodeToString(root[:]) != values.Root {
		t.Errorf("%d bytes with root %x, not %d with %s", len(stream), root, values.Bytes, values.Root)
	}
}
