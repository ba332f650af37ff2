package keep

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// newHome is a home whose node sealed nothing yet, and has taken acks.
func newHome(t testing.TB) *config.Loaded {
	t.Helper()
	n, err := homes.Write(homes.Options{Dir: filepath.Join(t.TempDir(), "net"), Nodes: 1})
	ok(t, err)
	c := load(t, n.Nodes[0].Home)
	s := open(t, c)
	ok(t, s.AppendAcks([]rollup.Chunk{{Key: rollup.WindowKey{Epoch: 3}, First: 0,
		Frames: make([]byte, 5*rollup.AckSize)}}))
	ok(t, s.Close())
	ok(t, committee.SignAbove(filepath.Join(c.HomeDir(), consensusName), 7))
	return c
}

func load(t testing.TB, home string) *config.Loaded {
	t.Helper()
	c, err := config.Load(filepath.Join(home, configName), nil, nil)
	ok(t, err)
	return c
}

func open(t testing.TB, c *config.Loaded) *store.Store {
	t.Helper()
	s, err := store.Open(c.Path(c.Store.Path), store.Options{})
	ok(t, err)
	return s
}

func backup(t testing.TB, c *config.Loaded, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	_, err := Backup(context.Background(), c, &b, o)
	ok(t, err)
	return b.Bytes()
}

// quiet requires of a home that it signs nothing yet.
func quiet(t testing.TB, home string) {
	t.Helper()
	c := load(t, home)
	s := open(t, c)
	defer s.Close()
	if _, known := s.Since(); known {
		t.Error("it knows since when it knows")
	}
	if q, err := s.Quiet(); !q || err != nil {
		t.Error("it may vote: ", err)
	}
	if list, err := s.PoolWindows(); len(list) != 0 || err != nil {
		t.Error("acks of an open window stay: ", list, err)
	}
	if exists(committee.SignStateFile(filepath.Join(home, consensusName))) {
		t.Error("an old record of votes stays")
	}
}

func TestBackup(t *testing.T) {
	c := newHome(t)
	plain := backup(t, c, Options{Keys: true})
	home := filepath.Join(t.TempDir(), "home")
	done, err := Restore(bytes.NewReader(plain), home, nil)
	ok(t, err)
	if done.Forgotten.Acks != 5 || !done.Keys || done.Head.Kind != KindBackup ||
		!slices.Equal(done.Rewritten, []string{"node.genesis"}) {
		t.Errorf("%+v", done)
	}
	quiet(t, home)
	for _, file := range []string{"keys/bls.json", genesisName, configName + ".before"} {
		if !exists(filepath.Join(home, file)) {
			t.Error("not there: ", file)
		}
	}
	if _, err := Restore(bytes.NewReader(plain), home, nil); !errors.Is(err, ErrHome) {
		t.Errorf("over a home: %v", err)
	}

	home += "-2"
	done, err = Restore(bytes.NewReader(backup(t, c, Options{})), home, nil)
	ok(t, err)
	if done.Keys || exists(filepath.Join(home, keysName)) {
		t.Error("keys that nobody asked for")
	}
	s := open(t, c) // the home itself is as it was
	if _, known := s.Since(); !known {
		t.Error("a backup changed its home")
	}
	if _, err := Backup(context.Background(), c, io.Discard, Options{}); err == nil {
		t.Error("of a store that is in use, without a socket")
	}
	ok(t, s.Close())
}

func TestEncrypted(t *testing.T) {
	c := newHome(t)
	key, err := age.GenerateX25519Identity()
	ok(t, err)
	other, err := age.GenerateX25519Identity()
	ok(t, err)
	sealed := backup(t, c, Options{Keys: true, To: []age.Recipient{key.Recipient()}})
	if bytes.Contains(sealed, []byte("waybill_archive")) {
		t.Error("in clear")
	}
	home := filepath.Join(t.TempDir(), "home")
	for _, with := range [][]age.Identity{nil, {other}} {
		_, err := Restore(bytes.NewReader(sealed), home, with)
		is(t, err, ErrEncrypted)
	}
	_, err = Restore(bytes.NewReader(sealed), home, []age.Identity{other, key})
	ok(t, err)
	quiet(t, home)
}

