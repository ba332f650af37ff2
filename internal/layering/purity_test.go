package layering

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// TestPurity reads the sources of the pure rooms, tests aside. It forbids what would make a result
// depend on more than the arguments: see inspector.look. A comment on the same line or the one
// above makes an exception and says why: "order-free:" for the order of a map, "pure:" for all
// else.
func TestPurity(t *testing.T) {
	patterns := make([]string, len(pure))
	for i, room := range pure {
		patterns[i] = module + room + "/..."
	}
	found, files := impurities(t, patterns...)
	if files < 30 {
		t.Errorf("only %d files were read", files)
	}
	for _, f := range found {
		t.Errorf("%s:%d: %s", f.file, f.line, f.rule)
	}
}

// TestPurityCanFail is the companion: in testdata/impure each line with a comment "want: RULE" must
// be found, and no other.
func TestPurityCanFail(t *testing.T) {
	const file = "testdata/impure/impure.go"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	rules := map[string]bool{}
	for i, line := range strings.Split(string(text), "\n") {
		if m := regexp.MustCompile(`// want: (.*)$`).FindStringSubmatch(line); m != nil {
			want = append(want, fmt.Sprintf("%d: %s", i+1, m[1]))
			rules[m[1]] = true
		}
	}
	found, _ := impurities(t, "./"+filepath.Dir(file))
	var got []string
	for _, f := range found {
		got = append(got, fmt.Sprintf("%d: %s", f.line, f.rule))
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\n\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, rule := range []string{ruleClock, ruleHost, ruleGo, ruleSelect, ruleGlobal, ruleMap,
		ruleFloat} {
		if !rules[rule] {
			t.Errorf("no line breaks the rule: %s", rule)
		}
	}
}

// The rules, as they are reported.
const (
	ruleClock  = "reads a clock"
	ruleHost   = "reads or writes something of the host"
	ruleGo     = "starts a goroutine"
	ruleSelect = "chooses between channels"
	ruleGlobal = "changes a variable of the package"
	ruleMap    = "takes elements in a map's order"
	ruleFloat  = "computes with floating point, which architectures round apart"
)

type impurity struct {
	file string
	line int
	rule string
}

// impurities type-checks packages and returns what breaks the rules, by file and line.
func impurities(t *testing.T, patterns ...string) (found []impurity, files int) {
	t.Helper()
	loaded, err := packages.Load(&packages.Config{Mode: packages.NeedName | packages.NeedFiles |
		packages.NeedCompiledGoFiles | packages.NeedImports | packages.NeedExportFile |
		packages.NeedTypes | packages.NeedTypesInfo | packages.NeedSyntax}, patterns...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range loaded {
		for _, err := range p.Errors {
			t.Fatal(err)
		}
		for _, file := range p.Syntax {
			files++
			in := inspector{pkg: p, marks: map[int]string{}}
			for _, group := range file.Comments {
				in.marks[p.Fset.Position(group.End()).Line] = group.Text()
			}
			ast.Inspect(file, in.look)
			found = append(found, in.found...)
		}
	}
	slices.SortStableFunc(found, func(a, b impurity) int {
		return strings.Compare(
			fmt.Sprintf("%s:%9d", a.file, a.line),
			fmt.Sprintf("%s:%9d", b.file, b.line),
		)
	})
	return slices.Compact(found), files
}

// inspector looks at one file.
type inspector struct {
	pkg   *packages.Package
	marks map[int]string // comments by the line that they end on
	found []impurity
}

// report notes a node that breaks a rule, unless a comment makes an exception.
func (in *inspector) report(n ast.Node, rule string) {
	mark := "pure:"
	if rule == ruleMap {
		mark = "order-free:"
	}
	at := in.pkg.Fset.Position(n.Pos())
	if strings.Contains(in.marks[at.Line], mark) || strings.Contains(in.marks[at.Line-1], mark) {
		return
	}
	in.found = append(in.found, impurity{filepath.Base(at.Filename), at.Line, rule})
}

var (
	clocks = []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTicker",
		"NewTimer",
		"Sleep", "Local", "LoadLocation"}
	hosts = []string{"runtime", "runtime/debug", "os", "os/signal", "os/exec", "syscall", "net",
		"crypto/rand", "math/rand", "math/rand/v2", "hash/maphash", "io/fs", "log", "log/slog"}
	// prints are the functions of fmt that write to the process's output or read its input.
	prints = regexp.MustCompile(`^(Print|Scan)(f|ln)?$`)
)

func (in *inspector) look(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		in.report(n, ruleGo)
	case *ast.SelectStmt:
		in.report(n, ruleSelect)
	case *ast.RangeStmt:
		if _, ok := in.under(n.X).(*types.Map); ok {
			in.report(n, ruleMap)
		}
		in.assign(n.Key)
		in.assign(n.Value)
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			for _, e := range n.Lhs {
				in.assign(e)
			}
		}
	case *ast.IncDecStmt:
		in.assign(n.X)
	case *ast.Ident:
		in.use(n)
	case *ast.BinaryExpr:
		if isFloat(in.under(n.X)) || isFloat(in.under(n.Y)) {
			in.report(n, ruleFloat)
		}
	case *ast.CallExpr:
		in.call(n)
	}
	return true
}

