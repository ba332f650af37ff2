package circuit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/waybill-network/waybill/kernels/poseidon2"
	"github.com/waybill-network/waybill/proofs/internal/lying"
	"github.com/waybill-network/waybill/rollup"
)

// constraints stands in for proofs: it accepts a public input when the wires of the claim that a
// proof names satisfy the constraints with it.
type constraints struct {
	t      testing.TB
	claims []lying.Claim
	known  map[string]error
	solved int
}

func (c *constraints) VerifyProof(size int, public [32]byte, proof *[rollup.ProofSize]byte) error {
	name := fmt.Sprint(proof[0], public)
	if err, known := c.known[name]; known {
		return err
	}
	claim := c.claims[proof[0]]
	e, err := poseidon2.ParseElement(public[:])
	if err != nil {
		return err
	}
	claim.Segment.Public = e
	shape, err := ShapeOf(size)
	if err != nil {
		return err
	}
	c.solved++
	err = satisfied(c.t, shape, shape.assign(&claim.Segment, claim.Statements))
	if c.known == nil {
		c.known = map[string]error{}
	}
	c.known[name] = err
	return err
}

var choices = []lying.Choice{{}, {Under: true}, {Caps: true}, {Under: true, Caps: true}}

// third is the verdict of rung 3: one of the choices is accepted, or the reason against the first.
func third(t testing.TB, w *lying.Window, h *rollup.Header, second *rollup.Evidence) (first error) {
	for i, choice := range choices {
		if choice.Under && w.Under == nil {
			continue
		}
		ev, claims := w.Prove(h, second, lying.Cut, choice)
		err := w.Verify(h, ev, &constraints{t: t, claims: claims})
		if err == nil {
			return nil
		}
		if i == 0 {
			first = err
		}
		if !errors.Is(err, rollup.ErrProof) {
			break // what everybody sees is the same whatever the liar chooses
		}
	}
	return first
}

// TestLyingWindows tells lies of every kind about windows of every shape and demands one verdict of
// both rungs, each with its reason. WAYBILL_LIES says how many.
func TestLyingWindows(t *testing.T) {
	rng := seeded(t)
	lies := append(append(lying.Truths(), lying.Lies()...), lying.Hidden()...)
	n := count(t, "WAYBILL_LIES", len(lies))
	told := map[string]int{}
	accepted := 0
	for i := range n {
		lie := lies[i%len(lies)]
		w := tell(rng, lie)
		if w == nil {
			t.Fatalf("%s: no window has what it needs", lie.Name)
		}
		h, second := w.Show()
		for rung, c := range []struct{ got, want error }{
			{w.Verify(h, second, nil), lie.Second},
			{third(t, w, h, second), lie.Third},
		} {
			if !errors.Is(c.got, c.want) || (c.got == nil) != (c.want == nil) {
				t.Errorf("%s, of %d statements, on rung %d: %v, not %v", lie.Name, len(w.Statements), rung+2,
					c.got, c.want)
			}
		}
		told[lie.Name]++
		if lie.Second == nil {
			accepted++
		}
	}
	t.Logf("%d windows, %d of them valid; %d kinds", n, accepted, len(told))
}

// count is how many of something an environment variable names.
func count(t *testing.T, variable string, otherwise int) int {
	more := os.Getenv(variable)
	if more == "" {
		return otherwise
	}
	n, err := strconv.Atoi(more)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// tell finds a window that the lie can be told of. One in three has statements beyond a cut.
func tell(rng *rand.Rand, lie lying.Lie) *lying.Window {
	for range 2000 {
		n := 1 + rng.IntN(20)
		if rng.IntN(3) == 0 {
			n = lying.Cut + 1 + rng.IntN(20)
		}
		if w := lying.Honest(rng, n); lie.Tell(w, rng) {
			return w
		}
	}
	return nil
}
