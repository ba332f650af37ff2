package outsider

import (
	"cmp"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// testdata are the files that section 12 names.
const testdata = "../../rollup/testdata"

// TestFiles checks files that the project itself wrote: testdata, and those of the folder that
// OUTSIDER_FILES names, which holds genesis.json and *.wbx. With OUTSIDER_REQUIRE=1 there must be
// one, with an ack, a rollup and a settlement.
func TestFiles(t *testing.T) {
	checkFolder(t, testdata, []byte{1}, []byte{2}, []byte{3}, []byte{4})
	checkFolder(t, filepath.Join(testdata, "proofs"), []byte{2})
	strict := os.Getenv("OUTSIDER_REQUIRE") == "1"
	if dir := os.Getenv("OUTSIDER_FILES"); dir != "" && strict {
		// an ack is under a statement, or it is not
		checkFolder(t, dir, []byte{1, 4}, []byte{2}, []byte{3}, []byte{5}, []byte{6})
	} else if dir != "" {
		checkFolder(t, dir)
	} else if strict {
		t.Fatal("OUTSIDER_FILES is not set")
	}
}

// checkFolder wants a file of one of each of the required types.
func checkFolder(t *testing.T, dir string, required ...[]byte) {
	g, err := ParseGenesis(read(t, filepath.Join(dir, "genesis.json")))
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.wbx"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	slices.SortFunc(names, func(a, b string) int { // hand-overs lead to what signed the others
		return cmp.Or(handOversFirst(a)-handOversFirst(b), cmp.Compare(a, b))
	})
	seen := map[byte]bool{}
	for _, name := range names {
		file := read(t, name)
		name = filepath.Base(name)
		s, err := g.Verify(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		t.Logf("%s: %s", name, s)
		seen[file[40]] = true
		if !strings.HasPrefix(dir, testdata) { // TestBytesMean changes those
			refuseMutations(t, g, name, file, sample(file), 0x01)
		}
	}
	for _, kinds := range required {
		if !slices.ContainsFunc(kinds, func(k byte) bool { return seen[k] }) {
			t.Errorf("no valid file of the types %d", kinds)
		}
	}
}

func handOversFirst(path string) int {
	if filepath.Base(path) == "terms.wbx" {
		return 0
	}
	return 1
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sample is every position of a small file; of a large one 500, and all of its beginning, in which
// are record and header.
func sample(file []byte) (out []int) {
	r := rand.New(rand.NewPCG(1, uint64(len(file))))
	for i := range file {
		if len(file) < 4096 || i < 1024 || r.IntN(len(file)) < 500 {
			out = append(out, i)
		}
	}
	return out
}

// TestLyingFiles checks files that the whole committee certified, true ones and ones that lie in
// one thing: those of the folder that OUTSIDER_LIES names, whose names begin with the verdict that
// the project gave.
func TestLyingFiles(t *testing.T) {
	dir := os.Getenv("OUTSIDER_LIES")
	if dir == "" && os.Getenv("OUTSIDER_REQUIRE") == "1" {
		t.Fatal("OUTSIDER_LIES is not set")
	} else if dir == "" {
		return
	}
	g, err := ParseGenesis(read(t, filepath.Join(dir, "genesis.json")))
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.wbx"))
	if err != nil {
		t.Fatal(err)
	}
	count := map[bool]int{}
	for _, path := range names {
		name := filepath.Base(path)
		_, err := g.Verify(read(t, path))
		if (err == nil) != strings.HasPrefix(name, "valid-") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.HasPrefix(err.Error(), "record") {
			t.Errorf("%s: refused for its record, not for the lie: %v", name, err)
		}
		count[err == nil]++
	}
	t.Logf("%d valid, %d refused", count[true], count[false])
	if count[true] == 0 || count[false] == 0 {
		t.Error("one verdict is missing")
	}
}
