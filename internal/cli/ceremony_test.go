package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// TestCeremonyCommands goes as far as a ceremony of a real circuit goes in a test; package ceremony
// has the rest.
func TestCeremonyCommands(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ceremony")
	fails(t, 1, "there is none of that size", "ceremony", "init", "--statements", "300", dir)
	fails(t, 2, "the ceremony's directory", "ceremony", "init")
	must(t, "ceremony", "init", "--statements", "256", dir)
	fails(t, 1, "file exists", "ceremony", "init", "--statements", "256", dir)
	var state struct {
		Statements, Domain int
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, "ceremony.json"))),
		&state); err != nil || state.Statements != 256 || state.Domain != 1<<16 {
		t.Errorf("%+v, %v", state, err)
	}
	if out := must(t, "ceremony", "verify", dir); !strings.Contains(out, "256 statements") {
		t.Errorf("an empty transcript: %s", out)
	}
	fails(t, 2, "--name", "ceremony", "contribute", dir)
	fails(t, 1, "no such file", "ceremony", "contribute", "--name", "alice", dir+"x")
	fails(t, 2, "--beacon", "ceremony", "seal", dir)
	fails(t, 2, "--beacon", "ceremony", "seal", "--beacon", "abcd", dir)
	fails(t, 2, "hexadecimal digits", "ceremony", "contract", "abc")
	fails(t, 1, "there is no such key", "ceremony", "contract", "--keys", dir,
		strings.Repeat("ab", 32))
	fails(t, 1, "nobody has contributed", "ceremony", "seal", "--beacon", strings.Repeat("ab", 16),
		dir)
}

func TestProveWorkerWithoutParent(t *testing.T) {
	fails(t, 1, "EOF", "prove-worker")
	if out := must(t, "help"); strings.Contains(out, "prove-worker") {
		t.Error("help lists a command that is not for people")
	}
}
