package door

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
)

// Limit is what one handler gives a call.
type Limit struct {
	Body int64 // bytes of a request, or of one message of a stream; 0: it takes none
	// Time is how long a call may take from its last byte to the end of its answer. In a stream, where
	// a call may be long, it is how long one answer may take to be read.
	Time   time.Duration
	Calls  int  // of one caller at once
	Places int  // calls at once, of all callers together, who share them
	Stream bool // a stream of messages from the caller, or of answers to it, or both
	// Yields says that the oldest call ends when there is no place for a new one: the caller's own
	// when it has all of its calls, else one of the caller that has the most.
	Yields bool
}

// bounded reports whether a limit bounds everything that it has to.
func (l *Limit) bounded() bool {
	return l.Body >= 0 && l.Time > 0 && l.Calls > 0 && l.Places >= l.Calls
}

// Table is the limits of a port's handlers by path. A path that ends in a slash stands for all
// below it.
type Table map[string]Limit

// Find returns the limit for a path, and the path that it stands under.
func (t Table) Find(path string) (at string, limit Limit, ok bool) {
	if limit, ok = t[path]; ok {
		return path, limit, true
	}
	for i := strings.LastIndexByte(path, '/'); i > 0; i = strings.LastIndexByte(path[:i], '/') {
		if limit, ok = t[path[:i+1]]; ok {
			return path[:i+1], limit, true
		}
	}
	return "", Limit{}, false
}

// notFound is how long the answer may take that there is no such handler.
const notFound = 5 * time.Second

// Caller is who makes a call, as far as the port knows.
type Caller struct {
	Key   string // an address, or a key that the caller proved to hold
	Class int    // callers of one class share places and bytes among themselves
}

// Config is what a Door works with.
type Config struct {
	Table  Table
	Pace   Pace
	Budget []int64 // bytes of requests at once, by class of caller
	// Identify says who calls; an error is answered in place of the handler. Nil goes by address.
	Identify func(*http.Request) (Caller, error)
	// Admit is asked before a byte of the body is read; an error is answered in place of the handler.
	Admit func(*http.Request, Caller) error
	// Ended hears of every call that was cut off for what the caller sent.
	Ended func(*http.Request, Caller, error)
	// Wire turns a refusal into the RPC error that is answered. Nil: the function Wire.
	Wire func(*Refusal) error
}

// Door bounds the calls to a port's handlers. It is safe for concurrent use.
type Door struct {
	cfg     Config
	budgets []*Shares[string]
	refused *connect.ErrorWriter
	gates   map[string][]*gate
}

// New returns a door.
func New(cfg Config) *Door {
	if cfg.Identify == nil {
		cfg.Identify = byAddress
	}
	if cfg.Wire == nil {
		cfg.Wire = Wire
	}
	d := &Door{cfg: cfg, refused: connect.NewErrorWriter(), gates: make(map[string][]*gate)}
	for _, bytes := range cfg.Budget {
		d.budgets = append(d.budgets, NewShares[string](bytes))
	}
	for path, limit := range cfg.Table {
		for range d.budgets {
			d.gates[path] = append(d.gates[path], newGate(limit))
		}
	}
	return d
}

func byAddress(r *http.Request) (Caller, error) {
	return Caller{Key: AddressOf(r.RemoteAddr)}, nil
}

// Reserved returns the bytes of requests that are being read or worked on.
func (d *Door) Reserved() (bytes int64) {
	for _, budget := range d.budgets {
		bytes += budget.Used()
	}
	return bytes
}

// Handler bounds what next does, and answers that there is nothing where the table has no limit.
// Bounds end with the handler, so next must not go on behind it.
func (d *Door) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		deadlines := NewDeadlines(w, r)
		defer deadlines.End()
		at, limit, known := d.cfg.Table.Find(r.URL.Path)
		if !known {
			deadlines.Write(notFound)
			http.NotFound(w, r) // a handler without a limit is none
			return
		}
		deadlines.Write(limit.Time)
		caller, err := d.cfg.Identify(r)
		if err == nil && d.cfg.Admit != nil {
			err = d.cfg.Admit(r, caller)
		}
		if err != nil {
			d.deny(w, r, err)
			return
		}
		about := context.WithValue(r.Context(), aboutKey{}, &about{caller, deadlines})
		ctx, cancel := context.WithCancelCause(about)
		defer cancel(nil)
		leave, refusal := d.gates[at][caller.Class].enter(caller.Key, cancel)
		if refusal != nil {
			d.deny(w, r, d.cfg.Wire(refusal))
			return
		}
		defer leave()
		r = r.WithContext(ctx)
		d.serve(w, r, next, &limit, caller, deadlines)
	})
}

type aboutKey struct{}

// about is what a handler can learn about its call.
type about struct {
	caller    Caller
	deadlines *Deadlines
}

