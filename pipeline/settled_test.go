package pipeline_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// An ack that is good at the door can be settled. This table has a line for each reason for which a
// rollup may be refused by its rules, by a member, by the chain, or be given up by its node: what
// the door says to an ack that would be the cause, or why no ack that it took is. A reason without
// a line fails the test.
var settled = map[string]line{
	// What is wrong with an ack.
	"rollup.ErrMalformed": {door: "malformed", ack: func(a *probe) { a.frame[0] ^= 1 }},
	"rollup.ErrNetwork":   {door: "wrong_network", ack: func(a *probe) { a.frame[8] ^= 1 }},
	"rollup.ErrWindow":    {door: "wrong_node", ack: func(a *probe) { a.sign(1, 0, 0, 1, 3) }},
	"rollup.ErrUnknownClient": {door: "unknown_client",
		ack: func(a *probe) { a.frame[24], a.frame[28] = 0xff, 0xff }},
	"rollup.ErrUnknownService": {door: "unknown_service",
		ack: func(a *probe) { a.sign(0, 9, 0, 1, 0) }},
	"rollup.ErrNotGranted": {door: "not_granted", ack: func(a *probe) { a.sign(0, 3, 0, 1, 0) }},
	"rollup.ErrUnits": {door: "excess_units",
		ack: func(a *probe) { a.sign(0, 0, edgeNumbers-1, edgeCap+1, 0) }},
	"rollup.ErrNumbers": {door: "beyond_limit",
		ack: func(a *probe) { a.sign(1, 0, edgeNumbers, 1, 0) }},
	"rollup.ErrNotValid": {door: "not_valid", // it was revoked
		ack: func(a *probe) { a.sign(0, 1, 1, 1, 0) }},
	"rollup.ErrSignature": {door: "bad_signature", ack: func(a *probe) {
		a.sign(2, 0, 1, 1, 0)
		a.frame[48] ^= 1 // another request
	}},
	"peer.ReasonNumbers":    {door: "number_used", ack: func(a *probe) { a.sign(1, 0, 0, 2, 0) }},
	"ledger.CodeEpochAhead": {door: "epoch_ahead", ack: func(a *probe) { a.epoch(1) }},

	// What windows keep away, whatever acks come.
	"rollup.ErrTooManyRows": {never: "a window with 256 rows is full: the next ack has the next one"},
	"rollup.ErrStatement":   {never: "so is one whose statement would leave its bounds"},
	"rollup.ErrOverflow":    {never: "65,536 acks of the highest cap are 2^56 units"},
	"rollup.ErrUnsorted":    {never: "a window is sorted when it is sealed"},
	"rollup.ErrBothParts":   {never: "the acks part is made of the clients that did not sign"},
	"peer.ReasonBehind":     {never: "windows of an epoch are signed in their order"},

	// What a node makes itself of the acks that it took, and looks at before it is durable.
	"rollup.ErrCount": {never: own}, "rollup.ErrParts": {never: own}, "rollup.ErrList": {never: own},
	"rollup.ErrRoot": {never: own}, "rollup.ErrRows": {never: own}, "rollup.ErrWord": {never: own},
	"peer.ReasonInvalid": {never: own}, "peer.ReasonBadWord": {never: own},
	"peer.ReasonNotOwner": {never: own}, "peer.ReasonConflict": {never: own},
	"ledger.CodeMalformed": {never: own}, "ledger.CodeWrongNetwork": {never: own},
	"ledger.CodeBadWord": {never: own}, "ledger.CodeBadBitmap": {never: own},
	"ledger.CodeBadCertificate": {never: own}, "ledger.CodeNoQuorum": {never: own},
	"ledger.CodeWrongTerm": {never: own}, "rollup.ErrBitmap": {never: own},
	"rollup.ErrQuorum": {never: own}, "rollup.ErrTerm": {never: own},
	"rollup.ErrRecord": {never: other}, "rollup.ErrRegistry": {never: other},

	// Registered things stay: what the door has seen in one block is there in all later ones.
	"rollup.ErrUnknownNode": {never: stays}, "ledger.CodeUnknownNode": {never: stays},
	"ledger.CodeUnknownPayer": {never: stays}, "ledger.CodeUnknownService": {never: stays},

	// What another rung does instead.
	"rollup.ErrNoProofs":  {never: "it is pushed with its statements"},
	"rollup.ErrProof":     {never: "a proof is verified by the node, or left away"},
	"peer.ReasonNoProofs": {never: "it is pushed with its statements"},

	// What passes, and is tried again.
	"peer.ReasonLagging": {never: passes}, "peer.ReasonBusy": {never: passes},

	// What was settled or ordered is so.
	"ledger.CodeAlreadyOrdered": {never: "then it is ordered, and paid"},

	// What only time or too many bad members can do: acks are taken at most a quarter of the grace
	// after their epoch, and are not waited for beyond.
	"ledger.CodeSettled": {never: late}, "peer.ReasonTooOld": {never: late},
	"certify.ReasonLate":       {never: late},
	"peer.ReasonNoTable":       {never: quorum},
	"certify.ReasonRefused":    {never: quorum},
	"certify.ReasonUnreadable": {never: "a store that rots; there the node stops taking acks"},

	// Other kinds of things than rollups.
	"rollup.ErrPath": {never: other}, "rollup.ErrClients": {never: other},
	"rollup.ErrSettlement": {never: other}, "rollup.ErrInvoice": {never: other},
	"rollup.ErrUnknownTerm": {never: other}, "rollup.ErrOffice": {never: other},
	"rollup.ErrGap": {never: other}, "rollup.ErrHandOver": {never: other},
	"rollup.ErrSeats": {never: other}, "rollup.ErrFork": {never: other},
	"ledger.CodeOK": {never: other}, "ledger.CodeBadSignature": {never: other},
	"ledger.CodeBadNonce": {never: other}, "ledger.CodeUnknownAccount": {never: other},
	"ledger.CodeInsufficientBalance": {never: other}, "ledger.CodeBadProof": {never: other},
	"ledger.CodeKeyTaken": {never: other}, "ledger.CodeUnknownClient": {never: other},
	"ledger.CodeOutOfRange": {never: other}, "ledger.CodeNoRecord": {never: other},
	"ledger.CodeAlreadyCertified": {never: other}, "ledger.CodeOverflow": {never: other},
	"ledger.CodeNotProposer": {never: other}, "ledger.CodeTooEarly": {never: other},
	"ledger.CodeExpired": {never: other}, "ledger.CodeNotPayer": {never: other},
	"ledger.CodeNoLie": {never: other}, "ledger.CodeAlreadyConvicted": {never: other},
	"ledger.CodeInsufficientReserve": {never: other}, "ledger.CodeNotOwner": {never: other},
	"ledger.CodeInsufficientStake": {never: other},
	"ledger.CodeNoRotation":        {never: other}, "ledger.CodeNotNow": {never: other},
	"ledger.CodeNoMember": {never: other}, "ledger.CodeSaidBefore": {never: other},
	"ledger.CodeBadAudit": {never: other},
	"ledger.CodeNodeLeft": {
		never: "its owner's own doing: the door takes no ack of such an epoch"},
}

