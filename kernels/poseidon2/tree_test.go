package poseidon2

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// counted are the integers 1, 2, …, n.
func counted(n int) []Element {
	out := make([]Element, n)
	for i := range out {
		out[i] = FromUint64s([3]uint64{uint64(i) + 1})
	}
	return out
}

// naive is the root of the subtree of n places below a node that covers width leaves, by recursion from the top.
func naive(elements []Element, width int) Element {
	switch {
	case len(elements) == 0:
		return Element{}
	case width == 1:
		return elements[0]
	}
	var x [Width]Element
	for i := range x {
		lo, hi := min(len(elements), i*width/Width), min(len(elements), (i+1)*width/Width)
		x[i] = naive(elements[lo:hi], width/Width)
	}
	return Compress(&x)
}

var sizes = []int{0, 1, 2, 3, 15, 16, 17, 18, 31, 32, 33, 255, 256, 257, 258, 4096, 4098}

func TestRoot(t *testing.T) {
	for _, n := range sizes {
		width := 1
		for width < n {
			width *= Width
		}
		elements := counted(n)
		want := naive(elements, width)
		if got := Root(elements); got != want {
			t.Errorf("%d elements: %v, not %v", n, got, want)
		}
		if got := NewTree(elements).Root(); got != want {
			t.Errorf("tree of %d elements: %v, not %v", n, got, want)
		}
		if !slices.Equal(elements, counted(n)) {
			t.Errorf("%d elements changed", n)
		}
	}
}

func TestPath(t *testing.T) {
	for _, total := range sizes[1:] {
		tree := NewTree(counted(total))
		for _, own := range []int{1, 2, 3, 16} {
			for first := 0; first+own <= total; first += 1 + first/7*5 {
				if first%Width+own > Width {
					continue
				}
				elements := counted(total)[first : first+own]
				path := tree.Path(first, own)
				if got, err := RootFromPath(elements, first, total, path); err != nil || got != tree.Root() {
					t.Fatalf("%d at %d of %d: %v, %v", own, first, total, got, err)
				}
			}
		}
	}
}

// TestPathsCanFail changes one thing at a time.
func TestPathsCanFail(t *testing.T) {
	const total, first, own = 258, 34, 2
	tree := NewTree(counted(total))
	elements, path := counted(total)[first:first+own], tree.Path(first, own)
	if got, err := RootFromPath(elements, first, total, path); err != nil || got != tree.Root() {
		t.Fatal(got, err)
	}
	other := FromUint64s([3]uint64{7777})
	for i := range path {
		changed := slices.Clone(path)
		changed[i] = other
		got, err := RootFromPath(elements, first, total, changed)
		absent := path[i] == Element{}
		if absent && !errors.Is(err, ErrPath) || !absent && (err != nil || got == tree.Root()) {
			t.Errorf("sibling %d: %v, %v", i, got, err)
		}
	}
	for i := range elements {
		changed := slices.Clone(elements)
		changed[i] = other
		if got, err := RootFromPath(changed, first, total, path); err != nil || got == tree.Root() {
			t.Errorf("element %d: %v, %v", i, got, err)
		}
	}
	if got, err := RootFromPath(elements, first-own, total, path); err != nil || got == tree.Root() {
		t.Errorf("another place: %v, %v", got, err)
	}
	for name, call := range map[string]func() (Element, error){
		"empty":             func() (Element, error) { return RootFromPath(nil, first, total, path) },
		"negative":          func() (Element, error) { return RootFromPath(elements, -2, total, path) },
		"behind the end":    func() (Element, error) { return RootFromPath(elements, total-1, total, path) },
		"none":              func() (Element, error) { return RootFromPath(elements, 0, 0, nil) },
		"of two nodes":      func() (Element, error) { return RootFromPath(elements, 15, total, path) },
		"short":             func() (Element, error) { return RootFromPath(elements, first, total, path[:len(path)-1]) },
		"long":              func() (Element, error) { return RootFromPath(elements, first, total, append(path, Element{})) },
		"of a larger tree":  func() (Element, error) { return RootFromPath(elements, first, 4097, path) },
		"of a smaller tree": func() (Element, error) { return RootFromPath(elements, first, 256, path) },
	} {
		if _, err := call(); !errors.Is(err, ErrPath) {
			t.Errorf("%s: %v", name, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a path of no elements")
		}
	}()
	tree.Path(total-1, 2)
}

const document = "../../docs/protocol.md"

// TestGolden holds the values of section 13 of the document to the code.
func TestGolden(t *testing.T) {
	doc, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- statement hash values -->\n", "<!-- end of statement hash values -->\n"
	before, rest, found := strings.Cut(string(doc), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no values of the statement hash", document)
	}
	golden(t, document, []byte(before+begin+testValues()+end+after))
}

func testValues() string {
	var out strings.Builder
	out.WriteString("| what | bytes |\n|---|---|\n")
	row := func(what string, e Element) { fmt.Fprintf(&out, "| %s | `%x` |\n", what, e.Bytes()) }
	x := [Width]Element(append([]Element{{}}, counted(Width-1)...))
	y := x
	Permute(&y)
	for i := range y {
		row(fmt.Sprintf("P(0, 1, …, 15)[%d]", i), y[i])
	}
	row("C(0, 0, …, 0)", Compress(new([Width]Element)))
	row("C(1, 2, …, 16)", Compress((*[Width]Element)(counted(Width))))
	row("root over 1, 2", Root(counted(2)))
	for _, n := range []int{18, 258} {
		row(fmt.Sprintf("root over 1, 2, …, %d", n), Root(counted(n)))
	}
	return out.String()
}
