package word

import (
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// Sum is a set of members of a committee, by position, and their signatures, added up.
type Sum struct {
	Signers   rollup.Bitmap
	Signature [rollup.SignatureSize]byte
}

func (s *Sum) append(dst []byte) []byte {
	dst = append(append(dst, byte(len(s.Signers))), s.Signers...)
	return append(dst, s.Signature[:]...)
}

func (r *reader) sum() (s Sum) {
	s.Signers = append(rollup.Bitmap(nil), r.Next(int(r.U8()))...)
	r.Fill(s.Signature[:])
	return s
}

// TicketOf is a ticket of which only the rollup's id is said.
type TicketOf struct {
	Term   uint32
	Rollup rollup.Hash
	Sum
}

// TwoTickets are tickets for two rollups of one window. The ids ascend.
type TwoTickets struct {
	Window  rollup.WindowKey
	Tickets [2]TicketOf
}

// Lie implements Evidence.
func (e *TwoTickets) Lie() Lie { return LieTwoTickets }

func (e *TwoTickets) append(dst []byte) []byte {
	dst = le.AppendUint32(le.AppendUint32(dst, e.Window.Node), e.Window.Epoch)
	dst = le.AppendUint32(dst, e.Window.Window)
	for i := range e.Tickets {
		t := &e.Tickets[i]
		dst = t.Sum.append(append(le.AppendUint32(dst, t.Term), t.Rollup[:]...))
	}
	return dst
}

func (r *reader) twoTickets() Evidence {
	e := &TwoTickets{Window: rollup.WindowKey{Node: r.U32(), Epoch: r.U32(), Window: r.U32()}}
	for i := range e.Tickets {
		e.Tickets[i] = TicketOf{r.U32(), r.hash(), r.sum()}
	}
	r.ascend(e.Tickets[0].Rollup[:], e.Tickets[1].Rollup[:])
	return e
}

// Judge implements Evidence. The members that signed both are convicted; a quorum is not asked for.
func (e *TwoTickets) Judge(network *rollup.Network, reg Registry) (v Verdict, err error) {
	if e.Tickets[0].Rollup == e.Tickets[1].Rollup {
		return v, refuse(ReasonSame, "%v", e.Tickets[0].Rollup)
	}
	var signed [2]said
	for i := range e.Tickets {
		t := &e.Tickets[i]
		signed[i] = said{t.Term, &t.Sum,
			rollup.CertificateMessage(network, t.Term, e.Window, t.Rollup)}
	}
	return judgeBoth(e, reg, e.Window.Epoch, &signed)
}

func (e *TwoTickets) needs() needs { return needs{} }

// said is what members of a term signed.
type said struct {
	term    uint32
	sum     *Sum
	message []byte
}

// members checks the signatures and returns who signed, by node: ReasonUnknown, ReasonSignature.
func (s *said) members(reg Registry) ([]uint32, error) {
	committee, ok := reg.Committee(s.term)
	if !ok {
		return nil, refuse(ReasonUnknown, "the committee of term %d", s.term)
	}
	if err := committee.VerifySum(s.message, s.sum.Signers, &s.sum.Signature); err != nil {
		return nil, refuse(ReasonSignature, "of members of term %d: %w", s.term, err)
	}
	return committee.Nodes(s.sum.Signers), nil
}

// judgeBoth convicts those who signed two messages that exclude each other.
func judgeBoth(e Evidence, reg Registry, epoch uint32, signed *[2]said) (v Verdict, err error) {
	a, err := signed[0].members(reg)
	if err != nil {
		return v, err
	}
	b, err := signed[1].members(reg)
	if err != nil {
		return v, err
	}
	both := slices.DeleteFunc(a, func(node uint32) bool { return !slices.Contains(b, node) })
	if len(both) == 0 {
		return v, refuse(ReasonNobody, "")
	}
	return Verdict{Lie: e.Lie(), Epoch: epoch, Nodes: both}, nil
}

// Ticket is a ticket with the rollup's header, and without its rows and its node's word.
type Ticket struct {
	Header rollup.BareHeader
	Term   uint32
	Sum
}

// NewTicket returns what evidence has of a ticket.
func NewTicket(c *rollup.Certificate) Ticket {
	return Ticket{c.Header.Bare(), c.Term, Sum{c.Signers, c.Signature}}
}

func (t *Ticket) append(dst []byte) []byte {
	return t.Sum.append(le.AppendUint32(append(dst, t.Header[:]...), t.Term))
}

func (r *reader) ticket() Ticket { return Ticket{r.header(), r.U32(), r.sum()} }

func (t *Ticket) said(network *rollup.Network) said {
	message := rollup.CertificateMessage(network, t.Term, t.Header.Key(), t.Header.ID())
	return said{t.Term, &t.Sum, message}
}

// Part says where in a rollup an entry is.
type Part uint8

// The parts.
const (
	PartList Part = 1 // a signed entry of the list
	PartAcks Part = 2 // an ack of the acks part
)

// Entry is what a rollup bills of a client: a list entry or an ack's leaf, with its path.
type Entry struct {
	Part  Part
	Index uint32
	Leaf  []byte // 21 bytes of the list, or 64 of an ack
	Path  Path
}

func (e *Entry) append(dst []byte) []byte {
	dst = le.AppendUint32(append(dst, byte(e.Part)), e.Index)
	return e.Path.append(append(dst, e.Leaf...))
}

func (r *reader) entry() Entry {
	e := Entry{Part: Part(r.U8()), Index: r.U32()}
	switch e.Part {
	case PartList:
		e.Leaf = r.Next(rollup.ListLeafSize)
	case PartAcks:
		e.Leaf = r.Next(rollup.LeafSize)
	default:
		r.Fail("no part %d of a rollup", uint8(e.Part))
	}
	e.Leaf = slices.Clone(e.Leaf)
	e.Path = r.path()
	if r.Err == nil && e.Part == PartList {
		if entry, err := rollup.ParseListLeaf(e.Leaf); err != nil || !entry.Signed {
			r.Fail("an entry that nobody signed: %v", err)
		}
	}
	return e
}

// run returns what is billed. An ack is a run of one.
func (e *Entry) run() rollup.Run {
	if e.Part == PartList {
		entry, err := rollup.ParseListLeaf(e.Leaf)
		if err != nil {
			return rollup.Run{}
		}
		return entry.Run
	}
	var ack rollup.Ack
	ack.SetLeaf(e.Leaf)
	return rollup.Run{Client: ack.Client, Service: ack.Service, First: ack.Number, Count: 1}
}

// of checks that the rollup has the entry: ReasonPath, ReasonSlot for an ack of another node or
// epoch.
func (e *Entry) of(h *rollup.BareHeader) error {
	if e.Part == PartList {
		count, root := h.List()
		return e.Path.leads(rollup.ListTreeKind, e.Leaf, e.Index, count, root)
	}
	count, root := h.Acks()
	return e.Path.leads(rollup.AckTreeKind, e.Leaf, e.Index, count, root)
}

// NumberTwice are tickets for two rollups of one node and epoch, with an entry of each, of the same
// client and service, that have a number in common. The ids ascend.
type NumberTwice struct {
	Tickets [2]Ticket
	Entries [2]Entry
}

// Lie implements Evidence.
func (e *NumberTwice) Lie() Lie { return LieNumberTwice }

func (e *NumberTwice) append(dst []byte) []byte {
	for i := range e.Tickets {
		dst = e.Entries[i].append(e.Tickets[i].append(dst))
	}
	return dst
}

func (r *reader) numberTwice() Evidence {
	e := new(NumberTwice)
	for i := range e.Tickets {
		e.Tickets[i], e.Entries[i] = r.ticket(), r.entry()
	}
	a, b := e.Tickets[0].Header.ID(), e.Tickets[1].Header.ID()
	r.ascend(a[:], b[:])
	return e
}

// Judge implements Evidence. The members that signed both tickets are convicted.
func (e *NumberTwice) Judge(network *rollup.Network, reg Registry) (v Verdict, err error) {
	var signed [2]said
	for i := range e.Tickets {
		t, entry := &e.Tickets[i], &e.Entries[i]
		if t.Header.Network() != *network {
			return v, refuse(ReasonNetwork, "ticket %d", i)
		}
		if err := entry.of(&t.Header); err != nil {
			return v, err
		}
		if entry.elsewhere(t.Header.Key()) {
			return v, refuse(ReasonSlot, "entry %d is of another node or epoch than its rollup", i)
		}
		signed[i] = t.said(network)
	}
	key, other := e.Tickets[0].Header.Key(), e.Tickets[1].Header.Key()
	a, b := e.Entries[0].run(), e.Entries[1].run()
	switch {
	case e.Tickets[0].Header.ID() == e.Tickets[1].Header.ID():
		return v, refuse(ReasonSame, "one rollup")
	case key.Node != other.Node || key.Epoch != other.Epoch:
		return v, refuse(ReasonSlot, "%v and %v", key, other)
	case a.Client != b.Client || a.Service != b.Service:
		return v, refuse(ReasonSlot, "client %d, service %d and client %d, service %d", a.Client,
			a.Service, b.Client, b.Service)
	case uint64(a.First) >= b.End() || uint64(b.First) >= a.End():
		return v, refuse(ReasonSlot, "%d from number %d on, and %d from %d on", a.Count, a.First,
			b.Count, b.First)
	}
	return judgeBoth(e, reg, key.Epoch, &signed)
}

func (e *NumberTwice) needs() needs { return needs{} }

// elsewhere reports whether an ack is of another node or epoch than its rollup.
func (e *Entry) elsewhere(key rollup.WindowKey) bool {
	if e.Part != PartAcks {
		return false
	}
	var ack rollup.Ack
	ack.SetLeaf(e.Leaf)
	return ack.Epoch != key.Epoch || ack.Node != key.Node
}

// TwoRecords are records of one height that differ in more than the term of who signed. They ascend
// by what differs.
type TwoRecords struct {
	Records [2]rollup.Record
	Sums    [2]Sum
}

// Lie implements Evidence.
func (e *TwoRecords) Lie() Lie { return LieTwoRecords }

func (e *TwoRecords) append(dst []byte) []byte {
	for i := range e.Records {
		dst = e.Sums[i].append(e.Records[i].Append(dst))
	}
	return dst
}

// content is what a record says but for the term of who signed it.
func content(r rollup.Record) []byte {
	r.Term = 0
	return r.Append(nil)
}

func (r *reader) twoRecords() Evidence {
	e := new(TwoRecords)
	for i := range e.Records {
		e.Records[i], e.Sums[i] = r.record(), r.sum()
	}
	r.ascend(content(e.Records[0]), content(e.Records[1]))
	return e
}

// Judge implements Evidence. The members that signed both are convicted.
func (e *TwoRecords) Judge(network *rollup.Network, reg Registry) (v Verdict, err error) {
	a, b := &e.Records[0], &e.Records[1]
	switch {
	case a.Network != *network || b.Network != *network:
		return v, refuse(ReasonNetwork, "a record")
	case a.Height != b.Height:
		return v, refuse(ReasonSlot, "heights %d and %d", a.Height, b.Height)
	case string(content(*a)) == string(content(*b)):
		return v, refuse(ReasonSame, "a record of height %d", a.Height)
	}
	return judgeBoth(e, reg, a.Epoch, &[2]said{
		{a.Term, &e.Sums[0], a.Append(nil)}, {b.Term, &e.Sums[1], b.Append(nil)}})
}

func (e *TwoRecords) needs() needs { return needs{} }

// Invalid is a ticket for a rollup that cannot be valid, with the entry that shows it: a client
// that is not valid in the epoch, a service that it was not granted, numbers beyond its limit, an
// ack of another node or epoch, or units that no ack has.
type Invalid struct {
	Ticket Ticket
	Entry  Entry
}

// Lie implements Evidence.
func (e *Invalid) Lie() Lie { return LieInvalid }

func (e *Invalid) append(dst []byte) []byte { return e.Entry.append(e.Ticket.append(dst)) }

func (r *reader) invalid() Evidence { return &Invalid{r.ticket(), r.entry()} }

// Judge implements Evidence. All members that signed lied. A client or service that the registry
// does not know shows nothing: it may be of an earlier time.
func (e *Invalid) Judge(network *rollup.Network, reg Registry) (v Verdict, err error) {
	key := e.Ticket.Header.Key()
	if e.Ticket.Header.Network() != *network {
		return v, refuse(ReasonNetwork, "the ticket")
	}
	if err := e.Entry.of(&e.Ticket.Header); err != nil {
		return v, err
	}
	run := e.Entry.run()
	if _, ok := reg.Client(run.Client); !ok {
		return v, refuse(ReasonUnknown, "client %d", run.Client)
	}
	wrong := run.Count == 0 || run.Count > rollup.MaxStatementAcks || e.Entry.elsewhere(key) ||
		rollup.CheckRun(run, key.Epoch, reg) != nil
	if !wrong {
		if wrong, err = e.Entry.units(reg); err != nil {
			return v, err
		}
	}
	if !wrong {
		return v, refuse(ReasonTrue, "client %d may bill service %d", run.Client, run.Service)
	}
	signed := e.Ticket.said(network)
	members, err := signed.members(reg)
	if err != nil {
		return v, err
	}
	return Verdict{Lie: LieInvalid, Epoch: key.Epoch, Nodes: members}, nil
}

// units reports whether an ack has units that none has.
func (e *Entry) units(reg Registry) (wrong bool, err error) {
	if e.Part != PartAcks {
		return false, nil
	}
	var ack rollup.Ack
	ack.SetLeaf(e.Leaf)
	limit, ok := reg.UnitCap(ack.Service)
	if !ok {
		return false, refuse(ReasonUnknown, "service %d", ack.Service)
	}
	return ack.Units == 0 || ack.Units > limit, nil
}

func (e *Invalid) needs() needs {
	run := e.Entry.run()
	n := needs{client: &run.Client}
	if e.Entry.Part == PartAcks {
		n.service = &run.Service
	}
	return n
}
