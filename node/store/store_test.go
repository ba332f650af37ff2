package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// open opens a store of a node that has said nothing before.
func open(t testing.TB, fs vfs.FS) *Store {
	t.Helper()
	s := openNew(t, fs)
	if _, known := s.Since(); !known {
		ok(t, s.Begin(0))
	}
	return s
}

// openNew opens a store in a directory of fs; small tables make it flush.
func openNew(t testing.TB, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open("store", Options{FS: fs, CacheSize: 1 << 20, MemTableSize: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // most tests close it earlier, and look at the error
	return s
}

func reopen(t testing.TB, s *Store) *Store {
	t.Helper()
	ok(t, s.Close())
	return open(t, s.fs)
}

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

func key(node, epoch, window uint32) rollup.WindowKey {
	return rollup.WindowKey{Node: node, Epoch: epoch, Window: window}
}

// frames are n frames whose bytes tell them apart; the store looks at none of them.
func frames(tag, first, n int) []byte {
	b := make([]byte, n*rollup.AckSize)
	for i := range n {
		binary.BigEndian.PutUint64(b[i*rollup.AckSize:], uint64(tag)<<32|uint64(first+i))
	}
	return b
}

func run(k rollup.WindowKey, tag, first, n int) rollup.Chunk {
	return rollup.Chunk{Key: k, First: uint32(first), Frames: frames(tag, first, n)}
}

var network = rollup.NetworkOf([]byte("store"))

// header returns a header that decodes, with its id.
func header(k rollup.WindowKey, root byte) (*rollup.Header, rollup.Hash) {
	h := rollup.NewHeader(network, k)
	h.AckCount, h.AckRoot = 2, rollup.Hash{root}
	h.Rows = []rollup.Row{{Payer: 1, Service: 2, Acks: 2, Units: 3}}
	return h, h.ID()
}

// oneAck is evidence of one ack.
func oneAck(tag byte) []byte { return acksOf(tag, 1) }

// acksOf is evidence of a run of acks.
func acksOf(tag byte, n int) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 1)
	b = le.AppendUint64(b, uint64(tag)) // client
	b = le.AppendUint32(b, 2)           // service
	b = le.AppendUint32(b, 7)           // first
	b = le.AppendUint32(b, uint32(n))
	return append(b, bytes.Repeat([]byte{tag}, n*rollup.BodySize)...)
}

func putSealed(s *Store, k rollup.WindowKey, root byte) error {
	h, _ := header(k, root)
	return s.PutSealed(rollup.NewArchive(h, oneAck(root), nil, nil))
}

// cosigned is a window of three clients, of whom two have co-signed. No signature is one, which the
// store does not mind.
func cosigned(t testing.TB,
	k rollup.WindowKey) (h *rollup.Header, kept *rollup.Archive, evidence []byte) {
	t.Helper()
	var frames []byte
	for i := range uint32(9) {
		a := rollup.Ack{Net: network.Net(), Epoch: k.Epoch, Node: k.Node, Client: uint64(i % 3),
			Number: i / 3, Units: 5}
		frames = a.Append(frames)
	}
	var sealer rollup.Sealer
	archive, err := sealer.Archive(network, k, frames, everyone{})
	ok(t, err)
	statements, err := rollup.Statements(archive, k, everyone{}, func(uint64) bool { return true })
	ok(t, err)
	list := rollup.NewList(statements, func(client uint64) bool { return client < 2 })
	tree := rollup.NewStatementTree(statements)
	h, ev, err := sealer.SealCosigned(network, archive, k, tree, list,
		[rollup.SignatureSize]byte{1}, [rollup.SignatureSize]byte{2}, everyone{})
	ok(t, err)
	return h, rollup.NewArchive(h, archive, tree, list), ev.Append(nil)
}

// everyone is a registry that knows everybody.
type everyone struct{ rollup.Registry }

func (everyone) Client(uint64) (rollup.Client, bool) {
	return rollup.Client{Payer: 4, Until: math.MaxUint32, Numbers: math.MaxUint32,
		Services: [3]uint32{0, rollup.NoService, rollup.NoService}}, true
}
func (everyone) UnitCap(uint32) (uint64, bool) { return 100, true }

func pool(t testing.TB, s *Store, k rollup.WindowKey) (b []byte) {
	t.Helper()
	ok(t, s.ReadPool(k, func(frames []byte, _ bool) error { b = append(b, frames...); return nil }))
	return b
}