// TestDamage cuts an archive anywhere, and alters it: no home comes of it, and nothing stays.
func TestDamage(t *testing.T) {
	plain := backup(t, newHome(t), Options{})
	home := filepath.Join(t.TempDir(), "home")
	refused := func(what string, b []byte) {
		t.Helper()
		_, err := Restore(bytes.NewReader(b), home, nil)
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrArchive) {
			t.Errorf("%s: %v", what, err)
		}
		if exists(home) || exists(home+".partial") {
			t.Fatalf("%s: something is left", what)
		}
	}
	for i := range 40 {
		refused("cut", plain[:len(plain)*i/40])
		altered := bytes.Clone(plain)
		altered[len(plain)*i/40] ^= 1
		refused("altered", altered)
	}
	refused("cut by a byte", plain[:len(plain)-1])
	refused("text", []byte("a text"))
	for what, files := range map[string][][2]string{
		"another tar":      {{"a", "b"}},
		"a later version":  {{headName, `{"waybill_archive":2,"kind":"backup"}`}},
		"another kind":     {{headName, `{"waybill_archive":1,"kind":"x"}`}},
		"no end":           {{headName, `{"waybill_archive":1,"kind":"backup"}`}},
		"a path upwards":   {{headName, `{"waybill_archive":1,"kind":"backup"}`}, {"../x", ""}},
		"an absolute path": {{headName, `{"waybill_archive":1,"kind":"backup"}`}, {"/tmp/x", ""}},
		"a wrong count": {{headName, `{"waybill_archive":1,"kind":"backup"}`}, {"a", ""},
			{endName, "2"}},
	} {
		refused(what, packed(t, files))
	}
}

func packed(t testing.TB, files [][2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	ok(t, err)
	w := tar.NewWriter(z)
	for _, f := range files {
		ok(t, put(w, f[0], int64(len(f[1])), strings.NewReader(f[1])))
	}
	ok(t, errors.Join(w.Close(), z.Close()))
	return b.Bytes()
}

// full is a disk with room for some bytes.
type fullDisk struct{ room int }

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.room -= len(b); d.room < 0 {
		return 0, errors.New("no room")
	}
	return len(b), nil
}

