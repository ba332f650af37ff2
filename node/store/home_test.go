package store_test

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// TestOlderHome goes on with a home that a version wrote before there was an outbox: windows 0 and
// 1 are ordered, 2 has its certificate, 3 is sealed, and 4 has its acks in the pool. Half of each
// is co-signed, but the last one, whose sessions ended with the process.
func TestOlderHome(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/home")); err != nil {
		t.Fatal(err)
	}
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	net, err := pipelinetest.New(pipelinetest.Config{Members: 1, Clients: 4, Payers: 2, Start: start})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(dir, store.Options{CacheSize: 1 << 20, MemTableSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cfg := pipelinetest.NodeConfig{Config: pipeline.Config{Network: net.ID, Workers: 1}}
	p, err := pipelinetest.NewNode(cfg, s, net, &pipelinetest.Committee{Network: net})
	if err == nil {
		err = p.Start(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	for len(net.Ordered()) < 3 {
		select {
		case <-net.Updated():
		case <-t.Context().Done():
			t.Fatal("not ordered")
		}
	}
	p.Close()
	var windows []uint32
	for _, o := range net.Ordered() {
		windows = append(windows, o.Key.Window)
	}
	if slices.Sort(windows); !slices.Equal(windows, []uint32{2, 3, 4}) {
		t.Errorf("windows %v were ordered", windows)
	}
	for window := range uint32(5) {
		a, err := s.Sealed(rollup.WindowKey{Window: window})
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := a.Evidence(0)
		if err != nil {
			t.Fatal(err)
		}
		ev, err := rollup.ParseEvidence(encoded)
		if err != nil {
			t.Fatal(err)
		}
		if err := rollup.Verify(a.Header, ev, net.ID, net.View(), nil, 1); err != nil {
			t.Error(err)
		}
		if a.Acks.Len() != 4 || a.Stated() != (window < 4) {
			t.Errorf("window %d: %d acks, stated: %v", window, a.Acks.Len(), a.Stated())
		}
	}
}
