package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// disk is a store in memory that can fail both ways. What it holds survives the Store that wrote
// it.
type disk struct {
	mu        sync.Mutex
	pools     map[rollup.WindowKey][]byte
	accounts  map[rollup.WindowKey][]bool // of each ack in a pool: taken on account
	sealed    map[rollup.WindowKey]rolled
	unordered map[rollup.WindowKey]bool
	certs     map[rollup.WindowKey][]byte
	holders   map[rollup.WindowKey]uint32
	since     uint32
	unknown   bool // where it begins
}

// rolled is a sealed window as it lies on a disk.
type rolled struct {
	id                        rollup.Hash
	header, acks, list, proof []byte
}

func (r *rolled) archive() (*rollup.Archive, error) {
	return rollup.ParseArchive(r.header, r.acks, r.list, r.proof)
}

func newDisk() *disk {
	return &disk{pools: map[rollup.WindowKey][]byte{},
		accounts: map[rollup.WindowKey][]bool{}, sealed: map[rollup.WindowKey]rolled{},
		unordered: map[rollup.WindowKey]bool{}, certs: map[rollup.WindowKey][]byte{},
		holders: map[rollup.WindowKey]uint32{}}
}

// rollup returns what is kept of a sealed window.
func (d *disk) rollup(key rollup.WindowKey) rolled {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sealed[key]
}

// holder returns who holds a window's statements, if that is known.
func (d *disk) holder(key rollup.WindowKey) (node uint32, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	node, known = d.holders[key]
	return node, known
}

// fault is what happens to a write.
type fault int

const (
	works fault = iota
	lost        // fails and did not persist
	kept        // fails and did persist
)

var errDisk = errors.New("disk fault")

// store is one opening of a disk. After a fault every write fails.
type store struct {
	*disk
	plan   func(op string) fault // nil: all work
	before func(op string)       // called outside the lock
	failed bool
}

func (d *disk) open(plan func(op string) fault) *store { return &store{disk: d, plan: plan} }