const (
	own    = "the node makes it of acks that it verified, and members of this test verify it"
	stays  = "nothing that is registered goes away"
	passes = "the node comes again until the epoch settles"
	late   = "acks are taken at most a quarter of the grace after their epoch; the rest is for this"
	quorum = "less than a third of the members: a quorum is left"
	other  = "it is said of other things than tickets"
)

// line is what keeps an accepted ack from a reason.
type line struct {
	door  string         // what is answered to an ack that would be the cause,
	ack   func(a *probe) // which is this one
	never string         // or why there is none
}

// probe is an ack that may be spoiled.
type probe struct {
	f     *fixture
	frame rollup.Frame
}

func (a *probe) sign(client uint64, service, number uint32, units uint64, node uint32) {
	key := rollup.WindowKey{Node: node}
	if service > 3 || node > 0 || units > edgeCap { // clients sign anything
		ack := a.f.net.Unsigned(key, client, service, number, units)
		a.f.net.Sign(ack)
		a.frame = ack.Append(nil)
		return
	}
	a.frame = a.f.net.Ack(key, client, service, number, units).Append(nil)
}

func (a *probe) epoch(epoch uint32) {
	a.frame = a.f.net.Ack(rollup.WindowKey{Epoch: epoch}, 1, 0, 0, 1).Append(nil)
}

// The edges: the highest cap, at which a statement has at most 16 acks, and few numbers.
const (
	edgeCap     = rollup.MaxUnitCap
	edgeNumbers = 18
	edgeClients = 90 // each with a payer of its own and three services: 270 rows
)

// No sum of a window's units overflows.
const _ = uint64(rollup.MaxAcks) * edgeCap

