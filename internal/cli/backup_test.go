package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeep takes a home through backup, restore and move, as its operator does, and reads what is
// said of what must not be.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	must(t, "testnet", "--dir", at("net"), "--nodes", "1")
	home, file := at("net", "node0"), at("node0.wbk")
	if out := must(t, "backup", "--home", home, "--keys", file); !strings.Contains(out, "keys") {
		t.Error(out)
	}
	fails(t, 1, "nothing is replaced", "backup", "--home", home, file)
	fails(t, 1, "there is a home already", "restore", file, "--home", home)
	fails(t, 2, "want one of them", "backup", "--home", home, "--encrypt", "--recipient", "x", file)
	fails(t, 2, "--recipient", "backup", "--home", home, "--recipient", "age1x", at("x"))
	fails(t, 3, "no node lives in", "backup", "--home", at("nothing"), at("x"))
	out := must(t, "restore", file, "--home", at("again"))
	for _, want := range []string{"node.genesis", "signs nothing before an epoch begins", "doctor"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	write(t, at("text"), "a text")
	fails(t, 3, "not an archive of a home", "restore", at("text"), "--home", at("x"))
	fails(t, 3, "no such file", "restore", at("nothing"), "--home", at("x"))
	b := read(t, file)
	write(t, at("cut"), b[:len(b)/2])
	fails(t, 3, "earlier backup", "restore", at("cut"), "--home", at("x"))

	write(t, at("password"), "a password\n")
	must(t, "backup", "--home", home, "--encrypt", "--password-file", at("password"), at("sealed"))
	write(t, at("another"), "another\n")
	fails(t, 3, "does not open", "restore", at("sealed"), "--home", at("x"), "--password-file",
		at("another"))
	must(t, "restore", at("sealed"), "--home", at("x"), "--password-file", at("password"))

	copied := at("net", "copied")
	if err := os.CopyFS(copied, os.DirFS(home)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bls", "consensus", "transport", "owner"} {
		if err := os.Chmod(filepath.Join(copied, "keys", name+".json"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fails(t, 3, "waybill restore --home "+copied, "start", "--home", copied)
	fails(t, 1, "if that is gone for good", "doctor", "--home", copied)
	must(t, "restore", "--home", copied)
	fails(t, 2, "want a height above 0", "restore", "--home", copied, "--vote-above", "-1")
	must(t, "restore", "--home", copied, "--vote-above", "5")

	address := strings.TrimSpace(must(t, "move", "address", "--home", at("there")))
	fails(t, 2, "--to is required", "move", "send", "--home", home, at("sent"))
	fails(t, 3, "not the receiver's address", "move", "send", "--home", home, "--to", "x", at("sent"))
	must(t, "move", "send", "--home", home, "--to", address, at("sent"))
	fails(t, 3, "must not run here", "start", "--home", home)
	fails(t, 3, "must not run here", "restore", "--home", home)
	must(t, "move", "receive", "--home", at("there"), at("sent"))
	fails(t, 3, "no home is expected", "move", "receive", "--home", at("there"), at("sent"))
}

// TestCorrupt: a store that cannot be read says what is lost, what is safe, and what comes next.
func TestCorrupt(t *testing.T) {
	dir := t.TempDir()
	must(t, "testnet", "--dir", filepath.Join(dir, "net"), "--nodes", "1")
	home := filepath.Join(dir, "net", "node0")
	manifests, err := filepath.Glob(filepath.Join(home, "data", "MANIFEST-*"))
	if err != nil || len(manifests) == 0 {
		t.Fatal(manifests, err)
	}
	for _, m := range manifests {
		if err := os.Remove(m); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"malformed contents", "Lost: ", "Safe: ", "waybill restore BACKUP"} {
		fails(t, 3, want, "start", "--home", home)
	}
}
