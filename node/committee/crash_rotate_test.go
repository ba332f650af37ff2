package committee

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// doom ends the process at a block of a hand-over, when the engine says that it has executed it, or
// that the ledger has committed it and the engine has not yet stored that.
type doom struct {
	engine atomic.Pointer[Engine]
	order  atomic.Pointer[order]
	term   uint32    // elected after the last block that was executed
	since  time.Time // of that block
	over   int64     // the height of the hand-over since the order came
}

// order says where to die: so many blocks behind the one that hands over, before or after Commit.
type order struct {
	offset int64
	after  bool
}

func (d *doom) Enabled(context.Context, slog.Level) bool { return true }
func (d *doom) WithAttrs([]slog.Attr) slog.Handler       { return d }
func (d *doom) WithGroup(string) slog.Handler            { return d }

// Handle runs in the engine's own goroutine, between two steps of a block.
func (d *doom) Handle(_ context.Context, r slog.Record) error {
	e, o := d.engine.Load(), d.order.Load()
	if e == nil || r.Message != "executed block" && r.Message != "committed state" {
		return nil
	}
	executed, height := r.Message == "executed block", int64(0)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "height" {
			height, _ = strconv.ParseInt(fmt.Sprint(a.Value.Any()), 10, 64)
		}
		return height == 0
	})
	if executed {
		view := e.app.state.View()
		if term := view.Elected().Term; term != d.term {
			d.term, d.over = term, height
			if o == nil {
				d.over = 0
			}
		}
		// The next block hands over, if it takes as long as this one.
		rotation, _ := view.Rotation()
		if o != nil && o.offset < 0 && rotation.Phase == ledger.PhaseCertified &&
			!view.Time().Add(view.Time().Sub(d.since)).Before(view.EpochEnd()) {
			d.over = height - o.offset
		}
		d.since = view.Time()
	}
	if o != nil && d.over != 0 && height == d.over+o.offset && executed != o.after {
		fmt.Printf("died %d\n", height)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return nil
}

// mortal runs a member that does its duties, and dies where its input tells.
func mortal(t *testing.T, net *network, i int, dir string) {
	d := new(doom)
	net.log = d
	r := net.dutiful(t, i, dir)
	d.engine.Store(r.Engine)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		o := new(order)
		if _, err := fmt.Sscanf(lines.Text(), "%d %t", &o.offset, &o.after); err != nil {
			t.Fatal(err)
		}
		d.order.Store(o)
	}
}

// child is a member in a process of its own.
type child struct {
	cmd  *exec.Cmd
	in   io.Writer
	died chan int64 // the height at which it did, by its order
}

