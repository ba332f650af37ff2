package ledger

import (
	"encoding/hex"
	"fmt"
	"testing"

	"filippo.io/edwards25519"
)

// order8 is the y coordinate of points of order 8; its sign bit chooses one of two.
const order8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"

func TestKeyValid(t *testing.T) {
	for i := range 20 {
		if k := accountOf(fmt.Sprint(i)); !k.Valid() {
			t.Errorf("%s is refused", k)
		}
	}
	pad := func(first, rest, last string) (s string) {
		for s = first; len(s) < 62; {
			s += rest
		}
		return s + last
	}
	for name, text := range map[string]string{
		"zeros, of order 4":        pad("00", "00", "00"),
		"order 4, negative":        pad("00", "00", "80"),
		"the identity":             pad("01", "00", "00"),
		"the identity with a sign": pad("01", "00", "80"),
		"order 2":                  pad("ec", "ff", "7f"),
		"order 8":                  order8,
		"order 8, negative":        order8[:62] + "85",
		"another order 8": "c7176a703d4dd84fba3c0b760d10670f" +
			"2a2053fa2c39ccc64ec7fd7792ac037a",
		"zero, not canonical":           pad("ed", "ff", "7f"),
		"the identity, not canonical":   pad("ee", "ff", "7f"),
		"y = 3 + p, not canonical":      pad("f0", "ff", "7f"),
		"y = 2, not on the curve":       pad("02", "00", "00"),
		"a key plus a point of order 8": plus(t, accountOf("a"), order8).String(),
		"a key plus a point of order 2": plus(t, accountOf("a"), pad("ec", "ff", "7f")).String(),
	} {
		var k Key
		if err := k.UnmarshalText([]byte(text)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if k.Valid() {
			t.Errorf("%s is a valid key", name)
		}
	}
}

func plus(t *testing.T, k Key, other string) Key {
	t.Helper()
	b, err := hex.DecodeString(other)
	if err != nil {
		t.Fatal(err)
	}
	p, err := new(edwards25519.Point).SetBytes(k[:])
	if err != nil {
		t.Fatal(err)
	}
	q, err := new(edwards25519.Point).SetBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	return Key(p.Add(p, q).Bytes())
}

func BenchmarkKeyValid(b *testing.B) {
	k := accountOf("a")
	for b.Loop() {
		k.Valid()
	}
}
