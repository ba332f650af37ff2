package ceremony

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark/backend"
	"github.com/consensys/gnark/backend/groth16"
	groth16bn254 "github.com/consensys/gnark/backend/groth16/bn254"
	"github.com/consensys/gnark/backend/solidity"
	cs "github.com/consensys/gnark/constraint/bn254"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"

	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/verifier"
)

// toy is a circuit of the form of the real ones, one public input and one commitment, with a handful of constraints. A real one
// takes minutes of ceremony.
type toy struct {
	Square frontend.Variable `gnark:",public"`
	Root   frontend.Variable
}

func (c *toy) Define(api frontend.API) error {
	x, err := api.Compiler().(frontend.Committer).Commit(c.Square, c.Root)
	if err != nil {
		return err
	}
	api.AssertIsEqual(api.Mul(c.Root, c.Root), c.Square)
	api.AssertIsDifferent(api.Mul(x, c.Root), 0)
	return nil
}

func compileToy(int) (*cs.R1CS, error) {
	system, err := frontend.Compile(ecc.BN254.ScalarField(), r1cs.NewBuilder, &toy{})
	if err != nil {
		return nil, err
	}
	return system.(*cs.R1CS), nil
}

// phase1Domain is where a contribution to phase 1 says its size, behind three proofs of a point of
// G1 and one of G2.
const phase1Domain = 3 * (32 + 64)

var beacons = [][]byte{[]byte("the first beacon's value"), []byte("the second beacon's value")}

// transcript makes a whole ceremony with three contributors a phase, opening the directory anew for each step.
func transcript(t *testing.T) (dir string, pair *keys.Pair) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "ceremony")
	if _, err := create(dir, State{Statements: 256}, compileToy); err != nil {
		t.Fatal(err)
	}
	for phase := range 2 {
		for i := range 3 {
			entry, err := reopen(t, dir).Contribute(fmt.Sprint("contributor ", i))
			if err != nil {
				t.Fatal(err)
			}
			if entry.Phase != phase+1 || len(entry.SHA256) != 64 {
				t.Errorf("entry %+v", entry)
			}
			if err := reopen(t, dir).Verify(); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if pair, err = reopen(t, dir).Seal(beacons[phase], filepath.Join(dir, "keys")); err != nil {
			t.Fatal(err)
		}
		if err := reopen(t, dir).Verify(); err != nil {
			t.Fatal(err)
		}
	}
	return dir, pair
}

