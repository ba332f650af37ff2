package telemetry

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/ledger"
)

var rewrite = flag.Bool("rewrite", false, "write the tables of docs/status.md again")

// families are where the words of a set show as the value of a label.
var families = map[string]struct{ metric, label string }{
	SetState:       {"waybill_windows", "state"},
	SetStage:       {"waybill_stage_acks_total", "stage"},
	SetCheck:       {"waybill_check", "check"},
	SetStuck:       {"waybill_windows_stuck_total", "reason"},
	SetProof:       {"waybill_proving_failures_total", "reason"},
	SetAnswer:      {"waybill_answers_total", "code"},
	SetCosign:      {"waybill_cosign_refusals_total", "reason"},
	SetMember:      {"waybill_member_refused_total", "reason"},
	SetTransaction: {"waybill_transactions_total", "code"},
	SetDelivery:    {"waybill_content_refusals_total", "reason"},
	SetOutcome:     {"waybill_compute_runs_total", "outcome"},
}

func names[T fmt.Stringer](list []T) (names []string) {
	for _, v := range list {
		names = append(names, v.String())
	}
	return names
}

// spoken are the words of all rooms, from the rooms themselves.
func spoken(s *Snapshot) map[string][]string {
	words := map[string][]string{
		SetStage:       slices.Concat(pipeline.Stages(), certify.Stages()),
		SetStuck:       names(certify.Reasons()),
		SetProof:       names(certify.ProofFailures()),
		SetAnswer:      names(rollup.Codes()),
		SetCosign:      names(cosign.Reasons()),
		SetMember:      names(peer.Reasons()),
		SetTransaction: names(ledger.TxCodes()),
		SetDelivery:    names(delivery.Reasons()),
		SetOutcome:     names(delivery.Outcomes()),
	}
	for _, state := range slices.Concat(pipeline.States(), certify.States()) {
		words[SetState] = append(words[SetState], string(state))
	}
	for _, c := range Checks(s) {
		words[SetCheck] = append(words[SetCheck], c.Name)
	}
	return words
}

// silent says where words are missing: in the vocabulary, and so on the page, in the metrics, and
// in the document. It also finds words that nobody says.
func silent(words map[string][]string, metrics, document string) (missing []string) {
	complain := func(format string, args ...any) {
		missing = append(missing, fmt.Sprintf(format, args...))
	}
	said := 0
	for set, list := range words {
		family := families[set]
		for _, name := range list {
			said++
			if !strings.Contains(metrics, fmt.Sprintf("%s{%s=%q}", family.metric, family.label, name)) {
				complain("%s %q is in no metric", set, name)
			}
			i := slices.IndexFunc(vocabulary, func(t Term) bool { return t.Set == set && t.Name == name })
			if i < 0 {
				complain("%s %q is not in the vocabulary", set, name)
			} else if !strings.Contains(document, row(&vocabulary[i])) {
				complain("%s %q is not in docs/status.md as it is in the vocabulary", set, name)
			}
		}
	}
	if said != len(vocabulary) {
		complain("%d words are said and %d explained", said, len(vocabulary))
	}
	return missing
}

func row(t *Term) string {
	return fmt.Sprintf("| `%s` | %s | %s |\n", t.Name, t.Meaning, t.Advice)
}

// everything is a snapshot with the statistics of a pipeline and an outbox, as they are before a
// start.
func everything(t *testing.T) Snapshot {
	t.Helper()
	network, err := pipelinetest.New(pipelinetest.Config{Clients: 1})
	if err != nil {
		t.Fatal(err)
	}
	cfg := pipelinetest.NodeConfig{Config: pipeline.Config{Network: network.ID}}
	n, err := pipelinetest.NewNode(cfg, nil, network, &pipelinetest.Committee{Network: network})
	if err != nil {
		t.Fatal(err)
	}
	s := healthy()
	s.Pipeline, s.Certify = n.Pipeline.Stats(), n.Outbox.Stats()
	count := func(names []string) (list []status.Count) {
		for _, name := range names {
			list = append(list, status.Count{Name: name})
		}
		return list
	}
	s.Cosign.Refusals = count(names(cosign.Reasons()))
	s.Member.Refusals = count(names(peer.Reasons()))
	s.Transactions = count(names(ledger.TxCodes()))
	s.Signer = Signer{Address: "unix:///run/signer"}
	s.Content = Content{On: true, Refusals: count(names(delivery.Reasons()))}
	s.Compute = Compute{On: true, Outcomes: count(names(delivery.Outcomes()))}
	s.Rotation = new(Rotation)
	return s
}

