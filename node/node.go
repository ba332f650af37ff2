// Package node is one Waybill process: it opens the doors, wires the rooms together, and takes them
// down in order.
//
//	clients ─ ingest ─ pipeline ─┬─ store
//	                             ├─ peer ─── the other members
//	operator ─ web, telemetry    └─ chain ── committee (CometBFT around the ledger)
//
// Several nodes may live in one process; they share nothing.
package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/waybill-network/waybill/kernels/cpu"
	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/door"
	"github.com/waybill-network/waybill/node/health"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/node/serve"
	"github.com/waybill-network/waybill/node/serve/credit"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/signer/remote"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/node/visit"
	"github.com/waybill-network/waybill/node/web"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"

	"github.com/prometheus/client_golang/prometheus"
)

// shutdownTimeout is how long open calls may take to end at shutdown.
const shutdownTimeout = 10 * time.Second

// Node is a running node. Its methods are safe for concurrent use.
type Node struct {
	system   System
	cfg      *config.Config
	id       *Identity
	log      *slog.Logger
	started  time.Time
	network  rollup.Network
	index    uint32 // in the registry
	owner    uint32
	known    bool // it is registered
	registry *prometheus.Registry

	store    *store.Store
	engine   *committee.Engine
	chain    *chain
	member   *peer.Member
	accuser  *peer.Accuser // nil for a node that is no member
	members  *peer.Members
	alarms   *alarms
	puller   *peer.Puller
	outbox   *certify.Outbox    // nil while the node does not serve
	pipeline *pipeline.Pipeline // as well
	accounts *serve.Accounts    // nil: nothing is delivered
	ready    atomic.Bool        // at the last look of the watch
	sessions *ingest.Sessions   // nil while the node asks nobody to co-sign
	content  *deliverer         // nil while the node delivers no content
	keys     *proofKeys
	signer   signer.Keys      // of a member
	remote   *remote.Client   // the same, in a process of its own; nil: it is not
	prover   *proofWorker     // nil while the node makes no proofs
	prober   *health.Prober   // nil unless the committee rotates
	visitor  *visit.Visitor   // nil: this node visits nobody
	answerer *health.Answerer // nil for a node that is not registered
	usage    usage
	history  telemetry.History
	past     *telemetry.Past // nil until the telemetry starts

	tasks    sync.WaitGroup
	failed   chan error
	stopping atomic.Bool
	cleanup  []func() // in order of creation
	stop     sync.Once
}

func start(ctx context.Context, system System, cfg *config.Config, id *Identity,
	log *slog.Logger) (_ *Node, err error) {
	n := &Node{system: system, cfg: cfg, id: id, log: log, started: time.Now(),
		network: id.Genesis.Network(), failed: make(chan error, 8)}
	n.alarms = &alarms{dir: filepath.Join(cfg.HomeDir(), alarmsDir), log: log}
	defer func() {
		if err != nil {
			n.Stop()
		}
	}()
	n.registry = telemetry.NewRegistry(n.Snapshot)
	for _, choice := range cpu.Selected() {
		log.Info("kernel selected", "choice", choice)
	}
	for _, err := range cpu.OverrideErrors() {
		log.Warn("kernel not selected", "err", err)
	}
	if n.keys, err = loadProofKeys(cfg.Path(cfg.Proofs.Keys), &id.Genesis.Params.Proofs,
		log); err != nil {
		return nil, fmt.Errorf("proofs.keys: %w", err)
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"store", n.openStore},
		{"signer", n.openKeys},
		{"committee", n.startCommittee},
		{"peers", n.startPeers},
		{"prober", n.makeProber},
		{"outbox", n.startOutbox},
		{"pipeline", n.startPipeline},
		{"telemetry", n.startHistory},
		{"memory", n.startMemory},
		{"content", n.startContent},
		{"ingest API", n.startIngest},
		{"content port", n.openContentPort},
		{"duties", n.startDuties},
		{"operator port", n.startOperator},
		{"control socket", n.startControl},
		{"watch", n.startWatch},
	} {
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", step.what, err)
		}
	}
	log.Info("node works", "node", n.place(), "network", n.network, "chain_id", id.Genesis.ChainID,
		"height", n.chain.View().Height(),
		"serving", n.pipeline != nil, "ingest", cfg.Ingest.Listen, "operator", cfg.Operator.Listen)
	return n, nil
}

