package docs

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	symptom  = regexp.MustCompile(`(?m)^\| (.*?) \| .* \|$`)
	inQuotes = regexp.MustCompile("`([^`]+)`")
)

// unsaid returns the words that a page's tables quote, and that no source says: those in the first
// column, in parts where … stands for a value. A path is no word of the program's.
func unsaid(page, sources string) (list []string) {
	for _, row := range symptom.FindAllStringSubmatch(page, -1) {
		for _, q := range inQuotes.FindAllStringSubmatch(row[1], -1) {
			for part := range strings.SplitSeq(q[1], "…") {
				part = strings.TrimSpace(part)
				if !strings.HasPrefix(part, "/") && !strings.Contains(sources, part) {
					list = append(list, q[1])
				}
			}
		}
	}
	return list
}

// TestSymptoms: the page of symptoms quotes what the program says.
func TestSymptoms(t *testing.T) {
	page, err := os.ReadFile("../../docs/symptoms.md")
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	tree := os.DirFS("../..")
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == "bin" || d.Name() == "node_modules" || d.Name() == "testdata"):
			return fs.SkipDir
		case path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		b, err := fs.ReadFile(tree, name)
		sources.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(symptom.FindAllString(string(page), -1)) < 40 {
		t.Error("the page has lost its tables")
	}
	for _, words := range unsaid(string(page), sources.String()) {
		t.Errorf("nothing says %q", words)
	}
}

// TestSymptomsCanFail is the companion.
func TestSymptomsCanFail(t *testing.T) {
	page := "| it says | what |\n|---|---|\n" +
		"| `the disk is … full` | x |\n| `never said`, `/path` | y |\n"
	got := unsaid(page, `errors.New("the disk is %d %% full")`)
	if len(got) != 1 || got[0] != "never said" {
		t.Errorf("%q", got)
	}
}
