package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/internal/mainjob"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/internal/verdict"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/word"
)

// judged is what a test reads of a verdict.
type judged struct {
	File, Summary string
	Holds, Judged bool
}

// network is a network of one node, as an operator would have it.
type network struct {
	dir, home, url             string
	genesis, treasury, account string
}

func newNetwork(t *testing.T, epoch string) *network {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "net")
	var info testnetInfo
	if err := json.Unmarshal([]byte(must(t, "testnet", "--dir", dir, "--nodes", "1", "--base-port",
		"0", "--epoch", epoch, "--grace", "3", "--json")), &info); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WAYBILL_PASSWORD", strings.TrimSpace(read(t, filepath.Join(dir, "password"))))
	return &network{dir, info.Nodes[0].Home, info.Nodes[0].Ingest, info.Genesis, info.Treasury,
		publicKey(t, info.Treasury)}
}

// start runs the node until the returned function is called, which checks that it ends well.
func (n *network) start(t *testing.T, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	type result struct {
		code   int
		errOut string
	}
	ended := make(chan result, 1)
	go func() {
		code, _, errOut := cliContext(ctx, append([]string{"start", "--home", n.home}, args...)...)
		ended <- result{code, errOut}
	}()
	deadline := time.Now().Add(30 * time.Second)
	for {
		if code, _, _ := cli(t, "status", "--node", n.url); code == 0 {
			break
		}
		select {
		case r := <-ended:
			cancel()
			t.Fatalf("the node ended with %d: %s", r.code, r.errOut)
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			cancel()
			t.Fatal("the node does not start:", (<-ended).errOut)
		}
	}
	return func() {
		t.Helper()
		cancel()
		if r := <-ended; r.code != 0 || !strings.Contains(r.errOut, "stopped") {
			t.Errorf("an interrupted node ends with %d: %s", r.code, r.errOut)
		}
	}
}

// convict has the node convicted by two words that its own key says, from bare evidence and from a
// file of type 7.
func (n *network) convict(t *testing.T, node []string) {
	t.Helper()
	key, err := keys.LoadEd25519(filepath.Join(n.home, "keys", "transport.json"),
		[]byte(os.Getenv("WAYBILL_PASSWORD")))
	if err != nil {
		t.Fatal(err)
	}
	genesis, err := ledger.ParseGenesis([]byte(read(t, n.genesis)))
	if err != nil {
		t.Fatal(err)
	}
	id := genesis.Network()
	evidence := func(window uint32) word.Evidence {
		var words [2]word.Own
		var signatures [2]word.Signature
		for i := range words {
			words[i] = word.Own{Window: window, Rollup: rollup.Hash{byte(i)}}
			signatures[i] = word.Sign(&id, key, words[i])
		}
		return word.NewTwoRollups(words, signatures)
	}
	with := func(args ...string) []string { return append(args, node...) }
	bare := write(t, filepath.Join(n.dir, "bare"), string(word.Append(nil, evidence(70))))
	lie := (&word.File{Network: id, Evidence: evidence(71)}).Append(nil)
	file := write(t, filepath.Join(n.dir, "lie.wbx"), string(lie))
	must(t, "verify", "--genesis", n.genesis, file)
	if out := must(t, with("tx", "evidence", bare)...); !strings.Contains(out,
		"node 0 is convicted: it lost 50.000000 of its stake, and has 50.000000 left") {
		t.Error(out)
	}
	fails(t, 1, "already_convicted", with("tx", "evidence", bare)...)
	if out := must(t, with("status")...); !strings.Contains(out,
		"node 0 was convicted 1 time by its own words") {
		t.Error(out)
	}
	fails(t, 2, "names no network", "tx", "evidence", bare, "--out", file+".hex")
	must(t, "tx", "evidence", bare, "--out", file+".hex", "--genesis", n.genesis)
	must(t, "tx", "evidence", file, "--out", file+".hex")
	if out := must(t, "tx", "show", file+".hex"); !strings.Contains(out, `"two rollups of a window"`) {
		t.Error(out)
	}
	if out := must(t, with("tx", "send", file+".hex", "--json")...); !strings.Contains(out,
		`"taken": "25000000"`) {
		t.Error(out)
	}
	fails(t, 1, "already_convicted", with("tx", "evidence", file)...)
	offers := write(t, filepath.Join(n.dir, "offers"), string(word.Append(nil, &word.TwoOffers{
		Roots: [2]rollup.Hash{{}, {1}}})))
	fails(t, 1, "convicts nobody on chain", with("tx", "evidence", offers)...)
	fails(t, 1, "no evidence of lie", with("tx", "evidence", n.genesis)...)
}