// place names the node in the log.
func (n *Node) place() any {
	if !n.known {
		return "not registered"
	}
	return n.index
}

// ErrRuns says that another process holds the node's store.
var ErrRuns = errors.New("another process runs this node")

// onStop queues f to be called at Stop, last first.
func (n *Node) onStop(f func()) { n.cleanup = append(n.cleanup, f) }

// serve runs a server at the address of a setting until Stop; when it ends by itself the node
// fails.
func (n *Node) serve(setting, address string, run func(net.Listener) error,
	shutdown func(context.Context) error) error {
	l, err := n.system.Net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	n.tasks.Go(func() {
		if err := run(l); err != nil {
			n.failed <- err
		}
	})
	n.onStop(func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		if err := shutdown(ctx); err != nil {
			n.log.Warn("a server was cut off at shutdown", "address", address, "err", err)
		}
	})
	return nil
}

func (n *Node) openStore(context.Context) error {
	s, err := store.Open(n.cfg.Path(n.cfg.Store.Path),
		store.Options{FS: n.system.Disk, Logger: n.log, CacheSize: int64(n.cfg.Store.Cache)})
	if errors.Is(err, syscall.EAGAIN) {
		return fmt.Errorf("%w: %w", ErrRuns, err)
	}
	if err != nil {
		return err
	}
	n.store = s
	n.onStop(func() {
		if err := s.Close(); err != nil {
			n.log.Error("store did not close cleanly", "err", err)
		}
	})
	return n.checkStanding()
}

// checkStanding refuses a home that was moved, and keeps a key quiet of which nothing is known:
// with store and record of votes both lost, it may have voted on any block.
func (n *Node) checkStanding() error {
	fence, err := n.store.Fenced()
	switch {
	case err != nil:
		return err
	case fence != nil:
		return fmt.Errorf("%w on %s, to %s", store.ErrMoved, fence.At.UTC().Format(time.RFC3339),
			fence.To)
	}
	if _, known := n.store.Since(); known || n.cfg.Signer.Address != "" {
		return nil // a signer's record of votes is not lost with this store
	}
	if _, err := os.Stat(committee.SignStateFile(n.consensusHome())); !errors.Is(err,
		fs.ErrNotExist) {
		return err
	}
	return n.store.PutQuiet(true)
}

// SnapshotsDir is the folder in a home for snapshots of the ledger.
const SnapshotsDir = "snapshots"

func (n *Node) consensusHome() string { return filepath.Join(n.cfg.HomeDir(), "consensus") }

func (n *Node) startCommittee(ctx context.Context) error {
	c := committee.Config{
		Genesis: n.id.Genesis, Home: n.consensusHome(),
		ConsensusKey: n.id.Consensus, TransportKey: n.id.Transport,
		Listen: n.cfg.Consensus.Listen, Timeouts: committee.Timeouts(n.cfg.Consensus.Preset),
		KeepBlocks: n.cfg.Consensus.KeepBlocks, Store: n.store,
		Snapshots: filepath.Join(n.cfg.HomeDir(), SnapshotsDir),
		Keep:      history{n.store}.keep, Observers: n.cfg.Consensus.Observers, Logger: n.log,
		Registerer: n.registry, Net: n.system.Net,
	}
	if n.remote != nil {
		c.Votes = n.remote
	}
	self, member := n.id.member()
	if member || n.id.rotates() {
		c.Keys = n.signer
	}
	for i, m := range n.id.Genesis.Members {
		if n.id.rotates() {
			break // the ledger says who the members are, and where
		}
		if !member || n.id.Genesis.MemberNode(i) != self {
			c.Peers = append(c.Peers, committee.Peer{Key: m.TransportKey, Address: m.P2PAddress})
		}
	}
	for _, p := range n.cfg.Consensus.Peers {
		parsed, err := committee.ParsePeer(p)
		if err != nil {
			return err
		}
		c.Peers = append(c.Peers, parsed)
	}
	e, err := committee.Start(ctx, c)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("consensus.listen: %w", err)
	}
	if err != nil {
		return err
	}
	n.engine = e
	n.onStop(e.Stop)
	n.chain = newChain(e, n.store, n.keys, ledger.KeyOf(n.id.Transport), n.cfg.Store.Retention,
		n.log)
	n.tasks.Go(func() {
		select {
		case <-e.Failed():
			n.failed <- e.Status().Err
		case <-e.Stopped():
		}
	})
	if registered, ok := e.View().NodeByKey(ledger.KeyOf(n.id.Transport)); ok {
		n.index, n.owner, n.known = registered.Index, registered.Owner, true
		n.chain.node, n.chain.known = n.index, true
		n.chain.elsewhere = func(err error) { n.failed <- err }
	}
	return nil
}

