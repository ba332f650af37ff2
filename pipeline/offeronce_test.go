package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/rollup"
)

var errTwoOffers = errors.New("two offers of a window")

// offeredOnce finds windows that were offered with two trees, in whatever runs: that is lie 17,
// since every offer leaves the node with its signature.
func offeredOnce(offers []*pipeline.Offer) error {
	type tree struct {
		count int
		root  rollup.Hash
	}
	said := map[rollup.WindowKey]tree{}
	for _, o := range offers {
		now := tree{o.Tree.Len(), o.Tree.Root()}
		if before, ok := said[o.Key]; ok && before != now {
			return fmt.Errorf("%w: %v", errTwoOffers, o.Key)
		}
		said[o.Key] = now
	}
	return nil
}

// TestOfferedOnce: a node that stops anywhere between offer and seal, whose writes fail both ways,
// and whose clients come back over other connections, offers a window with one tree, and loses no
// ack.
func TestOfferedOnce(t *testing.T) {
	offers := 0
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { offers += crashingOffers(t, seed) })
		})
	}
	if offers < 100 {
		t.Errorf("only %d offers were made", offers)
	}
}

// crashingOffers returns how many offers were made.
func crashingOffers(t *testing.T, seed uint64) int {
	rng := rand.New(rand.NewPCG(seed, 17))
	f, co := cosigned(t, 4)
	defer f.blocks()()
	co.Answer = func(ctx context.Context, o *pipeline.Offer,
		a []pipeline.Cosignature) []pipeline.Cosignature {
		rng := rand.New(rand.NewPCG(seed, uint64(o.Key.Window))) // of this goroutine
		switch rng.IntN(3) {
		case 0:
			return nil
		case 1:
			<-ctx.Done()
		}
		return a[:rng.IntN(len(a)+1)]
	}
	ops, faults := []string{"seal", "append", "none"}, []fault{lost, kept}
	accepted := 0
	for range 4 {
		op, polarity, left := ops[rng.IntN(3)], faults[rng.IntN(2)], rng.IntN(4)
		f.start(func(o string) fault {
			if o != op {
				return works
			}
			if left--; left >= 0 {
				return works
			}
			return polarity
		})
		for range 1 + rng.IntN(4) {
			accepted += f.handIn(pipeline.Session(rng.IntN(3)), rng)
			time.Sleep(time.Duration(rng.IntN(14)) * time.Second)
		}
		f.p.Close()
	}
	f.start(nil)
	defer f.p.Close()
	f.settled()
	offers, _ := co.Seen()
	if err := offeredOnce(offers); err != nil {
		t.Error(err)
	}
	if got := len(f.rolledUp()); got < accepted {
		t.Errorf("%d acks rolled up, of %d that were accepted", got, accepted)
	}
	return len(offers)
}

// handIn hands in acks of one client through a session, and returns how many were accepted.
func (f *fixture) handIn(s pipeline.Session, rng *rand.Rand) (accepted int) {
	f.t.Helper()
	client, key := rng.Uint64N(4), f.open()
	var acks []*rollup.Ack
	for service := range uint32(2) {
		next, _ := f.p.Counter(key.Epoch, client, service)
		acks = append(acks, f.net.Ack(key, client, service, next, 5))
	}
	source := f.p.OpenSession("handing in", s)
	defer source.Close()
	for _, code := range submit(f.t, source, acks...) {
		if code == rollup.CodeAccepted {
			accepted++
		}
	}
	return accepted
}

// TestOfferedOnceFinds: the check finds a window that is offered again after a crash with what has
// come in since.
func TestOfferedOnceFinds(t *testing.T) {
	offer := func(acks uint32) *pipeline.Offer {
		s := []rollup.Statement{{Client: 1, Acks: acks, Units: 9}}
		return &pipeline.Offer{Key: rollup.WindowKey{Window: 3}, Tree: rollup.NewStatementTree(s)}
	}
	if err := offeredOnce([]*pipeline.Offer{offer(1), offer(1)}); err != nil {
		t.Error(err)
	}
	err := offeredOnce([]*pipeline.Offer{offer(1), offer(2)})
	if !errors.Is(err, errTwoOffers) {
		t.Error(err)
	}
}
