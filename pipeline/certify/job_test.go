package certify_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
)

// shelf is a store of sealed windows in memory.
type shelf struct {
	mu        sync.Mutex
	sealed    map[rollup.WindowKey]*rollup.Archive
	certs     map[rollup.WindowKey][]byte
	unordered []rollup.WindowKey
	fail      error // of every write, when it is not nil
}

func (s *shelf) Unordered() ([]rollup.WindowKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.unordered), nil
}

func (s *shelf) Sealed(key rollup.WindowKey) (*rollup.Archive, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.sealed[key]; a != nil {
		return a, nil
	}
	return nil, rollup.ErrNotFound
}

func (s *shelf) write(change func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail == nil {
		change()
	}
	return s.fail
}

func (s *shelf) PutCertificate(key rollup.WindowKey, certificate []byte) error {
	return s.write(func() { s.certs[key] = certificate })
}

func (s *shelf) Certificate(key rollup.WindowKey) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.certs[key]; c != nil {
		return c, nil
	}
	return nil, rollup.ErrNotFound
}

func (s *shelf) PutProof(rollup.WindowKey, []byte) error { return s.write(func() {}) }

func (s *shelf) IsUnordered(key rollup.WindowKey) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.unordered, key), nil
}

func (s *shelf) MarkOrdered(key rollup.WindowKey) error {
	return s.write(func() {
		s.unordered = slices.DeleteFunc(s.unordered,
			func(k rollup.WindowKey) bool { return k == key })
	})
}

func (s *shelf) Unheld() ([]rollup.WindowKey, error)      { return nil, nil }
func (s *shelf) PutHolder(rollup.WindowKey, uint32) error { return s.write(func() {}) }

// office is a network of four members with an outbox of node 0, without a pipeline.
type office struct {
	t       *testing.T
	net     *pipelinetest.Network
	members *pipelinetest.Committee
	shelf   *shelf
	outbox  *certify.Outbox
}

func newOffice(t *testing.T) *office {
	t.Helper()
	net, err := pipelinetest.New(pipelinetest.Config{Members: 4, Clients: 2, EpochSeconds: 60,
		GraceSeconds: 240})
	if err != nil {
		t.Fatal(err)
	}
	shelf := &shelf{sealed: map[rollup.WindowKey]*rollup.Archive{},
		certs: map[rollup.WindowKey][]byte{}}
	o := &office{t: t, net: net, members: &pipelinetest.Committee{Network: net}, shelf: shelf}
	o.start()
	return o
}

func (o *office) start() {
	o.t.Helper()
	var err error
	key := o.net.Members[0].Transport
	o.outbox, err = certify.New(certify.Config{Network: o.net.ID, Key: key}, o.shelf, o.net,
		o.members)
	if err == nil {
		err = o.outbox.Start()
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// seal makes the rollup of a window with two acks, and keeps it.
func (o *office) seal(key rollup.WindowKey) *rollup.Archive {
	o.t.Helper()
	var frames []byte
	var signatures []bls.Signature
	for client := range uint64(2) {
		a := o.net.Ack(key, client, 0, key.Window, 5)
		frames = a.Append(frames)
		s, err := bls.ParseSignature(a.Signature[:])
		if err != nil {
			o.t.Fatal(err)
		}
		signatures = append(signatures, s)
	}
	sum := bls.AggregateSignatures(signatures)
	h, acks, err := rollup.Seal(o.net.ID, key, frames, sum.Bytes(), o.net.View())
	if err != nil {
		o.t.Fatal(err)
	}
	a := rollup.NewArchive(h.Clone(), acks, nil, nil)
	o.shelf.mu.Lock()
	defer o.shelf.mu.Unlock()
	o.shelf.sealed[key] = a
	o.shelf.unordered = append(o.shelf.unordered, key)
	return a
}

func (o *office) put(key rollup.WindowKey) {
	o.t.Helper()
	o.outbox.Put(o.seal(key), status.Of(key, "sealing"))
}

func (o *office) window(number uint32) status.Window {
	o.t.Helper()
	for _, w := range o.outbox.Stats().Windows {
		if w.Window == number {
			return w
		}
	}
	o.t.Fatalf("window %d is not listed", number)
	panic("unreachable")
}

// blocks makes a block a second until the test stops it.
func (o *office) blocks() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { o.net.Run(ctx, time.Second) })
	return func() { cancel(); wg.Wait() }
}

func (o *office) count(state status.State) uint64 {
	return pipelinetest.Count(o.outbox.Stats().States, string(state))
}

