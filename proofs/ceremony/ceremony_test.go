package ceremony

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark/backend"
	"github.com/consensys/gnark/backend/groth16"
	groth16bn254 "github.com/consensys/gnark/backend/groth16/bn254"
	"github.com/consensys/gnark/backend/solidity"
	cs "github.com/consensys/gnark/constraint/bn254"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"

	"github.com/waybill-network/waybill/proofs/circuit"
	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/ptau"
	"github.com/waybill-network/waybill/proofs/quicknet"
	"github.com/waybill-network/waybill/proofs/verifier"
)

// toy is a circuit of the form of the real ones, one public input and one commitment, with a
// handful of constraints. A real one takes minutes of ceremony.
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

// published are two rounds that the network published in August 2023, at which the ceremonies of
// these tests end their phases.
var published = []quicknet.Beacon{
	beacon(1000, "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125"+
		"e342b73a8dd2bacbe47e4b6b63ed5e39"),
	beacon(1001, "b33bf3667cbd5a82de3a24b4e0e9fe5513cc1a0e840368c6e31f5fcfa79bea03"+
		"f73896b25883abf2853d10337fb8fa41"),
}

func beacon(round quicknet.Round, signature string) quicknet.Beacon {
	b, err := hex.DecodeString(signature)
	if err != nil {
		panic(err)
	}
	return quicknet.Beacon{Round: round, Signature: [48]byte(b)}
}

// before is a moment before both rounds.
var before = published[0].Round.Time().Add(-time.Minute)

// The ways to begin.
const (
	ownPowers = ""
	fromFile  = "../ptau/testdata/power4.ptau"
)

func plan(powers string) Plan {
	return Plan{Statements: 256, Begins: before, Powers: powers,
		PowersEnd: published[0].Round.Time(), End: published[1].Round.Time()}
}

