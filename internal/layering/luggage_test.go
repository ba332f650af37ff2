package layering

import (
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// TestLuggage compares the third-party modules that a program compiles which imports one package of
// kernels with the list in the documentation of kernels.
func TestLuggage(t *testing.T) {
	text, err := os.ReadFile("../../kernels/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	listed := luggage(string(text))
	entries, err := os.ReadDir("../../kernels")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "internal" {
			continue
		}
		if listed[e.Name()] == nil {
			t.Errorf("kernels/%s has no line", e.Name())
		}
		for _, goarch := range []string{"amd64", "arm64", "s390x"} {
			for _, imp := range compiled(t, goarch, "./kernels/"+e.Name()) {
				if module := moduleOf(imp, listed[e.Name()]); module == "" {
					t.Errorf("%s: kernels/%s brings %s", goarch, e.Name(), imp)
				} else {
					used[e.Name()+" "+module] = true
				}
			}
		}
	}
	for name, modules := range listed {
		for _, m := range modules {
			if !used[name+" "+m] {
				t.Errorf("kernels/%s does not bring %s", name, m)
			}
		}
	}
}

// TestLuggageCanFail is the companion.
func TestLuggageCanFail(t *testing.T) {
	listed := luggage("//\tone  example.org/a\n//\ttwo  as one\n//\ttwo  example.org/b\n" +
		"//\tthree  nothing\n//\n")
	want := map[string][]string{
		"one":   {"example.org/a"},
		"two":   {"example.org/a", "example.org/b"},
		"three": {},
	}
	if !maps.EqualFunc(listed, want, slices.Equal) {
		t.Fatalf("read %v", listed)
	}
	if moduleOf("example.org/a/inner", listed["one"]) == "" {
		t.Error("a package of a listed module is refused")
	}
	for _, imp := range []string{"example.org/b", "example.org/ab", "example.com/a"} {
		if moduleOf(imp, listed["one"]) != "" {
			t.Errorf("%s is taken as listed", imp)
		}
	}
	if !slices.Contains(compiled(t, "amd64", "./node/keys"), "golang.org/x/text/unicode/norm") {
		t.Error("a third party of node/keys is not seen")
	}
}

// luggage reads the table: a package and a module, "as" and a package that stands above, or
// "nothing".
func luggage(doc string) map[string][]string {
	listed := map[string][]string{}
	for line := range strings.Lines(doc) {
		f := strings.Fields(strings.TrimPrefix(line, "//"))
		switch {
		case !strings.HasPrefix(line, "//\t") || len(f) < 2:
		case f[1] == "nothing":
			listed[f[0]] = []string{}
		case f[1] == "as" && len(f) == 3:
			listed[f[0]] = append(listed[f[0]], listed[f[2]]...)
		case len(f) == 2:
			listed[f[0]] = append(listed[f[0]], f[1])
		}
	}
	return listed
}

// moduleOf returns the listed module of a package, or "" if it has none.
func moduleOf(imp string, modules []string) string {
	for _, m := range modules {
		if within(imp, m) {
			return m
		}
	}
	return ""
}

// compiled lists the third-party packages that an importer of a package compiles.
func compiled(t *testing.T, goarch, pkg string) (imports []string) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", pkg)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOARCH="+goarch, "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, imp := range strings.Fields(string(out)) {
		if !strings.HasPrefix(imp, path.Clean(module)+"/") {
			imports = append(imports, imp)
		}
	}
	return imports
}
