package virtual

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/api"
)

// What a world must not have come to.
var (
	ErrHistory = errors.New("virtual: two histories")
	ErrLost    = errors.New("virtual: an acknowledged ack was not settled")
	ErrTwice   = errors.New("virtual: more acks were settled than signed")
	ErrMoney   = errors.New("virtual: money came or went")
	ErrFramed  = errors.New("virtual: a node was convicted")
	ErrFailed  = errors.New("virtual: a node failed")
	ErrStuck   = errors.New("virtual: the chain does not go on")
	ErrTerms   = errors.New("virtual: hand-overs do not follow from the genesis")
)

// Judge compares what the nodes have with each other and with what clients know. All nodes must
// run, and all epochs of the acks must be settled. Excused are bills of which acks may be missing.
func (w *World) Judge(ctx context.Context, t *Traffic, excused map[bill]bool) error {
	var errs []error
	for _, m := range w.Machines {
		select {
		case err := <-m.Node.Failed():
			errs = append(errs, fmt.Errorf("%w: machine %d: %w", ErrFailed, m.Index, err))
		default:
		}
		errs = append(errs, framed(m), conserved(m))
	}
	errs = append(errs, w.oneHistory(ctx, t), t.verifyTerms(ctx))
	for _, m := range w.Machines {
		errs = append(errs, t.settled(ctx, m, excused))
	}
	t.mu.Lock()
	errs = append(errs, t.errs...)
	t.mu.Unlock()
	return errors.Join(errs...)
}

// framed finds convictions. Nobody in a world lies.
func framed(m *Machine) error {
	view := m.Node.View()
	for i := range view.Nodes() {
		if c := view.Convictions(uint32(i)); len(c) > 0 {
			return fmt.Errorf("%w: node %d, says machine %d: %+v", ErrFramed, i, m.Index, c)
		}
	}
	return nil
}

// conserved adds up what all have.
func conserved(m *Machine) error {
	view := m.Node.View()
	var sum uint64
	for i := range view.Accounts() {
		a, _ := view.Account(uint32(i))
		sum += a.Balance + a.Reserve + a.Thawing
	}
	for i := range view.Nodes() {
		n, _ := view.Node(uint32(i))
		sum += n.Stake + n.Leaving
	}
	if sum != view.Supply() {
		return fmt.Errorf("%w: machine %d has %d of %d", ErrMoney, m.Index, sum, view.Supply())
	}
	return nil
}

// oneHistory compares all headers, and the votes that decided them, byte for byte, as the nodes
// show them at their client ports. They name the state after the block before.
func (w *World) oneHistory(ctx context.Context, t *Traffic) error {
	top := w.Machines[0].Node.View().Height()
	for _, m := range w.Machines {
		top = min(top, m.Node.View().Height())
	}
	var first map[int64][]byte
	for _, m := range w.Machines {
		headers, err := t.headers(ctx, m.Index, top-1)
		if err != nil {
			return fmt.Errorf("machine %d: %w", m.Index, err)
		}
		if first == nil {
			first = headers
		}
		for height := int64(1); height < top; height++ {
			if len(headers[height]) == 0 || !bytes.Equal(headers[height], first[height]) {
				return fmt.Errorf("%w: block %d of machines %d and %d", ErrHistory, height,
					w.Machines[0].Index, m.Index)
			}
		}
	}
	return nil
}

func (t *Traffic) headers(ctx context.Context, i int, height int64) (map[int64][]byte, error) {
	c, err := t.client(i)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	all := make(map[int64][]byte)
	for height > 0 {
		res, err := client.Call(ctx, c.Ledger().GetHeaders,
			&api.GetHeadersRequest{Height: uint64(height), Count: 1024})
		if err != nil {
			return nil, err
		}
		for _, h := range res.Headers {
			all[height] = h.SignedHeader
			height--
		}
	}
	return all, nil
}

// verifyTerms follows the hand-overs from the genesis file alone to the last one.
func (t *Traffic) verifyTerms(ctx context.Context) error {
	genesis := t.world.Files.Genesis
	if t.terms == nil {
		return nil
	}
	for _, m := range t.world.Machines {
		terms, err := client.OpenTerms(genesis.Encode(), genesis.Network(), "")
		if err != nil {
			return err
		}
		want := m.Node.View().Committee().Term
		if err := t.follow(ctx, m.Index, terms, want); err != nil {
			return fmt.Errorf("%w: machine %d: %w", ErrTerms, m.Index, err)
		}
		if last := terms.Last(); last < want {
			return fmt.Errorf("%w: machine %d shows %d of %d", ErrTerms, m.Index, last, want)
		}
	}
	return nil
}

func (t *Traffic) follow(ctx context.Context, i int, terms *client.Terms, until uint32) error {
	c, err := t.client(i)
	if err != nil {
		return err
	}
	defer c.Close()
	for terms.Last() < until {
		before := terms.Last()
		if err := terms.Follow(ctx, c.Ledger()); err != nil || terms.Last() == before {
			return err
		}
	}
	return nil
}

// settled compares what was settled, by one machine's account, with what the clients know.
func (t *Traffic) settled(ctx context.Context, m *Machine, excused map[bill]bool) error {
	c, err := t.client(m.Index)
	if err != nil {
		return err
	}
	defer c.Close()
	got := make(map[bill]uint64)
	outcomes := t.outcomes()
	for epoch := range m.Node.View().NextToSettle() {
		s, err := client.Call(ctx, c.Ledger().GetSettlement,
			&api.GetSettlementRequest{Epoch: epoch})
		if connect.CodeOf(err) == connect.CodeNotFound && int(epoch) < len(m.settled) &&
			m.settled[epoch] != nil {
			for node, acks := range m.settled[epoch] { // order-free
				got[bill{node, epoch}] = acks
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("machine %d: settlement of epoch %d: %w", m.Index, epoch, err)
		}
		for _, row := range s.Rows {
			got[bill{row.Node, epoch}] += row.Acks
		}
	}
	bills := slices.Collect(maps.Keys(outcomes))
	for k := range got {
		if _, known := outcomes[k]; !known {
			bills = append(bills, k)
		}
	}
	slices.SortFunc(bills, func(a, b bill) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.node, b.node))
	})
	for _, k := range bills {
		if k.epoch >= m.Node.View().NextToSettle() {
			continue
		}
		switch o := outcomes[k]; {
		case got[k] > o.taken+o.unknown:
			return fmt.Errorf("%w: node %d in epoch %d, says machine %d: %d of %+v", ErrTwice, k.node,
				k.epoch, m.Index, got[k], o)
		case got[k] < o.taken && !excused[k]:
			return fmt.Errorf("%w: node %d in epoch %d, says machine %d: %d of %+v", ErrLost, k.node,
				k.epoch, m.Index, got[k], o)
		}
	}
	return nil
}
