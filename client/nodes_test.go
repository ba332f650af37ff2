package client

import (
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// town is a network in memory, whose nodes can be silent and be killed. Time in it is the test's.
type town struct {
	t     *testing.T
	chain *testnet.Network

	mu    sync.Mutex
	nodes map[string]*placeNode
}

// placeNode is one node's port.
type placeNode struct {
	chain  ingest.Chain
	server *ingest.Server
	accept chan net.Conn
	closed chan struct{}
	silent bool // takes connections and reads, and says nothing
	dead   bool // refuses connections

	conns []net.Conn
	dials atomic.Int64
}

func (n *placeNode) Accept() (net.Conn, error) {
	select {
	case c := <-n.accept:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *placeNode) Close() error   { return nil }
func (n *placeNode) Addr() net.Addr { return &net.TCPAddr{} }

// inPlace runs a test with nodes of the given names, which follow one chain.
func inPlace(t *testing.T, names []string, test func(t *testing.T, p *town)) {
	synctest.Test(t, func(t *testing.T) {
		p := &town{
			t:     t,
			chain: testnet.New(t, []string{"127.0.0.1:1"}, 1),
			nodes: map[string]*placeNode{},
		}
		for _, name := range names {
			p.add(name, p.chain)
		}
		defer p.stop()
		test(t, p)
	})
}

// add starts a node that has the given view of the chain.
func (p *town) add(name string, chain ingest.Chain) {
	n := &placeNode{chain: chain, accept: make(chan net.Conn), closed: make(chan struct{})}
	n.server = ingest.NewServer(ingest.Config{Network: p.chain.ID, Chain: chain, Logger: quiet(),
		Status: func() any { return struct{}{} }})
	p.nodes[name+":1"] = n
	go func() { _ = n.server.Serve(n) }()
}

// dial connects as Config.Dial.
func (p *town) dial(_ context.Context, _, address string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[address]
	n.dials.Add(1)
	if n.dead {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	ours, theirs := net.Pipe()
	n.conns = append(n.conns, ours, theirs)
	if n.silent {
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
	} else {
		n.accept <- theirs
	}
	return ours, nil
}

// kill closes a node's connections and refuses new ones.
func (p *town) kill(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[name+":1"]
	n.dead = true
	for _, c := range n.conns {
		_ = c.Close()
	}
}

func (p *town) revive(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nodes[name+":1"].dead, p.nodes[name+":1"].silent = false, false
}

func (p *town) stop() {
	for address, n := range p.nodes {
		p.kill(strings.TrimSuffix(address, ":1"))
		close(n.closed)
	}
	for _, n := range p.nodes {
		_ = n.server.Shutdown(context.Background())
	}
}

func (p *town) client(names ...string) *Client {
	pin := Pin{Network: p.chain.ID}
	cfg := Config{Dial: p.dial, Pin: &pin, Book: MemoryBook(),
		Committee: p.chain.Genesis.Committee()}
	for i, name := range names {
		if i == 0 {
			cfg.URL = "http://" + name + ":1"
		} else {
			cfg.Others = append(cfg.Others, "http://"+name+":1")
		}
	}
	c, err := New(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(c.Close)
	return c
}

// register has transfers executed, which stand for any transactions of one sender, and looks at
// their effect. between is called when half of them were.
func (p *town) register(t *testing.T, c *Client, count int, between func()) {
	t.Helper()
	payer, to := p.chain.Members[0].Owner, ledger.KeyOf(testnet.Key("to", 0))
	first, err := c.NextNonce(t.Context(), ledger.KeyOf(payer))
	if err != nil {
		t.Fatal(err)
	}
	var txs [][]byte
	for i := range count {
		txs = append(txs, ledger.NewTransfer(p.chain.ID, payer, first+uint64(i), to, 1))
	}
	if err := c.Execute(t.Context(), ledger.KeyOf(payer), first, txs[:count/2]...); err != nil {
		t.Fatal(err)
	}
	if between != nil {
		between()
	}
	err = c.Execute(t.Context(), ledger.KeyOf(payer), first+uint64(count/2), txs[count/2:]...)
	if err != nil {
		t.Fatal(err)
	}
	account, err := Call(t.Context(), c.Ledger().GetAccount, accountOf(to))
	if err != nil || account.Balance != uint64(count) {
		t.Errorf("%d transfers were executed, %v", account.GetBalance(), err)
	}
}

// TestSilentNode: a node that takes connections and answers nothing costs a call's hedge, once.
func TestSilentNode(t *testing.T) {
	inPlace(t, []string{"one", "two"}, func(t *testing.T, p *town) {
		p.nodes["one:1"].silent = true
		c := p.client("one", "two")
		began := time.Now()
		p.register(t, c, 100, nil)
		took := time.Since(began)
		t.Logf("registered in %v", took)
		if took > c.cfg.CallTimeout {
			t.Errorf("it took %v, more than one attempt's %v", took, c.cfg.CallTimeout)
		}
	})
}

// TestNodeKilledWithinRegistration: what was begun at one node goes on at the other.
func TestNodeKilledWithinRegistration(t *testing.T) {
	inPlace(t, []string{"one", "two"}, func(t *testing.T, p *town) {
		c := p.client("one", "two")
		var died time.Time
		p.register(t, c, 100, func() { p.kill("one"); died = time.Now() })
		took := time.Since(died)
		t.Logf("it went on %v after the node's death", took)
		if took > c.cfg.CallTimeout {
			t.Errorf("it took %v, more than one attempt's %v", took, c.cfg.CallTimeout)
		}
	})
}

// TestOneSilentOneKilled: with a third node both at once do no harm.
func TestOneSilentOneKilled(t *testing.T) {
	inPlace(t, []string{"one", "two", "three"}, func(t *testing.T, p *town) {
		p.nodes["one:1"].silent = true
		c := p.client("one", "two", "three")
		began := time.Now()
		p.register(t, c, 100, func() { p.kill("two") })
		if took := time.Since(began); took > c.cfg.CallTimeout {
			t.Errorf("it took %v, more than one attempt's %v", took, c.cfg.CallTimeout)
		}
	})
}

// TestSilentWithinRegistration: a node that falls silent half way is left, whatever it has taken.
func TestSilentWithinRegistration(t *testing.T) {
	inPlace(t, []string{"one", "two"}, func(t *testing.T, p *town) {
		c := p.client("one", "two")
		p.register(t, c, 100, func() {
			p.kill("one")
			p.revive("one")
			p.nodes["one:1"].silent = true
		})
	})
}

// TestReturnToPreferred: a node that answers again gets its place back.
func TestReturnToPreferred(t *testing.T) {
	inPlace(t, []string{"one", "two"}, func(t *testing.T, p *town) {
		c := p.client("one", "two")
		p.kill("one")
		status := func() {
			t.Helper()
			if _, err := Call(t.Context(), c.Ledger().GetStatus,
				&api.GetStatusRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		status()
		before := p.nodes["one:1"].dials.Load()
		for range 10 {
			status()
		}
		if again := p.nodes["one:1"].dials.Load() - before; again > 0 {
			t.Errorf("a dead node is asked %d times in no time", again)
		}
		p.revive("one")
		time.Sleep(2 * time.Second) // of the test's clock
		status()
		if c.nodes.first() != c.nodes.list[0] {
			t.Error("the first node is not preferred again")
		}
	})
}

// lagging is a chain that stays where it was.
type lagging struct {
	*testnet.Network
	view *ledger.View
}

func (l *lagging) View() *ledger.View { return l.view }

func (l *lagging) SubmitTx(context.Context, []byte) error { return errors.New("catching up") }

// TestNodeBehind: no answer is taken from a chain that has not come to where another one was.
func TestNodeBehind(t *testing.T) {
	inPlace(t, []string{"one"}, func(t *testing.T, p *town) {
		p.add("two", &lagging{p.chain, p.chain.View()})
		c := p.client("one", "two")
		p.register(t, c, 10, nil)
		p.kill("one")
		_, err := Call(
			t.Context(),
			c.Ledger().GetAccount,
			accountOf(ledger.KeyOf(testnet.Key("to", 0))),
		)
		if !errors.Is(err, ErrBehind) || !Temporary(err) ||
			!strings.Contains(err.Error(), "http://one:1") {
			t.Errorf("got %v", err)
		}
		text := c.Explain(err).Error()
		if !strings.HasPrefix(text, "node http://one:1 does not answer: ") ||
			!strings.Contains(text, "; node http://two:1 is behind") {
			t.Errorf("explained: %s", text)
		}
	})
}

// TestRefusalIsAnAnswer: what the ledger refuses, no other node is asked about.
func TestRefusalIsAnAnswer(t *testing.T) {
	inPlace(t, []string{"one", "two"}, func(t *testing.T, p *town) {
		c := p.client("one", "two")
		_, err := c.NextNonce(t.Context(), ledger.KeyOf(testnet.Key("nobody", 0)))
		if !NotFound(err) {
			t.Errorf("got %v", err)
		}
		if _, err := c.SubmitTx(t.Context(), []byte("nonsense")); !errors.Is(
			err,
			ledger.CodeMalformed,
		) {
			t.Errorf("got %v", err)
		}
		if p.nodes["two:1"].dials.Load() > 0 {
			t.Error("another node was asked")
		}
	})
}

// TestNoNodeAnswers: the error names every node and why it did not answer.
func TestNoNodeAnswers(t *testing.T) {
	inPlace(t, []string{"one", "two"}, func(t *testing.T, p *town) {
		p.kill("one")
		p.nodes["two:1"].silent = true
		c := p.client("one", "two")
		began := time.Now()
		_, err := Call(t.Context(), c.Ledger().GetStatus, &api.GetStatusRequest{})
		if took := time.Since(began); took != c.cfg.CallTimeout {
			t.Errorf("it took %v", took)
		}
		if !Temporary(err) || !errors.Is(err, ErrNoAnswer) ||
			!errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v", err)
		}
		text := c.Explain(err).Error()
		want := "node http://one:1 does not answer: connection refused; node http://two:1 did " +
			"not answer in time"
		if text != want {
			t.Errorf("explained: %s", text)
		}
	})
}

// TestPatience: a delivery to a node that does not answer ends, and says how far it came.
func TestPatience(t *testing.T) {
	inPlace(t, []string{"one"}, func(t *testing.T, p *town) {
		p.kill("one")
		c := p.client("one")
		c.cfg.Patience = time.Minute
		began := time.Now()
		none := iter.Seq[Delivery](func(func(Delivery) bool) { t.Error("a delivery is taken") })
		err := c.Deliver(t.Context(), none, nil, nil)
		var at *NodeError
		if !errors.Is(err, ErrNoAnswer) || !errors.As(err, &at) || at.Node != "http://one:1" {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took < time.Minute || took > 61*time.Second {
			t.Errorf("it ended after %v", took)
		}
		err = c.WaitForHeight(t.Context(), 1)
		if !errors.Is(err, ErrNoAnswer) {
			t.Errorf("waiting: %v", err)
		}
		if text := c.Explain(err).Error(); text != "node http://one:1 did not answer in time" {
			t.Errorf("explained: %s", text)
		}
	})
}

// TestDeliverNamesTheNode: a delivery whose node dies says at which node, and what became of each
// ack.
func TestDeliverNamesTheNode(t *testing.T) {
	f := start(t, options{})
	c := f.client(t, func(c *Config) { c.Batch, c.Patience = 8, 300*time.Millisecond })
	var outcomes, accepted int
	err := c.Deliver(t.Context(), deliveries(1<<30), f.sign(), func(o *Outcome) {
		outcomes++
		if o.Err == nil {
			accepted++
		}
		if outcomes == 100 {
			go f.shutdown()
		}
	})
	f.shutdown()
	var d *DeliveryError
	if !errors.As(err, &d) || !errors.Is(err, ErrNoAnswer) || d.Node != f.url() ||
		int(d.Accepted) != accepted ||
		int(d.Accepted+d.Refused+d.Unsent+d.Unknown) != outcomes {
		t.Errorf("%d outcomes, %d accepted: %v", outcomes, accepted, err)
	}
	if text := c.Explain(err).Error(); !strings.HasPrefix(
		text,
		"node "+f.url()+" did not answer in time (",
	) {
		t.Errorf("explained: %s", text)
	}
}

func TestRetryAfter(t *testing.T) {
	busy := connect.NewError(connect.CodeResourceExhausted, errors.New("busy"))
	busy.Meta().Set("Retry-After", "7")
	if d := retryAfter(&NodeError{"x", "y", busy}); d != 7*time.Second {
		t.Errorf("%v", d)
	}
	detail, err := connect.NewErrorDetail(&api.AckRefusal{RetryAfterMs: 250})
	if err != nil {
		t.Fatal(err)
	}
	busy.AddDetail(detail)
	if d := retryAfter(busy); d != 250*time.Millisecond {
		t.Errorf("%v", d)
	}
	for _, text := range []string{"", "-1", "soon", "99999999"} {
		busy := connect.NewError(connect.CodeUnavailable, errors.New("busy"))
		busy.Meta().Set("Retry-After", text)
		if d := retryAfter(busy); d != 0 {
			t.Errorf("%q: %v", text, d)
		}
	}
}

// TestDeliveryThatWaits: when a delivery fails, a sequence that waits for more is told, and does
// not hold it back.
func TestDeliveryThatWaits(t *testing.T) {
	f := start(t, options{})
	c := f.client(t, func(c *Config) { c.Batch, c.Patience = 8, 300*time.Millisecond })
	waits := func(ctx context.Context) iter.Seq[Delivery] {
		return func(yield func(Delivery) bool) {
			if yield(Delivery{Client: 1, Units: 1}) {
				<-ctx.Done()
			}
		}
	}
	err := c.deliverFor(t.Context(), nil, waits, f.sign(), func(o *Outcome) {
		if o.Err != nil {
			t.Error(o.Err)
		}
		go f.shutdown()
	})
	var at *DeliveryError
	if !errors.As(err, &at) || at.Accepted != 1 || at.Unsent != 0 {
		t.Errorf("got %v", err)
	}
}
