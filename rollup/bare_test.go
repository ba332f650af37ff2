package rollup

import (
	"bytes"
	"errors"
	"testing"
)

// TestBareHeader: a header without its rows has the same id, and says where it is from.
func TestBareHeader(t *testing.T) {
	h, _ := forge(t, testKey, testAcks())
	h.StatementCount, h.ListRoot = 9, Hash{7}
	b := h.Bare()
	if !bytes.Equal(b[:], h.Append(nil)[:HeaderSize]) {
		t.Fatal("not the header's bytes")
	}
	again, err := ParseBareHeader(b[:])
	if err != nil || again != b {
		t.Fatal(err)
	}
	if b.ID() != h.ID() || b.Key() != h.Key() || b.Network() != h.Network {
		t.Error("another rollup")
	}
	if n, root := b.Acks(); n != h.AckCount || root != h.AckRoot {
		t.Errorf("%d acks under %v", n, root)
	}
	if n, root := b.List(); n != 9 || root != (Hash{7}) {
		t.Errorf("%d entries under %v", n, root)
	}
	other := b
	other[7]++
	for _, b := range [][]byte{nil, b[1:], append(b[:], 0), other[:]} {
		_, err := ParseBareHeader(b)
		wantError(t, err, ErrMalformed)
	}
}

func FuzzParseListLeaf(f *testing.F) {
	for _, e := range []ListEntry{{}, {Run{MaxClients - 1, 2, 3, 4}, true}} {
		f.Add(e.AppendLeaf(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseListLeaf(b)
		if err == nil && !bytes.Equal(e.AppendLeaf(nil), b) {
			t.Fatalf("%x became %x", b, e.AppendLeaf(nil))
		}
		if err == nil && ListTreeKind.LeafHash(b) != e.LeafHash() {
			t.Fatal("another hash")
		}
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
	})
}

// TestVerifySum: members that are no quorum signed all the same.
func TestVerifySum(t *testing.T) {
	message := []byte("what they said")
	signers, sum := multiSign(message, 2, 3)
	if err := committee().VerifySum(message, signers, &sum); err != nil {
		t.Error(err)
	}
	wantError(t, committee().Verify(message, signers, &sum), ErrQuorum)
	wantError(t, committee().VerifySum(message[1:], signers, &sum), ErrSignature)
	signers.Set(1)
	wantError(t, committee().VerifySum(message, signers, &sum), ErrSignature)
	wantError(t, committee().VerifySum(message, NewBitmap(4), &sum), ErrSignature)
	wantError(t, committee().VerifySum(message, NewBitmap(9), &sum), ErrBitmap)
}
