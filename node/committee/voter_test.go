package committee

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// startQuiet starts a member from its directory after store.Forget.
func (n *network) startQuiet(t testing.TB, i int, dir string) *running {
	t.Helper()
	s, err := store.Open(filepath.Join(dir, "store"), store.Options{Adopt: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Forget(); err != nil {
		t.Fatal(err)
	}
	c := n.config(i, dir, s)
	if err := os.Remove(SignStateFile(c.Home)); err != nil {
		t.Fatal(err)
	}
	c.watchTime = time.Second
	e, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Stop(); _ = s.Close() })
	return &running{e, s}
}

// failure waits until an engine cannot go on, and returns why.
func (r *running) failure(t testing.TB) error {
	t.Helper()
	select {
	case <-r.Failed():
		return r.Status().Err
	case <-time.After(time.Minute): // only a test that fails waits for it
		t.Fatalf("it goes on: %+v", r.Status())
	}
	return nil
}

// TestCopy: a copy of a member's home does not start beside it; as one that comes from a backup it
// listens, sees the member vote, and ends without a vote. When the member is gone it comes to vote;
// and the member, should it come back, sees votes that it never cast, and ends.
func TestCopy(t *testing.T) {
	net := newNetwork(t, "copy", 4, 3, 1, freeAddresses(t, 4), time.Now().UTC())
	besides := key("beside") // peers let one of a transport key in
	net.observers = []string{Peer{Key: ledger.KeyOf(besides)}.ID()}
	var nodes []*running
	var dirs []string
	for i := range net.members {
		dirs = append(dirs, t.TempDir())
		nodes = append(nodes, net.start(t, i, dirs[i]))
	}
	const member = 3
	nodes[0].wait(t, "blocks", func(v *ledger.View) bool { return v.Height() > 3 })

	// A copy of what is on the disk now, beside the member: its peers know it by its place.
	nodes[member].stop(t)
	copied := filepath.Join(t.TempDir(), "copied")
	if err := os.CopyFS(copied, os.DirFS(dirs[member])); err != nil {
		t.Fatal(err)
	}
	nodes[member] = net.start(t, member, dirs[member])
	if _, err := store.Open(filepath.Join(copied, "store"), store.Options{}); !errors.Is(err,
		store.ErrCopied) {
		t.Fatalf("a copy opens: %v", err)
	}
	c := net.config(member, copied, nodes[member].store)
	if _, err := Start(t.Context(), c); !errors.Is(err, store.ErrCopied) {
		t.Fatalf("a copied record of votes: %v", err)
	}
	own := net.members[member]
	net.members[member].transport, net.members[member].address = besides, freeAddresses(t, 1)[0]
	beside := net.startQuiet(t, member, copied)
	net.members[member] = own
	if err := beside.failure(t); !errors.Is(err, ErrElsewhere) {
		t.Fatalf("beside the member: %v", err)
	}
	beside.stop(t)
	if _, err := os.Stat(SignStateFile(c.Home)); err == nil {
		t.Error("the copy has signed something")
	}

	// Without the member. A second copy plays the member that comes back with what it knows.
	nodes[member].stop(t)
	earlier := filepath.Join(t.TempDir(), "earlier")
	if err := os.CopyFS(earlier, os.DirFS(dirs[member])); err != nil {
		t.Fatal(err)
	}
	alone := net.startQuiet(t, member, dirs[member])
	votes := func(v *ledger.View) bool {
		vote := nodes[0].Status().Votes[member]
		return vote.Height > alone.quietUntil()
	}
	alone.wait(t, "a vote of the home that was restored", func(v *ledger.View) bool {
		quiet, err := alone.store.Quiet()
		return err == nil && !quiet && votes(v)
	})
	if since, known := alone.store.Since(); !known || since == 0 {
		t.Error("it takes from epoch ", since, known)
	}
	sameHashes(t, []*running{nodes[0], nodes[1], nodes[2], alone})

	for _, dir := range []string{filepath.Join(earlier, "store"),
		filepath.Dir(SignStateFile(filepath.Join(earlier, "consensus")))} {
		if err := store.MarkPlace(dir); err != nil {
			t.Fatal(err)
		}
	}
	net.members[member].transport, net.members[member].address = besides, freeAddresses(t, 1)[0]
	back := net.start(t, member, earlier)
	if err := back.failure(t); !errors.Is(err, ErrElsewhere) {
		t.Fatalf("the member, back with the other at work: %v", err)
	}
}

// quietUntil is the height above which the key votes.
func (r *running) quietUntil() int64 {
	r.app.voter.mu.Lock()
	defer r.app.voter.mu.Unlock()
	return r.app.voter.upTo
}