// TestVocabulary: every state, stage, check and code of every room has a sample in the metrics, a
// line on the page (which shows the vocabulary; a test of package web looks at it) and a line in
// the document.
func TestVocabulary(t *testing.T) {
	s := everything(t)
	source := func() Snapshot { return s }
	_, metrics := get(t, Handler(NewRegistry(source), source, false), "/metrics", "")
	document := document(t)
	words := spoken(&s)
	for _, complaint := range silent(words, metrics, document) {
		t.Error(complaint)
	}
	// And it can fail.
	for set := range words {
		more := spoken(&s)
		more[set] = append(more[set], "unheard_of")
		if len(silent(more, metrics, document)) < 3 {
			t.Errorf("a new %s is not noticed", set)
		}
		fewer := spoken(&s)
		fewer[set] = fewer[set][1:]
		if len(silent(fewer, metrics, document)) == 0 {
			t.Errorf("a %s that nobody says is not noticed", set)
		}
	}
	if len(silent(words, "", document)) == 0 || len(silent(words, metrics, "")) == 0 {
		t.Error("metrics or document are not looked at")
	}
}

const (
	begin = "<!-- tables: go test ./node/telemetry -run Vocabulary -rewrite -->\n"
	end   = "<!-- end of tables -->\n"
)

// document returns docs/status.md, and writes its tables again when that is wanted.
func document(t *testing.T) string {
	t.Helper()
	const path = "../../docs/status.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !*rewrite {
		return string(b)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the document has no place for tables")
	}
	var tables strings.Builder
	set := ""
	for i := range vocabulary {
		term := &vocabulary[i]
		if term.Set != set {
			set = term.Set
			f := families[set]
			fmt.Fprintf(&tables, "\n## %s\n`%s{%s}`\n\n| name | meaning | what to do |\n|---|---|---|\n",
				titles[set], f.metric, f.label)
		}
		tables.WriteString(row(term))
	}
	whole := before + begin + tables.String() + "\n" + end + after
	if err := os.WriteFile(path, []byte(whole), 0o644); err != nil {
		t.Fatal(err)
	}
	return whole
}

var titles = map[string]string{
	SetState: "States of a window", SetStage: "Stages of an ack", SetCheck: "The checks",
	SetStuck: "Why a window is stuck", SetProof: "Why a window stays without a proof",
	SetAnswer: "Answers to acks", SetCosign: "Why a client does not co-sign",
	SetMember:      "Why this node does not sign another's rollup",
	SetTransaction: "Answers to transactions",
	SetDelivery:    "Why nothing is delivered",
	SetOutcome:     "How runs of modules end",
}

// TestStuckIsLoud: a window that was accepted and will never be paid is seen wherever an operator
// looks.
func TestStuckIsLoud(t *testing.T) {
	network, err := pipelinetest.New(pipelinetest.Config{Members: 1, Clients: 1})
	if err != nil {
		t.Fatal(err)
	}
	reason := certify.ReasonLate
	w := status.Of(rollup.WindowKey{Epoch: 3, Window: 7}, certify.StateStuck)
	w.Acks, w.Reason, w.Error, w.Advice = 41, reason.String(), reason.Error(), reason.Advice()
	key := network.Members[0].Transport
	o, err := certify.New(certify.Config{Network: network.ID, Key: key}, nil, network, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := everything(t)
	s.Certify = o.Stats()
	calm := Checks(&s)
	for i := range s.Certify.States {
		if s.Certify.States[i].Name == string(certify.StateStuck) {
			s.Certify.States[i].Count = 1
		}
	}
	s.Certify.Windows = []status.Window{w}
	source := func() Snapshot { return s }
	h := Handler(NewRegistry(source), source, false)
	if _, body := get(t, h, "/metrics", ""); !strings.Contains(body,
		`waybill_windows{state="stuck"} 1`) {
		t.Error("no metric")
	}
	code, body := get(t, h, "/readyz?verbose", "")
	for _, want := range []string{"warning stuck: 1 window will not be ordered", "3/7 (41 acks)",
		reason.Error(), reason.Advice()} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("/readyz answers %d and does not say %q", code, want)
		}
	}
	for _, c := range calm {
		if c.Name == "stuck" && (c.Warning || !c.OK) {
			t.Errorf("nothing is stuck: %+v", c)
		}
	}
}
