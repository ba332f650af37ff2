package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The round that the network published at roundTime.
const round1000 = `{"round":1000,"randomness":` +
	`"fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd","signature":` +
	`"b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125` +
	`e342b73a8dd2bacbe47e4b6b63ed5e39"}`

var roundTime = time.Date(2023, 8, 23, 15, 59, 24, 0, time.UTC)

// at sets the clock of the ceremony's commands.
func at(t *testing.T, now time.Time) {
	t.Helper()
	was := ceremonyClock
	ceremonyClock = func() time.Time { return now }
	t.Cleanup(func() { ceremonyClock = was })
}

// TestCeremonyCommands goes as far as a ceremony of a real circuit goes in a test; package ceremony
// has the rest.
func TestCeremonyCommands(t *testing.T) {
	at(t, roundTime.Add(-30*time.Minute))
	dir := filepath.Join(t.TempDir(), "ceremony")
	begin := []string{"ceremony", "init", "--statements", "256", "--phase1-ends",
		"2023-08-23T15:59:24Z", "--ends", "72h", dir}
	fails(t, 1, "there is none of that size", "ceremony", "init", "--statements", "300",
		"--phase1-ends", "1h", "--ends", "2h", dir)
	fails(t, 2, "the ceremony's directory", "ceremony", "init")
	fails(t, 2, "--phase1-ends", "ceremony", "init", "--ends", "2h", dir)
	fails(t, 2, "--powers", "ceremony", "init", "--powers", "x", "--phase1-ends", "1h", "--ends",
		"2h", dir)
	fails(t, 2, `--ends "": want a time`, "ceremony", "init", "--powers", "x", dir)
	fails(t, 2, `--phase1-ends "soon": want a time`, "ceremony", "init", "--phase1-ends", "soon",
		"--ends", "2h", dir)
	fails(t, 1, "no round to end a phase with", "ceremony", "init", "--statements", "256",
		"--phase1-ends", "2h", "--ends", "1h", dir)
	fails(t, 1, "no round to end a phase with", "ceremony", "init", "--statements", "256",
		"--phase1-ends", "-10m", "--ends", "1h", dir)
	fails(t, 3, "no such file", "ceremony", "init", "--statements", "256", "--powers",
		dir+".ptau", "--ends", "1h", dir)
	fails(t, 1, "it does not have enough powers: 2^4, where 65536 are needed", "ceremony", "init",
		"--statements", "256", "--powers", "../../proofs/ptau/testdata/power4.ptau", "--ends", "1h",
		dir)
	fails(t, 1, "nobody has contributed to it", "ceremony", "init", "--statements", "256",
		"--powers", "../../proofs/ptau/testdata/power4-empty.ptau", "--ends", "1h", dir)
	out := must(t, begin...)
	for _, want := range []string{"256 statements", "begun   2023-08-23 15:29:24 UTC",
		"phase 1, until round 1000 of drand's quicknet, 2023-08-23 15:59:24 UTC",
		"phase 2, until round 86800 of drand's quicknet, 2023-08-26 15:29:24 UTC",
		"84e971/public/1000\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	fails(t, 1, "file already exists", begin...)
	var state struct {
		Statements, Domain int
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, "ceremony.json"))),
		&state); err != nil || state.Statements != 256 || state.Domain != 1<<16 {
		t.Errorf("%+v, %v", state, err)
	}
	if out := must(t, "ceremony", "verify", dir); !strings.Contains(out, "The transcript holds") {
		t.Errorf("an empty transcript: %s", out)
	}
	fails(t, 1, "it made its own powers", "ceremony", "verify", "--powers", dir, dir)
	if out := must(t, "ceremony", "show", dir); !strings.Contains(out, "Everyone contributes") {
		t.Errorf("shown: %s", out)
	}
}

func TestCeremonyMistakes(t *testing.T) {
	at(t, roundTime.Add(-30*time.Minute))
	dir := filepath.Join(t.TempDir(), "ceremony")
	must(t, "ceremony", "init", "--statements", "256", "--phase1-ends", "30m", "--ends", "2h", dir)
	fails(t, 2, "--name", "ceremony", "contribute", dir)
	fails(t, 1, "up to 64 printable characters", "ceremony", "contribute", "--name", "\a", dir)
	fails(t, 3, "no such file", "ceremony", "contribute", "--name", "alice", dir+"x")
	fails(t, 2, "--round", "ceremony", "seal", dir)
	fails(t, 3, "no such file", "ceremony", "seal", "--round", dir+"x", dir)
	fails(t, 1, "quicknet: not a round", "ceremony", "seal", "--round",
		write(t, dir+"-x", "a string that the coordinator types"), dir)
	fails(t, 1, "quicknet: its signature is not the network's", "ceremony", "seal", "--round",
		write(t, dir+"-x", strings.Replace(round1000, "1000", "1001", 1)), dir)
	fails(t, 1, "nobody has contributed", "ceremony", "seal", "--round",
		write(t, dir+"-x", round1000), dir)
	at(t, roundTime)
	fails(t, 1, "ceremony: too late: round 1000", "ceremony", "contribute", "--name", "alice", dir)
	fails(t, 2, "hexadecimal digits", "ceremony", "contract", "abc")
	fails(t, 1, "there is no such key", "ceremony", "contract", "--keys", dir,
		strings.Repeat("ab", 32))
}

func TestProveWorkerWithoutParent(t *testing.T) {
	fails(t, 1, "EOF", "prove-worker")
	if out := must(t, "help"); strings.Contains(out, "prove-worker") {
		t.Error("help lists a command that is not for people")
	}
}
