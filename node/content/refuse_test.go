package content

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/manifest"
)

// elsewhere are the reasons that other tests bring about.
var elsewhere = []Reason{
	ReasonFull, ReasonBusy, ReasonClosed, // TestEviction, TestAllLeave
	ReasonDisk, ReasonDiskFull, // TestDiskFaults, TestPinFaults
	ReasonOriginAbsent, ReasonOriginRefused, ReasonOriginFailed, ReasonOriginRange, // TestWeb
	ReasonOriginEncoded, ReasonOriginRedirect, ReasonOriginPath,
}

// TestRefusals brings about every reason, each by one thing that is wrong.
func TestRefusals(t *testing.T) {
	in := sample(1, 100<<10)
	root, other := rootOf(in), rootOf(nil)
	denied := deny(t, other.String()+" the owner asked for it # on paper\n")
	dir := filepath.Join(t.TempDir(), "content")
	s := openStore(t, Options{Dir: dir, MaxBytes: 1 << 20, MaxContent: 200 << 10, Deny: denied})
	add(t, s, in)
	if err := s.Pin(root); err != nil {
		t.Fatal(err)
	}
	if err := s.SetManifest(site(t, 5, 2)); err != nil {
		t.Fatal(err)
	}
	put := func(b []byte, root rollup.Hash, size int64) error {
		_, err := s.Put(t.Context(), bytes.NewReader(b), root, size)
		return err
	}
	taken := func(b []byte) error { _, err := s.Add(t.Context(), bytes.NewReader(b)); return err }
	opened := func(dir string) error { _, err := Open(Options{Dir: dir}); return err }
	listed := func(text string) error {
		_, err := OpenDeny(write(t, filepath.Join(t.TempDir(), "deny"), text))
		return err
	}
	web := func(base string) error { _, err := NewWeb(base, nil); return err }
	open := func(root rollup.Hash) error { _, err := s.Open(root); return err }
	_, noList := OpenDeny("/none")
	_, noFolder := OpenFolder("/none")
	occupied := filepath.Dir(write(t, filepath.Join(t.TempDir(), "x"), "y"))
	_, source := s.Add(t.Context(), iotest.ErrReader(errors.New("torn cable")))
	_, origin := s.Fetch(t.Context(), Want{Root: rootOf([]byte{1})})
	c, err := s.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	_, beyond := c.AppendNodes(nil, 0, 0, c.Groups()+1)
	_, before := c.AppendNodes(nil, 1, 0, 1)
	cases := []struct {
		name   string
		err    error
		reason Reason
	}{
		{"open what is not there", open(rootOf([]byte{1})), ReasonAbsent},
		{"remove what is not there", s.Remove(rootOf([]byte{1})), ReasonAbsent},
		{"pin what is not there", s.Pin(rootOf([]byte{1})), ReasonAbsent},
		{"open what is denied", open(other), ReasonDenied},
		{"put what is denied", put(nil, other, 0), ReasonDenied},
		{"add what is denied", taken(nil), ReasonDenied},
		{"other bytes", put(in[1:], root, -1), ReasonMismatch},
		{"more bytes", put(in, root, 5), ReasonSize},
		{"fewer bytes", put(in, root, 101<<10), ReasonSize},
		{"more than the store takes", put(in, root, 201<<10), ReasonTooLarge},
		{"more than the store takes, unsaid", taken(sample(2, 201<<10)), ReasonTooLarge},
		{"purge what is not there", s.Purge(rootOf([]byte{1})), ReasonAbsent},
		{"remove what is pinned", s.Remove(root), ReasonPinned},
		{"groups beyond the end", beyond, ReasonRange},
		{"groups before the first", before, ReasonRange},
		{"verify no groups", c.Verify(1, 1), ReasonRange},
		{"open twice", opened(dir), ReasonLocked},
		{"another folder", opened(occupied), ReasonNotStore},
		{"another format", opened(spoilt(t, formatName, "waybill content 2\n")), ReasonNotStore},
		{"another file", opened(spoilt(t, "objects/readme", "")), ReasonNotStore},
		{"a name of no content", opened(spoilt(t, "objects/ab/abc", "")), ReasonNotStore},
		{"a content elsewhere", opened(spoilt(t, "objects/ab/"+root.String(), "")), ReasonNotStore},
		{"pins that are none", opened(spoilt(t, pinsName, "abc\n")), ReasonPins},
		{"a private list of words", opened(spoilt(t, privateName, "abc 1\n")), ReasonPrivate},
		{"private to nobody", opened(spoilt(t, privateName, root.String()+"\n")), ReasonPrivate},
		{"private to a name", opened(spoilt(t, privateName, root.String()+" 1,x\n")), ReasonPrivate},
		{"private to too many", s.SetPrivate(root, make([]uint32, 4097)), ReasonPrivate},
		{"an old manifest", s.SetManifest(site(t, 5, 1)), ReasonStale},
		{"another manifest", s.SetManifest(site(t, 5, 2, "/other")), ReasonStale},
		{"a manifest that is none", opened(spoilt(t, "manifests/5", "wb-man/2")), ReasonManifest},
		{"a manifest of another", opened(spoilt(t, "manifests/6",
			string(site(t, 5, 1).Append(nil)))), ReasonManifest},
		{"no deny list", noList, ReasonDenyList},
		{"a deny list of words", listed("some words\n"), ReasonDenyList},
		{"a root in upper case", listed(strings.ToUpper(root.String())), ReasonDenyList},
		{"a reason that is not seen", listed(root.String() + " a\x1b[0m\n"), ReasonDenyList},
		{"a long reason", listed(root.String() + " " + strings.Repeat("x", 201)), ReasonDenyList},
		{"no origin", origin, ReasonNoOrigin},
		{"an origin by FTP", web("ftp://a/b"), ReasonOriginURL},
		{"an origin with a password", web("https://a:b@c/"), ReasonOriginURL},
		{"an origin with a query", web("https://a/?b"), ReasonOriginURL},
		{"an origin with spaces", web("https://a b/"), ReasonOriginURL},
		{"a source that breaks", source, ReasonSource},
		{"a folder that is none", noFolder, ReasonOriginFailed},
	}
	c.Close()
	if err := os.Truncate(s.object(root)+treeSuffix, 64); err != nil {
		t.Fatal(err)
	}
	if c, err = s.Open(root); err != nil {
		t.Fatal(err)
	}
	_, short := c.AppendNodes(nil, 0, 0, c.Groups())
	c.Close()
	cases = append(cases, struct {
		name   string
		err    error
		reason Reason
	}{"a tree that is cut", short, ReasonDamaged})
	gone := s.Purge(root) // which is pinned and open
	cases = append(cases, struct {
		name   string
		err    error
		reason Reason
	}{"read what was purged", errors.Join(gone, c.Check()), ReasonPurged})
	seen := map[Reason]bool{}
	for _, c := range cases {
		seen[c.reason] = true
		var refusal *Refusal
		if !errors.Is(c.err, c.reason) || !errors.As(c.err, &refusal) || refusal.Code != c.reason {
			t.Errorf("%s: %v, not %v", c.name, c.err, c.reason)
		}
	}
	for _, r := range Reasons() {
		if !seen[r] && !slices.Contains(elsewhere, r) {
			t.Errorf("no case has %v", r)
		}
		if strings.HasPrefix(r.String(), "Reason(") || r.Error() == "content: " {
			t.Errorf("%d has no words", r)
		}
	}
}

