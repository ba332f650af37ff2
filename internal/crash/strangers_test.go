//go:build linux

package crash

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	hostile "github.com/waybill-network/waybill/internal/flood"
	"github.com/waybill-network/waybill/node/homes"
)

// strangerConnections is how many connections TestStrangers holds to each of the four consensus
// ports; WAYBILL_FLOOD says another number.
const strangerConnections = 400

// TestStrangers: while a stranger holds all the silent connections to the consensus ports that it
// can get, two members of four are killed and started again. The chain goes on while the attack
// lasts.
func TestStrangers(t *testing.T) {
	Binary(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	each := strangerConnections
	if text := os.Getenv("WAYBILL_FLOOD"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		each = n
	}
	n := Start(ctx, t, homes.Options{})
	var ports []string
	for _, m := range n.Genesis.Members {
		ports = append(ports, m.P2PAddress)
	}
	f, err := hostile.Start("127.0.0.2", ports, each, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Stop()
	err = n.await(ctx, "the flood",
		func() (bool, error) { return f.Opened() >= int64(4*each), nil })
	if err != nil {
		t.Fatal(err)
	}
	n.Processes[2].Kill()
	n.Processes[3].Kill()
	status, err := n.Status(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	before := status.Height + 1 // a last one may have been under way
	back := time.Now()
	for i := 2; i < 4; i++ {
		if err := n.Processes[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n.Processes {
		err := n.await(ctx, "a block", func() (bool, error) {
			status, err := n.Status(ctx, i)
			return err == nil && status.Height > before, err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("node %d is at a new block %v after the restart", i, time.Since(back))
	}
	t.Logf("%d hostile connections", f.Opened())
	f.Stop()
	n.Stop(ctx, t)
}
