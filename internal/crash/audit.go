//go:build linux

package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"runtime"
	"slices"
	"strings"

	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/mainjob"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
)

// Audit is what the network certified, read from export files that were verified against the
// genesis file alone.
type Audit struct {
	Rollups int
	Rungs   map[rollup.Rung]int // rollups by the best evidence that their own node has
	Ordered map[AckID]Entry
	Stated  int                      // of the acks ordered, those under co-signed statements
	Rows    [][]rollup.SettlementRow // of certified settlements, by epoch
	Duties  [][]rollup.DutyRow       // likewise; none where the committee stays
	tickets map[rollup.Hash]bool     // of the rollups
}

// AuditAcks waits until everything in the books is ordered, on every node, and holds books and
// rollups against each other. The load has ended.
func (n *Network) AuditAcks(ctx context.Context, b *Books) (*Audit, error) {
	a := &Audit{Rungs: map[rollup.Rung]int{}, Ordered: map[AckID]Entry{},
		tickets: map[rollup.Hash]bool{}}
	keys, err := n.awaitOrdered(ctx, b)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if err := n.addRollup(ctx, a, b, key); err != nil {
			return nil, err
		}
	}
	return a, a.compareAcks(b)
}

// Audit is AuditAcks, and then waits for the settlements and checks them and the balances. before
// are the balances before the first ack was delivered.
func (n *Network) Audit(ctx context.Context, p *Parties, b *Books,
	before []uint64) (*Audit, error) {
	a, err := n.AuditAcks(ctx, b)
	if err != nil {
		return a, err
	}
	if err := n.awaitSettled(ctx, a); err != nil {
		return a, err
	}
	if err := n.compareSettlements(a, p); err != nil {
		return a, err
	}
	if err := a.compareRewards(n.Genesis.Params.Rotation); err != nil {
		return a, err
	}
	return a, n.compareBalances(ctx, a, p, before)
}

