package word

import (
	"bytes"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

var testWords = []Word{
	Own{1, 2, 3, rollup.Hash{4}},
	Offer{1, 2, 3, 4, rollup.Hash{5}},
	Answers{1, 2, 3, 4, rollup.Hash{5}},
	Head{1, 2, 3, 4, [16]byte{5}, 6, 7, rollup.Hash{8}, rollup.Hash{9}, rollup.Hash{10}, 11, 12,
		13},
	Run{1, 2, 3, 4, [16]byte{5}, 6, 7, rollup.Hash{8}, rollup.Hash{9}, rollup.Hash{10}, 11, 12},
	Ran{1, 2, rollup.Hash{3}, 4, 5, 6, rollup.Hash{7}, 8},
}

// order is that of Ed25519's group: 2^252 and some.
var order = [32]byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde,
	0xf9, 0xde, 0x14, 31: 0x10}

// again decodes a word and encodes it.
func again(w Word, b []byte) ([]byte, error) {
	var v Word
	var err error
	switch w.(type) {
	case Own:
		v, err = ParseOwn(b)
	case Offer:
		v, err = ParseOffer(b)
	case Answers:
		v, err = ParseAnswers(b)
	case Head:
		v, err = ParseHead(b)
	case Run:
		v, err = ParseRun(b)
	case Ran:
		v, err = ParseRan(b)
	}
	return v.Append(nil), err
}

func TestWords(t *testing.T) {
	sizes := []int{OwnSize, OfferSize, AnswersSize, HeadSize, RunSize, RanSize}
	for i, w := range testWords {
		b := w.Append(nil)
		if len(b) != sizes[i] {
			t.Errorf("%T has %d bytes, not %d", w, len(b), sizes[i])
		}
		if c, err := again(w, b); err != nil || !bytes.Equal(b, c) {
			t.Errorf("%T: %x became %x: %v", w, b, c, err)
		}
		for _, b := range [][]byte{nil, b[1:], append(bytes.Clone(b), 0)} {
			_, err := again(w, b)
			want(t, err, ReasonMalformed)
		}
		m := Message(&testNet, w)
		if !bytes.Equal(m, bytes.Join([][]byte{[]byte(w.tag()), testNet[:], b}, nil)) {
			t.Errorf("%T: what is signed is %x", w, m)
		}
		key, _ := known{}.NodeKey(1)
		s := sign(w)
		if err := Verify(&testNet, key, w, &s); err != nil {
			t.Errorf("%T: %v", w, err)
		}
		for at := range s {
			s[at] ^= 2
			want(t, Verify(&testNet, key, w, &s), ReasonSignature)
			s[at] ^= 2
		}
		// The same with S + L, the group's order, is not a signature (section 2).
		large := s
		carry := 0
		for at, l := range order {
			carry += int(large[32+at]) + int(l)
			large[32+at], carry = byte(carry), carry>>8
		}
		want(t, Verify(&testNet, key, w, &large), ReasonSignature)
		other := testNet
		other[31]++
		want(t, Verify(&other, key, w, &s), ReasonSignature)
		for j, v := range testWords {
			if j != i {
				want(t, Verify(&testNet, key, v, &s), ReasonSignature)
			}
		}
		if Digest(&testNet, w) != blake3.Sum256(m) || Digest(&other, w) == Digest(&testNet, w) {
			t.Errorf("%T: another digest", w)
		}
	}
}

// TestOwnIsTheRollups: the word that travels with a push is the same that evidence is of.
func TestOwnIsTheRollups(t *testing.T) {
	r := newRollup(rollup.WindowKey{Node: 2, Epoch: 4, Window: 7},
		[]rollup.Ack{testAck(4, 2, 0, 0, 0, 1)})
	if s := rollup.SignOwn(nodeKey(2), r.header); s != sign(r.own()) {
		t.Error("another signature")
	}
	bare := r.header.Bare()
	if bare.ID() != r.header.ID() || bare.Key() != r.key() || bare.Network() != testNet {
		t.Error("a header without rows says something else")
	}
}

// TestExclude: which words exclude which.
func TestExclude(t *testing.T) {
	a := Own{1, 2, 3, rollup.Hash{4}}
	for _, c := range []struct {
		b       Word
		exclude bool
	}{
		{a, false},
		{Own{1, 2, 3, rollup.Hash{5}}, true},
		{Own{0, 2, 3, rollup.Hash{5}}, false},
		{Own{1, 0, 3, rollup.Hash{5}}, false},
		{Own{1, 2, 0, rollup.Hash{5}}, false},
		{Offer{1, 2, 3, 1, rollup.Hash{5}}, false},
		{Answers{}, false},
	} {
		if Exclude(a, c.b) != c.exclude || Exclude(c.b, a) != c.exclude {
			t.Errorf("%v and %v: %v", a, c.b, !c.exclude)
		}
	}
	if Exclude(Answers{}, Answers{Height: 1}) || Exclude(Head{}, Head{Height: 1}) {
		t.Error("words without a slot exclude each other")
	}
	if !Exclude(Offer{Count: 1}, Offer{Count: 2}) {
		t.Error("offers of another count")
	}
}

func TestAnswers(t *testing.T) {
	var answers []Answer
	for i := range 37 {
		answers = append(answers, Answer{rollup.Hash{byte(i)},
			rollup.Answer{Code: rollup.CodeGap, Arg: uint64(i)}})
	}
	var word Answers
	word.Over(answers)
	tree := AnswerTree(answers)
	if word.Count != 37 || word.Root != tree.Root() {
		t.Fatalf("%+v", word)
	}
	for i, a := range answers {
		if len(a.Append(nil)) != AnswerSize {
			t.Fatal("another size")
		}
		path := Path(tree.Path(i))
		if err := path.leads(AnswerTreeKind, a.Append(nil), uint32(i), 37, word.Root); err != nil {
			t.Error(err)
		}
		a.Arg++
		want(t, path.leads(AnswerTreeKind, a.Append(nil), uint32(i), 37, word.Root), ReasonPath)
	}
}

func FuzzParseOwn(f *testing.F)     { fuzzWord(f, 0) }
func FuzzParseOffer(f *testing.F)   { fuzzWord(f, 1) }
func FuzzParseAnswers(f *testing.F) { fuzzWord(f, 2) }
func FuzzParseHead(f *testing.F)    { fuzzWord(f, 3) }
func FuzzParseRun(f *testing.F)     { fuzzWord(f, 4) }
func FuzzParseRan(f *testing.F)     { fuzzWord(f, 5) }

func fuzzWord(f *testing.F, i int) {
	f.Add(testWords[i].Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := again(testWords[i], b); err == nil && !bytes.Equal(b, c) {
			t.Fatalf("%x became %x", b, c)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, c := range lies(f) {
		f.Add(Append(nil, c.e))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		e, err := Parse(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the input changed")
		}
		if err == nil && !bytes.Equal(Append(nil, e), b) {
			t.Fatalf("%x became %x", b, Append(nil, e))
		}
		if err == nil {
			e.needs().list()
		}
	})
}
