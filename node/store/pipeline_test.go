package store_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// crashing is a file system that can be looked at, as a crash would leave it, just before any of
// its syncs.
type crashing struct {
	vfs.FS
	sync func()
}

func (fs crashing) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return crashingFile{f, fs.sync}, nil
}

func (fs crashing) Unwrap() vfs.FS { return fs.FS }

func (fs crashing) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.wrap(fs.FS.Create(name, c))
}

func (fs crashing) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.wrap(fs.FS.ReuseForWrite(old, name, c))
}

type crashingFile struct {
	vfs.File
	sync func()
}

func (f crashingFile) Sync() error { f.sync(); return f.File.Sync() }

func (f crashingFile) SyncData() error { f.sync(); return f.File.SyncData() }

type message [rollup.LeafSize]byte

func messageOf(a *rollup.Ack) (m message) {
	a.AppendLeaf(m[:0])
	return m
}

// life is a node that crashes.
type life struct {
	t       *testing.T
	net     *pipelinetest.Network
	members *pipelinetest.Committee
	rng     *rand.Rand

	mu       sync.Mutex
	accepted map[message]bool
	cosigned int // windows
	delays   *rand.Rand

	// What the clients have signed, by number, and which number is the first without an answer. They
	// send it again byte for byte.
	signed  [4][]*rollup.Ack
	settled [4]int
}

// answer has clients take their time, and sometimes too long.
func (l *life) answer(ctx context.Context, _ *pipeline.Offer,
	answers []pipeline.Cosignature) []pipeline.Cosignature {
	l.mu.Lock()
	wait := time.Duration(l.delays.IntN(2500)) * time.Millisecond
	l.mu.Unlock()
	select {
	case <-time.After(wait):
		return answers
	case <-ctx.Done():
		return nil
	}
}

// TestPipelineCrash crashes a node at random syncs of its store, over and over, each time going on
// from what the disk shows: every ack that was accepted ends up in one rollup, and what was ordered
// is never made otherwise.
func TestPipelineCrash(t *testing.T) {
	chains, crashes := 8, 8
	if testing.Short() {
		chains = 2
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for chain := range chains {
		synctest.Test(t, func(t *testing.T) {
			net, err := pipelinetest.New(pipelinetest.Config{Members: 1, Clients: 4, Payers: 2})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			var blocks sync.WaitGroup
			blocks.Go(func() { net.Run(ctx, time.Second) })
			defer blocks.Wait()
			defer cancel()
			l := &life{t: t, net: net, members: &pipelinetest.Committee{Network: net},
				rng:    rand.New(rand.NewPCG(seed, uint64(chain))),
				delays: rand.New(rand.NewPCG(seed, uint64(chain))), accepted: map[message]bool{}}
			disk := vfs.NewCrashableMem()
			for range crashes {
				disk = l.live(disk)
			}
			l.settle(disk)
		})
	}
}

// live runs a node on the disk for a while and returns the disk after a crash at one of its syncs.
// The acks that were answered after the crash are forgotten: the node that answered them is another
// history.
func (l *life) live(disk *vfs.MemFS) *vfs.MemFS {
	at := l.rng.IntN(12)
	rng := rand.New(rand.NewPCG(l.rng.Uint64(), 0)) // of the crash
	crashed := make(chan struct{})
	var after *vfs.MemFS
	syncs := 0
	fs := crashing{disk, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if syncs++; syncs-1 == at {
			after = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 30, 100}[rng.IntN(3)],
				RNG: rng})
			close(crashed)
		}
	}}
	alive := func() error { // the dead push nothing, and offer no certificates
		select {
		case <-crashed:
			return context.Canceled
		default:
			return nil
		}
	}
	l.net.Refuse = func([]byte) error { return alive() }
	l.members.Before = func(context.Context, uint32, []byte) ([48]byte, error) {
		return [48]byte{}, alive()
	}
	s, p := l.start(fs)
	source, cosigning := p.Open("client"), p.OpenSession("co-signing client", 1)
	for range 30 {
		open := p.OpenWindow()
		var frames []byte
		var sent []*rollup.Ack
		for client := range uint64(4) {
			number := l.settled[client]
			if number == len(l.signed[client]) {
				key := rollup.WindowKey{Epoch: open.Epoch}
				l.signed[client] = append(l.signed[client], l.net.Ack(key, client, 0, uint32(number), 7))
			}
			sent = append(sent, l.signed[client][number])
			frames = sent[client].Append(frames)
		}
		answers := make([]rollup.Answer, len(sent))
		half := len(answers) / 2 // the others co-sign
		_, err := source.Submit(context.Background(), frames[:half*rollup.AckSize], answers[:half])
		if err == nil {
			_, err = cosigning.Submit(context.Background(), frames[half*rollup.AckSize:], answers[half:])
		}
		if err != nil {
			l.t.Error(err)
		}
		l.mu.Lock()
		dead := after != nil
		for i, a := range answers {
			if a.Code.OK() && !dead { // answered before the crash
				l.accepted[messageOf(sent[i])] = true
				l.settled[i]++
			} else if !a.Code.OK() {
				l.t.Errorf("answered %+v", a)
			}
		}
		l.mu.Unlock()
		if dead {
			break
		}
		time.Sleep(time.Duration(l.rng.IntN(4000)) * time.Millisecond)
	}
	p.Close()
	if err := s.Close(); err != nil {
		l.t.Error(err)
	}
	if after == nil {
		after = disk // fewer syncs than that: an ordinary stop
	}
	return after
}

