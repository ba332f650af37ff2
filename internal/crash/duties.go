//go:build linux

package crash

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"time"

	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// compareRewards requires that each epoch's rewards, computed anew with big integers, are what the
// settlement says: half of the protocol's part, or what the genesis says, divided by points among
// those who did their duties.
func (a *Audit) compareRewards(r *ledger.Rotation) error {
	if r == nil {
		return nil
	}
	for epoch, duties := range a.Duties {
		pool, points := new(big.Int), new(big.Int)
		for _, row := range a.Rows[epoch] {
			pool.Add(pool, new(big.Int).SetUint64(row.Paid-row.ToNode-row.ToService))
		}
		pool.Mul(pool, big.NewInt(int64(r.Reward))).Div(pool, big.NewInt(10_000))
		for i := range duties {
			if earns(&duties[i]) {
				points.Add(points, new(big.Int).SetUint64(duties[i].Points))
			}
		}
		for i := range duties {
			d, want := &duties[i], new(big.Int)
			if earns(d) {
				want.Mul(pool, new(big.Int).SetUint64(d.Points)).Div(want, points)
			}
			if want.Cmp(new(big.Int).SetUint64(d.Reward)) != 0 {
				return fmt.Errorf("epoch %d: node %d got %d for its duties, should have %v of %v",
					epoch, d.Node, d.Reward, want, pool)
			}
		}
	}
	return nil
}

// earns says whether a member has a part in the reward.
func earns(d *rollup.DutyRow) bool {
	asked, reported := d.Flags&rollup.DutyAsked != 0, d.Flags&rollup.DutyReported != 0
	return d.Points > 0 && 2*d.Points >= d.Possible && (reported || !asked) &&
		d.Flags&(rollup.DutyWithheld|rollup.DutyConvicted) == 0
}

// AuditChains opens the stores of all nodes, which were stopped, and requires that their chains are
// one, hash by hash, and that the points of every settled epoch are those of the votes that its
// blocks carry. It returns the blocks.
func (n *Network) AuditChains(a *Audit) ([]*committee.PastBlock, error) {
	chain, err := n.chain()
	if err != nil {
		return nil, err
	}
	counted, err := n.count(chain, a.tickets)
	if err != nil {
		return nil, err
	}
	return chain, a.comparePoints(counted)
}

// chain returns the blocks that the nodes have, which do not differ.
func (n *Network) chain() (chain []*committee.PastBlock, err error) {
	for i := range n.Nodes {
		blocks, err := past(n.Nodes[i].Home)
		if err != nil {
			return nil, fmt.Errorf("the chain of node %d: %w", i, err)
		}
		for h := range min(len(blocks), len(chain)) {
			a, b := chain[h], blocks[h]
			if a == nil || b == nil {
				continue
			}
			if !bytes.Equal(a.AppHash, b.AppHash) || !a.Time.Equal(b.Time) ||
				!slices.EqualFunc(a.Txs, b.Txs, bytes.Equal) {
				return nil, fmt.Errorf("node %d has another block %d, or another state before it", i,
					h+1)
			}
		}
		for h, b := range blocks {
			if h == len(chain) {
				chain = append(chain, b)
			} else if chain[h] == nil {
				chain[h] = b
			}
		}
	}
	if i := slices.Index(chain, nil); i >= 0 || len(chain) == 0 {
		return nil, fmt.Errorf("no node has block %d", i+1)
	}
	return chain, nil
}

