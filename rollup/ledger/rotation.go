package ledger

import (
	"errors"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

//go:generate go tool stringer -type=Skip,Phase -linecomment -output=rotation_string.go

// How the committee of a network rotates: package rotation has the rules, docs/rotation.md the
// bytes, and this file when what happens.

// Rotation are the constants of a network whose committee rotates.
type Rotation struct {
	Seats      uint16 `json:"seats"`       // rotation.MinSeats to rotation.MaxSeats
	TermEpochs uint16 `json:"term_epochs"` // after how many epochs a seat is drawn anew
	MinStake   uint64 `json:"min_stake"`   // micro-credits, the least stake of who stands
	StakeCap   uint64 `json:"stake_cap"`   // micro-credits, the most that counts of a stake
	// JailWithhold is for who announced a reveal and did not make it, in epochs
	JailWithhold  uint32 `json:"jail_withhold"`
	SlashWithhold uint16 `json:"slash_withhold"` // and basis points of its stake
	// JailAbsent is for who hardly voted in an epoch, in epochs; it doubles with each time before
	// that lies within EvidenceEpochs
	JailAbsent uint32 `json:"jail_absent"`
	// EvidenceEpochs is for how many epochs after its last one a committee's words convict, and the
	// most that an absence jails for
	EvidenceEpochs uint32 `json:"evidence_epochs"`
	// EvidenceSeconds and EvidenceBlocks are how old evidence can be that the consensus engine takes:
	// it is too old by both
	EvidenceSeconds uint32 `json:"evidence_seconds"`
	EvidenceBlocks  uint32 `json:"evidence_blocks"`
	// Reward is what the committee gets of the protocol's part of a settlement, in basis points
	Reward uint16 `json:"reward"`
}

// DefaultRotation returns the constants that genesis files get unless told otherwise.
func DefaultRotation(seats uint16) *Rotation {
	least := uint16(rotation.MinTermEpochs)
	if seats >= rotation.MinSeats {
		least = LeastTermEpochs(seats)
	}
	return &Rotation{Seats: seats, TermEpochs: least, MinStake: 100_000_000,
		StakeCap: 1_000_000_000_000, JailWithhold: 720, SlashWithhold: 100, JailAbsent: 2,
		EvidenceEpochs: 168, EvidenceSeconds: 24 * 60 * 60, EvidenceBlocks: 50_000, Reward: 5_000}
}

// Rounds of a beacon, and how long each is: in seconds and, in blocks, as many as there are seats.
const (
	MaxRounds    = 4
	RoundSeconds = 15
)

// maxEvidenceEpochs bounds how often a node can be absent before that is forgotten.
const maxEvidenceEpochs = 1 << 16

// Phase is what a rotation waits for.
type Phase uint8

// The phases.
const (
	PhaseIdle      Phase = iota // idle
	PhaseReports                // reports
	PhaseReveals                // reveals
	PhaseReady                  // ready
	PhaseHandOver               // hand_over
	PhaseCertified              // certified
)

// Skip is why the seats of an epoch stay as they are.
type Skip uint8

// The reasons.
const (
	SkipFewReports    Skip = iota + 1 // few_reports
	SkipFewCandidates                 // few_candidates
	SkipBeacon                        // beacon_failed
	SkipFewMembers                    // few_members
	SkipThird                         // a_third
	SkipLate                          // late
	SkipUncertified                   // not_certified
)

// rotating is where the rotation of an epoch stands. It is immutable: State.rotate replaces it.
type rotating struct {
	seats rotation.Seats  // of the last term
	past  *rotation.Terms // up to the last one
	seed  rollup.Hash     // the last one

	epoch      uint32 // that it is about
	phase      Phase
	list       []rotation.Candidate
	candidates *rotation.Candidates // list
	reports    *reports             // of this epoch, until its seed is known
	audited    *reports             // of the last one that had a seed, until the next are counted
	round      uint8
	opened     start         // the round
	announced  rollup.Bitmap // S
	reveals    []*BLSSignature
	drawn      []rotation.Drawn
	asked      []uint32 // who won and holds no seat, ascending
	ready      []uint32 // of them, ascending
	next       rotation.Seats
	certified  *HandOver
}

// beginRotation draws the seats of term 0 among the members of the genesis, which stand from the
// beginning. The error is a *GenesisError.
func (s *State) beginRotation(g *Genesis) error {
	seats, seed, err := g.firstSeats(s.terms[0].committee)
	if err != nil {
		return wrong("committee", "%w", err)
	}
	for i := range g.Members {
		m := &g.Members[i]
		s.nodes.edit(s.gen, uint32(i)).candidacy = &candidacy{key: s.addConsensusKey(m.ConsensusKey,
			uint32(i)), address: m.P2PAddress}
	}
	s.rotation = &rotating{seats: seats, past: new(rotation.Terms), seed: seed}
	s.terms = terms{{committee: s.seated(seats, 0)}}
	s.rotation.past.Add(s.terms[0].committee.Root())
	return nil
}

// validate checks the ranges. Evidence of the engine's must find the stake that it takes from.
func (r *Rotation) validate(epoch, unbond uint32) error {
	switch {
	case r == nil:
		return nil
	case r.Seats < rotation.MinSeats || r.Seats > rotation.MaxSeats:
		return wrong("params.rotation.seats", "%d, where %d to %d may be", r.Seats, rotation.MinSeats,
			rotation.MaxSeats)
	case r.TermEpochs < rotation.MinTermEpochs:
		return wrong("params.rotation.term_epochs", "%d, less than %d", r.TermEpochs,
			rotation.MinTermEpochs)
	case r.TermEpochs < LeastTermEpochs(r.Seats):
		return wrong("params.rotation.term_epochs", "%d, where %d seats need %d: in an epoch no more of "+
			"them can come due than the %d that may move, or some never have their turn", r.TermEpochs,
			r.Seats, LeastTermEpochs(r.Seats), make(rotation.Seats, r.Seats).MaxMoves())
	case epoch < LeastRotating:
		return wrong("params.epoch_seconds", "%d, where a committee that rotates needs %d: three of %d "+
			"blocks belong into the last fifth of an epoch", epoch, LeastRotating, LeastBlocks)
	case r.MinStake == 0 || r.StakeCap < r.MinStake:
		return wrong("params.rotation.min_stake", "%d, with a cap of %d", r.MinStake, r.StakeCap)
	case r.SlashWithhold > 10_000:
		return wrong("params.rotation.slash_withhold", "%d, more than 10000", r.SlashWithhold)
	case r.JailAbsent == 0:
		return wrong("params.rotation.jail_absent", "zero")
	case r.EvidenceEpochs == 0 || r.EvidenceEpochs > maxEvidenceEpochs:
		return wrong("params.rotation.evidence_epochs", "%d, where 1 to %d may be", r.EvidenceEpochs,
			maxEvidenceEpochs)
	case r.EvidenceSeconds == 0 || r.EvidenceSeconds > unbond:
		return wrong("params.rotation.evidence_seconds", "%d, where 1 to params.unbond_seconds may be",
			r.EvidenceSeconds)
	case r.EvidenceBlocks == 0:
		return wrong("params.rotation.evidence_blocks", "zero")
	case r.Reward > 10_000:
		return wrong("params.rotation.reward", "%d, more than 10000", r.Reward)
	}
	return nil
}

// seated returns the committee that holds seats.
func (w *world) seated(seats rotation.Seats, number uint32) *rollup.Committee {
	members, powers := seats.Members(), seats.Powers()
	c := &rollup.Committee{Term: number, Members: make([]rollup.Member, len(members))}
	before := w.terms[len(w.terms)-1].committee
	for i, node := range members {
		m, known := before.Member(node)
		if !known {
			key, err := bls.ParsePublicKey(w.nodes.at(node).key[:])
			if err != nil {
				panic(fmt.Sprintf("ledger: node %d is registered without a key: %v", node, err))
			}
			m.Key = key
		}
		c.Members[i] = rollup.Member{Node: node, Power: uint64(powers[i]), Key: m.Key}
	}
	return c
}

// elected returns the committee of the last term: that in office, or that of two blocks later.
func (w *world) elected() *rollup.Committee { return w.terms[len(w.terms)-1].committee }

// rotate replaces what the rotation is at. The change must not touch what slices hold.
func (s *State) rotate(change func(*rotating)) {
	r := *s.rotation
	change(&r)
	s.rotation = &r
	s.touch(key(prefixRotation))
}

// turn does what the clock asks for at the begin of a block, which began an epoch or did not.
func (s *State) turn(began bool) {
	r := s.rotation
	if r == nil {
		return
	}
	passed, length := s.time-s.begin().time, seconds(s.params.EpochSeconds)
	late := passed >= length/10*8
	switch {
	case began && r.phase == PhaseHandOver: // it is handed over when it is certified
		s.events = append(s.events, RotationSkipped{s.epoch(), SkipUncertified})
	case began:
		if r.phase == PhaseCertified {
			s.handOver(s.epoch())
		} else if r.phase != PhaseIdle {
			s.skip(SkipLate)
		}
		s.openReports()
	case r.phase == PhaseReports && passed >= length/2:
		s.closeReports()
	case r.phase == PhaseReveals && late:
		s.skip(SkipLate)
	case r.phase == PhaseReveals && s.roundIsOver():
		s.nextRound()
	case r.phase == PhaseReady && late:
		s.fixSeats()
	}
}

// skip leaves the seats of the epoch as they are.
func (s *State) skip(why Skip) {
	epoch := s.rotation.epoch
	s.forgetReports()
	if s.rotation.phase == PhaseReports { // without a seed, the next epoch audits nothing
		s.forgetAudited()
	}
	s.rotate((*rotating).idle)
	s.setCandidates(nil)
	s.events = append(s.events, RotationSkipped{epoch, why})
}

// openReports begins the rotation of the epoch that begins.
func (s *State) openReports() {
	var list []rotation.Candidate
	for i := range s.nodes.size() {
		if weight := s.weight(i); weight > 0 {
			list = append(list, rotation.Candidate{Node: i, Weight: weight})
		}
	}
	s.rotate((*rotating).idle)
	s.rotate(func(r *rotating) { r.epoch, r.phase = s.epoch(), PhaseReports })
	s.setCandidates(list)
	s.beginReports()
}

// idle leaves of a rotation what the next one begins with.
func (r *rotating) idle() {
	*r = rotating{seats: r.seats, past: r.past, seed: r.seed, audited: r.audited}
}

// weight returns what a node weighs in a draw, 0 when it is no candidate.
func (w *world) weight(node uint32) uint64 {
	n := w.nodes.at(node)
	c := n.candidacy
	if c == nil || c.jailed > 0 || n.gone() || n.stake < w.params.Rotation.MinStake {
		return 0
	}
	return min(n.stake, w.params.Rotation.StakeCap)
}

// gone reports whether a node gets and keeps no seat.
func (n *node) gone() bool { return n.until != Forever || len(n.convictions) > 0 }

// setCandidates replaces the candidates. Their weights add up to no more than the supply.
func (s *State) setCandidates(list []rotation.Candidate) {
	candidates, err := rotation.NewCandidates(list)
	if err != nil {
		panic(fmt.Sprintf("ledger: block %d: candidates: %v", s.height, err))
	}
	s.rotate(func(r *rotating) { r.list, r.candidates = list, candidates })
	s.touch(key(prefixCandidates))
}

// closeReports fixes who is healthy, what they weigh, and who announced to reveal.
func (s *State) closeReports() {
	r := s.rotation
	for _, m := range s.elected().Members {
		s.note(m.Node, rollup.DutyAsked)
	}
	announced, tally := rollup.NewBitmap(len(s.elected().Members)), rotation.NewTally(len(r.list))
	for i := range r.reports.list {
		report := &r.reports.list[i]
		announced.Set(int(report.position))
		s.note(report.node, rollup.DutyReported)
		tally.Add(r.reports.verdicts(report), int(report.seats), r.reports.say(report))
	}
	if 2*s.elected().Power(announced) < s.elected().TotalPower() {
		s.skip(SkipFewReports)
		return
	}
	var healthy []rotation.Candidate
	for i, c := range r.list {
		if weight := s.weight(c.Node); weight > 0 && tally.Healthy(i) {
			healthy = append(healthy, rotation.Candidate{Node: c.Node, Weight: weight})
		}
	}
	s.setCandidates(healthy)
	if s.rotation.candidates.Weight() < rotation.MinWeight {
		s.skip(SkipFewCandidates)
		return
	}
	s.forgetAudited()
	s.openRound(0, announced)
}

func (s *State) openRound(round uint8, announced rollup.Bitmap) {
	s.rotate(func(r *rotating) {
		r.phase, r.round, r.announced = PhaseReveals, round, announced
		r.opened = start{s.time, s.height}
		r.reveals = make([]*BLSSignature, len(s.elected().Members))
	})
}

// roundIsOver reports whether who has not revealed had its time.
func (s *State) roundIsOver() bool {
	opened := s.rotation.opened
	return s.height >= opened.height+int64(s.params.Rotation.Seats) &&
		s.time >= opened.time+seconds(RoundSeconds)
}

// nextRound punishes who withheld, and begins again without them.
func (s *State) nextRound() {
	r, members := s.rotation, s.elected().Members
	announced := rollup.NewBitmap(len(members))
	for i, m := range members {
		switch {
		case !r.announced.Has(i):
		case r.reveals[i] != nil:
			announced.Set(i)
		default:
			s.punish(m.Node)
		}
	}
	if r.round+1 == MaxRounds || 3*s.elected().Power(announced) <= s.elected().TotalPower() {
		s.skip(SkipBeacon)
		return
	}
	s.openRound(r.round+1, announced)
}

// punish takes from the stake of a member that announced to reveal and did not, and bars it from
// the seats. Nobody gains by a redraw what that costs.
func (s *State) punish(index uint32) {
	p := s.params.Rotation
	taken := share(s.nodes.at(index).atStake(), p.SlashWithhold)
	s.changeStake(index, func(n *node) {
		n.slash(taken)
		if n.candidacy != nil {
			c := *n.candidacy
			c.jailed = max(c.jailed, s.epoch()+p.JailWithhold)
			n.candidacy = &c
		}
	})
	s.pay(0, taken)
	s.note(index, rollup.DutyWithheld)
	s.touch(indexKey(prefixCandidacy, index))
	s.events = append(s.events, Withheld{Node: index, Taken: taken})
}

// reveal notes a reveal, and draws when it is the last one.
func (s *State) reveal(position int, signature *BLSSignature) {
	s.rotate(func(r *rotating) {
		r.reveals = slices.Clone(r.reveals)
		r.reveals[position] = signature
	})
	var sum bls.Sum
	for _, i := range s.rotation.announced.Positions() {
		signature := s.rotation.reveals[i]
		if signature == nil {
			return
		}
		point, err := bls.ParseSignature(signature[:])
		if err != nil {
			panic(fmt.Sprintf("ledger: a reveal that verified: %v", err))
		}
		sum.Add(&point)
	}
	total := sum.Signature()
	encoded := total.Bytes()
	r := s.rotation
	shown := &rotation.Evidence{Round: r.round, Previous: r.seed, Announced: r.announced, Sum: encoded,
		Candidates: r.list}
	s.rotate(func(r *rotating) {
		r.seed, r.phase, r.reveals = rotation.Seed(&encoded), PhaseReady, nil
		r.reports, r.audited = nil, r.reports
		r.draw(s.params.Rotation)
	})
	s.events = append(s.events, SeatsDrawn{s.rotation.epoch, s.rotation.seed,
		s.rotation.asked, shown})
}

// draw draws the seats that the seed decides about. The candidates weigh enough.
func (r *rotating) draw(p *Rotation) {
	r.drawn, _ = r.seats.DrawAll(r.candidates, r.seed, r.epoch, int(p.TermEpochs))
	r.asked = r.seats.Asked(r.drawn)
	slices.Sort(r.asked)
}

// outcome is what rotation.Seats.Next asks.
type outcome struct{ *State }

// Ready implements rotation.Nodes.
func (o outcome) Ready(node uint32) bool {
	_, said := slices.BinarySearch(o.rotation.ready, node)
	return said
}

// Gone implements rotation.Nodes.
func (o outcome) Gone(node uint32) bool { return o.nodes.at(node).gone() }

// fixSeats decides the next seats. From now on the committee signs the hand-over.
func (s *State) fixSeats() {
	next, _, err := s.rotation.seats.Next(s.rotation.drawn, outcome{s})
	switch {
	case err == nil:
		ready, gone := s.rotation.seats.Show(s.rotation.drawn, outcome{s})
		s.rotate(func(r *rotating) { r.phase, r.next = PhaseHandOver, next })
		s.events = append(s.events, SeatsFixed{s.rotation.epoch, ready, gone})
	case errors.Is(err, rotation.ReasonThird):
		s.skip(SkipThird)
	default:
		s.skip(SkipFewMembers)
	}
}

// handOver puts the next committee into office two blocks later, as judge of what begins with an
// epoch.
func (s *State) handOver(epoch uint32) {
	r := s.rotation
	next := s.seated(r.next, s.elected().Term+1)
	s.seat(next, r.seats, r.next)
	s.leaveAnew(s.elected(), next)
	s.terms = append(s.terms[:len(s.terms):len(s.terms)],
		&term{committee: next, seats: r.next, height: s.height + 2, epoch: epoch})
	past, err := rotation.ParseTerms(r.past.Append(nil))
	if err != nil {
		panic(fmt.Sprintf("ledger: block %d: terms: %v", s.height, err))
	}
	past.Add(next.Root())
	s.rotate(func(r *rotating) {
		r.seats, r.past = r.next, past
		r.idle()
	})
	s.setCandidates(nil)
	s.touch(indexKey(prefixTerm, next.Term))
	s.forgetTerms()
	s.events = append(s.events, HandedOver{Committee: next, From: s.height + 2, Before: r.seats,
		Hop: r.hop()})
}

// hop returns the certified hand-over as files carry it.
func (r *rotating) hop() *rotation.Hop {
	by := r.certified
	h := &rotation.Hop{Epoch: r.epoch, Seed: r.seed, SnapshotHeight: by.Height,
		SnapshotBytes: by.Bytes, SnapshotRoot: by.Root, Signers: by.Signers, Signature: by.Signature}
	for i, seat := range r.next {
		if seat.Holder != r.seats[i].Holder {
			h.Changes = append(h.Changes, rotation.Change{Seat: uint16(i), Holder: seat.Holder})
		}
	}
	return h
}

// seat says what changes among the engine's validators.
func (s *State) seat(next *rollup.Committee, before, after rotation.Seats) {
	nodes := append(before.Members(), after.Members()...)
	slices.Sort(nodes)
	for _, node := range slices.Compact(nodes) {
		m, _ := next.Member(node)
		if before.Held(node) == int(m.Power) {
			continue
		}
		c := s.nodes.at(node).candidacy
		s.validators = append(s.validators,
			Validator{Node: node, Key: s.consensusKeys.at(c.key).key, Power: m.Power})
	}
}

// forgetTerms drops the oldest terms, when the last epoch that they judged lies far behind.
func (s *State) forgetTerms() {
	for len(s.terms) > 2 &&
		uint64(s.terms[1].epoch)+uint64(s.params.Rotation.EvidenceEpochs) < uint64(s.unsettled) {
		s.touch(indexKey(prefixTerm, s.terms[0].committee.Term))
		s.terms = slices.Clone(s.terms[1:])
	}
}

// beacon returns what those who announced it sign in a round.
func (w *world) beacon() []byte {
	r := w.rotation
	// The seed of an epoch replaces the last one only when all have signed.
	b := rotation.Beacon{Network: w.id, Epoch: r.epoch, Round: r.round, Previous: r.seed,
		Candidates: r.candidates.Root(), Announced: r.announced}
	return b.Message(nil)
}