func (s *store) write(op string, apply func()) error {
	if s.before != nil {
		s.before(op)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed {
		return errDisk
	}
	f := works
	if s.plan != nil {
		f = s.plan(op)
	}
	if f != lost {
		apply()
	}
	if f != works {
		s.failed = true
		return fmt.Errorf("%s: %w", op, errDisk)
	}
	return nil
}

// Since says that the disk is as old as the network, unless it is said otherwise.
func (s *store) Since() (uint32, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since, !s.unknown
}

func (s *store) AppendAcks(chunks []rollup.Chunk) error {
	return s.write("append", func() {
		for _, r := range chunks {
			if have := len(s.pools[r.Key]) / rollup.AckSize; have != int(r.First) || len(r.Frames) == 0 {
				panic(fmt.Sprintf("run of %v at %d, %d are there, %d bytes", r.Key, r.First, have,
					len(r.Frames)))
			}
			s.pools[r.Key] = append(s.pools[r.Key], r.Frames...)
			s.accounts[r.Key] = append(s.accounts[r.Key],
				slices.Repeat([]bool{r.OnAccount}, len(r.Frames)/rollup.AckSize)...)
		}
	})
}

func (s *store) PoolWindows() (keys []rollup.WindowKey, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.pools {
		keys = append(keys, k)
	}
	return keys, nil
}

func (s *store) ReadPool(key rollup.WindowKey, yield func([]byte, bool) error) error {
	s.mu.Lock()
	frames, account := s.pools[key], s.accounts[key]
	s.mu.Unlock()
	if !slices.Contains(account, true) {
		half := len(frames) / rollup.AckSize / 2 * rollup.AckSize
		return errors.Join(yield(frames[:half], false), yield(frames[half:], false))
	}
	for from := 0; from < len(account); { // the runs that are alike
		to := from + 1
		for to < len(account) && account[to] == account[from] {
			to++
		}
		err := yield(frames[from*rollup.AckSize:to*rollup.AckSize], account[from])
		if err != nil {
			return err
		}
		from = to
	}
	return nil
}

func (s *store) NextWindow(node, epoch uint32) (next uint32, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	see := func(k rollup.WindowKey) {
		if k.Node == node && k.Epoch == epoch {
			next = max(next, k.Window+1)
		}
	}
	for k := range s.pools {
		see(k)
	}
	for k := range s.sealed {
		see(k)
	}
	return next, nil
}

func (s *store) PutSealed(a *rollup.Archive) error {
	return s.write("seal", func() {
		key := a.Key()
		delete(s.pools, key)
		delete(s.accounts, key)
		r := rolled{id: a.Header.ID(), header: a.Header.Append(nil), acks: bytes.Clone(a.Acks)}
		if a.Stated() {
			r.list = a.List.Append(nil)
		}
		s.sealed[key] = r
		s.unordered[key] = true
	})
}

func (s *store) ReadRuns(node, epoch uint32, yield func(runs []rollup.Run) error) error {
	s.mu.Lock()
	var all [][]rollup.Run
	for k, r := range s.sealed {
		if k.Node != node || k.Epoch != epoch {
			continue
		}
		var runs []rollup.Run
		for _, run := range rollup.Acks(r.acks).Runs() {
			runs = append(runs, run)
		}
		all = append(all, runs)
	}
	s.mu.Unlock()
	for _, runs := range all {
		if err := yield(runs); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) FindRun(node, epoch uint32, client uint64, service, number uint32) (uint32,
	error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, r := range s.sealed {
		if k.Node != node || k.Epoch != epoch {
			continue
		}
		if _, ok := rollup.Acks(r.acks).Index(client, service, number); ok {
			return k.Window, nil
		}
	}
	return 0, rollup.ErrNotFound
}

func (s *store) Sealed(key rollup.WindowKey) (*rollup.Archive, error) {
	s.mu.Lock()
	r, ok := s.sealed[key]
	s.mu.Unlock()
	if !ok {
		return nil, rollup.ErrNotFound
	}
	return r.archive()
}

func (s *store) Header(key rollup.WindowKey) (*rollup.Header, error) {
	a, err := s.Sealed(key)
	if err != nil {
		return nil, err
	}
	return a.Header, nil
}

func (s *store) PutProof(key rollup.WindowKey, proof []byte) error {
	return s.write("proof", func() {
		r := s.sealed[key]
		r.proof = bytes.Clone(proof)
		s.sealed[key] = r
	})
}

func (s *store) Unheld() (keys []rollup.WindowKey, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, r := range s.sealed {
		if _, held := s.holders[k]; !held && r.list != nil {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func (s *store) PutHolder(key rollup.WindowKey, node uint32) error {
	return s.write("holder", func() { s.holders[key] = node })
}

func (s *store) Unordered() (keys []rollup.WindowKey, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.unordered {
		keys = append(keys, k)
	}
	return keys, nil
}

func (s *store) PutCertificate(key rollup.WindowKey, certificate []byte) error {
	return s.write("certificate", func() { s.certs[key] = bytes.Clone(certificate) })
}

func (s *store) Certificate(key rollup.WindowKey) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.certs[key]; ok {
		return c, nil
	}
	return nil, rollup.ErrNotFound
}

func (s *store) IsUnordered(key rollup.WindowKey) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.unordered[key]
	return ok, nil
}

func (s *store) MarkOrdered(key rollup.WindowKey) error {
	return s.write("ordered", func() { delete(s.unordered, key) })
}

// fixture is a network with one running pipeline, that of node 0.
type fixture struct {
	t       testing.TB
	net     *pipelinetest.Network
	members *pipelinetest.Committee
	disk    *disk
	store   *store
	cfg     pipelinetest.NodeConfig
	p       *pipelinetest.Node
	source  *pipeline.Source
	session pipeline.Session // of the source

	mu      sync.Mutex
	numbers map[numbered]uint32 // the next ones of its clients
}

// numbered is what has numbers of its own.
type numbered struct {
	epoch   uint32
	client  uint64
	service uint32
}

// next returns the client's next number, and uses it.
func (f *fixture) next(epoch uint32, client uint64, service uint32) uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.numbers == nil {
		f.numbers = map[numbered]uint32{}
	}
	n := numbered{epoch, client, service}
	f.numbers[n]++
	return f.numbers[n] - 1
}

// ack is the client's next one in the epoch that runs, for service 0.
func (f *fixture) ack(client, units uint64) *rollup.Ack { return f.ackFor(client, 0, units) }

func (f *fixture) ackFor(client uint64, service uint32, units uint64) *rollup.Ack {
	key := f.open()
	return f.net.Ack(key, client, service, f.next(key.Epoch, client, service), units)
}

func newFixture(t testing.TB, size pipelinetest.Config) *fixture {
	t.Helper()
	net, err := pipelinetest.New(size)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, net: net, members: &pipelinetest.Committee{Network: net}, disk: newDisk()}
	f.cfg.Config = pipeline.Config{Network: net.ID, Workers: 2,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))}
	return f
}

