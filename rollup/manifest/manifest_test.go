package manifest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/rollup"
)

var update = flag.Bool("update", false, "write testdata/manifest.json")

func digest(b byte) (h rollup.Hash) {
	for i := range h {
		h[i] = b + byte(i)
	}
	return h
}

var (
	owner = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	head  = Head{Network: rollup.Network(digest(1)), Service: 5, Serial: 3, Until: 900}
)

func public() [32]byte { return [32]byte(owner.Public().(ed25519.PublicKey)) }

func entries() []Entry {
	return []Entry{
		{"/img/ü.png", digest(3), 1 << 20, 86400, "image/png"},
		{"/", digest(2), 17, 60, "text/html; charset=utf-8"},
		{"/empty", digest(4), 0, 0, "application/octet-stream"},
	}
}

func made(t testing.TB, list []Entry) *Manifest {
	t.Helper()
	m, err := New(head, list, owner)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// many are n entries in order.
func many(n int) (list []Entry) {
	for i := range n {
		list = append(list, Entry{Path: fmt.Sprintf("/%05d", i), Type: "text/plain"})
	}
	return list
}

// TestGolden holds the bytes to testdata/manifest.json.
func TestGolden(t *testing.T) {
	m := made(t, entries())
	d, p := m.Digest(), PathDigest("/img/ü.png")
	text, err := json.MarshalIndent(map[string]string{
		"manifest": hex.EncodeToString(m.Append(nil)),
		"digest":   d.String(), "path digest": p.String(), "root": m.Root.String(),
	}, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	const path = "testdata/manifest.json"
	if *update {
		if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(append(text, '\n'), want) {
		t.Errorf("%s is not what the code gives (%v); if the change is meant: "+
			"go test ./rollup/manifest -run TestGolden -update", path, err)
	}
	if SignedSize != 92 || HeadSize != 156 || len(m.Head.Append(nil)) != SignedSize {
		t.Error("a size that the document names")
	}
}

func TestRoundTrip(t *testing.T) {
	m := made(t, entries())
	got, err := Parse(m.Append(nil))
	if err != nil || !bytes.Equal(got.Append(nil), m.Append(nil)) {
		t.Fatal(err)
	}
	if err := got.Verify(&head.Network, 5, 899, public()); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries() {
		if found, err := got.Lookup(e.Path); err != nil || found != e {
			t.Errorf("%s: %+v, %v", e.Path, found, err)
		}
		parsed, err := ParseEntry(e.Append(nil))
		if err != nil || parsed != e {
			t.Errorf("%s: %+v, %v", e.Path, parsed, err)
		}
	}
	h, err := ParseHead(m.Head.Append(nil))
	if err != nil || h != m.Head || h.Digest() != m.Digest() {
		t.Errorf("%+v, %v", h, err)
	}
}

// TestRefusals has every reason, each from what is wrong in one thing only.
func TestRefusals(t *testing.T) {
	m := made(t, entries())
	encoded := m.Append(nil)
	with := func(change func(list []Entry)) []byte { // as if the root over wrong entries were signed
		bad := *m
		bad.Entries = slices.Clone(m.Entries)
		change(bad.Entries)
		bad.Root = treeOf(bad.Entries).Root()
		return bad.Append(nil)
	}
	parse := func(b []byte) error { _, err := Parse(b); return err }
	path := func(p string) error { return parse(with(func(list []Entry) { list[0].Path = p })) }
	kind := func(k string) error { return parse(with(func(list []Entry) { list[0].Type = k })) }
	none := *m
	none.Entries, none.Count = nil, 0
	otherRoot := *m
	otherRoot.Root[0] ^= 1
	verify := func(network rollup.Network, service, epoch uint32, key [32]byte) error {
		return m.Verify(&network, service, epoch, key)
	}
	forged := *m
	forged.Serial++
	_, absent := m.Lookup("/none")
	_, proof := m.Resolve("/none", nil)
	cases := []struct {
		name   string
		err    error
		reason Reason
	}{
		{"nothing", parse(nil), ReasonMalformed},
		{"a tag of version 1", parse(append([]byte("wb-man/1"), encoded[8:]...)), ReasonMalformed},
		{"cut", parse(encoded[:len(encoded)-1]), ReasonMalformed},
		{"more", parse(append(bytes.Clone(encoded), 0)), ReasonMalformed},
		{"no entry", parse(none.Append(nil)), ReasonCount},
		{"another order", parse(with(func(l []Entry) { l[0], l[1] = l[1], l[0] })), ReasonOrder},
		{"twice", parse(with(func(l []Entry) { l[1] = l[0] })), ReasonDuplicate},
		{"another root", parse(otherRoot.Append(nil)), ReasonRoot},
		{"a size", parse(with(func(l []Entry) { l[0].Size = MaxSize + 1 })), ReasonSize},
		{"no type", kind(""), ReasonType},
		{"a type without a slash", kind("text"), ReasonType},
		{"a type in upper case", kind("Text/html"), ReasonType},
		{"a line in a type", kind("text/html\r\nX: y"), ReasonType},
		{"a parameter without a value", kind("text/html; charset"), ReasonType},
		{"a parameter in quotes", kind(`text/html; charset="utf-8"`), ReasonType},
		{"a long type", kind("text/" + strings.Repeat("x", MaxType)), ReasonTypeLong},
		{"no path", path(""), ReasonPathEmpty},
		{"a long path", path("/" + strings.Repeat("x", MaxPath)), ReasonPathLong},
		{"no UTF-8", path("/\xff"), ReasonPathUTF8},
		{"no slash", path("a"), ReasonPathSlash},
		{"a line in a path", path("/a\nb"), ReasonPathControl},
		{"writing backwards", path("/a\u202eb"), ReasonPathControl},
		{"a backslash", path(`/a\b`), ReasonPathBackslash},
		{"a query", path("/a?b"), ReasonPathReserved},
		{"an escape", path("/%2e%2e"), ReasonPathReserved},
		{"two slashes", path("//a"), ReasonPathSegment},
		{"a dot", path("/./a"), ReasonPathDots},
		{"two dots", path("/a/.."), ReasonPathDots},
		{"another network", verify(rollup.Network{}, 5, 0, public()), ReasonNetwork},
		{"another service", verify(head.Network, 6, 0, public()), ReasonService},
		{"the last epoch", verify(head.Network, 5, 900, public()), ReasonExpired},
		{"another key", verify(head.Network, 5, 0, digest(9)), ReasonSignature},
		{"another serial", forged.Verify(&head.Network, 5, 0, public()), ReasonSignature},
		{"another path", absent, ReasonAbsent},
		{"nothing shown", proof, ReasonProof},
	}
	seen := map[Reason]bool{}
	for _, c := range cases {
		if seen[c.reason] = true; !errors.Is(c.err, c.reason) {
			t.Errorf("%s: %v, not %v", c.name, c.err, c.reason)
		}
	}
	for r := ReasonMalformed; r <= ReasonProof; r++ {
		if !seen[r] {
			t.Errorf("no case has %v", r)
		}
	}
	if _, err := New(head, nil, owner); !errors.Is(err, ReasonCount) {
		t.Error(err)
	}
	twice := []Entry{{Path: "/a", Type: "a/b"}, {Path: "/a", Type: "a/b"}}
	if _, err := New(head, twice, owner); !errors.Is(err, ReasonDuplicate) {
		t.Error(err)
	}
}

// TestEveryByte flips each byte: a manifest does not parse, or does not verify, or is the same.
func TestEveryByte(t *testing.T) {
	m := made(t, entries())
	encoded := m.Append(nil)
	for i := range encoded {
		b := bytes.Clone(encoded)
		b[i] ^= 1
		got, err := Parse(b)
		if err == nil && got.Verify(&head.Network, 5, 0, public()) == nil {
			t.Errorf("byte %d counts for nothing", i)
		}
	}
}

// TestProofs shows every entry and every gap of manifests of some sizes.
func TestProofs(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 8, 9} {
		m := made(t, many(n))
		for i := range n {
			path := m.Entries[i].Path
			shown, err := m.Show(path)
			if err != nil || len(shown) != 1 {
				t.Fatal(shown, err)
			}
			if e, err := m.Resolve(path, shown); err != nil || e != m.Entries[i] {
				t.Fatalf("%d of %d: %+v, %v", i, n, e, err)
			}
			_, err = m.Resolve(path+"x", shown)
			if i > 0 && i < n-1 && !errors.Is(err, ReasonProof) {
				t.Fatalf("%d of %d shows that there is nothing behind it: %v", i, n, err)
			}
		}
		for i := range n + 1 {
			path := "/"
			if i > 0 {
				path = m.Entries[i-1].Path + "x"
			}
			shown, err := m.Show(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Resolve(path, shown); !errors.Is(err, ReasonAbsent) {
				t.Fatalf("gap %d of %d: %v", i, n, err)
			}
			for j := range shown {
				bad := slices.Clone(shown)
				bad[j].Entry.Size++
				if _, err := m.Resolve(path, bad); !errors.Is(err, ReasonProof) {
					t.Fatalf("gap %d of %d with another entry: %v", i, n, err)
				}
				bad = slices.Clone(shown)
				bad[j].Index++
				if _, err := m.Resolve(path, bad); !errors.Is(err, ReasonProof) {
					t.Fatalf("gap %d of %d with another index: %v", i, n, err)
				}
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(made(f, entries()).Append(nil))
	f.Add(made(f, many(9)).Append(nil))
	f.Add([]byte(Tag))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			var refusal *Refusal
			if !errors.Is(err, ReasonMalformed) && !errors.As(err, &refusal) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if !bytes.Equal(m.Append(nil), b) {
			t.Fatal("encodes otherwise")
		}
		for i := range m.Entries {
			shown, err := m.Show(m.Entries[i].Path)
			if err != nil {
				t.Fatal(err)
			}
			if e, err := m.Resolve(m.Entries[i].Path, shown); err != nil || e != m.Entries[i] {
				t.Fatal(err)
			}
		}
	})
}

func FuzzCheckPath(f *testing.F) {
	for _, p := range []string{"/", "/a/b", "/a/", "/../a", "//", "/\u202e", "/a%20b"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if CheckPath(path) != nil {
			return
		}
		if strings.Contains(path, "//") || strings.ContainsAny(path, "\\?#%\x00\n") ||
			strings.Contains(path+"/", "/../") || strings.Contains(path+"/", "/./") {
			t.Fatalf("%q is clean", path)
		}
	})
}

// TestLarge has the path of one entry among a hundred thousand.
func TestLarge(t *testing.T) {
	list := many(100_000)
	random := rand.New(rand.NewPCG(1, 2))
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	m := made(t, list)
	shown, err := m.Show("/54321")
	if err != nil || len(shown) != 1 || len(shown[0].Path) > 17 {
		t.Fatal(err)
	}
	if _, err := m.Resolve("/54321", shown); err != nil {
		t.Fatal(err)
	}
}
