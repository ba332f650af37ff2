package outsider

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestFiles checks the files that the project itself exported: OUTSIDER_FILES names a folder with genesis.json and *.wbx.
func TestFiles(t *testing.T) {
	dir := os.Getenv("OUTSIDER_FILES")
	if dir == "" {
		if os.Getenv("OUTSIDER_REQUIRE") == "1" {
			t.Fatal("OUTSIDER_FILES is not set")
		}
		t.Skip("OUTSIDER_FILES is not set")
	}
	raw, err := os.ReadFile(filepath.Join(dir, "genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := ParseGenesis(raw)
	if err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*.wbx"))
	if len(names) == 0 {
		t.Fatal("no files")
	}
	seen := map[string]bool{}
	for _, name := range names {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		name = filepath.Base(name)
		s, err := g.Verify(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		t.Logf("%s: %v", name, s)
		seen[s.Type] = true
		refuseMutations(t, g, name, file, sample(file), 0x01, 0x80)
	}
	for _, kind := range []string{"ack", "rollup", "settlement"} {
		if !seen[kind] && os.Getenv("OUTSIDER_REQUIRE") == "1" {
			t.Errorf("no valid file of type %s", kind)
		}
	}
}

// sample is every position of a small file; of a large one 500, and all of its header and certificate.
func sample(file []byte) (out []int) {
	certified := func(i int) bool { return i < 21+int(le.Uint32(file[17:])) }
	if file[16] == 3 {
		rows := 25 + 60*int(le.Uint32(file[21:]))
		certified = func(i int) bool { return i < 25 || i >= rows }
	}
	for i := range file {
		if len(file) < 4096 || certified(i) {
			out = append(out, i)
		}
	}
	if len(file) >= 4096 {
		r := rand.New(rand.NewPCG(1, uint64(len(file))))
		for range 500 {
			out = append(out, r.IntN(len(file)))
		}
	}
	return out
}
