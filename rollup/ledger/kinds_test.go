package ledger

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// kindTests is what each kind must have beside its file and its line in the table. A kind that is
// not here fails TestKinds.
var kindTests = map[Kind]struct {
	verb    string // of traces
	builder string // the function that people's commands call; empty when only nodes make it
}{
	KindDeposit:         {"deposit", "NewDeposit"},
	KindTransfer:        {"transfer", "NewTransfer"},
	KindRegisterNode:    {"node", "NewRegisterNode"},
	KindRegisterService: {"service", "NewRegisterService"},
	KindGrants:          {"grants", "NewGrants"},
	KindRevoke:          {"revoke", "NewRevoke"},
	KindTicket:          {"ticket", ""},
	KindRecord:          {"certify", ""},
	KindStand:           {"stand", "NewStand"},
	KindReport:          {"report", ""},
	KindReveal:          {"reveal", ""},
	KindReady:           {"ready", ""},
	KindHandOver:        {"handover", ""},
	KindUnjail:          {"unjail", "NewUnjail"},
	KindEvidence:        {"evidence", "NewEvidence"},
	KindUnstake:         {"unstake", "NewUnstake"},
	KindWithdraw:        {"withdraw", "NewWithdraw"},
	KindAddStake:        {"stake", "NewAddStake"},
	KindReserve:         {"reserve", "NewReserve"},
	KindThaw:            {"thaw", "NewThaw"},
	KindAllowance:       {"allowance", "NewAllowance"},
	KindLowerPrice:      {"lower", "NewLowerPrice"},
	KindProofKey:        {"key", "NewProofKey"},
	KindPlan:            {"plan", "NewPlan"},
}

// TestKinds walks the table of kinds and finds what a kind lacks: a good transaction, golden bytes,
// a trace that executes it, a line in section 8 of docs/protocol.md, and a command.
func TestKinds(t *testing.T) {
	m := kindMaterial(t)
	for _, kind := range Kinds() {
		for _, lack := range m.lacks(kind) {
			t.Errorf("%s: %s", kind, lack)
		}
	}
	if len(kindTests) != len(Kinds()) || len(m.golden) != len(Kinds()) {
		t.Errorf("%d kinds, of which %d are tested and %d have golden bytes", len(Kinds()),
			len(kindTests), len(m.golden))
	}
}

// TestKindsCanFail is the companion: without any one of them, a kind lacks something.
func TestKindsCanFail(t *testing.T) {
	for name, spoil := range map[string]func(*kindsMaterial){
		"golden bytes":  func(m *kindsMaterial) { m.golden["transfer"] += "00" },
		"a transaction": func(m *kindsMaterial) { delete(m.good, KindTransfer) },
		"a trace":       func(m *kindsMaterial) { delete(m.verbs, "transfer") },
		"the document": func(m *kindsMaterial) {
			m.document = strings.ReplaceAll(m.document, "| 2 |",
				"|")
		},
		"a command": func(m *kindsMaterial) {
			m.commands = strings.ReplaceAll(m.commands,
				"NewTransfer", "")
		},
		"the right bytes": func(m *kindsMaterial) { m.good[KindTransfer] = m.good[KindDeposit] },
	} {
		m := kindMaterial(t)
		spoil(m)
		if len(m.lacks(KindTransfer)) == 0 {
			t.Errorf("nothing is missed without %s", name)
		}
	}
	if m := kindMaterial(t); len(m.lacks(Kind(200))) == 0 {
		t.Error("a kind of which nothing is known lacks nothing")
	}
}

// kindsMaterial is what TestKinds looks through.
type kindsMaterial struct {
	good     map[Kind][]byte
	golden   map[string]string // hexadecimal, by name
	verbs    map[string]bool   // that traces execute
	document string
	commands string
}

func kindMaterial(t *testing.T) *kindsMaterial {
	t.Helper()
	g, s := scene(t)
	m := &kindsMaterial{good: map[Kind][]byte{}, golden: map[string]string{}, verbs: map[string]bool{}}
	for _, tx := range append(goodTxs(g, s), rotationTxs(t)...) {
		m.good[KindOf(tx)] = tx
		m.golden[KindOf(tx).String()] = hex.EncodeToString(tx)
	}
	const file = "testdata/kinds.json"
	if *rewrite {
		b, err := json.MarshalIndent(m.golden, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	clear(m.golden)
	if err := json.Unmarshal([]byte(contents(t, file)), &m.golden); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(contents(t, "testdata/*.txt")) {
		if fields := strings.Fields(line); len(fields) > 0 {
			m.verbs[fields[0]] = true // a refused one begins with refuse
		}
	}
	m.document = contents(t, "../../docs/protocol.md")
	m.commands = contents(t, "../../internal/cli/*.go")
	return m
}

// contents returns the files of a pattern, one after the other.
func contents(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	var all strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

// lacks returns what a kind lacks.
func (m *kindsMaterial) lacks(kind Kind) (lacks []string) {
	miss := func(missing bool, format string, args ...any) {
		if missing {
			lacks = append(lacks, fmt.Sprintf(format, args...))
		}
	}
	test, known := kindTests[kind]
	miss(!known, "it is not among kindTests")
	tx := m.good[kind]
	miss(tx == nil, "goodTxs has none")
	miss(m.golden[kind.String()] != hex.EncodeToString(tx),
		"testdata/kinds.json has other bytes; if the change is meant: go test ./rollup/ledger -rewrite")
	parsed, err := ParseTx(tx)
	miss(err != nil || parsed.Kind != kind, "the good transaction is none of the kind: %v", err)
	if err == nil && kind.known() {
		miss(reflect.TypeOf(parsed.Body) != reflect.TypeOf(kinds[kind].make()),
			"it has another's payload")
		miss((parsed.Signed == nil) != (kinds[kind].sender == senderNone), "who signs it is unclear")
	}
	miss(!m.verbs[test.verb], "no trace in testdata executes it")
	row := fmt.Sprintf("\n| %d | %s", kind, strings.ReplaceAll(kind.String(), "_", " "))
	miss(!strings.Contains(m.document, row), "docs/protocol.md has no line %q", row[1:])
	builds := regexp.MustCompile(`\bledger\.` + test.builder + `\b`)
	miss(test.builder != "" && !builds.MatchString(m.commands), "no command in internal/cli builds it")
	return lacks
}
