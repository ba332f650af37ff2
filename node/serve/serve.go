// Package serve delivers to clients against acknowledgements, over HTTP/1.1, HTTP/2 and 3: content,
// verified (protocol section 18, ADR 33), and whatever else a Kind makes.
//
//	GET  /session                a challenge, and who the node is
//	POST /session                152 bytes that open a session
//	POST /stop                   48 bytes that end a stream of a session
//	GET  /b3/ROOT                content by its root; a Range is taken
//	GET  /site/SERVICE/PATH      content by a path of a service's manifest
//	GET  /manifest/SERVICE       the manifest; with ?path=PATH what it has there, shown
//	GET  /route/ROOT             the nodes that content is asked of, the best first
//	GET  /nodes                  all nodes, as the committee signed, and where they deliver
//
// The `Accept` of a request says in which session it is made; then the answer is a stream of
// frames, which the client pays for. Without a session the answer is the plain bytes, as far as the
// operator allows that as a courtesy: nobody acknowledges them, and nobody pays.
//
// A stream takes its bytes from the session's credit (package credit) before it sends them, and
// waits when there is none. Acks come in by the door that all acks come in by; Answered hears of
// them. So the invariant is that of package credit, at every instant: no byte is on its way that is
// not in the books.
//
// Every refusal is JSON: {"code": "client_owes", "message": "…", "retry_after_ms": 0}.
package serve

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/waybill-network/waybill/node/door"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Chain is the ledger as this package needs it. Safe for concurrent use.
type Chain interface {
	// View returns the ledger as of the last block.
	View() *ledger.View
}

// Content is the store of what a node delivers. Safe for concurrent use.
type Content interface {
	// Open returns content by its root. The errors wrap a delivery.Reason: not found, denied,
	// failed. It may take as long as an origin takes.
	Open(ctx context.Context, root rollup.Hash) (File, error)
	// Resolve finds what a service's manifest has under a path, which begins with a slash.
	Resolve(ctx context.Context, service uint32, path string) (Name, error)
}

// Name is what a manifest has under a path.
type Name struct {
	Root     rollup.Hash
	Manifest rollup.Hash // its digest
	Path     rollup.Hash // the path's digest
	Type     string      // of media
	MaxAge   time.Duration
}

// File is content that is open. ReadAt may be called by several goroutines.
type File interface {
	Size() uint64
	ReadAt(p []byte, at int64) (int, error)
	// Parents appends the parents (protocol section 18) of the groups from next up to end, which is
	// excluded, in a stream that began with the group first.
	Parents(dst []byte, first, next, end uint64) ([]byte, error)
	// Check returns why the content is not delivered any more, such as that the operator denies it.
	Check() error
	Close() error
}

