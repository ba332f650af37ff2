package ledger

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestRestoreRotatingRefuses damages what is stored of a rotation, in each of its phases: it is an
// error, or it shows in the state; it is never a panic.
func TestRestoreRotatingRefuses(t *testing.T) {
	c := newChain(t, rotatingGenesis())
	joined(c, 2, 100*StakePerPower)
	c.epoch(nobody)
	c.epoch(nobody)
	c.block(at(c.s.begin().time).Add(60 * time.Second).Sub(at(c.s.time)))
	rng := rand.New(rand.NewPCG(1, 7))
	members := nodesOf(c.s.elected())
	look := func(phase Phase) {
		t.Helper()
		if c.s.rotation.phase != phase {
			t.Fatalf("%s, not %s", c.s.rotation.phase, phase)
		}
		c.damage(rng)
	}
	for _, node := range members {
		c.block(0, func() []byte { return c.reportTx(node) })
	}
	look(PhaseReports)
	c.block(30 * time.Second)
	c.block(0, func() []byte { return c.revealTx(members[0]) })
	look(PhaseReveals)
	for _, node := range members[1:] {
		c.block(0, func() []byte { return c.revealTx(node) })
	}
	look(PhaseReady)
	c.block(18 * time.Second)
	look(PhaseHandOver)
	c.block(0, func() []byte { return c.handOverTx(members) })
	look(PhaseCertified)
}

// damage damages the records of a rotation one by one.
func (c *chain) damage(rng *rand.Rand) {
	c.t.Helper()
	restored := func(st storage) error {
		again, err := Restore(c.g, st.all())
		if err != nil && !errors.Is(err, ErrRecords) {
			c.t.Errorf("an error without ErrRecords: %v", err)
		}
		if err == nil && diff(dump(c.s), dump(again)) == "" {
			return nil
		}
		return errors.Join(err, ErrRecords)
	}
	if err := restored(c.stored); err != nil {
		c.t.Fatalf("undamaged: %v", err)
	}
	for _, k := range slices.Sorted(maps.Keys(c.stored)) {
		if !slices.Contains([]byte{prefixRotation, prefixTerm, prefixCandidates, prefixConsensusKey,
			prefixReports, prefixReport, prefixCandidacy}, k[0]) {
			continue
		}
		v := c.stored[k]
		damage := func(how string, value []byte) {
			st := maps.Clone(c.stored)
			if delete(st, k); value != nil {
				st[k] = value
			}
			if restored(st) == nil {
				c.t.Errorf("record %c%x %s: not noticed", k[0], k[1:], how)
			}
		}
		damage("lost", nil)
		damage("cut", v[:len(v)-1])
		damage("longer", append(slices.Clone(v), 0))
		for range 12 {
			flipped := slices.Clone(v)
			flipped[rng.IntN(len(v))] ^= 1 << rng.IntN(8)
			damage("flipped", flipped)
		}
	}
}
