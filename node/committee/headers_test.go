package committee

import (
	"bytes"
	"slices"
	"testing"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/types"
	"github.com/cosmos/gogoproto/proto"
)

// turns are validators of which the last joined late: who proposes next does not follow from the
// lowest priority.
func turns(t testing.TB) *types.ValidatorSet {
	t.Helper()
	var list []*types.Validator
	for i := range 5 {
		key := cmted25519.GenPrivKeyFromSecret([]byte{byte(i)}).PubKey()
		list = append(list, types.NewValidator(key, int64(1+i)))
	}
	set := types.NewValidatorSet(list[:4])
	set.IncrementProposerPriority(3)
	if err := set.UpdateWithChangeSet(list[4:]); err != nil {
		t.Fatal(err)
	}
	return set
}

// TestValidators: who reads the validators of a snapshot has the turns of who wrote them, for as
// long as anybody looks.
func TestValidators(t *testing.T) {
	set := turns(t)
	encoded := appendValidators(nil, set)
	got, err := parseValidators(encoded)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if got.String() != set.String() || !bytes.Equal(got.GetProposer().Address,
			set.GetProposer().Address) {
			t.Fatalf("%s, not %s", got, set)
		}
		got.IncrementProposerPriority(1)
		set.IncrementProposerPriority(1)
	}
	for name, bad := range map[string][]byte{
		"none":           nil,
		"no power":       append(bytes.Clone(encoded[:32+32]), make([]byte, 16)...),
		"a cut one":      encoded[:len(encoded)-1],
		"a stranger":     append(make([]byte, 32), encoded[32:]...),
		"one twice":      append(bytes.Clone(encoded), encoded[len(encoded)-validatorSize:]...),
		"too much power": slices.Concat(encoded[:64], []byte{7: 1}, make([]byte, 8)),
		"another order":  slices.Concat(encoded[:32], encoded[80:], encoded[32:80]),
	} {
		if _, err := parseValidators(bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzHeader holds the decoders of what a stranger serves against panics.
func FuzzHeader(f *testing.F) {
	encoded, err := turns(f).ToProto()
	if err != nil {
		f.Fatal(err)
	}
	set, err := proto.Marshal(encoded)
	if err != nil {
		f.Fatal(err)
	}
	signed, err := proto.Marshal((&types.SignedHeader{Header: &types.Header{ChainID: "x", Height: 1},
		Commit: &types.Commit{Height: 1, Signatures: []types.CommitSig{types.NewCommitSigAbsent()}}}).
		ToProto())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed, set)
	f.Add([]byte{}, set)
	f.Fuzz(func(t *testing.T, signed, validators []byte) {
		h := Header{signed, validators}
		if x, _, err := h.parse(); err == nil {
			x.Hash() // of what was taken
		}
		if _, err := parseValidators(validators); err == nil && len(validators) < 32 {
			t.Error("no validators are taken")
		}
	})
}
