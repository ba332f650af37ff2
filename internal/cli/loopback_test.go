package cli

import (
	"os"
	"testing"
	"time"

	"github.com/waybill-network/waybill/bench/loopback"
)

// TestLoadedNetwork: what a network of processes took under a load is certified, ordered and
// settled, and nothing of it is left.
func TestLoadedNetwork(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	n, err := loopback.Start(t.Context(), loopback.Config{Program: program, Members: 1,
		Feeding: 2, Clients: 4, Epoch: 4 * time.Second, Window: 500 * time.Millisecond,
		Grace: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}()
	load, err := n.Prepare(t.Context(), 400, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	s, err := n.Offer(t.Context(), load)
	if err != nil {
		t.Fatal(err)
	}
	settled, err := n.Settle(t.Context(), s.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	if s.Taken == 0 || s.Taken > s.Offered || s.Certified != s.Taken || s.Ordered != s.Taken ||
		settled != s.Taken {
		t.Errorf("%d settled of %+v", settled, s)
	}
	if s.ToAnswer.P50 <= 0 || s.ToCertified.P50 <= s.ToAnswer.P50 || len(s.Processes) != 4 {
		t.Errorf("%+v", s)
	}
}