// TestAway: members were away until the window's epoch is too old. It was accepted and will never
// be paid: the window is stuck at once, says why and what can be done, and does so again after a
// restart.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.blocks()()
		o.members.Before = func(context.Context, uint32, []byte) ([48]byte, error) {
			return [48]byte{}, errors.New("away")
		}
		o.put(rollup.WindowKey{})
		time.Sleep(2 * time.Minute)
		s := o.outbox.Stats()
		if w := o.window(0); w.State != certify.StateCollecting || s.Pending != 1 ||
			s.Oldest < 100 {
			t.Errorf("%+v, %+v", w, s)
		}
		time.Sleep(4 * time.Minute)
		for range 2 { // and after a restart
			w := o.window(0)
			if w.State != certify.StateStuck || w.Reason != "late" || w.Acks != 2 ||
				w.Advice != certify.ReasonLate.Advice() ||
				!strings.Contains(w.Error, "is settled") {
				t.Errorf("%+v", w)
			}
			s = o.outbox.Stats()
			if o.count(certify.StateStuck) != 1 || pipelinetest.Count(s.Stuck, "late") != 1 ||
				s.Pending != 0 || s.Certify.Refused != 2 || o.outbox.Err() != nil {
				t.Errorf("%+v", s)
			}
			o.outbox.Close()
			o.start()
			time.Sleep(time.Minute)
		}
		o.outbox.Close()
	})
}

// TestOrderedUnseen: a window was ordered in a block that this node got late, with many others, so
// that the chain has forgotten it when the job looks. The store was told, and the window is not
// late.
func TestOrderedUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.blocks()()
		o.net.Refuse = func([]byte) error { return errors.New("away") }
		o.put(rollup.WindowKey{})
		o.put(rollup.WindowKey{Window: 1})
		time.Sleep(time.Minute)
		if w := o.window(1); w.State != certify.StateOrdering {
			t.Fatalf("%+v", w)
		}
		if err := o.shelf.MarkOrdered(rollup.WindowKey{Window: 1}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if w := o.window(0); w.State != certify.StateStuck || w.Reason != "late" {
			t.Errorf("nobody ordered it: %+v", w)
		}
		if w := o.window(1); w.State != certify.StateOrdered {
			t.Errorf("the store knows that it was ordered: %+v", w)
		}
		o.outbox.Close()
	})
}

// TestStuckStaysInSight: a stuck window is listed and counted, however many came after it.
func TestStuckStaysInSight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.blocks()()
		defer o.outbox.Close()
		var refuse atomic.Bool
		refuse.Store(true)
		o.members.Before = func(context.Context, uint32, []byte) ([48]byte, error) {
			if refuse.Load() {
				return [48]byte{}, &pipelinetest.Refusal{Err: errors.New("a wrong version")}
			}
			return [48]byte{}, nil
		}
		o.put(rollup.WindowKey{})
		time.Sleep(5 * time.Second)
		refuse.Store(false)
		for i := range uint32(50) {
			o.put(rollup.WindowKey{Window: i + 1})
		}
		time.Sleep(30 * time.Second)
		w := o.window(0)
		if w.State != certify.StateStuck || w.Reason != "refused" ||
			!strings.Contains(w.Error, "a wrong version") {
			t.Errorf("%+v", w)
		}
		s := o.outbox.Stats()
		if s.Ordered != 50 || o.count(certify.StateStuck) != 1 || len(s.Windows) != 33 {
			t.Errorf("%d ordered, %d listed: %+v", s.Ordered, len(s.Windows), s.States)
		}
		refusals := uint64(0)
		for _, m := range s.Members {
			if refusals += m.Refusals; m.Refusing { // they have signed since
				t.Errorf("%+v", m)
			}
		}
		if refusals < 2 { // with two no quorum is left
			t.Errorf("%d refusals", refusals)
		}
	})
}

// TestUnreadable: a window that can not be read back is stuck, and not silent.
func TestUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.blocks()()
		o.seal(rollup.WindowKey{})
		o.outbox.Close()
		o.shelf.certs[rollup.WindowKey{}] = []byte("no certificate")
		o.start()
		time.Sleep(time.Second)
		if w := o.window(0); w.State != certify.StateStuck || w.Reason != "unreadable" {
			t.Errorf("%+v", w)
		}
		o.outbox.Close()
		delete(o.shelf.certs, rollup.WindowKey{})
		delete(o.shelf.sealed, rollup.WindowKey{})
		o.start()
		time.Sleep(time.Second)
		if w := o.window(0); w.State != certify.StateStuck || w.Reason != "unreadable" {
			t.Errorf("%+v", w)
		}
		o.outbox.Close()
	})
}

