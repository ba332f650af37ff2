package keys_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	. "github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/prooftest"
	"github.com/waybill-network/waybill/proofs/verifier"
)

// linked returns a directory with a development key, which a test may change by replacing files.
func linked(t *testing.T) (string, Pair) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "with [brackets]")
	pair := prooftest.Keys(t, 256)
	if err := pair.Link(dir); err != nil {
		t.Fatal(err)
	}
	if err := pair.Link(dir); err != nil {
		t.Fatalf("a second time: %v", err)
	}
	return dir, pair
}

func TestDevelopmentIsCached(t *testing.T) {
	dir, pair := linked(t)
	// as somebody does for minutes who makes a key of another size
	making, err := os.Create(filepath.Join(dir, ".lock"))
	if err == nil {
		err = syscall.Flock(int(making.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer making.Close()
	again, err := Development(dir, 256,
		func(Info) { t.Error("a setup runs although there is a key") })
	if err != nil {
		t.Fatal(err)
	}
	if again.Info != pair.Info || *again.Verifying != *pair.Verifying {
		t.Errorf("got %s, want %s", again, pair)
	}
	if !again.Development || !strings.Contains(again.String(), "DEVELOPMENT") {
		t.Errorf("not marked: %s", again)
	}
	found, err := Find(dir, pair.Key)
	if err != nil || found.Info != pair.Info {
		t.Errorf("found %s, %v", found, err)
	}
	if _, err := found.Proving(); err != nil {
		t.Error(err)
	}
	if _, err := Find(dir, verifier.KeyHash{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such key: %v", err)
	}
	if pairs, err := Open(filepath.Join(dir, "none")); len(pairs) > 0 || err != nil {
		t.Errorf("no directory: %v, %v", pairs, err)
	}
	if _, err := Development(dir, 257, nil); err == nil {
		t.Error("a key for 257 statements")
	}
}

// TestMark reads the mark as a person would.
func TestMark(t *testing.T) {
	dir, _ := linked(t)
	for _, path := range files(t, dir, "*k") {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b[:1024], []byte(`"development":true`)) {
			t.Errorf("%s is not marked as for development: %s", path, b[:200])
		}
	}
}

func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, e := range entries {
		if ok, _ := filepath.Match(pattern, e.Name()); ok {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	if len(paths) == 0 {
		t.Fatalf("no %s in %s", pattern, dir)
	}
	return paths
}

func replace(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil { // it is a link
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedFiles(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"a bit":       func(b []byte) []byte { b = slices.Clone(b); b[len(b)-9] ^= 4; return b },
		"cut":         func(b []byte) []byte { return b[:len(b)-1] },
		"longer":      func(b []byte) []byte { return append(b, 0) },
		"header only": func(b []byte) []byte { return b[:1024] },
		"empty":       func(b []byte) []byte { return nil },
		"no header":   func(b []byte) []byte { return b[1024:] },
		"format": func(b []byte) []byte {
			return bytes.Replace(b, []byte("waybill-key/1"),
				[]byte("waybill-key/2"), 1)
		},
		"not a sealed": func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"development":true`), []byte(`"development":false`), 1)
		},
	} {
		dir, pair := linked(t)
		replace(t, files(t, dir, "*.pk")[0], change)
		found, err := Find(dir, pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := found.Proving(); !errors.Is(err, ErrFile) {
			t.Errorf("proving key, %s: %v", name, err)
		}
		dir, pair = linked(t)
		replace(t, files(t, dir, "*.cs")[0], change)
		if found, err = Find(dir, pair.Key); err != nil {
			t.Fatal(err)
		}
		if _, err := found.Proving(); (name != "not a sealed") != errors.Is(err, ErrFile) {
			t.Errorf("constraint system, %s: %v", name, err)
		}
		dir, pair = linked(t)
		replace(t, files(t, dir, "*.vk")[0], change)
		if _, err := Open(dir); !errors.Is(err, ErrFile) {
			t.Errorf("verifying key, %s: %v", name, err)
		}
	}
}

// TestMarkAndContributors has headers whose mark and number of contributors do not agree: a key
// that one person made is for development, whoever says otherwise.
func TestMarkAndContributors(t *testing.T) {
	const mark = `"development":true`
	for _, other := range []string{`"development":false`, mark + `,"contributors":2`,
		`"development":false,"contributors":1`, `"development":false,"contributors":-1`} {
		dir, _ := linked(t)
		replace(t, files(t, dir, "*.vk")[0], func(b []byte) []byte {
			changed := bytes.Replace(b[:1024], []byte(mark), []byte(other), 1)
			if bytes.Equal(changed, b[:1024]) {
				t.Fatalf("no mark in %s", b[:400])
			}
			changed = append(bytes.TrimRight(changed, " "), bytes.Repeat([]byte(" "), 1024)...)
			return append(changed[:1024:1024], b[1024:]...)
		})
		if _, err := Open(dir); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v", other, err)
		}
	}
	for want, info := range map[string]Info{
		"for DEVELOPMENT only": {Development: true},
		"one contributor, who may know its secrets: for DEVELOPMENT only": {Development: true,
			Contributors: 1},
		"sealed by a ceremony of 2 contributors": {Contributors: 2},
	} {
		if got := info.String(); !strings.HasSuffix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestMissingFiles(t *testing.T) {
	dir, pair := linked(t)
	if err := os.Remove(files(t, dir, "*.cs")[0]); err != nil {
		t.Fatal(err)
	}
	found, err := Find(dir, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := found.Proving(); err != nil {
		t.Errorf("a constraint system that has to be compiled: %v", err)
	}
	if err := os.Remove(files(t, dir, "*.pk")[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := found.Proving(); !errors.Is(err, ErrNotFound) {
		t.Errorf("no proving key: %v", err)
	}
}

func TestKeyOfAnotherCircuit(t *testing.T) {
	_, pair := linked(t)
	pair.Circuit[0]++
	if _, err := pair.Proving(); !errors.Is(err, ErrCircuit) {
		t.Error(err)
	}
}

// TestNames has a file under the name of another key.
func TestNames(t *testing.T) {
	dir, _ := linked(t)
	path := files(t, dir, "*.vk")[0]
	if err := os.Rename(path, filepath.Join(dir, "256-0000000000000000.vk")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrFile) {
		t.Error(err)
	}
}
