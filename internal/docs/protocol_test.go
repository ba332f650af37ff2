package docs

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

// The protocol's pages against the code: each tag of signed and encoded bytes stands in both, and
// each section that the page refers to is there.

const (
	protocol   = "docs/protocol.md"
	lies       = "docs/lies.md" // has the bytes of what convicts
	proseWidth = 120
)

var (
	tag     = regexp.MustCompile(`wb-[a-z]{3}/\d+`)
	quoted  = regexp.MustCompile(`"(wb-[a-z]{3}/\d+)`)
	heading = regexp.MustCompile(`(?m)^## (\d+)\. `)
	section = regexp.MustCompile(`\bsections? (\d+)`)
)

// tags holds the pages' tags to those in code that is no test's.
func tags(tree fs.FS) (faults []string) {
	written := map[string]bool{}
	pages, err := fs.Glob(tree, "docs/*.md")
	if err != nil || len(pages) == 0 {
		return []string{fmt.Sprintf("%d pages: %v", len(pages), err)}
	}
	for _, name := range pages {
		page, err := fs.ReadFile(tree, name)
		if err != nil {
			return []string{err.Error()}
		}
		for _, t := range tag.FindAllString(string(page), -1) {
			written[t] = true
		}
	}
	used := map[string]bool{}
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == "internal/outsider": // written from the page
			return fs.SkipDir
		case d.IsDir() && name != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		code, err := fs.ReadFile(tree, name)
		for _, m := range quoted.FindAllStringSubmatch(string(code), -1) {
			used[m[1]] = true
			if !written[m[1]] {
				faults = append(faults, fmt.Sprintf("%s: %s stands in no page", name, m[1]))
			}
		}
		return err
	})
	if err != nil {
		faults = append(faults, err.Error())
	}
	for _, t := range slices.Sorted(maps.Keys(written)) {
		if !used[t] {
			faults = append(faults, fmt.Sprintf("docs: %s stands in no code", t))
		}
	}
	return faults
}

// sections finds references to sections that the page lacks, and prose that is too wide.
func sections(tree fs.FS) (faults []string) {
	page, err := fs.ReadFile(tree, protocol)
	if err != nil {
		return []string{err.Error()}
	}
	have := map[string]bool{}
	for i, m := range heading.FindAllStringSubmatch(string(page), -1) {
		if have[m[1]] = true; m[1] != strconv.Itoa(i+1) {
			faults = append(faults, fmt.Sprintf("%s: section %s, where %d is next", protocol, m[1], i+1))
		}
	}
	for i, line := range strings.Split(string(page), "\n") {
		for _, m := range section.FindAllStringSubmatch(line, -1) {
			if !have[m[1]] {
				faults = append(faults, fmt.Sprintf("%s:%d: there is no section %s", protocol, i+1, m[1]))
			}
		}
		if !strings.HasPrefix(line, "|") && utf8.RuneCountInString(line) > proseWidth {
			faults = append(faults, fmt.Sprintf("%s:%d: wider than %d", protocol, i+1, proseWidth))
		}
	}
	return faults
}

func TestProtocol(t *testing.T) {
	tree := os.DirFS("../..")
	for _, fault := range slices.Concat(tags(tree), sections(tree)) {
		t.Error(fault)
	}
}

// TestProtocolCanFail is the companion.
func TestProtocolCanFail(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	good := func() fstest.MapFS {
		return fstest.MapFS{
			protocol: file("## 1. A\n`\"wb-aaa/2\" ‖ x`\n" +
				"## 2. B\nas in section 1 and sections 2\n"),
			lies:              file("`wb-bbb/2`"),
			"a/a.go":          file(`const tag = "wb-aaa/2"` + "\n" + `const word = "wb-bbb/2"`),
			"a/a_test.go":     file(`const old = "wb-aaa/1"`),
			".x/a.go":         file(`const other = "wb-xxx/2"`),
			"internal/x/a.go": file(`//`),
		}
	}
	check := func(tree fs.FS) []string { return slices.Concat(tags(tree), sections(tree)) }
	if faults := check(good()); len(faults) > 0 {
		t.Fatal(faults)
	}
	add := func(m fstest.MapFS, text string) { m[protocol].Data = append(m[protocol].Data, text...) }
	for what, spoil := range map[string]func(fstest.MapFS){
		"stands in no page": func(m fstest.MapFS) { m["a/b.go"] = file(`x = "wb-ccc/2"`) },
		"wb-aaa/1":          func(m fstest.MapFS) { m["a/b.go"] = file(`x = "wb-aaa/1" + y`) },
		"stands in no code": func(m fstest.MapFS) { delete(m, "a/a.go") },
		"no section 3":      func(m fstest.MapFS) { add(m, "section 3") },
		"where 3 is next":   func(m fstest.MapFS) { add(m, "## 4. D\n") },
		"wider":             func(m fstest.MapFS) { add(m, strings.Repeat("‖", proseWidth+1)) },
	} {
		tree := good()
		spoil(tree)
		if faults := check(tree); !strings.Contains(strings.Join(faults, "\n"), what) {
			t.Errorf("%s: %q", what, faults)
		}
	}
}
