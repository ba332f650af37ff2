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

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// Config says how to reach a node. Zero values mean the defaults.
type Config struct {
	URL      string      // http://host:port or https://host:port
	TLS      *tls.Config // for https; nil means the system's authorities
	Batch    int         // acks in a request, at most the node's limit; 0: 1024
	Inflight int         // requests of a stream without an answer; 0: api.InFlight
	// Backoff is the first wait before connecting again; it doubles up to 5 seconds. 0: 100 milliseconds.
	Backoff time.Duration
	Dial    func(ctx context.Context, network, address string) (net.Conn, error) // nil: a net.Dialer
	Logger  *slog.Logger                                                         // nil discards
	Cosign  *CosignConfig                                                        // for Cosign; nil: submitted acks stay on rung 1
}

const maxBackoff = 5 * time.Second

// Client talks to one node over one HTTP/2 connection that all calls share. It is safe for concurrent use.
type Client struct {
	cfg       Config
	transport *http.Transport
	ingest    api.IngestServiceClient
	ledger    api.LedgerServiceClient
	cosigner  *cosigner // nil when the client does not co-sign
}

// New returns a client; it connects when it is used. Close it.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("node address: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("node address %q: not http://host:port or https://host:port", cfg.URL)
	}
	if cfg.Batch <= 0 {
		cfg.Batch = 1024
	}
	if cfg.Inflight <= 0 {
		cfg.Inflight = api.InFlight
	}
	if cfg.Backoff <= 0 {
		cfg.Backoff = 100 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(u.Scheme == "https")
	protocols.SetUnencryptedHTTP2(u.Scheme == "http")
	transport := &http.Transport{
		DialContext:         cfg.Dial,
		TLSClientConfig:     cfg.TLS,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     2 * time.Minute,
		DisableCompression:  true,
		Protocols:           protocols,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
	}
	calls := judgedCalls{&http.Client{Transport: transport}}
	base := u.Scheme + "://" + u.Host
	plain := connect.WithAcceptCompression("gzip", nil, nil)
	c := &Client{
		cfg:       cfg,
		transport: transport,
		ingest:    api.NewIngestServiceClient(calls, base, plain, connect.WithReadMaxBytes(api.MaxMessageSize)),
		ledger:    api.NewLedgerServiceClient(calls, base, plain, connect.WithReadMaxBytes(api.MaxExportSize+1024)),
	}
	if cfg.Cosign != nil {
		c.cosigner = newCosigner(*cfg.Cosign, cfg.Logger)
	}
	return c, nil
}

// Close closes idle connections. Calls that run end with their own contexts.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Ledger returns the generated client of LedgerService, for the reads.
func (c *Client) Ledger() api.LedgerServiceClient { return c.ledger }

// Ingest returns the generated client of IngestService.
func (c *Client) Ingest() api.IngestServiceClient { return c.ingest }

// OpenWindow is the window that acks are signed for, and whose.
type OpenWindow struct {
	Network rollup.Network
	Key     rollup.WindowKey
	Closes  time.Time // at the latest
}

// Windows calls yield with the open window, at once and whenever it changes, until ctx ends or yield returns false.
// It connects again when the connection breaks, and returns only ctx's error, or what can not pass: that the node
// takes no acks, or does not speak this API.
func (c *Client) Windows(ctx context.Context, yield func(OpenWindow) bool) error {
	backoff := c.cfg.Backoff
	for {
		more, err := c.follow(ctx, func(w OpenWindow) bool {
			backoff = c.cfg.Backoff
			return yield(w)
		})
		switch {
		case !more:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case permanent(err):
			return fmt.Errorf("follow windows: %w", err)
		}
		c.cfg.Logger.Debug("following windows was interrupted", "err", err)
		if err := pause(ctx, backoff); err != nil {
			return err
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

func (c *Client) follow(ctx context.Context, yield func(OpenWindow) bool) (more bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.ingest.FollowWindows(ctx, connect.NewRequest(&api.FollowWindowsRequest{}))
	if err != nil {
		return true, err
	}
	defer stream.Close()
	for stream.Receive() {
		info := stream.Msg()
		w := OpenWindow{
			Key:    rollup.WindowKey{Node: info.Node, Epoch: info.Epoch, Window: info.Window},
			Closes: time.UnixMilli(info.ClosesAtMs),
		}
		if err := w.Network.UnmarshalText([]byte(info.Network)); err != nil {
			return true, err
		}
		if !yield(w) {
			return false, nil
		}
	}
	return true, stream.Err()
}

// permanent reports whether trying again can not help.
func permanent(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeInvalidArgument, connect.CodeUnimplemented, connect.CodePermissionDenied, connect.CodeUnauthenticated, connect.CodeNotFound:
		return true
	}
	return false
}

// pause waits, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
