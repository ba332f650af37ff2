package pipeline_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// scriptedMembers is how each member answers a push, and how often it was asked.
type scriptedMembers struct {
	mu sync.Mutex
	// nil: as it should
	answer map[uint32]func(ctx context.Context, node uint32, header []byte) ([48]byte, error)
	pushes map[uint32]int
}

func (m *scriptedMembers) before(ctx context.Context, node uint32,
	header []byte) ([48]byte, error) {
	m.mu.Lock()
	m.pushes[node]++
	answer := m.answer[node]
	m.mu.Unlock()
	if answer == nil {
		return [48]byte{}, nil
	}
	return answer(ctx, node, header)
}

func (m *scriptedMembers) set(answer func(ctx context.Context, node uint32,
	header []byte) ([48]byte, error), members ...uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, member := range members {
		m.answer[member] = answer
	}
}

func (m *scriptedMembers) pushed() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, pushes := range m.pushes {
		n += pushes
	}
	return n
}

// committee is a fixture with four members, of whom three are a quorum, and one window that is
// about to be certified.
func committee(t *testing.T, setUp func(f *fixture,
	m *scriptedMembers)) (*fixture, *scriptedMembers) {
	f := newFixture(t, pipelinetest.Config{Members: 4, Clients: 2})
	m := &scriptedMembers{answer: map[uint32]func(context.Context, uint32, []byte) ([48]byte, error){},
		pushes: map[uint32]int{}}
	f.members.Before = m.before
	setUp(f, m)
	f.start(nil)
	f.want(f.submit(f.acks(4)...), all(rollup.CodeAccepted, 4)...)
	return f, m
}

func (f *fixture) state() status.Window {
	for _, w := range f.p.Stats().AllWindows() {
		if w.Acks > 0 {
			return w
		}
	}
	f.t.Fatal("no window with acks")
	panic("unreachable")
}

func (f *fixture) wantOrdered() {
	f.t.Helper()
	if n := len(f.rolledUp()); n != 4 {
		f.t.Errorf("%d acks ordered", n)
	}
	if s := f.state(); s.State != certify.StateOrdered {
		f.t.Errorf("%+v", s)
	}
}

var errDown = errors.New("member is down")

func down(context.Context, uint32, []byte) ([48]byte, error) { return [48]byte{}, errDown }

func hang(ctx context.Context, _ uint32, _ []byte) ([48]byte, error) {
	<-ctx.Done()
	return [48]byte{}, context.Cause(ctx)
}

func refuse(context.Context, uint32, []byte) ([48]byte, error) {
	return [48]byte{}, &pipelinetest.Refusal{Err: errors.New("not to my liking")}
}

func TestMembersDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, m := committee(t, func(f *fixture, m *scriptedMembers) { m.set(down, 1, 2) })
		defer f.blocks()()
		defer f.p.Close()
		time.Sleep(5 * time.Minute) // two shares are there, a third is needed
		s := f.p.Stats()
		w := f.state()
		if w.State != certify.StateCollecting || w.Power != 20 || w.Quorum != 27 ||
			s.Certify.Pending != 1 || s.Certify.Oldest < 240 || s.Certify.Certified != 0 {
			t.Errorf("%+v, %+v", w, s)
		}
		for _, member := range s.Certify.Members {
			wantDown := member.Node == 1 || member.Node == 2
			if (member.Shares == 0) != wantDown || (member.LastError == errDown.Error()) != wantDown ||
				member.Refusing {
				t.Errorf("%+v", member)
			}
			if wantDown && (member.Failures < 20 || member.Failures > 60) { // 0.1 s to 10 s apart
				t.Errorf("%d pushes in five minutes", member.Failures)
			}
		}
		m.set(nil, 2)
		time.Sleep(15 * time.Second)
		f.wantOrdered()
		if s := f.p.Stats(); s.Certify.Pending != 0 || s.Certify.Certified != 1 ||
			s.Certify.Ordered != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestSlowMember: a quorum is enough, and the rest do not hold the certificate up, nor Close.
func TestSlowMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, m := committee(t, func(f *fixture, m *scriptedMembers) {
			f.cfg.WindowAge = time.Second
			m.set(hang, 3)
		})
		defer f.blocks()()
		defer f.p.Close()
		time.Sleep(3 * time.Second)
		f.wantOrdered()
		m.set(func(ctx context.Context, node uint32, header []byte) ([48]byte, error) {
			time.Sleep(20 * time.Second) // slow, and yet in time
			return [48]byte{}, nil
		}, 1, 2)
		f.want(f.submit(f.acks(1)...), rollup.CodeAccepted)
		time.Sleep(30 * time.Second)
		if n := len(f.net.Ordered()); n != 2 {
			t.Errorf("%d windows ordered", n)
		}
		m.set(hang, 0, 1, 2, 3)
		f.want(f.submit(f.acks(1)...), rollup.CodeAccepted)
		time.Sleep(10 * time.Second) // Close comes while all of them hang
	})
}

func TestRefusingMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, m := committee(t, func(f *fixture, m *scriptedMembers) { m.set(refuse, 0) })
		defer f.blocks()()
		defer f.p.Close()
		f.settled()
		f.wantOrdered() // one alone stops nothing
		m.set(refuse, 1)
		f.want(f.submit(f.acks(3)...), all(rollup.CodeAccepted, 3)...)
		time.Sleep(time.Minute)
		w := f.state()
		if w.State != certify.StateStuck || !strings.Contains(w.Error, "not to my liking") {
			t.Errorf("%+v", w)
		}
		s := f.p.Stats()
		for _, member := range s.Certify.Members {
			if wantRefusals := uint64(max(0, 2-int(member.Node))); member.Refusals != wantRefusals ||
				member.Refusing != (wantRefusals > 0) {
				t.Errorf("%+v", member)
			}
		}
		if s.Certify.Pending != 0 || s.Certify.Certify.Refused != 3 || f.p.Ready() != nil {
			t.Errorf("%+v", s.Certify.Certify)
		}
		// It stays in the store, and the next start tries again.
		m.set(nil, 0, 1)
		f.p.Close()
		f.start(nil)
		f.settled()
		if n := len(f.rolledUp()); n != 7 {
			t.Errorf("%d acks ordered", n)
		}
	})
}

// faultError is a refusal that says that the rollup is at fault.
type faultError struct{ error }

func (faultError) Retry() bool { return false }

func (faultError) Fault() bool { return true }

// TestMemberLines: a member that does not sign is a line for each reason, however many windows it
// is about, and so is its return. Only what is the rollup's fault is an error.
func TestMemberLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text lockedBuffer
		f, m := committee(t, func(f *fixture, m *scriptedMembers) {
			f.cfg.WindowAge = time.Second
			f.cfg.Logger = slog.New(slog.NewTextHandler(&text, nil))
			m.set(refuse, 3)
			m.set(func(context.Context, uint32, []byte) ([48]byte, error) {
				time.Sleep(time.Second) // so that each window hears of the last member
				return [48]byte{}, nil
			}, 0, 1, 2)
		})
		defer f.blocks()()
		defer f.p.Close()
		windows := func() {
			for range 3 {
				f.want(f.submit(f.acks(1)...), rollup.CodeAccepted)
				time.Sleep(30 * time.Second)
			}
		}
		want := func(lines ...string) {
			t.Helper()
			var got []string
			for line := range strings.Lines(text.take()) {
				if strings.Contains(line, "node=3") {
					got = append(got, strings.Join(strings.Fields(line)[1:3], " "))
				}
			}
			if !slices.Equal(got, lines) {
				t.Errorf("%q, want %q", got, lines)
			}
		}
		windows()
		want(`level=WARN msg="member`)
		m.set(nil, 3)
		windows()
		want(`level=INFO msg="member`)
		m.set(func(context.Context, uint32, []byte) ([48]byte, error) {
			return [48]byte{}, faultError{errors.New("another one was signed")}
		}, 3)
		windows()
		want(`level=ERROR msg="member`)
		m.set(down, 3)
		windows()
		want(`level=WARN msg="no`)
		m.set(refuse, 3)
		windows()
		want(`level=WARN msg="member`)
		m.set(nil, 3)
		windows()
		want(`level=INFO msg="member`)
	})
}

