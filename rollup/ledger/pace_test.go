package ledger

import (
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup/rotation"
)

// paced runs epochs of so many blocks, in which everybody does at once what it has to, and returns
// how many of them handed over at their end, and how many after it.
func paced(t *testing.T, blocks, epochs int) (inTime, late int) {
	c := newChain(t, rotatingGenesis())
	c.plain = true
	joined(c, 2, 100*StakePerPower)
	length := time.Duration(c.g.Params.EpochSeconds) * time.Second
	c.block(at(c.s.begin().time).Add(length).Sub(at(c.s.time)))
	signing := false // whether the votes on the last block signed a hand-over
	for i := 1; i <= blocks*epochs; i++ {
		r, members := c.s.rotation, nodesOf(c.s.elected())
		var txs []func() []byte
		each := func(nodes []uint32, tx func(uint32) []byte) {
			for _, node := range nodes {
				txs = append(txs, func() []byte { return tx(node) })
			}
		}
		// What follows from the state before this block stands in it, unless it is too late for that.
		next := at(c.s.begin().time).Add(length * time.Duration(i%blocks) / time.Duration(blocks))
		if i%blocks == 0 {
			next = at(c.s.begin().time).Add(length)
		}
		passed := next.Sub(at(c.s.begin().time))
		over := passed >= length
		switch {
		case r.phase == PhaseReports && len(r.reports.list) == 0 && passed < length/2:
			each(members, c.reportTx)
		case r.phase == PhaseReveals && passed < length/10*8:
			each(members, c.revealTx)
		case r.phase == PhaseReady && len(r.ready) == 0 && passed < length/10*8:
			each(r.asked, c.readyTx)
		case r.phase == PhaseHandOver && signing:
			each(members[:1], func(uint32) []byte { return c.handOverTx(members) })
		}
		term := c.s.elected().Term
		signing = r.phase == PhaseHandOver
		c.block(next.Sub(at(c.s.time)), txs...)
		switch {
		case c.s.elected().Term == term:
		case over && c.s.begin().height == c.s.height && r.phase == PhaseCertified:
			inTime++
		default:
			late++
		}
	}
	return inTime, late
}

// TestLeastBlocks: with as many blocks as the genesis check asks for each epoch rotates, with one
// less each second one does, and late; with a few nothing ever does.
func TestLeastBlocks(t *testing.T) {
	const epochs = 4
	for blocks := 3; blocks <= 24; blocks++ {
		inTime, late := paced(t, blocks, epochs)
		t.Logf("%d blocks an epoch: of %d hand-overs %d in time, %d late", blocks, epochs, inTime, late)
		switch {
		case blocks >= LeastBlocks && (inTime < epochs-1 || late > 0):
			t.Errorf("%d blocks: %d hand-overs in time, %d late", blocks, inTime, late)
		case blocks < LeastBlocks && inTime > 0:
			t.Errorf("%d blocks suffice for %d hand-overs in time", blocks, inTime)
		}
	}
}

// TestLeastTermEpochs: the least term is the shortest in which as many seats move as come due, and
// what genesis files get keeps it.
func TestLeastTermEpochs(t *testing.T) {
	for seats := uint16(rotation.MinSeats); seats <= rotation.MaxSeats; seats++ {
		moves := make(rotation.Seats, seats).MaxMoves()
		least := int(LeastTermEpochs(seats))
		if least*moves < int(seats) || least > rotation.MinTermEpochs && (least-1)*moves >= int(seats) {
			t.Errorf("%d seats, of which %d move: %d epochs", seats, moves, least)
		}
		if r := DefaultRotation(seats); int(r.TermEpochs) != least ||
			r.validate(LeastRotating, DefaultUnbond) != nil {
			t.Errorf("%d seats have terms of %d epochs: %v", seats, r.TermEpochs,
				r.validate(LeastRotating, DefaultUnbond))
		}
		if r := DefaultRotation(seats); least > rotation.MinTermEpochs {
			r.TermEpochs--
			if r.validate(LeastRotating, DefaultUnbond) == nil {
				t.Errorf("%d seats rotate in %d epochs", seats, r.TermEpochs)
			}
		}
	}
}