func windows(t testing.TB, list []rollup.WindowKey, err error, want ...rollup.WindowKey) {
	t.Helper()
	ok(t, err)
	if !slices.Equal(list, want) {
		t.Errorf("windows %v, want %v", list, want)
	}
}

func next(t testing.TB, s *Store, node, epoch, want uint32) {
	t.Helper()
	got, err := s.NextWindow(node, epoch)
	ok(t, err)
	if got != want {
		t.Errorf("next window of node %d in epoch %d is %d, want %d", node, epoch, got, want)
	}
}

func TestPool(t *testing.T) {
	s := open(t, vfs.NewMem())
	a, b, c := key(0, 1, 255), key(0, 1, 256), key(1, 0, 7)
	next(t, s, 0, 1, 0)
	ok(t, s.AppendAcks([]rollup.Chunk{run(b, 2, 0, 300), run(a, 1, 0, 1), run(c, 3, 0, 5)}))
	// The order of runs is that of numbers, not of their decimal digits.
	for first := 1; first < 600; first += 100 {
		ok(t, s.AppendAcks([]rollup.Chunk{run(a, 1, first, 100)}))
	}
	ok(t, s.AppendAcks([]rollup.Chunk{run(b, 2, 300, 2)}))
	for range 2 {
		list, err := s.PoolWindows()
		windows(t, list, err, c, a, b)
		for _, w := range []struct {
			key    rollup.WindowKey
			tag, n int
		}{{a, 1, 601}, {b, 2, 302}, {c, 3, 5}, {key(9, 9, 9), 0, 0}} {
			if !bytes.Equal(pool(t, s, w.key), frames(w.tag, 0, w.n)) {
				t.Errorf("the pool of %v is not what was appended", w.key)
			}
		}
		next(t, s, 0, 1, 257)
		next(t, s, 1, 0, 8)
		next(t, s, 1, 1, 0)
		next(t, s, 0, 0, 0)
		s = reopen(t, s)
	}
	stop := errors.New("stop")
	is(t, s.ReadPool(a, func([]byte, bool) error { return stop }), stop)
	if err := s.AppendAcks([]rollup.Chunk{run(key(0, 1, 300), 1, 0, 1),
		{Key: a, First: 601, Frames: make([]byte, 100)}}); err == nil {
		t.Error("a part of an ack was stored")
	}
	if err := s.AppendAcks([]rollup.Chunk{run(key(0, 1, 300), 1, 0, 1),
		{Key: a, First: 601}}); err == nil {
		t.Error("a run without acks was stored")
	}
	ok(t, s.Err()) // a caller's mistake is not the disk's
	next(t, s, 0, 1, 257)
}

func TestSealed(t *testing.T) {
	s := open(t, vfs.NewMem())
	a, b, c := key(0, 3, 0), key(0, 3, 1), key(0, 3, 2)
	for _, k := range []rollup.WindowKey{a, b, c} {
		ok(t, s.AppendAcks([]rollup.Chunk{run(k, 1, 0, 2), run(k, 1, 2, 2)}))
	}
	_, err := s.Sealed(b)
	is(t, err, ErrNotFound)
	ok(t, putSealed(s, b, 7))
	ok(t, putSealed(s, c, 8))
	ok(t, s.MarkOrdered(c))
	ok(t, s.MarkOrdered(key(0, 3, 99))) // of a window that is not there: nothing
	h, id := header(b, 7)
	for range 2 {
		list, err := s.PoolWindows()
		windows(t, list, err, a)
		if len(pool(t, s, a)) != 4*rollup.AckSize || len(pool(t, s, b)) != 0 || len(pool(t, s, c)) != 0 {
			t.Error("sealing removes the pool of the window, and of no other")
		}
		list, err = s.Unordered()
		windows(t, list, err, b)
		kept, err := s.Sealed(b)
		ok(t, err)
		if !bytes.Equal(kept.Header.Append(nil), h.Append(nil)) || !bytes.Equal(kept.Acks, oneAck(7)) ||
			kept.Stated() {
			t.Error("not the rollup that was sealed")
		}
		if has, err := s.HasEvidence(id, 0); err != nil || !has {
			t.Error("a sealed rollup is not served by its id", err)
		}
		next(t, s, 0, 3, 3)
		s = reopen(t, s)
	}
	ok(t, putSealed(s, a, 1))
	next(t, s, 0, 3, 3) // also without a pool
	list, err := s.RecentOwn(2)
	windows(t, list, err, c, b)
}

