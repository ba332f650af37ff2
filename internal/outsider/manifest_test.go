package outsider

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"testing"
)

// TestManifest makes the manifest of section 19 from the document, signs it, and holds it and its
// digests against the test values.
func TestManifest(t *testing.T) {
	var values map[string]string
	file := read(t, "../../rollup/manifest/testdata/manifest.json")
	if err := json.Unmarshal(file, &values); err != nil {
		t.Fatal(err)
	}
	entry := func(path string, root byte, size uint64, life uint32, kind string) []byte {
		return enc(uint16(len(path)), path, sequence(root), size, life, byte(len(kind)), kind)
	}
	entries := [][]byte{ // in the order of the bytes of their paths
		entry("/", 2, 17, 60, "text/html; charset=utf-8"),
		entry("/empty", 4, 0, 0, "application/octet-stream"),
		entry("/img/ü.png", 3, 1<<20, 86400, "image/png"),
	}
	root := mth("manifest", entries)
	signed := enc("wb-man/2", sequence(1), uint32(5), uint64(3), uint32(900), uint32(3), root)
	if len(signed) != 92 {
		t.Fatal("not the size of section 19")
	}
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	for name, want := range map[string][]byte{
		"manifest":    enc(signed, ed25519.Sign(key, signed), bytes.Join(entries, nil)),
		"root":        root,
		"digest":      b3k("waybill/manifest/2", signed),
		"path digest": b3k("waybill/path/2", []byte("/img/ü.png")),
	} {
		if values[name] != hex.EncodeToString(want) {
			t.Errorf("%s is %s, not %x", name, values[name], want)
		}
	}
}
