//go:build linux

package crash

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
)

// number reads a number from the environment.
func number(t testing.TB, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func rounds(t testing.TB) int { return int(number(t, "CRASH_ROUNDS", 4)) }

// deadline bounds a test: what it takes without rounds, and for each.
func deadline(t testing.TB, fixed, round time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), fixed+time.Duration(rounds(t))*round)
	t.Cleanup(cancel)
	return ctx
}

// How long an epoch of the tests lasts, and then the wait for its settlement: what a node that was
// killed had accepted is ordered in that, or lost.
const (
	epoch = 8 * time.Second
	grace = 12 * time.Second
)

// short makes short epochs and windows of a second.
func short() homes.Options {
	return homes.Options{EpochSeconds: uint32(epoch / time.Second),
		GraceSeconds: uint32(grace / time.Second), GraceBlocks: 4,
		Configure: func(_ int, c *config.Config) {
			c.Pipeline.WindowAge, c.Pipeline.Tail, c.Pipeline.CosignWait = time.Second,
				time.Second, 5*time.Second
		}}
}

// TestCrashServingNode kills one of the two nodes that take acks. The last time it stays down until
// its epoch has ended, so that what it had accepted is ordered in the grace.
func TestCrashServingNode(t *testing.T) {
	o := short()
	o.GraceSeconds = 25
	late := run(t, o, epoch+time.Second,
		func(rng *rand.Rand) []int { return []int{rng.IntN(Serving)} })
	if late == 0 {
		t.Error("no ack was ordered after its epoch")
	}
}

// TestCrashMember kills a member of the committee that takes no acks.
func TestCrashMember(t *testing.T) {
	run(t, short(), 0, func(rng *rand.Rand) []int { return []int{Serving + rng.IntN(4-Serving)} })
}

// TestCrashAll kills all nodes at once.
func TestCrashAll(t *testing.T) {
	run(t, short(), 0, func(*rand.Rand) []int { return []int{0, 1, 2, 3} })
}

// run kills nodes under load, at random moments, and audits what is left. After the last time they
// stay down for long more. late counts the acks that were ordered after their epoch because of
// that.
func run(t *testing.T, o homes.Options, long time.Duration,
	victims func(*rand.Rand) []int) (late int) {
	Binary(t)
	ctx := deadline(t, 2*time.Minute, 30*time.Second)
	seed := number(t, "CRASH_SEED", uint64(time.Now().UnixNano())%1_000_000)
	t.Logf("CRASH_SEED=%d, %d rounds", seed, rounds(t))
	rng := rand.New(rand.NewPCG(seed, 0))

	n := Start(ctx, t, o)
	parties, err := n.Register(ctx, 3, 24)
	if err != nil {
		t.Fatal(err)
	}
	before, err := n.Balances(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	load, err := n.Load(ctx, parties, 4, 16, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for round := range rounds(t) {
		up, down := time.Duration(rng.Int64N(int64(3*time.Second))),
			time.Duration(rng.Int64N(int64(1500*time.Millisecond)))
		if round == rounds(t)-1 {
			down += long
		}
		late = n.crash(ctx, t, load, victims(rng), up, down)
	}
	if err := load.Stop(); err != nil {
		t.Fatal(err)
	}
	audit, err := n.Audit(ctx, parties, load.Books, before)
	if err := errors.Join(err, load.Close()); err != nil {
		t.Fatal(err)
	}
	n.Stop(ctx, t)
	kills := 0
	for _, p := range n.Processes {
		kills += p.Kills()
	}
	b := load.Books
	t.Logf("%d kills; %d acks signed, %d deliveries accepted, %d submissions repeated; %d acks "+
		"in %d ordered rollups; "+
		"%d of them under co-signed statements; %d settlements, %d acks ordered after their epoch",
		kills, len(b.Signed), b.Tally.Accepted, b.Tally.Again,
		len(audit.Ordered), audit.Rollups, audit.Stated,
		len(audit.Rows), late)
	if audit.Stated == 0 {
		t.Error("no ack was rolled up under a co-signed statement")
	}
	if b.Tally.Accepted < uint64(100*rounds(t)) {
		t.Errorf("only %d deliveries: that is no load", b.Tally.Accepted)
	}
	return late
}

// crash is one round: wait until acks are accepted, then for a while; kill; wait again; start
// again. It returns how many acks of the first victim wait although their epoch has ended.
func (n *Network) crash(ctx context.Context, t *testing.T, load *Load, victims []int, up,
	down time.Duration) (late int) {
	t.Helper()
	if err := n.progress(ctx, load); err != nil {
		t.Fatal(err)
	}
	pause(ctx, up)
	for _, i := range victims {
		n.Processes[i].Kill()
	}
	t.Logf("killed %v after %v, with %d deliveries accepted; down for %v", victims, up,
		load.Books.Count(), down)
	pause(ctx, down)
	if witness := 3; len(victims) == 1 && victims[0] != witness {
		var err error
		if late, err = n.Late(ctx, load.Books, victims[0], witness); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range victims {
		if err := n.Processes[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range victims {
		if err := n.Ready(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	return late
}

// progress waits until the load gets on.
func (n *Network) progress(ctx context.Context, load *Load) error {
	from := load.Books.Count()
	return n.await(ctx, "deliveries", func() (bool, error) {
		return load.Books.Count() >= from+50, nil
	})
}

// pause lets a random time pass, which is what these tests are about.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
