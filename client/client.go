package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// Config says how to reach a node. Only URL is required; and Pin, Committee and Book for those who
// sign.
type Config struct {
	// URL is the client port of the node that this client's acks are for: http://host:port or
	// https://host:port. Deliveries and co-signing go there and nowhere else. Everything else goes
	// there first.
	URL string

	// Pin is the node behind URL, as whoever configured the client knows it: Deliver and Cosign
	// sign for it and for no other, whatever the server says. By default nothing is signed.
	Pin *Pin

	// Committee is that of the pinned network, as CommitteeOf reads it from the genesis file. Its
	// certificates show which epoch it is: Deliver signs for no epoch on a node's word alone. By
	// default nothing is signed.
	Committee *rollup.Committee

	// Terms are the committees of a network whose committee rotates, in place of Committee. They grow
	// when a node shows that another one is in office.
	Terms *Terms

	// Book is where what is signed is written down before, as OpenBook opens it. Clients of several
	// nodes may share one. MemoryBook gives one that is lost with the program. By default nothing
	// is signed.
	Book *Book

	// PublicKey returns a client's key; nil for one that it does not know. With it Deliver can tell
	// when a node shows that it holds another ack of the client under a number, which only happens
	// after a book was lost, and signs the smaller of two deliveries once more. By default that
	// stays unpaid.
	PublicKey func(client uint64) *bls.PublicKey

	// Others are the client ports of other nodes of the network. They are asked about the ledger,
	// and given transactions, while URL does not answer: see the package's documentation. By
	// default there are none, and a call fails when its node does not answer.
	Others []string

	// TLS is how https is spoken. By default the system's authorities vouch for the nodes.
	TLS *tls.Config

	// CallTimeout is how long a node may be silent within a call: until the answer begins, and
	// between two pieces of it. The call has failed then, and the node counts as down for a while.
	// Streams are not bounded by it. By default it is 5 seconds.
	CallTimeout time.Duration

	// Hedge is how long a read waits for one node before it asks the next one beside it; the first
	// answer counts. By default it is a fifth of CallTimeout.
	Hedge time.Duration

	// Patience is how long Deliver, Epochs and Cosign try to reach a node that does not answer at
	// all, before they return with ErrNoAnswer. By default they try until their context ends.
	Patience time.Duration

	// Batch is the number of acks in one submission, at most the node's limit. By default it is
	// 1024.
	Batch int

	// Inflight is the number of submissions of one stream that are on their way at once. More than
	// the default, api.InFlight, wait in the connection.
	Inflight int

	// Backoff is about the first wait before something is tried again. It doubles up to 5 seconds
	// with each failure in a row. By default it is 100 milliseconds.
	Backoff time.Duration

	// Waiting is told, once for each payer, epoch and reason, that acks wait because the node takes
	// no more at the payer's cost. Deliver calls it from its own goroutine. By default it is logged
	// alone.
	Waiting func(*CreditError)

	// Dial opens connections. By default a net.Dialer does, with a bound of 10 seconds.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Streams is how content is asked for, such as over HTTP/3: see package client/quic. While it
	// gives no answer at all, as where UDP is not let through, it is left aside for a minute. By
	// default streams go over HTTP/2, and larger ones over connections of HTTP/1.1.
	Streams http.RoundTripper

	// Logger gets what is tried again, at level Debug; nodes that went down and came back, at level
	// Info; and offers that are not true, at level Warn. By default nothing is logged.
	Logger *slog.Logger

	// Cosign says how the clients whose acks are delivered co-sign their windows. By default they
	// do not: their acks stay on rung 1.
	Cosign *CosignConfig
}

const maxBackoff = 5 * time.Second