// TestSealedCosigned keeps a window's acks and client list, and makes the evidence from them.
func TestSealedCosigned(t *testing.T) {
	s := open(t, vfs.NewMem())
	k := key(0, 3, 1)
	h, kept, evidence := cosigned(t, k)
	ok(t, s.AppendAcks([]rollup.Chunk{run(k, 1, 0, 9)}))
	ok(t, s.PutSealed(kept))
	ok(t, s.PutEvidence(h.ID(), h.Append(nil), evidence)) // the member in this node has it already
	for range 2 {
		if len(pool(t, s, k)) != 0 {
			t.Error("the pool is still there")
		}
		got, err := s.Sealed(k)
		ok(t, err)
		if got.Header.ID() != h.ID() || !bytes.Equal(got.Acks, kept.Acks) ||
			!slices.Equal(got.List, kept.List) {
			t.Error("not what was sealed")
		}
		header, ev, has, err := evidenceOf(s, h.ID(), 0)
		ok(t, err)
		if !has || !bytes.Equal(header, h.Append(nil)) || !bytes.Equal(ev, evidence) {
			t.Error("not the rollup's evidence")
		}
		w, err := windowOf(s, k)
		ok(t, err)
		if !bytes.Equal(w.Header, h.Append(nil)) || !bytes.Equal(w.Evidence, evidence) ||
			!bytes.Equal(w.Acks, kept.Acks) {
			t.Error("not the window")
		}
		next(t, s, 0, 3, 2)
		s = reopen(t, s)
	}
	member := open(t, vfs.NewMem()) // another node knows the evidence alone
	ok(t, member.PutEvidence(h.ID(), h.Append(nil), evidence))
	if _, ev, has, err := evidenceOf(member, h.ID(), 0); err != nil || !has ||
		!bytes.Equal(ev, evidence) {
		t.Error("a member does not keep the evidence", err)
	}

	before := contents(t, s)
	ok(t, s.MarkOrdered(k))
	_, err := s.Prune(4)
	ok(t, err)
	if _, _, has, err := evidenceOf(s, h.ID(), 0); has || err != nil {
		t.Error("pruned evidence", err)
	}
	is(t, sealedErr(s, k), ErrPruned)
	for key := range contents(t, s) {
		if key[0] == keyArchive || key[0] == keyList {
			t.Errorf("%x is left of %d entries", key, len(before))
		}
	}
}

func TestHistory(t *testing.T) {
	s := open(t, vfs.NewMem())
	_, err := s.Certificate(key(0, 0, 0))
	is(t, err, ErrNotFound)
	_, err = windowOf(s, key(0, 0, 0))
	is(t, err, ErrNotFound)
	var keys []rollup.WindowKey
	for epoch := range uint32(3) {
		for node := range uint32(2) {
			for window := uint32(255); window < 257; window++ {
				k := key(node, epoch, window)
				h, _ := header(k, byte(epoch))
				c := rollup.Certificate{Header: *h, Signers: rollup.NewBitmap(4)}
				ok(t, s.PutCertificate(k, c.Append(nil)))
				keys = append(keys, k)
			}
		}
	}
	slices.Reverse(keys)
	s = reopen(t, s)
	list, err := s.Recent(5)
	windows(t, list, err, keys[:5]...)
	list, err = s.Recent(100)
	windows(t, list, err, keys...)
	list, err = s.Recent(0)
	windows(t, list, err)
	c, err := s.Certificate(keys[0])
	ok(t, err)
	if p, err := rollup.ParseCertificate(c); err != nil || p.Header.Key() != keys[0] {
		t.Error(err)
	}
}