// post asks as curl does. JSON of messages has spaces at random.
func post(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Post(url, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(body), " ", "")
}

// payer reads what a payer's page shows of an epoch, and checks the files that it links to.
func (n *network) payer(t *testing.T, epoch uint32) {
	t.Helper()
	loaded, err := config.Load(filepath.Join(n.home, "config.toml"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	at, dir := "http://"+loaded.Config.Operator.Listen, t.TempDir()
	get := func(path ...any) (status int, body string) {
		t.Helper()
		response, err := http.Get(at + fmt.Sprint(path...))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		b, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(b)
	}
	check := func(name, body string) {
		t.Helper()
		must(t, "verify", "--genesis", n.genesis, write(t, filepath.Join(dir, name), body))
	}
	for payer := range 64 {
		var p struct {
			Key    string `json:"key"`
			Epochs []struct {
				Epoch   uint32 `json:"epoch"`
				Signed  bool   `json:"signed"`
				Charges []struct {
					Paid uint64 `json:"paid,string"`
				} `json:"charges"`
			} `json:"epochs"`
		}
		if status, body := get("/api/payer/", payer); status != 200 {
			break
		} else if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Epochs {
			if e.Epoch != epoch || !e.Signed {
				continue
			}
			paid := uint64(0)
			for _, c := range e.Charges {
				paid += c.Paid
			}
			for _, kind := range []string{"csv", "json"} {
				_, body := get("/api/invoice/", payer, "/", epoch, ".", kind)
				check("invoice."+kind, body)
				if kind == "csv" && !strings.Contains(body, fmt.Sprint(",", paid)) {
					t.Errorf("the page says %d, the invoice %s", paid, body)
				}
			}
			_, body := get("/api/settlement/", epoch, ".wbx")
			check("settlement.wbx", body)
			if status, _ := get("/payer/", p.Key); status != 200 {
				t.Errorf("the payer's page: %d", status)
			}
			return
		}
	}
	t.Errorf("no payer was charged in epoch %d", epoch)
}

// fill puts content into the store of the node that runs, looks at it, and takes it out.
func (n *network) fill(t *testing.T) {
	t.Helper()
	home := "--home=" + n.home
	film := write(t, filepath.Join(n.dir, "film"), strings.Repeat("moving pictures ", 5000))
	root, _, _ := strings.Cut(must(t, "content", "add", home, "--pin", film), " ")
	out := must(t, "content", "ls", home)
	if !strings.Contains(out, root) || !strings.Contains(out, "78.4 KiB of it pinned") {
		t.Error(out)
	}
	if out := must(t, "content", "get", home, root); out != read(t, film) {
		t.Errorf("%d bytes", len(out))
	}
	must(t, "content", "scan", home)
	fails(t, 1, "take the pin back first", "content", "rm", home, root)
	fails(t, 1, "not those of this root", "content", "add", home, "--root",
		strings.Repeat("ab", 32), film)
	fails(t, 2, "settings of a node that runs", "content", "ls", home, "--max-bytes", "9")
	must(t, "content", "private", home, "--payers", "4", root)
	if out := must(t, "content", "ls", home); !strings.Contains(out, "pinned, for clients of 4") {
		t.Error(out)
	}
	must(t, "content", "public", home, root)
	must(t, "content", "purge", home, root)
	fails(t, 1, "content ls shows", "content", "get", home, root)
}

// closedPort is where nobody listens.
const closedPort = "http://127.0.0.1:1"

// TestOperator does with one node what an operator does, command by command.
func TestOperator(t *testing.T) {
	n := newNetwork(t, "4")
	node := []string{"--node", n.url}
	with := func(args ...string) []string { return append(args, node...) }
	m := newManager(t)
	stop := n.start(t)
	defer func() { stop() }()
	said := m.until(t, "READY=1")
	m.Close()
	if !slices.Contains(said, "STATUS=starting") || !slices.Contains(said, "STATUS=ready") {
		t.Errorf("the service manager heard %q", said)
	}

	if out := must(t, with("status")...); !strings.Contains(out, "yes, takes acks") ||
		!strings.Contains(out, "refused a second in the last") {
		t.Error(out)
	}
	if out := post(t, n.url+"/waybill.v1.LedgerService/GetNodes"); !strings.Contains(out,
		`"index":0`) {
		t.Errorf("node 0 in JSON: %s", out)
	}
	payer := filepath.Join(n.dir, "payer.json")
	must(t, "keys", "new", "--light", payer)
	key := publicKey(t, payer)
	fails(t, 1, "has no account yet", with("tx", "transfer", key, "1", "--key", payer)...)
	must(t, with("tx", "deposit", key, "5", "--key", n.treasury)...)
	fails(t, 1, "the ledger refuses the transaction: insufficient_balance",
		with("tx", "transfer", n.account, "6", "--key", payer)...)
	file := filepath.Join(n.dir, "transfer.hex")
	must(t, with("tx", "transfer", n.account, "1", "--key", payer, "--out", file)...)
	must(t, with("tx", "send", file)...)
	fails(t, 1, "bad_nonce", with("tx", "send", file)...)
	fails(t, 1, "does not answer: connection refused", "tx", "send", file, "--node",
		closedPort)
	out := must(t, with("tx", "register-service", "byte", "--key", payer)...)
	if !strings.Contains(out, "service 0: byte") {
		t.Error(out)
	}
	if out := must(t, with("tx", "register-service", "minute", "--json", "--key",
		payer)...); !strings.Contains(out, `"index": 1,`) {
		t.Error(out)
	}
	client := filepath.Join(n.dir, "client.json")
	must(t, "keys", "new", "--light", "--kind", "bls12-381", client)
	grants := with("tx", "grants", client, "--service", "0,1", "--key", payer)
	if out = must(t, grants...); !strings.Contains(out, "client 0: ") {
		t.Error(out)
	}
	fails(t, 1, "key_taken", grants...)
	n.bounds(t, node, payer, key)
	n.stakes(t, node, payer, key)
	n.convict(t, node)
	n.grantByProof(t, payer)
	accepted := n.shell(t, client)
	must(t, with("tx", "revoke", "0", "--key", payer)...)
	fails(t, 1, "unknown_client", with("tx", "revoke", "17", "--key", payer)...)
	fails(t, 1, "store: ", "start", "--home", n.home) // it runs already

	seed := write(t, filepath.Join(n.dir, "seed.hex"), strings.Repeat("5a", 32))
	var done mainjob.Delivered
	args := with("replay", "--genesis", n.genesis, "--treasury", n.treasury, "--seed-file", seed,
		"--requests", "40", "--json")
	for range 2 { // the second run finds its parties registered, and its acks are others
		if err := json.Unmarshal([]byte(must(t, args...)), &done); err != nil ||
			done.Accepted != 40 {
			t.Fatalf("%+v, %v", done, err)
		}
	}
	// What was for a node that is not there has no answer, whatever the other one accepted.
	fails(t, exitUnanswered, "for "+closedPort+" without an answer", with("replay", "--genesis",
		n.genesis, "--treasury", n.treasury, "--seed-file", seed, "--requests", "40", "--patience",
		"200ms", "--node", closedPort)...)
	before := must(t, with("events", "--from", "1", "--once", "--json")...)
	if n := strings.Count(before, "\n"); n < 10 || !strings.Contains(before, `"kind":"charged"`) {
		t.Errorf("%d events:\n%s", n, before)
	}
	fails(t, 2, "want a height, or a height and an index", with("events", "--from", "1.x")...)
	fails(t, 1, "there is no kind", with("events", "--kind", "chraged", "--once")...)
	stop()
	// what was accepted is there again
	stop = n.start(t, "--set", "pipeline.window_age=1s", "--set", "pipeline.tail=100ms",
		"--set", "content.listen=127.0.0.1:0")
	n.fill(t)
	epoch := n.awaitSettled(t, 80+accepted)
	after := must(t, with("events", "--from", "1", "--once", "--json")...)
	if !strings.HasPrefix(after, before) || !strings.Contains(after, `"kind":"settled"`) {
		t.Errorf("events are others after a restart:\n%s\nand before:\n%s", after, before)
	}

	dir := t.TempDir()
	settlement := filepath.Join(dir, "settlement.wbx")
	must(t, with("export", "settlement", fmt.Sprint(epoch), "--out", settlement)...)
	fails(t, 1, "answers: ", with("export", "settlement", "4000000")...)
	fails(t, 1, "answers: ", with("export", "ack", "0", "0", "77", "0", "0", "0")...)
	n.verify(t, settlement)
	n.invoice(t, after, epoch)
	n.payer(t, epoch)
}

// invoice takes the invoice of a payer whose payment in an epoch is among events, and has it
// verified.
func (n *network) invoice(t *testing.T, events string, epoch uint32) {
	t.Helper()
	var paid struct {
		Kind         string
		Epoch, Payer uint32
		Paid         uint64 `json:",string"`
	}
	for line := range strings.Lines(events) {
		if err := json.Unmarshal([]byte(line), &paid); err != nil {
			t.Fatal(line, err)
		}
		if paid.Kind == "paid" && paid.Epoch == epoch {
			break
		}
		paid.Kind = ""
	}
	if paid.Kind == "" {
		t.Fatalf("nobody paid in epoch %d:\n%s", epoch, events)
	}
	of := []string{"invoice", fmt.Sprint(paid.Payer), fmt.Sprint(epoch), "--node", n.url}
	for name, total := range map[string]string{"invoice.csv": ",%d,\nproof,",
		"invoice.json": `"paid":"%d"},` + "\n"} {
		file := filepath.Join(t.TempDir(), name)
		must(t, append(of, "--out", file)...)
		if out := must(t, "verify", "--genesis", n.genesis, file); !strings.Contains(out,
			name+": holds: ") {
			t.Error(out)
		}
		content := read(t, file)
		if !strings.Contains(content, fmt.Sprintf(total, paid.Paid)) {
			t.Errorf("no word of %d:\n%.2000s", paid.Paid, content)
		}
		lie := strings.Replace(content, fmt.Sprintf(total, paid.Paid),
			fmt.Sprintf(total, paid.Paid+1), 1)
		fails(t, 1, "DOES NOT HOLD", "verify", "--genesis", n.genesis,
			write(t, filepath.Join(t.TempDir(), name), lie))
	}
	fails(t, 1, "", "invoice", "4000000", fmt.Sprint(epoch), "--node", n.url)
	fails(t, 2, "want a number below 2^32", "invoice", "x", "0", "--node", n.url)
}

// grantByProof has a payer make a client of somebody who shows it a proof and no secret.
func (n *network) grantByProof(t *testing.T, payer string) {
	t.Helper()
	client, proof := filepath.Join(n.dir, "other.json"), filepath.Join(n.dir, "other.proof")
	must(t, "keys", "new", "--light", "--kind", "bls12-381", client)
	prove := []string{"keys", "prove", client, "--genesis", n.genesis, "--out", proof, "--payer"}
	grant := []string{"tx", "grants", proof, "--service", "1", "--numbers", "7", "--key", payer,
		"--node", n.url}
	must(t, append(prove, n.account)...)
	fails(t, 1, "bad_proof", grant...) // it was made for another payer
	must(t, append(prove, publicKey(t, payer))...)
	file := filepath.Join(n.dir, "grants.hex")
	must(t, append(grant, "--out", file)...)
	out := must(t, "tx", "send", file, "--node", n.url)
	if !strings.Contains(out, "client 1: "+publicKey(t, client)[:8]) {
		t.Error(out)
	}
}

// awaitSettled waits until settlements hold as many acks, and returns an epoch that has some.
func (n *network) awaitSettled(t *testing.T, want uint64) (epoch uint32) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		var s nodeStatus
		if err := json.Unmarshal([]byte(must(t, "status", "--json", "--node", n.url)),
			&s); err != nil {
			t.Fatal(err)
		}
		var acks uint64
		for _, settled := range s.Settlements {
			if settled.Certified && settled.Acks > 0 {
				epoch, acks = settled.Epoch, acks+settled.Acks
			}
		}
		if acks == want {
			return epoch
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d acks settled: %+v", acks, want, s.Settlements)
		}
	}
}

