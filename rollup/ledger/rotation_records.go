package ledger

import (
	"errors"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// What the state of a rotation is stored as, the way back, and what views show of it.

// encodeRotation encodes where the rotation stands, without what has records of its own: the last
// term's seats, candidates and reports.
func (w *world) encodeRotation() []byte {
	r := w.rotation
	b := appendBytes(nil, r.past.Append(nil))
	b = append(b, r.seed[:]...)
	b = le.AppendUint32(b, r.epoch)
	b = append(b, byte(r.phase), r.round)
	b = le.AppendUint64(le.AppendUint64(b, uint64(r.opened.time)), uint64(r.opened.height))
	b = appendBytes(b, r.announced)
	b = le.AppendUint16(b, uint16(len(r.reveals)))
	for _, signature := range r.reveals {
		if signature == nil {
			signature = new(BLSSignature)
		}
		b = append(b, signature[:]...)
	}
	b = le.AppendUint16(b, uint16(len(r.ready)))
	for _, node := range r.ready {
		b = le.AppendUint32(b, node)
	}
	b = appendBytes(b, r.next.Append(nil))
	if r.certified != nil {
		b = r.certified.append(b)
	}
	return b
}

func appendBytes(b, v []byte) []byte { return append(le.AppendUint16(b, uint16(len(v))), v...) }

func (r *reader) bytes() []byte { return slices.Clone(r.Next(int(r.U16()))) }

func (w *world) encodeCandidates() (b []byte) {
	for _, c := range w.rotation.list {
		b = le.AppendUint64(le.AppendUint32(b, c.Node), c.Weight)
	}
	return b
}

func (w *world) encodeTerm(number uint32) []byte {
	for _, t := range w.terms {
		if t.committee.Term == number && number > 0 {
			b := le.AppendUint32(le.AppendUint64(nil, uint64(t.height)), t.epoch)
			return t.seats.Append(b)
		}
	}
	return nil
}

// encodeRotating returns the value of a record that only networks with a rotation have.
func (w *world) encodeRotating(prefix byte, number uint32) []byte {
	switch prefix {
	case prefixTerm:
		return w.encodeTerm(number)
	case prefixReports:
		return w.encodeReports(number)
	case prefixDuties:
		return w.duties.encode(number)
	case prefixConsensusKey:
		k := w.consensusKeys.at(number)
		return le.AppendUint32(append([]byte(nil), k.key[:]...), k.node)
	case prefixCandidacy:
		c := w.nodes.at(number).candidacy
		if c == nil {
			return nil
		}
		b := appendName(le.AppendUint32(le.AppendUint32(nil, c.key), c.jailed), c.address)
		for _, epoch := range c.absences {
			b = le.AppendUint32(b, epoch)
		}
		return b
	}
	return nil
}

var (
	errRotation = errors.New("not where a rotation can stand")
	errReports  = errors.New("reports that cannot be")
)

// loadRotating loads a record of a rotation. What rests on nodes waits until all are loaded.
func (s *restorer) loadRotating(prefix byte, n [4]uint32, r *reader) error {
	number := n[0]
	if s.rotation == nil {
		return errors.New("of a committee that rotates")
	}
	switch prefix {
	case prefixRotation:
		return s.loadRotation(r)
	case prefixCandidates:
		for r.Err == nil && len(r.B) > 0 {
			s.rotation.list = append(s.rotation.list,
				rotation.Candidate{Node: r.U32(), Weight: r.U64()})
		}
	case prefixReports:
		return s.loadReports(number, r)
	case prefixReport:
		return s.loadReport(number, n[1], r)
	case prefixDuties:
		return s.loadDuties(number, r)
	case prefixTerm:
		t := &term{committee: &rollup.Committee{Term: number}, height: int64(r.U64()), epoch: r.U32()}
		var err error
		t.seats, err = rotation.ParseSeats(slices.Clone(r.Next(len(r.B))))
		if err != nil || len(t.seats) != int(s.params.Rotation.Seats) {
			return errors.Join(errRotation, err)
		}
		s.loaded = append(s.loaded, t)
	case prefixConsensusKey:
		var k consensusKey
		r.Fill(k.key[:])
		k.node = r.U32()
		known := number < s.consensusKeys.size()
		switch {
		case known && *s.consensusKeys.at(number) != k, !known && number != s.consensusKeys.size():
			return errRotation
		case !known:
			s.addConsensusKey(k.key, k.node)
		}
	case prefixCandidacy:
		if !s.nodes.has(number) {
			return errRotation
		}
		c := &candidacy{key: r.U32(), jailed: r.U32(), address: r.Name()}
		for r.Err == nil && len(r.B) > 0 {
			c.absences = append(c.absences, r.U32())
		}
		if !ascend(c.absences) {
			return errDuties
		}
		if !s.consensusKeys.has(c.key) || s.consensusKeys.at(c.key).node != number {
			return errRotation
		}
		s.nodes.edit(s.gen, number).candidacy = c
	}
	return nil
}

func (s *restorer) loadRotation(r *reader) (err error) {
	into := &rotating{seats: s.rotation.seats}
	if into.past, err = rotation.ParseTerms(r.bytes()); err != nil {
		return err
	}
	r.Fill(into.seed[:])
	into.epoch, into.phase, into.round = r.U32(), Phase(r.U8()), r.U8()
	into.opened = start{time: int64(r.U64()), height: int64(r.U64())}
	into.announced = r.bytes()
	into.reveals = make([]*BLSSignature, r.Count(uint64(r.U16()), len(BLSSignature{})))
	for i := range into.reveals {
		var signature BLSSignature
		if r.Fill(signature[:]); signature != (BLSSignature{}) {
			into.reveals[i] = &signature
		}
	}
	for range r.Count(uint64(r.U16()), 4) {
		into.ready = append(into.ready, r.U32())
	}
	if next := r.bytes(); len(next) > 0 {
		if into.next, err = rotation.ParseSeats(next); err != nil {
			return err
		}
	}
	if len(r.B) > 0 {
		into.certified = new(HandOver)
		into.certified.decode(r)
	}
	if into.phase > PhaseCertified {
		return errRotation
	}
	s.rotation = into
	return nil
}

// finishRotation makes what follows from the records of a rotation.
func (s *restorer) finishRotation() error {
	r := s.rotation
	if r == nil {
		return nil
	}
	if err := s.checkDuties(); err != nil {
		return err
	}
	for _, t := range s.loaded {
		for _, node := range t.seats.Members() {
			if !s.nodes.has(node) {
				return errRotation
			}
		}
		if last := s.elected().Term; t.committee.Term != last+1 && len(s.terms) > 1 {
			return fmt.Errorf("term %d after %d", t.committee.Term, last)
		}
		t.committee = s.seated(t.seats, t.committee.Term)
		s.terms = append(s.terms, t)
		r.seats = t.seats
	}
	if len(s.loaded) > 0 && s.terms[1].committee.Term > 1 {
		s.terms = s.terms[1:] // term 0 is forgotten
	}
	s.forgetTerms()
	candidates, err := rotation.NewCandidates(r.list)
	members := len(s.elected().Members)
	switch {
	case err != nil:
		return err
	case r.past.Count() != s.elected().Term+1:
		return fmt.Errorf("%d terms before the next, %d is the last", r.past.Count(), s.elected().Term)
	case (r.reports != nil) != (r.phase == PhaseReports || r.phase == PhaseReveals),
		r.audited == nil && r.phase >= PhaseReady, r.audited != nil && r.phase == PhaseReveals,
		!s.consistent(r.reports) || !s.consistent(r.audited):
		return errReports
	case r.phase == PhaseReveals && (len(r.reveals) != members ||
		r.announced.Validate(members) != nil || candidates.Weight() < rotation.MinWeight):
		return errRotation
	}
	r.candidates = candidates
	if r.phase >= PhaseReady {
		if candidates.Weight() < rotation.MinWeight {
			return errRotation
		}
		r.draw(s.params.Rotation)
	}
	if r.phase >= PhaseHandOver && len(r.next) != len(r.seats) {
		return errRotation
	}
	return nil
}

// RotationView is where the rotation of an epoch stands. What it holds must not be changed.
type RotationView struct {
	Epoch      uint32 // that it is about
	Phase      Phase
	Seats      rotation.Seats // of the last term
	Candidates []rotation.Candidate
	Reported   []uint32 // nodes, ascending, until the seed is known
	Round      uint8
	Announced  rollup.Bitmap // of the committee of the last term: who has to reveal
	Revealed   []uint32      // nodes, ascending
	Seed       rollup.Hash   // the last one
	Asked      []uint32      // who has to say that it is ready, ascending
	Ready      []uint32      // who said so
	Next       rotation.Seats
}

// Rotation returns where the rotation of the epoch stands, false when the committee is that of the
// genesis for ever.
func (v *View) Rotation() (*RotationView, bool) {
	r := v.rotation
	if r == nil {
		return nil, false
	}
	x := &RotationView{Epoch: r.epoch, Phase: r.phase, Seats: r.seats, Candidates: r.list,
		Round: r.round, Announced: r.announced, Seed: r.seed, Asked: r.asked, Ready: r.ready,
		Next: r.next}
	if r.reports != nil {
		for i := range r.reports.list {
			x.Reported = append(x.Reported, r.reports.list[i].node)
		}
	}
	for i, signature := range r.reveals {
		if signature != nil {
			x.Revealed = append(x.Revealed, v.elected().Members[i].Node)
		}
	}
	return x, true
}

// Elected returns the committee of the last term, which is in office or will be in two blocks. It
// must not be changed.
func (v *View) Elected() *rollup.Committee { return v.elected() }

// Beacon returns what the members that announced it sign in this round, false unless reveals are
// waited for. A member signs it when this view is of a decided block, and not before.
func (v *View) Beacon() ([]byte, bool) {
	if v.rotation == nil || v.rotation.phase != PhaseReveals {
		return nil, false
	}
	return v.beacon(), true
}

// Standing is how a node stands for the committee.
type Standing struct {
	ConsensusKey Key    // with which it votes
	Address      string // host:port where the engine's peers reach it
	Jailed       uint32 // the epoch from which its owner may take it out; 0: it is not jailed
	// Absences are the epochs in which it was absent, ascending, as far as they make the next one
	// cost more. They must not be changed.
	Absences []uint32
}

// Standing returns how a node stands, false when it never stood, or the committee does not rotate.
func (v *View) Standing(node uint32) (Standing, bool) {
	if v.rotation == nil || !v.nodes.has(node) || v.nodes.at(node).candidacy == nil {
		return Standing{}, false
	}
	c := v.nodes.at(node).candidacy
	return Standing{v.consensusKeys.at(c.key).key, c.address, c.jailed, c.absences}, true
}

// ConsensusKeys returns how many keys of the engine have stood, 0 when the committee does not
// rotate.
func (v *View) ConsensusKeys() uint32 { return v.consensusKeys.size() }

// ConsensusKey returns a key of the engine, in the order in which they came, and whose it is, for
// ever.
func (v *View) ConsensusKey(index uint32) (key Key, node uint32) {
	k := v.consensusKeys.at(index)
	return k.key, k.node
}

// MaxDuties returns how many reports, reveals and words of readiness can wait at a time: of each
// member one report and one reveal, and of each seat a winner. 0 when the committee does not
// rotate.
func MaxDuties(v *View) uint32 {
	if v.rotation == nil {
		return 0
	}
	return 3 * uint32(v.params.Rotation.Seats)
}