// TestWindow: of several rollups of a window the certified one counts, then the node's own, then
// the one that was signed.
func TestWindow(t *testing.T) {
	s := open(t, vfs.NewMem())
	k := key(2, 1, 3)
	want := func(root byte, certified bool) {
		t.Helper()
		w, err := windowOf(s, k)
		ok(t, err)
		h, id := header(k, root)
		if w.ID != id || !bytes.Equal(w.Header, h.Append(nil)) ||
			!bytes.Equal(w.Evidence, oneAck(root)) || (w.Certificate != nil) != certified {
			t.Errorf("%+v, want rollup %d", w, root)
		}
	}
	h, id := header(k, 1)
	ok(t, s.PutEvidence(id, h.Append(nil), oneAck(1)))
	ok(t, s.Sign(h, oneAck(1), nil))
	want(1, false)
	ok(t, putSealed(s, k, 2))
	want(2, false)
	h, id = header(k, 3)
	c := rollup.Certificate{Header: *h, Signers: rollup.NewBitmap(4)}
	ok(t, s.PutCertificate(k, c.Append(nil)))
	w, err := windowOf(s, k)
	if err != nil || w.ID != id || w.Header != nil || w.Evidence != nil || w.Certificate == nil {
		t.Errorf("a certificate without the evidence: %+v, %v", w, err)
	}
	ok(t, s.PutEvidence(id, h.Append(nil), oneAck(3)))
	want(3, true)
}

func TestEvidence(t *testing.T) {
	s := open(t, vfs.NewMem())
	h, id := header(key(3, 1, 4), 1)
	is(t, s.PutEvidence(id, h.Append(nil)[1:], oneAck(1)), ErrCorrupt)
	is(t, s.PutEvidence(id, h.Append(nil), oneAck(1)[1:]), ErrCorrupt)
	if _, _, there, err := evidenceOf(s, id, 0); there || err != nil {
		t.Error("evidence from nowhere", err)
	}
	ok(t, s.PutEvidence(id, h.Append(nil), oneAck(9)))
	writes := s.SyncLatency().Count
	ok(t, s.PutEvidence(id, h.Append(nil), oneAck(9)))
	if s.SyncLatency().Count != writes {
		t.Error("evidence that is there was written again")
	}
	s = reopen(t, s)
	header, evidence, there, err := evidenceOf(s, id, 0)
	if err != nil || !there || !bytes.Equal(header, h.Append(nil)) ||
		!bytes.Equal(evidence, oneAck(9)) {
		t.Error(there, err)
	}
}

func TestPrune(t *testing.T) {
	s := open(t, vfs.NewMem())
	ids := map[uint32]rollup.Hash{}
	for epoch := range uint32(4) {
		h, id := header(key(1, epoch, 0), 9)
		ids[epoch] = id
		ok(t, s.PutEvidence(id, h.Append(nil), oneAck(1)))
		ok(t, s.Sign(h, oneAck(1), []rollup.Run{{Client: 1, Count: 1}}))
		ok(t, s.PutCertificate(key(1, epoch, 0), []byte("certificate")))
		ok(t, putSealed(s, key(0, epoch, 0), 5))
		ok(t, s.AppendAcks([]rollup.Chunk{run(key(0, epoch, 1), 1, 0, 1)}))
	}
	ok(t, s.MarkOrdered(key(0, 0, 0))) // that of epoch 1 is still to be ordered
	if n, err := s.Prune(2); err != nil || n != 3 {
		t.Errorf("%d rollups forgotten, %v, want the two of node 1 and one of node 0", n, err)
	}
	for _, before := range []uint32{2, 1, 0} {
		if n, err := s.Prune(before); err != nil || n != 0 {
			t.Error(n, err)
		}
	}
	for range 2 {
		if s.Retained() != 2 {
			t.Errorf("retained from %d", s.Retained())
		}
		for epoch, id := range ids {
			kept := epoch >= 2
			if has, err := s.HasEvidence(id, 0); err != nil || has != kept {
				t.Errorf("evidence of epoch %d: %v, %v", epoch, has, err)
			}
			h, id := header(key(1, epoch, 1), 9)
			lockErr := s.Sign(h, oneAck(1), nil)
			putErr := s.PutEvidence(id, h.Append(nil), oneAck(1))
			if kept && (lockErr != nil || putErr != nil) {
				t.Errorf("epoch %d: %v, %v", epoch, lockErr, putErr)
			} else if !kept && (!errors.Is(lockErr, ErrPruned) || !errors.Is(putErr, ErrPruned)) {
				t.Errorf("epoch %d: %v, %v, want ErrPruned", epoch, lockErr, putErr)
			}
			if _, err := s.Certificate(key(1, epoch, 0)); err != nil {
				t.Error(err)
			}
			if len(pool(t, s, key(0, epoch, 1))) == 0 {
				t.Errorf("the pool of epoch %d is gone", epoch)
			}
		}
		if _, err := s.Sealed(key(0, 1, 0)); err != nil {
			t.Errorf("a window that is still to be ordered: %v", err)
		}
		is(t, sealedErr(s, key(0, 0, 0)), ErrPruned)
		s = reopen(t, s)
	}
	// What was kept then goes with the next pruning.
	ok(t, s.MarkOrdered(key(0, 1, 0)))
	_, err := s.Prune(3)
	ok(t, err)
	_, id := header(key(0, 1, 0), 5)
	if has, err := s.HasEvidence(id, 0); has || err != nil {
		t.Error("an ordered window outlives two prunings", err)
	}
	next(t, s, 0, 0, 2)
}

