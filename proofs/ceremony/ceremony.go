// Package ceremony makes a circuit's keys together with people who need not trust each other: whoever destroyed the secret of
// their contribution knows that nobody can forge proofs. It drives gnark's multi-party setup (Bowe, Gabizon and Miers, eprint
// 2017/1050) over a directory that is the ceremony's transcript and is passed from hand to hand.
//
// Phase 1 makes powers of a secret, phase 2 fits them to the circuit. Each ends with a beacon, a public value that nobody could
// know before the last contribution. Everything can be verified from the transcript and the program alone.
package ceremony

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark/backend/groth16/bn254/mpcsetup"
	cs "github.com/consensys/gnark/constraint/bn254"

	"github.com/waybill-network/waybill/proofs/circuit"
	"github.com/waybill-network/waybill/proofs/internal/layout"
	"github.com/waybill-network/waybill/proofs/keys"
)

// Errors; use errors.Is.
var (
	ErrTranscript = errors.New("ceremony: the transcript does not hold")
	ErrPhase      = errors.New("ceremony: not in this phase")
	ErrCircuit    = errors.New("ceremony: of another circuit than this program's")
)

const (
	format    = "waybill-ceremony/1"
	stateFile = "ceremony.json"
	maxState  = 1 << 20
	minBeacon = 16 // bytes
)

// State is the table of contents of a transcript.
type State struct {
	Format        string         `json:"format"`
	Statements    int            `json:"statements"`
	Circuit       circuit.Digest `json:"circuit"`
	Domain        uint64         `json:"domain"` // power of two, at least the number of constraints
	Contributions []Contribution `json:"contributions"`
	Beacons       []string       `json:"beacons"`       // of the phases that are over, hexadecimal
	Key           string         `json:"key,omitempty"` // hash of the verifying key, once sealed
}

// Contribution is one file of a transcript. Contributors publish its digest, so that nobody can exchange it unnoticed.
type Contribution struct {
	Phase  int    `json:"phase"`
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// Phase returns 1 or 2, and 3 when the ceremony is over.
func (s *State) Phase() int { return len(s.Beacons) + 1 }

func (s *State) of(phase int) (out []Contribution) {
	for _, c := range s.Contributions {
		if c.Phase == phase {
			out = append(out, c)
		}
	}
	return out
}

// Ceremony is a transcript in a directory. Its methods change the directory only when they succeed; they take from seconds for
// small circuits to an hour for the largest, and are for one process at a time.
type Ceremony struct {
	State
	dir     string
	compile func(size int) (*cs.R1CS, error)
}

func compile(size int) (*cs.R1CS, error) {
	system, err := circuit.Compile(size)
	if err != nil {
		return nil, err
	}
	return system.(*cs.R1CS), nil
}

// Create begins a ceremony for a circuit in a directory that must not have one.
func Create(dir string, statements int) (*Ceremony, error) {
	digest, err := circuit.DigestOf(statements)
	if err != nil {
		return nil, err
	}
	return create(dir, State{Statements: statements, Circuit: digest}, compile)
}

func create(dir string, s State, compile func(int) (*cs.R1CS, error)) (*Ceremony, error) {
	system, err := compile(s.Statements)
	if err != nil {
		return nil, err
	}
	s.Format, s.Domain = format, ecc.NextPowerOfTwo(uint64(system.GetNbConstraints()))
	c := &Ceremony{State: s, dir: dir, compile: compile}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("ceremony: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, stateFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("ceremony: %w", err)
	}
	return c, errors.Join(f.Close(), c.save())
}

// Open reads a transcript's table of contents. Errors: ErrTranscript, ErrCircuit.
func Open(dir string) (*Ceremony, error) {
	c, err := open(dir, compile)
	if err != nil {
		return nil, err
	}
	if digest, err := circuit.DigestOf(c.Statements); err != nil || digest != c.Circuit {
		return nil, fmt.Errorf("%w: %s for %d statements", ErrCircuit, c.Circuit, c.Statements)
	}
	return c, nil
}

func open(dir string, compile func(int) (*cs.R1CS, error)) (*Ceremony, error) {
	f, err := os.Open(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, fmt.Errorf("ceremony: %w", err)
	}
	defer f.Close()
	c := &Ceremony{dir: dir, compile: compile}
	if err := json.NewDecoder(io.LimitReader(f, maxState)).Decode(&c.State); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrTranscript, stateFile, err)
	}
	if c.Format != format || len(c.Beacons) > 2 || c.Domain == 0 || ecc.NextPowerOfTwo(c.Domain) != c.Domain {
		return nil, fmt.Errorf("%w: %s: format %q, domain %d, %d beacons", ErrTranscript, stateFile, c.Format, c.Domain, len(c.Beacons))
	}
	last := 1
	for _, entry := range c.Contributions {
		if entry.Phase < last || entry.Phase > 2 || entry.Phase > c.Phase() {
			return nil, fmt.Errorf("%w: %s: a contribution to phase %d", ErrTranscript, stateFile, entry.Phase)
		}
		last = entry.Phase
	}
	return c, nil
}