// sits reports whether this node is of the committee, or may come to be without a restart.
func (n *Node) sits() bool {
	_, member := n.id.member()
	return member || n.id.rotates() && n.known
}

// startPeers opens the peer port and connects the member, the puller and the followed chain.
func (n *Node) startPeers(context.Context) error {
	certificate, err := peer.NewCertificate(n.id.Transport)
	if err != nil {
		return err
	}
	self, member := n.index, n.sits()
	mc := peer.MembersConfig{Chain: n.chain, Certificate: certificate, Proofs: n.keys.in,
		Timeout: n.cfg.Peer.PushTimeout, Dial: n.system.Net.DialContext}
	if member {
		if n.accuser, err = peer.NewAccuser(peer.AccuserConfig{Network: n.network, Chain: n.chain,
			Store: n.store, Self: self,
			Logger: n.log}); err != nil {
			return err
		}
		n.member = peer.NewMember(peer.MemberConfig{
			Network: n.network, Keys: n.signer, Chain: n.chain, Store: n.store, Proofs: n.keys.in,
			Logger: n.log, Alarm: n.alarms.raise,
			Accuse:  n.accuser.Accuse,
			Workers: runtime.GOMAXPROCS(0), Concurrent: 2,
			Waiting: n.cfg.Peer.MaxInflight * n.id.mostMembers(),
		})
		mc.Local, mc.Self = n.member, self
	}
	n.members = peer.NewMembers(mc)
	n.onStop(n.members.Close)
	sub := n.engine.Subscribe()
	n.chain.learn(n.chain.View())
	ctx, cancel := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	n.onStop(func() { cancel(); sub.Close(); workers.Wait() })
	if member {
		n.puller = peer.NewPuller(peer.PullerConfig{Members: n.members, Store: n.store, Self: self,
			Logger: n.log})
		n.chain.puller = n.puller
		workers.Go(func() { n.puller.Run(ctx) })
		n.chain.member = n.member
		if err := n.member.Review(); err != nil {
			return err
		}
		workers.Go(func() { n.accuser.Run(ctx) })
	}
	workers.Go(func() { n.chain.follow(ctx, sub) })
	if n.member == nil && !n.known {
		return nil // nobody knows where it is
	}
	config := peer.ServerConfig{Member: n.member, Store: n.store, Chain: n.chain,
		Certificate: certificate, MaxInflight: n.cfg.Peer.MaxInflight,
		ContentURL: n.contentAddress(), Logger: n.log}
	if n.known {
		n.answerer = &health.Answerer{Chain: n.chain, Self: n.index, Key: n.id.Transport}
		config.Answer = n.answerer.Answer
	}
	server := peer.NewServer(config)
	return n.serve("peer.listen", n.cfg.Peer.Listen, server.Serve, server.Shutdown)
}