func TestLedger(t *testing.T) {
	s := open(t, vfs.NewMem())
	load := func(wantHeight int64, wantHash rollup.Hash, want map[string]string) {
		t.Helper()
		height, hash, records, err := s.LoadLedger()
		ok(t, err)
		got, last := map[string]string{}, []byte(nil)
		for k, v := range records {
			if bytes.Compare(last, k) >= 0 {
				t.Errorf("key %x behind %x", k, last)
			}
			last = bytes.Clone(k)
			got[string(k)] = string(v)
		}
		if height != wantHeight || hash != wantHash || !maps.Equal(got, want) {
			t.Errorf("block %d, %v, %v; want %d, %v, %v", height, hash, got, wantHeight, wantHash, want)
		}
	}
	load(0, rollup.Hash{}, map[string]string{})
	ok(t, s.CommitLedger(1, rollup.Hash{1}, []ledger.Record{{Key: []byte("b"), Value: []byte("1")},
		{Key: []byte("a"), Value: []byte{}}}, nil))
	load(1, rollup.Hash{1}, map[string]string{"a": "", "b": "1"})
	ok(t, s.CommitLedger(2, rollup.Hash{2}, []ledger.Record{{Key: []byte("b")},
		{Key: []byte("\xff\xff"), Value: []byte("2")}, {Key: []byte("a"), Value: []byte("3")}}, nil))
	for range 2 {
		load(2, rollup.Hash{2}, map[string]string{"a": "3", "\xff\xff": "2"})
		s = reopen(t, s)
	}
	_, _, records, err := s.LoadLedger()
	ok(t, err)
	for range records { // leaving early is fine
		break
	}
	ok(t, s.Close())
	defer func() {
		if err, isError := recover().(error); !isError || !errors.Is(err, ErrClosed) {
			t.Errorf("a ledger that can not be read: %v", err)
		}
	}()
	for range records {
		t.Error("a record after Close")
	}
}

