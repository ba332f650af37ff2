package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	blst "github.com/supranational/blst/bindings/go"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/kernels/cpu"
)

// The same batches are judged by this program's batch verification, once for every implementation
// of its kernels that this CPU can run, in a process each, since a process never changes its
// kernels; by its scalar path, entry by entry; and by blst, entry by entry.
//
// How blst's answers are read:
//
//	answer of blst                              verdict
//	blst_p1_uncompress: BLST_BAD_ENCODING       BadEncoding
//	blst_p1_uncompress: BLST_POINT_NOT_ON_CURVE NotOnCurve
//	blst_p1_uncompress: BLST_POINT_NOT_IN_GROUP NotInSubgroup; for x = 0 alone, whose points
//	                                            have order 3
//	the point at infinity                       Identity; blst takes it for an encoding like any
//	                                            other, and SigValidate refuses it only if asked
//	                                            to (sigInfcheck)
//	SigValidate(false) refuses                  NotInSubgroup
//	Verify refuses                              BadSignature
//	none refuses                                Valid
//
// Beyond that no difference in strictness is known. The tests would show one.

const (
	// of a batch; above the size from which subgroup checks are made together, and not whole
	// vectors
	entries     = 150
	signers     = 11
	messageSize = 80
	frameSize   = messageSize + bls.SignatureSize
)

// batch is valid when made and then spoiled.
type batch struct {
	bls.Batch
	frames  []byte
	secrets []*bls.SecretKey
	rng     *rand.Rand
}

// newBatch is the same for the same seed, so that processes can compare notes.
func newBatch(t testing.TB, seed uint64) *batch { return newBatchOf(t, seed, entries) }

func newBatchOf(t testing.TB, seed uint64, n int) *batch {
	t.Helper()
	b := &batch{frames: make([]byte, n*frameSize), rng: rand.New(rand.NewPCG(seed, 0))}
	for i := range signers {
		sk, err := bls.KeyGen(bytes.Repeat([]byte{byte(seed), byte(i)}, 16))
		if err != nil {
			t.Fatal(err)
		}
		b.secrets, b.Keys = append(b.secrets, sk), append(b.Keys, sk.PublicKey())
	}
	b.Messages = bls.Column{Data: b.frames, Stride: frameSize, Width: messageSize}
	b.Signatures = bls.Column{Data: b.frames[messageSize:], Stride: frameSize,
		Width: bls.SignatureSize}
	for i := range n {
		signer := b.rng.IntN(signers)
		for j := range b.Messages.At(i) {
			b.Messages.At(i)[j] = byte(b.rng.Uint32())
		}
		b.Signer = append(b.Signer, uint32(signer))
		s := bls.Default.Sign(b.secrets[signer], b.Messages.At(i))
		encoded := s.Bytes()
		copy(b.Signatures.At(i), encoded[:])
	}
	return b
}

func (b *batch) clone() *batch {
	c := *b
	c.frames, c.Signer = bytes.Clone(b.frames), slices.Clone(b.Signer)
	c.Messages.Data, c.Signatures.Data = c.frames, c.frames[messageSize:]
	return &c
}

func (b *batch) any() int { return b.rng.IntN(entries) }

func (b *batch) point(i int) (p bls12381.G1Affine) {
	p.SetBytes(b.Signatures.At(i))
	return p
}

func (b *batch) set(i int, p *bls12381.G1Affine) {
	encoded := p.Bytes()
	copy(b.Signatures.At(i), encoded[:])
}

// shift adds a point to signature i.
func (b *batch) shift(i int, by *bls12381.G1Affine) {
	p := b.point(i)
	p.Add(&p, by)
	b.set(i, &p)
}

// outside is a point of the curve that is in no subgroup of order r: of order 3 where x is 0.
func outside(x uint64) (p bls12381.G1Affine) {
	for four := fp.NewElement(4); ; x++ {
		p.X.SetUint64(x)
		var y2 fp.Element
		y2.Square(&p.X).Mul(&y2, &p.X).Add(&y2, &four)
		if p.Y.Sqrt(&y2) != nil {
			return p
		}
	}
}