// Contribute adds fresh randomness to the phase that is under way, and forgets it. The error is ErrPhase when the ceremony is
// over, ErrTranscript when the contribution before cannot be read; whether that one is sound only Verify tells.
func (c *Ceremony) Contribute(name string) (Contribution, error) {
	entry := Contribution{Phase: c.Phase(), Name: name}
	n := len(c.of(entry.Phase))
	var made io.WriterTo
	switch entry.Phase {
	case 1:
		if _, err := c.system(); err != nil {
			return Contribution{}, err
		}
		p := mpcsetup.NewPhase1(c.Domain)
		if n > 0 {
			if err := c.read(1, n, p); err != nil {
				return Contribution{}, err
			}
		}
		p.Contribute()
		made = p
	case 2:
		p := new(mpcsetup.Phase2)
		if err := c.read(2, n, p); err != nil {
			return Contribution{}, err
		}
		p.Contribute()
		made = p
	default:
		return Contribution{}, fmt.Errorf("%w: the ceremony is over", ErrPhase)
	}
	var err error
	if entry.SHA256, err = c.write(entry.Phase, n+1, made); err != nil {
		return Contribution{}, err
	}
	c.Contributions = append(c.Contributions, entry)
	return entry, c.save()
}

// system compiles the circuit and checks that the domain, which memory is allocated for, is the
// one that the circuit needs: ErrTranscript.
func (c *Ceremony) system() (*cs.R1CS, error) {
	system, err := c.compile(c.Statements)
	if err != nil {
		return nil, err
	}
	if n := system.GetNbConstraints(); c.Domain != ecc.NextPowerOfTwo(uint64(n)) {
		return nil, fmt.Errorf("%w: a domain of %d for %d constraints", ErrTranscript, c.Domain, n)
	}
	return system, nil
}

// Seal ends the phase that is under way with a beacon of at least 16 bytes, after verifying the transcript. After phase 1 it
// prepares phase 2; after phase 2 it writes the keys into a directory and returns them. Errors: ErrPhase when nobody has
// contributed to the phase or the ceremony is over, ErrTranscript.
func (c *Ceremony) Seal(beacon []byte, keysDir string) (*keys.Pair, error) {
	phase := c.Phase()
	switch {
	case phase > 2:
		return nil, fmt.Errorf("%w: the ceremony is over", ErrPhase)
	case len(c.of(phase)) == 0:
		return nil, fmt.Errorf("%w: nobody has contributed to phase %d", ErrPhase, phase)
	case len(beacon) < minBeacon:
		return nil, fmt.Errorf("%w: a beacon has at least %d bytes", ErrPhase, minBeacon)
	}
	sealed := *c
	sealed.Beacons = append(append([]string(nil), c.Beacons...), hex.EncodeToString(beacon))
	r, err := sealed.replay(true)
	if err != nil {
		return nil, err
	}
	if phase == 1 {
		if _, err := c.write(2, 0, r.start); err != nil {
			return nil, err
		}
		*c = sealed
		return nil, c.save()
	}
	pair, err := keys.Save(keysDir, keys.Info{Statements: c.Statements, Circuit: c.Circuit}, r.system, r.proving, r.verifying)
	if err != nil {
		return nil, err
	}
	sealed.Key = pair.Key.String()
	*c = sealed
	return &pair, c.save()
}

