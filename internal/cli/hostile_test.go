package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/internal/text/hostile"
	"github.com/waybill-network/waybill/internal/verdict"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/keep"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/rollup/manifest"
)

// filled returns a value all of whose strings are hostile.
func filled[T any]() *T {
	v := new(T)
	hostile.Fill(v)
	return v
}

// TestSurfaces: whatever a node, a ledger, a log, a file or another machine says, a command shows
// it in lines of its own and in characters that can be seen.
func TestSurfaces(t *testing.T) {
	for name, show := range map[string]func(w io.Writer) error{
		"status": func(w io.Writer) error {
			s := filled[nodeStatus]()
			s.Node.Serving, s.Content.On, s.Cosign.On, s.Proving.On = true, true, true, true
			s.print(w)
			return nil
		},
		"tx": func(w io.Writer) error { return printExecuted(w, *filled[executed](), false) },
		"events": func(w io.Writer) error {
			return printEvent(w, filled[api.Event](), false)
		},
		"get": func(w io.Writer) error {
			g := filled[got]()
			g.Complete, g.Nodes[0].Received = true, 1
			g.print(w)
			return nil
		},
		"ack": func(w io.Writer) error {
			a := filled[api.GetAckResponse]()
			a.State = api.AckState_ACK_STATE_SEALED
			printAck(w, a)
			return nil
		},
		"refused ack": func(w io.Writer) error {
			r := filled[api.AckRefusal]()
			r.Credit = filled[api.Credit]()
			_ = ackRefused(w, r, nil, false) // the cause is none of this test's
			return nil
		},
		"upgrade": func(w io.Writer) error { printRules(w, filled[nodeStatus]()); return nil },
		"wallet":  func(w io.Writer) error { filled[wallet]().print(w, true); return nil },
		"doctor":  func(w io.Writer) error { filled[diagnosis]().print(w); return nil },
		"verdict": func(w io.Writer) error { return printed(w, filled[verdict.Verdict]().String()) },
		"verdict that holds": func(w io.Writer) error {
			v := filled[verdict.Verdict]()
			v.Judged, v.Holds = true, true
			return printed(w, v.String())
		},
		"survey": func(w io.Writer) error {
			s := filled[workload.Survey]()
			s.Requests = 1
			printSurvey(w, &workload.Log{Name: hostile.Text}, s)
			return nil
		},
		"manifest": func(w io.Writer) error {
			return printManifest(w, hostile.Text, filled[manifest.Manifest](), hostile.Text, false)
		},
		"backup": func(w io.Writer) error {
			cmd := newBackup()
			cmd.SetOut(w)
			return printArchive(cmd, false, hostile.Text, filled[keep.Head]())
		},
		"restore": func(w io.Writer) error {
			printRestored(w, hostile.Text, filled[keep.Restored](), 0)
			return nil
		},
		"keys": func(w io.Writer) error {
			cmd := newKeys()
			cmd.SetOut(w)
			return printKeys(cmd, false, []*keys.Info{filled[keys.Info]()})
		},
		"json": func(w io.Writer) error { return printJSON(w, hostile.Text[:200]) },
	} {
		var b strings.Builder
		if err := show(text.NewGuard(&b)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if b.Len() == 0 {
			t.Errorf("%s shows nothing", name)
		}
		if err := hostile.Through(b.String()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func printed(w io.Writer, s string) error { _, err := io.WriteString(w, s); return err }

// TestHostileArguments: an error that names what was given, or found, is fit for people as well.
func TestHostileArguments(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "a\x1b[31m\u202e\nFORGED.log")
	line := `203.0.113.7 - - [01/Mar/2026:12:00:00 +0000] "GET /` +
		"b\u202e%0aFORGED\u009b/x HTTP/1.1\" 200 17 \"-\" \"-\"\n"
	if err := os.WriteFile(log, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{hostile.Text}, {"verify", hostile.Text}, {"status", "--node", hostile.Text},
		{"status", "--" + hostile.Text}, {"verify", log}, {"replay", "--dry-run", log},
		{"replay", "--dry-run", "--json", log}, {"content", "ls", "--home", hostile.Text},
		{"start", "--home", log}, {"tx", "send", log},
	} {
		_, out, errOut := cli(t, args...)
		if err := hostile.Through(out); err != nil {
			t.Errorf("waybill %.40q: %v", args, err)
		}
		if err := hostile.Through(errOut); err != nil {
			t.Errorf("waybill %.40q, its error: %v", args, err)
		}
	}
}

// outside are fields that hold what somebody else chose. A guard escapes what they hold, but cannot
// tell their ends of lines from the command's.
var outside = []string{"Name", "Unit", "Path", "Payer", "Service", "Detail", "Advice", "Trouble"}

// TestNamesAreShownAsNames: what a command prints of such a field by itself, outside of a table,
// goes through package text.
func TestNamesAreShownAsNames(t *testing.T) {
	for _, room := range []string{".", "../mainjob", "../progress"} {
		files, err := filepath.Glob(filepath.Join(room, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(room, err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, at := range shownRaw(t, file, source) {
				t.Errorf("%s: shown as it came", at)
			}
		}
	}
	const bad = "package p\nfunc f() { fmt.Fprintf(w, \"%s\", x.Name) }"
	if len(shownRaw(t, "bad.go", []byte(bad))) != 1 {
		t.Error("a name that is shown as it came is not found")
	}
}

func shownRaw(t *testing.T, name string, source []byte) (found []string) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !strings.HasPrefix(f.Sel.Name, "Fprint") {
			return true
		}
		for _, arg := range call.Args[1:] {
			if s, ok := arg.(*ast.SelectorExpr); ok && slices.Contains(outside, s.Sel.Name) {
				found = append(found, set.Position(s.Pos()).String())
			}
		}
		return true
	})
	return found
}