func reopen(t *testing.T, dir string) *Ceremony {
	t.Helper()
	c, err := open(dir, compileToy)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCeremony(t *testing.T) {
	dir, pair := transcript(t)
	if pair.Development {
		t.Error("the key is marked as for development")
	}
	found, err := keys.Find(filepath.Join(dir, "keys"), pair.Key)
	if err != nil || found.Info != pair.Info {
		t.Fatalf("%s, %v", found, err)
	}
	if c := reopen(t, dir); c.Phase() != 3 || c.Key != pair.Key.String() {
		t.Errorf("phase %d, key %s", c.Phase(), c.Key)
	}
	if _, err := reopen(t, dir).Contribute("late"); !errors.Is(err, ErrPhase) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := reopen(t, dir).Seal(beacons[0], dir); !errors.Is(err, ErrPhase) {
		t.Errorf("sealed twice: %v", err)
	}

	// A proof with the sealed key, read back from its file, verifies.
	system, _ := compileToy(0)
	proving := groth16.NewProvingKey(ecc.BN254)
	b, err := os.ReadFile(matches(t, filepath.Join(dir, "keys", "*.pk")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := proving.UnsafeReadFrom(bytes.NewReader(b[1024:])); err != nil {
		t.Fatal(err)
	}
	w, err := frontend.NewWitness(&toy{Square: 49, Root: 7}, ecc.BN254.ScalarField())
	if err != nil {
		t.Fatal(err)
	}
	made, err := groth16.Prove(system, proving, w, solidity.WithProverTargetSolidityVerifier(backend.GROTH16))
	if err != nil {
		t.Fatal(err)
	}
	p := made.(*groth16bn254.Proof)
	proof := (&verifier.Proof{Ar: p.Ar, Bs: p.Bs, Krs: p.Krs, Commitment: p.Commitments[0], Known: p.CommitmentPok}).Bytes()
	v, err := verifier.New(pair.Verifying)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.VerifyProof(256, [32]byte{49}, &proof); err != nil {
		t.Error(err)
	}
	if v.VerifyProof(256, [32]byte{50}, &proof) == nil {
		t.Error("a proof for another input is accepted")
	}
}

func matches(t *testing.T, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) != 1 {
		t.Fatal(paths, err)
	}
	return paths[0]
}

func TestTooEarly(t *testing.T) {
	dir := t.TempDir()
	c, err := create(dir, State{Statements: 256}, compileToy)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := create(dir, State{Statements: 256}, compileToy); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second ceremony in a directory: %v", err)
	}
	if _, err := c.Seal(beacons[0], dir); !errors.Is(err, ErrPhase) {
		t.Errorf("sealed without a contribution: %v", err)
	}
	if _, err := c.Contribute("one"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Seal([]byte("short"), dir); !errors.Is(err, ErrPhase) {
		t.Errorf("a short beacon: %v", err)
	}
	if _, err := c.Seal(beacons[0], dir); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Seal(beacons[1], dir); !errors.Is(err, ErrPhase) {
		t.Errorf("phase 2 without a contribution: %v", err)
	}
}

func TestCircuitsOfThisProgram(t *testing.T) {
	if _, err := Create(t.TempDir(), 257); err == nil {
		t.Error("a ceremony for 257 statements")
	}
	dir := t.TempDir()
	if _, err := create(dir, State{Statements: 256}, compileToy); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrCircuit) {
		t.Errorf("another circuit: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

// TestTampering changes a finished transcript in one place at a time; that the digests are made to fit helps nobody.
func TestTampering(t *testing.T) {
	original, _ := transcript(t)
	other, _ := transcript(t)
	swap := func(c *Ceremony, name string) {
		b, err := os.ReadFile(filepath.Join(other, name))
		if err != nil {
			t.Fatal(err)
		}
		forge(t, c, name, b)
	}
	for name, change := range map[string]func(c *Ceremony){
		"first of phase 1 from elsewhere":  func(c *Ceremony) { swap(c, "phase1-001") },
		"last of phase 1 from elsewhere":   func(c *Ceremony) { swap(c, "phase1-003") },
		"start of phase 2 from elsewhere":  func(c *Ceremony) { swap(c, "phase2-000") },
		"second of phase 2 from elsewhere": func(c *Ceremony) { swap(c, "phase2-002") },
		"last of phase 2 from elsewhere":   func(c *Ceremony) { swap(c, "phase2-003") },
		"a contribution skipped": func(c *Ceremony) {
			b, err := os.ReadFile(c.path(1, 3))
			if err != nil {
				t.Fatal(err)
			}
			c.Contributions = slices.Delete(c.Contributions, 1, 2)
			forge(t, c, "phase1-002", b)
		},
		"another first beacon":  func(c *Ceremony) { c.Beacons[0] = strings.Repeat("ab", 16) },
		"another second beacon": func(c *Ceremony) { c.Beacons[1] = strings.Repeat("ab", 16) },
		"no beacon":             func(c *Ceremony) { c.Beacons[1] = "" },
		"another key":           func(c *Ceremony) { c.Key = strings.Repeat("0", 64) },
		"a larger domain":       func(c *Ceremony) { c.Domain *= 2 },
		"a smaller domain":      func(c *Ceremony) { c.Domain = 2 },
		"a digest":              func(c *Ceremony) { c.Contributions[0].SHA256 = strings.Repeat("0", 64) },
		"a file missing":        func(c *Ceremony) { os.Remove(c.path(2, 2)) },
		"a domain that fills the memory": func(c *Ceremony) {
			edit(t, c, "phase1-001", func(b []byte) []byte { binary.BigEndian.PutUint64(b[phase1Domain:], 1<<40); return b })
		},
		"a phase 2 of 38 bytes that fills the memory": func(c *Ceremony) {
			edit(t, c, "phase2-001", func(b []byte) []byte {
				return append(b[:2+32], 0xff, 0xff, 0xff, 0xff)
			})
		},
		"a domain for which there is no memory": func(c *Ceremony) { c.Domain = 1 << 60 },
		"a point":                               func(c *Ceremony) { edit(t, c, "phase2-001", func(b []byte) []byte { b[40] ^= 1; return b }) },
		"cut":                                   func(c *Ceremony) { edit(t, c, "phase2-001", func(b []byte) []byte { return b[:len(b)-1] }) },
		"longer":                                func(c *Ceremony) { edit(t, c, "phase1-002", func(b []byte) []byte { return append(b, 0) }) },
	} {
		dir := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(dir, os.DirFS(original)); err != nil {
			t.Fatal(err)
		}
		c := reopen(t, dir)
		change(c)
		if err := c.save(); err != nil {
			t.Fatal(err)
		}
		if err := reopen(t, dir).Verify(); !errors.Is(err, ErrTranscript) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func edit(t *testing.T, c *Ceremony, name string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	forge(t, c, name, change(b))
}

// forge replaces a file and its digest.
func forge(t *testing.T, c *Ceremony, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
	var phase, n int
	if _, err := fmt.Sscanf(name, "phase%d-%d", &phase, &n); err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		return
	}
	for i := range c.Contributions {
		if c.Contributions[i].Phase == phase {
			if n--; n == 0 {
				c.Contributions[i].SHA256 = digestOf(b)
			}
		}
	}
}

func TestBrokenState(t *testing.T) {
	dir, _ := transcript(t)
	path := filepath.Join(dir, stateFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(b []byte) []byte{
		"empty":   func([]byte) []byte { return nil },
		"cut":     func(b []byte) []byte { return b[:len(b)/2] },
		"format":  func(b []byte) []byte { return bytes.Replace(b, []byte(format), []byte("waybill-ceremony/9"), 1) },
		"domain":  func(b []byte) []byte { return bytes.Replace(b, []byte(`"domain": `), []byte(`"domain": 3`), 1) },
		"phase":   func(b []byte) []byte { return bytes.Replace(b, []byte(`"phase": 2`), []byte(`"phase": 3`), 1) },
		"order":   func(b []byte) []byte { return bytes.Replace(b, []byte(`"phase": 1`), []byte(`"phase": 2`), 1) },
		"beacons": func(b []byte) []byte { return bytes.Replace(b, []byte(`"beacons": [`), []byte(`"beacons": ["", `), 1) },
	} {
		if err := os.WriteFile(path, change(slices.Clone(good)), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := open(dir, compileToy); !errors.Is(err, ErrTranscript) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func digestOf(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
