package telemetry

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/pipeline/exposure"
	"github.com/waybill-network/waybill/pipeline/status"
)

func healthy() Snapshot {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := Snapshot{
		Taken: now, Started: now.Add(-time.Hour),
		Build: Build{Version: "v1", Go: "go1.26"},
		Node:  Node{Name: "a", Serving: true, Balance: 1 << 63},
		Kernels: []Kernel{{Name: "bls", Implementation: "avx512ifma"},
			{Name: "blake3", Implementation: "avx2", FellBack: true}},
		Pipeline: pipeline.Stats{Answers: []status.Count{{Name: "accepted", Count: 7},
			{Name: "bad_signature", Count: 2}}},
		Cosign: Cosign{On: true, Refusals: []status.Count{{Name: "declined", Count: 5},
			{Name: "wrong_units", Count: 0}}},
		Member: MemberWork{Refusals: []status.Count{{Name: "bad_signature", Count: 1}}},
		Committee: []Member{{Member: certify.Member{Node: 3, Shares: 4}, Power: 9, Self: true,
			Healthy: true, Voted: 9, VotedAt: now.Add(-time.Second)}},
		Chain: Chain{Height: 10, Executed: now.Add(-time.Second), Skew: 0.2, SkewAt: now,
			Network: []committee.PeerStatus{{Node: 2, Member: true, Connected: true}}},
		Epoch: Epoch{End: now.Add(time.Minute)},
		Rules: Rules{Version: 2, Known: 3, Plans: 1, Next: &Upgrade{Version: 3, Epoch: 30,
			Name: "waybill 3", At: now.Add(29 * time.Hour)}},
		Settlements: []Settlement{{Epoch: 4, At: now.Add(-time.Minute)}},
		Store:       Store{Free: 10 << 30, MinFree: 1 << 30},
		Content: Content{On: true, Refusals: []status.Count{{Name: "not_found", Count: 1}},
			Aborts: []status.Count{{Name: "unpaid", Count: 1}}},
		Compute: Compute{On: true, Outcomes: []status.Count{{Name: "exited", Count: 1}}},
		Credit:  Credit{Payers: []exposure.Credit{{Payer: 3, Exposure: 5}}},
		Proving: Proving{On: true, Keys: []ProofKey{{256, "ab", true}, {1024, "cd", true}},
			Prover: Prover{Stage: "ready"}},
	}
	for i, name := range pipeline.Stages() {
		s.Pipeline.Stages = append(s.Pipeline.Stages, status.Stage{Name: name, Acks: uint64(100 - i),
			Oldest: 0.1, Queued: i, Answered: i > 2})
	}
	// Acks stay in the window until it closes, and while it is offered.
	s.Pipeline.Stages[3].Oldest, s.Pipeline.Stages[4].Oldest = 60, 70
	for _, state := range pipeline.States() {
		s.Pipeline.States = append(s.Pipeline.States, status.Count{Name: string(state)})
	}
	s.Certify.Prove.Name, s.Certify.Certify.Name = certify.StageProve, certify.StageCertify
	s.Certify.ProofFailures = []status.Count{{Name: "wrong", Count: 1}}
	s.Transactions = []status.Count{{Name: "ok", Count: 3}}
	s.Certify.Stuck = []status.Count{{Name: "late", Count: 0}}
	s.Certify.States = []status.Count{{Name: "ordered", Count: 2}}
	return s
}