// spoilers turn a valid batch into another; the verdicts named are those that must occur beside
// Valid.
var spoilers = []struct {
	name    string
	verdict []bls.Verdict
	spoil   func(b *batch)
}{
	{"valid", nil, func(*batch) {}},
	{"one bad among many", []bls.Verdict{bls.VerdictBadSignature},
		func(b *batch) { b.Messages.At(b.any())[7] ^= 1 }},
	{"some bad", []bls.Verdict{bls.VerdictBadSignature}, func(b *batch) {
		for range 20 {
			b.Messages.At(b.any())[b.rng.IntN(messageSize)] ^= 0x10
		}
	}},
	{"all bad", []bls.Verdict{bls.VerdictBadSignature}, func(b *batch) {
		for i := range entries {
			b.Signatures.At(i)[0] ^= 0x20
		}
	}},
	{"torsion of order 3", []bls.Verdict{bls.VerdictNotInSubgroup},
		func(b *batch) { p := outside(0); b.shift(b.any(), &p) }},
	{"torsion of several", []bls.Verdict{bls.VerdictNotInSubgroup}, func(b *batch) {
		for i := range 9 {
			p := outside(uint64(i))
			b.shift(b.any(), &p)
		}
	}},
	{"torsion that cancels", []bls.Verdict{bls.VerdictNotInSubgroup}, func(b *batch) {
		p, i := outside(0), b.rng.IntN(entries-1)
		b.shift(i, &p)
		p.Neg(&p)
		b.shift(i+1, &p)
	}},
	{"torsion alone", []bls.Verdict{bls.VerdictNotInSubgroup},
		func(b *batch) { p := outside(0); b.set(b.any(), &p) }},
	{"shifts that cancel", []bls.Verdict{bls.VerdictBadSignature}, func(b *batch) {
		p, i := b.point(5), b.rng.IntN(entries-1)
		b.shift(i, &p)
		p.Neg(&p)
		b.shift(i+1, &p)
	}},
	{"shifts that cancel, of one signer", []bls.Verdict{bls.VerdictBadSignature}, func(b *batch) {
		p, first := b.point(5), slices.Index(b.Signer, 3)
		b.shift(first, &p)
		p.Neg(&p)
		b.shift(first+1+slices.Index(b.Signer[first+1:], 3), &p)
	}},
	{"exchanged", []bls.Verdict{bls.VerdictBadSignature}, func(b *batch) {
		p, q := b.point(0), b.point(140)
		b.set(0, &q)
		b.set(140, &p)
	}},
	{"of another signer", []bls.Verdict{bls.VerdictBadSignature}, func(b *batch) {
		for range 3 {
			i := b.any()
			b.Signer[i] = (b.Signer[i] + 1) % signers
		}
	}},
	{"identity", []bls.Verdict{bls.VerdictIdentity}, func(b *batch) {
		copy(b.Signatures.At(b.any()), bls.IdentitySignature[:])
		copy(b.Signatures.At(b.any()), bls.IdentitySignature[:])
	}},
	{"generator", []bls.Verdict{bls.VerdictBadSignature},
		func(b *batch) { _, _, g, _ := bls12381.Generators(); b.set(b.any(), &g) }},
	{"duplicates", nil, func(b *batch) {
		for i := 1; i < 40; i++ {
			copy(b.frames[i*frameSize:(i+1)*frameSize], b.frames)
			b.Signer[i] = b.Signer[0]
		}
	}},
	{"duplicates of a bad one", []bls.Verdict{bls.VerdictBadSignature}, func(b *batch) {
		b.Messages.At(0)[0] ^= 1
		for i := 1; i < 40; i++ {
			copy(b.frames[i*frameSize:(i+1)*frameSize], b.frames)
			b.Signer[i] = b.Signer[0]
		}
	}},
	{"encodings", []bls.Verdict{bls.VerdictBadEncoding, bls.VerdictNotOnCurve, bls.VerdictIdentity},
		func(b *batch) {
			for i, s := range encodings() {
				copy(b.Signatures.At(3*i), s)
			}
		}},
	{"noise", []bls.Verdict{bls.VerdictBadEncoding, bls.VerdictNotOnCurve,
		bls.VerdictNotInSubgroup}, func(b *batch) {
		for range 60 {
			s := b.Signatures.At(b.any())
			for j := range s {
				s[j] = byte(b.rng.Uint32())
			}
			s[0] = s[0]&0x3f | 0x80 // compressed; x is above p in some
		}
	}},
	{"one bit", []bls.Verdict{bls.VerdictBadEncoding, bls.VerdictBadSignature}, func(b *batch) {
		for bit := range 8 { // of the flags and of the first bits of x
			b.Signatures.At(10 * bit)[0] ^= 1 << bit
		}
		for range 30 {
			odd := b.any() | 1 // not one of the above, of which one bit alone makes a bad signature
			b.Signatures.At(odd)[b.rng.IntN(bls.SignatureSize)] ^= 1 << b.rng.IntN(8)
		}
	}},
	{"everything", []bls.Verdict{bls.VerdictBadEncoding, bls.VerdictIdentity,
		bls.VerdictNotInSubgroup, bls.VerdictBadSignature}, func(b *batch) {
		copy(b.Signatures.At(10), bls.IdentitySignature[:])
		b.Signatures.At(11)[0] &^= 0x80
		b.Messages.At(12)[3]++
		p := outside(1)
		b.shift(13, &p)
		b.shift(14, &p)
	}},
}

