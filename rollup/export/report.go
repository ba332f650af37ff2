package export

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// Trust is what the check of an export file starts from: the genesis file, which is trusted, and
// what hand-overs from there on show.
type Trust struct {
	Network rollup.Network
	// Terms are the committees. Verify extends them by a file of hand-overs, so that such a file comes
	// before those that later committees signed.
	Terms *rotation.Chain
	// TermEpochs is after how many epochs a seat is drawn anew, when committees rotate.
	TermEpochs int
	Shares     rollup.Shares
	Reward     uint16              // of the protocol's share, to the committee, in basis points
	NodeKeys   map[uint32][32]byte // of the genesis' nodes, for lies that they told

	// Proofs returns a verifier from the verifying key that the file holds, once it has the digest
	// that the registry has for the circuit's size; nil when the program has none.
	Proofs func(size int, key []byte) (rollup.ProofVerifier, error)
	// Development says that whoever made those keys may be able to forge proofs.
	Development bool

	// Workers bounds the goroutines that decode keys and check a rollup's acks; 0 means 1.
	Workers int

	// Checked is called when a check is done, with its name, and more than once when it is done in
	// parts; nil is ignored. A caller with a clock learns from it how long each took.
	Checked func(name string)
}

// TrustOf returns what the files of a network are checked against. The genesis must be valid; a
// verifier of proofs is for the caller to add.
func TrustOf(g *ledger.Genesis) *Trust {
	t := &Trust{Network: g.Network(), Terms: g.Terms(), Shares: g.Params.Shares,
		Development: g.Params.Proofs.Development}
	t.NodeKeys = make(map[uint32][32]byte, len(g.Members))
	for i := range g.Members {
		t.NodeKeys[g.MemberNode(i)] = g.Members[i].TransportKey
	}
	if r := g.Params.Rotation; r != nil {
		t.TermEpochs, t.Reward = int(r.TermEpochs), r.Reward
	}
	return t
}

// Report is what a verified export file proves.
type Report struct {
	Type    Type
	Network rollup.Network
	// File is an *Ack, *Rollup, *Settlement, *StatementAck, *HandOvers, *Draws, *Lie or *Invoice.
	File    File
	Checks  []Check // in order
	Signers []int   // committee members that certified, ascending
	Members int     // of the committee
	Power   uint64  // of the signers
	Total   uint64  // of the committee

	summary string
}

// Check is one thing that was checked.
type Check struct {
	// Name is "record", "order", "inclusion", "settlement", "registry", "hand-overs", "draws", "lie",
	// "invoice", "rung 1", "rung 2" or "rung 3".
	Name  string `json:"name"`
	What  string `json:"what"`  // a sentence without its end
	Bytes int    `json:"bytes"` // of the file that it needed
}

// Summary says in one sentence what the file proves.
func (r *Report) Summary() string { return r.summary }

// NetworkError says that a file is of another network than the genesis file that it is checked
// against, so that nothing can be said about it: the first suspect is the genesis file. Both are
// named by their digest. It is a rollup.ErrNetwork.
type NetworkError struct {
	File, Genesis rollup.Network
	Err           error // why the file does not decode either; nil when it does
}

func (e *NetworkError) Error() string {
	text := fmt.Sprintf("export: the file is of network %s, the genesis file of network %s", e.File,
		e.Genesis)
	if e.Err != nil {
		text += fmt.Sprintf("; besides, %v", e.Err)
	}
	return text
}

// Is makes it a rollup.ErrNetwork.
func (e *NetworkError) Is(target error) bool { return target == rollup.ErrNetwork }

func (e *NetworkError) Unwrap() error { return e.Err }

// parse is Parse of a file that must be of the trusted network. What a file of another network says
// may follow rules that are not known here, so the network is suspected before its bytes are.
func (t *Trust) parse(file []byte) (File, error) {
	e, err := Parse(file)
	if err == nil {
		if e.network() != t.Network {
			err = &NetworkError{File: e.network(), Genesis: t.Network}
		}
		return e, err
	}
	var network rollup.Network
	r := newReader(file)
	r.Tag(exportTag)
	r.Fill(network[:])
	if r.Err == nil && network != t.Network && !errors.Is(err, rollup.ErrNetwork) {
		err = &NetworkError{network, t.Network, err}
	}
	return e, err
}