// TestKillAtHandOver kills members at the blocks around a hand-over, before and after Commit: one
// that gets its first seat, one that loses its last, and both. Each comes back from its disk; there
// is one history, every validator set is the committee, and nobody signs twice. Of the 24 cells as
// many are tried as WAYBILL_ROTATE_KILLS says, in an order that mixes them.
func TestKillAtHandOver(t *testing.T) {
	const nodes, seats = 7, 4
	if spec := os.Getenv(childSpec); spec != "" {
		dir, start, addresses, _ := parseChildSpec(t)
		i, err := strconv.Atoi(addresses[0])
		if err != nil {
			t.Fatal(err)
		}
		mortal(t, newRotating(t, "mortal", nodes, seats, 6, addresses[1:], start), i, dir)
		return
	}
	kills := os.Getenv("WAYBILL_ROTATE_KILLS")
	if kills == "" {
		t.Skip("make rotate runs it")
	}
	cells, err := strconv.Atoi(kills)
	if err != nil {
		t.Fatalf("KILLS: %v", err)
	}
	addresses, start := freeAddresses(t, nodes), time.Now().UTC().Truncate(time.Second)
	net := newRotating(t, "mortal", nodes, seats, 6, addresses, start)
	first := net.dutiful(t, 0, t.TempDir())
	net.busy(t, first)
	dirs, children := make([]string, nodes), make([]*child, nodes)
	for i := 1; i < nodes; i++ {
		dirs[i] = t.TempDir()
		children[i] = bear(t, i, dirs[i], start, addresses)
	}
	type death struct {
		role    string
		node    uint32
		at      int64
		ordered order
	}
	var deaths []death
	for n := range min(cells, 24) {
		cell := n * 7 % 24
		o := order{int64(cell/2%4) - 1, cell%2 == 1}
		role := []string{"a new member", "one that leaves", "both"}[cell/8]
		victims := awaitRole(t, first, role)
		for _, v := range victims {
			fmt.Fprintf(children[v].in, "%d %t\n", o.offset, o.after)
		}
		for _, v := range victims {
			select {
			case at := <-children[v].died:
				deaths = append(deaths, death{role, v, at, o})
			case <-time.After(3 * time.Minute):
				t.Fatalf("node %d does not die at %+v", v, o)
			}
			children[v] = bear(t, int(v), dirs[v], start, addresses)
		}
		term := first.View().Elected().Term
		first.wait(t, "two blocks of the new committee", func(v *ledger.View) bool {
			return v.Committee().Term >= term && v.Height() > first.View().Height()-1
		})
	}
	for i := 1; i < nodes; i++ { // from their disks, beside each other and here
		children[i].kill()
	}
	all := []*running{first}
	for i := 1; i < nodes; i++ {
		all = append(all, net.dutiful(t, i, dirs[i]))
	}
	height := first.View().Height()
	for _, n := range all {
		n.wait(t, "the chain", func(v *ledger.View) bool { return v.Height() > height+5 })
	}
	view := first.View()
	agree(t, net, all, view.Committee().Term)
	for _, d := range deaths {
		t.Logf("%s, node %d, died at block %d, meant as %+d to a hand-over; after Commit: %t", d.role,
			d.node, d.at, d.ordered.offset, d.ordered.after)
		// A term votes from the second block behind its hand-over on. When the next block hands over
		// is a guess.
		over := d.at - d.ordered.offset
		before, next := view.CommitteeVoting(over+1).Term, view.CommitteeVoting(over+2).Term
		if d.ordered.offset >= 0 && next != before+1 {
			t.Errorf("block %d hands over nothing: term %d, then %d", over, before, next)
		} else if next != before+1 {
			t.Logf("  the hand-over came later")
		}
	}
	t.Logf("%d hand-overs, %d deaths", view.Committee().Term, len(deaths))
}

// bear starts a member in a process.
func bear(t *testing.T, i int, dir string, start time.Time, addresses []string) *child {
	t.Helper()
	spec := append([]string{dir, strconv.FormatInt(start.Unix(), 10), strconv.Itoa(i)}, addresses...)
	cmd := childCommand(t, "TestKillAtHandOver", nil, spec...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd, in, make(chan int64, 1)}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if at, ok := strings.CutPrefix(lines.Text(), "died "); ok {
				height, _ := strconv.ParseInt(at, 10, 64)
				_ = cmd.Wait() // it was killed
				c.died <- height
				return
			}
		}
	}()
	return c
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// awaitRole waits for a certified hand-over in which nodes other than the first have a role.
func awaitRole(t *testing.T, first *running, role string) (victims []uint32) {
	t.Helper()
	first.wait(t, "a hand-over with "+role, func(v *ledger.View) bool {
		r, _ := v.Rotation()
		if r.Phase != ledger.PhaseCertified {
			return false
		}
		var comes, goes []uint32
		for _, node := range r.Next.Members() {
			if r.Seats.Held(node) == 0 {
				comes = append(comes, node)
			}
		}
		for _, node := range r.Seats.Members() {
			if r.Next.Held(node) == 0 {
				goes = append(goes, node)
			}
		}
		switch role {
		case "a new member":
			victims = comes
		case "one that leaves":
			victims = goes
		default:
			victims = append(comes, goes...)
		}
		return len(comes) > 0 && len(goes) > 0 && !slices.Contains(victims, 0)
	})
	return victims
}
