package bls

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// assembly is entries that members of rosters signed together, and how to look at each alone.
type assembly struct {
	rosters []*Roster
	secrets [][]*SecretKey
	entries []assembled
	rng     *rand.Rand
}

type assembled struct {
	roster    int // -1: a key of its own
	bits      []byte
	key       *PublicKey
	message   []byte
	signature [SignatureSize]byte
}

func newAssembly(t testing.TB, seed uint64, sizes ...int) *assembly {
	t.Helper()
	a := &assembly{rng: rand.New(rand.NewPCG(seed, 7))}
	for r, size := range sizes {
		secrets, keys := make([]*SecretKey, size), make([]*PublicKey, size)
		for i := range secrets {
			ikm := sha256Sum(fmt.Sprint("roster ", r, i))
			var err error
			if secrets[i], err = KeyGen(ikm[:]); err != nil {
				t.Fatal(err)
			}
			keys[i] = secrets[i].PublicKey()
		}
		roster, err := NewRoster(keys)
		if err != nil {
			t.Fatal(err)
		}
		a.rosters, a.secrets = append(a.rosters, roster), append(a.secrets, secrets)
	}
	return a
}

// add signs the next message as some members of a roster.
func (a *assembly) add(roster int, members ...int) {
	e := assembled{roster: roster, bits: make([]byte, (len(a.secrets[roster])+7)/8),
		message: binary.LittleEndian.AppendUint64(make([]byte, 92), uint64(len(a.entries)))}
	var sum SecretKey
	for _, m := range members {
		e.bits[m/8] |= 1 << (m % 8)
		sum.s.Add(&sum.s, &a.secrets[roster][m].s)
	}
	if !sum.s.IsZero() {
		s := Default.Sign(&sum, e.message)
		e.signature = s.Bytes()
	} else { // any point
		s := Default.Sign(a.secrets[roster][0], e.message)
		e.signature = s.Bytes()
	}
	a.entries = append(a.entries, e)
}

// quorum is two thirds and one of a roster's members.
func (a *assembly) quorum(roster int) []int {
	n := len(a.secrets[roster])
	return a.rng.Perm(n)[:2*n/3+1]
}

func (a *assembly) alone(roster, member int) {
	a.add(roster, member)
	e := &a.entries[len(a.entries)-1]
	e.roster, e.key = -1, a.rosters[roster].keys[member]
}

func (a *assembly) batch() (b Batch) {
	for i := range a.entries {
		if e := &a.entries[i]; e.roster < 0 {
			b.Append(e.key, e.message, e.signature[:])
		} else {
			b.AppendSum(a.rosters[e.roster], e.bits, e.message, e.signature[:])
		}
	}
	return b
}

// oneByOne is the reference: each entry under the sum of its keys.
func (a *assembly) oneByOne() (want []Verdict) {
	for i := range a.entries {
		e, verdict := &a.entries[i], VerdictValid
		key := e.key
		if key == nil {
			var keys []*PublicKey
			for j, k := range a.rosters[e.roster].keys {
				if e.bits[j/8]>>(j%8)&1 == 1 {
					keys = append(keys, k)
				}
			}
			key = AggregatePublicKeys(keys)
		}
		sig, err := ParseSignature(e.signature[:])
		switch {
		case key.IsIdentity() && !errors.As(err, &verdict):
			verdict = VerdictIdentity
		case !errors.As(err, &verdict) && !Default.Verify(key, e.message, &sig):
			verdict = VerdictBadSignature
		}
		want = append(want, verdict)
	}
	return want
}

// shift adds a point to a signature.
func (a *assembly) shift(t testing.TB, i int, by affine) {
	s, err := ParseSignature(a.entries[i].signature[:])
	if err != nil {
		t.Fatal(err)
	}
	s.p.Add(&s.p, &by)
	a.entries[i].signature = s.p.Bytes()
}

func (a *assembly) exchange(i, j int) {
	a.entries[i].signature, a.entries[j].signature = a.entries[j].signature, a.entries[i].signature
}

