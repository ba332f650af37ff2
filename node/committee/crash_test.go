package committee

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// childSpec tells the test binary that it is a child, and what its node is.
const childSpec = "WAYBILL_COMMITTEE_CHILD"

// childCommand runs one test of this binary in a process that can die.
func childCommand(t *testing.T, test string, env []string, spec ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$")
	cmd.Env = append(append(os.Environ(), env...), childSpec+"="+strings.Join(spec, ","))
	cmd.Stderr = os.Stderr
	return cmd
}

func parseChildSpec(t *testing.T) (dir string, start time.Time, addresses []string, ok bool) {
	spec := strings.Split(os.Getenv(childSpec), ",")
	if len(spec) < 3 {
		return "", start, nil, false
	}
	unix, err := strconv.ParseInt(spec[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return spec[0], time.Unix(unix, 0).UTC(), spec[2:], true
}

// TestKill kills a member's process while blocks are made, again and again, and starts it from what
// it left.
func TestKill(t *testing.T) {
	if dir, start, addresses, ok := parseChildSpec(t); ok {
		n := newNetwork(t, "kill", 4, 3600, 1, addresses, start).start(t, 3, dir)
		sub := n.Subscribe()
		for {
			u, err := sub.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			fmt.Println(u.View.Height())
		}
	}
	addresses := freeAddresses(t, 4)
	start := time.Now().UTC().Truncate(time.Second)
	net := newNetwork(t, "kill", 4, 3600, 1, addresses, start)
	var nodes []*running
	for i := range 3 {
		nodes = append(nodes, net.start(t, i, t.TempDir()))
	}
	dir := t.TempDir()
	nonce := uint64(0)
	for round := range 2 {
		cmd := childCommand(t, "TestKill", nil,
			append([]string{dir, strconv.FormatInt(start.Unix(), 10)}, addresses...)...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The child tells its height; the kill comes while it is at the next block.
		lines := bufio.NewScanner(out)
		for seen := 0; seen < 4+round; seen++ {
			tx, to := net.deposit(nonce)
			if err := nodes[0].SubmitTx(t.Context(), tx); err != nil {
				t.Fatal(err)
			}
			nodes[0].wait(t, "a deposit", funded(to))
			nonce++
			for height, want := int64(0), nodes[0].View().Height()-1; height < want; {
				if !lines.Scan() {
					t.Fatal("the child ended")
				}
				if height, err = strconv.ParseInt(lines.Text(), 10, 64); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
	}
	survivor := net.start(t, 3, dir)
	tx, to := net.deposit(nonce)
	if err := nodes[0].SubmitTx(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	survivor.wait(t, "the last deposit", funded(to))
	for n := range nonce {
		_, to := net.deposit(n)
		if !funded(to)(survivor.View()) {
			t.Errorf("deposit %d is lost", n)
		}
	}
	nodes = append(nodes, survivor)
	sameHashes(t, nodes)
	for i, n := range nodes {
		if err := n.Status().Err; err != nil {
			t.Errorf("node %d: %v", i, err)
		}
		if size := n.parts.evidence.Size(); size != 0 {
			t.Errorf("node %d: %d members signed twice", i, size)
		}
	}
}

// TestCrashPoints ends a node's process at each step from a decided block to the next height, and
// in the replay that follows: the engine has an exit built in at every one of them. No deposit that
// a view showed may be lost.
func TestCrashPoints(t *testing.T) {
	if dir, start, addresses, ok := parseChildSpec(t); ok {
		net := newNetwork(t, "crash", 1, 3600, 1, addresses, start)
		n := net.start(t, 0, dir)
		for {
			_, nonce := n.View().Treasury()
			tx, to := net.deposit(nonce)
			if err := n.SubmitTx(t.Context(), tx); err != nil {
				t.Fatal(err)
			}
			n.wait(t, "a deposit", funded(to))
			fmt.Println(nonce)
		}
	}
	start := time.Now().UTC().Truncate(time.Second)
	addresses := freeAddresses(t, 1)
	dir := t.TempDir()
	seen, crashes := -1, map[string]bool{}
	for _, point := range []int{10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 0, 16, 1, 17, 2, 18, 3} {
		env := []string{fmt.Sprintf("FAIL_TEST_INDEX=%d", point)}
		out, err := childCommand(t, "TestCrashPoints", env, dir,
			strconv.FormatInt(start.Unix(), 10), addresses[0]).Output()
		for line := range strings.Lines(string(out)) {
			line = strings.TrimSpace(line)
			if nonce, err := strconv.Atoi(line); err == nil {
				seen = max(seen, nonce)
			} else {
				crashes[line] = true
			}
		}
		if exit := new(exec.ExitError); !errors.As(err, &exit) ||
			!crashes[fmt.Sprintf("*** fail-test %d ***", point)] {
			t.Fatalf("crash point %d: %v\n%s", point, err, out)
		}
	}
	if seen < 3 {
		t.Errorf("only %d deposits before the crashes", seen+1)
	}
	net := newNetwork(t, "crash", 1, 3600, 1, addresses, start)
	n := net.start(t, 0, dir)
	for nonce := range uint64(seen + 1) {
		if _, to := net.deposit(nonce); !funded(to)(n.View()) {
			t.Errorf("deposit %d of %d is lost", nonce, seen+1)
		}
	}
	_, nonce := n.View().Treasury()
	tx, to := net.deposit(nonce)
	if err := n.SubmitTx(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	n.wait(t, "a deposit after all", funded(to))
}
