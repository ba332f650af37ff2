package committee

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/node/store"
)

// chainOf is a block store with a block a second, the first at genesisTime.
type chainOf struct{ base, top int64 }

func (c *chainOf) Base() int64 { return c.base }

func (c *chainOf) LoadBlockMeta(h int64) *types.BlockMeta {
	if h < c.base || h > c.top {
		return nil
	}
	return &types.BlockMeta{Header: types.Header{Height: h, Time: second(h)}}
}

func second(h int64) time.Time { return genesisTime.Add(time.Duration(h-1) * time.Second) }

func TestRetainHeight(t *testing.T) {
	const top = 1000
	for name, c := range map[string]struct {
		keep     time.Duration
		evidence types.EvidenceParams
		base     int64
		want     int64 // the lowest height that is kept in the end
	}{
		"all":                       {0, types.EvidenceParams{}, 1, 1},
		"the last minute":           {time.Minute, types.EvidenceParams{}, 1, top - 60},
		"the last minute, from 500": {time.Minute, types.EvidenceParams{}, 500, top - 60},
		"a day, and there is less":  {24 * time.Hour, types.EvidenceParams{}, 1, 1},
		"evidence is older": {time.Minute,
			types.EvidenceParams{MaxAgeDuration: 2 * time.Minute}, 1, top - 120},
		"evidence counts blocks": {time.Minute, types.EvidenceParams{MaxAgeNumBlocks: 300}, 1,
			top - 300},
		"evidence, and few blocks": {time.Minute, types.EvidenceParams{MaxAgeNumBlocks: 2 * top},
			1, 1},
		"evidence counts few blocks": {time.Minute,
			types.EvidenceParams{MaxAgeNumBlocks: 10, MaxAgeDuration: time.Second}, 1, top - 60},
	} {
		t.Run(name, func(t *testing.T) {
			store := &chainOf{c.base, top}
			r := retention{keep: c.keep, evidence: c.evidence, blocks: store}
			for range top { // as many commits, each at the same height: every one lets some go
				h := r.height(top, second(top))
				if h == 0 {
					break
				}
				if h <= store.base || h > store.base+retainSteps || h > c.want {
					t.Fatalf("from %d to %d, where %d is to stay", store.base, h, c.want)
				}
				store.base = h
			}
			if store.base != c.want {
				t.Errorf("blocks from %d on are kept, want %d", store.base, c.want)
			}
		})
	}
	store := &chainOf{1, top}
	r := retention{keep: time.Minute, blocks: store}
	if first, second := r.height(top, second(top)),
		r.height(top, second(top)); second != first+retainSteps {
		t.Errorf("an engine that drops nothing is told %d, then %d", first, second)
	}
	if h := (&retention{keep: time.Minute}).height(top, second(top)); h != 0 {
		t.Errorf("%d while the engine is built", h)
	}
}

// TestPruning: the engine forgets blocks, at once here, and goes on from what is left.
func TestPruning(t *testing.T) {
	net := newNetwork(t, "pruning", 1, 3600, 1, freeAddresses(t, 1), time.Now().UTC())
	dir := t.TempDir()
	start := func() *running {
		t.Helper()
		s, err := store.Open(filepath.Join(dir, "store"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c := net.config(0, dir, s)
		c.KeepBlocks, c.evidence = time.Millisecond, &types.EvidenceParams{}
		e, err := Start(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return &running{e, s}
	}
	for nonce := range uint64(3) {
		n := start()
		for i := range uint64(5) {
			tx, to := net.deposit(5*nonce + i)
			if err := n.SubmitTx(t.Context(), tx); err != nil {
				t.Fatal(err)
			}
			n.wait(t, "a deposit", funded(to))
		}
		blocks, height := n.parts.blocks, n.View().Height()
		n.stop(t)
		if base := blocks.Base(); base < height-3 {
			t.Errorf("at height %d blocks from %d on are kept", height, base)
		}
	}
}
