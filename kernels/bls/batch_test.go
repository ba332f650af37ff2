package bls

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

const (
	frameSize   = 128
	messageSize = 80
)

// fixture is a batch of frames, each a message and its signature, as on the wire.
type fixture struct {
	Batch
	secrets []*SecretKey
	frames  []byte
}

// newFixture makes n frames with distinct messages, signed by the signers in turn.
func newFixture(t testing.TB, n, signers int) *fixture {
	t.Helper()
	f := &fixture{frames: make([]byte, n*frameSize)}
	seed := sha256Sum("fixture")
	for i := range signers {
		binary.LittleEndian.PutUint32(seed[:], uint32(i))
		sk, err := KeyGen(seed[:])
		if err != nil {
			t.Fatal(err)
		}
		f.secrets = append(f.secrets, sk)
		f.Keys = append(f.Keys, sk.PublicKey())
	}
	for i := range n {
		binary.LittleEndian.PutUint64(f.frames[i*frameSize:], uint64(i))
		f.Signer = append(f.Signer, uint32(i%signers))
	}
	f.Messages = Column{f.frames, frameSize, messageSize}
	f.Signatures = Column{f.frames[messageSize:], frameSize, SignatureSize}
	for i := range n {
		f.sign(i)
	}
	return f
}

func (f *fixture) sign(i int) {
	sig := Default.Sign(f.secrets[f.Signer[i]], f.Messages.At(i))
	f.set(i, sig)
}

func (f *fixture) sig(t testing.TB, i int) Signature {
	t.Helper()
	s, err := ParseSignature(f.Signatures.At(i))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (f *fixture) set(i int, s Signature) {
	b := s.Bytes()
	copy(f.Signatures.At(i), b[:])
}

// clone copies what tests corrupt.
func (f *fixture) clone() *fixture {
	c := &fixture{secrets: f.secrets, frames: slices.Clone(f.frames)}
	c.Keys, c.Signer = f.Keys, slices.Clone(f.Signer)
	c.Messages = Column{c.frames, frameSize, messageSize}
	c.Signatures = Column{c.frames[messageSize:], frameSize, SignatureSize}
	return c
}

// oneByOne is the reference: what the parser and the single check say of every entry.
func (f *fixture) oneByOne() []Verdict {
	want := make([]Verdict, len(f.Signer))
	for i := range want {
		want[i] = VerdictValid
		sig, err := ParseSignature(f.Signatures.At(i))
		errors.As(err, &want[i])
		if err == nil && !Default.Verify(f.Keys[f.Signer[i]], f.Messages.At(i), &sig) {
			want[i] = VerdictBadSignature
		}
	}
	return want
}

// verify runs a batch and compares the verdicts.
func (f *fixture) verify(t *testing.T, v *Verifier, want []Verdict) Report {
	t.Helper()
	got := make([]Verdict, len(f.Signer))
	for i := range got {
		got[i] = Verdict(i % 7) // stale values must not matter
	}
	report, err := v.Verify(&f.Batch, got)
	if err != nil {
		t.Fatal(err)
	}
	invalid := 0
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("entry %d of %d: %v, want %v (%+v)", i, len(got), got[i], want[i], report)
		}
		if want[i] != VerdictValid {
			invalid++
		} else if b := v.Signatures()[i].Bytes(); string(b[:]) != string(f.Signatures.At(i)) {
			t.Fatalf("entry %d: decoded signature differs", i)
		}
	}
	if report.Invalid != invalid {
		t.Fatalf("report counts %d invalid, want %d", report.Invalid, invalid)
	}
	return report
}

// torsion is a point of order 3: x = 0 on y² = x³ + 4.
func torsion() (p affine) {
	p.Y = fp.NewElement(2)
	return p
}

func (f *fixture) shift(t testing.TB, i int, by affine) {
	s := f.sig(t, i)
	s.p.Add(&s.p, &by)
	f.set(i, s)
}

func want(n int, bad Verdict, at ...int) []Verdict {
	w := slices.Repeat([]Verdict{VerdictValid}, n)
	for _, i := range at {
		w[i] = bad
	}
	return w
}