// verify checks verdicts and exit codes over good and bad files.
func (n *network) verify(t *testing.T, good string) {
	t.Helper()
	check := []string{"verify", "--genesis", n.genesis}
	if out := must(t, append(check, good)...); !strings.Contains(out, "settlement.wbx: holds: ") ||
		strings.Count(out, "\n") != 4 {
		t.Error(out)
	}
	file := []byte(read(t, good))
	changed := func(at int) string {
		mutated := bytes.Clone(file)
		mutated[at] ^= 1
		return write(t, filepath.Join(t.TempDir(), "changed.wbx"), string(mutated))
	}
	lies, foreign := changed(len(file)-1), changed(0)
	fails(t, 1, "DOES NOT HOLD", append(check, lies)...)
	fails(t, 1, "DOES NOT HOLD", append(check, changed(len(file)/2))...)
	fails(t, 3, "CANNOT BE JUDGED: is no export", append(check, foreign)...)
	fails(t, 3, "at byte 8: rollup: another network", append(check, changed(9))...)
	short := write(t, filepath.Join(t.TempDir(), "short.wbx"), string(file[:20]))
	fails(t, 3, "CANNOT BE JUDGED: export: at byte 8", append(check, short)...)
	fails(t, 3, "cannot be read: no such file", append(check, good, good+".nosuch")...)
	fails(t, 1, "cannot be read: no such file", append(check, good+".nosuch", lies, foreign)...)
	n.codes(t, good, lies, short)
	other := filepath.Join(t.TempDir(), "other")
	must(t, "testnet", "--dir", other, "--nodes", "1")
	otherGenesis := filepath.Join(other, "genesis.json")
	g, err := readGenesis(otherGenesis)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := readGenesis(n.genesis)
	if err != nil {
		t.Fatal(err)
	}
	suspected := "is this the right genesis file? It is that of network " + g.Network().String() +
		", and the file is of network " + mine.Network().String()
	fails(t, 3, suspected, "verify", "--genesis", otherGenesis, good)
	torn := write(t, filepath.Join(t.TempDir(), "torn.wbx"), string(file[:len(file)/2]))
	fails(t, 3, suspected, "verify", "--genesis", otherGenesis, torn)
	fails(t, 3, fmt.Sprintf("\"networks\": {\n      \"file\": %q,\n      \"genesis\": %q\n    }",
		mine.Network(), g.Network()), "verify", "--json", "--genesis", otherGenesis, good)
	fails(t, 3, "genesis file", "verify", "--genesis", good, good)
	fails(t, 3, "no such file", "verify", "--genesis", good+".nosuch", good)
}