// start opens the disk and starts a pipeline on it; the last one must be closed.
func (f *fixture) start(plan func(op string) fault) {
	f.t.Helper()
	f.store = f.disk.open(plan)
	p, err := pipelinetest.NewNode(f.cfg, f.store, f.net, f.members)
	if err != nil {
		f.t.Fatal(err)
	}
	f.p = p
	f.t.Cleanup(p.Close) // at the latest
	if err := p.Start(context.Background()); err != nil {
		f.t.Fatal(err)
	}
	f.source = p.OpenSession("test", f.session)
}

// blocks makes a block every second until the returned function is called.
func (f *fixture) blocks() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { f.net.Run(ctx, time.Second) })
	stop = func() { cancel(); wg.Wait() }
	f.t.Cleanup(stop)
	return stop
}

func (f *fixture) open() rollup.WindowKey {
	w := f.p.OpenWindow()
	return rollup.WindowKey{Epoch: w.Epoch, Window: w.Window}
}

// submit returns the codes of acks handed in together.
func (f *fixture) submit(acks ...*rollup.Ack) []rollup.Code {
	f.t.Helper()
	return submit(f.t, f.source, acks...)
}

func submit(t testing.TB, s *pipeline.Source, acks ...*rollup.Ack) []rollup.Code {
	t.Helper()
	answers := make([]rollup.Answer, len(acks))
	if _, err := s.Submit(context.Background(), frames(acks...), answers); err != nil {
		t.Fatal(err)
	}
	return codesOf(answers)
}

func codesOf(answers []rollup.Answer) []rollup.Code {
	codes := make([]rollup.Code, len(answers))
	for i, a := range answers {
		codes[i] = a.Code
	}
	return codes
}

// wait returns the codes that a future comes to.
func wait(t testing.TB, future *pipeline.Future) []rollup.Code {
	t.Helper()
	answers, _, err := future.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return codesOf(answers)
}

// lookup says what became of an ack.
func (f *fixture) lookup(a *rollup.Ack) pipeline.Found {
	f.t.Helper()
	found, err := f.p.Lookup(a.Epoch, a.Client, a.Service, a.Number)
	if err != nil {
		f.t.Fatal(err)
	}
	return found
}

func frames(acks ...*rollup.Ack) (b []byte) {
	for _, a := range acks {
		b = a.Append(b)
	}
	return b
}

func (f *fixture) want(codes []rollup.Code, want ...rollup.Code) {
	f.t.Helper()
	if !slices.Equal(codes, want) {
		f.t.Fatalf("codes %v, want %v", codes, want)
	}
}

// acks is the next n acks of the clients, in turn.
func (f *fixture) acks(n int) []*rollup.Ack {
	acks := make([]*rollup.Ack, n)
	for i := range acks {
		acks[i] = f.ack(uint64(i%len(f.net.Clients)), uint64(i+1))
	}
	return acks
}

// unsigned is acks without signatures, for a stub.
func (f *fixture) unsigned(n int) []*rollup.Ack {
	acks := make([]*rollup.Ack, n)
	for i := range acks {
		acks[i] = f.unsignedAck(uint64(i%len(f.net.Clients)), 1)
	}
	return acks
}

