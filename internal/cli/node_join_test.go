package cli

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/telemetry"
)

// freePorts returns the first of many ports that are free, most likely for as long as a test runs.
func freePorts(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port + 1)
}

func (n *network) networkID(t *testing.T) string {
	t.Helper()
	var s nodeStanding
	if err := json.Unmarshal([]byte(must(t, "node", "status", "--json", "--node", n.url)),
		&s); err != nil {
		t.Fatal(err)
	}
	return s.Node.Network
}

// long skips a test that takes a minute unless JOIN is set, which is no setting of a node.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("JOIN") == "" {
		t.Skip("it takes a minute: make join")
	}
}

// TestJoin takes a node from nothing into a network whose committee stays, stopped after each step
// that can stop it.
func TestJoin(t *testing.T) {
	long(t)
	n := newNetwork(t, "3600")
	stop := n.start(t)
	defer stop()
	home, base := filepath.Join(n.dir, "new"), freePorts(t)
	id := n.networkID(t)
	join := func(more ...string) []string {
		return append([]string{"node", "join", "--home", home, "--genesis", n.genesis, "--network", id,
			"--node", n.url, "--host", "127.0.0.1", "--base-port", base}, more...)
	}
	fails(t, 3, "and not of", join("--network", strings.Repeat("0", 64))...)
	if _, err := os.Stat(home); err == nil {
		t.Error("a home of another network was written")
	}
	fails(t, 1, "the owner's account has 0.000000 credits, and the stake is 1.000000", join()...)
	owner := publicKey(t, filepath.Join(home, "keys", "owner.json"))
	must(t, "tx", "deposit", owner, "5", "--key", n.treasury, "--node", n.url)
	fails(t, 1, "run this again", join("--wait", "1ms")...)
	joined := &network{dir: n.dir, home: home, url: "http://127.0.0.1:" + base}
	defer joined.start(t)()
	out := must(t, join()...)
	for _, want := range []string{"home       done before", "sync       in step",
		"register   done before: node 1 of account", "stand      nothing to do"} {
		if !strings.Contains(out, want) {
			t.Errorf("it lacks %q:\n%s", want, out)
		}
	}
}

// TestJoinSeats has a seventh node join six that share sixteen seats, and waits until it has one.
func TestJoinSeats(t *testing.T) {
	long(t)
	n := rotatingNetwork(t, 6)
	home, base := filepath.Join(n.dir, "new"), freePorts(t)
	join := []string{"node", "join", "--home", home, "--genesis", n.genesis, "--network",
		n.networkID(t), "--node", n.url, "--host", "127.0.0.1", "--base-port", base}
	fails(t, 1, "the stake is 100.000000", join...)
	must(t, "tx", "deposit", publicKey(t, filepath.Join(home, "keys", "owner.json")), "150", "--key",
		n.treasury, "--node", n.url)
	n.waitForSnapshot(t)
	code, out, errOut := cli(t, append(join, "--wait", "1ms", "--from", "http://127.0.0.1:1")...)
	for _, want := range []string{"snapshot   of block ", "snapshot   fetched and checked",
		"snapshot   restored in ", "http://127.0.0.1:1 is not asked"} {
		if !strings.Contains(out, want) {
			t.Errorf("it lacks %q:\n%s", want, out)
		}
	}
	if code != 1 || !strings.Contains(errOut, "run this again") {
		t.Errorf("%d: %s", code, errOut)
	}
	t.Log(out)
	joined := &network{dir: n.dir, home: home, url: "http://127.0.0.1:" + base}
	defer joined.start(t)()
	out = must(t, join...)
	for _, want := range []string{"node 6 is a candidate from epoch ",
		"snapshot   left out: the node runs"} {
		if !strings.Contains(out, want) {
			t.Errorf("it lacks %q:\n%s", want, out)
		}
	}
	status := func() (r *telemetry.Rotation) {
		var s nodeStanding
		if err := json.Unmarshal([]byte(must(t, "node", "status", "--json", "--node", joined.url)),
			&s); err != nil {
			t.Fatal(err)
		}
		return s.Rotation
	}
	for deadline := time.Now().Add(5 * time.Minute); status().Held == 0; time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("it has no seat: %+v", status())
		}
	}
	if out := must(t, join...); !strings.Contains(out, "stand      done before: it is candidate") {
		t.Error(out)
	}
}

// waitForSnapshot waits until the network's node has a snapshot that a committee signed.
func (n *network) waitForSnapshot(t *testing.T) {
	t.Helper()
	c, err := client.New(client.Config{URL: n.url})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Second) {
		res, err := client.Call(t.Context(), c.Ledger().GetSnapshots, &api.GetSnapshotsRequest{})
		if err == nil && len(res.Snapshots) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no snapshot: %v", err)
		}
	}
}

// rotatingNetwork runs a devnet whose committee rotates until the test ends.
func rotatingNetwork(t *testing.T, nodes int) *network {
	t.Helper()
	base := freePorts(t)
	n := &network{dir: filepath.Join(t.TempDir(), "net"), url: "http://127.0.0.1:" + base}
	n.genesis = filepath.Join(n.dir, "genesis.json")
	n.treasury = filepath.Join(n.dir, "treasury.json")
	ended := make(chan string, 1)
	go func() {
		_, out, errOut := cliContext(t.Context(), "devnet", "--nodes", strconv.Itoa(nodes), "--seats",
			"16", "--epoch", "20", "--base-port", base, "--dir", n.dir)
		ended <- out + errOut
	}()
	t.Cleanup(func() { <-ended }) // the context of the test has ended by then
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if code, _, _ := cli(t, "status", "--node", n.url); code == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the network does not start")
		}
	}
	t.Setenv("WAYBILL_PASSWORD", strings.TrimSpace(read(t, filepath.Join(n.dir, "password"))))
	return n
}
