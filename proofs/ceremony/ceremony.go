// Package ceremony makes a circuit's keys together with people who need not trust each other:
// whoever destroyed the secret of their contribution knows that nobody can forge proofs. It drives
// gnark's multi-party setup (Bowe, Gabizon and Miers, eprint 2017/1050) over a directory that is
// the ceremony's transcript and is passed from hand to hand.
//
// Phase 1 makes powers of a secret, unless a public file has them (package ptau). Phase 2 fits them
// to the circuit. A phase ends with a round of a public beacon (package quicknet), which is named
// when the ceremony begins: nobody could know its value before the last contribution, and nobody
// chooses it. Everything can be verified from the transcript and the program alone.
package ceremony

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark/backend/groth16/bn254/mpcsetup"
	cs "github.com/consensys/gnark/constraint/bn254"

	"github.com/waybill-network/waybill/proofs/circuit"
	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/quicknet"
)

// Errors; use errors.Is.
var (
	ErrTranscript = errors.New("ceremony: the transcript does not hold")
	ErrPhase      = errors.New("ceremony: not in this phase")
	ErrCircuit    = errors.New("ceremony: of another circuit than this program's")
	ErrPowers     = errors.New("ceremony: it cannot start from these powers")
	ErrRound      = errors.New("ceremony: no round to end a phase with")
	ErrBeacon     = errors.New("ceremony: not the beacon that was named when it began")
	ErrLate       = errors.New("ceremony: too late")
	ErrName       = errors.New("ceremony: a name is up to 64 printable characters")
)

// Ceremony is a transcript in a directory. Its methods change the directory only when they succeed;
// they take from seconds for small circuits to an hour for the largest, and are for one process at
// a time.
type Ceremony struct {
	State
	dir     string
	compile func(size int) (*cs.R1CS, error)
}

// Plan is what the coordinator decides.
type Plan struct {
	Statements int       // of the circuit
	Begins     time.Time // now
	// Powers is the path of a powers-of-tau file. If it is empty, phase 1 makes powers, until
	// PowersEnd.
	Powers    string
	PowersEnd time.Time
	End       time.Time // of the ceremony
}

func compile(size int) (*cs.R1CS, error) {
	system, err := circuit.Compile(size)
	if err != nil {
		return nil, err
	}
	return system.(*cs.R1CS), nil
}

// Create begins a ceremony in a directory that must not have one. The rounds that end its phases
// are the first at or after the times of the plan. Errors: ErrRound, ErrPowers.
func Create(dir string, p Plan) (*Ceremony, error) {
	digest, err := circuit.DigestOf(p.Statements)
	if err != nil {
		return nil, err
	}
	return create(dir, p, digest, compile)
}

