// Package docs holds the project's pages against the tree: links lead somewhere, decisions are
// dated and listed, and the make targets that pages and workflows name exist.
package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

var (
	title  = regexp.MustCompile(`^# (\d+)\. (.+)\n`)
	date   = regexp.MustCompile(`\b20\d\d-\d\d-\d\d\b`)
	link   = regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)
	target = regexp.MustCompile("(?:`|run: |step \".*\" *; *)make ([a-z]+)")
	rule   = regexp.MustCompile(`(?m)^([a-z]+):`)
)

// decisions holds the records in docs/adr against their index. Their numbers leave no gap.
func decisions(tree fs.FS) (faults []string) {
	say := func(format string, args ...any) {
		faults = append(faults, fmt.Sprintf(format, args...))
	}
	index, err := fs.ReadFile(tree, "docs/adr/README.md")
	if err != nil {
		say("%v", err)
	}
	names, err := fs.Glob(tree, "docs/adr/[0-9]*.md")
	if err != nil || len(names) == 0 {
		say("no decisions: %v", err)
	}
	last := 0
	for _, name := range names {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			say("%v", err)
			continue
		}
		head := title.FindStringSubmatch(string(text))
		number, err := strconv.Atoi(path.Base(name)[:4])
		last++
		if err != nil || number != last || head == nil || head[1] != strconv.Itoa(number) {
			say("%s: want a number of its own in its name and title: %d", name, last)
			continue
		}
		lines := strings.SplitN(string(text), "\n", 5)
		day := date.FindString(strings.Join(lines[:min(4, len(lines))], "\n"))
		if day == "" {
			say("%s: no date under the title", name)
		}
		row := fmt.Sprintf("| [%d](%s) | %s | %s | ", number, path.Base(name), day, head[2])
		if !strings.Contains(string(index), row) {
			say("docs/adr/README.md: no row %q", row)
		}
	}
	if rows := strings.Count(string(index), "\n| ["); rows != len(names) {
		say("docs/adr/README.md: %d rows for %d decisions", rows, len(names))
	}
	return faults
}

// links finds relative links that lead nowhere.
func links(tree fs.FS, pages []string) (faults []string) {
	for _, page := range pages {
		text, err := fs.ReadFile(tree, page)
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := fs.Stat(tree, path.Join(path.Dir(page), m[1])); err != nil {
				faults = append(faults, fmt.Sprintf("%s: %s: no such file", page, m[1]))
			}
		}
	}
	return faults
}

// targets finds make targets that a page names and the Makefile lacks.
func targets(tree fs.FS, pages []string) (faults []string) {
	makefile, err := fs.ReadFile(tree, "Makefile")
	if err != nil {
		return []string{err.Error()}
	}
	var known []string
	for _, m := range rule.FindAllStringSubmatch(string(makefile), -1) {
		known = append(known, m[1])
	}
	for _, page := range pages {
		text, err := fs.ReadFile(tree, page)
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		for _, m := range target.FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains(known, m[1]) {
				faults = append(faults, fmt.Sprintf("%s: no target %s", page, m[1]))
			}
		}
	}
	return faults
}

func pages(t *testing.T, tree fs.FS, patterns ...string) (names []string) {
	t.Helper()
	for _, pattern := range patterns {
		found, err := fs.Glob(tree, pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(found), err)
		}
		names = append(names, found...)
	}
	return names
}

func TestPages(t *testing.T) {
	tree := os.DirFS("../..")
	texts := pages(t, tree, "*.md", "docs/*.md", "docs/adr/*.md")
	named := append(texts, pages(t, tree, ".github/workflows/*.yml", ".ci/run")...)
	for _, faults := range [][]string{decisions(tree), links(tree, texts), targets(tree, named)} {
		for _, fault := range faults {
			t.Error(fault)
		}
	}
}

// TestChecksCanFail is the companion.
func TestChecksCanFail(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	const row = "\n| [1](0001-a.md) | 2026-01-01 | A | what |\n"
	good := func() fstest.MapFS {
		return fstest.MapFS{
			"docs/adr/0001-a.md": file("# 1. A\n\n2026-01-01\n"),
			"docs/adr/README.md": file("# Index\n" + row),
			"page.md": file(
				"[here](docs/adr/README.md#x), `make test`, [out](https://a.b/c)"),
			"Makefile": file("test:\n"),
		}
	}
	check := func(tree fs.FS) []string {
		pages := []string{"page.md"}
		return slices.Concat(decisions(tree), links(tree, pages), targets(tree, pages))
	}
	if faults := check(good()); len(faults) > 0 {
		t.Fatal(faults)
	}
	for what, spoil := range map[string]func(fstest.MapFS){
		"no date": func(m fstest.MapFS) { m["docs/adr/0001-a.md"] = file("# 1. A\n") },
		"no row":  func(m fstest.MapFS) { m["docs/adr/README.md"] = file("# Index\n\n| [2]") },
		"2 rows":  func(m fstest.MapFS) { m["docs/adr/README.md"] = file(row + row) },
		"of its own": func(m fstest.MapFS) {
			m["docs/adr/0003-b.md"] = file("# 2. B\n\n2026-01-02\n")
		},
		"no such":   func(m fstest.MapFS) { m["page.md"] = file("[there](nowhere.md)") },
		"no target": func(m fstest.MapFS) { m["page.md"] = file("`make nothing`") },
	} {
		tree := good()
		spoil(tree)
		if faults := check(tree); !strings.Contains(strings.Join(faults, "\n"), what) {
			t.Errorf("%s: %q", what, faults)
		}
	}
}
