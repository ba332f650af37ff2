package replay_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/rollup"
)

// copyFolder copies a folder as a program leaves it that is killed now: what it wrote is there.
func copyFolder(t *testing.T, from string) (to string) {
	t.Helper()
	to = t.TempDir()
	for _, name := range []string{"book", "replay.json"} {
		content, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// acked returns how many acks a node has accepted.
func acked(n *node.Node) (count uint64) {
	for _, a := range n.Snapshot().Pipeline.Answers {
		if a.Name == rollup.CodeAccepted.String() {
			count = a.Count
		}
	}
	return count
}

// TestResume: a replay that is killed at any moment goes on where it was. Each request has one
// number in the end, however often the replay is begun again; the log may have grown.
func TestResume(t *testing.T) {
	net, n := network(t)
	g := workload.Generator{Seed: 3, Requests: 300}
	dir := filepath.Join(t.TempDir(), "kept")
	shorter := func(yield func(workload.Delivery) bool) {
		n := 0
		for d := range deliveries(g) {
			if n++; n > g.Requests-20 || !yield(d) {
				return
			}
		}
	}
	for killed := range 3 {
		f := folder(t, net, dir, byte(killed))
		ctx, kill := context.WithCancel(t.Context())
		cfg := configOf(net)
		cfg.Seed, cfg.Book, cfg.Batch = f.Seed, f.Book, 4
		r, err := replay.New(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Register(ctx, shorter, nil); err != nil {
			t.Fatal(err)
		}
		limit := uint64(40 * (killed + 1))
		err = r.Deliver(ctx, func(yield func(workload.Delivery) bool) {
			for d := range shorter {
				if r.Progress().Accepted >= limit {
					kill()
				}
				if !yield(d) {
					return
				}
				awaitRoom(ctx, r)
			}
		})
		if err == nil || ctx.Err() == nil {
			t.Fatalf("killed after %d acks: %v", r.Progress().Accepted, err)
		}
		// Nothing is sent any more, and nothing was closed: what a kill leaves.
		copied := copyFolder(t, dir)
		if err := errors.Join(r.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		dir = copied
	}
	cfg := configOf(net)
	f := folder(t, net, dir, 9)
	cfg.Seed, cfg.Book = f.Seed, f.Book
	_, tally := run(t, cfg, g)
	if got := acked(n); got != uint64(g.Requests) {
		t.Errorf("the node holds %d acks of %d requests; the last run %+v", got, g.Requests, tally)
	}
	_, tally = run(t, cfg, g) // all of it is done
	if got := acked(n); got != uint64(g.Requests) || tally.Again != 0 {
		t.Errorf("the node holds %d acks of %d requests", got, g.Requests)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// awaitRoom keeps the workload close to the answers, so that a kill falls in the midst of it.
func awaitRoom(ctx context.Context, r *replay.Replay) {
	for p := r.Progress(); p.Received > p.Accepted+p.Refused+40 && ctx.Err() == nil; p = r.Progress() {
		time.Sleep(time.Millisecond)
	}
}

func folder(t *testing.T, net *homes.Network, dir string, seed byte) *replay.Folder {
	t.Helper()
	fresh := make([]byte, 32)
	fresh[0] = seed
	f, err := replay.OpenFolder(dir, net.Genesis.Network(), []string{net.Nodes[0].Ingest}, fresh)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestFolderOfAnother: a folder is of one network and one list of nodes, and open once.
func TestFolderOfAnother(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kept")
	open := func(network rollup.Network, nodes ...string) (*replay.Folder, error) {
		return replay.OpenFolder(dir, network, nodes, make([]byte, 32))
	}
	f, err := open(rollup.Network{1}, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(rollup.Network{1}, "a", "b"); !errors.Is(err, client.ErrBookInUse) {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := open(rollup.Network{2}, "a", "b"); !errors.Is(err, replay.ErrOtherReplay) {
		t.Error(err)
	}
	if _, err := open(rollup.Network{1}, "b", "a"); !errors.Is(err, replay.ErrOtherReplay) {
		t.Error(err)
	}
	if f, err = open(rollup.Network{1}, "a", "b"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
