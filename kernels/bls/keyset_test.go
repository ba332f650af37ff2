package bls

import (
	"errors"
	"testing"
)

func TestKeySet(t *testing.T) {
	const n = 700
	var keys []*PublicKey
	var distinct [7]*PublicKey
	for i := range distinct {
		distinct[i] = testKey(t, uint32(i)).PublicKey()
	}
	for i := range n {
		keys = append(keys, distinct[i*i%len(distinct)])
	}
	set := NewKeySet(keys[:n/2])
	set.Append(keys[n/2])
	set.Append(keys[n/2+1:]...)
	if set.Len() != n {
		t.Fatalf("%d keys, not %d", set.Len(), n)
	}
	for _, index := range [][]uint32{nil, {0}, {n - 1}, {3, 3}, {n - 1, 0, n / 2, n/2 - 1, 5}} {
		checkKeySum(t, set, keys, index)
	}
	var all, many []uint32
	for i := range uint32(n) {
		all = append(all, n-1-i)
		many = append(many, i*31%n, 0, i*17%n)
	}
	checkKeySum(t, set, keys, all)
	checkKeySum(t, set, keys, many)
	for i := range keys {
		if set.Key(uint32(i)) != keys[i] {
			t.Fatalf("key %d differs", i)
		}
	}
	if _, err := set.Sum([]uint32{0, n}); !errors.Is(err, ErrBatch) {
		t.Errorf("a key that is not there: %v", err)
	}
}

func checkKeySum(t *testing.T, set *KeySet, keys []*PublicKey, index []uint32) {
	t.Helper()
	var chosen []*PublicKey
	for _, i := range index {
		chosen = append(chosen, keys[i])
	}
	got, err := set.Sum(index)
	if err != nil || !got.Equal(AggregatePublicKeys(chosen)) {
		t.Errorf("the sum of %d keys differs (%v)", len(index), err)
	}
}

func TestKeySetVerifies(t *testing.T) {
	msg := []byte("statement")
	set, index := new(KeySet), []uint32{2, 0, 1}
	var signatures []Signature
	for i := range 3 {
		set.Append(testKey(t, uint32(i)).PublicKey())
		signatures = append(signatures, Default.Sign(testKey(t, uint32(i)), msg))
	}
	all := AggregateSignatures(signatures)
	if !set.FastAggregateVerify(Default, index, msg, &all) {
		t.Error("the signature of all does not verify")
	}
	for _, wrong := range [][]uint32{nil, {0, 1}, {0, 1, 1}, {0, 1, 2, 3}} {
		if set.FastAggregateVerify(Default, wrong, msg, &all) {
			t.Errorf("verifies for %v", wrong)
		}
	}
	none := Signature{}
	if set.FastAggregateVerify(Default, nil, msg, &none) {
		t.Error("nobody's signature verifies")
	}
}
