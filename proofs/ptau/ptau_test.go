package ptau

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"math/big"
	"os"
	"runtime"
	"slices"
	"testing"

	curve "github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark-crypto/ecc/bn254/fp"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark/backend/groth16/bn254/mpcsetup"
)

func open(t *testing.T, name string) *File {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// converted returns the first n powers as gnark reads them.
func converted(t *testing.T, f *File, n uint64) *mpcsetup.SrsCommons {
	t.Helper()
	var out bytes.Buffer
	if err := f.Convert(&out, n); err != nil {
		t.Fatal(err)
	}
	powers := new(mpcsetup.SrsCommons)
	if read, err := powers.ReadFrom(&out); err != nil || out.Len() > 0 {
		t.Fatalf("gnark reads %d bytes and leaves %d: %v", read, out.Len(), err)
	}
	if err := Check(powers); err != nil {
		t.Error(err)
	}
	return powers
}

// TestFilesOfSnarkjs reads what snarkjs 0.7.6 wrote: a file with two contributions and a beacon,
// and one that was cut from it, with Lagrange forms.
func TestFilesOfSnarkjs(t *testing.T) {
	who := []Contribution{{"first contributor", false}, {"second", false}, {"the beacon", true}}
	for name, want := range map[string]struct {
		power  int
		digest string
	}{
		"power4.ptau": {4, "ecadb6c0df1cfe07a3011ac0bad2b8ef1952496f7e3ffe99ab3d19a03632e7aa" +
			"a6a6a8c8af3a3fa4bbeefe46967fd5283dba5af5f86ea2abd0414d18bd32de64"},
		"power3-cut.ptau": {3, "854979035b20c9fffb7adc4b9bbda85cca58b93c009bc90d415b9ec6e8c58adc" +
			"dfc56536cc777a7d820d0a87f333db0fa78a9f09b9b2d2515f267d33613eca24"},
	} {
		f := open(t, name)
		if f.Power != want.power || f.Ceremony != 4 || !slices.Equal(f.Contributions, who) {
			t.Errorf("%s: 2^%d of 2^%d, by %+v", name, f.Power, f.Ceremony, f.Contributions)
		}
		digest, err := f.Digest()
		if err != nil || hex.EncodeToString(digest[:]) != want.digest {
			t.Errorf("%s: digest %x, %v", name, digest, err)
		}
		whole := converted(t, f, 1<<want.power)
		if less := converted(t, f, 4); !slices.Equal(less.G1.Tau, whole.G1.Tau[:7]) ||
			!slices.Equal(less.G2.Tau, whole.G2.Tau[:4]) || less.G2.Beta != whole.G2.Beta {
			t.Errorf("%s: four powers are others than the first four", name)
		}
	}
	b, err := os.ReadFile("testdata/power4-empty.ptau")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(bytes.NewReader(b), int64(len(b))); !errors.Is(err, ReasonNobody) {
		t.Errorf("without a contribution: %v", err)
	}
}

// TestPowers compares with powers that are computed from the secrets, in several pieces.
func TestPowers(t *testing.T) {
	f, err := write(5, usual).open()
	if err != nil {
		t.Fatal(err)
	}
	const n = 16
	powers := converted(t, f, n)
	var tau, power fr.Element
	tau.SetUint64(usual.tau)
	power.SetOne()
	for i := range 2*n - 1 {
		var p curve.G1Affine
		p.ScalarMultiplicationBase(power.BigInt(new(big.Int)))
		if !powers.G1.Tau[i].Equal(&p) {
			t.Errorf("τ^%d in G1", i)
		}
		if i < n {
			var q curve.G2Affine
			q.ScalarMultiplicationBase(power.BigInt(new(big.Int)))
			var a, b curve.G1Affine
			a.ScalarMultiplication(&p, big.NewInt(int64(usual.alpha)))
			b.ScalarMultiplication(&p, big.NewInt(int64(usual.beta)))
			if !powers.G2.Tau[i].Equal(&q) || !powers.G1.AlphaTau[i].Equal(&a) ||
				!powers.G1.BetaTau[i].Equal(&b) {
				t.Errorf("τ^%d in G2, or times α or β", i)
			}
		}
		power.Mul(&power, &tau)
	}
	var beta curve.G2Affine
	if !powers.G2.Beta.Equal(beta.ScalarMultiplicationBase(big.NewInt(int64(usual.beta)))) {
		t.Error("β in G2")
	}
}

// TestFileInPieces converts with pieces that do not fit the sections.
func TestFileInPieces(t *testing.T) {
	f, err := write(4, usual).open()
	if err != nil {
		t.Fatal(err)
	}
	var whole bytes.Buffer
	if err := f.Convert(&whole, 16); err != nil {
		t.Fatal(err)
	}
	for _, f.piece = range []uint64{1, 2, 3, 7, 30} {
		var out bytes.Buffer
		if err := f.Convert(&out, 16); err != nil || !bytes.Equal(out.Bytes(), whole.Bytes()) {
			t.Errorf("pieces of %d: %v", f.piece, err)
		}
	}
}

// TestPieces adds up a progression in pieces of all sizes.
func TestPieces(t *testing.T) {
	f, err := write(4, usual).open()
	if err != nil {
		t.Fatal(err)
	}
	powers := converted(t, f, 16)
	for size := 1; size <= 31; size++ {
		c, err := newCheck()
		if err != nil {
			t.Fatal(err)
		}
		for part := range slices.Chunk(powers.G1.Tau, size) {
			if err := c.tau1.add(part); err != nil {
				t.Fatal(err)
			}
		}
		for part := range slices.Chunk(powers.G2.Tau, size) {
			if err := c.tau2.add(part); err != nil {
				t.Fatal(err)
			}
		}
		low1, high1 := c.tau1.terms()
		low2, high2 := c.tau2.terms()
		if !sameRatio(&low1, &high1, &generator2, &powers.G2.Tau[1]) ||
			!sameRatio(&generator1, &powers.G1.Tau[1], &low2, &high2) {
			t.Errorf("pieces of %d", size)
		}
	}
}

// outside is a point of the twist that is not in the subgroup.
func outside() curve.G2Affine {
	for i := uint64(1); ; i++ {
		var x curve.G2Affine
		x.X.A0.SetUint64(i)
		// y² = x³ + b, where b is what the generator leaves of its own equation
		b, g := generator2.Y, generator2.X
		b.Square(&b)
		g.Square(&g).Mul(&g, &generator2.X)
		b.Sub(&b, &g)
		y := x.X
		y.Square(&y).Mul(&y, &x.X).Add(&y, &b)
		if y.Legendre() != 1 {
			continue
		}
		x.Y.Sqrt(&y)
		if x.IsOnCurve() && !x.IsInSubGroup() {
			return x
		}
	}
}

var mutations = []struct {
	name   string
	reason Reason
	change func(m *made)
}{
	{"another version", ReasonFormat, func(m *made) { m.version = 2 }},
	{"bytes behind it", ReasonSections, func(m *made) { m.behind = []byte{0} }},
	{"a section of no known type", ReasonSections, func(m *made) { m.add(8, nil) }},
	{"a section twice", ReasonSections, func(m *made) {
		m.add(sectionBeta2, m.of(sectionBeta2).body)
	}},
	{"a section that is longer than the file", ReasonSections, func(m *made) {
		m.of(sectionContributions).size = 1 << 62
	}},
	{"a section of the largest size", ReasonSections, func(m *made) {
		m.of(sectionContributions).size = math.MaxInt64
	}},
	{"no header", ReasonSections, func(m *made) { m.sections = m.sections[1:] }},
	{"a short header", ReasonSections, func(m *made) {
		m.of(sectionHeader).body = m.of(sectionHeader).body[:headerSize-1]
	}},
	{"coordinates of 48 bytes", ReasonCurve, func(m *made) { m.of(sectionHeader).body[0] = 48 }},
	{"another modulus", ReasonCurve, func(m *made) { m.of(sectionHeader).body[4] ^= 1 }},
	{"no powers", ReasonSize, func(m *made) { m.of(sectionHeader).body = header(0, 3) }},
	{"more powers than a field has", ReasonSize, func(m *made) {
		m.of(sectionHeader).body = header(29, 29)
	}},
	{"more powers than its ceremony", ReasonSize, func(m *made) {
		m.of(sectionHeader).body = header(3, 2)
	}},
	{"2^63 powers", ReasonSize, func(m *made) { m.of(sectionHeader).body = header(63, 63) }},
	{"a power that its sections do not have", ReasonSections, func(m *made) {
		m.of(sectionHeader).body = header(4, 4)
	}},
	{"a power less", ReasonSections, func(m *made) { m.of(sectionHeader).body = header(2, 3) }},
	{"no section of α", ReasonSections, func(m *made) { m.of(sectionAlpha).kind = firstLagrange }},
	{"no contributions section", ReasonSections, func(m *made) { m.sections = m.sections[:6] }},
	{"no contribution", ReasonNobody, func(m *made) {
		m.of(sectionContributions).body = make([]byte, 4)
	}},
	{"contributions that fill the memory", ReasonContributions, func(m *made) {
		binary.LittleEndian.PutUint32(m.of(sectionContributions).body, 1<<32-1)
	}},
	{"a contribution more than there is", ReasonContributions, func(m *made) {
		m.of(sectionContributions).body[0] = 2
	}},
	{"a contribution less than there is", ReasonContributions, func(m *made) {
		s := m.of(sectionContributions)
		s.body = append(s.body, contribution(usual, "bob")...)
	}},
	{"a contribution whose parameters are cut", ReasonContributions, func(m *made) {
		s := m.of(sectionContributions)
		s.body = s.body[:len(s.body)-1]
	}},
	{"a name that is longer than its parameters", ReasonContributions, func(m *made) {
		s := m.of(sectionContributions)
		s.body[len(s.body)-6]++
	}},
	{"a parameter of no known type", ReasonContributions, func(m *made) {
		s := m.of(sectionContributions)
		s.body[len(s.body)-7] = 4
	}},
	{"a contribution with a point off the curve", ReasonContributions, func(m *made) {
		m.of(sectionContributions).body[4] ^= 1
	}},
	{"a contribution with two secrets", ReasonContributions, func(m *made) {
		copy(m.of(sectionContributions).body[4:], points1(of(6), of(1), 1))
	}},
	{"a last contribution of other powers", ReasonContributions, func(m *made) {
		m.of(sectionContributions).body = append([]byte{1, 0, 0, 0},
			contribution(secrets{5, 7, 12}, "alice")...)
	}},
	{"a last contribution of another α", ReasonContributions, func(m *made) {
		m.of(sectionContributions).body = append([]byte{1, 0, 0, 0},
			contribution(secrets{5, 8, 11}, "alice")...)
	}},
	{"a point off the curve", ReasonPoint, func(m *made) { m.of(sectionTau1).body[3*sizeG1] ^= 1 }},
	{"the last point off the curve", ReasonPoint, func(m *made) {
		b := m.of(sectionTau1).body
		b[len(b)-fp.Bytes] ^= 1
	}},
	{"a coordinate that is not reduced", ReasonPoint, func(m *made) {
		b := m.of(sectionAlpha).body
		addModulus(b[:fp.Bytes])
	}},
	{"a coordinate of all ones", ReasonPoint, func(m *made) {
		copy(m.of(sectionBeta).body[sizeG1:], bytes.Repeat([]byte{0xff}, fp.Bytes))
	}},
	{"a point that is zero", ReasonPoint, func(m *made) {
		copy(m.of(sectionBeta).body[2*sizeG1:], make([]byte, sizeG1))
	}},
	{"all of α zero", ReasonPoint, func(m *made) { clear(m.of(sectionAlpha).body) }},
	{"a point of G2 off the curve", ReasonPoint, func(m *made) {
		m.of(sectionTau2).body[2*sizeG2] ^= 1
	}},
	{"a point of G2 outside of the subgroup", ReasonPoint, func(m *made) {
		p := outside()
		copy(m.of(sectionTau2).body[3*sizeG2:], encode(nil, &p.X.A0, &p.X.A1, &p.Y.A0, &p.Y.A1))
	}},
	{"β in G2 outside of the subgroup", ReasonPoint, func(m *made) {
		p := outside()
		copy(m.of(sectionBeta2).body, encode(nil, &p.X.A0, &p.X.A1, &p.Y.A0, &p.Y.A1))
	}},
	{"powers of τ that start elsewhere", ReasonStart, func(m *made) {
		copy(m.of(sectionTau1).body, points1(of(2), of(1), 1))
	}},
	{"powers in G2 that start elsewhere", ReasonStart, func(m *made) {
		copy(m.of(sectionTau2).body, points2(of(2), of(1), 1))
	}},
	{"one power of another secret", ReasonPowers, func(m *made) {
		copy(m.of(sectionTau1).body[9*sizeG1:], points1(of(6), of(1), 1))
	}},
	{"the last power of another secret", ReasonPowers, func(m *made) {
		copy(m.of(sectionTau1).body[14*sizeG1:], points1(of(6), of(1), 1))
	}},
	{"two powers exchanged", ReasonPowers, func(m *made) {
		b := m.of(sectionTau1).body
		third := slices.Clone(b[3*sizeG1 : 4*sizeG1])
		copy(b[3*sizeG1:], b[4*sizeG1:5*sizeG1])
		copy(b[4*sizeG1:], third)
	}},
	{"one power in G2 of another secret", ReasonPowers, func(m *made) {
		copy(m.of(sectionTau2).body[4*sizeG2:], points2(of(6), of(1), 1))
	}},
	{"the last power in G2 of another secret", ReasonPowers, func(m *made) {
		copy(m.of(sectionTau2).body[7*sizeG2:], points2(of(6), of(1), 1))
	}},
	{"one power of α of another secret", ReasonPowers, func(m *made) {
		copy(m.of(sectionAlpha).body[7*sizeG1:], points1(of(6), of(1), 1))
	}},
	{"powers of α with another τ", ReasonPowers, func(m *made) {
		m.of(sectionAlpha).body = points1(of(usual.alpha), of(6), 8)
	}},
	{"one power of β of another secret", ReasonPowers, func(m *made) {
		copy(m.of(sectionBeta).body[1*sizeG1:], points1(of(6), of(1), 1))
	}},
	{"powers in G2 of another τ", ReasonContributions, func(m *made) {
		m.of(sectionTau2).body = points2(of(1), of(6), 8)
	}},
	{"another β in G2", ReasonContributions, func(m *made) {
		m.of(sectionBeta2).body = points2(of(12), of(1), 1)
	}},
	{"τ of 1", ReasonNobody, func(m *made) { *m = *write(3, secrets{1, 7, 11}) }},
	{"α of 1", ReasonNobody, func(m *made) { *m = *write(3, secrets{5, 1, 11}) }},
	{"β of 1", ReasonNobody, func(m *made) { *m = *write(3, secrets{5, 7, 1}) }},
}

func of(v uint64) *fr.Element { e := fr.NewElement(v); return &e }

// addModulus adds the field's modulus to a coordinate.
func addModulus(b []byte) {
	slices.Reverse(b)
	sum := new(big.Int).SetBytes(b)
	sum.Add(sum, fp.Modulus()).FillBytes(b)
	slices.Reverse(b)
}

// TestMutations changes a good file in one place at a time.
func TestMutations(t *testing.T) {
	for _, c := range mutations {
		m := write(3, usual)
		c.change(m)
		f, err := m.open()
		if err == nil {
			err = f.Convert(io.Discard, 8)
		}
		var reason Reason
		if !errors.As(err, &reason) || reason != c.reason {
			t.Errorf("%s: %v, want %v", c.name, err, c.reason)
		}
	}
}

// TestRootOfUnity has a secret at which every domain's polynomial is zero.
func TestRootOfUnity(t *testing.T) {
	f, err := write(3, usual).open()
	if err != nil {
		t.Fatal(err)
	}
	powers := converted(t, f, 8)
	for i := range powers.G1.Tau { // τ = −1
		powers.G1.Tau[i] = generator1
		if i%2 == 1 {
			powers.G1.Tau[i].Neg(&generator1)
		}
	}
	if err := Check(powers); !errors.Is(err, ReasonPowers) {
		t.Error(err)
	}
}

type srs = mpcsetup.SrsCommons

// TestCheck changes converted powers, as those in a transcript may be.
func TestCheck(t *testing.T) {
	f, err := write(3, usual).open()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		reason Reason
		change func(p *srs)
	}{
		"too few":     {ReasonSize, func(p *srs) { p.G1.Tau = p.G1.Tau[1:] }},
		"none":        {ReasonSize, func(p *srs) { *p = mpcsetup.SrsCommons{} }},
		"α is zero":   {ReasonPoint, func(p *srs) { clear(p.G1.AlphaTau) }},
		"β is zero":   {ReasonPoint, func(p *srs) { clear(p.G1.BetaTau) }},
		"τ is zero":   {ReasonPoint, func(p *srs) { clear(p.G1.Tau[1:]) }},
		"a power":     {ReasonPowers, func(p *srs) { p.G1.Tau[9] = p.G1.Tau[8] }},
		"of α":        {ReasonPowers, func(p *srs) { p.G1.AlphaTau[3] = p.G1.Tau[8] }},
		"of β":        {ReasonPowers, func(p *srs) { p.G1.BetaTau[7] = p.G1.Tau[8] }},
		"in G2":       {ReasonPowers, func(p *srs) { p.G2.Tau[5] = p.G2.Tau[4] }},
		"another β":   {ReasonPowers, func(p *srs) { p.G2.Beta = p.G2.Tau[1] }},
		"β and all α": {ReasonNobody, func(p *srs) { copy(p.G1.AlphaTau, p.G1.Tau) }},
	} {
		powers := converted(t, f, 8)
		c.change(powers)
		if err := Check(powers); !errors.Is(err, c.reason) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSizes(t *testing.T) {
	f, err := write(3, usual).open()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{0, 1, 3, 16, 1 << 63} {
		if err := f.Convert(io.Discard, n); !errors.Is(err, ReasonSize) {
			t.Errorf("%d powers: %v", n, err)
		}
	}
	failing := errors.New("the disk is full")
	if err := f.Convert(writer{failing}, 8); !errors.Is(err, failing) {
		t.Errorf("a writer that fails: %v", err)
	}
}

type writer struct{ error }

func (w writer) Write([]byte) (int, error) { return 0, w.error }

// TestCut cuts a file at every length.
func TestCut(t *testing.T) {
	b := write(2, usual).bytes()
	for n := range b {
		if _, err := Open(bytes.NewReader(b[:n]), int64(n)); err == nil {
			t.Errorf("%d of %d bytes are taken", n, len(b))
		}
		// as if it had shrunk since its size was looked up
		if f, err := Open(bytes.NewReader(b[:n]), int64(len(b))); err == nil {
			if err := f.Convert(io.Discard, 4); !errors.Is(err, ReasonRead) {
				t.Errorf("%d of %d bytes: %v", n, len(b), err)
			}
		}
	}
}

// TestLengthsThatLie has lengths all over a small file, and looks at what opening it allocates.
func TestLengthsThatLie(t *testing.T) {
	good := write(2, usual).bytes()
	for at := range len(good) - 8 {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint64(b[at:], 1<<40-1)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Open(bytes.NewReader(b), int64(len(b)))
		runtime.ReadMemStats(&after)
		var reason Reason
		if err != nil && !errors.As(err, &reason) {
			t.Errorf("at %d: %v is no reason", at, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("at %d: %d bytes are allocated", at, n)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(write(1, usual).bytes())
	b, err := os.ReadFile("testdata/power3-cut.ptau")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Open(bytes.NewReader(b), int64(len(b)))
		if err == nil {
			err = file.Convert(io.Discard, 2)
		}
		var reason Reason
		if err != nil && !errors.As(err, &reason) {
			t.Errorf("%v is no reason", err)
		}
	})
}