// encodings of 48 bytes on the borders of what is canonical.
func encodings() (list [][]byte) {
	modulus := fp.Modulus()
	x := func(delta int64, flags byte) []byte {
		s := new(big.Int).Add(modulus, big.NewInt(delta)).FillBytes(make([]byte, bls.SignatureSize))
		s[0] |= flags
		return s
	}
	for _, flags := range []byte{0x80, 0xa0} {
		list = append(list, x(-1, flags), x(0, flags), x(1, flags), x(4, flags))
		for small := range byte(8) {
			s := make([]byte, bls.SignatureSize)
			s[0], s[bls.SignatureSize-1] = flags, small
			list = append(list, s)
		}
	}
	for _, first := range []byte{0x00, 0x40, 0x60, 0xc0, 0xe0, 0xc1, 0xff, 0x9f, 0x20} {
		for _, last := range []byte{0, 1} {
			s := make([]byte, bls.SignatureSize)
			s[0], s[bls.SignatureSize-1] = first, last
			list = append(list, s)
		}
	}
	return append(list, bytes.Repeat([]byte{0xff}, bls.SignatureSize))
}

// The environment of a process that this test starts: where to write its verdicts, and from which
// seed.
const (
	verdictsFile = "PEERS_VERDICTS"
	verdictsSeed = "PEERS_SEED"
)

// spoiled calls f for every batch of a seed.
func spoiled(t testing.TB, seed uint64, f func(name string, must []bls.Verdict, b *batch)) {
	valid := newBatch(t, seed)
	for _, s := range spoilers {
		b := valid.clone()
		s.spoil(b)
		f(s.name, s.verdict, b)
	}
}

// TestVerdictsOfThisProcess writes what the kernels of this process find, when TestVerdicts asks.
func TestVerdictsOfThisProcess(t *testing.T) {
	if errs := cpu.OverrideErrors(); len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	name := os.Getenv(verdictsFile)
	if name == "" {
		t.Skip("TestVerdicts runs this in processes of their own")
	}
	seed, err := strconv.ParseUint(os.Getenv(verdictsSeed), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for _, workers := range []int{1, 2} {
		v := bls.NewVerifier(bls.Default, workers)
		spoiled(t, seed, func(name string, _ []bls.Verdict, b *batch) {
			verdicts := make([]bls.Verdict, entries)
			if _, err := v.Verify(&b.Batch, verdicts); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, verdict := range verdicts {
				out = append(out, byte(verdict))
			}
		})
	}
	if err := os.WriteFile(name, out, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range cpu.Selected() {
		t.Log(c)
	}
}

// implementations are the values of WAYBILL_KERNELS that this CPU can honour, and "" for its own
// choice.
func implementations(t *testing.T) (list []string) {
	required := strings.FieldsFunc(os.Getenv("REQUIRE_KERNELS"),
		func(r rune) bool { return r == ',' || r == ' ' })
	for _, name := range []string{"", cpu.AVX512IFMA, cpu.AVX512, cpu.AVX2, cpu.SHANI, cpu.NEON,
		cpu.Generic} {
		if _, err := process(t, name, 0); err == nil {
			list = append(list, name)
		} else if slices.Contains(required, name) {
			t.Errorf("%s is required: %v", name, err)
		}
	}
	return list
}

// process runs TestVerdictsOfThisProcess with kernels of a name.
func process(t *testing.T, kernels string, seed uint64, env ...string) (output []byte, err error) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVerdictsOfThisProcess$",
		"-test.v")
	cmd.Env = append(os.Environ(), cpu.Override+"="+kernels,
		verdictsSeed+"="+strconv.FormatUint(seed, 10))
	cmd.Env = append(cmd.Env, env...)
	return cmd.CombinedOutput()
}