// TestAcceptedIsSettled walks the table, and settles what was accepted at every edge that the door
// allows: the cap, the last number, more acks than a statement may have, more rows than a window
// has, a client that is revoked, and the tail of the epoch.
func TestAcceptedIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Members: 4, Clients: edgeClients, Payers: edgeClients,
			Services: 4, UnitCap: edgeCap, Numbers: edgeNumbers, EpochSeconds: 60, GraceSeconds: 120})
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		accepted := 0
		take := func(acks ...*rollup.Ack) {
			t.Helper()
			f.want(f.submit(acks...), all(rollup.CodeAccepted, len(acks))...)
			accepted += len(acks)
		}
		for client := range uint64(edgeClients) {
			for service := range uint32(5) {
				if c, _ := f.net.View().Client(client); c.MayUse(service) {
					take(f.net.Ack(now, client, service, 0, edgeCap))
				}
			}
		}
		for number := uint32(1); number < edgeNumbers; number++ {
			take(f.net.Ack(now, 1, 0, number, edgeCap))
		}
		if err := f.net.Revoke(0); err != nil {
			t.Fatal(err)
		}
		for name, l := range settled {
			if l.ack != nil {
				f.refused(name, l)
			}
		}
		time.Sleep(62*time.Second - time.Since(f.net.View().EpochStart()))
		if f.net.View().Epoch() != 1 {
			t.Fatal("the epoch goes on")
		}
		take(f.net.Ack(now, 2, 0, 1, edgeCap)) // in the tail
		time.Sleep(200 * time.Second)
		table, ok := f.net.View().Settlement(0)
		if !ok {
			t.Fatal("epoch 0 is not settled")
		}
		acks, units := uint64(0), uint64(0)
		for _, row := range table.Rows {
			acks, units = acks+row.Acks, units+row.Units
		}
		if acks != uint64(accepted) || units != acks*edgeCap {
			t.Errorf("%d acks were accepted, %d settled", accepted, acks)
		}
		if n := len(f.net.Ordered()); n < 2 {
			t.Errorf("%d windows: the edges were not reached", n)
		}
	})
}

// refused checks what the door says to a line's ack.
func (f *fixture) refused(name string, l line) {
	f.t.Helper()
	want, err := rollup.ParseCode(l.door)
	if err != nil {
		f.t.Fatal(err)
	}
	a := &probe{f: f}
	a.sign(1, 0, 1, 1, 0)
	l.ack(a)
	answers := make([]rollup.Answer, 1)
	if _, err := f.source.Submit(f.t.Context(), a.frame, answers); err != nil {
		f.t.Fatal(err)
	}
	if answers[0].Code != want {
		f.t.Errorf("%s: the door says %v, want %v", name, answers[0].Code, want)
	}
}

// reasons are all that a rollup may be refused or given up for, from the rooms themselves.
func reasons(t *testing.T) (names []string) {
	names = declared(t, "../rollup/errors.go", "rollup", "Err")
	names = append(names, declared(t, "../rollup/ledger/code.go", "ledger", "Code")...)
	names = append(names, declared(t, "../node/peer/refusal.go", "peer", "Reason")...)
	names = append(names, declared(t, "certify/reason.go", "certify", "Reason")...)
	least := len(ledger.TxCodes()) + len(peer.Reasons()) + len(certify.Reasons())
	if len(names) < least {
		t.Errorf("%d reasons were found in the sources, there are at least %d", len(names), least)
	}
	return names
}

// declared returns the constants and variables of a file with a prefix.
func declared(t *testing.T, file, pkg, prefix string) (names []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST && g.Tok != token.VAR {
			continue
		}
		for _, s := range g.Specs {
			for _, id := range s.(*ast.ValueSpec).Names {
				if strings.HasPrefix(id.Name, prefix) {
					names = append(names, pkg+"."+id.Name)
				}
			}
		}
	}
	return names
}

// TestEveryReasonHasALine fails when a reason is new, and when one is gone.
func TestEveryReasonHasALine(t *testing.T) {
	known := make(map[string]bool)
	for _, name := range reasons(t) {
		known[name] = true
		l, ok := settled[name]
		if !ok || (l.ack == nil) != (l.door == "") || (l.ack == nil) == (l.never == "") {
			t.Errorf("%s: why can an accepted ack not come to this?", name)
		}
	}
	for name := range settled {
		if !known[name] {
			t.Errorf("%s is no reason any more", name)
		}
	}
}
