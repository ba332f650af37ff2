package ledger

import (
	"math/big"
	"math/rand/v2"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// voters are the nodes whose votes the next block carries for the last one. A quorum is there, or
// else there was no block.
func (c *chain) voters() (nodes []uint32) {
	if c.votes == nil || c.s.height == 0 {
		return nil
	}
	members := c.s.terms.voting(c.s.height).Members
	var power, all uint64
	for _, m := range members {
		all += m.Power
		if c.votes(m.Node) {
			nodes, power = append(nodes, m.Node), power+m.Power
		}
	}
	for _, m := range members { // who is slow comes in time when it is needed
		if 3*power <= 2*all && !slices.Contains(nodes, m.Node) {
			nodes, power = append(nodes, m.Node), power+m.Power
		}
	}
	return nodes
}

// checkDuties counts by itself what members did, from who was to vote and did, and compares what a
// settlement says, with rewards in big numbers.
func (c *chain) checkDuties(b *Block) {
	c.t.Helper()
	for _, e := range b.Events {
		if e, settled := e.(Settled); settled {
			c.checkRewards(e.Settlement)
		}
	}
}

// market makes a payer with a reserve, and a service, as account and service 0.
func (c *chain) market() {
	c.t.Helper()
	c.block(0, func() []byte {
		s, sum := c.s, uint64(1<<50)
		payer := s.addAccount(accountOf("payer"))
		s.supply += sum
		s.pay(payer, sum)
		s.move(payer, func(m *money) { m.balance, m.reserve = 0, sum })
		s.addService(Service{Owner: payer, Price: 1 << 20, NextPrice: 1 << 20, UnitCap: 1 << 40,
			Unit: "bytes"})
		return nil
	})
}

// epochOf returns an epoch that can be ordered of.
func epochOf(c *chain, rng *rand.Rand) uint32 {
	return c.s.unsettled + uint32(rng.IntN(len(c.s.starts)))
}

// order has a block order a rollup of an epoch, twice: signed by members whose bit is set.
func (c *chain) order(epoch uint32, units uint64, mask uint32) {
	c.t.Helper()
	payer, known := c.s.accountByKey(accountOf("payer"))
	if !known {
		c.t.Fatal("no market")
	}
	do := func() []byte {
		if epoch < c.s.unsettled { // the block settled it
			return nil
		}
		members := c.s.terms.of(epoch).Members
		signers := rollup.NewBitmap(len(members))
		for i := range members {
			if mask>>(i%32)&1 == 1 {
				signers.Set(i)
			}
		}
		h := rollup.NewHeader(c.g.Network(), rollup.WindowKey{Epoch: epoch, Window: c.window})
		h.Rows = []rollup.Row{{Payer: payer, Acks: 1, Units: max(1, units)}}
		c.window++
		(&Ticket{&rollup.Certificate{Header: *h, Signers: signers}}).execute(c.s, 0, nil)
		if epoch < c.s.epoch() {
			c.help(members, signers)
		}
		return nil
	}
	c.helped = map[uint32]bool{}
	c.block(0, do, do)
}

// help notes the signers of a ticket of an earlier epoch that vote no more.
func (c *chain) help(members []rollup.Member, signers rollup.Bitmap) {
	votes := c.s.terms.voting(c.s.height - 1)
	for i, m := range members {
		if _, sits := votes.Member(m.Node); !sits && signers.Has(i) && !c.helped[m.Node] {
			c.helped[m.Node] = true
			c.row(m.Node).Points += m.Power
		}
	}
}

// row returns what the chain gives of a node in the epoch that runs.
func (c *chain) row(node uint32) *rollup.DutyRow {
	epoch := c.s.epoch()
	if c.duties[epoch] == nil {
		c.duties[epoch] = map[uint32]*rollup.DutyRow{}
	}
	if c.duties[epoch][node] == nil {
		c.duties[epoch][node] = &rollup.DutyRow{Node: node}
	}
	return c.duties[epoch][node]
}

// voted notes the votes of a block that has begun.
func (c *chain) voted(nodes []uint32) {
	if len(nodes) == 0 {
		return
	}
	for _, m := range c.s.terms.voting(c.s.height - 1).Members {
		d := c.row(m.Node)
		d.Blocks++
		d.Possible += m.Power
		if slices.Contains(nodes, m.Node) {
			d.Points += m.Power
		}
	}
}

func (c *chain) checkRewards(s *Settlement) {
	c.t.Helper()
	pool, points, given := new(big.Int), new(big.Int), new(big.Int)
	for i := range s.Rows {
		r := &s.Rows[i]
		pool.Add(pool, number(r.Paid-r.ToNode-r.ToService))
	}
	pool.Mul(pool, big.NewInt(int64(c.g.Params.Rotation.Reward))).Quo(pool, big.NewInt(10_000))
	counts := func(d *rollup.DutyRow) bool {
		const asked, reported, bad = 1, 2, 4 | 8
		return d.Points > 0 && 2*d.Points >= d.Possible && d.Flags&bad == 0 &&
			(d.Flags&asked == 0 || d.Flags&reported != 0)
	}
	seen := 0
	for i := range s.Duties {
		d := &s.Duties[i]
		if want := c.duties[s.Epoch][d.Node]; want != nil {
			seen++
			if d.Blocks != want.Blocks || d.Points != want.Points || d.Possible != want.Possible {
				c.t.Fatalf("epoch %d: %+v, where blocks carry %+v", s.Epoch, d, want)
			}
		} else if d.Blocks != 0 || d.Points != 0 || d.Possible != 0 {
			c.t.Fatalf("epoch %d: %+v of a node that had nothing to vote on", s.Epoch, d)
		}
		if counts(d) {
			points.Add(points, number(d.Points))
		}
	}
	if seen != len(c.duties[s.Epoch]) {
		c.t.Fatalf("epoch %d: duties of %d members, not %d", s.Epoch, seen, len(c.duties[s.Epoch]))
	}
	for i := range s.Duties {
		d, want := &s.Duties[i], new(big.Int)
		if counts(d) {
			want.Mul(pool, number(d.Points)).Quo(want, points)
		}
		if want.Cmp(number(d.Reward)) != 0 {
			c.t.Fatalf("epoch %d: node %d earned %d, not %d", s.Epoch, d.Node, d.Reward, want)
		}
		given.Add(given, want)
	}
	if given.Cmp(pool) > 0 || points.Sign() > 0 && new(big.Int).Sub(pool, given).Cmp(
		big.NewInt(int64(len(s.Duties)))) >= 0 {
		c.t.Fatalf("epoch %d: %s of %s were given", s.Epoch, given, pool)
	}
	if err := s.Check(c.g.Params.Shares, c.g.Params.Rotation.Reward); err != nil {
		c.t.Fatalf("epoch %d: what readers recompute: %v", s.Epoch, err)
	}
	delete(c.duties, s.Epoch)
}

// checkAbsences demands that somebody was absent, and that duties earned something.
func (c *chain) checkAbsences(seed uint64) {
	absent, rewards := 0, uint64(0)
	for _, e := range c.events {
		switch e := e.(type) {
		case Absent:
			absent++
		case Settled:
			for i := range e.Settlement.Duties {
				rewards += e.Settlement.Duties[i].Reward
			}
		}
	}
	if absent == 0 || rewards == 0 {
		c.t.Errorf("seed %d: %d were absent, duties earned %d", seed, absent, rewards)
	}
}