func (cfg *Config) complete() {
	if cfg.Batch <= 0 {
		cfg.Batch = 1024
	}
	if cfg.Inflight <= 0 {
		cfg.Inflight = api.InFlight
	}
	if cfg.Backoff <= 0 {
		cfg.Backoff = 100 * time.Millisecond
	}
	if cfg.CallTimeout <= 0 {
		cfg.CallTimeout = 5 * time.Second
	}
	if cfg.Hedge <= 0 {
		cfg.Hedge = cfg.CallTimeout / 5
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
}

// Client talks to a node, over one HTTP/2 connection that all calls share, and to others when that
// does not answer. It is safe for concurrent use.
type Client struct {
	cfg      Config
	nodes    *nodes
	ingest   api.IngestServiceClient
	acks     api.IngestServiceClient // ingest with CallTimeout
	cosigner *cosigner               // nil when the client does not co-sign
	verified verified
	port     port
}

// New returns a client; it connects when it is used. Close it.
func New(cfg Config) (*Client, error) {
	cfg.complete()
	c := &Client{cfg: cfg, nodes: &nodes{hedge: cfg.Hedge, log: cfg.Logger}}
	for _, text := range append([]string{cfg.URL}, cfg.Others...) {
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("client: node address: %w", err)
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf(
				"client: node address %q: not http://host:port or https://host:port",
				text,
			)
		}
		c.nodes.list = append(c.nodes.list, newEndpoint(u, &cfg))
	}
	own := c.nodes.list[0]
	limit := connect.WithReadMaxBytes(api.MaxMessageSize)
	calls := judgedCalls{own.http, 0, api.MaxMessageSize}
	c.ingest = api.NewIngestServiceClient(calls, own.base, compression, limit)
	calls.silence = cfg.CallTimeout
	c.acks = api.NewIngestServiceClient(calls, own.base, compression, limit)
	if cfg.Cosign != nil {
		c.cosigner = newCosigner(*cfg.Cosign, cfg.Pin, cfg.Book, cfg.Logger)
	}
	return c, nil
}

// Close closes idle connections. Calls that run end with their own contexts.
func (c *Client) Close() {
	for _, e := range c.nodes.list {
		e.http.CloseIdleConnections()
		e.streams.http.CloseIdleConnections()
	}
}

// Ledger returns the client of LedgerService, for the reads. Its calls turn to another node when
// one does not answer.
func (c *Client) Ledger() api.LedgerServiceClient { return c.nodes }

// Ingest returns the generated client of the node's IngestService.
func (c *Client) Ingest() api.IngestServiceClient { return c.ingest }

// maySign makes sure that the client knows for whom it signs, and can write it down.
func (c *Client) maySign() error {
	switch {
	case c.cfg.Pin == nil:
		return ErrNotPinned
	case !c.cfg.certifies():
		return ErrNoCommittee
	case c.cfg.Book == nil:
		return ErrNoBook
	}
	return nil
}

// attempts is the loop around a stream to the client's own node.
type attempts struct {
	client  *Client
	backoff *retry.Backoff
	last    time.Time // when the node answered, or the loop began
}

func (c *Client) attempts() *attempts {
	return &attempts{c, retry.New(c.cfg.Backoff, maxBackoff), time.Now()}
}

// answered notes that the node is there.
func (a *attempts) answered() {
	a.backoff.Reset()
	a.last = time.Now()
}

// after waits after a failure. It returns an error when there is no point in another attempt.
func (a *attempts) after(ctx context.Context, phase string, err error) error {
	cfg := &a.client.cfg
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case permanent(err):
		return &NodeError{cfg.URL, phase, err}
	case cfg.Patience > 0 && time.Since(a.last) >= cfg.Patience:
		return &NodeError{
			cfg.URL,
			phase,
			fmt.Errorf("%w for %v: %w", ErrNoAnswer, cfg.Patience, err),
		}
	}
	cfg.Logger.Debug("will be tried again", "node", cfg.URL, "phase", phase, "err", err)
	delay := max(a.backoff.Next(), retryAfter(err))
	if cfg.Patience > 0 {
		delay = min(delay, time.Until(a.last.Add(cfg.Patience)))
	}
	return retry.Pause(ctx, delay)
}

// permanent reports whether trying again can not help.
func permanent(err error) bool {
	var reason Reason
	if errors.As(err, &reason) {
		return true
	}
	switch connect.CodeOf(err) {
	case connect.CodeInvalidArgument, connect.CodeUnimplemented, connect.CodePermissionDenied,
		connect.CodeUnauthenticated, connect.CodeNotFound:
		return true
	}
	return false
}

// Detail finds a detail of the given type in the error of a call, such as *api.AckRefusal.
func Detail[T any](err error) (detail T, ok bool) {
	var wire *connect.Error
	if !errors.As(err, &wire) {
		return detail, false
	}
	for _, d := range wire.Details() {
		if value, err := d.Value(); err == nil {
			if detail, ok := value.(T); ok {
				return detail, true
			}
		}
	}
	return detail, false
}