func get(t *testing.T, h http.Handler, path, accept string) (int, string) {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// TestChecks breaks one thing at a time: exactly that check fails, and only the fatal ones are
// failures of life.
func TestChecks(t *testing.T) {
	for _, c := range []struct {
		failed string
		alive  bool
		damage func(*Snapshot)
	}{
		{"", true, func(*Snapshot) {}},
		{"store", false, func(s *Snapshot) { s.Store.Failure = "sync: input/output error" }},
		{"consensus", false, func(s *Snapshot) { s.Chain.Failure = "app hash mismatch" }},
		{"disk", true, func(s *Snapshot) { s.Store.Free = 1<<30 - 1 }},
		{"queue", true, func(s *Snapshot) { s.Pipeline.Stages[1].Oldest = 5.1 }},
		{"blocks", true, func(s *Snapshot) { s.Chain.Executed = s.Taken.Add(-31 * time.Second) }},
		{"blocks", true, func(s *Snapshot) { s.Chain.Executed = time.Time{} }}, // 1970
		{"blocks", true, func(s *Snapshot) { s.Chain.Executed, s.Chain.Height = time.Time{}, 0 }},
		{"sync", true, func(s *Snapshot) { s.Chain.CatchingUp = true }},
		{"clock", true, func(s *Snapshot) { s.Chain.Skew = 5.5 }},
		{"clock", true, func(s *Snapshot) { s.Chain.Skew = -5.5 }},
		{"keys", true, func(s *Snapshot) {
			s.Committee[0].Doubles, s.Committee[0].DoubledAt = 3, s.Taken.Add(-time.Second)
		}},
		{"serving", true, func(s *Snapshot) { s.ShuttingDown = true }}} {
		s := healthy()
		c.damage(&s)
		source := func() Snapshot { return s }
		h := Handler(NewRegistry(source), source, false)

		code, body := get(t, h, "/readyz", "")
		if want := map[bool]int{true: 200, false: 503}[c.failed == ""]; code != want {
			t.Errorf("%s: /readyz answers %d", c.failed, code)
		}
		if c.failed == "" && body != "ok\n" || c.failed != "" &&
			(!strings.HasPrefix(body, "failed "+c.failed+": ") || strings.Count(body, "\n") != 1) {
			t.Errorf("%s: /readyz says %q", c.failed, body)
		}
		if code, _ := get(t, h, "/livez", ""); (code == 200) != c.alive {
			t.Errorf("%s: /livez answers %d", c.failed, code)
		}
		_, body = get(t, h, "/readyz?verbose", "")
		for _, check := range Checks(&s) {
			if line := map[bool]string{true: "ok ", false: "failed "}[check.OK] + check.Name +
				": "; !strings.Contains(body, line) {
				t.Errorf("%s: verbose lacks %q: %q", c.failed, line, body)
			}
		}
		_, body = get(t, h, "/readyz", "application/json")
		var answer struct {
			OK     bool
			Checks []Check
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatal(err)
		}
		if answer.OK != (c.failed == "") || len(answer.Checks) != len(Checks(&s)) {
			t.Errorf("%s: JSON says %s", c.failed, body)
		}
		for _, check := range answer.Checks {
			if check.OK == (check.Name == c.failed) || check.Detail == "" {
				t.Errorf("%s: check %+v", c.failed, check)
			}
		}
	}
}

// TestProofsWarn: a prover that is dead and a key that is missing are shown, and cost no readiness.
func TestProofsWarn(t *testing.T) {
	for _, c := range []struct {
		line   string
		damage func(*Snapshot)
	}{
		{"ok proofs: checks proofs about 256, 1024 statements and makes them; " +
			"the prover waits for a window\n",
			func(*Snapshot) {}},
		{"ok proofs: checks proofs about 256, 1024 statements\n",
			func(s *Snapshot) { s.Proving.On = false }},
		{"warning proofs: checks proofs about 256, 1024 statements and makes them; " +
			"the prover failed\n", func(s *Snapshot) {
			s.Proving.Prover.Stage = "failed"
		}},
		{"warning proofs: checks proofs about 256 statements and makes them; " +
			"the prover waits for a window; " +
			"no key for 1024 statements, which the genesis file names\n",
			func(s *Snapshot) { s.Proving.Keys[1].Found = false }},
		{"warning proofs: no key for 256, 1024 statements, which the genesis file names\n",
			func(s *Snapshot) {
				s.Proving.On, s.Proving.Keys[0].Found, s.Proving.Keys[1].Found = false, false, false
			}},
	} {
		s := healthy()
		c.damage(&s)
		source := func() Snapshot { return s }
		code, body := get(t, Handler(NewRegistry(source), source, false), "/readyz?verbose", "")
		if code != 200 || !strings.Contains(body, c.line) {
			t.Errorf("%d: %s lacks %s", code, body, c.line)
		}
	}
	s := healthy()
	s.Proving.Keys = nil
	for _, check := range Checks(&s) {
		if check.Name == "proofs" {
			t.Errorf("a network without proofs: %+v", check)
		}
	}
}

func TestMetrics(t *testing.T) {
	taken := 0
	s := healthy()
	source := func() Snapshot { taken++; return s }
	// Two nodes in one process do not meet.
	h, other := Handler(NewRegistry(source), source, false), NewRegistry(healthy)
	if _, err := other.Gather(); err != nil {
		t.Fatal(err)
	}
	code, body := get(t, h, "/metrics", "")
	if code != 200 || taken != 1 {
		t.Fatalf("/metrics answers %d after %d snapshots", code, taken)
	}
	for _, want := range []string{
		`waybill_answers_total{code="bad_signature"} 2`,
		`waybill_stage_acks_total{stage="verify"} 99`,
		`waybill_windows{state="ordered"} 2`,
		`waybill_windows{state="cosigning"} 0`,
		`waybill_kernel_info{implementation="avx2",kernel="blake3"} 1`,
		`waybill_kernel_fell_back{kernel="blake3"} 1`,
		`waybill_member_shares_total{node="3"} 4`,
		`waybill_check{check="disk"} 1`,
		`waybill_chain_block_age_seconds 1`,
		`waybill_owner_balance_microcredits 9.223372036854776e+18`,
		`go_goroutines `, `process_resident_memory_bytes `,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	// Every family gives a sample, and is named by the conventions.
	families, err := NewRegistry(healthy).Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, f := range families {
		have[f.GetName()] = true
		if isCounter := f.GetType().String() == "COUNTER"; strings.HasPrefix(f.GetName(), "waybill_") &&
			isCounter != strings.HasSuffix(f.GetName(), "_total") {
			t.Errorf("%s is a %s", f.GetName(), f.GetType())
		}
	}
	name := regexp.MustCompile(`fqName: "(waybill_[a-z0-9_]+)"`)
	for _, m := range metrics {
		if match := name.FindStringSubmatch(m.desc.String()); match == nil || !have[match[1]] {
			t.Errorf("no sample of %v", m.desc)
		}
	}
	if code, body := get(t, Handler(NewRegistry(func() Snapshot { return Snapshot{} }), source, false),
		"/metrics", ""); code != 200 {
		t.Errorf("metrics of an empty snapshot: %d %s", code, body)
	}
}

func TestProfilesAreOff(t *testing.T) {
	source := func() Snapshot { return healthy() }
	if code, _ := get(t, Handler(NewRegistry(source), source, false), "/debug/pprof/",
		""); code != 404 {
		t.Errorf("off: %d", code)
	}
	if code, _ := get(t, Handler(NewRegistry(source), source, true), "/debug/pprof/",
		""); code != 200 {
		t.Errorf("on: %d", code)
	}
}

// TestSnapshotJSON holds that amounts survive a reader that has 53-bit numbers.
func TestSnapshotJSON(t *testing.T) {
	b, err := json.Marshal(healthy())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(`"balance":"9223372036854775808"`)) {
		t.Errorf("the balance is not a string: %s", b)
	}
	if bytes.Contains(b, []byte("0001-01-01")) {
		t.Errorf("an absent time is written: %s", b)
	}
	var again Snapshot
	if err := json.Unmarshal(b, &again); err != nil || again.Node.Balance != 1<<63 {
		t.Errorf("read back: %v", err)
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	l, err := NewLogger(&out, "warn", "json")
	if err != nil {
		t.Fatal(err)
	}
	l.Info("no")
	l.Warn("yes", "window", 3)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line[slog.MessageKey] != "yes" ||
		line["window"] != 3.0 {
		t.Errorf("%s: %v", out.String(), err)
	}
	out.Reset()
	if l, err = NewLogger(&out, "info", "text"); err != nil {
		t.Fatal(err)
	}
	l.Info("yes", "window", 3)
	if !strings.HasSuffix(out.String(), "level=INFO msg=yes window=3\n") {
		t.Errorf("text: %q", out.String())
	}
	for _, bad := range [][2]string{{"loud", "text"}, {"info", "xml"}} {
		if _, err := NewLogger(io.Discard, bad[0], bad[1]); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
	if b := BuildInfo(); b.Version == "" || b.Go == "" {
		t.Errorf("build %+v", b)
	}
}

func TestRecent(t *testing.T) {
	var h History
	start := time.Unix(1_700_000_000, 0)
	at := func(seconds float64) time.Time {
		return start.Add(time.Duration(seconds * float64(time.Second)))
	}
	if r := h.Recent(start, Counters{Accepted: 5}); r != (Recent{}) || r.PerSecond(5) != 0 {
		t.Errorf("nothing noted: %+v", r)
	}
	h.Note(start, Counters{Accepted: 100, Blocks: 7})
	if r := h.Recent(at(4), Counters{Accepted: 120, Refused: 8, Blocks: 9}); r.Seconds != 4 ||
		r.Counters != (Counters{20, 8, 0, 2}) || r.PerSecond(r.Accepted) != 5 {
		t.Errorf("after 4 s: %+v", r)
	}
	for s := 1; s <= 100; s++ { // ten acks a second, and none in the last five
		h.Note(at(float64(s)), Counters{Accepted: 100 + 10*uint64(min(s, 95)), Ordered: uint64(s)})
	}
	if n := len(h.samples); n > 12 {
		t.Errorf("%d samples", n)
	}
	if r := h.Recent(at(100.5), Counters{Accepted: 1050, Ordered: 100}); r.Seconds != 10.5 ||
		r.Accepted != 50 || r.Ordered != 10 {
		t.Errorf("after 100.5 s: %+v", r)
	}
	if r := h.Recent(at(150), Counters{Accepted: 1055, Ordered: 100}); r.Seconds != 50 ||
		r.Accepted != 5 {
		t.Errorf("noted nothing for 50 s: %+v", r)
	}
}
