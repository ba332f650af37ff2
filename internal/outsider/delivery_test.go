package outsider

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"testing"
)

// sequence is 32 bytes that count up from one.
func sequence(from byte) (b []byte) {
	for i := range byte(32) {
		b = append(b, from+i)
	}
	return b
}

// TestDeliveryWords makes the words of section 18 from the document and holds them against the
// test values.
func TestDeliveryWords(t *testing.T) {
	var values map[string]string
	file := read(t, "../../rollup/delivery/testdata/delivery.json")
	if err := json.Unmarshal(file, &values); err != nil {
		t.Fatal(err)
	}
	session := append([]byte{5, 6}, make([]byte, 14)...)
	signed := enc("wb-ses/2", sequence(1), uint32(2), uint64(3), uint32(4), session, sequence(8))
	record := func(head byte, from, bytes, height uint64, first, duration uint32) []byte {
		return enc("wb-get/2", sequence(head), from, bytes, height, first, duration)
	}
	records := [][]byte{record(64, 0, 1, 0, 1, 0), record(65, 16_384, 32_768, 77, 2, 3),
		record(66, 49_152, 50_848, 78, 4, 5)}
	head := enc(uint32(2), uint32(4), uint64(77), uint64(3), session, uint32(1), uint64(3000),
		sequence(16), sequence(32), sequence(48), uint64(100_000), uint64(16_384), uint64(32_768))
	if len(signed) != 104 || len(head) != 172 || len(records[0]) != 72 {
		t.Fatal("not the sizes of section 18")
	}
	for name, want := range map[string][]byte{
		"session": signed,
		"head":    enc(byte(1), uint32(236), head, byte(9), make([]byte, 63)),
		"run": enc(byte(2), uint32(12+3*64), uint64(1), uint32(2),
			bytes.Repeat([]byte{10}, 3*64)),
		"ask":                   enc(byte(3), uint32(16), uint64(131_072), uint64(262_144)),
		"end":                   enc(byte(4), uint32(0)),
		"abort":                 enc(byte(5), uint32(9), byte(17), uint64(1000)),
		"stop":                  enc(session, sequence(64)),
		"record":                records[1],
		"request":               mth("request", records),
		"request of a log line": mth("request", [][]byte{[]byte("GET /")}),
	} {
		if values[name] != hex.EncodeToString(want) {
			t.Errorf("%s is %s, not %x", name, values[name], want)
		}
	}
	root := tree("request").root(records)
	if !slices.Equal(root[:], mth("request", records)) {
		t.Error("two ways to the root of a request differ")
	}
	open, err := hex.DecodeString(values["open"])
	if err != nil || len(open) != 152 || !bytes.Equal(open[:104], signed) {
		t.Errorf("open: %d bytes, %v", len(open), err)
	}
}