// TestDepot reads records and local entries one by one, and records without those of clients.
func TestDepot(t *testing.T) {
	s := open(t, vfs.NewMem())
	record := func(key, value string) ledger.Record {
		return ledger.Record{Key: []byte(key), Value: []byte(value)}
	}
	ok(t, s.CommitLedger(1, rollup.Hash{1}, []ledger.Record{record("a", "1"), record("b2", "2"),
		record("c", "3"), record("c1", "4"), record("d", "5")}, []ledger.Record{record("c", "own"),
		record("k", "")}))
	ok(t, s.Depot().PutLocal([]ledger.Record{{Key: []byte("k")}, record("p", "page")}))
	for range 2 {
		d := s.Depot()
		for key, want := range map[string][2]string{"c": {"3", "own"}, "c1": {"4", ""}, "k": {},
			"p": {"", "page"}} {
			v, err := d.Record([]byte(key))
			ok(t, err)
			own, err := d.Local([]byte(key))
			ok(t, err)
			if got := [2]string{string(v), string(own)}; got != want || want[1] == "" && own != nil {
				t.Errorf("%s is %q, not %q", key, got, want)
			}
		}
		for clients, want := range map[bool]string{true: "a b2 c c1 d", false: "a b2 d"} {
			var keys []string
			for k := range s.LedgerRecords(clients) {
				keys = append(keys, string(k))
			}
			if got := strings.Join(keys, " "); got != want {
				t.Errorf("records, with clients: %v: %s", clients, got)
			}
			for range s.LedgerRecords(clients) { // leaving early is fine
				break
			}
		}
		s = reopen(t, s)
	}
	ok(t, s.Depot().ClearLocal())
	if v, err := s.Depot().Local([]byte("p")); v != nil || err != nil {
		t.Errorf("cleared: %q, %v", v, err)
	}
	if v, err := s.Depot().Record([]byte("c")); string(v) != "3" || err != nil {
		t.Errorf("a record goes with local entries: %q, %v", v, err)
	}
	ok(t, s.Close())
	if _, err := s.Depot().Record([]byte("c")); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func sealedErr(s *Store, k rollup.WindowKey) error {
	_, err := s.Sealed(k)
	return err
}

// TestCorrupt damages entries behind the store's back.
func TestCorrupt(t *testing.T) {
	k := key(0, 1, 2)
	_, id := header(k, 1)
	cosignedHeader, kept, _ := cosigned(t, key(0, 7, 7))
	cosignedID := cosignedHeader.ID()
	for _, c := range []struct {
		name       string
		key, value []byte
		read       func(s *Store) error
	}{
		{"pool window", []byte{keyPool, 0, 1}, nil, func(s *Store) error {
			_, err := s.PoolWindows()
			return err
		}},
		{"pool key", append(windowKey(keyPool, k), 0, 0), frames(0, 0, 1), readPool},
		{"pool frames", append(windowKey(keyPool, k), 0, 0, 0, 0), make([]byte, 127), readPool},
		{"pool gap", append(windowKey(keyPool, k), 0, 0, 0, 1), frames(0, 0, 1), readPool},
		{"pool overlap", append(windowKey(keyPool, key(0, 1, 9)), 0, 0, 0, 1), frames(0, 0, 1),
			func(s *Store) error {
				return errors.Join(s.AppendAcks([]rollup.Chunk{run(key(0, 1, 9), 0, 0, 2)}),
					s.ReadPool(key(0, 1, 9), func([]byte, bool) error { return nil }))
			}},
		{"next window", []byte{keyOwn, 0, 0, 0, 1, 0, 0, 0, 0, 1}, nil,
			func(s *Store) error { _, err := s.NextWindow(0, 1); return err }},
		{"own id", windowKey(keyOwn, k), id[1:], func(s *Store) error {
			_, err := s.Sealed(k)
			return err
		}},
		{"own evidence", windowKey(keyOwn, k), id[:],
			func(s *Store) error { _, err := s.Sealed(k); return err }},
		{"list", idKey(keyList, cosignedID), []byte{1},
			func(s *Store) error { _, _, _, err := evidenceOf(s, cosignedID, 0); return err }},
		{"archive", idKey(keyArchive, cosignedID), []byte{1},
			func(s *Store) error { _, _, _, err := evidenceOf(s, cosignedID, 2); return err }},
		{"holder", windowKey(keyHolder, k), []byte{1},
			func(s *Store) error { _, err := s.Holder(k); return err }},
		{"unheld", []byte{keyUnheld, 1}, nil, func(s *Store) error { _, err := s.Unheld(); return err }},
		{"unordered", []byte{keyUnordered, 1}, nil, func(s *Store) error {
			_, err := s.Unordered()
			return err
		}},
		{"lock", windowKey(keyLock, k), id[:31], func(s *Store) error {
			_, _, err := s.Locked(k)
			return err
		}},
		{"billed", windowKey(keyBilled, k), []byte{1},
			func(s *Store) error { _, _, err := s.Billed(k.Node, k.Epoch); return err }},
		{"runs", append(runsKey(0, 1), 5, 0, 0, 0, 2), []byte{1}, func(s *Store) error {
			return s.ReadRuns(0, 1, func([]rollup.Run) error { return nil })
		}},
		{"runs, searched", append(runsKey(0, 1), 5, 0, 0, 0, 2), []byte{1}, func(s *Store) error {
			_, err := s.FindRun(0, 1, 5, 0, 0)
			return err
		}},
		{"begin", []byte{keyBegin}, []byte{1}, func(s *Store) error {
			ok(t, s.Close())
			_, err := Open("store", Options{FS: s.fs})
			return err
		}},
		{"certificate", windowKey(keyCertificate, k), []byte("certificate"),
			func(s *Store) error { _, err := windowOf(s, k); return err }},
		{"recent", []byte{keyCertificate, 1}, nil, func(s *Store) error {
			_, err := s.Recent(1)
			return err
		}},
		{"ledger", []byte{keyLedger}, []byte("short"),
			func(s *Store) error { _, _, _, err := s.LoadLedger(); return err }},
		{"by window", append(windowKey(keyByWindow, k), 1), nil,
			func(s *Store) error { _, err := s.Prune(5); return err }},
		{"watermark", []byte{keyWatermark}, []byte{1}, func(s *Store) error {
			ok(t, s.Close())
			_, err := Open("store", Options{FS: s.fs})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, vfs.NewMem())
			ok(t, s.PutSealed(kept))
			ok(t, s.db.Set(c.key, c.value, pebble.Sync))
			is(t, c.read(s), ErrCorrupt)
			ok(t, s.Err())
		})
	}
}

