//go:build linux

package crash

import (
	"bufio"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
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
	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/node/store"
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
	recordedOn(t, name, homes.Options{Configure: configure}, faults)
}

// recordedOn is recorded with other options of the network, too.
func recordedOn(t *testing.T, name string, o homes.Options,
	faults func(context.Context, *Network, *recorder)) {
	dir := os.Getenv("WAYBILL_RECORD")
	if dir == "" {
		t.Skip("WAYBILL_RECORD does not name a folder to record faults in")
	}
	t.Setenv("WAYBILL_RECORD", "") // which commands would take for a setting
	if err := os.Unsetenv("WAYBILL_RECORD"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	o.EpochSeconds, o.GraceSeconds = cmp.Or(o.EpochSeconds, 60), 10
	n := Start(ctx, t, o)
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

// TestRecordCare has what an operator forgets: a certificate that ends, a clock that is 3 s ahead,
// an upgrade that this program does not know, and payers without money, of whom two nodes took
// acks.
func TestRecordCare(t *testing.T) {
	certs := t.TempDir()
	chain, key := filepath.Join(certs, "chain.pem"), filepath.Join(certs, "key.pem")
	var shifted string
	if os.Getenv("WAYBILL_RECORD") != "" {
		shifted = shiftedProgram(t)
		certify(t, chain, key, 24*time.Hour)
	}
	o := homes.Options{Content: true, Allowance: 1 << 50, Configure: func(i int, c *config.Config) {
		if c.Pipeline.Exposure = 1 << 30; i == 0 {
			c.Content.TLSCert, c.Content.TLSKey = chain, key
		}
	}}
	recordedOn(t, "care.txt", o, func(ctx context.Context, n *Network, r *recorder) {
		n.Deserved = append(n.Deserved, "level=")
		right := n.Processes[2].binary
		n.Processes[2].Kill()
		n.Processes[2].binary = shifted
		n.revive(t, 2)
		r.mark("a certificate ends in a day, a clock is 3 s ahead")
		r.run(ctx, t, 30*time.Second)

		t.Setenv("WAYBILL_PASSWORD", n.Password)
		n.plan(ctx, t, 0, "--to", "1000", "--epoch", "100")
		r.mark("an upgrade is planned")
		r.run(ctx, t, 90*time.Second)
		n.plan(ctx, t, 1, "--cancel")
		r.mark("the upgrade is cancelled")
		r.run(ctx, t, 15*time.Second)

		starving, end := context.WithCancel(ctx)
		defer end()
		go n.starve(starving, t)
		r.mark("payers have no money")
		r.run(ctx, t, 485*time.Second)
		end()
		n.Processes[2].Kill()
		n.Processes[2].binary = right
		n.revive(t, 2)
		certify(t, chain, key, 90*24*time.Hour)
		r.mark("the certificate is renewed, the clock is right, nobody asks")
		r.run(ctx, t, 30*time.Second)
		n.Processes[3].Kill()
		n.revive(t, 3)
		r.mark("node 3 was killed, and is back")
		r.run(ctx, t, 350*time.Second)
	})
}

// TestRecordTwin has a home that runs twice.
func TestRecordTwin(t *testing.T) {
	recorded(t, "twin.txt", nil, func(ctx context.Context, n *Network, r *recorder) {
		n.Deserved = append(n.Deserved, "level=")
		r.run(ctx, t, 15*time.Second)
		second := n.twin(ctx, t, 3)
		r.mark("the keys of node 3 run twice")
		r.run(ctx, t, 60*time.Second)
		_ = second.Process.Kill()
		if err := second.Wait(); err == nil || second.ProcessState.Exited() {
			t.Errorf("the second home ended by itself: %v", err)
		}
		r.mark("the second home of node 3 is gone")
		r.run(ctx, t, 180*time.Second)
	})
}

// TestRecordAbsent has a member that follows the chain and does not vote, since its signer is away:
// where the committee rotates, that is absence, once its epoch ends.
func TestRecordAbsent(t *testing.T) {
	recordedOn(t, "absent.txt", homes.Options{Seats: 16, EpochSeconds: 240},
		func(ctx context.Context, n *Network, r *recorder) {
			n.Deserved = append(n.Deserved, "level=")
			const member = 3
			start := n.handKeys(ctx, t, member)
			kill := n.signer(ctx, t, start...)
			n.revive(t, member)
			n.awaitReadyz(ctx, t, member, 200, "ok")
			r.run(ctx, t, 15*time.Second)
			kill()
			r.mark("the signer of node 3 is gone")
			r.run(ctx, t, 190*time.Second)
			n.signer(ctx, t, start...)
			r.mark("it is back")
			r.run(ctx, t, 100*time.Second)
		})
}

// plan has three of four members plan an upgrade, and submits it.
func (n *Network) plan(ctx context.Context, t *testing.T, number int, what ...string) {
	genesis, plan := filepath.Join(n.Dir, "genesis.json"), filepath.Join(n.Dir, "plan.json")
	n.waybill(ctx, t, append([]string{"upgrade", "plan", "--genesis", genesis, "--number",
		fmt.Sprint(number), "--name", "the next one", "--out", plan}, what...)...)
	submit := []string{"upgrade", "submit", "--genesis", genesis, "--node", n.Nodes[0].Ingest}
	for i := range 3 {
		part := filepath.Join(n.Dir, fmt.Sprintf("plan-%d-%d.part", number, i))
		n.waybill(ctx, t, "upgrade", "sign", plan, "--genesis", genesis, "--home", n.Nodes[i].Home,
			"--out", part)
		submit = append(submit, part)
	}
	n.waybill(ctx, t, submit...)
}

// starve has payers with little money use nodes 0 and 1 until the context ends.
func (n *Network) starve(ctx context.Context, t *testing.T) {
	seed := filepath.Join(n.Dir, "seed")
	if err := os.WriteFile(seed, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Error(err)
	}
	for ctx.Err() == nil {
		load := exec.CommandContext(ctx, Binary(t), "replay", "--genesis",
			filepath.Join(n.Dir, "genesis.json"), "--treasury", filepath.Join(n.Dir, "treasury.json"),
			"--password-file", filepath.Join(n.Dir, "password"), "--requests", "200", "--seed-file",
			seed, "--deposit", "1", "--price", "50000000", "--rung1", "100", "--node",
			n.Nodes[0].Ingest, "--node", n.Nodes[1].Ingest)
		if out, err := load.CombinedOutput(); err != nil && ctx.Err() == nil {
			t.Logf("starving: %v: %s", err, out)
		}
		select {
		case <-time.After(10 * time.Second):
		case <-ctx.Done():
		}
	}
}

// twin starts a second process in a copy of a node's home, where the file system does not tell that
// it is one, and where both know all that was signed.
func (n *Network) twin(ctx context.Context, t *testing.T, i int) *exec.Cmd {
	t.Helper()
	home := n.Nodes[i].Home
	twin := home + "-twin"
	n.Processes[i].Kill()
	if out, err := exec.CommandContext(ctx, "cp", "-a", home, twin).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	loaded, err := config.Load(filepath.Join(twin, "config.toml"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	votes := filepath.Dir(committee.SignStateFile(filepath.Join(twin, "consensus")))
	for _, dir := range []string{loaded.Config.Path(loaded.Config.Store.Path), votes} {
		if err := store.MarkPlace(dir); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"start", "--home", twin}
	for _, port := range []string{"ingest", "peer", "consensus", "operator"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		args = append(args, "--set", port+".listen="+l.Addr().String())
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	n.revive(t, i)
	second := exec.CommandContext(ctx, Binary(t), args...)
	second.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if second.Stdout, err = os.Create(twin + ".log"); err != nil {
		t.Fatal(err)
	}
	second.Stderr = second.Stdout
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	return second
}

// certify writes a self-signed pair that is good for so long.
func certify(t *testing.T, chain, key string, valid time.Duration) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()),
		DNSNames: []string{"content.example"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(valid)}
	der, err := x509.CreateCertificate(crand.Reader, leaf, leaf, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{key: {Type: "PRIVATE KEY", Bytes: private},
		chain: {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// spoiltProgram builds the program with a bit of each hash turned.
func spoiltProgram(t *testing.T) string {
	const call = ") {\n\tif l == 16 {"
	return changedProgram(t, change{"../../kernels/sha256/sha256_amd64.go", call,
		") {\n\tdefer func() { *out ^= 1 }()\n\tif l == 16 {"})
}

// shiftedProgram builds the program as it runs where the clock is 3 s ahead, as far as the chain
// has to do with it: what its votes say, and what it measures.
func shiftedProgram(t *testing.T) string {
	const module = "github.com/cometbft/cometbft"
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	engine := filepath.Join(t.TempDir(), "engine") // what modules are kept in cannot be overlaid
	if err := os.CopyFS(engine, os.DirFS(strings.TrimSpace(string(out)))); err != nil {
		t.Fatal(err)
	}
	const now, shifted = "time.Now())", "time.Now().Add(3 * time.Second))"
	clock := filepath.Join(engine, "types/time/time.go")
	source, err := os.ReadFile(clock)
	if err != nil || !strings.Contains(string(source), now) {
		t.Fatalf("%s: %v", clock, err)
	}
	if err := os.WriteFile(clock, []byte(strings.Replace(string(source), now, shifted, 1)),
		0o600); err != nil {
		t.Fatal(err)
	}
	return changedProgram(t,
		change{"../../go.mod", "\nrequire (", "\nreplace " + module + " => " + engine + "\nrequire ("},
		change{"../../node/committee/app.go", "a.live, " + now, "a.live, " + shifted})
}

// change is of a file of source.
type change struct{ name, text, by string }

// changedProgram builds the program from sources that are not as they are in the tree.
func changedProgram(t *testing.T, changes ...change) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for i, c := range changes {
		source, err := os.ReadFile(c.name)
		if err != nil {
			t.Fatal(err)
		}
		spoilt := strings.Replace(string(source), c.text, c.by, 1)
		if spoilt == string(source) {
			t.Fatalf("%s has no %q", c.name, c.text)
		}
		at, err := filepath.Abs(c.name)
		if err != nil {
			t.Fatal(err)
		}
		replace[at] = filepath.Join(dir, fmt.Sprintf("changed%d.go", i))
		if err := os.WriteFile(replace[at], []byte(spoilt), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "waybill")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-overlay", file, "-o", binary, "../../cmd/waybill")
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
		if strings.HasSuffix(name, "_time_seconds") ||
			strings.HasSuffix(name, "_timestamp_seconds") { // in the tests' time the recording begins at 0
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