// startOutbox goes on with the windows that were sealed in an earlier run.
func (n *Node) startOutbox(context.Context) error {
	if !n.cfg.Node.Serving || !n.known {
		return nil
	}
	config := certify.Config{Network: n.network, Node: n.index, Key: n.id.Transport, Logger: n.log}
	if n.cfg.Proofs.Enabled && len(n.keys.sizes(n.chain.View().Epoch())) > 0 {
		n.prover = newProofWorker(n.cfg.Proofs, n.keys, n.log)
		n.onStop(n.prover.close)
		config.Prover, config.Proofs, config.ProofWait = n.prover, n.keys.in, n.cfg.Proofs.Wait
	}
	o, err := certify.New(config, n.store, n.chain, n.members)
	if err != nil {
		return err
	}
	n.onStop(o.Close)
	n.outbox = o
	return o.Start()
}

func (n *Node) startPipeline(ctx context.Context) error {
	if !n.cfg.Node.Serving {
		return nil
	}
	if !n.known {
		n.log.Warn("this node is not registered yet and takes no acks: register it",
			"transport_key", ledger.KeyOf(n.id.Transport))
		return nil
	}
	config := pipeline.Config{
		Network: n.network, Node: n.index,
		Workers: n.cfg.Pipeline.Workers, MaxBatch: n.cfg.Pipeline.MaxBatch,
		MaxAcks: n.cfg.Pipeline.MaxAcks, MaxBytes: int64(n.cfg.Pipeline.MaxBytes),
		WindowAge: n.cfg.Pipeline.WindowAge, Tail: tail(n.cfg.Pipeline.Tail, &n.id.Genesis.Params),
		CosignWait: n.cfg.Pipeline.CosignWait, Logger: n.log,
		Exposure: uint64(n.cfg.Pipeline.Exposure) * microCredits,
		OnAccount: pipeline.OnAccount{Acks: n.cfg.Pipeline.OnAccount,
			Units:    uint64(n.cfg.Pipeline.OnAccountUnits),
			AllUnits: uint64(n.cfg.Pipeline.OnAccountAllUnits),
			AllAcks:  n.cfg.Pipeline.OnAccountAll},
		Room: func() bool { return n.usage.room(n.store, uint64(n.cfg.Store.MinFree)) },
	}
	if n.cfg.Content.Listen != "" { // they are closed after the pipeline, and hear of its last acks
		accounts, err := serve.OpenAccounts(n.deliveryDir(), credit.Params{}, n.log)
		if err != nil {
			return err
		}
		n.onStop(func() {
			if err := accounts.Close(); err != nil {
				n.log.Error("what clients owe was not written down", "err", err)
			}
		})
		n.accounts, config.Taken = accounts, accounts.Taken
	}
	if left := timeToOrder(config.Tail, config.CosignWait, &n.id.Genesis.Params); left <= 0 {
		n.log.Warn(
			"acks of an epoch's end may come too late to be paid: after tail, co-signing and "+
				"half of the grace for a proof nothing is left of the grace", "tail", config.Tail,
			"cosign_wait", config.CosignWait, "grace_seconds", n.id.Genesis.Params.GraceSeconds)
	}
	if config.CosignWait > 0 {
		n.sessions = ingest.NewSessions(n.log)
		config.Cosigners = n.sessions
	}
	p, err := pipeline.New(config, n.store, n.chain, n.outbox)
	if err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		return err
	}
	n.pipeline = p
	n.onStop(p.Close)
	return nil
}

// microCredits are a credit.
const microCredits = 1_000_000

// tail is how long acks of an ended epoch are taken: they need time to be certified and ordered
// before the network settles it.
func tail(wanted time.Duration, p *ledger.Params) time.Duration {
	return min(wanted, time.Duration(p.GraceSeconds)*time.Second/4)
}

// timeToOrder is what is left of the grace for an epoch's last window when its acks were taken, its
// clients were asked, and it has waited for a proof as long as it may: half of the grace.
func timeToOrder(tail, cosign time.Duration, p *ledger.Params) time.Duration {
	return time.Duration(p.GraceSeconds)*time.Second/2 - tail - cosign
}

