package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeysImport brings keys in, and reads what is said of what is none.
func TestKeysImport(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	vector := filepath.Join("..", "..", "node", "keys", "testdata", "eip2335-pbkdf2.json")
	old := write("old", "𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑\n")
	fresh := write("new", "another\n")
	secret := write("secret", "0x"+strings.Repeat("01", 32)+"\n")
	web3 := write("web3.json", `{"version":3,"crypto":{},"id":"x"}`)
	out := filepath.Join(dir, "out.json")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{vector, out, "--password-file", old, "--new-password-file", fresh, "--light"},
			exitDone, "bls12-381"},
		{[]string{vector, out, "--password-file", old, "--light"}, exitFailed, "already exists"},
		{[]string{out, out + "2", "--password-file", old}, exitUnreadable, "wrong password"},
		{[]string{out, out + "2", "--password-file", fresh, "--light"}, exitDone, "bls12-381"},
		{[]string{secret, out + "3", "--kind", "ed25519", "--password-file", fresh, "--light"},
			exitDone, "ed25519"},
		{[]string{secret, out + "4", "--kind", "rsa", "--password-file", fresh}, exitUsage, "rsa"},
		{[]string{web3, out + "5", "--password-file", old}, exitUnreadable, "Web3 Secret Storage"},
		{[]string{filepath.Join(dir, "nothing"), out + "6"}, exitUnreadable, "no such file"},
		{[]string{secret}, exitUsage, "the keystore to write"},
	} {
		var said strings.Builder
		code := Run(context.Background(), append([]string{"keys", "import"}, c.args...),
			strings.NewReader(""), &said, &said)
		if code != c.code || !strings.Contains(said.String(), c.want) {
			t.Errorf("%q: code %d, want %d; want %q in %s", c.args, code, c.code, c.want, &said)
		}
	}
	names := numbered(filepath.Join("a.b", "key.json"), 3)
	if names[2] != filepath.Join("a.b", "key-2.json") {
		t.Error(names)
	}
}
