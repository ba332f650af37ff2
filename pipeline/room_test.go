package pipeline_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// TestRoom fills the disk and makes room again: acks are refused at the door meanwhile, with a
// delay, and are not stored.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 1})
		var full atomic.Bool
		f.cfg.Room = func() bool { return !full.Load() }
		f.start(nil)
		stop := f.blocks()
		defer stop()
		defer f.p.Close()
		ack := f.ack(0, 1)
		full.Store(true)
		future, err := f.source.SubmitAsync(frames(ack))
		if err != nil {
			t.Fatal(err)
		}
		codes, receipt, err := future.Wait(t.Context())
		if err != nil || codes[0].Code != rollup.CodeOverloaded || receipt.RetryAfter < time.Second {
			t.Errorf("without room: %v, %+v, %v", codes, receipt, err)
		}
		if err := f.p.Ready(); !errors.Is(err, pipeline.ErrRoom) {
			t.Errorf("ready without room: %v", err)
		}
		if len(f.disk.pools) != 0 {
			t.Error("an ack was stored all the same")
		}
		full.Store(false)
		f.want(f.submit(ack), rollup.CodeAccepted)
		if err := f.p.Ready(); err != nil {
			t.Error(err)
		}
	})
}
