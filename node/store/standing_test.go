package store

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/waybill-network/waybill/rollup"
)

// onDisk opens a store on the system's disk; it is closed by the caller.
func onDisk(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{CacheSize: 1 << 20, MemTableSize: 256 << 10})
	ok(t, err)
	return s
}

// filled is a closed store on the disk, with tables and a log.
func filled(t testing.TB) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	s := onDisk(t, dir)
	ok(t, s.Begin(0))
	for i := range 40 {
		k := key(1, 2, uint32(i))
		ok(t, s.AppendAcks([]rollup.Chunk{run(k, 1, 0, 500)}))
		if i < 38 {
			ok(t, putSealed(s, k, byte(i)))
		}
	}
	ok(t, s.Close())
	return dir
}

// TestPlace: a store may be renamed; a copy of it is refused until it is adopted.
func TestPlace(t *testing.T) {
	dir := filled(t)
	moved := dir + "-moved"
	ok(t, os.Rename(dir, moved))
	s := onDisk(t, moved)
	ok(t, s.Close())
	copied := dir + "-copied"
	ok(t, os.CopyFS(copied, os.DirFS(moved)))
	_, err := Open(copied, Options{})
	is(t, err, ErrCopied)
	ok(t, os.Remove(filepath.Join(copied, placeFile)))
	_, err = Open(copied, Options{})
	is(t, err, ErrCopied)
	s, err = Open(copied, Options{Adopt: true})
	ok(t, err)
	f, err := s.Forget()
	ok(t, err)
	if f.Windows != 2 || f.Acks != 1000 {
		t.Errorf("%+v", f)
	}
	ok(t, s.Close())
	s = onDisk(t, copied)
	ok(t, s.Close())
	s = onDisk(t, moved)
	ok(t, s.Close())
}

// TestForget: what was said before is known no more, and what was sealed stays.
func TestForget(t *testing.T) {
	s := open(t, vfs.NewMem())
	sealed, open := key(1, 5, 0), key(1, 5, 1)
	ok(t, s.AppendAcks([]rollup.Chunk{run(sealed, 1, 0, 3), run(open, 1, 3, 4)}))
	ok(t, putSealed(s, sealed, 9))
	ok(t, s.PutFence(Fence{To: "there", At: time.Unix(1, 0)}))
	_, err := s.Forget()
	ok(t, err)
	s = reopenNew(t, s)
	list, err := s.PoolWindows()
	windows(t, list, err)
	list, err = s.Unordered()
	windows(t, list, err, sealed)
	if _, known := s.Since(); known {
		t.Error("it knows where it begins")
	}
	if quiet, err := s.Quiet(); !quiet || err != nil {
		t.Error("it may vote: ", err)
	}
	if fence, err := s.Fenced(); fence != nil || err != nil {
		t.Error(fence, err)
	}
	h, _ := header(key(2, 5, 0), 1)
	is(t, s.Sign(h, oneAck(1), nil), ErrNew)
	ok(t, s.Begin(6))
	is(t, s.Sign(h, oneAck(1), nil), ErrNew)
	h, _ = header(key(2, 6, 0), 1)
	ok(t, s.Sign(h, oneAck(1), nil))
	ok(t, s.PutQuiet(false))
	if quiet, err := s.Quiet(); quiet || err != nil {
		t.Error("it may not vote: ", err)
	}
}

func reopenNew(t testing.TB, s *Store) *Store {
	t.Helper()
	ok(t, s.Close())
	return openNew(t, s.fs)
}

func TestFence(t *testing.T) {
	s := open(t, vfs.NewMem())
	if fence, err := s.Fenced(); fence != nil || err != nil {
		t.Error(fence, err)
	}
	ok(t, s.PutFence(Fence{To: "a", At: time.Unix(1, 0)}))
	s = reopen(t, s)
	ok(t, s.PutFence(Fence{To: "a", At: time.Unix(9, 0)}))
	is(t, s.PutFence(Fence{To: "b"}), ErrMoved)
	if fence, err := s.Fenced(); err != nil || fence.To != "a" || fence.At.Unix() != 1 {
		t.Error(fence, err)
	}
	ok(t, s.LiftFence())
	if fence, err := s.Fenced(); fence != nil || err != nil {
		t.Error(fence, err)
	}
}

