package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// TestContent fills a store, looks at it, and takes everything out again.
func TestContent(t *testing.T) {
	dir := t.TempDir()
	store := "--store=" + filepath.Join(dir, "store")
	film := write(t, filepath.Join(dir, "film"), strings.Repeat("moving pictures ", 5000))
	page := write(t, filepath.Join(dir, "page"), "<p>")
	root := rollup.Hash(blake3.Sum256([]byte(read(t, film)))).String()
	other := rollup.Hash(blake3.Sum256([]byte("<p>"))).String()

	out := must(t, "content", "add", store, "--pin", film)
	if out != root+"  "+film+"\n" {
		t.Error(out)
	}
	out = must(t, "content", "add", store, "--json", "--root", other, page)
	if !strings.Contains(out, other) || !json.Valid([]byte(out)) {
		t.Error(out)
	}
	out = must(t, "content", "ls", store)
	if !strings.Contains(out, root) || !strings.Contains(out, "2 contents, 78.4 KiB of 64 GiB") {
		t.Error(out)
	}
	if out = must(t, "content", "get", store, root); out != read(t, film) {
		t.Errorf("%d bytes", len(out))
	}
	copied := filepath.Join(dir, "copy")
	must(t, "content", "get", store, "-o", copied, root)
	if read(t, copied) != read(t, film) {
		t.Error("another file")
	}
	deny := write(t, filepath.Join(dir, "deny"), other+" not ours\n")
	fails(t, 0, "denied: not ours", "content", "ls", store, "--deny", deny)
	for _, c := range []struct {
		code    int
		message string
		args    []string
	}{
		{3, "no node lives in", []string{"ls", "--home", dir}},
		{2, "64 digits", []string{"get", store, "abc"}},
		{2, "takes a root", []string{"get", store}},
		{2, "above 0", []string{"ls", store, "--max-bytes", "-1"}},
		{2, "for one file", []string{"add", store, "--root", root, film, page}},
		{2, "indices of accounts", []string{"private", store, "--payers", "4,-7", root}},
		{2, "indices of accounts", []string{"add", store, "--payers", "", film}},
		{2, "payers", []string{"private", store, root}},
		{1, "file exists", []string{"get", store, "-o", copied, root}},
		{1, "take the pin back first", []string{"rm", store, root}},
		{1, "content ls shows", []string{"pin", store, strings.Repeat("ab", 32)}},
		{1, "not those of this root", []string{"add", store, "--root", root, page}},
		{1, "raise --max-bytes", []string{"add", store, "--max-bytes", "9", page, film}},
		{1, "not a regular file", []string{"add", store, dir}},
		{1, "not ours", []string{"get", store, "--deny", deny, other}},
		{1, "the deny list is malformed", []string{"ls", store, "--deny", film}},
	} {
		fails(t, c.code, c.message, append([]string{"content"}, c.args...)...)
	}
	must(t, "content", "private", store, "--payers", "7,4,7", root, strings.Repeat("ab", 32))
	out = must(t, "content", "ls", store)
	if !strings.Contains(out, "pinned, for clients of 4,7") || !strings.Contains(out, "not here") {
		t.Error(out)
	}
	must(t, "content", "public", store, strings.Repeat("ab", 32))
	if out = must(t, "content", "ls", store); strings.Contains(out, "not here") {
		t.Error(out)
	}
	must(t, "content", "unpin", store, root)
	must(t, "content", "rm", store, root)
	must(t, "content", "pin", store, other)
	must(t, "content", "scan", store)
	path := filepath.Join(dir, "store", "objects", other[:2], other)
	if err := os.WriteFile(path, []byte("<q>"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, 1, "removes what is damaged", "content", "get", store, other)
	fails(t, 1, "damaged, removed: "+other, "content", "scan", store)
	must(t, "content", "add", store, page)
	must(t, "content", "purge", store, other)
	must(t, "content", "public", store, root) // a rule outlives the content
	if out = must(t, "content", "ls", store); !strings.HasPrefix(out, "0 contents") {
		t.Error(out)
	}
}

// TestManifest makes the manifest of a folder, looks at it, and gives it to a store.
func TestManifest(t *testing.T) {
	net := filepath.Join(t.TempDir(), "net")
	must(t, "testnet", "--dir", net, "--nodes", "1", "--proofs", "0")
	genesis := "--genesis=" + filepath.Join(net, "genesis.json")
	key := filepath.Join(net, "node0", "keys", "owner.json")
	var shown []struct {
		Key string `json:"public_key"`
	}
	if err := json.Unmarshal([]byte(must(t, "keys", "show", "--json", key)), &shown); err != nil {
		t.Fatal(err)
	}
	owner := "--owner=" + shown[0].Key
	site, file := t.TempDir(), filepath.Join(t.TempDir(), "site.wbm")
	write(t, filepath.Join(site, "index.html"), "<p>")
	write(t, filepath.Join(site, "a.bin"), strings.Repeat("x", 50_000))
	write(t, filepath.Join(site, ".hidden"), "")
	make := func(serial, out string) []string {
		return []string{"content", "manifest", "make", genesis, "--service=3",
			"--serial", serial, "--key", key, "--out", out,
			"--password-file", filepath.Join(net, "password"), site}
	}
	out := must(t, make("7", file)...)
	for _, want := range []string{"/index.html", "text/html", "/a.bin", "octet-stream"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "hidden") {
		t.Error(out)
	}
	show := []string{"content", "manifest", "show", file}
	if out = must(t, show...); !strings.Contains(out, "not checked") {
		t.Error(out)
	}
	must(t, append(show, genesis, owner, "--json")...)
	fails(t, 1, "does not verify", append(show, genesis, "--owner="+strings.Repeat("00", 32))...)
	fails(t, 2, "go together", append(show, genesis)...)
	store := "--store=" + filepath.Join(net, "store")
	add := []string{"content", "manifest", "add", store, genesis, owner}
	out = must(t, append(add, file)...)
	if !strings.Contains(out, "3 paths of it not in the store") {
		t.Error(out)
	}
	must(t, append(add, file)...) // again
	old := filepath.Join(net, "old.wbm")
	must(t, make("6", old)...)
	fails(t, 1, "higher --serial", append(add, old)...)
	fails(t, 2, "--owner go together", "content", "manifest", "add", store, file)
	fails(t, 1, "no encoding of a manifest", append(add, key)...)
	write(t, filepath.Join(site, "50%.txt"), "")
	fails(t, 1, "one of ? # %", make("8", file)...)
	fails(t, 2, "--genesis is required", "content", "manifest", "make", site)
}
