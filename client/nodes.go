package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/node/api"
)

// maxDown bounds for how long a node that did not answer is not asked first.
const maxDown = 30 * time.Second

// compression lets exports travel small; signatures do not compress.
var compression = connect.WithAcceptCompression("gzip", nil, nil)

// nodes are the nodes that know the ledger, the preferred one in front. It is a LedgerServiceClient
// whose calls turn to another node when one does not answer. It is safe for concurrent use.
type nodes struct {
	list  []*endpoint
	hedge time.Duration
	log   *slog.Logger

	mu sync.Mutex
	// height is of the chain after everything that this client was told. A node whose chain is
	// lower is asked nothing: what it would answer has been overtaken.
	height int64
}

// endpoint is one node, and what is known of its condition.
type endpoint struct {
	url     string // as it was configured
	base    string
	http    *http.Client
	streams *straight // for content
	special *special  // for content, in place of all others; nil: there is none
	ledger  api.LedgerServiceClient

	// Guarded by nodes.mu.
	down    bool // it did not answer last
	retryAt time.Time
	backoff *retry.Backoff
	height  int64 // that its chain has at least
}

func newEndpoint(u *url.URL, cfg *Config) *endpoint {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(u.Scheme == "https")
	protocols.SetUnencryptedHTTP2(u.Scheme == "http")
	e := &endpoint{
		url:     u.String(),
		base:    u.Scheme + "://" + u.Host,
		backoff: retry.New(time.Second, maxDown),
		streams: newStraight(u, cfg),
	}
	if cfg.Streams != nil {
		e.special = &special{http: &http.Client{Transport: cfg.Streams}}
	}
	e.http = &http.Client{Transport: &http.Transport{
		DialContext:         cfg.Dial,
		TLSClientConfig:     cfg.TLS,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     2 * time.Minute,
		DisableCompression:  true,
		Protocols:           protocols,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: 10 * time.Second,
			PingTimeout:     5 * time.Second,
			// Of 16 KiB, as is usual, each costs a node two writes and a change of goroutines.
			MaxReadFrameSize: 256 << 10,
		},
	}}
	const most = api.MaxExportSize + 1024
	e.ledger = api.NewLedgerServiceClient(judgedCalls{e.http, cfg.CallTimeout, most}, e.base,
		compression, connect.WithReadMaxBytes(most))
	return e
}

// first returns the node that what changes something is sent to.
func (n *nodes) first() *endpoint { return n.order(false)[0] }

