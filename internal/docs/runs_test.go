package docs

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"
	"testing/fstest"
)

var (
	wanted  = regexp.MustCompile(`-run '?([^' ]+)'?(.*)`)
	folder  = regexp.MustCompile(`\s\./([\w/]+)`)
	anchors = regexp.MustCompile(`\\A|\(\?-m:\$\)`)
	declare = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w*)\(`)
)

// runs finds tests that the Makefile names and that are not there: go test passes when a pattern
// matches nothing, and a target that tests nothing looks like one that holds.
func runs(tree fs.FS) (faults []string) {
	makefile, err := fs.ReadFile(tree, "Makefile")
	if err != nil {
		return []string{err.Error()}
	}
	text := strings.ReplaceAll(string(makefile), "\\\n", " ")
	found := 0
	for _, line := range strings.Split(text, "\n") {
		m := wanted.FindStringSubmatch(line)
		if m == nil || strings.Contains(m[1], "$(") {
			continue
		}
		pattern := strings.ReplaceAll(m[1], "$$", "$")
		re, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil {
			faults = append(faults, fmt.Sprintf("Makefile: %s: %v", pattern, err))
			continue
		}
		for _, name := range alternatives(re) {
			is := false
			for _, dir := range folder.FindAllStringSubmatch(m[2], -1) {
				is = is || declares(tree, dir[1], regexp.MustCompile(name))
			}
			if !is {
				faults = append(faults, fmt.Sprintf("Makefile: -run '%s' names %s, which is no test in%s",
					pattern, anchors.ReplaceAllString(name, ""), m[2]))
			}
			found++
		}
	}
	if found == 0 {
		faults = append(faults, "Makefile: no target names a test")
	}
	return faults
}

// alternatives returns the patterns of which an expression is made: one for each way through it.
func alternatives(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			all = append(all, alternatives(sub)...)
		}
		return all
	case syntax.OpCapture:
		return alternatives(re.Sub[0])
	case syntax.OpConcat:
		all := []string{""}
		for _, sub := range re.Sub {
			var longer []string
			for _, head := range all {
				for _, tail := range alternatives(sub) {
					longer = append(longer, head+tail)
				}
			}
			all = longer
		}
		return all
	default:
		return []string{re.String()}
	}
}

// declares reports whether a folder has a test that a pattern matches.
func declares(tree fs.FS, dir string, name *regexp.Regexp) bool {
	files, _ := fs.Glob(tree, dir+"/*_test.go") // the pattern is one
	for _, file := range files {
		text, err := fs.ReadFile(tree, file)
		if err != nil {
			continue
		}
		for _, m := range declare.FindAllStringSubmatch(string(text), -1) {
			if name.MatchString(m[1]) {
				return true
			}
		}
	}
	return false
}

// TestRuns: each test that a target of the Makefile names is there.
func TestRuns(t *testing.T) {
	for _, fault := range runs(os.DirFS("../..")) {
		t.Error(fault)
	}
}

// TestRunsCanFail: the check notices what it is for.
func TestRunsCanFail(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	tree := fstest.MapFS{
		"Makefile": file("a:\n\tgo test -run '^(TestAnna|TestBert)$$' \\\n\t./x ./y\n" +
			"\tgo test -run Gone ./x\n\tgo test -run 'Test(Anna|Carl)Live' ./y\n" +
			"\tgo test -run '$(NAMES)' ./y\n"),
		"x/x_test.go": file("func TestAnna(t *testing.T) {\nfunc TestBertha(t *testing.T) {\n"),
		"y/y_test.go": file("func TestAnnaLive(t *testing.T) {\n"),
	}
	faults := strings.Join(runs(tree), "\n")
	for _, want := range []string{"TestBert,", "names Gone", "TestCarlLive"} {
		if !strings.Contains(faults, want) {
			t.Errorf("%s is not missed:\n%s", want, faults)
		}
	}
	if n := strings.Count(faults, "\n") + 1; n != 3 {
		t.Errorf("%d faults:\n%s", n, faults)
	}
}
