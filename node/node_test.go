package node_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
	"golang.org/x/sync/errgroup"
)

const (
	serving = 2 // nodes
	clients = 3 // on each of them
)

// world is a network of four nodes in this process, with customers.
type world struct {
	*testing.T
	net    *homes.Network
	nodes  []*node.Node
	nonces map[ledger.Key]uint64
	keys   []*bls.SecretKey // of the clients, by index
	book   *client.Book

	delivered int // rounds
}

func newWorld(t *testing.T) *world {
	return newWorldOf(t, serving, 1, func(int, *config.Config) {})
}

// newWorldOf is newWorld with so many nodes that serve, a grace in seconds, and settings of its
// own.
func newWorldOf(t *testing.T, serving int, grace uint32,
	configure func(int, *config.Config)) *world {
	return newWorldWith(t, serving, grace, func(o *homes.Options) { o.Configure = configure },
		func(*world) {})
}

// newWorldWith is newWorldOf with other options, and something that is done before nodes start.
func newWorldWith(t *testing.T, serving int, grace uint32, change func(*homes.Options),
	before func(*world)) *world {
	o := homes.Options{Dir: t.TempDir() + "/net", Serving: serving, EpochSeconds: 5,
		GraceSeconds: grace}
	change(&o)
	configure := o.Configure
	o.Configure = func(i int, c *config.Config) {
		c.Pipeline.WindowAge, c.Pipeline.Tail = time.Second, 100*time.Millisecond
		configure(i, c)
	}
	net, err := homes.Write(o)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, net: net, nodes: make([]*node.Node, len(net.Nodes)),
		nonces: map[ledger.Key]uint64{},
		book:   client.MemoryBook()}
	before(w)
	var group errgroup.Group
	for i := range w.nodes {
		group.Go(func() error { return w.start(i) })
	}
	if err := group.Wait(); err != nil {
		w.stop()
		t.Fatal(err)
	}
	return w
}

func (w *world) start(i int) error {
	loaded, err := config.Load(w.net.Nodes[i].Config, nil, nil)
	if err != nil {
		return err
	}
	id, err := node.LoadIdentity(loaded.Config, []byte(w.net.Password))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	w.nodes[i], err = node.Start(ctx, loaded.Config, id, slog.New(slog.DiscardHandler))
	return err
}

func (w *world) stop() {
	var group sync.WaitGroup
	for _, n := range w.nodes {
		if n != nil {
			group.Go(n.Stop)
		}
	}
	group.Wait()
}

func (w *world) client(i int) *client.Client {
	w.Helper()
	c, err := client.New(client.Config{URL: w.net.Nodes[i].Ingest, Book: w.book,
		Committee: w.net.Genesis.Committee(),
		Pin: &client.Pin{Network: w.net.Genesis.Network(), Node: uint32(i),
			Key: w.net.Genesis.Members[i].TransportKey}})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(c.Close)
	return c
}

// await polls until done, for half a minute.
func (w *world) await(what string, done func() bool) {
	w.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatal("in vain: ", what)
		}
	}
}

// submit hands a transaction to a node that does not serve, and waits for its execution.
func (w *world) submit(key ed25519.PrivateKey, build func(nonce uint64) []byte) {
	w.Helper()
	sender := ledger.KeyOf(key)
	nonce := w.nonces[sender]
	last := len(w.nodes) - 1
	c := w.client(last)
	if _, err := c.SubmitTx(w.Context(), build(nonce)); err != nil {
		w.Fatal(err)
	}
	w.nonces[sender]++
	w.await("a transaction's execution", func() bool {
		a, err := client.Call(w.Context(), c.Ledger().GetAccount,
			&api.GetAccountRequest{By: &api.GetAccountRequest_Key{Key: sender.String()}})
		return err == nil && a.NextNonce > nonce
	})
}

// register makes a payer with clients, and a service.
func (w *world) register() {
	w.Helper()
	w.registerOf(1_000_000, 100)
}