func TestBatchAttacks(t *testing.T) {
	const n, signers = 130, 7
	valid := newFixture(t, n, signers)
	tests := []struct {
		name    string
		corrupt func(f *fixture)
		want    []Verdict
	}{
		{"none", func(f *fixture) {}, want(n, VerdictValid)},
		{"cancelling pair of one signer", func(f *fixture) {
			d := f.sig(t, 50).p
			f.shift(t, 3, d)
			d.Neg(&d)
			f.shift(t, 3+signers, d)
		}, want(n, VerdictBadSignature, 3, 3+signers)},
		{"cancelling pair of two signers", func(f *fixture) {
			d := f.sig(t, 50).p
			f.shift(t, 3, d)
			d.Neg(&d)
			f.shift(t, 4, d)
		}, want(n, VerdictBadSignature, 3, 4)},
		{"torsion", func(f *fixture) { f.shift(t, 100, torsion()) },
			want(n, VerdictNotInSubgroup, 100)},
		{"cancelling torsion", func(f *fixture) {
			d := torsion()
			f.shift(t, 100, d)
			d.Neg(&d)
			f.shift(t, 107, d)
		}, want(n, VerdictNotInSubgroup, 100, 107)},
		{"identity", func(f *fixture) { copy(f.Signatures.At(9), IdentitySignature[:]) },
			want(n, VerdictIdentity, 9)},
		{"identity with garbage", func(f *fixture) {
			copy(f.Signatures.At(9), IdentitySignature[:])
			f.Signatures.At(9)[47] = 1
		}, want(n, VerdictBadEncoding, 9)},
		{"identity with sign", func(f *fixture) {
			copy(f.Signatures.At(9), IdentitySignature[:])
			f.Signatures.At(9)[0] |= flagLargest
		}, want(n, VerdictBadEncoding, 9)},
		{"uncompressed flag", func(f *fixture) { f.Signatures.At(0)[0] &^= flagCompressed },
			want(n, VerdictBadEncoding, 0)},
		{"negated", func(f *fixture) { f.Signatures.At(0)[0] ^= flagLargest },
			want(n, VerdictBadSignature, 0)},
		{"x not below p", func(f *fixture) {
			s := f.Signatures.At(n - 1)
			copy(s, unhex(t, modulusHex))
			s[0] |= flagCompressed
		}, want(n, VerdictBadEncoding, n-1)},
		{"off curve", func(f *fixture) {
			copy(f.Signatures.At(5), offCurve[:])
		}, want(n, VerdictNotOnCurve, 5)},
		{"swapped", func(f *fixture) {
			a, b := f.sig(t, 8), f.sig(t, 8+signers)
			f.set(8, b)
			f.set(8+signers, a)
		}, want(n, VerdictBadSignature, 8, 8+signers)},
		{"wrong signer", func(f *fixture) { f.Signer[20]-- }, want(n, VerdictBadSignature, 20)},
		{"duplicates", func(f *fixture) {
			for i := 7; i < 70; i += signers {
				copy(f.frames[i*frameSize:][:frameSize], f.frames[:frameSize])
			}
		}, want(n, VerdictValid)},
		{"one of each", func(f *fixture) {
			copy(f.Signatures.At(1), offCurve[:])
			f.shift(t, 2, torsion())
			f.Signatures.At(3)[0] ^= flagLargest
			f.Signatures.At(4)[0] &^= flagCompressed
		}, func() []Verdict {
			w := want(n, VerdictValid)
			w[1], w[2], w[3], w[4] = VerdictNotOnCurve, VerdictNotInSubgroup, VerdictBadSignature,
				VerdictBadEncoding
			return w
		}()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := valid.clone()
			tt.corrupt(f)
			for _, workers := range []int{1, 2} {
				f.verify(t, NewVerifier(Default, workers), tt.want)
			}
			if reference := f.oneByOne(); !slices.Equal(reference, tt.want) {
				t.Fatalf("one by one: %v", reference)
			}
		})
	}
}

func TestBatchRandomSubsets(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	const most = 300
	all := newFixture(t, most, 10)
	v := NewVerifier(Default, 2) // reused over all sizes
	for _, n := range []int{0, 1, 2, 17, 95, 96, 97, most} {
		for _, k := range slices.Compact([]int{0, min(1, n), min(2, n), n / 2, n}) {
			f := all.clone()
			f.Signer = f.Signer[:n]
			f.Messages.Data = f.frames[:n*frameSize]
			f.Signatures.Data = f.frames[min(messageSize, n*frameSize) : n*frameSize]
			bad := rng.Perm(n)[:k]
			for _, i := range bad {
				f.Signatures.At(i)[0] ^= flagLargest
			}
			f.verify(t, v, want(n, VerdictBadSignature, bad...))
		}
	}
}

