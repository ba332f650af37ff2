package rollup

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
)

// Report is what a verified export file proves.
type Report struct {
	Type    ExportType
	Network Network
	Export  Export // *AckExport, *RollupExport or *SettlementExport
	Signers []int  // committee members that certified, ascending
	Members int    // of the committee
	Power   uint64 // of the signers
	Total   uint64 // of the committee

	summary string
}

// Summary says in one sentence what the file proves.
func (r *Report) Summary() string { return r.summary }

// VerifyExport decides whether an export file is valid (section 10) for a network, its committee and its shares, all
// of which the genesis file tells. Errors are those of ParseExport, Certificate.Verify and Verify, and ErrPath,
// ErrWindow, ErrClients and ErrSettlement. The check of a large rollup uses all cores.
func VerifyExport(file []byte, net Network, committee *Committee, shares Shares) (*Report, error) {
	e, err := ParseExport(file)
	if err != nil {
		return nil, err
	}
	if e.network() != net {
		return nil, fmt.Errorf("export: %w: %s", ErrNetwork, e.network())
	}
	if err := e.verify(committee, shares); err != nil {
		return nil, fmt.Errorf("%s export: %w", e.Type(), err)
	}
	signers := e.signers()
	return &Report{
		Type: e.Type(), Network: net, Export: e,
		Signers: signers.Members(), Members: len(committee.Members),
		Power: committee.Power(signers), Total: committee.TotalPower(),
		summary: e.summary() + fmt.Sprintf("; certified by %d of %d committee members with %d of %d of the power.",
			signers.Len(), len(committee.Members), committee.Power(signers), committee.TotalPower()),
	}, nil
}

func (e *AckExport) signers() Bitmap { return e.Certificate.Signers }

func (e *AckExport) verify(committee *Committee, _ Shares) error {
	h := &e.Certificate.Header
	if key := (WindowKey{Node: e.Ack.Node, Epoch: e.Ack.Epoch, Window: e.Ack.Window}); key != h.Key() {
		return fmt.Errorf("%w: %s", ErrWindow, key)
	}
	leaf := AckTreeKind.LeafHash(e.Ack.appendLeaf(nil))
	if err := VerifyPath(AckTreeKind, h.AckRoot, leaf, uint64(e.Index), uint64(h.AckCount), e.Path); err != nil {
		return err
	}
	return e.Certificate.Verify(h.Network, committee)
}

func (e *AckExport) summary() string {
	return fmt.Sprintf("client %d acknowledged %d units of service %d from node %d in window %d of epoch %d (seq %d, "+
		"request %s): ack %d of %d in rollup %s", e.Ack.Client, e.Ack.Units, e.Ack.Service, e.Ack.Node, e.Ack.Window,
		e.Ack.Epoch, e.Ack.Seq, e.Ack.Request, e.Index, e.Certificate.Header.AckCount, e.Certificate.Header.ID())
}

func (e *RollupExport) signers() Bitmap { return e.Certificate.Signers }

func (e *RollupExport) verify(committee *Committee, _ Shares) error {
	if err := e.checkClients(); err != nil {
		return err
	}
	h := &e.Certificate.Header
	if err := e.Certificate.Verify(h.Network, committee); err != nil {
		return err
	}
	reg := exportRegistry{clients: e.Clients, keys: make([]*bls.PublicKey, len(e.Clients))}
	for i := range e.Clients {
		key, err := bls.ParsePublicKey(e.Clients[i].Key[:])
		if err != nil {
			return at("client", i, fmt.Errorf("%w: %w", ErrMalformed, err))
		}
		reg.keys[i] = key
	}
	return Verify(h, e.Evidence, h.Network, &reg, nil, runtime.GOMAXPROCS(0))
}

// checkClients requires that the clients are those of the evidence, no more and no fewer.
func (e *RollupExport) checkClients() error {
	next := 0
	for _, client := range e.Evidence.clients() {
		if next == len(e.Clients) || e.Clients[next].Client != client {
			return at("client", next, fmt.Errorf("%w: client %d is in the evidence", ErrClients, client))
		}
		next++
	}
	if next != len(e.Clients) {
		return at("client", next, fmt.Errorf("%w: client %d is not in the evidence", ErrClients, e.Clients[next].Client))
	}
	return nil
}

func (e *RollupExport) summary() string {
	h := &e.Certificate.Header
	var units uint64
	for _, r := range h.Rows {
		units += r.Units
	}
	return fmt.Sprintf("node %d rolled up %d acks for %d units from %d clients in window %d of epoch %d, each one signed "+
		"by its client: rollup %s", h.Node, h.AckCount, units, len(e.Clients), h.Window, h.Epoch, h.ID())
}

// exportRegistry is the registry's extract in a rollup export.
type exportRegistry struct {
	clients []RollupClient
	keys    []*bls.PublicKey
}

func (r *exportRegistry) ClientKey(client uint32) (*bls.PublicKey, bool) {
	i, ok := slices.BinarySearchFunc(r.clients, client, compareClient)
	if !ok {
		return nil, false
	}
	return r.keys[i], true
}

func (r *exportRegistry) Payer(client, _ uint32) (uint32, bool) {
	i, ok := slices.BinarySearchFunc(r.clients, client, compareClient)
	if !ok {
		return 0, false
	}
	return r.clients[i].Payer, true
}

// UnitCap returns the largest cap there can be: the file does not hold the services' own.
func (r *exportRegistry) UnitCap(uint32) (uint64, bool) { return MaxUnitCap, true }

func (e *SettlementExport) signers() Bitmap { return e.Certificate.Signers }

func (e *SettlementExport) verify(committee *Committee, shares Shares) error {
	if err := checkSettlement(e.Rows, shares); err != nil {
		return err
	}
	if e.NextCommittee != committee.Root() {
		return fmt.Errorf("%w: another next committee", ErrSettlement)
	}
	return e.Certificate.Verify(e.Network, committee, SettlementRoot(e.Rows), e.NextCommittee)
}

func (e *SettlementExport) summary() string {
	var acks, paid uint64
	short := 0
	for i := range e.Rows {
		acks += e.Rows[i].Acks
		paid += e.Rows[i].Paid
		if e.Rows[i].Paid < e.Rows[i].Charge {
			short++
		}
	}
	return fmt.Sprintf("the settlement of epoch %d moved %d micro-credits for %d acks, with %d of %d rows paid in full: "+
		"settlement root %s", e.Certificate.Epoch, paid, acks, len(e.Rows)-short, len(e.Rows), SettlementRoot(e.Rows))
}
