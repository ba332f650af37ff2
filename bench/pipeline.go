package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

var pipelineSuite = Suite{
	Name: "pipeline",
	What: "acks from the door to sealed windows, on a store on disk",
	Build: func(ctx context.Context, quick bool) ([]Comparison, error) {
		network, err := pipelinetest.New(pipelinetest.Config{Clients: 256, Payers: 8,
			Services: services})
		if err != nil {
			return nil, err
		}
		windows, acks, cores := 8, rollup.MaxAcks, runtime.NumCPU()
		if quick {
			windows, acks, cores = 2, 16384, 1
		}
		without, err := withoutCryptography(ctx, network, windows)
		if err != nil {
			return nil, err
		}
		out := []Comparison{*without}
		t := newTraffic(network.ID, rollup.WindowKey{}, network.Clients, acks)
		for c := 1; c <= cores; c += max(1, cores-1) {
			out = append(out, *withVerification(ctx, network, t, c))
		}
		if runtime.NumCPU() > 1 {
			out = append(out, *besideProver(ctx, network, t))
		}
		return out, nil
	},
}

// submission is how many acks a source hands in at a time, and sources how many connections take
// turns. Each first sends introduction acks that are not measured: until a connection has sent good
// ones, the pipeline keeps its batches small.
const (
	submission   = 1024
	sources      = 4
	introduction = 512
	introduced   = sources * introduction
)

