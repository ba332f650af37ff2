package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// tree copies what version control knows of this module, as it is in the working tree, and
// returns the copy.
func tree(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	to := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, os.ErrNotExist) { // removed, and not committed yet
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// distribution skips a test that builds the whole program anew, unless it is asked for.
func distribution(t *testing.T) {
	t.Helper()
	if os.Getenv("WAYBILL_DIST") == "" {
		t.Skip("builds the program anew: make dist runs it")
	}
}

// TestReleaseTwice builds a release from two folders. The second build takes nothing of the first
// from the compiler's cache, unless WAYBILL_DIST=quick lets the two share it.
func TestReleaseTwice(t *testing.T) {
	distribution(t)
	at, target := time.Unix(1_700_000_000, 0), runtime.GOOS+"/"+runtime.GOARCH
	var sums [2]string
	for i := range sums {
		r := release{source: tree(t), version: "v0.0.1", at: at, out: t.TempDir()}
		if i > 0 && os.Getenv("WAYBILL_DIST") != "quick" {
			r.env = []string{"GOCACHE=" + t.TempDir()}
		}
		if err := r.build(t.Context(), []string{target}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(r.out, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = string(b)
		check := exec.Command("sha256sum", "--check", "SHA256SUMS")
		check.Dir = r.out
		if text, err := check.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, text)
		}
	}
	if sums[0] != sums[1] {
		t.Errorf("the same sources give\n%sand\n%s", sums[0], sums[1])
	}
}

func TestPack(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	files := []file{{"a/b", []byte("one"), 0o755}, {"a/c", []byte("two"), 0o644}}
	first, err := pack(files, at)
	if err != nil {
		t.Fatal(err)
	}
	again, err := pack(files, at)
	if err != nil || !bytes.Equal(first, again) {
		t.Error("the same files give other bytes", err)
	}
	if other, err := pack(files, at.Add(time.Second)); err != nil || bytes.Equal(first, other) {
		t.Error("the time does not show", err)
	}
	z, err := gzip.NewReader(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	for _, want := range files {
		h, err := r.Next()
		if err != nil || h.Name != want.name || h.Mode != want.mode || !h.ModTime.Equal(at) ||
			h.Uid != 0 || h.Uname != "" {
			t.Errorf("%+v, %v", h, err)
		}
		if content, err := io.ReadAll(r); err != nil || !bytes.Equal(content, want.content) {
			t.Errorf("%s: %q, %v", want.name, content, err)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Error(err)
	}
}

func TestBadTarget(t *testing.T) {
	r := release{source: ".", version: "v0.0.1", out: t.TempDir()}
	if err := r.build(t.Context(), []string{"linux"}); err == nil ||
		!strings.Contains(err.Error(), "GOOS/GOARCH") {
		t.Error(err)
	}
}