// TestMove moves a home by halves, each of which may be cut off: only one of the two may sign.
func TestMove(t *testing.T) {
	c := newHome(t)
	there := filepath.Join(t.TempDir(), "there")
	_, err := Receive(strings.NewReader(""), there)
	is(t, err, ErrReceiver)
	address, err := Address(there)
	ok(t, err)
	if again, err := Address(there); again != address || err != nil {
		t.Error("another address: ", again, err)
	}
	_, err = Send(c, "somebody", io.Discard, Options{})
	is(t, err, ErrReceiver)
	s := open(t, c)
	if fence, err := s.Fenced(); fence != nil || err != nil {
		t.Error("fenced for nobody")
	}
	ok(t, s.Close())

	_, err = Send(c, address, &fullDisk{1 << 10}, Options{})
	if err == nil {
		t.Fatal("sent to a full disk")
	}
	s = open(t, c)
	if fence, err := s.Fenced(); fence == nil || fence.To != address || err != nil {
		t.Error("cut off, and not fenced: ", err)
	}
	ok(t, s.Close())
	if exists(committee.SignStateFile(filepath.Join(c.HomeDir(), consensusName))) {
		t.Error("the record of votes is still there")
	}
	var sent bytes.Buffer
	_, err = Send(c, address, &sent, Options{})
	ok(t, err)
	elsewhere, err := Address(there + "-else")
	ok(t, err)
	_, err = Send(c, elsewhere, io.Discard, Options{})
	is(t, err, store.ErrMoved)
	_, err = Receive(bytes.NewReader(sent.Bytes()), there+"-else")
	is(t, err, ErrEncrypted)
	_, err = Restore(bytes.NewReader(sent.Bytes()), there+"-restored", nil)
	is(t, err, ErrEncrypted)
	_, err = Adopt(c)
	is(t, err, store.ErrMoved)

	_, err = Receive(bytes.NewReader(sent.Bytes()[:sent.Len()/2]), there)
	is(t, err, ErrDamaged)
	key, err := os.ReadFile(filepath.Join(there, arrivalName))
	ok(t, err)
	done, err := Receive(bytes.NewReader(sent.Bytes()), there)
	ok(t, err)
	if !done.Keys || exists(filepath.Join(there, arrivalName)) {
		t.Errorf("%+v", done)
	}
	at := load(t, there)
	s = open(t, at)
	if since, known := s.Since(); !known || since != 0 {
		t.Error("it forgot what it knew")
	}
	if q, err := s.Quiet(); q || err != nil {
		t.Error("it is quiet: ", err)
	}
	if fence, err := s.Fenced(); fence != nil || err != nil {
		t.Error("it is fenced: ", err)
	}
	if list, err := s.PoolWindows(); len(list) != 1 || err != nil {
		t.Error("acks were lost: ", list, err)
	}
	ok(t, s.Close())
	votes := filepath.Dir(committee.SignStateFile(filepath.Join(there, consensusName)))
	ok(t, store.CheckPlace(votes))
	if !exists(committee.SignStateFile(filepath.Join(there, consensusName))) {
		t.Error("the record of votes is lost")
	}
	_, err = Receive(bytes.NewReader(sent.Bytes()), there)
	is(t, err, ErrReceiver)

	// Cut off between the key's end and the home's name.
	ok(t, os.Rename(there, there+".partial"))
	ok(t, durable(filepath.Join(there+".partial", arrivedName), nil))
	ok(t, os.Mkdir(there, 0o700))
	_, err = Receive(strings.NewReader(""), there)
	ok(t, err)
	ok(t, open(t, load(t, there)).Close())
	if _, err := age.ParseX25519Identity(strings.TrimSpace(string(key))); err != nil {
		t.Error(err)
	}
}

// TestAdopt: a copy of a home is refused, and is one that signs nothing yet when it is adopted.
func TestAdopt(t *testing.T) {
	c := newHome(t)
	copied := c.HomeDir() + "-copied"
	ok(t, os.CopyFS(copied, os.DirFS(c.HomeDir())))
	at := load(t, copied)
	_, err := store.Open(at.Path(at.Store.Path), store.Options{})
	is(t, err, store.ErrCopied)
	_, err = Send(at, "age1", io.Discard, Options{})
	is(t, err, ErrReceiver)
	done, err := Adopt(at)
	ok(t, err)
	if done.Forgotten.Acks != 5 || !done.Keys {
		t.Errorf("%+v", done)
	}
	quiet(t, copied)
	is(t, VoteAbove(c, 9), ErrVotes)
	ok(t, VoteAbove(at, 9))
	s := open(t, at)
	if q, err := s.Quiet(); q || err != nil {
		t.Error("still quiet: ", err)
	}
	ok(t, s.Close())
	is(t, VoteAbove(at, 9), ErrVotes)
}

// FuzzHead: no head makes it panic, or is taken without being one.
func FuzzHead(f *testing.F) {
	f.Add([]byte(`{"waybill_archive":1,"kind":"backup"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHead(b)
		if err != nil && !errors.Is(err, ErrArchive) {
			t.Fatal(err)
		}
		if err == nil && (h.Version != version || h.Kind != KindBackup && h.Kind != KindMove) {
			t.Fatalf("%+v", h)
		}
	})
}