// TestOldestFirst: what an earlier run left is certified in the order in which it was sealed.
func TestOldestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.blocks()()
		o.outbox.Close()
		for i := range uint32(20) {
			o.seal(rollup.WindowKey{Window: i})
		}
		var mu sync.Mutex
		var order []uint32
		o.members.Before = func(_ context.Context, node uint32, header []byte) ([48]byte, error) {
			h, err := rollup.ParseHeader(header)
			if node == 0 && err == nil {
				mu.Lock()
				order = append(order, h.Window)
				mu.Unlock()
			}
			time.Sleep(time.Second)
			return [48]byte{}, err
		}
		o.start()
		if s := o.outbox.Stats(); s.Pending != 20 {
			t.Errorf("%d pending", s.Pending)
		}
		time.Sleep(time.Minute)
		o.outbox.Close()
		if s := o.outbox.Stats(); s.Ordered != 20 {
			t.Errorf("%d ordered", s.Ordered)
		}
		for i, window := range order {
			if int(window) != i {
				t.Errorf("pushed in the order %v", order)
				break
			}
		}
	})
}

// TestWriteFails: a write that failed stops the outbox, which says so, and the window is not stuck.
func TestWriteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.blocks()()
		defer o.outbox.Close()
		o.shelf.fail = errors.New("the disk is gone")
		o.put(rollup.WindowKey{})
		time.Sleep(5 * time.Second)
		if err := o.outbox.Err(); !errors.Is(err, certify.ErrStore) ||
			!errors.Is(err, o.shelf.fail) {
			t.Error(err)
		}
		if n := o.count(certify.StateStuck); n != 0 {
			t.Errorf("%d windows stuck", n)
		}
	})
}

// TestConfig: the error names the field.
func TestConfig(t *testing.T) {
	prover := new(pipelinetest.Prover)
	if _, err := certify.New(certify.Config{}, nil, nil, nil); !errors.Is(err, certify.ErrConfig) ||
		!strings.Contains(err.Error(), "Key has") {
		t.Error(err)
	}
	for field, c := range map[string]certify.Config{
		"Certifying is": {Certifying: -1}, "Proving is": {Proving: -1},
		"ProofWait is": {ProofWait: -1},
		"Proofs is":    {Prover: prover}, "Prover is": {Proofs: prover.In},
	} {
		c.Key = make(ed25519.PrivateKey, ed25519.PrivateKeySize)
		_, err := certify.New(c, nil, nil, nil)
		if !errors.Is(err, certify.ErrConfig) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestReasons: every reason is an error of its own, with a name, and tells the operator what to do.
func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range certify.Reasons() {
		err := error(rollup.Refuse(r, "in particular"))
		var got certify.Reason
		if !errors.As(err, &got) || got != r || !errors.Is(err, r) || r.Advice() == "" ||
			!strings.HasPrefix(r.Error(), "certify: ") || seen[r.String()] {
			t.Errorf("%v: %v", r, err)
		}
		seen[r.String()] = true
	}
}

// TestMembersHearInOrder: a member hears of a window when it has answered for the one before, or
// the one before has its certificate; a window that will not be certified holds up nobody.
func TestMembersHearInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.blocks()()
		defer o.outbox.Close()
		var mu sync.Mutex
		heard := map[uint32][]uint32{} // windows, by member
		away := true
		o.members.Before = func(_ context.Context, node uint32, header []byte) ([48]byte, error) {
			h, err := rollup.ParseHeader(header)
			mu.Lock()
			down := away && node > 1 // no quorum is left
			if !down && !slices.Contains(heard[node], h.Window) {
				heard[node] = append(heard[node], h.Window)
			}
			mu.Unlock()
			switch {
			case down:
				return [48]byte{}, errors.New("away")
			case h.Window == 2 && node < 2:
				return [48]byte{}, &pipelinetest.Refusal{Err: errors.New("not this one")}
			}
			time.Sleep(time.Duration(1+(node+h.Window)%3) * time.Second)
			return [48]byte{}, err
		}
		for window := range uint32(8) {
			o.put(rollup.WindowKey{Window: window})
		}
		time.Sleep(20 * time.Second)
		mu.Lock()
		// as many as are certified at a time, and the stuck one
		for _, member := range []uint32{0, 1} {
			if !slices.Equal(heard[member], []uint32{0, 1, 2, 3, 4}) {
				t.Errorf("member %d has heard of %v", member, heard[member])
			}
		}
		away = false
		mu.Unlock()
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		for member, windows := range heard {
			if !slices.IsSorted(windows) {
				t.Errorf("member %d heard of %v", member, windows)
			}
		}
		if w := o.window(2); w.State != certify.StateStuck {
			t.Errorf("%+v", w)
		}
		if n := o.outbox.Stats().Ordered; n != 7 {
			t.Errorf("%d windows ordered", n)
		}
	})
}