// TestDoctorHome breaks a home in every way that doctor knows.
func TestDoctorHome(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	must(t, "testnet", "--dir", dir, "--nodes", "2", "--base-port", "0")
	home := func(i int, parts ...string) string {
		return filepath.Join(append([]string{dir, fmt.Sprintf("node%d", i)}, parts...)...)
	}
	var d diagnosis
	if err := json.Unmarshal([]byte(must(t, "doctor", "--home", home(0), "--json")),
		&d); err != nil {
		t.Fatal(err)
	}
	if len(d.Settings) != len(config.Fields()) {
		t.Errorf("%d settings of %d", len(d.Settings), len(config.Fields()))
	}
	t.Setenv("WAYBILL_LOG_LEVEL", "debug")
	out := must(t, "doctor", "--home", home(0))
	for _, want := range []string{"those of committee member 0", "no process holds it",
		"are free", "WAYBILL_LOG_LEVEL\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor does not say %q:\n%s", want, out)
		}
	}
	data := home(0, "data")
	if err := os.Rename(data, data+".away"); err != nil {
		t.Fatal(err)
	}
	if out := must(t, "doctor", "--home", home(0)); !strings.Contains(out, "signs nothing before") {
		t.Error(out)
	}
	if err := os.Rename(data+".away", data); err != nil {
		t.Fatal(err)
	}
	sick := func(message string) {
		t.Helper()
		fails(t, 1, message, "doctor", "--home", home(0))
	}
	// while runs the check and puts the file back.
	while := func(file, content, message string) {
		t.Helper()
		before := read(t, file)
		write(t, file, content)
		sick(message)
		write(t, file, before)
	}
	while(home(0, "config.toml"), "[log]\nlevle = \"info\"\n", "did you mean log.level?")
	while(home(0, "config.toml"), "[log\n", "config.toml:1")
	while(filepath.Join(dir, "genesis.json"), "{}", "genesis.json: ")
	while(home(0, "keys", "bls.json"), "{}", "bls.json: ")
	while(home(0, "keys", "bls.json"), read(t, home(1, "keys", "bls.json")),
		"is not the key that the genesis file has for member 0")
	while(home(0, "keys", "consensus.json"), read(t, home(1, "keys", "bls.json")),
		"holds a bls12-381 key, not ed25519")
	while(filepath.Join(dir, "password"), "", "the file is empty")
	if err := os.Chmod(home(0, "keys", "transport.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	sick("run: chmod 600")
	if err := os.Chmod(home(0, "keys", "transport.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(home(0, "config.toml"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", loaded.Peer.Listen)
	if err != nil {
		t.Fatal(err)
	}
	sick("peer.listen: listen tcp")
	taken.Close()
	if err := os.Remove(filepath.Join(dir, "genesis.json")); err != nil {
		t.Fatal(err)
	}
	sick("no such file")
	fails(t, 1, "write one with 'waybill init --home", "doctor", "--home", home(7))
}

func TestStartRefuses(t *testing.T) {
	n := newNetwork(t, "60")
	refuse := func(want int, message string, args ...string) {
		t.Helper()
		code, out, errOut := cli(t, append([]string{"start", "--home", n.home}, args...)...)
		if code != want || out != "" || !strings.Contains(errOut, message) {
			t.Errorf("exit code %d, want %d and %q: %s", code, want, message, errOut)
		}
	}
	refuse(3, "allowed is debug or info or warn or error", "--set", "log.level=loud")
	refuse(3, "did you mean log.level?", "--set", "log.levle=info")
	refuse(3, "waybill doctor --home", "--set", "node.genesis=nosuch")
	refuse(3, "password file", "--set", "node.password_file=nosuch")
	other := write(t, filepath.Join(n.dir, "other"), "not it")
	refuse(3, "wrong password", "--password-file", other)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, setting := range []string{"consensus.listen", "peer.listen", "ingest.listen",
		"operator.listen"} {
		refuse(1, setting+": ", "--set", setting+"="+taken.Addr().String())
	}
	fails(t, 3, "no node lives in", "start", "--home", n.dir)
}

func TestInit(t *testing.T) {
	t.Setenv("WAYBILL_PASSWORD", "secret")
	home := filepath.Join(t.TempDir(), "home")
	var member map[string]any
	if err := json.Unmarshal([]byte(must(t, "init", "--home", home, "--json")),
		&member); err != nil {
		t.Fatal(err)
	}
	if got := publicKey(t,
		filepath.Join(home, "keys", "transport.json")); member["transport_key"] != got {
		t.Errorf("init prints %v, the keystore holds %s", member["transport_key"], got)
	}
	fails(t, 1, "has been initialised", "init", "--home", home)
	fails(t, 1, "put the network's genesis file there", "doctor", "--home", home)
}

// An entry becomes a network of one, which its member signs and a node can start in.
func TestGenesisNew(t *testing.T) {
	t.Setenv("WAYBILL_PASSWORD", "secret")
	dir := t.TempDir()
	home, out := filepath.Join(dir, "home"), filepath.Join(dir, "home", "genesis.json")
	raw := write(t, filepath.Join(dir, "raw.json"), must(t, "init", "--home", home, "--json"))
	args := []string{"genesis", "new", "--chain-id", "one", "--epoch", "2m", "--out", out}
	fails(t, 3, "in place of HOST", append(args, raw)...)
	fails(t, 3, "entry: ", append(args, filepath.Join(home, "config.toml"))...)
	fails(t, 3, "no such file", append(args, raw+".nosuch")...)
	entry := write(t, filepath.Join(dir, "entry.json"),
		strings.ReplaceAll(read(t, raw), "HOST", "127.0.0.1"))
	fails(t, 2, "want 64 hexadecimal digits", append(args, entry, "--treasury", "ab")...)
	if said := must(t, append(args, entry)...); !strings.Contains(said, "no member has signed") {
		t.Error(said)
	}
	fails(t, 1, "file exists", append(args, entry)...)
	must(t, "genesis", "sign", out, "--home", home)
	g, err := readGenesis(out)
	if err != nil || g.ChainID != "one" || g.Params.EpochSeconds != 120 ||
		g.Treasury != g.Members[0].Owner {
		t.Errorf("%+v, %v", g, err)
	}
}

// A password file in the home is named there, one elsewhere is not. Nothing else is pinned.
func TestInitPassword(t *testing.T) {
	dir := t.TempDir()
	for home, file := range map[string]string{"a": "a/secrets/password", "b": "password"} {
		file, home = filepath.Join(dir, file), filepath.Join(dir, home)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, file, "secret\n")
		must(t, "init", "--home", home, "--password-file", file)
		want := ""
		if strings.HasPrefix(file, home) {
			want = "secrets/password"
		}
		loaded, err := config.Load(filepath.Join(home, "config.toml"), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range loaded.Effective() {
			if v.Source != config.DefaultSource && v.Path != "node.password_file" {
				t.Errorf("%s = %s is pinned", v.Path, v.Value)
			}
		}
		if loaded.Node.PasswordFile != want {
			t.Errorf("the password file is %q, want %q", loaded.Node.PasswordFile, want)
		}
	}
}

// TestDevnetJob is the main job, small: content of five nodes, one of which is killed.
func TestDevnetJob(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a dozen seconds")
	}
	exports := t.TempDir()
	var decoded struct {
		mainjob.Result
		Verified []judged `json:"verified"`
	}
	out := must(t, "devnet", "--job", "--requests", "120", "--epoch", "4", "--grace", "10",
		"--exports", exports, "--json")
	if err := json.Unmarshal([]byte(out), &decoded); err != nil {
		t.Fatal(err)
	}
	result := decoded.Result
	for _, v := range decoded.Verified {
		result.Verified = append(result.Verified, verdict.Verdict{
			File: v.File, Holds: v.Holds, Judged: v.Judged, Summary: v.Summary,
			Content: new(export.Report)})
	}
	result.Want = mainjob.Rungs{Acks: 1, Statements: 1, Proofs: 1} // which is not printed
	if err := result.Check(); err != nil || result.Served != 120 || len(result.Nodes) != 5 ||
		result.Killed == nil || result.Killed.Node != 4 || !result.Nodes[4].Killed {
		t.Errorf("%+v, %v", result, err)
	}
	files, err := filepath.Glob(filepath.Join(exports, "*.wbx"))
	if err != nil || len(files) < 5 ||
		!slices.Contains(files, filepath.Join(exports, "proof.wbx")) {
		t.Fatal(files, err)
	}
	must(t, append([]string{"verify", "--genesis", filepath.Join(exports, "genesis.json")},
		files...)...)
	var printed bytes.Buffer
	result.Print(&printed)
	for _, want := range []string{
		"120 asked for = 120 served", "Node 4 was killed", "ack.wbx: holds: ",
		fmt.Sprintf("%s bytes in %d acks, the same in each of", text.Grouped(result.Acked),
			result.Accepted),
		fmt.Sprintf("%d verified one by one + %d under co-signed statements + %d under proofs",
			result.Rungs.Acks, result.Rungs.Statements, result.Rungs.Proofs)} {
		if !strings.Contains(printed.String(), want) {
			t.Errorf("%q is missing in %s", want, &printed)
		}
	}
	for i, spoil := range []func(r *mainjob.Result){
		func(r *mainjob.Result) { r.Served-- },
		func(r *mainjob.Result) { r.Settled-- },
		func(r *mainjob.Result) { r.Received-- },
		func(r *mainjob.Result) { r.Acked--; r.Late++ },
		func(r *mainjob.Result) { r.Units-- },
		func(r *mainjob.Result) { r.Nodes = slices.Clone(r.Nodes); r.Nodes[0].Sent++ },
		func(r *mainjob.Result) { r.Nodes = r.Nodes[1:] },
		func(r *mainjob.Result) { r.Differs = []string{"one"} },
		func(r *mainjob.Result) { r.Verified = []verdict.Verdict{{}} },
		func(r *mainjob.Result) { r.Epochs = r.Epochs[:1] },
		func(r *mainjob.Result) { r.Rungs.Acks++ },
		func(r *mainjob.Result) { r.Rungs.Proofs++ },
		func(r *mainjob.Result) { r.Rungs.InTime = r.Rungs.Proofs + 1 },
		func(r *mainjob.Result) { r.Rungs = mainjob.Rungs{Statements: 1, Proofs: r.Settled - 1} },
		func(r *mainjob.Result) { r.Rungs = mainjob.Rungs{Acks: 1, Proofs: r.Settled - 1} },
		func(r *mainjob.Result) { r.Rungs = mainjob.Rungs{Acks: 1, Statements: r.Settled - 1} },
	} {
		bad := result
		spoil(&bad)
		if bad.Check() == nil {
			t.Errorf("job %d with %+v passes", i, bad)
		}
	}
	fails(t, 3, "access log: ", "devnet", "--job", "--log", filepath.Join(exports, "nosuch"))
}
