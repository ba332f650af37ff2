//go:build linux

package crash

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/rollup"
)

// TestCrashDisk: a member loses the disk with its store, and keeps its keys and the record of its
// votes. It does not know any more which numbers it signed, so it signs no rollup of that epoch,
// and the node that would have one number billed twice gets nothing from it. It signs again in the
// next epoch, and the network goes on meanwhile.
func TestCrashDisk(t *testing.T) {
	Binary(t)
	ctx := deadline(t, 3*time.Minute, 0)
	o := short()
	o.EpochSeconds = 30
	n := Start(ctx, t, o)
	p, err := n.Register(ctx, 3, 6)
	if err != nil {
		t.Fatal(err)
	}
	const victim = 3
	members := n.Impostor(t, 0)
	// One epoch must hold what follows up to the refusal.
	epoch := n.nextEpoch(ctx, t, 0)
	signed := n.seal(t, p, rollup.WindowKey{Epoch: epoch, Window: 1_000_000}, 20, "billed")
	if _, err := n.push(ctx, members, victim, signed); err != nil {
		t.Fatal(err)
	}
	n.loseDisk(ctx, t, victim)

	// The same numbers in another window: a member that kept its table answers ReasonNumbers.
	again := signed.again(t, n, p, rollup.WindowKey{Epoch: epoch, Window: 1_000_001})
	if _, err := n.push(ctx, members, victim, again); !errors.Is(err, peer.ReasonNoTable) {
		t.Fatalf("numbers that it may have signed: %v, not %v", err, peer.ReasonNoTable)
	}
	if _, err := n.push(ctx, members, victim, signed); !errors.Is(err, peer.ReasonNoTable) {
		t.Fatalf("what it signed before: %v, not %v", err, peer.ReasonNoTable)
	}
	if now := n.epochNow(ctx, t, 0); now != epoch {
		t.Fatalf("epoch %d has come: the machine was too slow to tell", now)
	}
	next := n.nextEpoch(ctx, t, victim)
	fresh := n.seal(t, p, rollup.WindowKey{Epoch: next, Window: 1_000_000}, 20, "fresh")
	if _, err := n.push(ctx, members, victim, fresh); err != nil {
		t.Errorf("in the next epoch: %v", err)
	}
}

// again is the same acks in another window. No number may be signed twice, and so nothing is.
func (s sealed) again(t *testing.T, n *Network, p *Parties, key rollup.WindowKey) sealed {
	t.Helper()
	header, evidence, err := rollup.Seal(n.ID, key, s.frames, s.aggregate, p)
	if err != nil {
		t.Fatal(err)
	}
	return sealed{header: header, evidence: evidence, frames: s.frames, aggregate: s.aggregate,
		own: rollup.SignOwn(n.Identity(t, int(key.Node)).Transport, header)}
}

func (n *Network) epochNow(ctx context.Context, t *testing.T, node int) uint32 {
	t.Helper()
	status, err := n.Status(ctx, node)
	if err != nil {
		t.Fatal(err)
	}
	return status.Epoch
}

// nextEpoch waits for an epoch to begin at a node, and returns it.
func (n *Network) nextEpoch(ctx context.Context, t *testing.T, node int) (epoch uint32) {
	t.Helper()
	now := n.epochNow(ctx, t, node)
	err := n.await(ctx, "the next epoch", func() (bool, error) {
		status, err := n.Status(ctx, node)
		if err == nil {
			epoch = status.Epoch
		}
		return epoch > now, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return epoch
}

// loseDisk kills a node, removes its store, and waits until it has caught up with the chain.
func (n *Network) loseDisk(ctx context.Context, t *testing.T, i int) {
	t.Helper()
	loaded, err := config.Load(filepath.Join(n.Nodes[i].Home, "config.toml"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	n.Processes[i].Kill()
	store := loaded.Config.Path(loaded.Config.Store.Path)
	if entries, err := os.ReadDir(store); err != nil || len(entries) == 0 {
		t.Fatalf("no store in %s: %v", store, err)
	}
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	if err := n.Processes[i].Start(); err != nil {
		t.Fatal(err)
	}
	witness := (i + 1) % len(n.Nodes)
	err = n.await(ctx, "the node without its disk to catch up", func() (bool, error) {
		own, err := n.Status(ctx, i)
		other, otherErr := n.Status(ctx, witness)
		if err := errors.Join(err, otherErr); err != nil {
			return false, err
		}
		return own.Height > 0 && own.Height+1 >= other.Height, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
