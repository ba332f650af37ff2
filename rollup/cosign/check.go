package cosign

import "github.com/waybill-network/waybill/rollup"

// Signed is what the clients of one program signed for one window, as they remember it.
type Signed struct {
	Network rollup.Network
	Clients map[uint32]map[uint32]Ack // by client and seq
	Root    *Root                     // of the tree that was signed for the window; nil: none yet
}

// Ack is an ack that a client signed.
type Ack struct {
	Entry    [rollup.EntrySize]byte
	Accepted bool // the node answered so
}

// Root names a tree of statements.
type Root struct {
	Count uint32
	Hash  rollup.Hash
}

// Verdict is what an offer means for one client. The zero value is a yes.
type Verdict struct {
	Refused bool
	Reason  Reason // when refused
}

func refuse(r Reason) Verdict { return Verdict{true, r} }

// Tree names the tree that the offer is about. A program that signs the offer for any client must
// put it into Signed.Root, so that no other is signed for the window.
func (o *Offer) Tree() Root { return Root{o.Count, o.Root} }

// Check returns which of the offer's clients may sign, in the order of o.Clients. A nil signed
// stands for a window that nobody remembers. payer returns who pays for a client, if that is known;
// it may be nil.
func (o *Offer) Check(
	signed *Signed,
	payer func(client uint32) (account uint32, known bool),
) []Verdict {
	verdicts := make([]Verdict, len(o.Clients))
	if reason, bad := o.refusesAll(signed); bad {
		for i := range verdicts {
			verdicts[i] = refuse(reason)
		}
		return verdicts
	}
	runs := o.runs()
	for i := range o.Clients {
		c := &o.Clients[i]
		own := check{offer: o, client: c.Client, seqs: c.Seqs, run: runs[c.Client],
			signed: signed.Clients[c.Client], payer: payer}
		if reason, bad := own.refuses(); bad {
			verdicts[i] = refuse(reason)
		}
	}
	return verdicts
}

// refusesAll finds what is wrong with the offer for all of its clients.
func (o *Offer) refusesAll(signed *Signed) (Reason, bool) {
	for i := range o.Ranges {
		r := &o.Ranges[i]
		if rollup.VerifyStatementRange(o.Root, r.Statements, r.First, o.Count, r.Path) != nil {
			return ReasonWrongPath, true
		}
	}
	switch {
	case signed == nil:
		return ReasonWrongWindow, true
	case signed.Network != o.Network:
		return ReasonWrongNetwork, true
	case signed.Root != nil && *signed.Root != o.Tree():
		return ReasonRepeated, true
	}
	return 0, false
}

// run is where a client's statements stand in an offer.
type run struct {
	in        *Range // nil when no range has any
	lo, hi    int
	scattered bool // there are statements in the client's name besides
}

// own returns the client's statements.
func (r run) own() []rollup.Statement {
	if r.in == nil {
		return nil
	}
	return r.in.Statements[r.lo:r.hi]
}

// between reports whether the statements before and behind the client's are shown, and of smaller
// and of larger clients: in a tree in order there can be no others in the client's name then.
func (r run) between(client, count uint32) bool {
	statements, first := r.in.Statements, uint64(r.in.First)
	if r.lo == 0 && first > 0 || r.hi == len(statements) && first+uint64(r.hi) < uint64(count) {
		return false
	}
	return (r.lo == 0 || statements[r.lo-1].Client < client) &&
		(r.hi == len(statements) || statements[r.hi].Client > client)
}

// runs finds where each client's statements stand.
func (o *Offer) runs() map[uint32]run {
	runs := make(map[uint32]run)
	for i := range o.Ranges {
		r := &o.Ranges[i]
		for lo := 0; lo < len(r.Statements); {
			client, hi := r.Statements[lo].Client, lo+1
			for hi < len(r.Statements) && r.Statements[hi].Client == client {
				hi++
			}
			if first, ok := runs[client]; ok {
				first.scattered = true
				runs[client] = first
			} else {
				runs[client] = run{in: r, lo: lo, hi: hi}
			}
			lo = hi
		}
	}
	return runs
}

// check is an offer as one client sees it.
type check struct {
	offer  *Offer
	client uint32
	seqs   []uint32
	run    run
	signed map[uint32]Ack // by seq
	payer  func(client uint32) (account uint32, known bool)
}

// refuses returns why the client must not sign, if there is a reason.
func (c *check) refuses() (Reason, bool) {
	switch {
	case len(c.signed) == 0:
		return ReasonWrongWindow, true
	case c.run.in == nil:
		return ReasonMissingAck, true
	case c.run.scattered:
		return ReasonExtraStatement, true
	case !c.run.between(c.client, c.offer.Count):
		return ReasonNeighbour, true
	}
	own, listed := c.run.own(), 0
	for i := range own {
		s := &own[i]
		if i > 0 && s.Service <= own[i-1].Service {
			return ReasonExtraStatement, true
		}
		if c.payer != nil {
			if want, known := c.payer(c.client); known && want != s.Payer {
				return ReasonWrongPayer, true
			}
		}
		if uint64(s.Acks) > uint64(len(c.seqs)) {
			return ReasonWrongAcks, true
		}
		accepted, reason, bad := c.statementRefused(s, c.seqs[:s.Acks])
		if bad {
			return reason, true
		}
		listed += accepted
		c.seqs = c.seqs[s.Acks:]
	}
	accepted := 0
	for _, ack := range c.signed { // order-free: a count
		if ack.Accepted {
			accepted++
		}
	}
	return ReasonMissingAck, listed < accepted
}

// statementRefused holds a statement, and the seqs that are said to be under it, against what the
// client signed. It returns the number of accepted acks among them.
func (c *check) statementRefused(
	s *rollup.Statement,
	seqs []uint32,
) (accepted int, _ Reason, _ bool) {
	if !c.used(s.Service) {
		return 0, ReasonExtraStatement, true
	}
	acks := le.AppendUint32(make([]byte, 0, 4+len(seqs)*rollup.EntrySize), uint32(len(seqs)))
	units := uint64(0)
	for i, seq := range seqs {
		ack, ok := c.signed[seq]
		if !ok || i > 0 && seq <= seqs[i-1] || rollup.Entry(ack.Entry[:]).Service() != s.Service {
			return 0, ReasonWrongAcks, true
		}
		if ack.Accepted {
			accepted++
		}
		units += rollup.Entry(ack.Entry[:]).Units() // at most 2^16 of at most 2^40: a service's cap
		acks = append(acks, ack.Entry[:]...)
	}
	switch {
	case units != s.Units:
		return 0, ReasonWrongUnits, true
	case rollup.StatementRoot(rollup.Acks(acks), c.offer.Key) != s.Root:
		return 0, ReasonWrongRoot, true
	}
	return accepted, 0, false
}

// used reports whether the client acknowledged something of a service.
func (c *check) used(service uint32) bool {
	for _, ack := range c.signed { // order-free: any one is enough
		if rollup.Entry(ack.Entry[:]).Service() == service {
			return true
		}
	}
	return false
}
