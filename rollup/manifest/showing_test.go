package manifest

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/waybill-network/waybill/rollup"
)

// TestShowing: a showing says the same as the manifest, also when it was encoded, and none of it
// can be another one.
func TestShowing(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	owner := [32]byte(key.Public().(ed25519.PublicKey))
	network := rollup.Network{1}
	entries := []Entry{{Path: "/", Root: rollup.Hash{1}, Type: "text/html"},
		{Path: "/b", Root: rollup.Hash{2}, Type: "text/html"},
		{Path: "/d", Root: rollup.Hash{3}, Size: 9, Type: "video/mp4"}}
	m, err := New(Head{Network: network, Service: 5, Until: 9}, entries, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/a", "/b", "/c", "/d", "/e"} {
		s, err := m.Showing(path)
		if err != nil {
			t.Fatal(err)
		}
		b := s.Append(nil)
		again, err := ParseShowing(b)
		if err != nil || !bytes.Equal(again.Append(nil), b) {
			t.Fatal(path, err)
		}
		want, wantErr := m.Lookup(path)
		got, err := again.Resolve(&network, 5, 8, owner, path)
		if got != want || errors.Is(err, ReasonAbsent) != errors.Is(wantErr, ReasonAbsent) {
			t.Errorf("%s: %+v, %v; not %+v, %v", path, got, err, want, wantErr)
		}
		for i := range b {
			bad := bytes.Clone(b)
			bad[i] ^= 1
			if s, err := ParseShowing(bad); err == nil {
				_, err = s.Resolve(&network, 5, 8, owner, path)
				if err == nil || errors.Is(err, ReasonAbsent) {
					t.Errorf("%s: byte %d counts for nothing", path, i)
				}
			}
			if _, err := ParseShowing(b[:i]); err == nil {
				t.Errorf("%s: its first %d bytes decode", path, i)
			}
		}
	}
	s, err := m.Showing("/b")
	if err != nil {
		t.Fatal(err)
	}
	for want, f := range map[Reason]func() (Entry, error){
		ReasonExpired: func() (Entry, error) { return s.Resolve(&network, 5, 9, owner, "/b") },
		ReasonService: func() (Entry, error) { return s.Resolve(&network, 6, 8, owner, "/b") },
		ReasonNetwork: func() (Entry, error) {
			return s.Resolve(&rollup.Network{2}, 5, 8, owner, "/b")
		},
		ReasonSignature: func() (Entry, error) { return s.Resolve(&network, 5, 8, [32]byte{1}, "/b") },
		ReasonProof:     func() (Entry, error) { return s.Resolve(&network, 5, 8, owner, "/d") },
	} {
		if _, err := f(); !errors.Is(err, want) {
			t.Errorf("%v: %v", want, err)
		}
	}
}

func FuzzParseShowing(f *testing.F) {
	f.Add((&Showing{Head: Head{Count: 1}, Shown: []Shown{{Entry: Entry{Path: "/",
		Type: "text/html"}, Path: []rollup.Hash{{1}}}}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseShowing(b); err == nil && !bytes.Equal(s.Append(nil), b) {
			t.Error("another encoding")
		}
	})
}