// order returns all nodes, those that answered last in front, in the order of preference; a node
// that is down comes back to its place when it has had some rest, if probe allows to try it.
func (n *nodes) order(probe bool) []*endpoint {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	rank := func(e *endpoint) int64 {
		if !e.down || probe && !now.Before(e.retryAt) {
			return 0
		}
		return e.retryAt.UnixNano()
	}
	list := slices.Clone(n.list)
	slices.SortStableFunc(list, func(a, b *endpoint) int {
		switch x, y := rank(a), rank(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return list
}

// up notes that a node answered.
func (n *nodes) up(e *endpoint) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e.backoff.Reset()
	if e.down {
		e.down = false
		n.log.Info("a node answers again", "node", e.url)
	}
}

// fell notes that a node did not answer, or can not say what is asked for.
func (n *nodes) fell(e *endpoint, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e.retryAt = time.Now().Add(e.backoff.Next())
	if !e.down {
		e.down = true
		if len(n.list) > 1 {
			n.log.Info("a node does not answer", "node", e.url, "err", err)
		}
	}
}

// saw notes how high a node's chain is.
func (n *nodes) saw(e *endpoint, height int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e.height = max(e.height, height)
}

// reached notes that what the client was told holds from a height on.
func (n *nodes) reached(height int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.height = max(n.height, height)
}

// current makes sure that a node knows all that this client was told.
func (n *nodes) current(ctx context.Context, e *endpoint) error {
	n.mu.Lock()
	want, has := n.height, e.height
	n.mu.Unlock()
	if has >= want {
		return nil
	}
	height, err := n.heightOf(ctx, e)
	if err == nil && height < want {
		err = connect.NewError(
			connect.CodeUnavailable,
			fmt.Errorf("%w: at block %d, not %d", ErrBehind, height, want),
		)
	}
	return err
}

// heightOf asks a node for its chain's height.
func (n *nodes) heightOf(ctx context.Context, e *endpoint) (int64, error) {
	status, err := Call(ctx, e.ledger.GetStatus, &api.GetStatusRequest{})
	if err != nil {
		return 0, err
	}
	n.saw(e, status.Height)
	return status.Height, nil
}

// elsewhere reports whether another node may answer what this one did not.
func elsewhere(err error) bool {
	return Temporary(err) || connect.CodeOf(err) == connect.CodeInternal
}

// answer is what became of a call to one node.
type answer[Res any] struct {
	from *endpoint
	res  *connect.Response[Res]
	err  error
}

// read makes a call that changes nothing: to one node, to the next one beside it when there is no
// answer for some time, and to the next one at once after a failure. The first answer counts, and a
// refusal is an answer.
func read[Req, Res any](ctx context.Context, n *nodes, name string, req *connect.Request[Req],
	method func(api.LedgerServiceClient) unary[Req, Res]) (*connect.Response[Res], error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of those that are not needed any more
	order := n.order(true)
	answers := make(chan answer[Res], len(order))
	var waiting []*endpoint
	next := func() {
		e := order[0]
		order, waiting = order[1:], append(waiting, e)
		twin := again(req) // here: a request makes its header when it is first asked for
		go func() {
			err := n.current(ctx, e)
			var res *connect.Response[Res]
			if err == nil {
				res, err = method(e.ledger)(ctx, twin)
			}
			answers <- answer[Res]{e, res, err}
		}()
	}
	next()
	hedge := time.NewTimer(n.hedge)
	defer hedge.Stop()
	var failures []error
	for {
		select {
		case a := <-answers:
			waiting = slices.DeleteFunc(waiting, func(e *endpoint) bool { return e == a.from })
			if a.err == nil || ctx.Err() != nil || !elsewhere(a.err) {
				n.finish(ctx, a.from, waiting, a.err)
				return a.res, named(a.from, name, a.err)
			}
			n.fell(a.from, a.err)
			failures = append(failures, named(a.from, name, a.err))
			switch {
			case len(order) > 0:
				next()
				hedge.Reset(n.hedge)
			case len(waiting) == 0:
				return nil, joined(failures)
			}
		case <-hedge.C:
			if len(order) > 0 {
				next()
				hedge.Reset(n.hedge)
			}
		}
	}
}

// finish notes who answered. Those that were asked before and have not answered are slow: the next
// call does not begin with them.
func (n *nodes) finish(ctx context.Context, from *endpoint, waiting []*endpoint, err error) {
	if ctx.Err() != nil {
		return // the caller gave up, which says nothing about a node
	}
	n.up(from)
	for _, e := range waiting {
		if slices.Index(n.list, e) < slices.Index(n.list, from) {
			n.fell(e, ErrNoAnswer)
		}
	}
}

// unary is a generated method.
type unary[Req, Res any] = func(context.Context, *connect.Request[Req]) (
	*connect.Response[Res], error)

// again returns a request that can be sent beside another with the same message.
func again[Req any](req *connect.Request[Req]) *connect.Request[Req] {
	twin := connect.NewRequest(req.Msg)
	for key, values := range req.Header() {
		twin.Header()[key] = slices.Clone(values)
	}
	return twin
}

func named(e *endpoint, phase string, err error) error {
	if err == nil {
		return nil
	}
	return &NodeError{e.url, phase, err}
}

// joined keeps the code of the first failure, which errors.As finds first.
func joined(failures []error) error {
	if len(failures) == 1 {
		return failures[0]
	}
	return errors.Join(failures...)
}

// write makes a call that changes something. It turns to another node only when the first can not
// have got it; otherwise the caller, who knows what a second attempt means, has to ask again, and
// finds the silent node at the end of the order.
func (n *nodes) write(ctx context.Context, e *endpoint, req *connect.Request[api.SubmitTxRequest]) (
	*connect.Response[api.SubmitTxResponse], error) {
	res, err := e.ledger.SubmitTx(ctx, again(req))
	switch {
	case ctx.Err() != nil:
	case err != nil && elsewhere(err):
		n.fell(e, err)
	default:
		n.up(e)
	}
	return res, named(e, "SubmitTx", err)
}

// unsent reports whether a failed call never left this machine.
func unsent(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}

// SubmitTx implements api.LedgerServiceClient.
func (n *nodes) SubmitTx(ctx context.Context, req *connect.Request[api.SubmitTxRequest]) (
	res *connect.Response[api.SubmitTxResponse], err error) {
	var failures []error
	for _, e := range n.order(false) {
		res, err = n.write(ctx, e, req)
		if err == nil || !unsent(err) || ctx.Err() != nil {
			return res, err
		}
		failures = append(failures, err)
	}
	return nil, joined(failures)
}
