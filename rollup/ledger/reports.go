package ledger

import (
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// reports are what the members of a committee say of the candidates of one epoch. They are
// immutable.
type reports struct {
	epoch   uint32
	members uint16      // of the committee
	before  rollup.Hash // the seed before that of the epoch, which shares the candidates out
	clients uint64      // when the epoch began: of whom digests are
	began   int64       // the height of the epoch's first block
	named   []uint32    // nodes, by position
	list    []memberReport
}

// memberReport is a report of a member. Those of an epoch ascend by node.
type memberReport struct {
	node     uint32
	position uint16 // in the committee
	seats    uint16
	height   int64 // of its block
	coding   rotation.Coding
	receipts rollup.Hash // their root
	data     []byte
}

func (m memberReport) compare(node uint32) int { return int(int64(m.node) - int64(node)) }

// of returns the report of a member.
func (r *reports) of(node uint32) (*memberReport, bool) {
	if r == nil {
		return nil, false
	}
	i, ok := slices.BinarySearchFunc(r.list, node, memberReport.compare)
	if !ok {
		return nil, false
	}
	return &r.list[i], true
}

func (r *reports) verdicts(m *memberReport) *rotation.Verdicts {
	v, err := rotation.ParseVerdicts(m.coding, m.data, len(r.named))
	if err != nil {
		panic(fmt.Sprintf("ledger: a report of node %d: %v", m.node, err))
	}
	return v
}

// say returns which candidates a member has a say on, by position.
func (r *reports) say(m *memberReport) func(position int) bool {
	return func(i int) bool {
		return rotation.Assigned(r.before, int(r.members), int(m.position), len(r.named), r.named[i])
	}
}

// asked returns what the audit of a member's last report asks for. The seed was fixed after that.
func (w *world) asked(node uint32) []rotation.Asked {
	r := w.rotation.audited
	m, ok := r.of(node)
	if !ok {
		return nil
	}
	return rotation.Audit(w.rotation.seed, node, r.named, r.verdicts(m), r.say(m))
}

// audit checks what a report shows of the one before it, but for the candidates' signatures.
func (w *world) audit(p *Report) error {
	asked := w.asked(p.Node)
	if len(asked) != len(p.Audit) {
		return refuse(CodeBadAudit, "%d receipts, where %d are asked for", len(p.Audit), len(asked))
	}
	for i := range asked {
		s := &p.Audit[i]
		r := w.rotation.audited
		m, _ := r.of(p.Node)
		switch err := s.Answers(asked[i], m.receipts); {
		case err != nil:
			return refuse(CodeBadAudit, "%w", err)
		case s.Epoch != r.epoch:
			return refuse(CodeBadAudit, "a receipt of epoch %d, not %d", s.Epoch, r.epoch)
		case s.Receipt.Height < uint64(r.began) || s.Receipt.Height > uint64(m.height):
			return refuse(CodeBadAudit, "a receipt of height %d, not of %d to %d", s.Receipt.Height,
				r.began, m.height)
		case s.Receipt.Digest != w.clientDigest(&s.Receipt.Nonce, r.clients):
			return refuse(CodeBadAudit, "node %d had other clients", s.Candidate)
		}
	}
	return nil
}

// clientDigest returns what a candidate signs of the first clients.
func (w *world) clientDigest(nonce *rollup.Hash, clients uint64) rollup.Hash {
	return rotation.Digest(nonce, clients,
		func(i uint64) []byte { return w.clients.at(i).key.bytes[:] })
}

// beginReports begins to collect those of an epoch.
func (s *State) beginReports() {
	r := s.rotation
	x := &reports{epoch: r.epoch, members: uint16(len(s.elected().Members)), before: r.seed,
		clients: s.clients.size(), began: s.height, named: make([]uint32, len(r.list))}
	for i := range r.list {
		x.named[i] = r.list[i].Node
	}
	s.rotate(func(r *rotating) { r.reports = x })
	s.touch(key(prefixReports, x.epoch))
}

// forgetReports drops those of the epoch, and forgetAudited those of the one before.
func (s *State) forgetReports() {
	s.touchReports(s.rotation.reports)
	s.rotate(func(r *rotating) { r.reports = nil })
}

func (s *State) forgetAudited() {
	s.touchReports(s.rotation.audited)
	s.rotate(func(r *rotating) { r.audited = nil })
}

func (s *State) touchReports(r *reports) {
	if r == nil {
		return
	}
	s.touch(key(prefixReports, r.epoch))
	for i := range r.list {
		s.touch(key(prefixReport, r.epoch, r.list[i].node))
	}
}

// reportsOf returns the reports of an epoch, nil when none are kept.
func (w *world) reportsOf(epoch uint32) *reports {
	for _, r := range []*reports{w.rotation.audited, w.rotation.reports} {
		if r != nil && r.epoch == epoch {
			return r
		}
	}
	return nil
}

// encodeReports encodes what the reports of an epoch are about.
func (w *world) encodeReports(epoch uint32) []byte {
	r := w.reportsOf(epoch)
	if r == nil {
		return nil
	}
	b := append(le.AppendUint16(nil, r.members), r.before[:]...)
	b = le.AppendUint64(le.AppendUint64(b, r.clients), uint64(r.began))
	for _, node := range r.named {
		b = le.AppendUint32(b, node)
	}
	return b
}

func (w *world) encodeReport(epoch, node uint32) []byte {
	m, ok := w.reportsOf(epoch).of(node)
	if !ok {
		return nil
	}
	b := le.AppendUint16(le.AppendUint16(nil, m.position), m.seats)
	b = append(le.AppendUint64(b, uint64(m.height)), byte(m.coding))
	return append(append(b, m.receipts[:]...), m.data...)
}

func (s *restorer) loadReports(epoch uint32, r *reader) error {
	x := &reports{epoch: epoch, members: r.U16()}
	r.Fill(x.before[:])
	x.clients, x.began = r.U64(), int64(r.U64())
	for r.Err == nil && len(r.B) > 0 {
		x.named = append(x.named, r.U32())
	}
	now := s.rotation.phase == PhaseReports || s.rotation.phase == PhaseReveals
	switch {
	case now && epoch == s.rotation.epoch && s.rotation.reports == nil:
		s.rotation.reports = x
	case s.rotation.audited == nil:
		s.rotation.audited = x
	default:
		return errReports
	}
	return nil
}

func (s *restorer) loadReport(epoch, node uint32, r *reader) error {
	x := s.reportsOf(epoch)
	m := memberReport{node: node, position: r.U16(), seats: r.U16(), height: int64(r.U64()),
		coding: rotation.Coding(r.U8())}
	r.Fill(m.receipts[:])
	m.data = slices.Clone(r.Next(len(r.B)))
	if x == nil || m.position >= x.members || m.height < x.began || m.height > s.height {
		return errReports
	}
	if _, err := rotation.ParseVerdicts(m.coding, m.data, len(x.named)); err != nil {
		return err
	}
	x.list = append(x.list, m)
	return nil
}

// consistent checks what is known when all is loaded.
func (s *restorer) consistent(r *reports) bool {
	return r == nil || r.clients <= s.clients.size() && r.began >= 0 && r.began <= s.height &&
		slices.IsSorted(r.named) && (len(r.named) == 0 || s.nodes.has(r.named[len(r.named)-1]))
}

// ReportsView are what the members of a committee said of the candidates of an epoch. What it holds
// must not be changed.
type ReportsView struct {
	Epoch   uint32
	Clients uint64   // when the epoch began: of whom the candidates' digests are
	Began   int64    // the height of the epoch's first block
	Named   []uint32 // the candidates: nodes, by position
	reports *reports
}

// Said is what one member said of a candidate.
type Said struct {
	Member  uint32 // a node
	Seats   int
	Healthy bool
	Height  int64 // of the block of its report
}

// Of returns what the members said of a node, ascending by member: of those who reported, and had a
// say on it. It is empty when the node was no candidate.
func (v *ReportsView) Of(node uint32) (said []Said) {
	i, is := slices.BinarySearch(v.Named, node)
	if !is {
		return nil
	}
	for j := range v.reports.list {
		m := &v.reports.list[j]
		if v.reports.say(m)(i) {
			healthy := v.reports.verdicts(m).Healthy(i)
			said = append(said, Said{m.node, int(m.seats), healthy, m.height})
		}
	}
	return said
}

// Say reports whether the member at a position of the committee has a say on the candidate at
// another.
func (v *ReportsView) Say(member, candidate int) bool {
	return v.reports.say(&memberReport{position: uint16(member)})(candidate)
}

// Reports returns what members said: of the last epoch that had a seed, as long as the reports of
// the next are not counted, and of the one whose reports are collected, or wait for their seed.
func (v *View) Reports() (all []ReportsView) {
	if v.rotation == nil {
		return nil
	}
	for _, r := range []*reports{v.rotation.audited, v.rotation.reports} {
		if r != nil {
			all = append(all, ReportsView{r.epoch, r.clients, r.began, r.named, r})
		}
	}
	return all
}

// Audit returns what the next report of a member has to show, of the report of which epoch. It is
// nothing when the member did not report then.
func (v *View) Audit(member uint32) (epoch uint32, asked []rotation.Asked) {
	if v.rotation == nil || v.rotation.audited == nil {
		return 0, nil
	}
	return v.rotation.audited.epoch, v.asked(member)
}

// ProbeDigest returns the digest that answers a probe of the epoch whose reports are collected,
// false in others. It takes microseconds.
func (v *View) ProbeDigest(epoch uint32, nonce *rollup.Hash) (rollup.Hash, bool) {
	if v.rotation == nil || v.rotation.reports == nil || v.rotation.epoch != epoch {
		return rollup.Hash{}, false
	}
	return v.clientDigest(nonce, v.rotation.reports.clients), true
}