// Verify replays the whole transcript: every contribution builds on the one before and is known to its contributor, both phases
// ended with their beacons, and a sealed key is what follows. The error is ErrTranscript.
func (c *Ceremony) Verify() error {
	r, err := c.replay(false)
	if err != nil {
		return err
	}
	if c.Phase() <= 2 {
		return nil
	}
	hash, err := keys.Hash(r.verifying, c.Statements)
	if err != nil {
		return err
	}
	if hash.String() != c.Key {
		return fmt.Errorf("%w: it leads to key %s, not %s", ErrTranscript, hash, c.Key)
	}
	return nil
}

func (c *Ceremony) path(phase, n int) string {
	return filepath.Join(c.dir, fmt.Sprintf("phase%d-%03d", phase, n))
}

// write makes a file of the transcript, whole or not at all, and returns its digest.
func (c *Ceremony) write(phase, n int, what io.WriterTo) (string, error) {
	f, err := os.CreateTemp(c.dir, ".part-*")
	if err != nil {
		return "", fmt.Errorf("ceremony: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	digest := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, digest), 1<<20)
	if _, err = what.WriteTo(w); err == nil {
		err = errors.Join(w.Flush(), f.Chmod(0o644), f.Sync(), os.Rename(f.Name(), c.path(phase, n)))
	}
	if err != nil {
		return "", fmt.Errorf("ceremony: %w", err)
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

func (c *Ceremony) save() error {
	b, err := json.MarshalIndent(&c.State, "", "  ")
	if err != nil {
		return fmt.Errorf("ceremony: %w", err)
	}
	f, err := os.CreateTemp(c.dir, ".part-*")
	if err != nil {
		return fmt.Errorf("ceremony: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err = f.Write(append(b, '\n')); err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync(), os.Rename(f.Name(), filepath.Join(c.dir, stateFile)))
	}
	if err != nil {
		return fmt.Errorf("ceremony: %w", err)
	}
	return nil
}

// read decodes a file of the transcript, all points of which are checked to be in their groups, after comparing its digest.
func (c *Ceremony) read(phase, n int, into io.ReaderFrom) (err error) {
	defer func() {
		if r := recover(); r != nil { // gnark's decoders are not made for files from strangers
			err = fmt.Errorf("%v", r)
		}
		if err != nil {
			err = fmt.Errorf("%w: contribution %d to phase %d: %w", ErrTranscript, n, phase, err)
		}
	}()
	f, err := os.Open(c.path(phase, n))
	if err != nil {
		return err
	}
	defer f.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, f); err != nil {
		return err
	}
	if n > 0 && hex.EncodeToString(digest.Sum(nil)) != c.of(phase)[n-1].SHA256 {
		return errors.New("its digest is another one")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := c.walk(phase, f); err != nil {
		return err
	}
	r := bufio.NewReaderSize(f, 1<<20)
	if _, err := into.ReadFrom(r); err != nil {
		return err
	}
	if _, err := r.ReadByte(); err != io.EOF {
		return errors.New("something stands behind it")
	}
	return nil
}

// walk checks that the lengths in a file agree with its size, as gnark's decoders allocate what the
// lengths say. It leaves the file at its beginning.
func (c *Ceremony) walk(phase int, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	w, domain := layout.New(f, info.Size()), c.Domain
	if phase == 1 {
		domain = w.Phase1()
	} else {
		w.Phase2()
	}
	if err := w.End(); err != nil {
		return err
	}
	if domain != c.Domain {
		return fmt.Errorf("its domain is %d, not %d", domain, c.Domain)
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

func equal(a, b io.WriterTo) (bool, error) {
	var sums [2][]byte
	for i, v := range []io.WriterTo{a, b} {
		h := sha256.New()
		if _, err := v.WriteTo(h); err != nil {
			return false, err
		}
		sums[i] = h.Sum(nil)
	}
	return bytes.Equal(sums[0], sums[1]), nil
}
