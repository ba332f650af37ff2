package bls

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// ErrBatch is wrapped by the errors for batches that are put together wrongly, which
// is the caller's fault and no signer's.
var ErrBatch = errors.New("bls: malformed batch")

// Column is a strided view of equal-sized fields: element i is
// Data[i*Stride : i*Stride+Width]. Fields of fixed-size frames are read in place: for
// 128-byte frames of an 80-byte message and its signature, Column{frames, 128, 80} and
// Column{frames[80:], 128, 48}.
type Column struct {
	Data          []byte
	Stride, Width int // bytes
}

// At returns element i, which is not a copy.
func (c Column) At(i int) []byte {
	at := i * c.Stride
	return c.Data[at : at+c.Width : at+c.Width]
}

// append adds an element to a column without gaps. One of another length than those before leaves a
// column that has no elements, for which no batch is verified.
func (c Column) append(element []byte) Column {
	width := len(element)
	if len(c.Data) > 0 && c.Width != width {
		width = -1
	}
	return Column{append(c.Data, element...), width, width}
}

// Len returns the number of whole elements; a column without a stride has none.
func (c Column) Len() int {
	if c.Stride <= 0 || c.Width < 0 || len(c.Data) < c.Width || len(c.Data) == 0 {
		return 0
	}
	return (len(c.Data)-c.Width)/c.Stride + 1
}

// Batch is many signatures in columns. Entry i is the signature Signatures.At(i) by
// Keys[Signer[i]] on Messages.At(i). Keys may hold more keys than sign here, and the
// same key twice. The caller must not change a batch while it is verified.
type Batch struct {
	Keys       []*PublicKey
	Signer     []uint32
	Messages   Column
	Signatures Column // Width 48; not used by AggregateVerify

	places    map[*PublicKey]uint32 // in Keys, of those that Append was given
	sums      []sumOf               // by place in Keys, of those that AppendSum was given
	sumPlaces map[sumOf]uint32
}

// Append adds an entry to a batch that was put together by Append alone. All messages have one
// length: with others the batch is refused as a whole (ErrBatch).
func (b *Batch) Append(key *PublicKey, message, signature []byte) {
	place, known := b.places[key]
	if !known {
		if b.places == nil {
			b.places = make(map[*PublicKey]uint32)
		}
		place = uint32(len(b.Keys))
		b.places[key] = place
		b.Keys = append(b.Keys, key)
	}
	b.append(place, message, signature)
}

func (b *Batch) append(place uint32, message, signature []byte) {
	b.Signer = append(b.Signer, place)
	b.Messages = b.Messages.append(message)
	b.Signatures = b.Signatures.append(signature)
}

// check returns an error wrapping ErrBatch if the parts do not fit together.
func (b *Batch) check() error {
	if b.Messages.Len() != len(b.Signer) {
		return fmt.Errorf("%w: %d signers, %d messages", ErrBatch, len(b.Signer), b.Messages.Len())
	}
	for i, s := range b.Signer {
		if uint64(s) < uint64(len(b.Keys)) && b.sum(s) != nil && b.sum(s).valid() {
			continue
		}
		if uint64(s) >= uint64(len(b.Keys)) || b.Keys[s] == nil || b.Keys[s].p.IsInfinity() {
			return fmt.Errorf("%w: entry %d has no usable key %d", ErrBatch, i, s)
		}
	}
	return nil
}

// Report says how much work a batch was.
type Report struct {
	Groups   int // distinct signers among the entries that decoded
	Checks   int // pairing-product checks: 1 if nothing was wrong
	Bisected int // signers whose entries were looked at to find the bad ones
	Singles  int // entries verified one by one
	Invalid  int // entries with a verdict other than VerdictValid

	Loops           int // Miller loops; verifying one signature takes two
	Exponentiations int // final exponentiations; verifying one signature takes one
}

// Verifier checks batches of signatures of one suite. It owns a workspace that grows
// to the largest batch seen, about a kilobyte an entry, and allocates nothing per entry
// after that. It is not safe for concurrent use: one per goroutine.
type Verifier struct {
	dst    []byte
	spaces []*workspace

	sigs []Signature // by entry of the batch

	// The entries still in question, sorted by signer, in columns.
	entry  []int32 // index into the batch
	places []int32 // in entry, by signer
	sigma  []affine
	hashed []affine // on the isogenous curve
	coef   []coefficient
	random []byte
	groups []group

	// Groups of sums of a roster's keys.
	spreads []*spread
	points  []affine

	// The entries of groups of a few, multiplied by their coefficients.
	few      []int32
	scaled   []affine
	scaledBy []coefficient

	// Pairing-product checks.
	partial [][coefficientBits]affine
	p       []affine
	q       []bls12381.G2Affine
	loops   []bls12381.GT
	parts   []part
	cleared bool // the cofactor of every group's h

	report Report
}

