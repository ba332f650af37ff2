package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSigner makes a signer of a home's keys, writes out what it signed, retires it, and makes
// another one of its keystores that goes on from there. What must not be done is refused.
func TestSigner(t *testing.T) {
	n := newNetwork(t, "3600")
	dir := filepath.Join(n.dir, "signer")
	fails(t, 2, "--home is required", "signer", "init", "--from", n.home)
	fails(t, 2, "want one of them", "signer", "init", "--home", dir)
	fails(t, 2, "not an address", "signer", "init", "--home", dir, "--from", n.home, "--listen", "x")
	fails(t, 3, "no signer lives here", "signer", "status", "--home", dir)
	out := must(t, "signer", "init", "--home", dir, "--from", n.home, "--light")
	for _, want := range []string{"unix://" + dir + "/signer.sock", "names the signer now"} {
		if !strings.Contains(out, want) {
			t.Errorf("it lacks %q:\n%s", want, out)
		}
	}
	for _, key := range []string{"consensus.json", "bls.json"} {
		if _, err := os.Stat(filepath.Join(n.home, "keys", key)); err == nil {
			t.Error("the home has", key)
		}
	}
	fails(t, 3, "a signer holds it", "start", "--home", n.home, "--set", "signer.address=", "--set",
		"signer.key=")
	if out := must(t, "signer", "status", "--home", dir); !strings.Contains(out, "stopped") {
		t.Error(out)
	}

	signed, there := filepath.Join(n.dir, "signed.json"), filepath.Join(n.dir, "there")
	must(t, "signer", "export", "--home", dir, "--retire", signed)
	fails(t, 1, "nothing is replaced", "signer", "export", "--home", dir, signed)
	must(t, "signer", "init", "--home", there, "--keys", filepath.Join(dir, "keys"), "--genesis",
		n.genesis, "--node", publicKey(t, filepath.Join(n.home, "keys", "transport.json")), "--light")
	fails(t, 3, "not all is here", "signer", "start", "--home", there)
	fails(t, 3, "not a file of what was signed", "signer", "import", "--home", there, n.genesis)
	if out := must(t, "signer", "import", "--home", there, signed); !strings.Contains(out,
		"no votes up to height 0") {
		t.Error(out)
	}
	if out := must(t, "signer", "status", "--home", there); !strings.Contains(out, "stopped") {
		t.Error(out)
	}
}