func readPool(s *Store) error {
	return s.ReadPool(key(0, 1, 2), func([]byte, bool) error { return nil })
}

func TestFormat(t *testing.T) {
	for _, damage := range []func(db *pebble.DB) error{
		func(db *pebble.DB) error { return db.Set([]byte{keyFormat}, []byte{0, 0, 0, 1}, pebble.Sync) },
		func(db *pebble.DB) error { return db.Set([]byte{keyFormat}, []byte{1}, pebble.Sync) },
		func(db *pebble.DB) error { // someone else's database
			return errors.Join(db.Delete([]byte{keyFormat}, nil), db.Set([]byte("other"), nil, pebble.Sync))
		},
	} {
		s := open(t, vfs.NewMem())
		ok(t, damage(s.db))
		ok(t, s.Close())
		for range 2 { // and the refusal leaves it as it was, and unlocked
			_, err := Open("store", Options{FS: s.fs})
			is(t, err, ErrFormat)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, c := range []struct{ prefix, want []byte }{
		{[]byte{1}, []byte{2}}, {[]byte{1, 255}, []byte{2}}, {[]byte{1, 2, 255, 255}, []byte{1, 3}},
		{[]byte{255, 255}, nil},
	} {
		prefix := bytes.Clone(c.prefix)
		if got := after(prefix); !bytes.Equal(got, c.want) || !bytes.Equal(prefix, c.prefix) {
			t.Errorf("after(%x) = %x", c.prefix, got)
		}
	}
}

func TestUsage(t *testing.T) {
	fs := vfs.NewMem()
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 30, TotalBytes: 50, UsedBytes: 20})
	s := open(t, fs)
	before, err := s.Usage()
	ok(t, err)
	count := s.SyncLatency().Count
	big := blake3.Sum256([]byte("incompressible"))
	ok(t, s.PutCertificate(key(0, 1, 0), bytes.Repeat(big[:], 1<<12)))
	ok(t, s.KV("engine").Set([]byte("k"), []byte("not synced")))
	after, err := s.Usage()
	ok(t, err)
	if after.Free != 30 || after.Total != 50 || after.Store < before.Store+1<<17 {
		t.Errorf("%+v, before %+v", after, before)
	}
	l := s.SyncLatency()
	if l.Count != count+1 || l.Last <= 0 || l.Max < l.Last || l.Average <= 0 || l.Average > l.Max {
		t.Errorf("%+v", l)
	}
	var p syncProbe
	for range 100 {
		p.record(160)
	}
	p.record(320)
	if p.SyncLatency != (SyncLatency{Count: 101, Last: 320, Average: 170, Max: 320}) {
		t.Errorf("%+v", p.SyncLatency)
	}
	if real, err := Open(t.TempDir(), Options{}); err != nil { // on a real file system
		t.Error(err)
	} else if u, err := real.Usage(); err != nil || u.Free == 0 || u.Total < u.Free ||
		real.Close() != nil {
		t.Errorf("%+v, %v", u, err)
	}
}

// evidenceOf returns a rollup and its evidence of a rung, if they are there.
func evidenceOf(s *Store, id rollup.Hash, rung rollup.Rung) (header, evidence []byte, ok bool,
	err error) {
	a, err := s.Archive(id)
	if err == nil {
		header = a.Header.Append(nil)
		evidence, err = a.Evidence(rung)
	}
	if errors.Is(err, ErrNotFound) {
		return header, nil, false, nil
	}
	return header, evidence, err == nil, err
}

// found is what the store knows about a window; parts that it does not hold are nil.
type found struct {
	ID                                  rollup.Hash
	Header, Evidence, Certificate, Acks []byte
}

func windowOf(s *Store, k rollup.WindowKey) (w found, err error) {
	if w.ID, w.Certificate, err = s.Rollup(k); err != nil {
		return w, err
	}
	a, err := s.Archive(w.ID)
	if errors.Is(err, ErrNotFound) {
		return w, nil
	}
	if err == nil {
		w.Header, w.Acks = a.Header.Append(nil), a.Acks
		w.Evidence, err = a.Evidence(0)
	}
	return w, err
}