func (l *life) start(fs vfs.FS) (*store.Store, *pipelinetest.Node) {
	l.t.Helper()
	s, err := store.Open("store", store.Options{FS: fs, CacheSize: 1 << 20, MemTableSize: 1 << 20})
	if err == nil {
		err = s.Begin(0)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(l.t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	cosigners := &pipelinetest.Cosigners{Network: l.net, Answer: l.answer}
	cfg := pipelinetest.NodeConfig{Config: pipeline.Config{Network: l.net.ID, Workers: 1,
		WindowAge: 5 * time.Second, Logger: log,
		CosignWait: 2 * time.Second, Cosigners: cosigners}}
	p, err := pipelinetest.NewNode(cfg, s, l.net, l.members)
	if err == nil {
		err = p.Start(context.Background())
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return s, p
}

// settle runs the node until everything is ordered, and compares.
func (l *life) settle(disk *vfs.MemFS) {
	l.net.Refuse, l.members.Before = nil, nil
	s, p := l.start(disk)
	for range 30 {
		time.Sleep(5 * time.Second)
		stats, waiting := p.Stats(), 0
		for _, stage := range []string{pipeline.StageWindow, pipeline.StageCosign, pipeline.StageSeal} {
			waiting += stats.Stage(stage).Queued
		}
		if stats.Certify.Pending == 0 && waiting == 0 {
			break
		}
	}
	p.Close()
	count := map[message]int{}
	for _, o := range l.net.Ordered() {
		id, _, err := s.Rollup(o.Key)
		if err != nil || id != o.ID {
			l.t.Errorf("%v was ordered as %v, the store has %v, %v", o.Key, o.ID, id, err)
			continue
		}
		kept, err := s.Archive(id)
		if err != nil {
			l.t.Fatal(err)
		}
		encoded, err := kept.Evidence(0)
		if err != nil {
			l.t.Fatal(err)
		}
		h := kept.Header
		ev, err := rollup.ParseEvidence(encoded)
		if err != nil {
			l.t.Fatal(err)
		}
		if err := rollup.Verify(h, ev, l.net.ID, l.net.View(), nil, 1); err != nil {
			l.t.Error(err)
		}
		acks := ev.Acks
		if h.StatementCount > 0 {
			acks, l.cosigned = kept.Acks, l.cosigned+1 // which the evidence, just verified, was made from
		}
		for i := range acks.Len() {
			a := acks.Ack(h, i)
			count[messageOf(&a)]++
		}
	}
	numbers := map[uint64]int{} // of each client: none is skipped
	for m := range count {
		var a rollup.Ack
		a.SetLeaf(m[:])
		numbers[a.Client] = max(numbers[a.Client], int(a.Number)+1)
	}
	total := 0
	for _, n := range numbers {
		total += n
	}
	if total != len(count) {
		l.t.Errorf("%d acks rolled up, where the numbers go up to %d", len(count), total)
	}
	for m := range l.accepted {
		if count[m] != 1 {
			l.t.Errorf("an accepted ack is in %d rollups", count[m])
		}
	}
	for m, n := range count {
		if n != 1 {
			l.t.Errorf("an ack is in %d rollups: %x", n, m)
		}
	}
	if unordered, err := s.Unordered(); err != nil || len(unordered) != 0 {
		l.t.Error(unordered, err)
	}
	l.t.Logf("%d acks accepted, %d rolled up in %d windows, %d of them co-signed", len(l.accepted),
		len(count), len(l.net.Ordered()), l.cosigned)
	if err := s.Close(); err != nil {
		l.t.Error(err)
	}
}