// group is the run lo to hi of entries of one signer.
type group struct {
	key    *PublicKey // nil for a sum that is not computed
	sum    *sumOf     // nil unless the key is one
	lo, hi int
	h      affine // Σ r·H, before the cofactor is cleared until clearHashes
}

// NewVerifier returns a verifier for a suite. A call uses up to workers goroutines,
// which it starts and waits for; with one worker everything runs on the caller's.
func NewVerifier(su Suite, workers int) *Verifier {
	return &Verifier{dst: su.dstPrime(), spaces: workspaces(workers)}
}

// workspaces returns one for each goroutine, for one at least.
func workspaces(workers int) (spaces []*workspace) {
	for range max(1, workers) {
		spaces = append(spaces, new(workspace))
	}
	return spaces
}

// Verify gives every entry of a batch its verdict. Entries with invalid signatures do
// not affect the others. The error wraps [ErrBatch] if the batch or verdicts, which
// must have one element per entry, are malformed; there is no other.
//
// The equation e(Σ rᵢσᵢ, g2) = Π e(Σ rᵢHᵢ, pk), the inner sums over the entries of one
// signer, is checked with independent non-zero 128-bit coefficients from crypto/rand,
// drawn after the batch is given: one Miller loop per signer, one final exponentiation.
// A wrong signature passes with probability at most 2^-127 for each product check made.
//
// Membership in the subgroup is checked on 64 of the random subset sums that the linear
// combination is made of anyway, so a point outside passes with probability at most
// 2^-64. That could only make a second encoding of a right signature acceptable: the
// pairing ignores the component outside the subgroup, and the other must still verify.
// Batches of fewer than 96 are checked point by point.
//
// If the equation fails, bisection over signers, one final exponentiation a step, and
// then over the entries of each bad signer names the bad entries: for k bad among n,
// O(k log n) product checks. No valid entry is ever refused.
//
// # The worst batch
//
// Whatever is bad, a batch of n takes at most 1.3·n + 1 times the pairings that verifying
// one signature takes, where a Miller loop counts 1/4 and a final exponentiation 1/2, as
// they do in field multiplications on scalar code. Bisection spends from an account that
// opens with 0.3·n + 1, less the check of the whole batch; what one look at each entry takes
// is set aside. A check of some entries is paid from the account and made only if the
// account suffices, and when it clears entries, what was set aside for them goes to the
// account. What cannot be bisected is looked at entry by entry. (Halving is divide and conquer as
// in Law and Matt, "Finding invalid signatures in pairing-based batches", 2007; the account is this
// package's.)
//
// Decoding, hashing and the first linear combinations come on top in either way of
// verifying; the combinations of bisection count 1/16 an entry, and are within the bound.
func (v *Verifier) Verify(b *Batch, verdicts []Verdict) (Report, error) {
	if err := b.check(); err != nil {
		return Report{}, err
	}
	n := len(b.Signer)
	if len(verdicts) != n ||
		n > 0 && (b.Signatures.Len() != n || b.Signatures.Width != SignatureSize) {
		return Report{}, fmt.Errorf("%w: %d entries, %d signatures of %d bytes, %d verdicts",
			ErrBatch, n, b.Signatures.Len(), b.Signatures.Width, len(verdicts))
	}
	v.decode(b.Signatures, verdicts)
	return v.verify(b, verdicts), nil
}

// Signatures returns the decoded signatures of the last batch, by entry, so that the
// caller can add them to a [Sum] without decoding again. Only those with the verdict
// VerdictValid are meaningful. The slice is overwritten by the next call.
func (v *Verifier) Signatures() []Signature { return v.sigs }

// VerifyBatch is [Verifier.Verify] for a batch by itself: it returns the verdicts, and uses all
// cores.
func (su Suite) VerifyBatch(b *Batch) ([]Verdict, error) {
	verdicts := make([]Verdict, len(b.Signer))
	_, err := NewVerifier(su, runtime.GOMAXPROCS(0)).Verify(b, verdicts)
	return verdicts, err
}

// verify settles the entries whose verdict is VerdictPending; v.sigs holds their points.
func (v *Verifier) verify(b *Batch, verdicts []Verdict) Report {
	v.report = Report{}
	for _, l := range v.spaces {
		l.pairings = pairings{}
	}
	if v.arrange(b, verdicts); len(v.entry) == 1 {
		verdicts[v.entry[0]] = v.single(b)
	} else {
		v.combine(b, verdicts)
	}
	for i := range verdicts {
		if verdicts[i] == VerdictPending {
			verdicts[i] = VerdictValid
		}
		if verdicts[i] != VerdictValid {
			v.report.Invalid++
		}
	}
	for _, l := range v.spaces {
		v.report.Loops += l.pairings.loops
		v.report.Exponentiations += l.pairings.exps
	}
	return v.report
}

// combine settles the entries by one equation, and finds who breaks it.
func (v *Verifier) combine(b *Batch, verdicts []Verdict) {
	v.draw()
	total := v.sumSignatures(verdicts)
	v.group(b)
	v.hashMessages(b)
	v.sumHashes()
	if len(v.groups) > 0 && !v.check(&total) {
		v.allSumKeys()
		v.locate(verdicts)
		v.cancelled(verdicts)
	}
}

