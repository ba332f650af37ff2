package virtual

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// Kind is what befalls a world.
type Kind uint8

// The kinds.
const (
	Kill      Kind = iota // processes end, and are started again after a while
	PowerCut              // machines lose their power, and what was not synced
	Within                // as the two above, in the middle of a write to the store
	Restart               // operators stop nodes and start them again
	Partition             // machines are cut off from the others, and not from each other
	Deaf                  // machines hear nobody, and are heard
	Dumb                  // machines hear, and nobody hears them
	Newcomers             // who has more seats in the next committee is cut off
	Loss                  // segments are lost, between all
	Slow                  // all is far from each other
	Reset                 // connections of machines are reset, again and again
	kinds_
)

var kindNames = [kinds_]string{"kill", "power cut", "down within a write", "restart",
	"partition", "deaf", "dumb", "newcomers cut off", "loss", "slow", "reset"}

func (k Kind) String() string { return kindNames[k] }

// Moment is when something happens: so long after the chain is seen in a phase of the rotation of
// an epoch, or later. Every epoch begins with ledger.PhaseIdle or what is left of the one before.
type Moment struct {
	Epoch uint32
	Phase ledger.Phase
	After time.Duration
}

// Fault is what befalls machines at a moment, for a while.
type Fault struct {
	Moment
	Kind     Kind
	Machines []int // none: all
	For      time.Duration
	Share    float64 // of Loss
	Kept     int     // percent of what was not synced, of PowerCut and Within
	Power    bool    // of Within: machines lose their power, too
	Write    int     // of Within: at which write or sync from the moment on
}

func (f *Fault) String() string {
	who := "all"
	if len(f.Machines) > 0 {
		who = strings.Trim(fmt.Sprint(f.Machines), "[]")
	}
	s := fmt.Sprintf("epoch %d, %v +%v: %v, %s, for %v", f.Epoch, f.Phase,
		f.After.Round(time.Millisecond), f.Kind, who, f.For.Round(time.Millisecond))
	switch f.Kind {
	case PowerCut:
		s += fmt.Sprintf(", %d %% kept", f.Kept)
	case Within:
		s += fmt.Sprintf(", at write %d, power %v, %d %% kept", f.Write, f.Power, f.Kept)
	case Loss:
		s += fmt.Sprintf(" of %.0f %%", 100*f.Share)
	}
	return s
}

// hurts reports whether a machine may be late because of a fault: those that it befalls, and all
// when it befalls so many that a committee may have no quorum, or the network as a whole.
func (f *Fault) hurts(machine, machines int) bool {
	return len(f.Machines) == 0 || 4*len(f.Machines) >= machines ||
		slices.Contains(f.Machines, machine)
}

// Plan draws the faults of a seed for so many machines, in the epochs from first to last: most of
// them around hand-overs.
func Plan(seed uint64, machines int, first, last uint32, epoch time.Duration) []Fault {
	rng := rand.New(rand.NewPCG(seed, 2))
	var all []Fault
	for e := first; e <= last; e++ {
		for range 1 + rng.IntN(3) {
			all = append(all, draw(rng, machines, e, epoch))
		}
	}
	return all
}

// phases around which faults come; the last two enclose the block H from which on the next
// committee votes.
var phases = []ledger.Phase{ledger.PhaseIdle, ledger.PhaseReports, ledger.PhaseReveals,
	ledger.PhaseReady, ledger.PhaseHandOver, ledger.PhaseHandOver, ledger.PhaseCertified,
	ledger.PhaseCertified}

func draw(rng *rand.Rand, machines int, epoch uint32, length time.Duration) Fault {
	f := Fault{Moment: Moment{Epoch: epoch, Phase: phases[rng.IntN(len(phases))]},
		Kind: Kind(rng.IntN(int(kinds_)))}
	most := 3 * time.Second
	if f.Phase == ledger.PhaseIdle {
		most = length
	}
	f.After = time.Duration(rng.Int64N(int64(most)))
	f.For = 200*time.Millisecond + time.Duration(rng.Int64N(int64(length/2)))
	switch f.Kind {
	case Newcomers, Loss, Slow:
		f.Share = 0.05 + 0.25*rng.Float64()
	default:
		count := 1
		switch rng.IntN(5) {
		case 0:
			count = 1 + rng.IntN(machines)
		case 1:
			count = (machines + 2) / 3
		}
		f.Machines = rng.Perm(machines)[:count]
		slices.Sort(f.Machines)
	}
	if f.Power, f.Write = rng.IntN(2) == 0, 1+rng.IntN(100); rng.IntN(2) == 0 {
		f.Kept = rng.IntN(100)
	}
	return f
}