func TestVerdicts(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var names []string
	var want [][]bls.Verdict
	spoiled(t, seed, func(name string, must []bls.Verdict, b *batch) {
		keys := decodedKeys(b.Keys)
		found := make(map[bls.Verdict]bool)
		verdicts := make([]bls.Verdict, entries)
		for i := range verdicts {
			verdicts[i] = scalar(b, i)
			found[verdicts[i]] = true
			if said := blstVerdict(&keys[b.Signer[i]], b.Messages.At(i),
				b.Signatures.At(i)); verdicts[i] != said {
				t.Errorf("%s, entry %d, %s: %v here, %v by blst", name, i,
					hex.EncodeToString(b.Signatures.At(i)), verdicts[i], said)
			}
		}
		for _, verdict := range must {
			if !found[verdict] {
				t.Errorf("%s: nobody is found to be %v, so this tests nothing", name, verdict)
			}
		}
		names, want = append(names, name), append(want, verdicts)
	})
	for _, kernels := range implementations(t) {
		file := filepath.Join(t.TempDir(), "verdicts")
		if output, err := process(t, kernels, seed, verdictsFile+"="+file); err != nil {
			t.Errorf("kernels %q: %v\n%s", kernels, err, output)
			continue
		}
		got, err := os.ReadFile(file)
		if err != nil || len(got) != 2*len(names)*entries {
			t.Fatalf("kernels %q: %d verdicts, %v", kernels, len(got), err)
		}
		for at, verdict := range got {
			run, i := at/entries%len(names), at%entries
			if w := want[run][i]; bls.Verdict(verdict) != w {
				t.Errorf("kernels %q, %s, entry %d: %v, want %v", kernels, names[run], i,
					bls.Verdict(verdict), w)
			}
		}
		t.Logf("kernels %q agree", kernels)
	}
}

// scalar is the path of a single signature.
func scalar(b *batch, i int) bls.Verdict {
	s, err := bls.ParseSignature(b.Signatures.At(i))
	if errors.Is(err, bls.ErrLength) {
		return bls.VerdictBadEncoding
	}
	if verdict := bls.VerdictPending; errors.As(err, &verdict) {
		return verdict
	}
	if err != nil || !bls.Default.Verify(b.Keys[b.Signer[i]], b.Messages.At(i), &s) {
		return bls.VerdictBadSignature
	}
	return bls.VerdictValid
}

// blstVerdict reads blst's answers as the table at the head of this file says.
func blstVerdict(key *blst.P2Affine, msg, encoded []byte) bls.Verdict {
	var s blst.P1Affine
	switch code := uncompress(&s, encoded); {
	case code != accepted:
		return map[refusal]bls.Verdict{badEncoding: bls.VerdictBadEncoding,
			notOnCurve: bls.VerdictNotOnCurve, notInGroup: bls.VerdictNotInSubgroup}[code]
	case s.Equals(new(blst.P1Affine)):
		return bls.VerdictIdentity
	case !s.SigValidate(false):
		return bls.VerdictNotInSubgroup
	case !s.Verify(false, key, false, msg, []byte(bls.SignatureDST)):
		return bls.VerdictBadSignature
	}
	return bls.VerdictValid
}

