//go:build linux

package crash

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/rollup"
)

// What a node may take of memory beyond what it had, during an attack, and what it may keep beyond
// what the node keeps that was left alone.
const (
	memoryDuring = 384 << 20
	memoryKept   = 64 << 20
)

// rest is how long memory may take to come back after an attack.
const rest = 30 * time.Second

// door is a port of the attacked node and what an honest caller does there.
type door struct {
	name   string
	target *target
	honest func(ctx context.Context, node int) error
}

// TestDoors runs every attack against every port of a node, with honest calls before, during and
// after, and prints what they took and what the node's memory was. Another node, which gets the
// same honest calls and no attack, is the control. What is required is behaviour: honest calls are
// answered, what the attacker sends is refused, and memory stays within bounds and comes back.
func TestDoors(t *testing.T) {
	form := os.Getenv("DOORS")
	if form == "" {
		if os.Getenv("REQUIRE_DOORS") != "" {
			t.Fatal("DOORS is neither full nor quick")
		}
		t.Skip("DOORS is neither full nor quick; make doors sets it")
	}
	Binary(t)
	quick := form == "quick"
	span := 10 * time.Second
	if quick {
		span = 1200 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
	defer cancel()
	n := Start(ctx, t, homes.Options{})
	table := new(doorsTable)
	defer func() { fmt.Print(table) }()
	for _, d := range n.doors(t) {
		table.add("–", d.name, n.measure(ctx, t, d, span/2, nil), "control")
		for _, a := range attacks {
			if a.only != nil && !a.only(d.target) {
				continue
			}
			size := a.full
			if quick {
				size = a.quick
			}
			c := new(tally)
			m := n.measure(ctx, t, d, span,
				func(ctx context.Context) { a.run(ctx, d.target, size, c) })
			table.add(a.name, d.name, m, c.String())
			m.check(t, a.name+" at "+d.name)
			if a.typed && c.answered.Load() > 0 {
				t.Errorf("%s at %s: %d were answered", a.name, d.name, c.answered.Load())
			}
			if c.sent.Load() > c.tried.Load()*(64<<20) {
				t.Errorf("%s at %s: %d MiB were taken", a.name, d.name, c.sent.Load()>>20)
			}
		}
	}
	n.watch(ctx, t)
	n.rested(ctx, t).check(t, "a crowd of watchers")
}

func (n *Network) doors(t *testing.T) []door {
	hosts := func(url string) string { return strings.TrimPrefix(url, "http://") }
	certificate, err := peer.NewCertificate(n.Identity(t, 3).Transport)
	if err != nil {
		t.Fatal(err)
	}
	registered := &tls.Config{Certificates: []tls.Certificate{certificate},
		NextProtos: []string{"h2"},
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}
	members := n.Impostor(t, 2)
	// a connection for each call
	one := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return []door{
		{"ingest",
			&target{address: hosts(n.Nodes[0].Ingest), path: api.LedgerServiceGetClientsProcedure,
				stream: api.IngestServiceFollowEpochsProcedure, http2: true},
			func(ctx context.Context, node int) error {
				_, err := client.Call(ctx, n.Clients[node].Ledger().GetStatus,
					&api.GetStatusRequest{})
				return err
			}},
		{"peer", &target{address: n.Genesis.Members[0].PeerAddress, tls: registered,
			path: api.PeerServicePushProcedure, http2: true},
			func(ctx context.Context, node int) error {
				_, _, err := members.Pull(ctx, uint32(node), rollup.Hash{1}, 0)
				if connect.CodeOf(err) != connect.CodeNotFound {
					return fmt.Errorf("a rollup that is not there: %w", err)
				}
				return nil
			}},
		{"operator", &target{address: hosts(n.Nodes[0].Operator), path: "/metrics",
			stream: "/events"}, func(ctx context.Context, node int) error {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet,
				n.Nodes[node].Operator+"/livez", nil)
			if err != nil {
				return err
			}
			response, err := one.Do(r)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if _, err := io.Copy(io.Discard, response.Body); err != nil ||
				response.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %w", response.Status, err)
			}
			return nil
		}},
	}
}

// phase is what honest callers met, and how much memory the node had.
type phase struct {
	calls  []time.Duration
	failed []error
	memory int64 // the most
}

func (p *phase) quantile(q float64) time.Duration {
	if len(p.calls) == 0 {
		return 0
	}
	slices.Sort(p.calls)
	return p.calls[min(len(p.calls)-1, int(q*float64(len(p.calls))))]
}

// measured is what happened before, during and after an attack, and at the control during it.
type measured struct {
	before, during, after, control phase
	kept                           kept
}

// check requires what is behaviour and not speed.
func (m *measured) check(t *testing.T, what string) {
	t.Helper()
	for name, p := range map[string]*phase{"during": &m.during, "after": &m.after} {
		if len(p.failed) > 0 || len(p.calls) == 0 {
			t.Errorf("%s, %s: %d honest calls were answered, %d not: %v", what, name, len(p.calls),
				len(p.failed), errors.Join(p.failed[:min(3, len(p.failed))]...))
		}
	}
	if more := m.during.memory - m.before.memory; more > memoryDuring {
		t.Errorf("%s: the node took %d MiB more", what, more>>20)
	}
	m.kept.check(t, what)
}

