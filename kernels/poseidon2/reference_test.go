package poseidon2

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
)

var update = flag.Bool("update", false,
	"write docs/poseidon2-bn254-16.json and the hash values of docs/protocol.md")

const (
	document      = "../../docs/protocol.md"
	parameterFile = "../../docs/poseidon2-bn254-16.json"
)

// published is the content of the parameter file.
type published struct {
	Modulus          string   `json:"modulus"`
	Width            int      `json:"width"`
	SBox             int      `json:"sbox_exponent"`
	ExternalRounds   int      `json:"external_rounds"`
	InternalRounds   int      `json:"internal_rounds"`
	M4               [][]int  `json:"external_matrix_m4"`
	InternalDiagonal []string `json:"internal_matrix_diagonal_less_one"`
	RoundKeys        []keys   `json:"round_keys"`
}

// keys of a round: sixteen, or one for element 0.
type keys []string

// TestParameterFile holds the file to what the code uses.
func TestParameterFile(t *testing.T) {
	c := parameters()
	hex := func(e fr.Element) string { return fmt.Sprintf("0x%064x", e.BigInt(new(big.Int))) }
	all := func(es []fr.Element) (k keys) {
		for _, e := range es {
			k = append(k, hex(e))
		}
		return k
	}
	p := published{
		Modulus: fmt.Sprintf("0x%064x", fr.Modulus()), Width: Width, SBox: 5,
		ExternalRounds: externalRounds, InternalRounds: internalRounds,
		M4:               [][]int{{5, 7, 1, 3}, {4, 6, 1, 1}, {1, 3, 5, 7}, {1, 1, 4, 6}},
		InternalDiagonal: all(c.diagonal[:]),
	}
	for i := range c.external {
		if i == externalRounds/2 {
			for j := range c.internal {
				p.RoundKeys = append(p.RoundKeys, all(c.internal[j:j+1]))
			}
		}
		p.RoundKeys = append(p.RoundKeys, all(c.external[i][:]))
	}
	want, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, parameterFile, append(want, '\n'))
}

// TestGolden holds the hash values of the document to the code.
func TestGolden(t *testing.T) {
	doc, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- hash values -->\n", "<!-- end of hash values -->\n"
	before, rest, found := strings.Cut(string(doc), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no hash values", document)
	}
	golden(t, document, []byte(before+begin+hashValues()+end+after))
}

func hashValues() string {
	var out strings.Builder
	out.WriteString("| what | bytes |\n|---|---|\n")
	row := func(what string, e Element) { fmt.Fprintf(&out, "| %s | `%x` |\n", what, e.Bytes()) }
	x := [Width]Element(counted(0, Width))
	Permute(&x)
	for i := range x {
		row(fmt.Sprintf("P(0, 1, …, 15)[%d]", i), x[i])
	}
	row("C(0, 0, …, 0)", Compress(new([Width]Element)))
	row("C(1, 2, …, 16)", Compress((*[Width]Element)(counted(1, Width))))
	for i, parent := range ReduceLevel(counted(1, 18)) {
		row(fmt.Sprintf("parent %d of the level 1, 2, …, 18", i), parent)
	}
	return out.String()
}

func golden(t *testing.T, path string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is not what the code gives; if the change is meant: go test "+
			"./kernels/poseidon2 -update", path)
	}
}

// reference is the permutation as the paper defines it, in integers: whole matrices, and the
// constants of the file.
type reference struct {
	p                  *big.Int
	external, internal [Width][Width]*big.Int
	keys               [][]*big.Int
	sbox               *big.Int
}

func newReference(t testing.TB) *reference {
	text, err := os.ReadFile(parameterFile)
	if err != nil {
		t.Fatal(err)
	}
	var file published
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	number := func(hex string) *big.Int {
		v, ok := new(big.Int).SetString(hex, 0)
		if !ok {
			t.Fatalf("%q is no number", hex)
		}
		return v
	}
	r := &reference{p: number(file.Modulus), sbox: big.NewInt(int64(file.SBox))}
	for i := range Width {
		for j := range Width {
			r.external[i][j] = big.NewInt(int64(file.M4[i%4][j%4]))
			if i/4 == j/4 {
				r.external[i][j].Lsh(r.external[i][j], 1)
			}
			r.internal[i][j] = big.NewInt(1)
			if i == j {
				r.internal[i][j].Add(r.internal[i][j], number(file.InternalDiagonal[i]))
			}
		}
	}
	for _, round := range file.RoundKeys {
		var k []*big.Int
		for _, hex := range round {
			k = append(k, number(hex))
		}
		r.keys = append(r.keys, k)
	}
	return r
}

func (r *reference) times(m *[Width][Width]*big.Int, x []*big.Int) []*big.Int {
	y := make([]*big.Int, Width)
	for i := range y {
		y[i] = new(big.Int)
		for j := range x {
			y[i].Add(y[i], new(big.Int).Mul(m[i][j], x[j]))
		}
		y[i].Mod(y[i], r.p)
	}
	return y
}

func (r *reference) permute(x []*big.Int) []*big.Int {
	x = r.times(&r.external, x)
	for _, keys := range r.keys {
		for i, k := range keys { // as many elements as there are keys go through the S-box
			x[i].Add(x[i], k).Exp(x[i], r.sbox, r.p)
		}
		if len(keys) == 1 {
			x = r.times(&r.internal, x)
		} else {
			x = r.times(&r.external, x)
		}
	}
	return x
}

// permuted is permute on elements.
func (r *reference) permuted(x []Element) (y [Width]Element) {
	v := make([]*big.Int, Width)
	for i := range v {
		v[i] = integer(x[i])
	}
	for i, e := range r.permute(v) {
		y[i] = fromInteger(e)
	}
	return y
}

// integer and fromInteger convert by way of the canonical encoding.
func integer(x Element) *big.Int {
	b := x.Bytes()
	for i := range Size / 2 {
		b[i], b[Size-1-i] = b[Size-1-i], b[i]
	}
	return new(big.Int).SetBytes(b[:])
}

func fromInteger(v *big.Int) Element {
	var b [Size]byte
	v.FillBytes(b[:])
	for i := range Size / 2 {
		b[i], b[Size-1-i] = b[Size-1-i], b[i]
	}
	x, err := ParseElement(b[:])
	if err != nil {
		panic(err)
	}
	return x
}
