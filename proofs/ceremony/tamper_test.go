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
)

// phase1Domain is where a contribution to phase 1 says its size, behind three proofs of a point of
// G1 and one of G2.
const phase1Domain = 3 * (32 + 64)

type change func(t *testing.T, c *Ceremony)

// swap takes a file from another finished ceremony.
func swap(other, name string) change {
	return func(t *testing.T, c *Ceremony) {
		b, err := os.ReadFile(filepath.Join(other, name))
		if err != nil {
			t.Fatal(err)
		}
		forge(t, c, name, b)
	}
}

func edited(name string, edit func(b []byte) []byte) change {
	return func(t *testing.T, c *Ceremony) {
		b, err := os.ReadFile(filepath.Join(c.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		forge(t, c, name, edit(b))
	}
}

func state(of func(c *Ceremony)) change { return func(_ *testing.T, c *Ceremony) { of(c) } }

// TestTampering changes a finished transcript in one place at a time; that the digests are made to
// fit helps nobody.
func TestTampering(t *testing.T) {
	original, _ := transcript(t, ownPowers, three...)
	other, _ := transcript(t, ownPowers, three...)
	tamper(t, original, map[string]change{
		"first of phase 1 from elsewhere":  swap(other, "phase1-001"),
		"last of phase 1 from elsewhere":   swap(other, "phase1-003"),
		"start of phase 2 from elsewhere":  swap(other, "phase2-000"),
		"second of phase 2 from elsewhere": swap(other, "phase2-002"),
		"last of phase 2 from elsewhere":   swap(other, "phase2-003"),
		"a contribution skipped": func(t *testing.T, c *Ceremony) {
			b, err := os.ReadFile(c.path(1, 3))
			if err != nil {
				t.Fatal(err)
			}
			c.Contributions = slices.Delete(c.Contributions, 1, 2)
			forge(t, c, "phase1-002", b)
		},
		"another first beacon": state(func(c *Ceremony) {
			c.Beacons[0].Signature = c.Beacons[1].Signature
		}),
		"another second beacon": state(func(c *Ceremony) {
			c.Beacons[1].Signature = c.Beacons[0].Signature
		}),
		"beacons of other rounds": state(func(c *Ceremony) { c.Beacons[1] = c.Beacons[0] }),
		"the second round for both phases": state(func(c *Ceremony) {
			c.Rounds[0], c.Rounds[1] = c.Rounds[1], c.Rounds[1]+1
			c.Beacons[0] = c.Beacons[1]
		}),
		"another moment": state(func(c *Ceremony) { c.Begun = c.Begun.AddDate(-1, 0, 0) }),
		"another key":    state(func(c *Ceremony) { c.Key = strings.Repeat("0", 64) }),
		"a larger domain": state(func(c *Ceremony) {
			c.Domain *= 2
		}),
		"a smaller domain": state(func(c *Ceremony) { c.Domain = 2 }),
		"a digest": state(func(c *Ceremony) {
			c.Contributions[0].SHA256 = strings.Repeat("0", 64)
		}),
		"a file missing": state(func(c *Ceremony) { os.Remove(c.path(2, 2)) }),
		"a domain that fills the memory": edited("phase1-001", func(b []byte) []byte {
			binary.BigEndian.PutUint64(b[phase1Domain:], 1<<40)
			return b
		}),
		"a phase 2 of 38 bytes that fills the memory": edited("phase2-001", func(b []byte) []byte {
			return append(b[:2+32], 0xff, 0xff, 0xff, 0xff)
		}),
		"a domain for which there is no memory": state(func(c *Ceremony) { c.Domain = 1 << 60 }),
		"a point":                               edited("phase2-001", flip(40)),
		"cut": edited("phase2-001", func(b []byte) []byte {
			return b[:len(b)-1]
		}),
		"longer": edited("phase1-002", func(b []byte) []byte { return append(b, 0) }),
	})
}

// TestTamperingWithPowers does it to a transcript that starts from a public file.
func TestTamperingWithPowers(t *testing.T) {
	original, _ := transcript(t, fromFile, three...)
	other, _ := transcript(t, fromFile, three...)
	tamper(t, original, map[string]change{
		"last of phase 2 from elsewhere": swap(other, "phase2-003"),
		"another name in the file": state(func(c *Ceremony) {
			c.Powers.Contributions[1].Name = "x"
		}),
		"a contribution less in the file": state(func(c *Ceremony) {
			c.Powers.Contributions = c.Powers.Contributions[1:]
		}),
		"another file": state(func(c *Ceremony) { c.Powers.BLAKE2b = strings.Repeat("0", 128) }),
		"no powers":    state(func(c *Ceremony) { os.Remove(c.powersPath()) }),
		"a domain that fills the memory": powers(func(b []byte) []byte {
			binary.BigEndian.PutUint64(b, 1<<40)
			return b
		}),
		"a point of the powers": powers(flip(8 + 128 + 100)),
		"powers cut":            powers(func(b []byte) []byte { return b[:len(b)-1] }),
		"longer powers":         powers(func(b []byte) []byte { return append(b, 0) }),
		"empty powers":          powers(func([]byte) []byte { return nil }),
		"one power in another's place": powers(func(b []byte) []byte {
			copy(b[8+128:], b[8+128+64:8+128+128])
			return b
		}),
	})
}

// powers edits the powers, and makes their digest fit.
func powers(edit func(b []byte) []byte) change {
	return func(t *testing.T, c *Ceremony) {
		b, err := os.ReadFile(c.powersPath())
		if err != nil {
			t.Fatal(err)
		}
		b = edit(b)
		if err := os.WriteFile(c.powersPath(), b, 0o644); err != nil {
			t.Fatal(err)
		}
		c.Powers.SHA256 = digestOf(b)
	}
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 1; return b }
}

func tamper(t *testing.T, original string, changes map[string]change) {
	t.Helper()
	for name, change := range changes {
		dir := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(dir, os.DirFS(original)); err != nil {
			t.Fatal(err)
		}
		c := reopen(t, dir)
		change(t, c)
		if err := c.save(); err != nil {
			t.Fatal(err)
		}
		c, err := open(dir, compileToy)
		if err == nil {
			err = c.Verify()
		}
		if !errors.Is(err, ErrTranscript) {
			t.Errorf("%s: %v", name, err)
		}
	}
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
	dir, _ := transcript(t, fromFile, three...)
	path := filepath.Join(dir, stateFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, from, to string }{
		{"format", format, "waybill-ceremony/1"},
		{"domain", `"domain": `, `"domain": 3`},
		{"phase", `"phase": 2`, `"phase": 3`},
		{"phase that the file took the place of", `"phase": 2`, `"phase": 1`},
		{"beacons", `"beacons": [`, `"beacons": [{"round":1,"signature":"` +
			strings.Repeat("0", 96) + `"},`},
		{"a beacon's text", `"signature": "`, `"signature": "zz`},
		{"a beacon's randomness", `"randomness": "`, `"randomness": "00`},
		{"chain", `"chain": "5`, `"chain": "6`},
		{"rounds", `"rounds": [`, `"rounds": [999,`},
		{"round", `"rounds": [`, `"rounds": [ 0`},
		{"begun after its end", `"begun": "2023`, `"begun": "2024`},
		{"begun elsewhere", `Z",`, `+00:00",`},
		{"begun in between", `Z",`, `.5Z",`},
		{"name", `"name": "alice"`, `"name": "\u001b[2J"`},
		{"no name", `"name": "alice"`, `"name": ""`},
		{"name in the powers", `"name": "second"`, `"name": "\u001b[2J"`},
		{"digest of the powers", `"sha256": "`, `"sha256": "00`},
		{"digest of the file", `"blake2b": "`, `"blake2b": "00`},
		{"key", `"key": "`, `"key": "00`},
		{"no key", `"key": "`, `"kex": "`},
	} {
		changed := bytes.Replace(good, []byte(c.from), []byte(c.to), 1)
		if bytes.Equal(changed, good) {
			t.Errorf("%s: nothing was changed", c.name)
		}
		if err := os.WriteFile(path, changed, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := open(dir, compileToy); !errors.Is(err, ErrTranscript) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, n := range []int{0, 1, len(good) / 2, len(good) - 3} {
		if err := os.WriteFile(path, good[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := open(dir, compileToy); !errors.Is(err, ErrTranscript) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func digestOf(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
