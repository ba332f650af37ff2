package poseidon2

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
)

// TestDerivation draws the constants again, as section 13 of the document says: there is nothing up
// anybody's sleeve.
func TestDerivation(t *testing.T) {
	ref, g := newReference(t), newGrain(254, Width, externalRounds, internalRounds)
	for round, keys := range ref.keys {
		for i, want := range keys {
			got := g.number(254)
			for got.Cmp(ref.p) >= 0 {
				got = g.number(254)
			}
			if got.Cmp(want) != 0 {
				t.Fatalf("key %d of round %d is %x, not %x", i, round, got, want)
			}
		}
	}
	for candidate := 1; ; candidate++ {
		var diagonal [Width]fr.Element // less one
		for i := range diagonal {
			diagonal[i].SetBigInt(g.number(254))
			diagonal[i].Sub(&diagonal[i], new(fr.Element).SetOne())
		}
		if !secure(&diagonal) {
			continue
		}
		if candidate != 7 || diagonal != parameters().diagonal {
			t.Errorf("candidate %d for the internal matrix: %v", candidate, diagonal)
		}
		return
	}
}

// grain is the LFSR Grain in self-shrinking mode, its oldest bit first.
type grain [80]byte

func newGrain(bits, width, external, internal int) *grain {
	g := new(grain)
	for i, bit := range fmt.Sprintf("01%04b%012b%012b%010b%010b%030b", 0, bits, width, external,
		internal, 1<<30-1) {
		g[i] = byte(bit - '0')
	}
	for range 160 {
		g.step()
	}
	return g
}

func (g *grain) step() byte {
	bit := g[62] ^ g[51] ^ g[38] ^ g[23] ^ g[13] ^ g[0]
	copy(g[:], g[1:])
	g[79] = bit
	return bit
}

func (g *grain) number(bits int) *big.Int {
	v := new(big.Int)
	for range bits {
		for g.step() == 0 {
			g.step()
		}
		v.Lsh(v, 1).Or(v, big.NewInt(int64(g.step())))
	}
	return v
}

// secure says whether the minimal polynomials of M, all ones plus the diagonal, and of its powers
// up to M^32 are irreducible of degree 16. That is so if the characteristic polynomial f of M is
// irreducible, and M^i, as an element of the field F = GF(r)[X]/f, in which M is X, is in no proper
// subfield. Such a one is in GF(r^8), whose elements x are those with x^(r^8) = x.
func secure(diagonal *[Width]fr.Element) bool {
	f := characteristic(diagonal)
	h := f.power(polynomial{{}, fr.One()}, fr.Modulus()) // X^r
	for range 3 {
		h = f.compose(h, h) // X^(r^2), ^4, ^8
	}
	x := polynomial{{}, fr.One()}
	// Rabin's test; 16 has one prime factor
	if f.gcd(h.minus(x)) != 0 || len(f.compose(h, h).minus(x)) > 0 {
		return false
	}
	left, right := h, x
	for range 2 * Width {
		if len(left.minus(right)) == 0 {
			return false
		}
		left, right = f.times(left, h), f.times(right, x)
	}
	return true
}

// polynomial over the field, lowest coefficient first, without zeros at the end.
type polynomial []fr.Element

// characteristic returns det(X − D − J) for the diagonal matrix D and the matrix J of ones: N − N',
// N = det(X − D).
func characteristic(diagonal *[Width]fr.Element) polynomial {
	n := polynomial{fr.One()}
	for i := range diagonal {
		next := append(polynomial{{}}, n...)
		for j := range n {
			var t fr.Element
			next[j].Sub(&next[j], t.Mul(&n[j], &diagonal[i]))
		}
		n = next
	}
	for j := range Width { // ascending, so that N's coefficient above is still its own
		var t, index fr.Element
		n[j].Sub(&n[j], t.Mul(&n[j+1], index.SetUint64(uint64(j+1))))
	}
	return n
}

func (f polynomial) trim() polynomial {
	for len(f) > 0 && f[len(f)-1].IsZero() {
		f = f[:len(f)-1]
	}
	return f
}

func (f polynomial) minus(g polynomial) polynomial {
	d := make(polynomial, max(len(f), len(g)))
	copy(d, f)
	for i := range g {
		d[i].Sub(&d[i], &g[i])
	}
	return d.trim()
}

// mod returns g modulo f, which overwrites g.
func (f polynomial) mod(g polynomial) polynomial {
	var lead, t fr.Element
	lead.Inverse(&f[len(f)-1])
	for g = g.trim(); len(g) >= len(f); g = g.trim() {
		var q fr.Element
		q.Mul(&g[len(g)-1], &lead)
		for i := range f {
			at := len(g) - len(f) + i
			g[at].Sub(&g[at], t.Mul(&q, &f[i]))
		}
	}
	return g
}

// times returns g·h modulo f.
func (f polynomial) times(g, h polynomial) polynomial {
	if len(g) == 0 || len(h) == 0 {
		return nil
	}
	product := make(polynomial, len(g)+len(h)-1)
	for i := range g {
		for j := range h {
			var t fr.Element
			product[i+j].Add(&product[i+j], t.Mul(&g[i], &h[j]))
		}
	}
	return f.mod(product)
}

func (f polynomial) power(g polynomial, exponent *big.Int) polynomial {
	result := polynomial{fr.One()}
	for i := exponent.BitLen() - 1; i >= 0; i-- {
		if result = f.times(result, result); exponent.Bit(i) == 1 {
			result = f.times(result, g)
		}
	}
	return result
}

// compose returns g(h) modulo f.
func (f polynomial) compose(g, h polynomial) (result polynomial) {
	for i := len(g) - 1; i >= 0; i-- {
		result = f.times(result, h).minus(polynomial{*new(fr.Element).Neg(&g[i])})
	}
	return result
}

// gcd returns the degree of the greatest common divisor.
func (f polynomial) gcd(g polynomial) int {
	for a, b := f, g; ; {
		if len(b) == 0 {
			return len(a) - 1
		}
		a, b = b, b.mod(append(polynomial(nil), a...))
	}
}

// TestInsecureIsSeen gives the check matrices that fail it: two equal entries on the diagonal are
// an eigenvalue, and the characteristic polynomial of a random matrix is rarely irreducible.
func TestInsecureIsSeen(t *testing.T) {
	diagonal := parameters().diagonal
	if !secure(&diagonal) {
		t.Fatal("the internal matrix does not pass")
	}
	for name, change := range map[string]func(d *[Width]fr.Element){
		"zero":  func(d *[Width]fr.Element) { *d = [Width]fr.Element{} },
		"equal": func(d *[Width]fr.Element) { d[3] = d[9] },
		"other": func(d *[Width]fr.Element) { d[0].SetUint64(5) },
	} {
		d := diagonal
		if change(&d); secure(&d) {
			t.Errorf("%s: passes", name)
		}
	}
}
