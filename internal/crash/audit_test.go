//go:build linux

package crash

import (
	"strings"
	"testing"

	"github.com/waybill-network/waybill/rollup"
)

// ledgerOf makes books of three acks, and an audit that agrees with them.
func ledgerOf() (*Network, *Parties, *Books, *Audit) {
	p := &Parties{Services: []uint32{0, 1},
		byIndex: map[uint64]*Client{0: {Index: 0, Payer: 5}, 1: {Index: 1, Payer: 6}}}
	b := NewBooks(p)
	a := &Audit{Ordered: map[AckID]Entry{}}
	for i := range uint32(3) {
		id := AckID{Client: uint64(i % 2), Number: i / 2}
		entry := Entry{Units: 1 << 20, Request: rollup.Hash{byte(i)}}
		b.Delivered[id.Client] += entry.Units
		b.Signed[id], b.Accepted[id], a.Ordered[id] = entry, entry, entry
	}
	a.Rows = [][]rollup.SettlementRow{{
		{Payer: 5, Windows: 2, Acks: 2, Units: 2 << 20, Charge: 2*prices[0] - 1, Paid: 2*prices[0] - 1},
		{Payer: 6, Windows: 1, Acks: 1, Units: 1 << 20, Charge: prices[0], Paid: prices[0]},
	}}
	return &Network{}, p, b, a
}

// TestAuditCanFail: every kind of difference must be seen.
func TestAuditCanFail(t *testing.T) {
	n, p, b, a := ledgerOf()
	if err := a.compareAcks(b); err != nil {
		t.Fatal(err)
	}
	if err := n.compareSettlements(a, p); err != nil {
		t.Fatal(err)
	}
	first := AckID{Client: 0, Number: 0}
	stranger := AckID{Client: 1, Number: 99}
	for what, spoil := range map[string]func(*Books, *Audit){
		"is lost":             func(_ *Books, a *Audit) { delete(a.Ordered, first) },
		"no client signed it": func(_ *Books, a *Audit) { a.Ordered[stranger] = Entry{} },
		"never heard of it":   func(b *Books, _ *Audit) { delete(b.Accepted, first) },
		"and signed as":       func(_ *Books, a *Audit) { a.Ordered[first] = Entry{Units: 7} },
		"and accepted as":     func(b *Books, _ *Audit) { b.Accepted[first] = Entry{Units: 7} },
		"one delivery was": func(b *Books, a *Audit) {
			a.Ordered[stranger], b.Signed[stranger] = a.Ordered[first], a.Ordered[first]
		},
		"client 0 is billed 2097152 units, and got 2097151": func(b *Books, _ *Audit) {
			b.Delivered[0]--
		},
		"row 0: charge 140000 in 2 windows is off by 2": func(_ *Books, a *Audit) {
			a.Rows[0][0].Charge--
		},
		"row 1: charge 70002 in 1 windows is off by -1": func(_ *Books, a *Audit) {
			a.Rows[0][1].Charge++
		},
		"charge 70001, and 70000 paid": func(_ *Books, a *Audit) { a.Rows[0][1].Paid-- },
		"settled were {Acks:3":         func(_ *Books, a *Audit) { a.Rows[0][0].Acks++ },
		"nothing was settled":          func(_ *Books, a *Audit) { a.Rows[0] = a.Rows[0][:1] },
		"epoch 0: 2 acks of it are missing": func(_ *Books, a *Audit) {
			a.Rows = [][]rollup.SettlementRow{a.Rows[0][1:], a.Rows[0][:1]}
		},
		"settled were {Acks:4": func(_ *Books, a *Audit) { a.Rows = append(a.Rows, a.Rows[0][:1]) },
	} {
		n, p, b, a := ledgerOf()
		spoil(b, a)
		err := a.compareAcks(b)
		if err == nil {
			err = n.compareSettlements(a, p)
		}
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%q is not what the audit says: %v", what, err)
		}
	}
}

// TestStatedCanFail: a statement that is not about the acks in the books must be seen.
func TestStatedCanFail(t *testing.T) {
	_, _, b, _ := ledgerOf()
	h := rollup.NewHeader(rollup.Network{}, rollup.WindowKey{})
	ids, err := b.stated(h, statement(b, h, 0))
	if err != nil || len(ids) != 2 || ids[0].Number != 0 {
		t.Fatal(ids, err)
	}
	for what, spoil := range map[string]func(s *rollup.Statement, b *Books){
		"one ack more":    func(s *rollup.Statement, _ *Books) { s.Acks++ },
		"other units":     func(s *rollup.Statement, _ *Books) { s.Units++ },
		"another root":    func(s *rollup.Statement, _ *Books) { s.Root[0]++ },
		"another service": func(s *rollup.Statement, _ *Books) { s.Service++ },
		"another request": func(_ *rollup.Statement, b *Books) {
			id := AckID{Client: 0, Number: 0}
			e := b.Accepted[id]
			e.Request[0]++
			b.Accepted[id] = e
		},
	} {
		_, _, b, _ := ledgerOf()
		s := statement(b, h, 0)
		spoil(s, b)
		if _, err := b.stated(h, s); err == nil {
			t.Errorf("%s is not seen", what)
		}
	}
}

// statement is a true one about a client's acks.
func statement(b *Books, h *rollup.Header, client uint64) *rollup.Statement {
	s := &rollup.Statement{Client: client}
	var bodies []byte
	for {
		e, ok := b.Accepted[AckID{Client: client, Number: s.Acks}]
		if !ok {
			break
		}
		a := rollup.Ack{Units: e.Units, Request: e.Request}
		bodies = append(bodies, rollup.Frame(a.Append(nil)).Body()...)
		s.Acks++
		s.Units += e.Units
	}
	run := rollup.Run{Client: client, Count: s.Acks}
	s.Root = rollup.StatementRoot(rollup.Acks(encodeRun(run, bodies)), h.Key())
	return s
}
