package cosign

import (
	"math/bits"

	"github.com/waybill-network/waybill/rollup"
)

// Signed is what the clients of one program signed, as their book remembers it.
type Signed struct {
	Network rollup.Network
	Book    Book
	Root    *Root // of the tree that was signed for the window; nil: none yet
}

// Book remembers the acks that clients signed at one node in one epoch.
type Book interface {
	// Has reports whether a client signed any that is remembered.
	Has(client uint64) bool
	// AppendRun appends units and request of each ack of a run, 40 bytes each as in [rollup.Acks].
	// It reports false when it does not remember one of them.
	AppendRun(dst []byte, run rollup.Run) ([]byte, bool)
	// Refused reports whether the node said of an ack of a run that it never takes it.
	Refused(run rollup.Run) bool
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
// stands for a node and epoch that nobody remembers. payer returns who pays for a client, if that
// is known; it may be nil.
func (o *Offer) Check(
	signed *Signed,
	payer func(client uint64) (account uint32, known bool),
) []Verdict {
	verdicts := make([]Verdict, len(o.Clients))
	if reason, bad := o.refusesAll(signed); bad {
		for i := range verdicts {
			verdicts[i] = refuse(reason)
		}
		return verdicts
	}
	runs := o.runs()
	for i, client := range o.Clients {
		own := check{offer: o, client: client, run: runs[client], book: signed.Book, payer: payer}
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
func (r run) between(client uint64, count uint32) bool {
	statements, first := r.in.Statements, uint64(r.in.First)
	if r.lo == 0 && first > 0 || r.hi == len(statements) && first+uint64(r.hi) < uint64(count) {
		return false
	}
	return (r.lo == 0 || statements[r.lo-1].Client < client) &&
		(r.hi == len(statements) || statements[r.hi].Client > client)
}

// runs finds where each client's statements stand.
func (o *Offer) runs() map[uint64]run {
	runs := make(map[uint64]run)
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
	client uint64
	run    run
	book   Book
	payer  func(client uint64) (account uint32, known bool)
}

// refuses returns why the client must not sign, if there is a reason.
func (c *check) refuses() (Reason, bool) {
	switch {
	case !c.book.Has(c.client):
		return ReasonWrongWindow, true
	case c.run.in == nil:
		return ReasonNoStatement, true
	case c.run.scattered:
		return ReasonExtraStatement, true
	case !c.run.between(c.client, c.offer.Count):
		return ReasonNeighbour, true
	}
	own := c.run.own()
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
		if reason, bad := c.statementRefused(s); bad {
			return reason, true
		}
	}
	return 0, false
}

// statementRefused holds a statement against the run of acks that it is about.
func (c *check) statementRefused(s *rollup.Statement) (_ Reason, bad bool) {
	run := s.Run()
	if run.Count > rollup.MaxAcks {
		return ReasonWrongAcks, true
	}
	acks, known := c.book.AppendRun(listOf(run), run)
	if !known {
		return ReasonWrongAcks, true
	}
	list, err := rollup.ParseAcks(acks)
	if err != nil {
		return ReasonWrongAcks, true
	}
	units, carry := uint64(0), uint64(0)
	for i := range list.Len() {
		var over uint64
		units, over = bits.Add64(units, list.Units(i), 0)
		carry |= over
	}
	switch {
	case carry != 0 || units != s.Units:
		return ReasonWrongUnits, true
	case rollup.StatementRoot(list, c.offer.Key) != s.Root:
		return ReasonWrongRoot, true
	case c.book.Refused(run):
		return ReasonRefusedAcks, true
	}
	return 0, false
}

// listOf begins the encoding of a list of acks that are one run.
func listOf(run rollup.Run) []byte {
	const head = 4 + 8 + 3*4
	list := le.AppendUint32(make([]byte, 0, head+int(run.Count)*rollup.BodySize), 1)
	list = le.AppendUint64(list, run.Client)
	list = le.AppendUint32(list, run.Service)
	list = le.AppendUint32(list, run.First)
	return le.AppendUint32(list, run.Count)
}
