package committee

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// TestFetchedBlockFails: a node that fetches blocks and cannot go on says why, in an error and not
// by the death of its process; it stops in good order, and its store is that of the block before.
func TestFetchedBlockFails(t *testing.T) {
	net := newNetwork(t, "halt", 4, 3600, 1, freeAddresses(t, 4),
		time.Now().UTC().Truncate(time.Second))
	var nodes []*running
	for i := range 3 {
		nodes = append(nodes, net.start(t, i, t.TempDir()))
	}
	for nonce := range uint64(3) {
		tx, to := net.deposit(nonce)
		if err := nodes[0].SubmitTx(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
		nodes[0].wait(t, "a deposit", funded(to))
	}
	dir, at := t.TempDir(), int64(2)
	full := errors.New("no room")
	fails := func(keep func(*ledger.Block) error) error {
		t.Helper()
		s, err := store.Open(filepath.Join(dir, "store"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c := net.config(3, dir, s)
		c.Keep = func(b *ledger.Block) error {
			if b.Height != at {
				return nil
			}
			return keep(b)
		}
		e, err := Start(t.Context(), c)
		if err != nil {
			return err // the block is in the store already, and is executed at the start
		}
		defer e.Stop()
		select {
		case <-e.Failed():
		case <-time.After(time.Minute):
			t.Fatal("the block does not fail")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		tx, _ := net.deposit(9)
		if err := e.SubmitTx(ctx, tx); ctx.Err() != nil { // a word, whichever
			t.Errorf("who hands in a transaction waits for ever: %v", err)
		}
		if height := e.View().Height(); height != at-1 {
			t.Errorf("at block %d", height)
		}
		return e.Status().Err
	}
	if err := fails(func(*ledger.Block) error { return fmt.Errorf("keep: %w", full) }); !errors.Is(
		err, full) {
		t.Errorf("an error while blocks are fetched: %v", err)
	}
	var block *BlockError
	if err := fails(func(*ledger.Block) error { panic("sums differ") }); !errors.As(err,
		&block) || block.Height != at {
		t.Errorf("a panic at the start: %v", err)
	}
	at = 3
	if err := fails(func(*ledger.Block) error { panic("sums differ") }); !errors.As(err,
		&block) || block.Height != at {
		t.Errorf("a panic while blocks are fetched: %v", err)
	}
	nodes = append(nodes, net.start(t, 3, dir))
	_, last := net.deposit(2)
	nodes[3].wait(t, "the last deposit", funded(last))
	for h := int64(1); h < nodes[3].View().Height(); h++ {
		if got, want := nodes[3].appHashAt(h), nodes[0].appHashAt(h); !bytes.Equal(got, want) {
			t.Errorf("app hash %x at height %d, expected %x", got, h, want)
		}
	}
}