// measure runs honest calls before, during and after an attack.
func (n *Network) measure(ctx context.Context, t *testing.T, d door, span time.Duration,
	attack func(context.Context)) *measured {
	t.Helper()
	m := new(measured)
	n.observe(ctx, d, 0, span/3, &m.before)
	attacking, stop := context.WithTimeout(ctx, span)
	var running sync.WaitGroup
	if attack != nil {
		running.Go(func() { attack(attacking) })
	}
	running.Go(func() { n.observe(ctx, d, 1, span, &m.control) })
	n.observe(ctx, d, 0, span, &m.during)
	running.Wait()
	stop()
	n.observe(ctx, d, 0, span/3, &m.after)
	m.kept = n.rested(ctx, t)
	if err := n.Alive(); err != nil {
		t.Fatal(err)
	}
	return m
}

// observe makes honest calls for a while, one after the other.
func (n *Network) observe(ctx context.Context, d door, node int, span time.Duration, p *phase) {
	for end := time.Now().Add(span); time.Now().Before(end); {
		call, cancel := context.WithTimeout(ctx, 10*time.Second)
		start := time.Now()
		err := d.honest(call, node)
		cancel()
		if err != nil {
			p.failed = append(p.failed, err)
		} else {
			p.calls = append(p.calls, time.Since(start))
		}
		if memory, err := n.Processes[node].Memory(); err == nil {
			p.memory = max(p.memory, memory)
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// watch requires that a new watcher is served while a crowd holds all the places there are.
func (n *Network) watch(ctx context.Context, t *testing.T) {
	t.Helper()
	d := n.doors(t)[2]
	attacking, stop := context.WithCancel(ctx)
	var crowd sync.WaitGroup
	defer crowd.Wait()
	defer stop()
	c := new(tally)
	d.target.addresses = 20
	crowd.Go(func() { watchers(attacking, d.target, 200, c) })
	err := n.await(ctx, "the crowd", func() (bool, error) { return c.tried.Load() == 200, nil })
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, n.Nodes[0].Operator+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data: ") {
			return
		}
	}
	t.Errorf("a watcher beside the crowd sees nothing: %s, %v", response.Status, lines.Err())
}

// kept is the memory of the attacked node and of the control, some time after an attack.
type kept struct {
	attacked, control int64
	after             time.Duration
}

func (k kept) back() bool { return k.attacked <= k.control+memoryKept }

func (k kept) check(t *testing.T, what string) {
	t.Helper()
	if !k.back() {
		t.Errorf("%v after %s the node keeps %d MiB, and the control has %d MiB",
			k.after.Round(time.Second), what, k.attacked>>20, k.control>>20)
	}
}

// rested waits until the memory of the attacked node is back at what the control has, for a while.
func (n *Network) rested(ctx context.Context, t *testing.T) (k kept) {
	t.Helper()
	start := time.Now()
	for {
		var err, other error
		k.attacked, err = n.Processes[0].Memory()
		k.control, other = n.Processes[1].Memory()
		if err := errors.Join(err, other); err != nil {
			t.Fatal(err)
		}
		if k.after = time.Since(start); k.back() || k.after > rest || ctx.Err() != nil {
			return k
		}
		pause(ctx, time.Second)
	}
}

// TestKeptMemoryIsSeen is the companion of the checks of memory.
func TestKeptMemoryIsSeen(t *testing.T) {
	const control = 70 << 20
	fine := kept{attacked: control + memoryKept, control: control}
	leak := kept{560 << 20, control, rest}
	if !fine.back() || leak.back() {
		t.Error("memory that is kept is not told from memory that is not")
	}
}

// doorsTable is what TestDoors prints.
type doorsTable struct{ rows []string }

func (d *doorsTable) add(attack, door string, m *measured, what string) {
	row := attack + "\t" + door
	for _, p := range []*phase{&m.before, &m.during, &m.after, &m.control} {
		row += fmt.Sprintf("\t%.1f / %.1f", p.quantile(0.5).Seconds()*1e3,
			p.quantile(0.99).Seconds()*1e3)
	}
	row += fmt.Sprintf("\t%d/%d", len(m.during.failed), len(m.during.calls)+len(m.during.failed))
	for _, p := range []*phase{&m.before, &m.during, &m.after, &m.control} {
		row += fmt.Sprintf("\t%d", p.memory>>20)
	}
	row += fmt.Sprintf("\t%d / %d", m.kept.attacked>>20, m.kept.control>>20)
	d.rows = append(d.rows, row+"\t"+what)
}

func (d *doorsTable) String() string {
	var b strings.Builder
	fmt.Fprintln(&b, "\nHonest calls, median / 99th percentile in ms: before, during and after "+
		"an attack, and at\n"+
		"the node that is left alone. Then honest calls that failed, the most memory in MiB, and what\n"+
		"the attacked node and the control have after a rest.")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	const four = "\tbefore\tduring\tafter\tcontrol"
	fmt.Fprintln(w, "attack\tport"+four+"\tfailed"+four+"\trested\tthe attack")
	for _, row := range d.rows {
		fmt.Fprintln(w, row)
	}
	_ = w.Flush() // to memory
	return b.String() + "\n"
}
