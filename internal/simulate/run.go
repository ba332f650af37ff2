package main

import (
	"math/rand/v2"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// result is what came of a scenario. Shares are of the seats.
type result struct {
	scenario
	epochs      int
	shares      []float64 // of the adversary, by epoch
	online      []float64 // by epoch: the power that votes
	third       int       // epochs in which the adversary has a third at least
	beyond      int       // and more than two thirds
	firstBeyond int
	leastOnline float64
	mostMoved   int
	skipped     int // epochs without a rotation
}

func (r *result) mean() (mean float64) {
	for _, s := range r.shares {
		mean += s / float64(len(r.shares))
	}
	return mean
}

func (r *result) frequency(n int) float64 { return float64(n) / float64(r.epochs) }

// world is a network in one scenario.
type world struct {
	scenario
	rand  *rand.Rand
	seed  uint64
	bad   []bool  // the adversary's nodes
	front []bool  // nodes that never vote
	jail  []int   // by node: the epoch in which it may be drawn again
	away  [][]int // by node: the epochs in which it was absent, as far as they count
	seats rotation.Seats
}

const nodeStake = 1_000_000_000

func newWorld(s scenario, seed uint64) *world {
	w := &world{scenario: s, seed: seed, rand: rand.New(rand.NewPCG(seed, 99)),
		bad: make([]bool, nodeCount), front: make([]bool, nodeCount),
		jail: make([]int, nodeCount), away: make([][]int, nodeCount)}
	order := w.rand.Perm(nodeCount)
	for i, node := range order {
		w.bad[node] = float64(i) < s.Share*nodeCount
		w.front[node] = !w.bad[node] && w.rand.Float64() < s.Front
	}
	first, err := rotation.First(w.candidates(0, nil), w.draw(0, 0), s.Seats)
	if err != nil {
		panic(err)
	}
	w.seats = first
	return w
}

// draw returns the seed of an epoch, or one that the adversary has beside it.
func (w *world) draw(epoch, try int) rollup.Hash {
	b := make([]byte, 0, 24)
	for _, v := range [...]uint64{w.seed, uint64(epoch), uint64(try)} {
		for i := range 8 {
			b = append(b, byte(v>>(8*i)))
		}
	}
	return blake3.Sum256(b)
}

func (w *world) candidates(epoch int, off map[uint32]bool) *rotation.Candidates {
	list := make([]rotation.Candidate, 0, nodeCount)
	for node := range uint32(nodeCount) {
		if !off[node] && w.jail[node] <= epoch {
			list = append(list, rotation.Candidate{Node: node, Weight: nodeStake})
		}
	}
	c, err := rotation.NewCandidates(list)
	if err != nil {
		panic(err)
	}
	return c
}

func (s scenario) run(epochs int, seed uint64) *result {
	w, r := newWorld(s, seed), &result{scenario: s, epochs: epochs, leastOnline: 1}
	for epoch := range epochs {
		off := w.offline()
		moved, ok := w.rotate(epoch, off)
		if !ok {
			r.skipped++
		}
		r.mostMoved = max(r.mostMoved, moved)
		r.note(epoch, w)
		if s.Front > 0 {
			w.punish(epoch)
		}
	}
	return r
}

// offline returns the nodes that nobody finds healthy in this epoch.
func (w *world) offline() map[uint32]bool {
	off := map[uint32]bool{}
	if w.Fail > 0 {
		for node := range uint32(nodeCount) {
			if w.rand.Float64() < w.Fail {
				off[node] = true
			}
		}
	}
	if w.Cut > 0 {
		members := w.seats.Members()
		w.rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		for _, m := range members {
			if len(off) < w.Cut && !w.bad[m] {
				off[m] = true
			}
		}
	}
	return off
}

// rotate gives the seats anew, with the seed that is best for the adversary.
func (w *world) rotate(epoch int, off map[uint32]bool) (moved int, ok bool) {
	c := w.candidates(epoch, off)
	var best rotation.Seats
	most := -1
	for try := range 1 + w.Redraws {
		drawn, err := w.seats.DrawAll(c, w.draw(epoch+1, try), uint32(epoch), termEpochs)
		if err != nil {
			panic(err)
		}
		if w.Rule == vacatedFirst {
			drawn = reordered(drawn)
		}
		next, n, err := w.seats.Next(drawn, w.nodes(drawn, off))
		if err != nil {
			continue
		}
		if has := w.held(next); has > most {
			best, most, moved = next, has, n
		}
	}
	if best == nil {
		return 0, false
	}
	if w.Rule == stayForEver {
		for i := range best {
			best[i].Mark = min(best[i].Mark, rotation.MarkDue)
		}
	}
	w.seats = best
	return moved, true
}

func reordered(drawn []rotation.Drawn) (all []rotation.Drawn) {
	for _, due := range [...]bool{false, true} {
		for _, d := range drawn {
			if d.Due == due {
				all = append(all, d)
			}
		}
	}
	return all
}

// ready is who says that it is ready, after the adversary silenced some.
type ready struct {
	silent map[uint32]bool
	all    bool
}

func (r ready) Ready(node uint32) bool { return r.all || !r.silent[node] }
func (r ready) Gone(uint32) bool       { return false }

// nodes silences honest winners: first those that would take a seat from the adversary.
func (w *world) nodes(drawn []rotation.Drawn, off map[uint32]bool) ready {
	r := ready{silent: map[uint32]bool{}, all: w.Rule == moveAtOnce}
	for _, adversarys := range [...]bool{true, false} {
		for _, d := range drawn {
			holder := w.seats[d.Seat].Holder
			takes := holder != rotation.NoHolder && w.bad[holder]
			if takes == adversarys && len(r.silent) < w.Silence && !w.bad[d.Winner] {
				r.silent[d.Winner] = true
			}
		}
	}
	for node := range off {
		r.silent[node] = true
	}
	return r
}

func (w *world) held(seats rotation.Seats) (held int) {
	for _, s := range seats {
		if s.Holder != rotation.NoHolder && w.bad[s.Holder] {
			held++
		}
	}
	return held
}

// votes is the share of the power that is online, in the epoch after a rotation.
func (w *world) votes() float64 {
	voting, all := 0, 0
	for _, s := range w.seats {
		if s.Holder == rotation.NoHolder {
			continue
		}
		all++
		if !w.front[s.Holder] && !(w.Fail > 0 && w.rand.Float64() < w.Fail) {
			voting++
		}
	}
	return float64(voting) / float64(all)
}

func (r *result) note(epoch int, w *world) {
	share, online := float64(w.held(w.seats))/float64(w.Seats), w.votes()
	r.shares, r.online = append(r.shares, share), append(r.online, online)
	r.leastOnline = min(r.leastOnline, online)
	if 3*w.held(w.seats) >= w.Seats {
		r.third++
	}
	if 3*w.held(w.seats) > 2*w.Seats {
		if r.beyond == 0 {
			r.firstBeyond = epoch
		}
		r.beyond++
	}
}

// The common constants of a genesis file.
const (
	jailAbsent     = 2
	evidenceEpochs = 168
)

// punish jails members that did not vote for an epoch, by the rule and the common constants of
// docs/rotation.md; the owner takes them out at once.
func (w *world) punish(epoch int) {
	for _, m := range w.seats.Members() {
		if !w.front[m] || w.jail[m] > epoch {
			continue
		}
		w.away[m] = slices.DeleteFunc(w.away[m],
			func(e int) bool { return e+evidenceEpochs < epoch })
		w.jail[m] = epoch + 1 + min(jailAbsent<<len(w.away[m]), evidenceEpochs)
		w.away[m] = append(w.away[m], epoch)
	}
}
