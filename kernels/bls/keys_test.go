package bls

import (
	"encoding/hex"
	"testing"
)

// TestPublicKeyG1 holds the key of EIP-2335's test vectors.
func TestPublicKeyG1(t *testing.T) {
	const secret = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
	const want = "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27" +
		"f4ae4040902382ae2910c15e2b420d07"
	b, err := hex.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	sk, err := ParseSecretKey(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := sk.PublicKeyG1(); hex.EncodeToString(got[:]) != want {
		t.Errorf("%x, want %s", got, want)
	}
}