// registerOf is register with the payer's money and the service's cap.
func (w *world) registerOf(money, unitCap uint64) {
	w.Helper()
	network := w.net.Genesis.Network()
	payer := ed25519.NewKeyFromSeed(slices.Repeat([]byte{7}, 32))
	w.submit(w.net.Treasury, func(nonce uint64) []byte {
		return ledger.NewDeposit(network, w.net.Treasury, nonce, ledger.KeyOf(payer), money)
	})
	w.submit(payer, func(nonce uint64) []byte {
		return ledger.NewRegisterService(network, payer, nonce,
			&ledger.ServiceRegistration{Price: 1 << 20, UnitCap: unitCap, Unit: "byte"})
	})
	w.submit(payer,
		func(nonce uint64) []byte { return ledger.NewReserve(network, payer, nonce, money/10*9) })
	account, ok := w.nodes[len(w.nodes)-1].View().AccountByKey(ledger.KeyOf(payer))
	if !ok {
		w.Fatal("the payer has no account")
	}
	var grants []ledger.Grant
	var keys []ledger.BLSKey
	for i := range serving * clients {
		sk, err := bls.KeyGen(slices.Repeat([]byte{byte(i + 1)}, 32))
		if err != nil {
			w.Fatal(err)
		}
		w.keys, keys = append(w.keys, sk), append(keys, sk.PublicKey().Bytes())
		grants = append(grants, ledger.NewGrant(network, payer, ledger.Grant{Payer: account.Index,
			Key:      keys[i],
			Proof:    ledger.ProvePossession(sk, network, rollup.RoleClient, ledger.KeyOf(payer)),
			Services: ledger.Services(0), Numbers: ledger.Forever,
			Until: w.net.Genesis.Params.GrantEpochs}))
	}
	tx := ledger.NewGrants(network, grants)
	if _, err := w.client(len(w.nodes)-1).ExecuteGrants(w.Context(), keys, tx); err != nil {
		w.Fatal(err)
	}
	w.await("all nodes at the same registry", func() bool {
		return !slices.ContainsFunc(w.nodes,
			func(n *node.Node) bool { return n.View().Clients() != uint64(len(grants)) })
	})
}

// deliver has every client of a serving node acknowledge rounds deliveries of 2 units, and returns
// one of the acks.
func (w *world) deliver(i, rounds int) rollup.Ack {
	w.Helper()
	var deliveries []client.Delivery
	for range rounds {
		for c := range clients {
			deliveries = append(deliveries, client.Delivery{Client: uint64(i*clients + c), Units: 2,
				Request: rollup.Hash{byte(w.delivered)}})
		}
		w.delivered++
	}
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	var last rollup.Ack
	sign := client.SignWith(func(client uint64) *bls.SecretKey { return w.keys[client] })
	err := w.client(i).Deliver(ctx, slices.Values(deliveries), sign, func(o *client.Outcome) {
		if o.Err != nil || o.Code != rollup.CodeAccepted {
			w.Errorf("ack %+v: %v, %v", o.Ack, o.Code, o.Err)
		}
		last = o.Ack
	})
	if err != nil {
		w.Fatal(err)
	}
	return last
}

// window asks a node which of its windows an ack went into.
func (w *world) window(i int, ack rollup.Ack) uint32 {
	w.Helper()
	found, err := client.Call(w.Context(), w.client(i).Ingest().GetAck, &api.GetAckRequest{
		Epoch: ack.Epoch, Client: ack.Client, Service: ack.Service, Number: ack.Number})
	if err != nil {
		w.Fatal(err)
	}
	return found.Window
}

// settled sums the certified settlements as one node answers them, and returns their epochs.
func (w *world) settled(i int) (acks, paid uint64, epochs []uint32) {
	c := w.client(i)
	for epoch := uint32(0); ; epoch++ {
		s, err := client.Call(w.Context(), c.Ledger().GetSettlement,
			&api.GetSettlementRequest{Epoch: epoch})
		if err != nil || !s.Certified {
			return acks, paid, epochs
		}
		for _, row := range s.Rows {
			acks += row.Acks
		}
		if len(s.Rows) > 0 {
			epochs = append(epochs, epoch)
		}
		paid += s.Paid
	}
}

func (w *world) verify(res *api.ExportResponse, err error) {
	w.Helper()
	if err != nil {
		w.Error(err)
		return
	}
	report, err := export.Verify(res.File, export.TrustOf(w.net.Genesis))
	if err != nil || report.Summary() == "" {
		w.Error(err)
	}
}