func TestBatchMisuse(t *testing.T) {
	f := newFixture(t, 4, 2)
	v := NewVerifier(Default, 1)
	verdicts := make([]Verdict, 4)
	spoil := map[string]func(b *Batch) []Verdict{
		"few verdicts": func(*Batch) []Verdict { return verdicts[:3] },
		"no such key":  func(b *Batch) []Verdict { b.Signer[1] = 2; return verdicts },
		"missing key": func(b *Batch) []Verdict {
			b.Keys = []*PublicKey{nil,
				b.Keys[1]}
			return verdicts
		},
		"identity key": func(b *Batch) []Verdict {
			b.Keys = []*PublicKey{{},
				b.Keys[1]}
			return verdicts
		},
		"few messages": func(
			b *Batch) []Verdict {
			b.Messages.Data = b.Messages.Data[:300]
			return verdicts
		},
		"few signatures": func(
			b *Batch) []Verdict {
			b.Signatures.Data = b.Signatures.Data[:300]
			return verdicts
		},
		"signature width": func(b *Batch) []Verdict { b.Signatures.Width = 47; return verdicts },
		"two lengths": func(b *Batch) []Verdict {
			var two Batch
			for i := range 4 {
				two.Append(b.Keys[0], make([]byte, 10+i/3), b.Signatures.At(i))
			}
			*b = two
			return verdicts
		},
		"no stride": func(b *Batch) []Verdict { b.Messages.Stride = 0; return verdicts },
	}
	for name, change := range spoil {
		c := f.clone()
		into := change(&c.Batch)
		if _, err := v.Verify(&c.Batch, into); !errors.Is(err, ErrBatch) {
			t.Errorf("%s: error %v, want ErrBatch", name, err)
		}
	}
	if report, err := v.Verify(&Batch{}, nil); err != nil || report != (Report{}) {
		t.Errorf("empty batch: %+v, %v", report, err)
	}
}

func TestAggregateVerify(t *testing.T) {
	for _, signers := range []int{1, 5, 40} {
		f := newFixture(t, 200, signers)
		var sum Sum
		for i := range f.Signer {
			s := f.sig(t, i)
			sum.Add(&s)
		}
		sig := sum.Signature()
		f.Signatures = Column{} // not needed
		for _, workers := range []int{1, 2} {
			v := NewVerifier(Default, workers)
			for range 2 { // the workspace carries nothing over
				if !v.AggregateVerify(&f.Batch, &sig) {
					t.Fatalf("%d signers: the aggregate does not verify", signers)
				}
			}
		}
		other := Default.Sign(f.secrets[0], f.Messages.At(0))
		if Default.AggregateVerify(&f.Batch, &other) ||
			Default.AggregateVerify(&f.Batch, new(Signature)) {
			t.Error("a wrong aggregate verifies")
		}
		f.frames[messageSize-1] ^= 1
		if Default.AggregateVerify(&f.Batch, &sig) {
			t.Error("a changed message verifies")
		}
		f.frames[messageSize-1] ^= 1
		f.Signer = f.Signer[1:]
		if Default.AggregateVerify(&f.Batch, &sig) || Default.AggregateVerify(&Batch{}, &sig) {
			t.Error("a malformed batch verifies")
		}
	}
}

// TestCancellingAggregate: an aggregate cannot hide that its parts are wrong from a
// batch, and does not need them right; this is why acks are verified before they are
// added.
func TestCancellingAggregate(t *testing.T) {
	f := newFixture(t, 20, 4)
	d := f.sig(t, 0).p
	f.shift(t, 1, d)
	d.Neg(&d)
	f.shift(t, 2, d)
	var sum Sum
	for i := range f.Signer {
		s := f.sig(t, i)
		sum.Add(&s)
	}
	sig := sum.Signature()
	if !Default.AggregateVerify(&f.Batch, &sig) {
		t.Error("shifts that cancel changed the aggregate")
	}
	f.verify(t, NewVerifier(Default, 1), want(20, VerdictBadSignature, 1, 2))
}