// Verify decides whether an export file is valid (section 10) for what the genesis file tells.
// Errors are those of Parse, a *NetworkError, those of rotation.Chain.Verify and Extend,
// rollup.Verify, and ErrPath, ErrWindow, ErrClients, ErrRegistry, ErrSettlement, ErrInvoice in an
// *InvoiceError, and ErrProof for a verifying key that is not the network's.
func Verify(file []byte, trust *Trust) (*Report, error) {
	e, err := trust.parse(file)
	if err != nil {
		return nil, err
	}
	v := exportVerifier{Trust: trust}
	if err := e.verify(&v); err != nil {
		return nil, fmt.Errorf("%s export: %w", e.Type(), err)
	}
	term, signers := e.signers()
	committee, err := trust.Terms.Committee(term)
	if err != nil { // it was found before
		return nil, fmt.Errorf("%s export: %w", e.Type(), err)
	}
	summary := e.summary()
	if signers != nil {
		summary += fmt.Sprintf("; signed by %d of %d committee members with %d of %d of the power",
			signers.Len(), len(committee.Members), committee.Power(signers), committee.TotalPower())
	}
	return &Report{
		Type: e.Type(), Network: trust.Network, File: e, Checks: v.checks,
		Signers: signers.Positions(), Members: len(committee.Members),
		Power: committee.Power(signers), Total: committee.TotalPower(),
		summary: summary + ".",
	}, nil
}

// exportVerifier collects what was checked.
type exportVerifier struct {
	*Trust
	checks []Check
}

// done notes a check that has passed.
func (v *exportVerifier) done(c Check) {
	v.checks = append(v.checks, c)
	v.part(c.Name)
}

// part tells that a part of a check has passed.
func (v *exportVerifier) part(name string) {
	if v.Checked != nil {
		v.Checked(name)
	}
}

func (e *Ack) verify(v *exportVerifier) error {
	h := e.Header
	if err := ofWindow(&e.Ack, h); err != nil {
		return err
	}
	leaf := rollup.AckTreeKind.LeafHash(e.Ack.AppendLeaf(nil))
	if err := rollup.VerifyPath(rollup.AckTreeKind, h.AckRoot, leaf, uint64(e.Index),
		uint64(h.AckCount), e.Path); err != nil {
		return err
	}
	v.done(Check{Name: "inclusion", What: fmt.Sprintf(
		"the ack leads to the root of the rollup's acks with %d hashes", len(e.Path)),
		Bytes: rollup.LeafSize + 32*len(e.Path)})
	return v.anchor(&e.Anchor)
}

// ofWindow checks that the ack is of the header's node and epoch: ErrWindow.
func ofWindow(a *rollup.Ack, h *rollup.Header) error {
	if a.Node != h.Node || a.Epoch != h.Epoch {
		return fmt.Errorf("%w: node %d, epoch %d", rollup.ErrWindow, a.Node, a.Epoch)
	}
	return nil
}

// sentence says what was acknowledged.
func sentence(a *rollup.Ack, h *rollup.Header) string {
	return fmt.Sprintf("client %d acknowledged %d units of service %d from node %d "+
		"in epoch %d (number %d, request %s), which is in window %d",
		a.Client, a.Units, a.Service, a.Node, a.Epoch, a.Number, a.Request, h.Window)
}

func (e *Ack) summary() string {
	h := e.Header
	return fmt.Sprintf("%s: ack %d of %d in rollup %s", sentence(&e.Ack, h), e.Index, h.AckCount,
		h.ID())
}

func (e *Rollup) verify(v *exportVerifier) error {
	if err := v.anchor(&e.Anchor); err != nil {
		return err
	}
	if err := e.Extract.verify(e); err != nil {
		return err
	}
	proofs, err := e.proofs(v.Trust)
	if err != nil {
		return err
	}
	reg, err := e.Extract.registry(max(1, v.Workers))
	if err != nil {
		return err
	}
	v.done(Check{Name: "registry", What: fmt.Sprintf(
		"%d clients with their keys and payers, %d services with their caps and the node are in the "+
			"registry that the record names", len(e.Clients), len(e.Services)), Bytes: e.Extract.size()})
	rung := func(r rollup.Rung) { v.part(r.String()) }
	if err := rollup.VerifyParts(e.Header, e.Evidence, v.Network, reg, proofs, max(1, v.Workers),
		rung); err != nil {
		return err
	}
	v.checks = append(v.checks, e.rungs(v.Development)...)
	return nil
}

