package ceremony

import (
	"errors"
	"fmt"

	"github.com/consensys/gnark/backend/groth16"
	"github.com/consensys/gnark/backend/groth16/bn254/mpcsetup"
	cs "github.com/consensys/gnark/constraint/bn254"
)

// replayed is what a transcript leads to.
type replayed struct {
	system    *cs.R1CS
	start     *mpcsetup.Phase2 // of phase 2, once there are powers
	proving   groth16.ProvingKey
	verifying groth16.VerifyingKey // once phase 2 is over
}

// replay verifies the transcript as far as it goes. It holds two contributions at a time. While
// phase 1 is being sealed, the file with which phase 2 starts is not there yet.
func (c *Ceremony) replay(sealing bool) (r replayed, err error) {
	if r.system, err = c.system(); err != nil {
		return r, err
	}
	powers, err := c.replayPowers()
	if err != nil || powers == nil {
		return r, err
	}
	var evaluations mpcsetup.Phase2Evaluations
	r.start, evaluations = c.startOfKeys(r.system, powers)
	if !sealing || c.Phase() > 2 {
		if err := c.checkStart(r.start); err != nil {
			return r, err
		}
	}
	last := r.start
	for n := range c.To(2) {
		next := new(mpcsetup.Phase2)
		if err := c.read(2, n+1, next); err != nil {
			return r, err
		}
		if err := like(last, next); err != nil {
			return r, c.broken(2, n+1, err)
		}
		if err := last.Verify(next); err != nil {
			return r, c.broken(2, n+1, err)
		}
		last = next
	}
	if c.Phase() <= 2 {
		return r, nil
	}
	beacon, err := c.beacon(2)
	if err != nil {
		return r, err
	}
	r.proving, r.verifying = last.Seal(powers, &evaluations, beacon)
	return r, nil
}

// checkStart compares the file with which phase 2 starts with what it has to be.
func (c *Ceremony) checkStart(start *mpcsetup.Phase2) error {
	stored := new(mpcsetup.Phase2)
	if err := c.read(2, 0, stored); err != nil {
		return err
	}
	same, err := equal(stored, start)
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("%w: phase 2 does not begin with what powers, circuit and header lead to",
			ErrTranscript)
	}
	return nil
}

// replayPowers returns the powers of a public file, or verifies phase 1 and returns what it made,
// nil if it is not over.
func (c *Ceremony) replayPowers() (*mpcsetup.SrsCommons, error) {
	if c.Powers != nil {
		return c.readPowers()
	}
	last := c.startOfPowers()
	for n := range c.To(1) {
		next := new(mpcsetup.Phase1)
		if err := c.read(1, n+1, next); err != nil {
			return nil, err
		}
		if err := last.Verify(next); err != nil {
			return nil, c.broken(1, n+1, err)
		}
		last = next
	}
	if c.Phase() == 1 {
		return nil, nil
	}
	beacon, err := c.beacon(1)
	if err != nil {
		return nil, err
	}
	powers := last.Seal(beacon)
	return &powers, nil
}

// beacon returns the public value that a phase ended with: ErrTranscript.
func (c *Ceremony) beacon(phase int) ([]byte, error) {
	if err := c.checkBeacon(phase); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTranscript, err)
	}
	if len(c.To(phase)) == 0 {
		return nil, fmt.Errorf("%w: phase %d ended without a contribution", ErrTranscript, phase)
	}
	v, _ := c.Beacon(phase)
	value := v.Randomness()
	return value[:], nil
}

// like compares the sizes that gnark's verification takes for granted.
func like(a, b *mpcsetup.Phase2) error {
	if len(a.Parameters.G1.SigmaCKK) != len(b.Parameters.G1.SigmaCKK) ||
		len(a.Sigmas) != len(b.Sigmas) {
		return errors.New("it has another number of commitments")
	}
	for i := range a.Parameters.G1.SigmaCKK {
		if len(a.Parameters.G1.SigmaCKK[i]) != len(b.Parameters.G1.SigmaCKK[i]) {
			return errors.New("its commitment is of another size")
		}
	}
	return nil
}
