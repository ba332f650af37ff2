//go:build linux

package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/internal/netns"
)

// wires are hosts in network namespaces of their own, and what lies between them: a tunnel from
// each to this process, which carries packets, late, or not at all. So no kernel has to know how to
// lose them. One more tunnel ends where this process is: its calls reach every host at once, and
// always.
type wires struct {
	subnet  string // three numbers with dots behind them
	prefix  string // of the names of namespaces
	tunnels []*os.File
	lines   [][]chan packet // from, to
	workers sync.WaitGroup

	mu      sync.RWMutex
	rng     *rand.Rand
	delay   time.Duration // one way
	loss    float64       // of a packet
	side    []int         // hosts on different sides do not hear each other
	carried uint64
	dropped uint64
}

type packet struct {
	due  time.Time
	data []byte
}

const (
	wireRoom  = 1 << 12 // packets on their way from one host to another; more are lost
	basePort  = 7400    // of the first node; each has its host for itself
	firstHost = 10      // last number of the first host's address; this process has 1
)

// newWires makes hosts, which end with the test.
func newWires(t *testing.T, hosts int, seed uint64) *wires {
	t.Helper()
	pid := os.Getpid()
	w := &wires{subnet: fmt.Sprintf("10.%d.%d.", 100+pid%100, pid/100%256),
		prefix: fmt.Sprintf("wbf%d-", pid), rng: rand.New(rand.NewPCG(seed, 1)),
		side: make([]int, hosts)}
	ip := func(args ...string) {
		t.Helper()
		netns.IP(t, args...)
	}
	t.Cleanup(func() {
		for _, tun := range w.tunnels {
			_ = tun.Close() // the device ends with it
		}
		w.workers.Wait()
	})
	for i := range hosts + 1 {
		name := w.name(i)
		tun, err := netns.Tunnel(name)
		if err != nil {
			t.Fatal(err)
		}
		w.tunnels = append(w.tunnels, tun)
		if i == hosts { // here
			ip("addr", "add", w.subnet+"1/24", "dev", name)
			ip("link", "set", name, "up")
			continue
		}
		ip("netns", "add", name)
		t.Cleanup(func() { ip("netns", "del", name) })
		ip("link", "set", name, "netns", name)
		ip("-n", name, "addr", "add", w.host(i)+"/24", "dev", name)
		ip("-n", name, "link", "set", name, "up")
		ip("-n", name, "link", "set", "lo", "up")
	}
	w.lines = make([][]chan packet, hosts+1)
	for i := range w.lines {
		w.lines[i] = make([]chan packet, hosts+1)
		for j := range w.lines[i] {
			line := make(chan packet, wireRoom)
			w.lines[i][j] = line
			w.workers.Go(func() {
				for p := range line {
					time.Sleep(time.Until(p.due))
					_, _ = w.tunnels[j].Write(p.data) // what is not taken is lost, as on any wire
				}
			})
		}
		w.workers.Go(func() { w.carry(i) })
	}
	return w
}

func (w *wires) name(i int) string { return fmt.Sprintf("%s%d", w.prefix, i) }

// host returns the address of a host.
func (w *wires) host(i int) string { return fmt.Sprintf("%s%d", w.subnet, firstHost+i) }

// within returns what runs a command at a host.
func (w *wires) within(i int) []string { return []string{"ip", "netns", "exec", w.name(i)} }

// carry reads what a host sends.
func (w *wires) carry(from int) {
	here := len(w.side)
	defer func() {
		for _, line := range w.lines[from] {
			close(line)
		}
	}()
	b := make([]byte, 1<<16)
	for {
		n, err := w.tunnels[from].Read(b)
		if err != nil {
			return
		}
		if n < 20 || b[0]>>4 != 4 {
			continue
		}
		to := int(b[19]) - firstHost
		if b[19] == 1 {
			to = here
		}
		if to < 0 || to > here || to == from {
			continue
		}
		delay, lost := w.fate(from, to)
		if lost {
			continue
		}
		select {
		case w.lines[from][to] <- packet{time.Now().Add(delay), append([]byte(nil), b[:n]...)}:
		default:
		}
	}
}

// fate says how long a packet takes, or that it is lost.
func (w *wires) fate(from, to int) (delay time.Duration, lost bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.carried++
	if here := len(w.side); from == here || to == here {
		return 0, false
	}
	if w.side[from] != w.side[to] || w.loss > 0 && w.rng.Float64() < w.loss {
		w.dropped++
		return 0, true
	}
	return w.delay, false
}

// part puts hosts on a side of their own; the others hear each other.
func (w *wires) part(hosts ...uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.side)
	for _, i := range hosts {
		w.side[i] = 1
	}
}

// isolate leaves each of the hosts alone.
func (w *wires) isolate(hosts ...uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.side)
	for n, i := range hosts {
		w.side[i] = 1 + n
	}
}

// bad makes all wires slow and lossy.
func (w *wires) bad(delay time.Duration, loss float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay, w.loss = delay, loss
}

// heal makes all as it was.
func (w *wires) heal() {
	w.part()
	w.bad(0, 0)
}

// counts returns how many packets hosts sent, and how many of them were lost.
func (w *wires) counts() (carried, dropped uint64) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.carried, w.dropped
}

// at runs a command at a host and returns what it printed and how it ended.
func (w *wires) at(ctx context.Context, i int, args ...string) (string, error) {
	args = append(w.within(i), args...)
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	return string(out), err
}