// TestDisagreementShows is the companion of TestVerdicts: another answer to any entry would be
// seen.
func TestDisagreementShows(t *testing.T) {
	valid := newBatch(t, 2)
	keys := decodedKeys(valid.Keys)
	for _, want := range []bls.Verdict{bls.VerdictValid, bls.VerdictBadEncoding,
		bls.VerdictNotOnCurve, bls.VerdictNotInSubgroup, bls.VerdictIdentity,
		bls.VerdictBadSignature} {
		b := valid.clone()
		s := b.Signatures.At(0)
		switch p := outside(1); want {
		case bls.VerdictBadEncoding:
			s[0] &^= 0x80
		case bls.VerdictNotOnCurve:
			clear(s)
			s[0], s[47] = 0x80, 1
		case bls.VerdictNotInSubgroup:
			b.set(0, &p)
		case bls.VerdictIdentity:
			copy(s, bls.IdentitySignature[:])
		case bls.VerdictBadSignature:
			s[0] ^= 0x20
		}
		if ours, theirs := scalar(b, 0), blstVerdict(&keys[b.Signer[0]], b.Messages.At(0),
			s); ours != want || theirs != want {
			t.Errorf("%v here, %v by blst, want %v", ours, theirs, want)
		}
	}
}

// TestOneBadAmongThousands: the one is found, and blst takes all the others.
func TestOneBadAmongThousands(t *testing.T) {
	const n, bad, torsion = 2000, 1234, 77
	b := newBatchOf(t, 3, n)
	b.Messages.At(bad)[0] ^= 1
	p := outside(0)
	b.shift(torsion, &p)
	verdicts := make([]bls.Verdict, n)
	if _, err := bls.NewVerifier(bls.Default, 2).Verify(&b.Batch, verdicts); err != nil {
		t.Fatal(err)
	}
	keys := decodedKeys(b.Keys)
	m := &multiple{dst: []byte(bls.SignatureDST), keys: keys}
	if m.verify(&b.Batch) {
		t.Error("blst accepts the whole batch")
	}
	for i, verdict := range verdicts {
		want := bls.VerdictValid
		if i == bad || i == torsion {
			want = blstVerdict(&keys[b.Signer[i]], b.Messages.At(i), b.Signatures.At(i))
		}
		if verdict != want || (want == bls.VerdictValid) != (i != bad && i != torsion) {
			t.Errorf("entry %d: %v, want %v", i, verdict, want)
		}
	}
	for _, i := range []int{bad, torsion} { // in their place, one that is valid
		copy(b.frames[i*frameSize:(i+1)*frameSize], b.frames)
		b.Signer[i] = b.Signer[0]
	}
	g := &grouped{dst: m.dst, keys: keys}
	if !m.verify(&b.Batch) || !g.verify(&b.Batch) {
		t.Error("blst refuses the others")
	}
}

// TestEncodings: signatures of any length, and public keys.
func TestEncodings(t *testing.T) {
	b := newBatch(t, 1)
	list := encodings()
	for _, n := range []int{0, 1, 47, 49, 95, 96, 97} {
		list = append(list, slices.Repeat(b.Signatures.At(0), 3)[:n])
	}
	first := b.point(0)
	uncompressed := first.RawBytes()
	list = append(list, uncompressed[:], uncompressed[:48], b.Signatures.At(0))
	for _, s := range list {
		_, err := bls.ParseSignature(s)
		var p blst.P1Affine
		said := p.Uncompress(s) != nil && p.SigValidate(true)
		if (err == nil) != said {
			t.Errorf("signature %x: %v here, %v by blst", s, err, said)
		}
	}
	key := b.Keys[0].Bytes()
	keys := [][]byte{key[:], key[:95], append(key[:96:96], 0), nil}
	for _, first := range []byte{0x00, 0x80, 0xa0, 0xc0, 0xe0, 0x40} {
		for _, last := range []byte{0, 1, 2, 3} {
			k := make([]byte, bls.PublicKeySize)
			k[0], k[95] = first, last
			keys = append(keys, k)
		}
	}
	for bit := range 8 * bls.PublicKeySize {
		k := bytes.Clone(key[:])
		k[bit/8] ^= 1 << (bit % 8)
		keys = append(keys, k)
	}
	for _, at := range []int{0, 48} { // a coordinate that is not below p
		k := bytes.Clone(key[:])
		copy(k[at:at+48], fp.Modulus().FillBytes(make([]byte, 48)))
		k[0] |= 0x80
		keys = append(keys, k)
	}
	for _, k := range keys {
		_, err := bls.ParsePublicKey(k)
		var p blst.P2Affine
		said := p.Uncompress(k) != nil && p.KeyValidate()
		if (err == nil) != said {
			t.Errorf("key %x: %v here, %v by blst", k, err, said)
		}
	}
}