// withoutCryptography measures a pipeline on one core whose verifier accepts everything: decode,
// checks, duplicates, numbering, the synced write, tree, rollup.
func withoutCryptography(ctx context.Context, network *pipelinetest.Network,
	windows int) (*Comparison, error) {
	d, err := newDoor(network, 1,
		func() pipeline.BatchVerifier { return pipelinetest.NewAccepting() })
	if err != nil {
		return nil, err
	}
	frames := bySource(unsigned(network.ID, rollup.WindowKey{}, len(network.Clients), rollup.MaxAcks))
	err = d.introduce(ctx, frames[:introduced*rollup.AckSize])
	if err == nil { // the rest of the window that the introduction began
		err = d.feed(ctx, frames[introduced*rollup.AckSize:], 1, true)
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return &Comparison{
		Name: "PipelineWithoutCryptography", What: "from the door to sealed windows, with a " +
			"verifier that accepts everything in place of BLS", Op: "ack",
		Cores: 1,
		Contenders: []Contender{{Name: "pipeline on Pebble, synced", Kind: KindOwn,
			Run: func() (int, error) {
				return windows * rollup.MaxAcks, d.feed(ctx, frames, windows, true)
			}}},
		Goals: []Goal{{What: "without cryptography at least 500,000 acks/s on one core, and no " +
			"allocation per ack (under 0.05, for what a submission allocates)", PerSecond: 500_000,
			MaxAllocs: 0.05}},
		Close: d.close,
		Extra: func([]Sample) string { return d.describe() },
	}, nil
}

// withVerification compares a whole pipeline with batch verification alone, both on the same cores
// and acks.
func withVerification(ctx context.Context, network *pipelinetest.Network, t *traffic,
	cores int) *Comparison {
	const batch = 8192 // the pipeline's largest
	verifiers, verdicts := make([]*bls.Verifier, cores), make([][]bls.Verdict, cores)
	for i := range verifiers {
		verifiers[i], verdicts[i] = bls.NewVerifier(bls.Default, 1), make([]bls.Verdict, batch)
	}
	measured := t.len() - introduced
	var frames []byte
	var d *door
	closeDoor := func() (err error) {
		if d != nil {
			err = d.close()
			d = nil
		}
		return err
	}
	return &Comparison{
		Name:  fmt.Sprintf("Pipeline/acks=%d/clients=%d", t.len(), len(t.keys)),
		What:  "the whole pipeline, on connections that it knows, against the verification in it",
		Op:    "ack",
		Cores: cores, Rounds: 6, Pipeline: len(t.keys),
		Contenders: []Contender{
			{Name: fmt.Sprintf("BatchVerify alone, batches of %d", batch), Kind: KindOwn,
				Run: func() (int, error) {
					return measured, verifyAll(t, introduced, batch, verifiers, verdicts)
				}},
			{Name: "pipeline on Pebble, synced", Kind: KindOwn, Prepare: func() error {
				err := closeDoor() // the acks are for window 0, which is new only in a new store
				frames = bySource(t.frames)
				if err == nil {
					d, err = newDoor(network, cores, nil)
				}
				if err == nil {
					err = d.introduce(ctx, frames[:introduced*rollup.AckSize])
				}
				return err
			}, Run: func() (int, error) {
				return measured, d.feed(ctx, frames[introduced*rollup.AckSize:], 1,
					t.len() == rollup.MaxAcks)
			}},
		},
		Goals: []Goal{{What: "whole pipeline ≥ 0.85× BatchVerify: storing, numbering and sealing " +
			"hide behind verification", Ratio: 0.85}},
		Close: closeDoor,
	}
}

// verifyAll verifies batches of the acks from an index on with all verifiers at once.
func verifyAll(t *traffic, from, size int, verifiers []*bls.Verifier,
	verdicts [][]bls.Verdict) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	next.Store(int64(from))
	errs := make([]error, len(verifiers))
	for w := range verifiers {
		wg.Go(func() {
			for errs[w] == nil {
				to := int(next.Add(int64(size)))
				if to-size >= t.len() {
					return
				}
				errs[w] = verifyBatch(verifiers[w], t.batch(to-size, min(to, t.len())), verdicts[w])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// door is a running pipeline on a store in a temporary folder, with the sources that feed it.
type door struct {
	dir      string
	store    *store.Store
	pipeline *pipelinetest.Node
	sources  [sources]*pipeline.Source
	sealed   sealed
	window   uint32 // the next to fill
	clients  int    // that take turns
	fed      int    // acks, so far
	stop     context.CancelFunc
	opened   <-chan pipeline.WindowInfo
}

// newDoor starts a pipeline for node 0. Its clock is the last block's, because nobody makes blocks.
func newDoor(network *pipelinetest.Network, workers int,
	verifier func() pipeline.BatchVerifier) (d *door, err error) {
	d = &door{sealed: make(sealed, 64), clients: len(network.Clients)}
	if d.dir, err = os.MkdirTemp("", "waybill-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.store, err = newStore(d.dir); err != nil {
		return nil, err
	}
	cfg := pipelinetest.NodeConfig{Config: pipeline.Config{Network: network.ID, Workers: workers,
		WindowAge: time.Hour, NewVerifier: verifier,
		Now: func() time.Time { return network.View().Time() }}}
	if d.pipeline, err = pipelinetest.NewNode(cfg, d.store, network, d.sealed); err != nil {
		return nil, err
	}
	if err = d.pipeline.Start(context.Background()); err != nil {
		return nil, err
	}
	for i := range d.sources {
		d.sources[i] = d.pipeline.Open(fmt.Sprint("source ", i))
	}
	var ctx context.Context
	ctx, d.stop = context.WithCancel(context.Background())
	d.opened = d.pipeline.Follow(ctx)
	return d, nil
}

// newStore opens a store that may take and sign from epoch 0 on.
func newStore(dir string) (*store.Store, error) {
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		return nil, err
	}
	if err := s.Begin(0); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (d *door) close() error {
	var err error
	if d.pipeline != nil {
		for _, s := range d.sources {
			if s != nil {
				s.Close()
			}
		}
		d.pipeline.Close()
	}
	if d.stop != nil {
		d.stop()
	}
	if d.store != nil {
		err = d.store.Close()
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}

// introduce hands in the first acks of every source and waits until they are accepted.
func (d *door) introduce(ctx context.Context, frames []byte) error {
	for _, s := range d.sources {
		f, err := s.SubmitAsync(frames[:introduction*rollup.AckSize])
		if err == nil {
			err = accepted(ctx, []*pipeline.Future{f})
		}
		if err != nil {
			return err
		}
		d.fed += introduction
		frames = frames[introduction*rollup.AckSize:]
	}
	return nil
}

// feed hands in acks for the next windows, and returns when all are answered accepted and, if that
// fills the windows, they are sealed. The same frames serve for all: their numbers are written
// first.
func (d *door) feed(ctx context.Context, frames []byte, windows int, full bool) error {
	// of the window before; its last write may go on while the next window fills
	var before []*pipeline.Future
	for range windows {
		if err := d.await(ctx, d.window); err != nil {
			return err
		}
		futures, err := d.submit(frames)
		stats := d.pipeline.Stats()
		if refused := stats.Answered(rollup.CodeOverloaded); refused > 0 { // it would never fill
			err = fmt.Errorf("%d acks found no room", refused)
		}
		if err == nil {
			err = accepted(ctx, before)
		}
		if err != nil {
			return err
		}
		before = futures
		d.window++
	}
	if err := accepted(ctx, before); err != nil || !full {
		return err
	}
	for range windows {
		if err := d.sealed.next(ctx); err != nil {
			return err
		}
	}
	return nil
}

// await returns when the window is open.
func (d *door) await(ctx context.Context, window uint32) error {
	if d.pipeline.OpenWindow().Window == window {
		return nil
	}
	for {
		select {
		case info, ok := <-d.opened:
			switch {
			case !ok:
				return pipeline.ErrClosed
			case info.Window == window:
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// bySource arranges acks in the order of their submissions. Every client has one connection, as it
// should: what a client sends through two at once may be judged in any order, and is then a gap.
func bySource(frames []byte) []byte {
	arranged := make([]byte, 0, len(frames))
	block := introduced * rollup.AckSize
	for len(frames) > 0 {
		block = min(block, len(frames))
		for s := range uint64(sources) {
			for at := 0; at < block; at += rollup.AckSize {
				if f := rollup.Frame(frames[at : at+rollup.AckSize]); f.Client()%sources == s {
					arranged = append(arranged, f...)
				}
			}
		}
		frames = frames[block:]
		block = sources * submission * rollup.AckSize
	}
	return arranged
}

// submit hands in the frames of one window, by turns through all sources. They are arranged by
// bySource.
func (d *door) submit(frames []byte) ([]*pipeline.Future, error) {
	var futures []*pipeline.Future
	shift := uint32(d.fed/d.clients) - rollup.Frame(frames[:rollup.AckSize]).Number()
	d.fed += len(frames) / rollup.AckSize
	for len(frames) > 0 {
		size := min(submission, len(frames)/rollup.AckSize/sources) * rollup.AckSize
		for _, source := range d.sources {
			part := frames[:size]
			for at := 0; shift != 0 && at < len(part); at += rollup.AckSize {
				number := part[at+numberOffset:]
				le := binary.LittleEndian
				le.PutUint32(number, le.Uint32(number)+shift)
			}
			f, err := source.SubmitAsync(part)
			if err != nil {
				return nil, err
			}
			futures = append(futures, f)
			frames = frames[size:]
		}
	}
	return futures, nil
}

// numberOffset is where an ack holds its number.
const numberOffset = 36

// accepted waits for the answers, which must all be the best.
func accepted(ctx context.Context, futures []*pipeline.Future) error {
	for _, f := range futures {
		answers, _, err := f.Wait(ctx)
		if err != nil {
			return err
		}
		for _, a := range answers {
			if a.Code != rollup.CodeAccepted {
				return fmt.Errorf("an ack was answered %v", a.Code)
			}
		}
	}
	return nil
}

func (d *door) describe() string {
	stats, syncs := d.pipeline.Stats(), d.store.SyncLatency()
	return fmt.Sprintf("store in %s: %d synced writes of %d acks on average, about %v each; "+
		"windows are sealed and not certified",
		os.TempDir(), stats.Writes, stats.Stage(pipeline.StageCommit).Acks/max(1, stats.Writes),
		syncs.Average.Round(10*time.Microsecond))
}

// sealed is a committee that hears of sealed windows and refuses them all: certificates are another
// suite's affair.
type sealed chan rollup.WindowKey

var errRefused = &pipelinetest.Refusal{Err: errors.New("this committee refuses everything")}

// Push implements certify.Members.
func (s sealed) Push(ctx context.Context, _ uint32, header []byte, _ [rollup.WordSize]byte,
	_ []byte) (share [48]byte, err error) {
	h, err := rollup.ParseHeader(header)
	if err != nil {
		return share, err
	}
	select {
	case s <- h.Key():
		return share, errRefused
	case <-ctx.Done():
		return share, context.Cause(ctx)
	}
}

func (s sealed) next(ctx context.Context) error {
	select {
	case <-s:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
