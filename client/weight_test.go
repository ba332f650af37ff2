package client

import (
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/internal/testnet"
)

// maxPackages is how many packages beyond the standard library a program may compile that sends an
// ack.
const maxPackages = 100

// weight counts the packages beyond the standard library that a package compiles.
func weight(t *testing.T, path string) int {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "-f",
		"{{if not .Standard}}{{.ImportPath}}{{end}}", path).
		Output()
	if err != nil {
		t.Fatal(err)
	}
	return len(strings.Fields(string(out)))
}

// TestSendAck builds the program of the README, and has it send an ack.
func TestSendAck(t *testing.T) {
	n := weight(t, "./testdata/sendack")
	t.Logf("%d packages", n)
	if n > maxPackages {
		t.Errorf("a program that sends an ack compiles %d packages, more than %d", n, maxPackages)
	}
	program := filepath.Join(t.TempDir(), "sendack")
	if out, err := exec.Command("go", "build", "-o", program,
		"./testdata/sendack").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f := start(t, options{})
	genesis := filepath.Join(t.TempDir(), "genesis.json")
	if err := os.WriteFile(genesis, f.Genesis.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	send := exec.Command(program, f.url(), f.pin().String(), genesis,
		hex.EncodeToString(testnet.Seed("client", 0)))
	send.Dir = t.TempDir() // for its book
	out, err := send.CombinedOutput()
	if err != nil || string(out) != "the node's answer: accepted\n" {
		t.Errorf("%v: %s", err, out)
	}
	source, err := os.ReadFile("testdata/sendack/main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(source), "func main() {")
	if !strings.Contains(string(readme), strings.TrimSpace(body)) {
		t.Error("the README shows another program")
	}
}

// TestWeightCanFail: the count sees what a program compiles that takes a whole node in.
func TestWeightCanFail(t *testing.T) {
	if n := weight(t, "../node/ingest"); n <= maxPackages {
		t.Errorf("the node's side is counted as %d packages", n)
	}
}
