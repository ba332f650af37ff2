// Package asm holds generators of assembly, one folder each. A user names its generator in a line
//
//	//go:generate go run -C ../../asm ./fp381 -out ../kernels/fp381/lanes_amd64.s
//
// and commits what it prints.
package asm

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const prefix = "//go:generate go run -C ../../asm "

// TestDrift fails when a committed file is not what its generator prints, or has no generator
// and does not say that it is written by hand. make generate mends the former.
func TestDrift(t *testing.T) {
	sources, commands := survey(t, "../kernels")
	_, others := survey(t, "../sdk/vectors")
	maps.Copy(commands, others)
	for file, args := range commands {
		t.Run(strings.TrimPrefix(file, "../kernels/"), func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("go", append([]string{"run"}, args...)...)
			cmd.Stderr = os.Stderr
			printed, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			committed, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if at := difference(printed, committed); at != "" {
				t.Error(at)
			}
		})
	}
	for _, file := range sources {
		if _, generated := commands[file]; !generated && !byHand(t, file) {
			t.Errorf("%s: no generator, and not written by hand", file)
		}
	}
}

// TestDriftIsSeen is the checker's companion.
func TestDriftIsSeen(t *testing.T) {
	for _, committed := range []string{"a\nc\n", "a\n", "a\nb\nc\n", ""} {
		if difference([]byte("a\nb\n"), []byte(committed)) == "" {
			t.Errorf("%q passes", committed)
		}
	}
	if at := difference([]byte("a\nb\n"), []byte("a\nb\n")); at != "" {
		t.Error(at)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"k/k.go": prefix +
		"./k -out ../kernels/k/k_amd64.s\n", "k/k_arm64.s": "// text", "k/k.txt": "text"} {
		_ = os.MkdirAll(filepath.Join(dir, "k"), 0o755)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sources, commands := survey(t, dir)
	if len(sources) != 1 || byHand(t, sources[0]) ||
		!slices.Equal(commands["../kernels/k/k_amd64.s"], []string{"./k"}) {
		t.Errorf("%v, %v", sources, commands)
	}
}

// survey finds the assembly under root and, by the file they write, the generators' arguments
// without -out.
func survey(t *testing.T, root string) (sources []string, commands map[string][]string) {
	commands = map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch filepath.Ext(path) {
		case ".s":
			sources = append(sources, path)
		case ".go":
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(text)) {
				if args, ok := strings.CutPrefix(line, prefix); ok {
					f := strings.Fields(args)
					out := slices.Index(f, "-out")
					if out < 0 || out+1 >= len(f) {
						return fmt.Errorf("%s: no -out: %s", path, line)
					}
					commands[f[out+1]] = slices.Delete(slices.Clone(f), out, out+2)
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources, commands
}

func byHand(t *testing.T, file string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	return bytes.Contains(first, []byte("ritten by hand"))
}

// difference names the first line in which the two differ.
func difference(printed, committed []byte) string {
	p, c := strings.SplitAfter(string(printed), "\n"), strings.SplitAfter(string(committed), "\n")
	for i := range max(len(p), len(c)) {
		if i >= len(p) || i >= len(c) || p[i] != c[i] {
			return fmt.Sprintf("line %d is not what the generator prints; make generate mends it",
				i+1)
		}
	}
	return ""
}
