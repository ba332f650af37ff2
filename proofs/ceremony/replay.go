package ceremony

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/consensys/gnark/backend/groth16"
	"github.com/consensys/gnark/backend/groth16/bn254/mpcsetup"
	cs "github.com/consensys/gnark/constraint/bn254"
)

// replayed is what a transcript leads to.
type replayed struct {
	system    *cs.R1CS
	start     *mpcsetup.Phase2 // of phase 2, once phase 1 is over
	proving   groth16.ProvingKey
	verifying groth16.VerifyingKey // once phase 2 is over
}

// replay verifies the transcript as far as it goes. It holds two contributions at a time. While phase 1 is being sealed, the file
// with which phase 2 starts is not there yet.
func (c *Ceremony) replay(sealing bool) (r replayed, err error) {
	if r.system, err = c.system(); err != nil {
		return r, err
	}
	powers, err := c.replayPowers()
	if err != nil || powers == nil {
		return r, err
	}
	r.start = new(mpcsetup.Phase2)
	evaluations := r.start.Initialize(r.system, powers)
	last := r.start
	if !sealing || c.Phase() > 2 {
		stored := new(mpcsetup.Phase2)
		if err := c.read(2, 0, stored); err != nil {
			return r, err
		}
		same, err := equal(stored, r.start)
		if err != nil {
			return r, err
		}
		if !same {
			return r, fmt.Errorf("%w: phase 2 does not begin with what phase 1 and the circuit lead to", ErrTranscript)
		}
	}
	for n := range c.of(2) {
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

// replayPowers verifies phase 1 and returns the sealed powers, nil if the phase is not over.
func (c *Ceremony) replayPowers() (*mpcsetup.SrsCommons, error) {
	last := mpcsetup.NewPhase1(c.Domain)
	for n := range c.of(1) {
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

func (c *Ceremony) beacon(phase int) ([]byte, error) {
	b, err := hex.DecodeString(c.Beacons[phase-1])
	if err != nil || len(b) < minBeacon {
		return nil, fmt.Errorf("%w: the beacon of phase %d is %q", ErrTranscript, phase, c.Beacons[phase-1])
	}
	if len(c.of(phase)) == 0 {
		return nil, fmt.Errorf("%w: phase %d ended without a contribution", ErrTranscript, phase)
	}
	return b, nil
}

func (c *Ceremony) broken(phase, n int, err error) error {
	return fmt.Errorf("%w: contribution %d to phase %d: %w", ErrTranscript, n, phase, err)
}

// like compares the sizes that gnark's verification takes for granted.
func like(a, b *mpcsetup.Phase2) error {
	if len(a.Parameters.G1.SigmaCKK) != len(b.Parameters.G1.SigmaCKK) || len(a.Sigmas) != len(b.Sigmas) {
		return errors.New("it has another number of commitments")
	}
	for i := range a.Parameters.G1.SigmaCKK {
		if len(a.Parameters.G1.SigmaCKK[i]) != len(b.Parameters.G1.SigmaCKK[i]) {
			return errors.New("its commitment is of another size")
		}
	}
	return nil
}