// use looks at a name for what it stands for.
func (in *inspector) use(id *ast.Ident) {
	object := in.pkg.TypesInfo.Uses[id]
	if object == nil || object.Pkg() == nil || object.Parent() != object.Pkg().Scope() {
		return
	}
	switch path := object.Pkg().Path(); {
	case path == "time" && slices.Contains(clocks, object.Name()):
		in.report(id, ruleClock)
	case slices.Contains(hosts, path), path == "fmt" && prints.MatchString(object.Name()):
		in.report(id, ruleHost)
	}
}

// call looks at iterators over maps, which slices.Sorted and its likes put in order, and at what
// empties a variable of the package.
func (in *inspector) call(call *ast.CallExpr) {
	name := in.callee(call)
	switch {
	case name == "builtin.clear" || name == "builtin.delete":
		in.assign(call.Args[0])
	case strings.HasPrefix(name, "slices.Sorted"):
		if inner, ok := call.Args[0].(*ast.CallExpr); ok {
			in.marks[in.pkg.Fset.Position(inner.Pos()).Line] += "order-free: sorted"
		}
	case name == "maps.Keys" || name == "maps.Values" || name == "maps.All":
		in.report(call, ruleMap)
	}
}

// callee returns package and name of a function, empty for methods and values.
func (in *inspector) callee(call *ast.CallExpr) string {
	fun := call.Fun
	if selector, ok := fun.(*ast.SelectorExpr); ok {
		fun = selector.Sel
	}
	id, ok := fun.(*ast.Ident)
	if !ok {
		return ""
	}
	switch f := in.pkg.TypesInfo.Uses[id].(type) {
	case *types.Builtin:
		return "builtin." + f.Name()
	case *types.Func:
		if f.Pkg() != nil && f.Signature().Recv() == nil {
			return f.Pkg().Path() + "." + f.Name()
		}
	}
	return ""
}

// assign reports an assignment to a variable of a package, or to a part of one.
func (in *inspector) assign(e ast.Expr) {
	for e != nil {
		switch x := e.(type) {
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.SelectorExpr:
			if in.isGlobal(x.Sel) {
				in.report(e, ruleGlobal)
			}
			e = x.X
		case *ast.Ident:
			if in.isGlobal(x) {
				in.report(e, ruleGlobal)
			}
			return
		default:
			return
		}
	}
}

func (in *inspector) isGlobal(id *ast.Ident) bool {
	v, ok := in.pkg.TypesInfo.Uses[id].(*types.Var)
	return ok && v.Pkg() != nil && v.Parent() == v.Pkg().Scope()
}

func (in *inspector) under(e ast.Expr) types.Type {
	t := in.pkg.TypesInfo.TypeOf(e)
	if t == nil {
		return nil
	}
	return t.Underlying()
}

func isFloat(t types.Type) bool {
	b, ok := t.(*types.Basic)
	return ok && b.Info()&(types.IsFloat|types.IsComplex) != 0 && b.Info()&types.IsUntyped == 0
}