// site is a manifest of some paths.
func site(t *testing.T, service uint32, serial uint64, paths ...string) *manifest.Manifest {
	t.Helper()
	list := []manifest.Entry{{Path: "/", Type: "text/html"}}
	for _, path := range paths {
		list = append(list, manifest.Entry{Path: path, Type: "text/html"})
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	m, err := manifest.New(manifest.Head{Service: service, Serial: serial}, list, key)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestManifests keeps manifests over a restart, the newest of each service.
func TestManifests(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "content")
	s := openStore(t, Options{Dir: dir})
	newest := site(t, 5, 3, "/a")
	for _, m := range []*manifest.Manifest{site(t, 5, 2), newest, newest, site(t, 70, 1)} {
		if err := s.SetManifest(m); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	if err := s.SetManifest(site(t, 5, 9)); !errors.Is(err, ReasonClosed) {
		t.Fatal(err)
	}
	s = openStore(t, Options{Dir: dir})
	m, is := s.Manifest(5)
	if !is || m.Digest() != newest.Digest() || !slices.Equal(s.Manifests(), []uint32{5, 70}) {
		t.Fatal(s.Manifests())
	}
	if _, is := s.Manifest(6); is {
		t.Fatal("a manifest of a service that has none")
	}
}

// write writes a file and returns its path.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// spoilt is the folder of a store with one file that should not be there.
func spoilt(t *testing.T, name, text string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "content")
	s := openStore(t, Options{Dir: dir})
	s.Close()
	write(t, filepath.Join(dir, name), text)
	return dir
}

func deny(t *testing.T, text string) *Deny {
	t.Helper()
	d, err := OpenDeny(write(t, filepath.Join(t.TempDir(), "deny"), text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDeny changes a list while a content is read. A list that is spoilt leaves things as they are.
func TestDeny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := sample(1, 100<<10)
		d := deny(t, "# nothing yet\n\n")
		s := openStore(t, Options{Deny: d})
		root := add(t, s, in)
		c, err := s.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(); err != nil || d.Len() != 0 {
			t.Fatal(err)
		}
		steps := []struct {
			text   string
			denied bool
			broken bool
		}{
			{fmt.Sprintf("%v by order of a court\n", root), true, false},
			{"spoilt\n", true, true},
			{fmt.Sprintf("%v\n", rootOf(in[1:])), false, false},
			{fmt.Sprintf("  %v  # a comment\r\n", root), true, false},
		}
		for i, step := range steps {
			write(t, d.path, step.text)
			time.Sleep(denyEvery)
			err := c.Check()
			if errors.Is(err, ReasonDenied) != step.denied || (d.Err() != nil) != step.broken {
				t.Errorf("step %d: %v, %v", i, err, d.Err())
			}
			if i == 0 && !strings.Contains(err.Error(), "by order of a court") {
				t.Error(err)
			}
			if s.Has(root) == step.denied {
				t.Errorf("step %d: has it: %v", i, !step.denied)
			}
		}
		if err := os.Remove(d.path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(denyEvery)
		if err := c.Check(); !errors.Is(err, ReasonDenied) || d.Err() == nil {
			t.Errorf("the file is gone: %v, %v", err, d.Err())
		}
		c.Close()
		s.Close()
	})
}

func FuzzDeny(f *testing.F) {
	root := rootOf(nil)
	f.Add([]byte(root.String() + " reason # comment\n"))
	f.Add([]byte("#\n\n \t\n"))
	f.Add([]byte(root.String()))
	f.Fuzz(func(t *testing.T, text []byte) {
		roots, line, err := parseDeny(text)
		if err == nil != (line == 0) {
			t.Fatal(line, err)
		}
		for _, reason := range roots {
			if reason == "" || !printable(reason) {
				t.Fatalf("%q", reason)
			}
		}
	})
}

// TestUse keeps what was used last over a restart.
func TestUse(t *testing.T) {
	const size = 1000
	dir := filepath.Join(t.TempDir(), "content")
	o := Options{Dir: dir, MaxBytes: 3 * footprint(size), MaxContent: size}
	s := openStore(t, o)
	first, second := add(t, s, sample(1, size)), add(t, s, sample(2, size))
	third := add(t, s, sample(3, size))
	past := time.Now().Add(-time.Hour)
	for i, root := range []rollup.Hash{third, first, second} {
		used := past.Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(s.object(root)+treeSuffix, past, used); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = openStore(t, o)
	c, err := s.Open(third) // the disk learns of it
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	s.Close()
	s = openStore(t, o)
	list := s.List()
	if len(list) != 3 || list[0].Root != third || list[1].Root != second || list[2].Root != first {
		t.Fatal(list)
	}
	add(t, s, sample(4, size))
	if s.Has(first) || !s.Has(second) || !s.Has(third) {
		t.Fatal("another one made room")
	}
}

// TestScan finds a flipped bit in a content, in a tree, and files that were cut.
func TestScan(t *testing.T) {
	s := openStore(t, Options{})
	good := add(t, s, sample(1, 300<<10))
	spoil := []func(path string) error{
		func(path string) error { return flip(path, 200<<10) },
		func(path string) error { return flip(path+treeSuffix, 70) },
		func(path string) error { return os.Truncate(path, 100<<10) },
		func(path string) error { return os.Truncate(path+treeSuffix, 0) },
	}
	var bad []rollup.Hash
	for i, spoil := range spoil {
		root := add(t, s, sample(byte(10+i), 300<<10))
		if err := spoil(s.object(root)); err != nil {
			t.Fatal(err)
		}
		bad = append(bad, root)
	}
	order := s.List()
	scanned, err := s.Scan(t.Context(), 0)
	if err != nil || scanned.Contents != 5 || len(scanned.Damaged) != 4 {
		t.Fatalf("%+v, %v", scanned, err)
	}
	for _, root := range bad {
		if s.Has(root) || !slices.Contains(scanned.Damaged, root) {
			t.Errorf("%v is still there", root)
		}
	}
	if now := s.List(); len(now) != 1 || now[0].Root != good || !now[0].Used.Equal(order[4].Used) {
		t.Errorf("%+v", now)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Scan(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func flip(path string, at int) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[at] ^= 1
	return os.WriteFile(path, b, 0o600)
}

// TestLeftovers removes what a crash left, and damaged contents.
func TestLeftovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "content")
	s := openStore(t, Options{Dir: dir})
	good, halved := add(t, s, sample(1, 300<<10)), add(t, s, sample(2, 300<<10))
	lost := add(t, s, sample(3, 300<<10))
	write(t, s.path(writingName, "abc"), "half")
	write(t, s.object(lost), "short")
	if err := os.Remove(s.object(halved)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openStore(t, Options{Dir: dir})
	if list := s.List(); len(list) != 1 || list[0].Root != good {
		t.Fatal(list)
	}
	writing := s.path(writingName, "abc")
	for _, path := range []string{writing, s.object(halved) + treeSuffix, s.object(lost)} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