// TestCheckpoint: a copy holds what was durable when it was made, and nothing of what came after.
func TestCheckpoint(t *testing.T) {
	dir := filled(t)
	s := onDisk(t, dir)
	before, after := key(1, 3, 0), key(1, 3, 1)
	ok(t, s.AppendAcks([]rollup.Chunk{run(before, 2, 0, 5)}))
	copied := dir + ".checkpoint"
	ok(t, s.Checkpoint(copied))
	ok(t, s.AppendAcks([]rollup.Chunk{run(after, 2, 5, 5)}))
	if s.Checkpoint(copied) == nil {
		t.Error("a second one in the same place")
	}
	ok(t, s.Close())
	is(t, s.Checkpoint(dir+".late"), ErrClosed)
	_, err := Open(copied, Options{})
	is(t, err, ErrCopied)
	s, err = Open(copied, Options{Adopt: true})
	ok(t, err)
	if got := len(pool(t, s, before)) / rollup.AckSize; got != 5 {
		t.Errorf("%d acks of before", got)
	}
	if got := len(pool(t, s, after)); got != 0 {
		t.Errorf("%d bytes of after", got)
	}
	ok(t, s.Close())
}

// TestMigration: a store of version 2 becomes one of this version, and keeps what it has.
func TestMigration(t *testing.T) {
	dir := filled(t)
	setVersion := func(version uint32) {
		s := onDisk(t, dir)
		ok(t, s.setFormat(version))
		ok(t, s.Close())
	}
	setVersion(2)
	ok(t, os.Remove(filepath.Join(dir, placeFile))) // there was none
	s := onDisk(t, dir)
	v, err := s.get([]byte{keyFormat})
	ok(t, err)
	list, err := s.PoolWindows()
	windows(t, list, err, key(1, 2, 38), key(1, 2, 39))
	if binary.BigEndian.Uint32(v) != FormatVersion {
		t.Errorf("version %x", v)
	}
	ok(t, s.Close())
	setVersion(FormatVersion + 1)
	_, err = Open(dir, Options{})
	is(t, err, ErrFormat)
	if !strings.Contains(err.Error(), "a later version of the program wrote it") {
		t.Error(err)
	}
}

// TestDamage damages each file of a store in turn: it opens as it was, or says that it is corrupt.
func TestDamage(t *testing.T) {
	dir := filled(t)
	files, err := os.ReadDir(dir)
	ok(t, err)
	corrupt := map[string]bool{}
	for _, f := range files {
		for what, damage := range map[string]func(file string) error{
			"missing": os.Remove,
			"cut":     func(file string) error { return os.Truncate(file, 100) },
			"altered": alter,
		} {
			copied := filepath.Join(t.TempDir(), "data")
			ok(t, os.CopyFS(copied, os.DirFS(dir)))
			ok(t, damage(filepath.Join(copied, f.Name())))
			s, err := Open(copied, Options{Adopt: true})
			if err == nil {
				err = s.scan([]byte{0}, []byte{255}, func(_, _ []byte) (bool, error) { return true, nil })
				_ = s.Close() // it may fail, too
			}
			switch {
			case err == nil:
			case !errorsIs(err, ErrCorrupt, ErrFormat):
				t.Errorf("%s %s: %v", f.Name(), what, err)
			default:
				corrupt[filepath.Ext(f.Name())+" "+what] = true
			}
		}
	}
	for _, want := range []string{".sst missing", ".sst altered", ".sst cut"} {
		if !corrupt[want] {
			t.Errorf("not seen: %s; seen: %v", want, corrupt)
		}
	}
}

func errorsIs(err error, wants ...error) bool {
	for _, want := range wants {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}

// alter flips bits of a file in many places, wherever something stands.
func alter(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for i := len(b) / 3; i < len(b); i += 1 + len(b)/97 {
		b[i] ^= 0x5a
	}
	return os.WriteFile(file, b, 0o600)
}
