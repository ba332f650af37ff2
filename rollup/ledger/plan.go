package ledger

import (
	"fmt"
	"slices"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// Version is the newest version of the rules by which blocks are executed that this program
// knows. Networks begin with GenesisVersion, and go on to others by plans.
const Version = GenesisVersion

// PlanNotice is how many epochs ahead an upgrade is planned, so that every operator can install
// what knows the version.
const PlanNotice = 24

// Upgrade says that a network's blocks are executed by the rules of a version from an epoch on.
type Upgrade struct {
	Version uint32 `json:"version"`
	Epoch   uint32 `json:"epoch"` // the first one; its first block is executed by the version
	Name    string `json:"name"`  // what to install, for people: 1 to MaxName bytes of ASCII
}

// Plan is the payload of plan: the committee plans an upgrade PlanNotice epochs ahead, in place of
// the one that is planned. With version 0 and epoch 0 it cancels that, and its name says why. It
// has no sender.
type Plan struct {
	Upgrade
	Number    uint32        `json:"number"` // how many plans were executed before it
	Term      uint32        `json:"term"`   // of the committee
	Signers   rollup.Bitmap `json:"signers"`
	Signature BLSSignature  `json:"signature"` // the signers' aggregate of PlanMessage
}

// PlanMessage returns what a member signs for the plan of a number. It names no term: who signed it
// and is in the committee when it is executed has agreed to it.
func PlanMessage(net rollup.Network, number uint32, u *Upgrade) []byte {
	b := append([]byte("wb-pln/2"), net[:]...)
	b = le.AppendUint32(b, number)
	return u.append(b)
}

// NewPlan builds the transaction that plans an upgrade or cancels one.
func NewPlan(net rollup.Network, p *Plan) []byte { return p.append(head(net, KindPlan)) }

// Cancels reports whether it is no upgrade, but the end of one that was planned.
func (u *Upgrade) Cancels() bool { return u.Version == 0 && u.Epoch == 0 }

func (u *Upgrade) append(b []byte) []byte {
	b = le.AppendUint32(b, u.Version)
	b = le.AppendUint32(b, u.Epoch)
	return appendName(b, u.Name)
}

func (p *Plan) append(b []byte) []byte {
	b = le.AppendUint32(b, p.Number)
	b = p.Upgrade.append(b)
	b = le.AppendUint32(b, p.Term)
	b = append(append(b, byte(len(p.Signers))), p.Signers...)
	return append(b, p.Signature[:]...)
}

func (u *Upgrade) decode(r *reader) { u.Version, u.Epoch, u.Name = r.U32(), r.U32(), r.Name() }

func (p *Plan) decode(r *reader) {
	p.Number = r.U32()
	p.Upgrade.decode(r)
	p.Term = r.U32()
	p.Signers = slices.Clone(r.Next(int(r.U8())))
	r.Fill(p.Signature[:])
}

// judge admits the plan whose number comes next. A number is planned once, so neither a plan that
// was cancelled nor one that was replaced comes back.
func (p *Plan) judge(w *world, _ *Tx, _ *account) error {
	now := uint64(w.epoch())
	switch {
	case p.Term != w.inOffice().Term:
		return refuse(CodeWrongTerm, "%d, not %d", p.Term, w.inOffice().Term)
	case p.Number != w.rules.plans:
		return refuse(CodeBadNonce, "plan %d, where %d is the next", p.Number, w.rules.plans)
	case p.Cancels() && w.rules.next == nil:
		return refuse(CodeOutOfRange, "no upgrade is planned that could be cancelled")
	case p.Cancels():
		return nil
	case p.Version <= w.rules.version:
		return refuse(CodeOutOfRange, "version %d, where %d is in force", p.Version, w.rules.version)
	case uint64(p.Epoch) < now+PlanNotice:
		return refuse(CodeTooEarly, "epoch %d, now %d: %d epochs belong between", p.Epoch, now,
			PlanNotice)
	}
	return nil
}

func (p *Plan) verify(w *world, _ *Tx, c *claims, at *error) error {
	committee, _ := w.terms.numbered(p.Term)
	err := committee.Enough(p.Signers)
	if err == nil {
		c.committee(at, committee, p.Signers, PlanMessage(w.id, p.Number, &p.Upgrade), &p.Signature)
	}
	return err
}

func (p *Plan) execute(s *State, _ uint32, _ *Result) {
	s.rules.plans++
	s.rules.next = nil
	if !p.Cancels() {
		next := p.Upgrade
		s.rules.next = &next
	}
	s.touch(key(prefixRules))
	s.events = append(s.events, UpgradePlanned{p.Upgrade})
}

// rules are by which version blocks are executed.
type rules struct {
	version uint32
	plans   uint32   // executed
	next    *Upgrade // nil when none is planned; immutable
}

// UnknownVersionError says that a network goes on, or went on, by rules that this program does not
// know.
type UnknownVersionError struct {
	Upgrade Upgrade // its name is empty, and its epoch unknown, when that is past
	Known   uint32  // the newest version that is known here
}

func (e *UnknownVersionError) Error() string {
	if e.Upgrade.Name == "" {
		return fmt.Sprintf("ledger: written by version %d of the rules, and this program knows up to "+
			"version %d", e.Upgrade.Version, e.Known)
	}
	return fmt.Sprintf("ledger: version %d of the rules holds from epoch %d on, and this program "+
		"knows up to version %d: install %q", e.Upgrade.Version, e.Upgrade.Epoch, e.Known,
		e.Upgrade.Name)
}

// knows returns the newest version of which blocks are executed here.
func (n *network) knows() uint32 { return max(Version, n.rehearsed) }

// unknown returns why the epoch after the current one cannot begin here, nil when it can.
func (w *world) unknown() *UnknownVersionError {
	next := w.rules.next
	if next == nil || next.Epoch != w.epoch()+1 || next.Version <= w.knows() {
		return nil
	}
	return &UnknownVersionError{Upgrade: *next, Known: w.knows()}
}

// Executable says why a block of a time cannot follow here: it begins an epoch from which on
// another version's rules hold, and this program does not know them. The error is an
// *UnknownVersionError.
func (s *State) Executable(blockTime time.Time) error { return s.executable(blockTime) }

func (w *world) executable(blockTime time.Time) error {
	if err := w.unknown(); err != nil && w.over(blockTime.UnixNano()) {
		return err
	}
	return nil
}

// upgrade puts the version into force that is planned for the epoch which begins.
func (s *State) upgrade() {
	if next := s.rules.next; next != nil && next.Epoch == s.epoch() {
		s.rules.version, s.rules.next = next.Version, nil
		s.touch(key(prefixRules))
		s.events = append(s.events, Upgraded{*next})
	}
}

func (r *rules) encode() []byte {
	b := le.AppendUint32(nil, r.version)
	b = le.AppendUint32(b, r.plans)
	if r.next != nil {
		b = r.next.append(b)
	}
	return b
}

// loadRules refuses records that a program with newer rules wrote: it may have written others, too.
func (s *restorer) loadRules(r *reader) error {
	s.rules = rules{version: r.U32(), plans: r.U32()}
	if r.Err == nil && len(r.B) > 0 {
		next := new(Upgrade)
		next.decode(r)
		s.rules.next = next
		if next.Version <= s.rules.version || next.Epoch == 0 {
			return fmt.Errorf("version %d cannot follow version %d", next.Version, s.rules.version)
		}
	}
	if s.rules.version > s.knows() {
		return &UnknownVersionError{Upgrade: Upgrade{Version: s.rules.version}, Known: s.knows()}
	}
	return nil
}

// Executable is State.Executable for the block after this view.
func (v *View) Executable(blockTime time.Time) error { return v.executable(blockTime) }

// Version returns by which version of the rules blocks are executed.
func (v *View) Version() uint32 { return v.rules.version }

// KnownVersion returns the newest version whose rules this program knows: [Version], or one that is
// rehearsed.
func (v *View) KnownVersion() uint32 { return v.knows() }

// Upgrade returns the upgrade that is planned; ok is false when there is none.
func (v *View) Upgrade() (u Upgrade, ok bool) {
	if v.rules.next == nil {
		return u, false
	}
	return *v.rules.next, true
}

// Plans returns how many plans were executed, which is the number of the next.
func (v *View) Plans() uint32 { return v.rules.plans }
