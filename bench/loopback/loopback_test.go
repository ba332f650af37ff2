package loopback

import (
	"crypto/tls"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/waybill-network/waybill/bench"
	"github.com/waybill-network/waybill/internal/kernelbench"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

func TestPercentiles(t *testing.T) {
	ms := time.Millisecond
	got := percentiles([]weighed{{100 * ms, 1}, {1 * ms, 50}, {2 * ms, 40}, {5 * ms, 9}})
	if want := (bench.Percentiles{P50: 1, P90: 2, P99: 5, Max: 100}); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
	if got := percentiles(nil); got != (bench.Percentiles{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

// TestFollow: windows take acks in the order of the answers, also where one ends within an answer.
func TestFollow(t *testing.T) {
	begin := time.Now()
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	f := &feed{taken: []taken{{10, at(0), at(1)}, {10, at(10), at(12)}, {5, at(20), at(21)}}}
	seen := [][]window{{{number: 0, acks: 15, certified: at(100), ordered: true},
		{number: 2, acks: 5, certified: at(210)}, {number: 3, acks: 5}}}
	var s bench.Load
	follow(&s, []*feed{f}, seen, begin)
	if s.Certified != 20 || s.Ordered != 15 || s.ToAnswer.Max != 2 || s.ToCertified.P50 != 100 ||
		s.ToCertified.Max != 200 {
		t.Errorf("%+v", s)
	}
}

// TestNext: what was refused goes first when its time has come, what has no room by the end is
// left, and nothing ends before its answer.
func TestNext(t *testing.T) {
	now := time.Now()
	f := &feed{}
	later := &submission{due: now.Add(time.Hour)}
	due := &submission{due: now}
	if s, _, _ := f.next([]*submission{due, later}, now.Add(time.Minute)); s != due {
		t.Error("what is due is not sent")
	}
	if s, wait, done := f.next([]*submission{later}, now.Add(2*time.Hour)); s != nil ||
		wait != poll || done {
		t.Error("what is not due is not waited for")
	}
	f.retries = []*submission{{again: now}}
	if s, _, _ := f.next([]*submission{due}, now.Add(time.Minute)); s == nil || s == due {
		t.Error("what was refused does not go first")
	}
	f.expect(1)
	if _, _, done := f.next([]*submission{due}, now); done {
		t.Error("it ends before an answer")
	}
	f.expect(-1)
	if _, _, done := f.next([]*submission{due}, now); !done {
		t.Error("it does not end")
	}
}

// TestSignatures: acks of small secret keys are acks like all others.
func TestSignatures(t *testing.T) {
	n := &Network{cfg: Config{Clients: 3, Feeding: 2}, id: rollup.NetworkOf([]byte("loopback")),
		indices: []uint64{10, 11, 12, 13, 14, 15}, nodes: []uint32{4, 5}}
	if err := n.makeKeys(); err != nil {
		t.Fatal(err)
	}
	s := signer{steps: kernelbench.NewSteps()}
	frames := s.sign(n, 1, 7, 4, 20)
	for i := range 20 {
		f := rollup.Frame(frames[i*rollup.AckSize:][:rollup.AckSize])
		client := (i+4)%3*2 + 1
		if f.Client() != n.indices[client] {
			t.Fatalf("ack %d is of client %d", i, f.Client())
		}
		signature, err := bls.ParseSignature(f.Signature())
		if err != nil {
			t.Fatal(err)
		}
		message := f.AppendMessage(nil, &n.id)
		if !bls.Default.Verify(n.secrets[client].PublicKey(), message, &signature) {
			t.Errorf("ack %d does not verify", i)
		}
	}
}

// TestProgramThatEnds: a network that does not begin says why, and leaves nothing.
func TestProgramThatEnds(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	n, err := Start(t.Context(), Config{Program: "false", Members: 1, Feeding: 1, Clients: 1,
		Epoch: time.Second, Window: time.Second, Grace: time.Second})
	if n != nil || !errors.Is(err, ErrEnded) {
		t.Fatalf("%v, %v", n, err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestUsage(t *testing.T) {
	before := usageOf(os.Getpid())
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells")
	}
	for began := time.Now(); usageOf(os.Getpid()).cpu == before.cpu; {
		if time.Since(began) > time.Minute {
			t.Fatal("a busy process uses no time")
		}
	}
	if got := usageOf(1 << 30); got != (usage{}) {
		t.Errorf("a process that is not there: %+v", got)
	}
}

// TestPlain: web servers serve the folder that a node delivers, and their clients take
// nothing else.
func TestPlain(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	c, err := newContent()
	if err != nil {
		t.Fatal(err)
	}
	root, err := c.add(1, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	bare, err := startBare(c)
	if err != nil {
		t.Fatal(err)
	}
	server, err := startNginx(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(bare.close(), c.close()); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}()
	check := func(url string, http2 bool) {
		t.Helper()
		p := newPlain(url, &tls.Config{RootCAs: c.roots}, http2)
		defer p.http.CloseIdleConnections()
		if err := p.fetch(t.Context(), root, 100_000); err != nil {
			t.Error(err)
		}
		if err := p.fetch(t.Context(), root, 99_999); !errors.Is(err, errOther) {
			t.Errorf("fewer bytes: %v", err)
		}
		if err := p.fetch(t.Context(), rollup.Hash{1}, 100_000); !errors.Is(err, errOther) {
			t.Errorf("what is not there: %v", err)
		}
	}
	check(bare.url, false)
	if server == nil {
		if os.Getenv("REQUIRE_NGINX") != "" {
			t.Fatal("nginx is not installed")
		}
		t.Skip("nginx is not installed")
	}
	defer func() {
		if err := server.close(); err != nil {
			t.Error(err)
		}
	}()
	check(server.url, false)
	check(server.url, true)
	if len(server.pids()) < 2 {
		t.Errorf("no workers: %v", server.pids())
	}
}