func (f *fixture) unsignedAck(client, units uint64) *rollup.Ack {
	key := f.open()
	return f.net.Unsigned(key, client, 0, f.next(key.Epoch, client, 0), units)
}

// stub accepts every signature, except that of acks with as many units as bad says, and may take
// its time.
type stub struct {
	*pipelinetest.Accepting
	gate   chan struct{}       // received from before each batch, nil: none
	took   func(acks, bad int) // called for each batch
	bad    uint64
	record func(clients []uint64)
}

func (v *stub) Verify(b *bls.Batch, verdicts []bls.Verdict) (bls.Report, error) {
	if v.gate != nil {
		<-v.gate
	}
	report, err := v.Accepting.Verify(b, verdicts)
	bad := 0
	var clients []uint64
	for i := range verdicts {
		var a rollup.Ack
		a.SetLeaf(b.Messages.At(i)[rollup.MessageSize-rollup.LeafSize:])
		clients = append(clients, a.Client)
		if v.bad != 0 && a.Units == v.bad {
			verdicts[i] = bls.VerdictBadSignature
			bad++
		}
	}
	if v.record != nil {
		v.record(clients)
	}
	if v.took != nil {
		v.took(len(verdicts), bad)
	}
	return report, err
}

// settled waits, in fake time, until everything that was accepted is ordered.
func (f *fixture) settled() {
	f.t.Helper()
	for range 100 {
		time.Sleep(5 * time.Second)
		s := f.p.Stats()
		if s.Certify.Pending == 0 && s.Stage(pipeline.StageWindow).Queued == 0 &&
			s.Stage(pipeline.StageCosign).Queued == 0 && s.Stage(pipeline.StageSeal).Queued == 0 {
			return
		}
	}
	f.t.Fatalf("not settled: %+v", f.p.Stats())
}

// leaf is what makes an ack of this network this ack and no other.
type leaf [rollup.LeafSize]byte

func message(a *rollup.Ack) (m leaf) {
	a.AppendLeaf(m[:0])
	return m
}

// rolledUp verifies every ordered rollup on the disk and returns how often each ack is in one.
func (f *fixture) rolledUp() map[leaf]int {
	f.t.Helper()
	count := map[leaf]int{}
	numbers := map[numbered]map[uint32]bool{}
	seen := map[rollup.WindowKey]bool{}
	for _, o := range f.net.Ordered() {
		r, ok := f.disk.sealed[o.Key]
		if !ok || r.id != o.ID || seen[o.Key] {
			f.t.Fatalf("%v was ordered as %v (before: %v), the disk has %v", o.Key, o.ID, seen[o.Key], r.id)
		}
		seen[o.Key] = true
		kept, err := r.archive()
		if err != nil {
			f.t.Fatal(err)
		}
		rungs := kept.Rungs()
		encoded, err := kept.Evidence(rungs[len(rungs)-1])
		if err != nil {
			f.t.Fatal(err)
		}
		ev, err := rollup.ParseEvidence(encoded)
		if err != nil {
			f.t.Fatal(err)
		}
		h := kept.Header
		if err := rollup.Verify(h, ev, f.net.ID, f.net.View(), nil, 1); err != nil {
			f.t.Fatal(err)
		}
		for i := range kept.Acks.Len() { // the evidence, made from them, has just been verified
			a := kept.Acks.Ack(h, i)
			count[message(&a)]++
			n := numbered{a.Epoch, a.Client, a.Service}
			if numbers[n] == nil {
				numbers[n] = map[uint32]bool{}
			}
			if numbers[n][a.Number] {
				f.t.Fatalf("number %d of %+v is billed twice", a.Number, n)
			}
			numbers[n][a.Number] = true
		}
	}
	return count
}

// failures returns how many windows stay without a proof for a reason.
func failures(s pipelinetest.Stats, why certify.ProofFailure) uint64 {
	return pipelinetest.Count(s.Certify.ProofFailures, why.String())
}

func all(code rollup.Code, n int) []rollup.Code {
	return slices.Repeat([]rollup.Code{code}, n)
}