// single settles an entry by itself, without combinations.
func (v *Verifier) single(b *Batch) Verdict {
	i := v.entry[0]
	sigma := v.sigs[i].p
	if !sigma.IsInSubGroup() {
		return VerdictNotInSubgroup
	}
	v.group(b)
	key := v.groups[0].key
	if key == nil {
		key = AggregatePublicKeys(v.groups[0].sum.keys())
	}
	if key.p.IsInfinity() {
		return VerdictIdentity
	}
	v.hashMessages(b)
	v.report.Checks = 1
	h := clearCofactor(toG1(v.hashed[0]))
	if !v.spaces[0].verifyOne(key, &h, &sigma) {
		return VerdictBadSignature
	}
	return VerdictValid
}

// decode sets v.sigs and the verdicts of entries that are not points.
func (v *Verifier) decode(signatures Column, verdicts []Verdict) {
	const block = 64
	n := len(verdicts)
	v.sigs = grow(v.sigs, n)
	v.each((n+block-1)/block, func(l *workspace, task int) {
		lo, hi := task*block, min(n, (task+1)*block)
		if w := l.wideFor(hi - lo); w != nil {
			w.decode(v.sigs, verdicts, signatures, lo, hi)
			return
		}
		for i := lo; i < hi; i++ {
			verdicts[i] = decodeG1(&v.sigs[i].p, signatures.At(i))
		}
	})
}

// arrange fills the columns with the pending entries, sorted by signer.
func (v *Verifier) arrange(b *Batch, verdicts []Verdict) {
	v.entry = v.entry[:0]
	pending := func(i int) bool { return verdicts == nil || verdicts[i] == VerdictPending }
	if len(b.Keys) > 8*len(b.Signer) { // few of many keys
		for i := range b.Signer {
			if pending(i) {
				v.entry = append(v.entry, int32(i))
			}
		}
		slices.SortStableFunc(v.entry,
			func(i, j int32) int { return cmp.Compare(b.Signer[i], b.Signer[j]) })
		return
	}
	v.places = grow(v.places, len(b.Keys))
	clear(v.places)
	n := int32(0)
	for i, signer := range b.Signer {
		if pending(i) {
			v.places[signer]++
			n++
		}
	}
	at := int32(0)
	for signer, count := range v.places {
		v.places[signer] = at
		at += count
	}
	v.entry = grow(v.entry, int(n))
	for i, signer := range b.Signer {
		if pending(i) {
			v.entry[v.places[signer]] = int32(i)
			v.places[signer]++
		}
	}
}

// group finds the runs of one signer in v.entry.
func (v *Verifier) group(b *Batch) {
	v.groups = v.groups[:0]
	for at, i := range v.entry {
		if at == 0 || b.Signer[v.entry[at-1]] != b.Signer[i] {
			v.groups = append(v.groups, group{key: b.Keys[b.Signer[i]],
				sum: b.sum(b.Signer[i]), lo: at})
		}
		v.groups[len(v.groups)-1].hi = at + 1
	}
	v.report.Groups = len(v.groups)
}

// draw chooses the coefficients.
func (v *Verifier) draw() {
	const size = coefficientBits / 8
	v.random = grow(v.random, size*len(v.entry))
	v.coef = grow(v.coef, len(v.entry))
	rand.Read(v.random) // never fails
	for i := range v.coef {
		raw := v.random[size*i:][:size]
		for v.coef[i] = (coefficient{}); v.coef[i] == (coefficient{}); {
			v.coef[i] = coefficient{binary.LittleEndian.Uint64(raw),
				binary.LittleEndian.Uint64(raw[8:])}
			if v.coef[i] == (coefficient{}) {
				rand.Read(raw)
			}
		}
	}
}

// hashMessages fills v.hashed.
func (v *Verifier) hashMessages(b *Batch) {
	n := len(v.entry)
	v.hashed = grow(v.hashed, n)
	v.each((n+hashBlock-1)/hashBlock, func(l *workspace, task int) {
		lo := task * hashBlock
		hi := min(n, lo+hashBlock)
		l.hashToIso(v.hashed[lo:hi], v.dst,
			func(i int) []byte { return b.Messages.At(int(v.entry[lo+i])) })
	})
}

// each runs the tasks in the workspaces, a goroutine for each, and waits for them.
func (v *Verifier) each(tasks int, run func(l *workspace, task int)) {
	workers := min(len(v.spaces), tasks)
	if workers <= 1 {
		for task := range tasks {
			run(v.spaces[0], task)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for _, l := range v.spaces[:workers] {
		wg.Go(func() {
			for task := int(next.Add(1)) - 1; task < tasks; task = int(next.Add(1)) - 1 {
				run(l, task)
			}
		})
	}
	wg.Wait()
}