func begin(t *testing.T, powers string) *Ceremony {
	t.Helper()
	c, err := create(filepath.Join(t.TempDir(), "ceremony"), plan(powers), circuit.Digest{},
		compileToy)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// value is what ends a phase.
func value(phase int) quicknet.Beacon { return published[phase-1] }

// transcript makes a whole ceremony with a contribution by each name a phase, opening the directory
// anew for each step.
func transcript(t *testing.T, powers string, names ...string) (dir string, pair *keys.Pair) {
	t.Helper()
	c := begin(t, powers)
	dir = c.dir
	for phase := c.First(); phase <= 2; phase++ {
		for _, name := range names {
			entry, err := reopen(t, dir).Contribute(name, before)
			if err != nil {
				t.Fatal(err)
			}
			if entry.Phase != phase || entry.Name != name || len(entry.SHA256) != 64 {
				t.Errorf("entry %+v", entry)
			}
			if err := reopen(t, dir).Verify(); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if pair, err = reopen(t, dir).Seal(value(phase), filepath.Join(dir, "keys")); err != nil {
			t.Fatal(err)
		}
		if err := reopen(t, dir).Verify(); err != nil {
			t.Fatal(err)
		}
	}
	return dir, pair
}

var three = []string{"alice", "bob", "carol"}

func reopen(t *testing.T, dir string) *Ceremony {
	t.Helper()
	c, err := open(dir, compileToy)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCeremony(t *testing.T) {
	for _, powers := range []string{ownPowers, fromFile} {
		dir, pair := transcript(t, powers, three...)
		if pair.Development || pair.Contributors != 3 {
			t.Errorf("a key by three: %s", pair)
		}
		found, err := keys.Find(filepath.Join(dir, "keys"), pair.Key)
		if err != nil || found.Info != pair.Info {
			t.Fatalf("%s, %v", found, err)
		}
		c := reopen(t, dir)
		if c.Phase() != 3 || c.Key != pair.Key.String() {
			t.Errorf("phase %d, key %s", c.Phase(), c.Key)
		}
		if _, err := c.Contribute("late", before); !errors.Is(err, ErrPhase) {
			t.Errorf("after the end: %v", err)
		}
		if _, err := c.Seal(value(2), dir); !errors.Is(err, ErrPhase) {
			t.Errorf("sealed twice: %v", err)
		}
		prove(t, filepath.Join(dir, "keys"), pair)
	}
}

// prove makes a proof with the sealed key, read back from its file, and verifies it.
func prove(t *testing.T, dir string, pair *keys.Pair) {
	t.Helper()
	system, _ := compileToy(0)
	proving := groth16.NewProvingKey(ecc.BN254)
	b, err := os.ReadFile(matches(t, filepath.Join(dir, "*.pk")))
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
	made, err := groth16.Prove(system, proving, w,
		solidity.WithProverTargetSolidityVerifier(backend.GROTH16))
	if err != nil {
		t.Fatal(err)
	}
	p := made.(*groth16bn254.Proof)
	proof := (&verifier.Proof{Ar: p.Ar, Bs: p.Bs, Krs: p.Krs, Commitment: p.Commitments[0],
		Known: p.CommitmentPok}).Bytes()
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

// TestTooFewContributors seals keys that one person may know the secrets of.
func TestTooFewContributors(t *testing.T) {
	for _, names := range [][]string{{"alice"}, {"alice", "Alice"}} {
		dir, pair := transcript(t, ownPowers, names...)
		if !pair.Development || pair.Contributors != 1 ||
			!strings.Contains(pair.String(), "one contributor") {
			t.Errorf("a key by %q: %s", names, pair)
		}
		if found, err := keys.Find(filepath.Join(dir, "keys"), pair.Key); err != nil ||
			!found.Development {
			t.Errorf("read back: %s, %v", found, err)
		}
	}
	_, pair := transcript(t, fromFile, "alice", "bob")
	if pair.Development || !strings.Contains(pair.String(), "2 contributors") {
		t.Errorf("a key by two: %s", pair)
	}
	c := begin(t, ownPowers)
	c.Contributions = []Contribution{{Phase: 1, Name: "alice"}, {Phase: 1, Name: "bob"},
		{Phase: 2, Name: "bob"}, {Phase: 2, Name: "bob"}}
	if n := c.Contributors(); n != 1 {
		t.Errorf("%d contributors, where phase 2 has one", n)
	}
}

func TestTooEarly(t *testing.T) {
	c := begin(t, ownPowers)
	if _, err := create(c.dir, plan(ownPowers), c.Circuit, compileToy); !errors.Is(err,
		os.ErrExist) {
		t.Errorf("a second ceremony in a directory: %v", err)
	}
	if _, err := c.Seal(value(1), c.dir); !errors.Is(err, ErrPhase) {
		t.Errorf("sealed without a contribution: %v", err)
	}
	if _, err := c.Contribute("one", before); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Seal(value(1), c.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Seal(value(2), c.dir); !errors.Is(err, ErrPhase) {
		t.Errorf("phase 2 without a contribution: %v", err)
	}
}

// TestBeacons ends a phase with other values than the one that was named.
func TestBeacons(t *testing.T) {
	c := begin(t, fromFile)
	if _, err := c.Contribute("one", before); err != nil {
		t.Fatal(err)
	}
	forged := value(2)
	forged.Signature = value(1).Signature
	for name, v := range map[string]quicknet.Beacon{
		"none":                       {},
		"an earlier round":           value(1),
		"another round's signature":  forged,
		"a signature that is no one": {Round: value(2).Round},
	} {
		if _, err := c.Seal(v, filepath.Join(c.dir, "keys")); !errors.Is(err, ErrBeacon) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if again := reopen(t, c.dir); again.Phase() != 2 {
		t.Error("a refused beacon changes the transcript")
	}
}

// TestLate contributes when the value that ends the phase is known.
func TestLate(t *testing.T) {
	c := begin(t, ownPowers)
	end := c.Round(1).Time()
	for _, now := range []time.Time{end, end.Add(time.Hour)} {
		if _, err := c.Contribute("late", now); !errors.Is(err, ErrLate) {
			t.Errorf("at %s: %v", now, err)
		}
	}
	if _, err := c.Contribute("in time", end.Add(-1)); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	c := begin(t, ownPowers)
	for _, name := range []string{"", " alice", "bob\n", "\x1b[2J", "\xff",
		strings.Repeat("é", maxName+1)} {
		if _, err := c.Contribute(name, before); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := c.Contribute(strings.Repeat("é", maxName), before); err != nil {
		t.Error(err)
	}
}

// TestRounds begins ceremonies that would end before they begin.
func TestRounds(t *testing.T) {
	for name, p := range map[string]Plan{
		"in the past":         {End: before.Add(-time.Hour), Powers: fromFile},
		"now":                 {End: before, Powers: fromFile},
		"phase 1 in the past": {PowersEnd: before.Add(-time.Hour), End: before.Add(time.Hour)},
		"both at once":        {PowersEnd: before.Add(time.Hour), End: before.Add(time.Hour)},
		"no time":             {},
		"the first way on":    {PowersEnd: before.Add(2 * time.Hour), End: before.Add(time.Hour)},
		"beyond all rounds":   {End: time.Date(1e6, 1, 1, 0, 0, 0, 0, time.UTC), Powers: fromFile},
	} {
		p.Statements, p.Begins = 256, before
		dir := filepath.Join(t.TempDir(), "ceremony")
		if _, err := create(dir, p, circuit.Digest{}, compileToy); !errors.Is(err, ErrRound) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: something was written", name)
		}
	}
}

// TestPowers begins with files from which no ceremony can start.
func TestPowers(t *testing.T) {
	good, err := os.ReadFile(fromFile)
	if err != nil {
		t.Fatal(err)
	}
	system, _ := compileToy(0)
	changed := bytes.Clone(good)
	changed[12+12+44+12+64] ^= 1 // τ in G1, behind file, header and section
	for name, c := range map[string]struct {
		file   []byte
		reason ptau.Reason
	}{
		"empty":   {nil, ptau.ReasonFormat},
		"changed": {changed, ptau.ReasonPoint},
		"cut":     {good[:len(good)-1], ptau.ReasonSections},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "powers.ptau")
		if err := os.WriteFile(file, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := create(dir, plan(file), circuit.Digest{}, compileToy)
		if !errors.Is(err, ErrPowers) || !errors.Is(err, c.reason) {
			t.Errorf("%s: %v", name, err)
		}
		if left := matches(t, filepath.Join(dir, "*")); left != file {
			t.Errorf("%s: %s is left", name, left)
		}
	}
	if _, err := create(t.TempDir(), plan("nosuch.ptau"), circuit.Digest{},
		compileToy); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	large := func(int) (*cs.R1CS, error) { return compileLarge(system.GetNbConstraints()) }
	if _, err := create(t.TempDir(), plan(fromFile), circuit.Digest{},
		large); !errors.Is(err, ptau.ReasonSize) {
		t.Errorf("too few powers: %v", err)
	}
}

// wide is a circuit with more constraints than the file has powers.
type wide struct{ Square, Root frontend.Variable }

func (c *wide) Define(api frontend.API) error {
	x := c.Root
	for range 64 {
		x = api.Mul(x, x)
	}
	api.AssertIsEqual(x, c.Square)
	return nil
}

func compileLarge(int) (*cs.R1CS, error) {
	system, err := frontend.Compile(ecc.BN254.ScalarField(), r1cs.NewBuilder, &wide{})
	if err != nil {
		return nil, err
	}
	return system.(*cs.R1CS), nil
}

// TestVerifyPowers compares a transcript's powers with public files.
func TestVerifyPowers(t *testing.T) {
	c := begin(t, fromFile)
	if err := c.VerifyPowers(fromFile); err != nil {
		t.Error(err)
	}
	if err := c.VerifyPowers("../ptau/testdata/power3-cut.ptau"); !errors.Is(err, ErrTranscript) {
		t.Errorf("another file: %v", err)
	}
	if err := c.VerifyPowers("ceremony.go"); !errors.Is(err, ErrPowers) {
		t.Errorf("no such file: %v", err)
	}
	if err := begin(t, ownPowers).VerifyPowers(fromFile); !errors.Is(err, ErrPhase) {
		t.Errorf("own powers: %v", err)
	}
	other := begin(t, "../ptau/testdata/power3-cut.ptau")
	other.Powers.BLAKE2b = c.Powers.BLAKE2b
	if err := other.VerifyPowers(fromFile); !errors.Is(err, ErrTranscript) {
		t.Errorf("another file under this one's digest: %v", err)
	}
	c.Powers.Contributions[0].Name = "somebody else"
	if err := c.VerifyPowers(fromFile); !errors.Is(err, ErrTranscript) {
		t.Errorf("another name: %v", err)
	}
}

func TestCircuitsOfThisProgram(t *testing.T) {
	p := plan(ownPowers)
	p.Statements = 257
	if _, err := Create(t.TempDir(), p); err == nil {
		t.Error("a ceremony for 257 statements")
	}
	c := begin(t, ownPowers)
	if _, err := Open(c.dir); !errors.Is(err, ErrCircuit) {
		t.Errorf("another circuit: %v", err)
	}
	if _, err := Open(filepath.Join(c.dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

// TestHeaderIsProved moves contributions into a ceremony that differs in one field of its header.
func TestHeaderIsProved(t *testing.T) {
	dir, _ := transcript(t, ownPowers, "alice", "bob")
	for name, change := range map[string]func(h *Header){
		"another moment":    func(h *Header) { h.Begun = h.Begun.Add(-time.Second) },
		"another round":     func(h *Header) { h.Rounds[0]-- },
		"another last one":  func(h *Header) { h.Rounds[1]++ },
		"another circuit":   func(h *Header) { h.Circuit[0]++ },
		"another statement": func(h *Header) { h.Statements = 1024 },
	} {
		c := reopen(t, dir)
		c.Beacons, c.Key = nil, "" // as far as phase 1
		c.Contributions = c.To(1)
		if err := c.Verify(); err != nil {
			t.Fatal(err)
		}
		change(&c.Header)
		if err := c.Verify(); !errors.Is(err, ErrTranscript) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHeaderIsProvedInPhase2 makes the start of phase 2 anew for another header, as anybody can.
func TestHeaderIsProvedInPhase2(t *testing.T) {
	dir, _ := transcript(t, fromFile, "alice", "bob")
	c := reopen(t, dir)
	c.Beacons, c.Key = nil, ""
	restart := func() error {
		system, err := c.system()
		if err != nil {
			t.Fatal(err)
		}
		powers, err := c.readPowers()
		if err != nil {
			t.Fatal(err)
		}
		start, _ := c.startOfKeys(system, powers)
		if _, err := c.write(c.path(2, 0), start); err != nil {
			t.Fatal(err)
		}
		return c.Verify()
	}
	if err := restart(); err != nil {
		t.Fatal(err)
	}
	c.Rounds[0]++
	if err := restart(); !errors.Is(err, ErrTranscript) ||
		!strings.Contains(err.Error(), "contribution 1 to phase 2") {
		t.Errorf("another round: %v", err)
	}
}

func ExampleState_Contributors() {
	s := State{Header: Header{Powers: new(Powers)}, Contributions: []Contribution{
		{Phase: 2, Name: "alice"}, {Phase: 2, Name: "bob"}, {Phase: 2, Name: "alice"}}}
	fmt.Println(s.Contributors())
	// Output: 2
}