// TestSearchBound: whatever is bad, and whatever checks cost, bisection finds exactly that, and
// takes no more work than what was set aside and its slack.
func TestSearchBound(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		n := 1 + rng.IntN(300)
		bad := make([]bool, n)
		for range 1 + rng.IntN(n) {
			bad[rng.IntN(n)] = true
		}
		found := make([]bool, n)
		fixed, each, one, slack := rng.IntN(40), rng.IntN(3), 1+rng.IntN(20), rng.IntN(10*n)
		work := 0
		s := search{
			leaf:  1 + rng.IntN(2)*rng.IntN(100),
			slack: slack,
			cost:  func(lo, hi int) int { return fixed + each*(hi-lo) },
			rest:  func(lo, hi int) int { return one * (hi - lo) },
			pass: func(lo, hi int) bool {
				work += fixed + each*(hi-lo)
				return !slices.Contains(bad[lo:hi], true)
			},
			one: func(i int) bool {
				work += one
				return !bad[i]
			},
			bad: func(i int) {
				if found[i] {
					t.Fatal("found twice")
				}
				found[i] = true
			},
		}
		s.failing(0, n)
		if !slices.Equal(found, bad) {
			t.Fatalf("%d candidates: found %v, want %v", n, found, bad)
		}
		if work > one*n+slack || s.singles > n {
			t.Fatalf("%d candidates: %d of work, where %d may be", n, work, one*n+slack)
		}
	}
}

// TestOneBadIsCheap: the cost of one bad signature is logarithmic.
func TestOneBadIsCheap(t *testing.T) {
	f := newFixture(t, 512, 16)
	f.Signatures.At(100)[0] ^= flagLargest
	report := f.verify(t, NewVerifier(Default, 2), want(512, VerdictBadSignature, 100))
	// 16 signers of 32: at most two checks a level.
	if report.Bisected != 1 || report.Checks > 1+2*4+2*5 || report.Singles > 2 {
		t.Errorf("one bad signature cost %+v", report)
	}
}

func TestBatchAllocations(t *testing.T) {
	f := newFixture(t, 2048, 4)
	v := NewVerifier(Default, 1)
	verdicts := make([]Verdict, 2048)
	measure := func(n int) float64 {
		b := f.Batch
		b.Signer = b.Signer[:n]
		b.Messages.Data, b.Signatures.Data = f.frames[:n*frameSize],
			f.frames[messageSize:n*frameSize]
		return testing.AllocsPerRun(1, func() {
			if _, err := v.Verify(&b, verdicts[:n]); err != nil {
				t.Fatal(err)
			}
		})
	}
	measure(2048)
	if few, many := measure(256), measure(2048); many > few {
		t.Errorf("%v allocations for 256 entries, %v for 2048", few, many)
	}
}

// TestVerdictsAreErrors holds the verdicts against what the documentation promises of them.
func TestVerdictsAreErrors(t *testing.T) {
	last := VerdictBadSignature
	if n := len(_Verdict_index) - 1; int(last) != n-1 {
		t.Fatalf("%d verdicts are named, the last is %d", n, last)
	}
	for v := range last + 1 {
		if refusal := v.Err(); (refusal != nil) != (v > VerdictValid) {
			t.Errorf("%v: error %v", v, refusal)
		} else if refusal != nil && (!errors.Is(refusal, v) || v.Error() != "bls: "+v.String()) {
			t.Errorf("%v: error %v", v, refusal)
		}
	}
	_, err := ParseSignature(IdentitySignature[:])
	var verdict Verdict
	if !errors.As(err, &verdict) || verdict != VerdictIdentity {
		t.Errorf("error %v, want %v", err, VerdictIdentity)
	}
	if err == nil || err.Error() != "bls: identity: signature" {
		t.Errorf("error %v", err)
	}
}

// TestArrange: entries stand by signer and then in their order, whether few of the keys sign or
// all, and those with a verdict are left out.
func TestArrange(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	v := NewVerifier(Default, 1)
	for range 200 {
		n, keys := rng.IntN(40), 1+rng.IntN(400)
		b := &Batch{Keys: make([]*PublicKey, keys), Signer: make([]uint32, n)}
		verdicts := make([]Verdict, n)
		var want []int32
		for i := range n {
			b.Signer[i] = uint32(rng.IntN(keys))
			if verdicts[i] = VerdictPending; rng.IntN(3) == 0 {
				verdicts[i] = VerdictNotOnCurve
				continue
			}
			want = append(want, int32(i))
		}
		slices.SortStableFunc(want,
			func(i, j int32) int { return int(b.Signer[i]) - int(b.Signer[j]) })
		if v.arrange(b, verdicts); !slices.Equal(v.entry, want) {
			t.Fatalf("%d of %d keys: %v, want %v", n, keys, v.entry, want)
		}
	}
}