func (w *world) get(i int, path string) (status int, body string) {
	w.Helper()
	res, err := http.Get(w.net.Nodes[i].Operator + path)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// TestNetwork takes acks through four nodes to certified settlements, restarts one of them on the
// way, and looks at what operators and outsiders see. At the end nothing may be left running.
func TestNetwork(t *testing.T) {
	before := goroutines()
	w := newWorld(t)
	defer w.stop()
	w.register()
	w.operator()

	first := w.deliver(0, 4)
	w.deliver(1, 4)
	w.nodes[1].Stop() // with its window open
	if err := w.start(1); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.nodes[1].Index(); !ok {
		t.Error("a restarted node does not know its index")
	}
	w.deliver(1, 3)
	want := uint64(clients * (4 + 4 + 3))
	var paid uint64
	var epochs []uint32
	for i := range w.nodes {
		w.await("all acks settled and certified", func() bool {
			var acks uint64
			acks, paid, epochs = w.settled(i)
			return acks == want
		})
		if paid != 2*want {
			t.Errorf("node %d: %d micro-credits paid for %d acks of 2 units at 1 each", i, paid,
				want)
		}
	}

	c := w.client(0).Ledger()
	for _, epoch := range epochs {
		w.verify(client.Call(t.Context(), c.ExportSettlement,
			&api.ExportSettlementRequest{Epoch: epoch}))
	}
	window := w.window(0, first)
	w.verify(client.Call(t.Context(), c.ExportRollup, &api.ExportRollupRequest{
		Node: first.Node, Epoch: first.Epoch, Window: window}))
	w.verify(client.Call(t.Context(), c.ExportAck, &api.ExportAckRequest{
		Node: first.Node, Epoch: first.Epoch, Window: window,
		Client: first.Client, Service: first.Service, Number: first.Number}))

	w.stop()
	http.DefaultClient.CloseIdleConnections()
	w.await("the end of all goroutines", func() bool { return goroutines() <= before })
}

// goroutines counts them, but for the two that the engine's log file keeps for the life of the
// process, one to close it when it is idle and one to do so at a hangup: the engine closes its log
// without ending them.
func goroutines() int {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	n := 0
	for stack := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		if !bytes.Contains(stack, []byte("cometbft/libs/autofile")) &&
			!bytes.Contains(stack, []byte("os/signal.loop")) {
			n++
		}
	}
	return n
}

// operator asks a serving and another node for their health and metrics.
func (w *world) operator() {
	w.Helper()
	for i := range w.nodes {
		w.await("readiness",
			func() bool { status, _ := w.get(i, "/readyz"); return status == http.StatusOK })
		if status, body := w.get(i, "/livez"); status != http.StatusOK || body != "ok\n" {
			w.Errorf("livez: %d %s", status, body)
		}
		_, metrics := w.get(i, "/metrics")
		for _, want := range []string{
			"waybill_registered_clients " + fmt.Sprint(serving*clients),
			`waybill_check{check="disk"} 1`, "waybill_chain_height ", "go_goroutines ",
			"waybill_build_info{", `waybill_member_healthy{node="3"} 1`,
		} {
			if !strings.Contains(metrics, want) {
				w.Errorf("node %d has no metric %s", i, want)
			}
		}
		if status, page := w.get(i, "/"); status != http.StatusOK ||
			!strings.Contains(page, "Waybill") {
			w.Errorf("dashboard: %d", status)
		}
	}
}

// TestNoRoom asks a node whose disk is too small to take an ack.
func TestNoRoom(t *testing.T) {
	net, err := homes.Write(homes.Options{Dir: t.TempDir() + "/net", Nodes: 1,
		Configure: func(_ int, c *config.Config) { c.Store.MinFree = 1 << 40 }})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, net: net, nodes: make([]*node.Node, 1)}
	if err := w.start(0); err != nil {
		t.Fatal(err)
	}
	defer w.stop()
	if free := w.nodes[0].Snapshot().Store.Free; free >= 1<<40 {
		t.Skipf("this disk has %d bytes free, more than the largest store.min_free", free)
	}
	w.await("blocks", func() bool { return w.nodes[0].View().Height() > 0 })
	status, body := w.get(0, "/readyz")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "failed disk: ") {
		t.Errorf("readyz: %d %s", status, body)
	}
	ack := &api.Ack{Network: net.Genesis.Network().String(), Units: 1,
		Request: strings.Repeat("00", 32), Signature: strings.Repeat("00", rollup.SignatureSize)}
	_, err = client.Call(t.Context(), w.client(0).Ingest().SubmitAck,
		&api.SubmitAckRequest{Ack: ack})
	if !client.Temporary(err) || !strings.Contains(err.Error(), "overloaded") {
		t.Errorf("an ack without room: %v", err)
	}
}