// awaitOrdered waits until as many acks as were accepted are ordered and the tickets known on every
// node, and returns all ordered windows.
func (n *Network) awaitOrdered(ctx context.Context, b *Books) ([]rollup.WindowKey, error) {
	ordered := map[rollup.WindowKey]bool{}
	n.signers = map[rollup.WindowKey][]uint32{}
	for i := range n.Clients {
		err := n.await(ctx, fmt.Sprintf("tickets on node %d", i), func() (bool, error) {
			list, err := n.ordered(ctx, i)
			if err != nil {
				return false, err
			}
			acks, here := 0, map[rollup.WindowKey]bool{}
			for _, r := range list {
				key := rollup.WindowKey{Node: r.Node, Epoch: r.Epoch, Window: r.Window}
				here[key], ordered[key], n.signers[key] = true, true, r.Signers
				acks += int(r.Acks)
			}
			if acks < len(b.Accepted) || len(here) < len(ordered) {
				return false, fmt.Errorf("%w: %d of %d acks in %d of %d rollups", errNotYet, acks,
					len(b.Accepted), len(here), len(ordered))
			}
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return slices.Collect(maps.Keys(ordered)), nil
}

// ordered lists the rollups that are ordered as far as a node knows.
func (n *Network) ordered(ctx context.Context, node int) ([]*api.Rollup, error) {
	list, err := client.Call(ctx, n.Clients[node].Ledger().ListRollups,
		&api.ListRollupsRequest{Count: api.MaxPage})
	if err != nil {
		return nil, err
	}
	if len(list.Rollups) == api.MaxPage {
		return nil, errors.New("more rollups than one answer holds")
	}
	return slices.DeleteFunc(list.Rollups, func(r *api.Rollup) bool { return !r.Ordered }), nil
}

// Late counts the acks that a node has accepted and not had ordered before their epoch ended.
func (n *Network) Late(ctx context.Context, b *Books, node, witness int) (late int, err error) {
	status, err := n.Status(ctx, witness)
	if err != nil {
		return 0, err
	}
	list, err := n.ordered(ctx, witness)
	if err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.Accepted {
		if int(id.Node) == node && id.Epoch < status.Epoch {
			late++
		}
	}
	for _, r := range list {
		if int(r.Node) == node && r.Epoch < status.Epoch {
			late -= int(r.Acks)
		}
	}
	return late, nil
}

// trust is what export files are verified against.
func (n *Network) trust() *export.Trust {
	trust := export.TrustOf(n.Genesis)
	trust.Proofs, trust.Workers = verifier.OfKey, runtime.GOMAXPROCS(0)
	if n.terms != nil {
		trust.Terms = n.terms.Chain()
	}
	return trust
}

// verify verifies an export file of a node against the genesis file, and against hand-overs that
// follow from it, where committees rotate.
func (n *Network) verify(ctx context.Context, node int, file []byte) (*export.Report, error) {
	report, err := export.Verify(file, n.trust())
	if n.terms == nil || !errors.Is(err, rollup.ErrUnknownTerm) {
		return report, err
	}
	if err := n.terms.Follow(ctx, n.Clients[node].Ledger()); err != nil {
		return nil, err
	}
	return export.Verify(file, n.trust())
}

// addRollup exports a rollup from every node, requires that they agree and that it verifies, and
// adds its acks. Those under statements are the ones of the books that the statements are about.
func (n *Network) addRollup(ctx context.Context, a *Audit, b *Books, key rollup.WindowKey) error {
	e, err := n.exportRollup(ctx, int(key.Node), key, 0)
	if err != nil {
		return err
	}
	a.Rollups++
	a.tickets[e.Header.ID()] = true
	a.Rungs[e.Evidence.Rung]++
	for _, i := range n.keepers(key) {
		other, err := n.exportRollup(ctx, i, key, 0) // they may have evidence of different rungs
		if err != nil {
			return err
		}
		if e.Header.ID() != other.Header.ID() ||
			!bytes.Equal(e.Evidence.Acks, other.Evidence.Acks) {
			return fmt.Errorf("nodes %d and %d export different rollups of %v", key.Node, i, key)
		}
	}
	if e.Evidence.Rung == rollup.RungProof {
		if e, err = n.exportRollup(ctx, int(key.Node), key, rollup.RungStatements); err != nil {
			return err
		}
	}
	for i := range e.Evidence.Acks.Len() {
		ack := e.Evidence.Acks.Ack(e.Header, i)
		id, entry := entryOf(&ack)
		if err := a.add(id, entry); err != nil {
			return err
		}
	}
	for i := range e.Evidence.Statements {
		if !e.Evidence.List[i].Signed {
			continue
		}
		ids, err := b.stated(e.Header, &e.Evidence.Statements[i])
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := a.add(id, b.Accepted[id]); err != nil {
				return err
			}
			a.Stated++
		}
	}
	return nil
}

// keepers returns the nodes that have evidence of a rollup: all, or, where committees rotate, who
// signed it.
func (n *Network) keepers(key rollup.WindowKey) (nodes []int) {
	if n.terms == nil {
		for i := range n.Clients {
			nodes = append(nodes, i)
		}
		return nodes
	}
	for _, node := range n.signers[key] {
		nodes = append(nodes, int(node))
	}
	return nodes
}

// exportRollup has a node export a rollup, with evidence of a rung, and verifies it.
func (n *Network) exportRollup(ctx context.Context, node int, key rollup.WindowKey,
	rung rollup.Rung) (*export.Rollup, error) {
	var file []byte
	what := fmt.Sprintf("the rollup of %v on node %d", key, node)
	err := n.await(ctx, what, func() (bool, error) {
		response, err := client.Call(ctx, n.Clients[node].Ledger().ExportRollup,
			&api.ExportRollupRequest{Node: key.Node, Epoch: key.Epoch, Window: key.Window,
				Rung: uint32(rung)})
		if err != nil {
			return false, err
		}
		file = response.File
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	report, err := n.verify(ctx, node, file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return report.File.(*export.Rollup), nil
}

func (a *Audit) add(id AckID, entry Entry) error {
	if _, twice := a.Ordered[id]; twice {
		return fmt.Errorf("%v is ordered twice", id)
	}
	a.Ordered[id] = entry
	return nil
}

// compareAcks requires that what was ordered is what the clients have in their books: no ack lost,
// none invented, no number billed twice, none for a delivery that is paid for already, and for no
// client more than was delivered to it.
func (a *Audit) compareAcks(b *Books) error {
	var errs []error
	billed := map[uint64]uint64{} // units, by client
	deliveries := map[rollup.Hash]AckID{}
	for id, entry := range a.Ordered {
		accepted, booked := b.Accepted[id]
		signed, known := b.Signed[id]
		switch {
		case !known:
			errs = append(errs, fmt.Errorf("%v was ordered, and no client signed it", id))
		case signed != entry:
			errs = append(errs, fmt.Errorf("%v was ordered as %v, and signed as %v", id, entry,
				signed))
		case !booked:
			errs = append(errs, fmt.Errorf("%v was ordered, but its client never heard of it", id))
		case accepted != entry:
			errs = append(errs, fmt.Errorf("%v was ordered as %v, and accepted as %v", id, entry,
				accepted))
		}
		if other, twice := deliveries[entry.Request]; twice {
			errs = append(errs, fmt.Errorf("one delivery was ordered as %v and as %v", id, other))
		}
		deliveries[entry.Request] = id
		billed[id.Client] += entry.Units
	}
	for client, units := range billed {
		if got := b.Delivered[client]; units > got {
			errs = append(errs, fmt.Errorf("client %d is billed %d units, and got %d", client, units,
				got))
		}
	}
	for id := range b.Accepted {
		if _, ok := a.Ordered[id]; !ok {
			errs = append(errs, fmt.Errorf("%v was accepted and is lost", id))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%d differences between %d acks ordered and %d accepted: %w",
			len(errs), len(a.Ordered), len(b.Accepted), errors.Join(errs[:min(len(errs), 10)]...))
	}
	return nil
}

// awaitSettled waits until the epochs in which something may have been ordered are settled and
// certified, the same on every node, and collects their rows.
func (n *Network) awaitSettled(ctx context.Context, a *Audit) error {
	status, err := n.Status(ctx, 0)
	if err != nil {
		return err
	}
	for epoch := range status.Epoch + 1 {
		var first []byte
		for i := range n.Clients {
			var file []byte
			err := n.await(ctx, fmt.Sprintf("the settlement of epoch %d on node %d", epoch, i),
				func() (bool, error) {
					response, err := client.Call(ctx, n.Clients[i].Ledger().ExportSettlement,
						&api.ExportSettlementRequest{Epoch: epoch})
					if err != nil {
						return false, err
					}
					file = response.File
					return true, nil
				})
			if err != nil {
				return err
			}
			if first == nil {
				first = file
			} else if !bytes.Equal(first, file) {
				return fmt.Errorf("nodes 0 and %d export different settlements of epoch %d", i,
					epoch)
			}
		}
		report, err := n.verify(ctx, 0, first)
		if err != nil {
			return err
		}
		settlement := report.File.(*export.Settlement)
		a.Rows, a.Duties = append(a.Rows, settlement.Rows), append(a.Duties, settlement.Duties)
	}
	return nil
}

// compareSettlements requires that the settlements together are the sum over the ordered acks, and
// that every charge and every payment is right.
func (n *Network) compareSettlements(a *Audit, p *Parties) error {
	want, got := map[replay.Account]replay.Sum{}, map[replay.Account]replay.Sum{}
	for id, entry := range a.Ordered {
		payer, _ := p.Payer(id.Client)
		account := replay.Account{Node: id.Node, Service: id.Service, Payer: payer}
		want[account] = want[account].Plus(1, entry.Units)
	}
	owing := make([]int, len(a.Rows)) // acks, all settled with their own epoch
	for id := range a.Ordered {
		owing[id.Epoch]++
	}
	for epoch, rows := range a.Rows {
		for i := range rows {
			r := &rows[i]
			account := replay.Account{Node: r.Node, Service: r.Service, Payer: r.Payer}
			got[account] = got[account].Plus(r.Acks, r.Units)
			owing[epoch] -= int(r.Acks)
			if err := compareRow(r); err != nil {
				return fmt.Errorf("epoch %d, row %d: %w", epoch, i, err)
			}
		}
	}
	if differs := mainjob.Reconcile(want, got); len(differs) > 0 {
		return fmt.Errorf("the settlements differ from the acks ordered:\n%s",
			strings.Join(differs, "\n"))
	}
	for epoch, n := range owing {
		if n != 0 {
			return fmt.Errorf("epoch %d: %d acks of it are missing in its settlement", epoch, n)
		}
	}
	return nil
}

// compareRow requires that a charge, computed anew with big integers, is what the price says,
// rounded down in each window, and that it was paid: all payers have enough.
func compareRow(r *rollup.SettlementRow) error {
	charge := new(big.Int).Mul(new(big.Int).SetUint64(r.Units),
		new(big.Int).SetUint64(prices[r.Service]))
	charge.Rsh(charge, 20)
	short := charge.Sub(charge, new(big.Int).SetUint64(r.Charge))
	if short.Sign() < 0 || short.Cmp(big.NewInt(int64(r.Windows))) >= 0 {
		return fmt.Errorf("charge %d in %d windows is off by %v", r.Charge, r.Windows, short)
	}
	if r.Paid != r.Charge {
		return fmt.Errorf("charge %d, and %d paid", r.Charge, r.Paid)
	}
	return nil
}

// compareBalances requires that the balances, on every node, have changed by what the settlements
// say and nothing else.
func (n *Network) compareBalances(ctx context.Context, a *Audit, p *Parties,
	before []uint64) error {
	want, total := make([]*big.Int, len(before)), new(big.Int)
	for i, v := range before {
		want[i] = new(big.Int).SetUint64(v)
		total.Add(total, want[i])
	}
	move := func(to uint32, amount uint64) {
		want[to].Add(want[to], new(big.Int).SetUint64(amount))
	}
	for _, rows := range a.Rows {
		for _, r := range rows {
			want[r.Payer].Sub(want[r.Payer], new(big.Int).SetUint64(r.Paid))
			// genesis makes account 0 the protocol's, and the owners of the nodes come next
			move(1+r.Node, r.ToNode)
			move(p.OwnerAccount, r.ToService)
			move(0, r.Paid-r.ToNode-r.ToService)
		}
	}
	if err := n.addSlashes(ctx, want[0], total); err != nil {
		return err
	}
	for _, duties := range a.Duties {
		for i := range duties {
			want[0].Sub(want[0], new(big.Int).SetUint64(duties[i].Reward))
			move(1+duties[i].Node, duties[i].Reward)
		}
	}
	for i := range n.Clients {
		balances, err := n.Balances(ctx, i)
		if err != nil {
			return err
		}
		if len(balances) != len(want) {
			return fmt.Errorf("node %d has %d accounts, should have %d", i, len(balances),
				len(want))
		}
		sum := new(big.Int)
		for j, v := range balances {
			sum.Add(sum, new(big.Int).SetUint64(v))
			if want[j].Cmp(new(big.Int).SetUint64(v)) != 0 {
				return fmt.Errorf("node %d: account %d has %d, should have %v", i, j, v, want[j])
			}
		}
		if sum.Cmp(total) != 0 {
			return fmt.Errorf("node %d: the balances add up to %v, before to %v", i, sum, total)
		}
	}
	return nil
}

// addSlashes adds to account 0, and to the total, what stakes lost to it.
func (n *Network) addSlashes(ctx context.Context, protocol, total *big.Int) error {
	r, err := client.Call(ctx, n.Clients[0].Ledger().GetNodes, &api.GetNodesRequest{})
	if err != nil {
		return err
	}
	for i := range n.Genesis.Members {
		lost := new(big.Int).SetUint64(n.Genesis.Members[i].Stake)
		lost.Sub(lost, new(big.Int).SetUint64(r.Nodes[i].Stake+r.Nodes[i].Leaving))
		protocol.Add(protocol, lost)
		total.Add(total, lost)
	}
	return nil
}
