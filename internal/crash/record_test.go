//go:build linux

package crash

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/rollup"
)

// scrapes is the time between two, as the recorded series have it.
const scrapes = 5 * time.Second

// recorder collects what a Prometheus that watches the nodes would have seen.
type recorder struct {
	wanted *regexp.Regexp
	began  time.Time
	urls   []string
	series map[string][]string // values by series, "_" where there is none
	times  int
	marks  []string
}

// recorded starts a network and records while the faults happen to it, into a file for the tests of
// the alert rules. It takes minutes and is run when the rules need it: WAYBILL_RECORD names the
// folder, relative to this package.
func recorded(t *testing.T, name string, configure func(int, *config.Config),
	faults func(context.Context, *Network, *recorder)) {
	dir := os.Getenv("WAYBILL_RECORD")
	if dir == "" {
		t.Skip("WAYBILL_RECORD does not name a folder to record faults in")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	n := Start(ctx, t, homes.Options{EpochSeconds: 60, GraceSeconds: 10, Configure: configure})
	n.Deserved = []string{"WARN"}
	r := newRecorder(t, n)
	faults(ctx, n, r)
	if err := os.WriteFile(filepath.Join(dir, name), []byte(r.text()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestRecordFaults has a node without disk space from the start on, a member that is gone, half of
// the committee gone, and all of it back.
func TestRecordFaults(t *testing.T) {
	noSpace := func(i int, c *config.Config) {
		if i == 1 {
			c.Store.MinFree = 1 << 40 // more than there is
		}
	}
	recorded(t, "faults.txt", noSpace, func(ctx context.Context, n *Network, r *recorder) {
		r.run(ctx, t, time.Minute)
		n.load(ctx, t)
		r.mark("load")
		r.run(ctx, t, 30*time.Second)
		n.Processes[3].Kill()
		r.mark("member 3 is gone")
		r.run(ctx, t, 3*time.Minute)
		n.Processes[2].Kill()
		r.mark("member 2 is gone: no quorum")
		r.run(ctx, t, 2*time.Minute)
		n.revive(t, 2, 3)
		r.mark("both are back")
		r.run(ctx, t, 90*time.Second)
	})
}

// TestRecordBacklog has strangers at a node's door, and a committee that is gone while windows wait
// for it.
func TestRecordBacklog(t *testing.T) {
	recorded(t, "backlog.txt", nil, func(ctx context.Context, n *Network, r *recorder) {
		r.run(ctx, t, 10*time.Second)
		n.load(ctx, t)
		n.Processes[2].Kill()
		n.Processes[3].Kill()
		strangers, end := context.WithCancel(ctx)
		defer end()
		go n.strangers(strangers)
		r.mark("no quorum, and strangers come")
		r.run(ctx, t, 110*time.Second)
		end()
		r.mark("strangers go")
		r.run(ctx, t, 140*time.Second)
		n.revive(t, 2, 3)
		r.mark("both are back")
		r.run(ctx, t, 40*time.Second)
	})
}

// TestRecordWrongs has a node that makes two rollups of one window, a node that sleeps through the
// end of an epoch with acks in its window, the evidence of a false proof in a home, and an epoch
// that no block ends.
func TestRecordWrongs(t *testing.T) {
	recorded(t, "wrongs.txt", nil, func(ctx context.Context, n *Network, r *recorder) {
		n.Deserved = append(n.Deserved, "pushed two valid rollups", "it is accused on chain",
			"window is stuck", "refuses a rollup for good")
		r.run(ctx, t, 15*time.Second)
		p, err := n.Register(ctx, 3, 6)
		if err != nil {
			t.Fatal(err)
		}
		members, key := n.Impostor(t, 0), rollup.WindowKey{Window: 1_000_000}
		for _, what := range []string{"first", "second"} {
			// The second is refused, as it should be.
			_, _ = n.push(ctx, members, 2, n.seal(t, p, key, 20, what))
		}
		n.awaitConvicted(ctx, t, 0, 1)
		r.mark("node 0 is convicted")
		r.run(ctx, t, 15*time.Second)

		n.load(ctx, t)
		n.signal(t, 0, syscall.SIGSTOP)
		r.mark("node 0 sleeps")
		r.run(ctx, t, 100*time.Second)
		n.signal(t, 0, syscall.SIGCONT)
		r.mark("node 0 wakes up")
		r.run(ctx, t, 70*time.Second)

		alarms := filepath.Join(n.Nodes[1].Home, "alarms")
		if err := os.MkdirAll(alarms, 0o700); err != nil {
			t.Fatal(err)
		}
		evidence := filepath.Join(alarms, "false-proof-0-0-0-0.json")
		if err := os.WriteFile(evidence, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		r.mark("a proof is false")
		r.run(ctx, t, 15*time.Second)
		if err := os.Remove(evidence); err != nil {
			t.Fatal(err)
		}
		n.Processes[2].Kill()
		n.Processes[3].Kill()
		r.mark("no quorum: no block ends the epoch")
		r.run(ctx, t, 270*time.Second)
		n.revive(t, 2, 3)
		r.mark("both are back")
		r.run(ctx, t, 30*time.Second)
	})
}

// TestRecordKernel has a program whose vector kernels of SHA-256 give wrong results, as on a
// machine that is broken.
func TestRecordKernel(t *testing.T) {
	if os.Getenv("WAYBILL_RECORD") != "" {
		t.Setenv("WAYBILL", spoiltProgram(t))
	}
	recorded(t, "kernel.txt", nil, func(ctx context.Context, _ *Network, r *recorder) {
		r.mark("the kernel is wrong from the start on")
		r.run(ctx, t, 20*time.Second)
	})
}

// spoiltProgram builds the program with a bit of each hash turned.
func spoiltProgram(t *testing.T) string {
	t.Helper()
	const name, call = "../../kernels/sha256/sha256_amd64.go", ") {\n\tif l == 16 {"
	source, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const wrong = ") {\n\tdefer func() { *out ^= 1 }()\n\tif l == 16 {"
	spoilt := strings.Replace(string(source), call, wrong, 1)
	if spoilt == string(source) {
		t.Fatalf("%s has no %q", name, call)
	}
	dir := t.TempDir()
	at, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{
		"Replace": map[string]string{at: filepath.Join(dir, "spoilt.go")}})
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{"spoilt.go": spoilt,
		"overlay.json": string(overlay)} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "waybill")
	build := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary,
		"../../cmd/waybill")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// signal sends a signal to a node.
func (n *Network) signal(t *testing.T, i int, s syscall.Signal) {
	if err := n.Processes[i].Signal(s); err != nil {
		t.Fatal(err)
	}
}

// load has some clients of node 0 acknowledge what they got.
func (n *Network) load(ctx context.Context, t *testing.T) {
	load := exec.CommandContext(ctx, Binary(t), "replay", "--genesis",
		filepath.Join(n.Dir, "genesis.json"), "--treasury", filepath.Join(n.Dir, "treasury.json"),
		"--password-file", filepath.Join(n.Dir, "password"), "--requests", "500", "--node",
		n.Nodes[0].Ingest)
	if out, err := load.CombinedOutput(); err != nil {
		t.Logf("load: %v: %s", err, out)
	}
}

func (n *Network) revive(t *testing.T, nodes ...int) {
	for _, i := range nodes {
		if err := n.Processes[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
}

// strangers offer acks of clients that do not exist to node 0, some twenty a second.
func (n *Network) strangers(ctx context.Context) {
	ack := &api.Ack{Network: n.ID.String(), Node: 0, Client: 1 << 30, Service: 1, Units: 1,
		Request: strings.Repeat("00", 32), Signature: strings.Repeat("00", 48)}
	for ctx.Err() == nil {
		// It is refused, as it should be.
		_, _ = client.Call(ctx, n.Clients[0].Ingest().SubmitAck, &api.SubmitAckRequest{Ack: ack})
		select {
		case <-time.After(poll):
		case <-ctx.Done():
		}
	}
}

func newRecorder(t *testing.T, n *Network) *recorder {
	t.Helper()
	rules, err := os.ReadFile("../package/assets/watch/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\bwaybill_[a-z_]+`).FindAllString(string(rules), -1)
	r := &recorder{series: map[string][]string{}, began: time.Now(),
		wanted: regexp.MustCompile(`^(` + strings.Join(names, "|") + `)(\{.*\})? `)}
	for _, node := range n.Nodes {
		r.urls = append(r.urls, node.Operator)
	}
	return r
}

func (r *recorder) mark(what string) {
	r.marks = append(r.marks, fmt.Sprintf("# %ds %s\n", r.times*int(scrapes/time.Second), what))
}

func (r *recorder) run(ctx context.Context, t *testing.T, span time.Duration) {
	t.Helper()
	ticker := time.NewTicker(scrapes)
	defer ticker.Stop()
	for range int(span / scrapes) {
		for i, url := range r.urls {
			r.scrape(ctx, i, url)
		}
		r.times++
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
}

func (r *recorder) scrape(ctx context.Context, node int, url string) {
	ctx, cancel := context.WithTimeout(ctx, scrapes/2)
	defer cancel()
	instance := fmt.Sprintf(`instance="node%d",job="waybill"`, node)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		panic(err) // the address is a node's
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.note("up{"+instance+"}", "0")
		return
	}
	defer answer.Body.Close()
	r.note("up{"+instance+"}", "1")
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if !r.wanted.MatchString(lines.Text()) {
			continue
		}
		name, value, _ := strings.Cut(lines.Text(), " ")
		name, labels, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
		if labels != "" {
			labels += ","
		}
		if strings.HasSuffix(name, "_time_seconds") { // in the tests' time the recording begins at 0
			at, err := strconv.ParseFloat(value, 64)
			if err != nil {
				panic(err) // the format is a node's
			}
			value = fmt.Sprintf("%.1f", at-float64(r.began.UnixMilli())/1000)
		}
		r.note(name+"{"+labels+instance+"}", value)
	}
}

func (r *recorder) note(series, value string) {
	values := r.series[series]
	for len(values) < r.times {
		values = append(values, "_")
	}
	r.series[series] = append(values, value)
}

// text has a series a line, with values that last written once: 1x5 stands for 1 five times more.
func (r *recorder) text() string {
	var b strings.Builder
	b.WriteString("# every " + scrapes.String() + "\n" + strings.Join(r.marks, ""))
	var lines []string
	for series, values := range r.series {
		for len(values) < r.times {
			values = append(values, "_")
		}
		lines = append(lines, series+"\t"+strings.Join(packed(values), " ")+"\n")
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(lines, ""))
	return b.String()
}

func packed(values []string) (runs []string) {
	for i := 0; i < len(values); {
		j := i + 1
		for j < len(values) && values[j] == values[i] {
			j++
		}
		run := values[i]
		if j-i > 1 {
			run += fmt.Sprintf("x%d", j-i-1)
		}
		if values[i] == "_" && j-i > 1 {
			run = fmt.Sprintf("_x%d", j-i)
		}
		runs, i = append(runs, run), j
	}
	return runs
}