// lockedBuffer takes lines from several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// take returns what was written since it was called last.
func (l *lockedBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

// TestLyingMembers: shares that do not verify do not count, whatever is wrong with them.
func TestLyingMembers(t *testing.T) {
	stranger, err := bls.KeyGen(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	other := bls.Default.Sign(stranger, []byte("something else"))
	for name, share := range map[string][48]byte{
		"another's": other.Bytes(), "identity": bls.IdentitySignature, "no point": {0x80, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lie := func(context.Context, uint32, []byte) ([48]byte, error) { return share, nil }
				f, m := committee(t, func(f *fixture, m *scriptedMembers) { m.set(lie, 0, 1) })
				defer f.blocks()()
				defer f.p.Close()
				time.Sleep(time.Minute)
				if w := f.state(); w.State != certify.StateCollecting || w.Power != 20 {
					t.Errorf("%+v", w)
				}
				m.set(nil, 1)
				time.Sleep(15 * time.Second)
				f.wantOrdered()
				c, err := rollup.ParseCertificate(f.disk.certs[rollup.WindowKey{}])
				if err != nil || c.Signers.Has(0) || c.Verify(f.net.ID, f.net.View().Committee()) != nil {
					t.Errorf("the certificate of %v: %v", c.Signers, err)
				}
			})
		})
	}
}

// TestCertificateIsKept: after a restart nobody is asked again.
func TestCertificateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, m := committee(t, func(f *fixture, m *scriptedMembers) {
			f.net.Refuse = func([]byte) error { return errors.New("mempool is full") }
		})
		time.Sleep(5 * time.Minute)
		f.net.Block()
		w := f.state()
		if w.State != certify.StateOrdering || w.Certified.IsZero() ||
			f.p.Stats().Certify.Certified != 1 {
			t.Errorf("%+v", w)
		}
		f.p.Close()
		defer f.blocks()()
		pushes := m.pushed()
		if pushes != 4 && pushes != 3 { // the last member is not asked once three have signed
			t.Errorf("%d pushes", pushes)
		}
		f.net.Refuse = nil
		m.set(down, 0, 1, 2, 3)
		f.start(nil)
		defer f.p.Close()
		f.settled()
		f.wantOrdered()
		if m.pushed() != pushes {
			t.Error("members were asked again")
		}
	})
}

// TestAlreadyOrdered: what the chain has is not offered again, although the store did not remember.
func TestAlreadyOrdered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, m := committee(t, func(*fixture, *scriptedMembers) {})
		defer f.blocks()()
		f.settled()
		f.p.Close()
		f.disk.unordered[rollup.WindowKey{}] = true // that it was ordered is not synced
		delete(f.disk.certs, rollup.WindowKey{})
		f.net.Refuse = func([]byte) error { t.Error("offered again"); return ledger.CodeAlreadyOrdered }
		pushes := m.pushed()
		f.start(nil)
		defer f.p.Close()
		f.settled()
		f.wantOrdered()
		if m.pushed() != pushes || len(f.disk.unordered) != 0 {
			t.Error("ordered before, and pushed again or not marked")
		}
	})
}

// TestOrderIsLost: a transaction that the chain took and lost is offered again; an epoch too old
// for it ends the matter.
func TestOrderIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		offers := 0
		f, _ := committee(t, func(f *fixture, m *scriptedMembers) {
			f.net.Refuse = func([]byte) error {
				if offers++; offers < 4 {
					return ledger.CodeAlreadyOrdered // it is not, as the view shows
				}
				return nil
			}
		})
		defer f.blocks()()
		defer f.p.Close()
		f.settled()
		f.wantOrdered()
		if offers != 4 {
			t.Errorf("%d offers", offers)
		}
		f.net.Refuse = func([]byte) error { return ledger.CodeSettled }
		f.want(f.submit(f.acks(1)...), rollup.CodeAccepted)
		time.Sleep(30 * time.Second)
		if w := f.state(); w.State != certify.StateStuck || w.Acks != 1 {
			t.Errorf("%+v", w)
		}
	})
}