// rungs says what was checked of each part.
func (e *Rollup) rungs(development bool) (checks []Check) {
	ev, whole := e.Evidence, len(e.Evidence.Append(nil))
	if n := ev.Acks.Len(); n > 0 {
		checks = append(checks, Check{Name: rollup.RungAcks.String(), Bytes: len(ev.Acks),
			What: fmt.Sprintf("%d acks of %d clients hashed to the "+
				"curve and one aggregate signature checked against them, their tree and totals recomputed", n,
				len(e.Clients)-len(ev.List.Signers()))})
	}
	signers, bytes := len(ev.List.Signers()), whole-len(ev.Acks)
	switch ev.Rung {
	case rollup.RungStatements:
		checks = append(checks, Check{Name: ev.Rung.String(), Bytes: bytes,
			What: fmt.Sprintf("the keys of %d clients added and one "+
				"signature of theirs checked, %d statements hashed to its root, the totals recomputed", signers,
				len(ev.Statements))})
	case rollup.RungProof:
		what := fmt.Sprintf("the keys of %d clients added and one signature of theirs checked, "+
			"the totals of %d statements verified by a proof for every %d of them",
			signers, len(ev.List), ev.Size)
		if development {
			what += ", under development keys, with which their maker can forge proofs"
		}
		checks = append(checks, Check{Name: ev.Rung.String(), Bytes: bytes + len(e.VerifyingKey),
			What: what})
	}
	return checks
}

func (e *Rollup) summary() string {
	h := e.Header
	var acks, units uint64
	for _, r := range h.Rows {
		acks += r.Acks
		if sum, carry := bits.Add64(units, r.Units, 0); carry == 0 {
			units = sum
		} else {
			units = math.MaxUint64
		}
	}
	how := "each one signed by its client"
	if n := h.StatementCount; n > 0 {
		how = fmt.Sprintf("%d of them signed one by one and %d by the statements of %d clients",
			h.AckCount, acks-uint64(h.AckCount),
			len(e.Evidence.List.Signers()))
	}
	return fmt.Sprintf("node %d rolled up %d acks for %d units from %d clients "+
		"in window %d of epoch %d, %s: rollup %s",
		h.Node, acks, units, len(e.Clients), h.Window, h.Epoch, how, h.ID())
}

func (e *Settlement) verify(v *exportVerifier) error {
	if len(e.Duties) > 0 && v.TermEpochs == 0 {
		return fmt.Errorf("%w: duties of a committee that does not rotate", rollup.ErrSettlement)
	}
	if err := e.Check(v.Shares, v.Reward); err != nil {
		return err
	}
	root := e.Root()
	if e.Record.SettledEpoch == rollup.NoEpoch || root != e.Record.SettlementRoot {
		return fmt.Errorf("%w: the rows give %s, the record has %s", rollup.ErrSettlement, root,
			e.Record.SettlementRoot)
	}
	v.done(Check{Name: "settlement", What: fmt.Sprintf(
		"%d rows of %d payers and %d duties obey the rules of charges, allowances, payment, shares "+
			"and rewards, and are hashed to the root", len(e.Rows), len(e.Payers), len(e.Duties)),
		Bytes: len(e.Rows)*rollup.SettlementRowSize + len(e.Payers)*rollup.PayerRowSize +
			len(e.Duties)*rollup.DutyRowSize})
	return v.witness(&e.Witness)
}

func (e *Settlement) summary() string {
	var acks, paid uint64
	above, short := 0, 0
	for i := range e.Rows {
		r := &e.Rows[i]
		acks += r.Acks
		paid += r.Paid
		if r.Allowed < r.Charge {
			above++
		}
		if r.Paid < r.Allowed {
			short++
		}
	}
	text := fmt.Sprintf("the settlement of epoch %d moved %d micro-credits of %d payers for %d acks",
		e.Record.SettledEpoch, paid, len(e.Payers), acks)
	if len(e.Duties) > 0 {
		var rewards uint64
		for i := range e.Duties {
			rewards += e.Duties[i].Reward // of a pool that is a part of what was paid
		}
		text += fmt.Sprintf(", and %d of the protocol's part to members of the committee", rewards)
	}
	if above > 0 {
		text += fmt.Sprintf("; %d of %d rows are above an allowance", above, len(e.Rows))
	}
	if short > 0 {
		text += fmt.Sprintf("; %d of %d rows are in arrears", short, len(e.Rows))
	}
	if above+short == 0 {
		text += fmt.Sprintf(", with all %d rows paid in full", len(e.Rows))
	}
	return fmt.Sprintf("%s: settlement root %s", text, e.Root())
}