// Config is what a Server works with. Zero limits mean the defaults.
type Config struct {
	Network rollup.Network
	Node    uint32
	Key     ed25519.PrivateKey // the node's, which signs heads
	Chain   Chain
	Content Content
	// Kinds are what is served beside content.
	Kinds []Kind
	// Counter returns how many numbers a client has used; false for an epoch without acks. Nil: it
	// is not looked at.
	Counter func(epoch uint32, client uint64, service uint32) (uint32, bool)
	// Manifest returns the encoding of a service's manifest, if it holds. Nil: there are none.
	Manifest func(service uint32) ([]byte, error)
	// Showing returns the encoding of what a service's manifest has under a path. Nil: nothing.
	Showing func(service uint32, path string) ([]byte, error)
	// Accounts are what clients owe. The pipeline tells them of the acks that it took.
	Accounts *Accounts
	// Left returns how much more, in micro-credits, the node takes at a payer's cost in an epoch, what
	// is in the way of more, and about when there may be more. It may take no lock that is held where
	// Answered is called. Nil: it is not looked at.
	Left func(payer, epoch uint32) (left uint64, bound rollup.Code, wait time.Duration)
	// API is the client port's handler, served here as well, so that a page in a browser has one
	// origin to talk to. Nil: only content is.
	API http.Handler
	// Private returns of which payers the clients may have what has a root; false: all may. It is
	// asked before the content is, so that a refusal does not tell whether it is there, and again
	// while it is sent. Nil: all may have everything.
	Private func(root rollup.Hash) (payers []uint32, private bool)
	// Routes is what the node knows of others. Nil: it tells of none.
	Routes Routes

	Dir string // for the volume that was used

	Rate     uint64 // bytes a second of all streams together; 0: no limit
	Volume   uint64 // bytes a month; 0: no limit
	Courtesy uint64 // bytes a second that are sent without acks; 0: none

	TLS *tls.Config // with certificates; nil: unencrypted
	// HTTP3 has the server answer over QUIC as well, where ServeHTTP3 is called; it needs TLS.
	HTTP3 bool
	// HTTP3Port is the port that clients are told; 0: the one that is listened at.
	HTTP3Port int

	MaxConnections int           // 0: 16384
	MaxOfOne       int           // connections of one address; 0: 256
	MaxStreams     int           // at once; 0: 16384
	MaxOfClient    int           // streams of one session at once; 0: 32
	Slow           time.Duration // in which 256 KiB must be read; 0: 30 s
	Logger         *slog.Logger
}