func create(dir string, p Plan, digest circuit.Digest, compile func(int) (*cs.R1CS, error)) (
	c *Ceremony, err error) {
	c = &Ceremony{dir: dir, compile: compile}
	c.Header = Header{Format: format, Statements: p.Statements, Circuit: digest,
		Begun: p.Begins.UTC().Truncate(time.Second), Chain: quicknet.Chain}
	if p.Powers == "" {
		c.Rounds = append(c.Rounds, quicknet.From(p.PowersEnd))
	} else {
		c.Powers = new(Powers)
	}
	c.Rounds = append(c.Rounds, quicknet.From(p.End))
	system, err := compile(p.Statements)
	if err != nil {
		return nil, err
	}
	c.Domain = ecc.NextPowerOfTwo(uint64(system.GetNbConstraints()))
	if err := c.Header.check(); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(c.statePath()); !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("ceremony: %s: %w", c.statePath(), errors.Join(err, os.ErrExist))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("ceremony: %w", err)
	}
	if p.Powers != "" {
		if err := c.startFrom(p.Powers, system); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(c.statePath(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
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

// Contribute adds fresh randomness to the phase that is under way, and forgets it. Errors: ErrName;
// ErrPhase when the ceremony is over; ErrLate when the phase's round is published by now, since who
// knows its value could choose a contribution by it; ErrTranscript when the contribution before
// cannot be read. Whether that one is sound only Verify tells.
func (c *Ceremony) Contribute(name string, now time.Time) (Contribution, error) {
	entry := Contribution{Phase: c.Phase(), Name: name}
	switch {
	case !validName(name):
		return Contribution{}, fmt.Errorf("%w: %q", ErrName, name)
	case entry.Phase > 2:
		return Contribution{}, fmt.Errorf("%w: the ceremony is over", ErrPhase)
	}
	if end := c.Round(entry.Phase); !now.Before(end.Time()) {
		return Contribution{}, fmt.Errorf("%w: round %d, which ends phase %d, was published at %s",
			ErrLate, end, entry.Phase, moment(end.Time()))
	}
	n := len(c.To(entry.Phase))
	var made interface {
		io.WriterTo
		io.ReaderFrom
		Contribute()
	} = new(mpcsetup.Phase2)
	if entry.Phase == 1 {
		if _, err := c.system(); err != nil {
			return Contribution{}, err
		}
		made = c.startOfPowers()
	}
	if entry.Phase == 2 || n > 0 {
		if err := c.read(entry.Phase, n, made); err != nil {
			return Contribution{}, err
		}
	}
	made.Contribute()
	var err error
	if entry.SHA256, err = c.write(c.path(entry.Phase, n+1), made); err != nil {
		return Contribution{}, err
	}
	c.Contributions = append(c.Contributions, entry)
	return entry, c.save()
}

// startOfPowers is what phase 1 begins with. The first contribution's challenge is the hash of
// this, so that all proofs of the phase are about the header.
func (c *Ceremony) startOfPowers() *mpcsetup.Phase1 {
	p, digest := mpcsetup.NewPhase1(c.Domain), c.Digest()
	p.Challenge = digest[:]
	return p
}

// startOfKeys is what phase 2 begins with. It names the header, as phase 1 does.
func (c *Ceremony) startOfKeys(system *cs.R1CS, powers *mpcsetup.SrsCommons) (
	*mpcsetup.Phase2, mpcsetup.Phase2Evaluations) {
	p, digest := new(mpcsetup.Phase2), c.Digest()
	evaluations := p.Initialize(system, powers)
	p.Challenge = digest[:]
	return p, evaluations
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

// Seal ends the phase that is under way with the round that was named for it, after verifying round
// and transcript. After phase 1 it prepares phase 2; after phase 2 it writes the keys into a
// directory and returns them. They are for development if fewer than keys.MinContributors people
// took part. Errors: ErrPhase when nobody has contributed to the phase or the ceremony is over,
// ErrBeacon, ErrTranscript.
func (c *Ceremony) Seal(v quicknet.Beacon, keysDir string) (*keys.Pair, error) {
	phase := c.Phase()
	switch {
	case phase > 2:
		return nil, fmt.Errorf("%w: the ceremony is over", ErrPhase)
	case len(c.To(phase)) == 0:
		return nil, fmt.Errorf("%w: nobody has contributed to phase %d", ErrPhase, phase)
	}
	sealed := *c
	sealed.Beacons = append(append([]quicknet.Beacon(nil), c.Beacons...), v)
	if err := sealed.checkBeacon(phase); err != nil {
		return nil, err
	}
	r, err := sealed.replay(true)
	if err != nil {
		return nil, err
	}
	if phase == 1 {
		if _, err := c.write(c.path(2, 0), r.start); err != nil {
			return nil, err
		}
		*c = sealed
		return nil, c.save()
	}
	n := c.Contributors()
	pair, err := keys.Save(keysDir, keys.Info{Statements: c.Statements, Circuit: c.Circuit,
		Contributors: n, Development: n < keys.MinContributors}, r.system, r.proving, r.verifying)
	if err != nil {
		return nil, err
	}
	sealed.Key = pair.Key.String()
	*c = sealed
	return &pair, c.save()
}

// checkBeacon verifies the value that a phase ended with: ErrBeacon.
func (c *Ceremony) checkBeacon(phase int) error {
	v, _ := c.Beacon(phase)
	if want := c.Round(phase); v.Round != want {
		return fmt.Errorf("%w: round %d, where phase %d ends with %d, published at %s", ErrBeacon,
			v.Round, phase, want, moment(want.Time()))
	}
	if err := v.Verify(); err != nil {
		return fmt.Errorf("%w: %w", ErrBeacon, err)
	}
	return nil
}

// Verify replays the whole transcript: every contribution builds on the one before and is known to
// its contributor, the phases ended with the rounds that the header names, and a sealed key is what
// follows. The error is ErrTranscript.
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

// moment is a time for people.
func moment(t time.Time) string { return t.Format(time.DateTime) + " UTC" }

func (c *Ceremony) statePath() string { return filepath.Join(c.dir, stateFile) }

func (c *Ceremony) path(phase, n int) string {
	return filepath.Join(c.dir, fmt.Sprintf("phase%d-%03d", phase, n))
}
