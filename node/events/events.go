// Package events keeps what blocks did, for whoever follows a chain: payers, operators, other
// programs. An event is the same at every node, and has its place (height and index) for good, so
// that a reader goes on exactly where it was cut.
//
// Of makes the events of a block, Log keeps them, Filter chooses among them.
package events

import (
	"crypto/sha256"
	"encoding/hex"

	"google.golang.org/protobuf/proto"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// The kinds of events. Their order is that of docs/api.md.
const (
	KindRefused   = "refused" // a transaction in a block, or a grant in one
	KindDeposited = "deposited"
	KindMoved     = "transferred"
	KindReserved  = "reserved"
	KindThawing   = "thawing"
	KindAllowance = "allowance"
	KindGranted   = "granted"
	KindRevoked   = "revoked"

	KindOrdered   = "ordered"   // a rollup
	KindCharged   = "charged"   // a row of it
	KindEpoch     = "epoch"     // one began
	KindSettled   = "settled"   // an epoch
	KindPaid      = "paid"      // by a payer in a settled epoch
	KindArrears   = "arrears"   // of a payer in a settled epoch
	KindCertified = "certified" // the record of a block

	KindNode      = "node"  // registered
	KindStake     = "stake" // of a node changed
	KindService   = "service"
	KindPrice     = "price"
	KindConvicted = "convicted"
	KindStands    = "stands"
	KindSeats     = "seats"
	KindFixed     = "seats_fixed"
	KindHandOver  = "handed_over"
	KindSkipped   = "rotation_skipped"
	KindWithheld  = "withheld"
	KindAbsent    = "absent"
	KindRewarded  = "rewarded"
	KindProofKey  = "proof_key"
	KindPlanned   = "upgrade_planned"
	KindUpgraded  = "upgraded"
)

// Kinds are all kinds.
var Kinds = []string{KindRefused, KindDeposited, KindMoved, KindReserved, KindThawing,
	KindAllowance, KindGranted, KindRevoked, KindOrdered, KindCharged, KindEpoch, KindSettled,
	KindPaid, KindArrears, KindCertified, KindNode, KindStake, KindService, KindPrice,
	KindConvicted, KindStands, KindSeats, KindFixed, KindHandOver, KindSkipped, KindWithheld,
	KindAbsent, KindRewarded,
	KindProofKey, KindPlanned, KindUpgraded}

// Executed is a transaction of a block, and what became of it.
type Executed struct {
	Tx     []byte
	Result ledger.Result
}

// Of returns the events of a block: first what its transactions did to accounts, or why they did
// nothing, in their order; then what the ledger tells, in the order of execution. The view is after
// the block. The events depend on nothing else.
func Of(view *ledger.View, b *ledger.Block, executed []Executed) []*api.Event {
	m := &maker{view: view}
	for i := range executed {
		m.transaction(&executed[i])
	}
	for _, e := range b.Events {
		m.event(e)
	}
	for i, e := range m.list {
		e.Height, e.Index = uint64(b.Height), uint32(i)
		e.TimeMs = uint64(view.Time().UnixMilli())
	}
	return m.list
}

type maker struct {
	view *ledger.View
	list []*api.Event
}

func (m *maker) add(kind string, e *api.Event) *api.Event {
	e.Kind = kind
	m.list = append(m.list, e)
	return e
}

// account returns the index of the account of a key, nil when it has none.
func (m *maker) account(key ledger.Key) *uint32 {
	if a, ok := m.view.AccountByKey(key); ok {
		return &a.Index
	}
	return nil
}

func (m *maker) transaction(x *Executed) {
	digest := sha256.Sum256(x.Tx)
	hash := proto.String(hex.EncodeToString(digest[:]))
	tx, err := ledger.ParseTx(x.Tx)
	if err != nil {
		m.add(KindRefused, &api.Event{Tx: hash, Code: proto.String(x.Result.Code.String())})
		return
	}
	kind := proto.String(tx.Kind.String())
	var sender *uint32
	if tx.Signed != nil {
		sender = m.account(tx.Signed.Sender)
	}
	if !x.Result.OK() {
		e := m.add(KindRefused, &api.Event{Tx: hash, TxKind: kind, Payer: sender,
			Code: proto.String(x.Result.Code.String())})
		if t, ok := tx.Body.(*ledger.Ticket); ok {
			key := t.Header.Key()
			e.Node, e.Epoch, e.Window = &key.Node, &key.Epoch, &key.Window
			e.Id = proto.String(t.Header.ID().String())
		}
		return
	}
	switch body := tx.Body.(type) {
	case *ledger.Deposit:
		m.add(KindDeposited, &api.Event{Tx: hash, Payer: m.account(body.To), Amount: &body.Amount})
	case *ledger.Transfer:
		m.add(KindMoved, &api.Event{Tx: hash, Payer: sender, Account: m.account(body.To),
			Amount: &body.Amount})
	case *ledger.Reserve:
		m.add(KindReserved, &api.Event{Tx: hash, Payer: sender, Amount: &body.Amount})
	case *ledger.Thaw:
		m.add(KindThawing, &api.Event{Tx: hash, Payer: sender, Amount: &body.Amount})
	case *ledger.Allowance:
		m.add(KindAllowance, &api.Event{Tx: hash, Payer: sender, Amount: &body.Allowance})
	case *ledger.Grants:
		for i := range x.Result.Fell {
			fell := &x.Result.Fell[i]
			m.add(KindRefused, &api.Event{Tx: hash, TxKind: kind,
				Payer: &body.Grants[fell.Grant].Payer, Count: proto.Uint64(uint64(fell.Grant)),
				Code: proto.String(fell.Code().String())})
		}
	}
}

func (m *maker) event(event ledger.Event) {
	switch e := event.(type) {
	case ledger.Ordered:
		m.ordered(&e)
	case ledger.EpochStarted:
		m.add(KindEpoch, &api.Event{Epoch: &e.Epoch})
	case ledger.Settled:
		m.settled(e.Settlement)
	case ledger.RecordCertified:
		r := e.Record.Record
		m.add(KindCertified, &api.Event{Epoch: &r.Epoch, First: &r.Height})
	case ledger.ClientsGranted:
		m.granted(&e)
	case ledger.ClientsRevoked:
		revoked := &api.Event{Clients: e.Clients, Until: &e.Until}
		if c, ok := m.view.Client(e.Clients[0]); ok { // one payer's, all of them
			revoked.Payer = &c.Payer
		}
		m.add(KindRevoked, revoked)
	case ledger.NodeRegistered:
		m.node(KindNode, &e.Node)
	case ledger.StakeChanged:
		m.node(KindStake, &e.Node)
	case ledger.ServiceRegistered:
		m.service(KindService, &e.Service, e.Service.Price)
	case ledger.PriceLowered:
		m.service(KindPrice, &e.Service, e.Service.NextPrice).Epoch = &e.Service.From
	case ledger.Convicted:
		m.add(KindConvicted, &api.Event{Node: &e.Node, Amount: &e.Taken,
			Text: proto.String(e.Lie.String())})
	case ledger.Stands:
		m.add(KindStands, &api.Event{Node: &e.Node, Until: &e.Jailed})
	case ledger.SeatsDrawn:
		m.add(KindSeats, &api.Event{Epoch: &e.Epoch, Id: proto.String(e.Seed.String()),
			Count: proto.Uint64(uint64(len(e.Asked)))})
	case ledger.SeatsFixed:
		m.add(KindFixed, &api.Event{Epoch: &e.Epoch})
	case ledger.HandedOver:
		m.add(KindHandOver, &api.Event{First: proto.Uint64(uint64(e.From)),
			Count: proto.Uint64(uint64(len(e.Committee.Members)))})
	case ledger.RotationSkipped:
		m.add(KindSkipped, &api.Event{Epoch: &e.Epoch, Text: proto.String(e.Why.String())})
	case ledger.Withheld:
		m.add(KindWithheld, &api.Event{Node: &e.Node, Amount: &e.Taken})
	case ledger.Absent:
		m.add(KindAbsent, &api.Event{Node: &e.Node, Epoch: &e.Epoch, Until: &e.Jailed})
	case ledger.ProofKeyNamed:
		m.add(KindProofKey, &api.Event{Epoch: &e.Key.From, Until: &e.Key.Until,
			Id: proto.String(e.Key.Key.String()), Count: proto.Uint64(uint64(e.Key.Statements))})
	case ledger.UpgradePlanned:
		m.upgrade(KindPlanned, &e.Upgrade)
	case ledger.Upgraded:
		m.upgrade(KindUpgraded, &e.Upgrade)
	default:
		panic("events: an event of the ledger that has no kind here")
	}
}

func (m *maker) ordered(e *ledger.Ordered) {
	header := &e.Certificate.Header
	_, units := header.Totals()
	m.add(KindOrdered, &api.Event{Epoch: &e.Key.Epoch, Node: &e.Key.Node, Window: &e.Key.Window,
		Id: proto.String(e.ID.String()), Acks: proto.Uint64(uint64(e.Acks)), Units: &units})
	for i := range header.Rows {
		row, charge := &header.Rows[i], &e.Charges[i]
		m.add(KindCharged, &api.Event{Epoch: &e.Key.Epoch, Node: &e.Key.Node,
			Window: &e.Key.Window, Payer: &row.Payer, Service: &row.Service, Acks: &row.Acks,
			Units: &row.Units, Charge: &charge.Charge, Allowed: &charge.Allowed,
			Paid: &charge.Paid})
	}
}

func (m *maker) settled(s *ledger.Settlement) {
	charged, allowed, paid := s.Totals()
	m.add(KindSettled, &api.Event{Epoch: &s.Epoch, Id: proto.String(s.Root.String()),
		Charge: &charged, Allowed: &allowed, Paid: &paid})
	for i := range s.Payers {
		p := &s.Payers[i]
		m.add(KindPaid, &api.Event{Epoch: &s.Epoch, Payer: &p.Payer, Paid: &p.Paid})
		if arrears := s.Arrears(p.Payer); arrears > 0 {
			m.add(KindArrears, &api.Event{Epoch: &s.Epoch, Payer: &p.Payer, Amount: &arrears})
		}
	}
	for i := range s.Duties {
		if d := &s.Duties[i]; d.Reward > 0 {
			rewarded := &api.Event{Epoch: &s.Epoch, Node: &d.Node, Amount: &d.Reward}
			if n, ok := m.view.Node(d.Node); ok {
				rewarded.Account = &n.Owner
			}
			m.add(KindRewarded, rewarded)
		}
	}
}

// granted makes an event of each run of clients that have one payer.
func (m *maker) granted(e *ledger.ClientsGranted) {
	var run *api.Event
	for i := range uint64(e.Count) {
		c, ok := m.view.Client(e.First + i)
		if !ok {
			continue
		}
		if run == nil || *run.Payer != c.Payer {
			run = m.add(KindGranted, &api.Event{Payer: &c.Payer, First: proto.Uint64(e.First + i),
				Count: new(uint64)})
		}
		*run.Count++
	}
}

func (m *maker) node(kind string, n *ledger.Node) {
	m.add(kind, &api.Event{Node: &n.Index, Account: &n.Owner, Amount: &n.Stake})
}

func (m *maker) service(kind string, s *ledger.Service, price uint64) *api.Event {
	return m.add(kind, &api.Event{Service: &s.Index, Account: &s.Owner, Amount: &price,
		Text: &s.Unit})
}

func (m *maker) upgrade(kind string, u *ledger.Upgrade) {
	m.add(kind, &api.Event{Epoch: &u.Epoch, Count: proto.Uint64(uint64(u.Version)), Text: &u.Name})
}
