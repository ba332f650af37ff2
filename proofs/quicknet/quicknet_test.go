package quicknet

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
)

// published are rounds that the network published, as other programs' tests quote them.
var published = []struct {
	round                 Round
	signature, randomness string
}{
	{1000, "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125" +
		"e342b73a8dd2bacbe47e4b6b63ed5e39",
		"fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd"},
	{657413, "b713718a38ae728dfd477991af2822e08d2f305e47718cef9f7848ce4050e7be" +
		"41076862b98fad56e91a6b85b89cd97b",
		"fc1873a13f3545aeade8401532ef5519920652eee6b0d2b19ca12643b87b3587"},
	{12040883, "929906c959032ab363c9f26570d215d66f5c06cb0c44fe508c12bb5839f04ec8" +
		"95bb6868e5b9ff13ab289bdb5266b394", ""},
	{32281667, "b0f5ae301358ff87a9d3dd539ed4a07c0148b1ab4f7b61a8ca43c7e9ca7ca955" +
		"3e4faae9188deb30b2cd1a7f447e3e5b",
		"4fd2fc55983dbfa3f446d8a0bd56f16cc8c5e76afd1ec154b60d477cbabed13b"},
}

func text(round Round, signature, randomness string) []byte {
	b, err := json.Marshal(document{Round: round, Signature: signature, Randomness: randomness})
	if err != nil {
		panic(err)
	}
	return b
}

func TestPublishedRounds(t *testing.T) {
	for _, p := range published {
		v, err := Parse(text(p.round, p.signature, p.randomness))
		if err != nil {
			t.Errorf("round %d: %v", p.round, err)
			continue
		}
		sum := v.Randomness()
		if got := hex.EncodeToString(sum[:]); p.randomness != "" && got != p.randomness {
			t.Errorf("round %d: randomness %s", p.round, got)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse(b); err != nil || again != v {
			t.Errorf("read back: %+v, %v", again, err)
		}
	}
}

// TestChain recomputes the chain's hash, which covers all that this package knows of it and the
// hash of the group that began it.
func TestChain(t *testing.T) {
	group, err := hex.DecodeString(
		"f477d5c89f21a17c863a7f937c6a6d15859414d2be09cd448d4279af331c5d3e")
	if err != nil {
		t.Fatal(err)
	}
	b := binary.BigEndian.AppendUint32(nil, period)
	b = binary.BigEndian.AppendUint64(b, genesis)
	public := key.Bytes()
	b = append(append(append(b, public[:]...), group...), "quicknet"...)
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != Chain {
		t.Errorf("the chain's hash is %x", sum)
	}
}

func TestRefused(t *testing.T) {
	first, second := published[0], published[1]
	identity := hex.EncodeToString(bls.IdentitySignature[:])
	flipped := "b4" + strings.Repeat("00", bls.SignatureSize-1)
	for name, c := range map[string]struct {
		text   []byte
		reason Reason
	}{
		"nothing":               {nil, ReasonFormat},
		"no JSON":               {[]byte("round 1000"), ReasonFormat},
		"no number":             {[]byte(`{"round":"1000"}`), ReasonFormat},
		"negative":              {[]byte(`{"round":-1}`), ReasonFormat},
		"round 0":               {text(0, first.signature, ""), ReasonFormat},
		"beyond all rounds":     {text(MaxRound+1, first.signature, ""), ReasonFormat},
		"no signature":          {text(1000, "", ""), ReasonFormat},
		"a short signature":     {text(1000, first.signature[2:], ""), ReasonFormat},
		"no hexadecimal digits": {text(1000, "x"+first.signature[1:], ""), ReasonFormat},
		"no point":              {text(1000, flipped, ""), ReasonPoint},
		"the identity":          {text(1000, identity, ""), ReasonPoint},
		"of another round":      {text(1001, first.signature, first.randomness), ReasonForged},
		"another's signature":   {text(1000, second.signature, ""), ReasonForged},
		"another's randomness": {text(1000, first.signature, second.randomness),
			ReasonRandomness},
		"randomness of no length": {text(1000, first.signature, "00"), ReasonRandomness},
		"of a chained network": {[]byte(`{"round":1000,"signature":"` + first.signature +
			`","previous_signature":"` + first.signature + `"}`), ReasonChain},
	} {
		if v, err := Parse(c.text); !errors.Is(err, c.reason) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

// TestOwnKey signs rounds with a key of this test, and checks that neither the network's key nor
// the protocol's own tag takes them.
func TestOwnKey(t *testing.T) {
	sk, err := bls.KeyGen([]byte("a key that is not the network's, 32 bytes"))
	if err != nil {
		t.Fatal(err)
	}
	message := Round(7).message()
	signed := func(su bls.Suite) Beacon {
		s := su.Sign(sk, message[:])
		return Beacon{Round: 7, Signature: s.Bytes()}
	}
	good, other := signed(suite), signed(bls.Default)
	if err := good.verify(sk.PublicKey()); err != nil {
		t.Error(err)
	}
	if err := good.Verify(); !errors.Is(err, ReasonForged) {
		t.Errorf("by another key: %v", err)
	}
	if err := other.verify(sk.PublicKey()); !errors.Is(err, ReasonForged) {
		t.Errorf("under another tag: %v", err)
	}
}

func TestTimes(t *testing.T) {
	start := time.Date(2023, 8, 23, 15, 9, 27, 0, time.UTC)
	for _, c := range []struct {
		at   time.Time
		want Round
	}{
		{time.Time{}, 1}, {start.Add(-time.Hour), 1}, {start, 1}, {start.Add(1), 2},
		{start.Add(3 * time.Second), 2}, {start.Add(3*time.Second + 1), 3},
		{start.Add(999 * 3 * time.Second), 1000}, {start.Add(999*3*time.Second - 1), 1000},
	} {
		if got := From(c.at); got != c.want {
			t.Errorf("%s: round %d, want %d", c.at, got, c.want)
		}
	}
	for _, r := range []Round{1, 2, 1000, MaxRound} {
		if From(r.Time()) != r || From(r.Time().Add(-1)) != r || r.Time().Location() != time.UTC {
			t.Errorf("round %d at %s", r, r.Time())
		}
	}
	if !Round(1).Time().Equal(start) {
		t.Errorf("round 1 at %s", Round(1).Time())
	}
}

// FuzzParse checks that nothing panics, and that what is taken is one of the published rounds.
func FuzzParse(f *testing.F) {
	for _, p := range published {
		f.Add(text(p.round, p.signature, p.randomness))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Parse(b)
		var reason Reason
		if err != nil && !errors.As(err, &reason) {
			t.Errorf("%v is no reason", err)
		}
		if err == nil && v.Verify() != nil {
			t.Error("taken and not verified")
		}
	})
}
