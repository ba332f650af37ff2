package keep

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"testing"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// stateOf returns the file of a state with some records, and the genesis in it.
func stateOf(t testing.TB) ([]byte, *ledger.Genesis) {
	t.Helper()
	b, err := os.ReadFile("../../rollup/testdata/genesis.json")
	if err != nil {
		t.Fatal(err)
	}
	g, err := ledger.ParseGenesis(b)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	s := &State{Genesis: g, Records: func(yield func(k, v []byte) bool) {
		_ = yield([]byte("a"), []byte("one")) && yield([]byte("b"), nil)
	}}
	if err := s.Write(&file); err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), g
}

// TestState: what is written is read, and a file that is cut off or is something else is told.
func TestState(t *testing.T) {
	file, g := stateOf(t)
	s, err := ReadState(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for k, v := range s.Records {
		got[string(k)] = string(v)
	}
	if err := s.Close(); err != nil || !maps.Equal(got, map[string]string{"a": "one", "b": ""}) ||
		s.Genesis.Network() != g.Network() {
		t.Errorf("%q: %v", got, err)
	}
	for n := 0; n < len(file); n += 1 + n%17 {
		s, err := ReadState(bytes.NewReader(file[:n]))
		if err != nil {
			if n < len(file)-20 && !errors.Is(err, ErrState) {
				t.Fatalf("%d bytes: %v", n, err)
			}
			continue
		}
		count := 0
		for range s.Records {
			count++
		}
		if err := s.Close(); !errors.Is(err, ErrState) && count == 2 {
			t.Fatalf("%d bytes are taken for the whole: %v", n, err)
		}
	}
	huge := append([]byte(stateTag), 0xff, 0xff, 0xff, 0xff)
	if _, err := ReadState(bytes.NewReader(huge)); !errors.Is(err, ErrState) {
		t.Errorf("a genesis of 4 GiB: %v", err)
	}
	if _, err := ReadState(bytes.NewReader([]byte("wb-exp/2 and more"))); !errors.Is(err, ErrState) {
		t.Errorf("another file: %v", err)
	}
}

// FuzzState: a state comes from another machine.
func FuzzState(f *testing.F) {
	file, _ := stateOf(f)
	f.Add(file)
	f.Add(binary.LittleEndian.AppendUint32([]byte(stateTag), 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ReadState(bytes.NewReader(b))
		if err != nil {
			return
		}
		if _, err := s.Propose("fuzz", s.Genesis.GenesisTime, []uint32{0}); err == nil {
			t.Error("a network goes on from nothing")
		}
		_ = s.Close() // whatever it says
	})
}