// past returns the blocks of a home, by height from 1 on; nil for those that it does not have.
func past(home string) (blocks []*committee.PastBlock, err error) {
	s, err := store.Open(filepath.Join(home, "data"), store.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p := committee.OpenPast(s)
	first, last := p.Heights()
	blocks = make([]*committee.PastBlock, last)
	for h := max(1, first); h <= last; h++ {
		if blocks[h-1], err = p.Block(h); err != nil {
			return nil, err
		}
	}
	return blocks, nil
}

// counted are blocks and points of members, by epoch and node.
type counted []map[uint32]*rollup.DutyRow

// count counts what blocks carry: votes, and of tickets of earlier epochs the signatures of those
// who can vote no more, each once a block. tickets are those that were executed.
func (n *Network) count(chain []*committee.PastBlock, tickets map[rollup.Hash]bool,
) (all counted, err error) {
	node := map[[20]byte]uint32{}
	for i := range n.Genesis.Members {
		node[committee.VoteAddress(n.Genesis.Members[i].ConsensusKey)] = n.Genesis.MemberNode(i)
	}
	tickets = maps.Clone(tickets)
	begin := n.Genesis.GenesisTime
	all = counted{{}}
	for _, b := range chain {
		if !b.Time.Before(begin.Add(time.Duration(n.Genesis.Params.EpochSeconds) * time.Second)) {
			begin, all = b.Time, append(all, map[uint32]*rollup.DutyRow{})
		}
		rows, votes := all[len(all)-1], map[uint32]bool{}
		of := func(member uint32) *rollup.DutyRow {
			if rows[member] == nil {
				rows[member] = &rollup.DutyRow{Node: member}
			}
			return rows[member]
		}
		for _, v := range b.Votes {
			member, known := node[v.Address]
			if !known {
				return nil, fmt.Errorf("block %d: a vote of nobody, %x", b.Height, v.Address)
			}
			votes[member] = true
			d := of(member)
			d.Blocks++
			d.Possible += uint64(v.Power)
			if v.Voted {
				d.Points += uint64(v.Power)
			}
		}
		for _, tx := range b.Txs {
			signers, err := n.late(tx, len(all)-1, tickets)
			if err != nil {
				return nil, fmt.Errorf("block %d: %w", b.Height, err)
			}
			for _, m := range signers {
				if !votes[m.Node] {
					votes[m.Node] = true // once a block
					of(m.Node).Points += m.Power
				}
			}
		}
	}
	return all, nil
}

// late returns who signed a ticket of an earlier epoch, the first time that a block has it.
func (n *Network) late(raw []byte, epoch int, tickets map[rollup.Hash]bool,
) (signers []rollup.Member, err error) {
	if ledger.KindOf(raw) != ledger.KindTicket {
		return nil, nil
	}
	tx, err := ledger.ParseTx(raw)
	if err != nil {
		return nil, err
	}
	ticket := tx.Body.(*ledger.Ticket)
	id := ticket.Header.ID()
	if !tickets[id] {
		return nil, nil
	}
	delete(tickets, id)
	if int(ticket.Header.Key().Epoch) == epoch {
		return nil, nil
	}
	signed, err := n.trust().Terms.Committee(ticket.Term)
	if err != nil {
		return nil, err
	}
	for _, i := range ticket.Signers.Positions() {
		signers = append(signers, signed.Members[i])
	}
	return signers, nil
}

// comparePoints requires that the duties of settled epochs are what was counted.
func (a *Audit) comparePoints(all counted) error {
	for epoch, duties := range a.Duties {
		if epoch >= len(all) {
			return fmt.Errorf("epoch %d is settled, and no block is of it", epoch)
		}
		seen := 0
		for i := range duties {
			d := &duties[i]
			c := all[epoch][d.Node]
			if c == nil {
				c = new(rollup.DutyRow) // with a flag alone
			} else {
				seen++
			}
			if c.Blocks != d.Blocks || c.Points != d.Points || c.Possible != d.Possible {
				return fmt.Errorf("epoch %d: node %d has %d of %d points on %d blocks, and blocks carry "+
					"%d of %d on %d", epoch, d.Node, d.Points, d.Possible, d.Blocks, c.Points, c.Possible,
					c.Blocks)
			}
		}
		if len(duties) > 0 && seen != len(all[epoch]) {
			return fmt.Errorf("epoch %d: duties of %d nodes, where %d had some", epoch, seen,
				len(all[epoch]))
		}
	}
	return nil
}

// verifyTerms verifies hand-overs and adds them to the terms that are trusted.
func verifyTerms(file []byte, trust *export.Trust) error {
	_, err := export.Verify(file, trust)
	return err
}