// TestKeySums: signatures under sums of keys get the verdicts that each gets alone, whatever is
// wrong with them and whichever way the pairs are formed.
func TestKeySums(t *testing.T) {
	quorums := func(a *assembly, n int) {
		for range n {
			a.add(0, a.quorum(0)...)
		}
	}
	point := func(a *assembly) (p affine) {
		s, err := ParseSignature(a.entries[0].signature[:])
		if err != nil {
			t.Fatal(err)
		}
		return s.p
	}
	tests := []struct {
		name  string
		sizes []int
		loops int // of a batch that is valid; 0 is not looked at
		make  func(a *assembly)
	}{
		{"none", []int{3}, 0, func(*assembly) {}},
		{"one", []int{16}, 2, func(a *assembly) { quorums(a, 1) }},
		{"a few", []int{16}, 6, func(a *assembly) { quorums(a, 5) }},
		{"many", []int{16}, 17, func(a *assembly) { quorums(a, 60) }},
		{"a member is never there", []int{7}, 7, func(a *assembly) {
			for range 20 {
				members := a.rng.Perm(6)[:4]
				for i := range members {
					members[i]++
				}
				a.add(0, members...)
			}
		}},
		{"everybody each time", []int{9}, 2, func(a *assembly) {
			for range 12 {
				a.add(0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
			}
		}},
		{"two rosters and keys by turns", []int{8, 5}, 0, func(a *assembly) {
			for range 30 {
				a.add(0, a.quorum(0)...)
				a.alone(1, a.rng.IntN(5))
				a.add(1, a.quorum(1)...)
			}
			a.entries[31].signature[0] ^= flagLargest
			a.exchange(44, 50)
		}},
		{"one bad", []int{16}, 0, func(a *assembly) {
			quorums(a, 50)
			a.entries[20].message = slices.Clone(a.entries[21].message)
		}},
		{"a member more, a member less", []int{16}, 0, func(a *assembly) {
			quorums(a, 50)
			a.entries[4].bits[0] ^= 1
			a.entries[5].bits[1] ^= 0x80
		}},
		{"cancelling pair", []int{16}, 0, func(a *assembly) {
			quorums(a, 100)
			d := point(a)
			a.shift(t, 30, d)
			d.Neg(&d)
			a.shift(t, 60, d)
		}},
		{"exchanged", []int{16}, 0, func(a *assembly) { quorums(a, 30); a.exchange(3, 4) }},
		{"torsion", []int{16}, 0, func(a *assembly) {
			quorums(a, 100)
			a.shift(t, 30, torsion())
		}},
		{"malformed", []int{16}, 0, func(a *assembly) {
			quorums(a, 30)
			a.entries[1].signature = IdentitySignature
			a.entries[2].signature = offCurve
			a.entries[3].signature[0] &^= flagCompressed
		}},
		{"all bad", []int{5}, 0, func(a *assembly) {
			quorums(a, 30)
			for i := range a.entries {
				a.entries[i].signature[0] ^= flagLargest
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAssembly(t, 1, tt.sizes...)
			tt.make(a)
			want := a.oneByOne()
			if good := !slices.ContainsFunc(want,
				func(v Verdict) bool { return v != VerdictValid }); good != (tt.loops > 0) &&
				len(want) > 0 {
				t.Fatalf("one by one: %v", want)
			}
			for _, workers := range []int{1, 2} {
				b, got := a.batch(), make([]Verdict, len(want))
				report, err := NewVerifier(Default, workers).Verify(&b, got)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%v, want %v", got, want)
				}
				if tt.loops > 0 && report.Loops != tt.loops {
					t.Errorf("%d loops, want %d", report.Loops, tt.loops)
				}
			}
		})
	}
}

// TestKeySumsThatCancel: keys that add up to zero sign nothing, in a batch and alone, also beside
// others whose loops they share.
func TestKeySumsThatCancel(t *testing.T) {
	for _, n := range []int{0, 3, 40} {
		a := newAssembly(t, 2, 6)
		opposite := new(SecretKey)
		opposite.s.Neg(&a.secrets[0][4].s)
		a.secrets[0][5] = opposite
		keys := slices.Clone(a.rosters[0].keys)
		keys[5] = opposite.PublicKey()
		var err error
		if a.rosters[0], err = NewRoster(keys); err != nil {
			t.Fatal(err)
		}
		a.add(0, 4, 5)
		for range n {
			a.add(0, a.quorum(0)...)
		}
		want := a.oneByOne()
		if want[0] != VerdictIdentity {
			t.Fatalf("one by one: %v", want)
		}
		b := a.batch()
		got, err := Default.VerifyBatch(&b)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%d others: %v, %v, want %v", n, got, err, want)
		}
	}
}

// TestKeySumsByChance holds batches of random shape and faults against each entry alone.
func TestKeySumsByChance(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range rounds {
		a := newAssembly(t, seed+uint64(round), 1+round%11, 4)
		for range 1 + a.rng.IntN(40) {
			switch roster := a.rng.IntN(2); a.rng.IntN(5) {
			case 0:
				a.alone(roster, 0)
			case 1:
				a.add(roster, a.rng.IntN(len(a.secrets[roster])))
			default:
				a.add(roster, a.quorum(roster)...)
			}
		}
		for range a.rng.IntN(4) {
			i, j := a.rng.IntN(len(a.entries)), a.rng.IntN(len(a.entries))
			switch a.rng.IntN(4) {
			case 0:
				a.exchange(i, j)
			case 1:
				a.entries[i].signature[a.rng.IntN(SignatureSize)] ^= 1 << a.rng.IntN(8)
			case 2:
				a.entries[i].message = slices.Clone(a.entries[j].message)
			case 3:
				if b := a.entries[i].bits; b[0]&^1 != 0 {
					b[0] ^= 1
				}
			}
		}
		want, b := a.oneByOne(), a.batch()
		if got, err := Default.VerifyBatch(&b); err != nil || !slices.Equal(got, want) {
			t.Errorf("round %d: %v, %v, want %v", round, got, err, want)
		}
	}
}

func TestKeySumsMisuse(t *testing.T) {
	a := newAssembly(t, 3, 9)
	a.add(0, 1, 8)
	verdicts := make([]Verdict, 1)
	for name, bits := range map[string][]byte{"none": {0, 0}, "empty": {}, "beyond": {1, 2},
		"far beyond": {1, 1, 1}} {
		a.entries[0].bits = bits
		b := a.batch()
		if _, err := NewVerifier(Default, 1).Verify(&b, verdicts); !errors.Is(err, ErrBatch) {
			t.Errorf("%s: error %v, want ErrBatch", name, err)
		}
	}
	a.entries[0].bits = []byte{2, 1, 0} // what is left over names nobody
	b := a.batch()
	if _, err := NewVerifier(Default, 1).Verify(&b, verdicts); err != nil ||
		verdicts[0] != VerdictValid {
		t.Errorf("%v, %v", verdicts, err)
	}
	s, err := ParseSignature(a.entries[0].signature[:])
	if err != nil || Default.AggregateVerify(&b, &s) {
		t.Errorf("an aggregate under sums verifies, or %v", err)
	}
	for _, keys := range [][]*PublicKey{{nil}, {a.rosters[0].keys[0], new(PublicKey)}} {
		if _, err := NewRoster(keys); !errors.Is(err, ErrBatch) {
			t.Errorf("error %v, want ErrBatch", err)
		}
	}
}