func (c *Config) complete() {
	or(&c.MaxConnections, 16384)
	or(&c.MaxOfOne, 256)
	or(&c.MaxStreams, 16384)
	or(&c.MaxOfClient, 32)
	or(&c.Slow, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

func or[T comparable](v *T, standard T) {
	var zero T
	if *v == zero {
		*v = standard
	}
}

// Server delivers content. It is safe for concurrent use.
type Server struct {
	cfg      Config
	secret   [32]byte // of challenges
	accounts *Accounts
	openings *openings
	rate     *bucket
	courtesy *bucket
	volume   *volume
	stats    stats
	http     *http.Server
	quic     *overQUIC // nil: HTTP/3 is off

	drain   context.Context // done when Shutdown begins
	stop    context.CancelFunc
	helpers sync.WaitGroup
}

// NewServer returns a server; Serve makes it work, Shutdown ends it.
func NewServer(cfg Config) (*Server, error) {
	cfg.complete()
	if len(cfg.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("serve: no key of the node")
	}
	if cfg.Accounts == nil {
		return nil, errors.New("serve: no accounts")
	}
	if cfg.HTTP3 && cfg.TLS == nil {
		return nil, errors.New("serve: HTTP/3 without TLS")
	}
	s := &Server{cfg: cfg, accounts: cfg.Accounts, rate: newBucket(cfg.Rate),
		courtesy: newBucket(cfg.Courtesy)}
	rand.Read(s.secret[:]) // never fails
	var err error
	if s.volume, err = openVolume(cfg.Dir, cfg.Volume); err != nil {
		return nil, err
	}
	s.openings = newOpenings()
	s.drain, s.stop = context.WithCancel(context.Background())
	s.helpers.Go(func() { s.openings.run(s.drain) })
	s.helpers.Go(func() { s.keep(s.drain) })
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(cfg.TLS != nil)
	protocols.SetUnencryptedHTTP2(cfg.TLS == nil)
	d := door.New(door.Config{Table: limits(&cfg), Budget: []int64{budget(&cfg)},
		Pace: door.Pace{Grace: 10 * time.Second, Rate: 1 << 10}})
	handler := s.crossOrigin(d.Handler(s.handler()), cfg.API)
	if cfg.HTTP3 {
		s.quic = newOverQUIC(&cfg, handler)
	}
	s.http = &http.Server{
		Handler:           handler,
		ConnState:         door.Track,
		TLSConfig:         cfg.TLS.Clone(),
		Protocols:         protocols,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 256, SendPingTimeout: 30 * time.Second,
			PingTimeout: 15 * time.Second, MaxReceiveBufferPerStream: 1 << 20,
			MaxReceiveBufferPerConnection: 2 << 20},
		ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// limits are the bounds of the handlers.
func limits(cfg *Config) door.Table {
	const answer = 30 * time.Second
	content := door.Limit{Time: answer, Calls: cfg.MaxOfOne * cfg.MaxOfClient,
		Places: max(cfg.MaxStreams, cfg.MaxOfOne*cfg.MaxOfClient), Stream: true}
	table := door.Table{
		"/session": {Body: int64(delivery.OpenSize), Time: answer, Calls: 256, Places: 4096},
		"/stop":    {Body: int64(delivery.StopSize), Time: answer, Calls: 256, Places: 4096},
		// A manifest may have some megabytes; who reads it knows all paths of a site.
		"/manifest/": {Time: answer, Calls: 64, Places: 1024},
		"/nodes":     {Time: answer, Calls: 64, Places: 1024},
		"/route/":    {Time: answer, Calls: 256, Places: 4096},
		"/b3/":       content,
		"/site/":     content,
	}
	for _, kind := range cfg.Kinds {
		for _, route := range kind.Routes() {
			table[route.Prefix] = door.Limit{Body: route.Body, Time: route.Time,
				Calls: content.Calls, Places: content.Places}
		}
	}
	return table
}

// budget is how many bytes of requests may lie here at once: 16 of the largest of each route.
func budget(cfg *Config) int64 {
	bytes := int64(4 << 20)
	for _, kind := range cfg.Kinds {
		for _, route := range kind.Routes() {
			bytes += 16 * route.Body
		}
	}
	return bytes
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /session", s.challenge)
	mux.HandleFunc("POST /session", s.open)
	mux.HandleFunc("POST /stop", s.stopped)
	mux.HandleFunc("GET /nodes", s.listed)
	mux.HandleFunc("GET /route/{root}", s.routed)
	mux.HandleFunc("GET /b3/{root}", s.byRoot)
	mux.HandleFunc("GET /site/{service}/{path...}", s.byPath)
	mux.HandleFunc("GET /manifest/{service}", s.manifest)
	for _, kind := range s.cfg.Kinds {
		for _, route := range kind.Routes() {
			mux.HandleFunc(route.Pattern, s.route(route))
		}
	}
	return mux
}

// Serve answers on the listener until Shutdown, and returns nil then.
func (s *Server) Serve(listener net.Listener) error {
	listener = door.Listen(listener, door.Bounds{Most: s.cfg.MaxConnections,
		OfOne: s.cfg.MaxOfOne, Idle: 5 * time.Minute})
	var err error
	if s.cfg.TLS != nil {
		err = s.http.ServeTLS(listener, "", "")
	} else {
		err = s.http.Serve(listener)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("content: %w", err)
	}
	return nil
}

// Shutdown stops listening, ends streams with a frame that says so, and waits for that until ctx
// ends. Nothing is delivered any more.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	var overQUIC error
	if s.quic != nil {
		overQUIC = s.quic.shutdown(ctx)
	}
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	err = errors.Join(err, overQUIC)
	s.helpers.Wait()
	return errors.Join(err, s.volume.close())
}

// keep ends sessions that are over, and writes down now and then.
func (s *Server) keep(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.accounts.sweep(time.Now())
			if err := errors.Join(s.accounts.sync(), s.volume.sync()); err != nil {
				s.cfg.Logger.Error("debts are not written down", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// Answered takes what the node answered to acks: those that were refused for good are forgiven.
// Frames are 128 bytes each.
func (s *Server) Answered(frames []byte, answers []rollup.Answer) {
	for i, a := range answers {
		if a.Code.Class() == rollup.ClassNever {
			ack := rollup.Frame(frames[i*rollup.AckSize:])
			s.accounts.forgive(ack.Client(), ack.Service(), ack.Units())
		}
	}
}