// startHistory notes counters every now and then, for current rates.
func (n *Node) startHistory(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	n.onStop(cancel)
	n.history.Note(time.Now(), n.counters())
	if err := n.openPast(); err != nil {
		n.log.Warn("charts will not outlast this process", "err", err)
	}
	n.tasks.Go(func() {
		ticker := time.NewTicker(telemetry.SampleInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				n.history.Note(time.Now(), n.counters())
				n.notePast()
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}

func (n *Node) startIngest(context.Context) error {
	c := ingest.Config{
		Network: n.network, Node: n.index, Version: telemetry.BuildInfo().Version,
		Pipeline: n.pipeline, Sessions: n.sessions, Chain: n.chain, Store: n.store,
		Key:          n.id.Transport,
		Witness:      n.engine.Witness(),
		Joining:      n.engine,
		VerifyingKey: n.keys.verifyingKey, Status: func() any { return n.Snapshot() },
		Ready:          n.ready.Load,
		MaxConnections: n.cfg.Ingest.MaxConnections, MaxOfOne: n.cfg.Ingest.MaxPerAddress,
		MaxSubmission: n.cfg.Ingest.MaxSubmission,
		IdleTimeout:   n.cfg.Ingest.IdleTimeout, Logger: n.log,
	}
	source, err := n.fileCertificate("ingest", n.cfg.Ingest.TLSCert, n.cfg.Ingest.TLSKey)
	if err != nil {
		return err
	}
	c.TLS = tlsOf(source)
	if n.content != nil {
		c.Answered = n.content.server.Answered
	}
	server := ingest.NewServer(c)
	if n.content != nil {
		n.content.api = server
	}
	return n.serve("ingest.listen", n.cfg.Ingest.Listen, server.Serve, server.Shutdown)
}

func (n *Node) startOperator(context.Context) error {
	if n.cfg.Operator.Listen == "" {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.Handle("/", telemetry.Handler(n.registry, n.Snapshot, n.cfg.Operator.Pprof))
	if n.cfg.Operator.Dashboard {
		past := func() []telemetry.Point { return n.past.Points(time.Now()) }
		page := web.Handler(ctx, n.Snapshot, past, bills{n})
		for _, path := range []string{"/{$}", "/page/", "/payer/", "/events", "/api/"} {
			mux.Handle(path, page)
		}
	}
	server := operatorServer(mux, n.log)
	return n.serve("operator.listen", n.cfg.Operator.Listen, func(l net.Listener) error {
		l = door.Listen(l, operatorBounds)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}, func(c context.Context) error {
		cancel() // ends the event streams, which Shutdown would wait for
		return server.Shutdown(c)
	})
}

// operatorBounds is for connections at the operator's port.
var operatorBounds = door.Bounds{Most: 512, OfOne: 128, Idle: time.Minute}

// operatorServer serves the operator's port, each handler within the bounds of door.Operator.
func operatorServer(handler http.Handler, log *slog.Logger) *http.Server {
	d := door.New(door.Config{Table: door.Operator(), Budget: []int64{1 << 20},
		Pace: door.Pace{Grace: 5 * time.Second, Rate: 1 << 10}})
	return &http.Server{
		Handler:           d.Handler(handler),
		ConnState:         door.Track,
		ReadHeaderTimeout: 5 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what strangers send
	}
}

// Failed yields an error when a part of the node cannot go on. Stop it then.
func (n *Node) Failed() <-chan error { return n.failed }

// Registered is closed when the ledger registers a node that it did not know when the node started.
// It serves after another start.
func (n *Node) Registered() <-chan struct{} { return n.chain.arrived }

// Stop closes the doors, answers what was admitted, and takes the rooms down in the reverse order
// of Start. It returns when nothing of the node is left running.
func (n *Node) Stop() {
	n.stop.Do(func() {
		n.stopping.Store(true)
		for i := len(n.cleanup) - 1; i >= 0; i-- {
			n.cleanup[i]()
		}
		n.tasks.Wait()
	})
}

// Index returns the node's index in the registry; ok is false for a node that is not registered.
func (n *Node) Index() (index uint32, ok bool) { return n.index, n.known }

// View returns the ledger as of the last block.
func (n *Node) View() *ledger.View { return n.chain.View() }