func aboutCall(ctx context.Context) *about { return ctx.Value(aboutKey{}).(*about) }

// CallerOf returns who makes the call that a handler serves behind a Door.
func CallerOf(ctx context.Context) Caller { return aboutCall(ctx).caller }

// DeadlinesOf returns the deadlines of such a call.
func DeadlinesOf(ctx context.Context) *Deadlines { return aboutCall(ctx).deadlines }

func (d *Door) serve(w http.ResponseWriter, r *http.Request, next http.Handler, limit *Limit,
	caller Caller, deadlines *Deadlines) {
	body, err := NewBody(r, caller.Key, Bound{Bytes: limit.Body, Pace: d.cfg.Pace,
		Budget: d.budgets[caller.Class], Stream: limit.Stream && r.Method == http.MethodPost}, deadlines)
	if err == nil {
		defer body.Release()
		r.Body = body
		if !limit.Stream { // all of the request at the least rate, and then the call itself
			all := d.cfg.Pace.due(time.Now(), limit.Body)
			ctx, cancel := context.WithDeadline(r.Context(), all.Add(limit.Time))
			defer cancel()
			deadlines.Write(time.Until(all) + limit.Time)
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
		err = body.Err()
	} else {
		d.deny(w, r, d.wire(err))
	}
	if err != nil && d.cfg.Ended != nil {
		d.cfg.Ended(r, caller, err)
	}
}

func (d *Door) wire(err error) error {
	if refusal, ok := err.(*Refusal); ok { //nolint:errorlint // NewBody wraps nothing
		return d.cfg.Wire(refusal)
	}
	return err
}

// deny answers in place of a handler. Nothing of the body was read, and nothing will be.
func (d *Door) deny(w http.ResponseWriter, r *http.Request, err error) {
	if d.refused.IsSupported(r) {
		_ = d.refused.Write(w, r, err) // a caller that went away needs no answer
		return
	}
	status := http.StatusTooManyRequests
	if connect.CodeOf(err) == connect.CodeUnauthenticated {
		status = http.StatusUnauthorized
	}
	var wire *connect.Error
	if errors.As(err, &wire) {
		if after := wire.Meta().Get("Retry-After"); after != "" {
			w.Header().Set("Retry-After", after)
		}
	}
	http.Error(w, err.Error(), status)
}

// AddressOf returns what a remote address counts as: its IPv4 address, or the /64 of its IPv6
// address, which one host has to itself.
func AddressOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if address = address.Unmap().WithZone(""); address.Is4() {
		return address.String()
	}
	prefix, err := address.Prefix(64)
	if err != nil {
		return host
	}
	return prefix.String()
}

// gate bounds the calls to one handler, of one class of callers.
type gate struct {
	limit  Limit
	places *Shares[string]

	mu   sync.Mutex
	open list.List // of *call; the oldest is in front
	held map[string]int
}

type call struct {
	caller string
	cancel context.CancelCauseFunc
	at     *list.Element // nil once it yielded or ended
}

func newGate(limit Limit) *gate {
	places := NewShares[string](int64(limit.Places))
	return &gate{limit: limit, places: places, held: make(map[string]int)}
}

// enter takes a place for a call; leave gives it back.
func (g *gate) enter(caller string, cancel context.CancelCauseFunc) (leave func(), _ *Refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limit.Yields {
		g.makeRoom(caller)
	} else {
		if g.held[caller] >= g.limit.Calls {
			return nil, later(ReasonCalls, "%d calls of this caller are running", g.limit.Calls)
		}
		if !g.places.Take(caller, 1) {
			return nil, later(ReasonCalls, "%d calls are running, and this caller has its share",
				g.open.Len())
		}
	}
	c := &call{caller: caller, cancel: cancel}
	c.at = g.open.PushBack(c)
	g.held[caller]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.end(c)
	}, nil
}

// end strikes a call off. The caller holds g.mu.
func (g *gate) end(c *call) {
	if c.at == nil {
		return
	}
	g.open.Remove(c.at)
	c.at = nil
	if g.held[c.caller]--; g.held[c.caller] == 0 {
		delete(g.held, c.caller)
	}
	if !g.limit.Yields {
		g.places.Give(c.caller, 1)
	}
}

// makeRoom ends a call when there is no place for one more. The caller holds g.mu.
func (g *gate) makeRoom(caller string) {
	switch {
	case g.held[caller] >= g.limit.Calls:
	case g.open.Len() < g.limit.Places:
		return
	default:
		most := 0
		for e := g.open.Front(); e != nil; e = e.Next() {
			if c := e.Value.(*call); g.held[c.caller] > most {
				most, caller = g.held[c.caller], c.caller
			}
		}
	}
	for e := g.open.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*call); c.caller == caller {
			g.end(c)
			c.cancel(&Refusal{Code: ReasonYield})
			return
		}
	}
}
