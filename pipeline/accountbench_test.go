//go:build unix

package pipeline_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// BenchmarkOnAccount measures a window of 8,192 acks of 64 known clients, each over a session of
// its own, from the door to the seal: the processor's time for an ack, and how many are answered a
// second. Run settings interleaved (-count), and compare ratios. ADR 50 has a run.
func BenchmarkOnAccount(b *testing.B) {
	const clients, each, known = 64, 128, 128
	net := newFixture(b, pipelinetest.Config{Clients: clients, Members: 1}).net
	var acks [clients][]*rollup.Ack
	for c := range acks {
		for n := range uint32(known + each) {
			acks[c] = append(acks[c], net.Ack(rollup.WindowKey{}, uint64(c), 0, n, 1))
		}
	}
	for _, cosigned := range []bool{true, false} {
		for _, perMille := range []int{0, 1, 10} {
			for _, setting := range []int{0, each} {
				name := fmt.Sprintf("cosigned=%v/liars=%d‰/on=%v", cosigned, perMille, setting > 0)
				b.Run(name, func(b *testing.B) {
					for b.Loop() {
						benchAccount(b, net, acks[:], cosigned, clients*each*perMille/1000, setting)
					}
				})
			}
		}
	}
}

// benchAccount takes one window of acks, of which the last clients forged some.
func benchAccount(b *testing.B, net *pipelinetest.Network, acks [][]*rollup.Ack, cosigned bool,
	lies, setting int) {
	f := &fixture{t: b, net: net, members: &pipelinetest.Committee{Network: net}, disk: newDisk()}
	f.cfg.Config = pipeline.Config{Network: net.ID, Workers: 1, WindowAge: 5 * time.Second,
		CosignWait: time.Second, OnAccount: pipeline.OnAccount{Acks: setting, AllAcks: 1 << 20},
		Now: func() time.Time { return net.View().Time() }}
	each := len(acks[0]) / 2
	liars := (lies + each/2 - 1) / (each / 2) // each forged half of its acks
	honest := func(client uint64) bool { return client < uint64(len(acks)-liars) }
	f.cfg.Cosigners = &pipelinetest.Cosigners{Network: net,
		Away: func(pipeline.Session) bool { return !cosigned },
		Answer: func(_ context.Context, _ *pipeline.Offer, answers []pipeline.Cosignature) (
			kept []pipeline.Cosignature) {
			for _, a := range answers {
				if honest(a.Client) {
					kept = append(kept, a)
				}
			}
			return kept
		}}
	f.start(nil)
	defer f.p.Close()
	sources := make([]*pipeline.Source, len(acks))
	for c := range sources {
		sources[c] = f.p.OpenSession("client", pipeline.Session(c+1))
		submit(b, sources[c], acks[c][:each]...)
	}
	before, start := processorTime(b), time.Now()
	var futures []*pipeline.Future
	for c, source := range sources {
		list := acks[c][each:]
		for i := 0; i < each; i += 64 {
			part := list[i : i+64]
			if !honest(uint64(c)) && lies > 0 && i == each/2 {
				part = nil
				for k, a := range list[i:] {
					if k < lies {
						a = forged(a)
					}
					part = append(part, a)
				}
				lies -= min(lies, len(part))
			}
			future, err := source.SubmitAsync(frames(part...))
			if err != nil {
				b.Fatal(err)
			}
			futures = append(futures, future)
		}
	}
	for _, future := range futures {
		wait(b, future)
	}
	answered := time.Since(start)
	for s := f.p.Stats(); s.Stage(pipeline.StageSeal).Batches == 0; s = f.p.Stats() {
		time.Sleep(20 * time.Millisecond)
	}
	n := float64(len(acks) * each)
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/n, "cpu-µs/ack")
	b.ReportMetric(n/answered.Seconds(), "answered/s")
	b.ReportMetric(float64(f.p.Stats().Account.Covered), "covered")
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
