package prover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/prooftest"
	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
)

// A test's binary is its own child.
const childEnv = "WAYBILL_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "prove":
		if err := Child(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "crash":
		fmt.Fprintln(os.Stderr, "out of\n luck")
		os.Exit(3)
	case "hang":
		select {}
	}
}

func config(t *testing.T, child string) Config {
	t.Setenv(childEnv, child)
	pair := prooftest.Keys(t, 256)
	dir := t.TempDir()
	if err := pair.Link(dir); err != nil {
		t.Fatal(err)
	}
	return Config{Command: []string{os.Args[0]}, Dir: dir, Key: pair.Key, Cores: 1, Memory: 1 << 30}
}

func TestWorker(t *testing.T) {
	c := config(t, "prove")
	var mu sync.Mutex
	var stages []Stage
	c.Progress = func(s Stage) {
		mu.Lock()
		defer mu.Unlock()
		stages = append(stages, s)
	}
	w, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	check, err := verifier.New(prooftest.Keys(t, 256).Verifying)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 257} {
		window := prooftest.NewWindow(t, n, 256, byte(n))
		for i := range window.Segments {
			proof, stats, err := w.Prove(t.Context(), &window.Segments[i], window.Statements(i))
			if err != nil {
				t.Fatal(err)
			}
			if stats.CPU <= 0 || stats.Wall <= 0 || stats.PeakMemory < 1<<20 {
				t.Errorf("it cost %+v", stats)
			}
			if err := check.VerifyProof(256, window.Segments[i].Public.Bytes(),
				&proof); err != nil {
				t.Errorf("%d statements, segment %d: %v", n, i, err)
			}
			if i > 0 {
				if check.VerifyProof(256, window.Segments[0].Public.Bytes(), &proof) == nil {
					t.Error("a proof of one segment holds for another")
				}
			}
		}
	}

	// What is not true is not proved, and the worker goes on.
	window := prooftest.NewWindow(t, 20, 256, 1)
	wrong := window.Segments[0]
	wrong.Rows = slices.Clone(wrong.Rows)
	wrong.Rows[0].Units++
	if _, _, err := w.Prove(t.Context(), &wrong, window.Statements(0)); !errors.Is(err, ErrFalse) {
		t.Errorf("wrong sums: %v", err)
	}
	if _, _, err := w.Prove(t.Context(), &window.Segments[0],
		window.Statements(0)[1:]); !errors.Is(err, ErrFalse) {
		t.Errorf("a statement missing: %v", err)
	}
	if _, _, err := w.Prove(t.Context(), &window.Segments[0], window.Statements(0)); err != nil {
		t.Errorf("after false ones: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	want := []Stage{Loading, Ready}
	for range 6 {
		want = append(want, Proving, Proved)
	}
	if !slices.Equal(stages, want) {
		t.Errorf("stages %v, not %v", stages, want)
	}
}

// TestSizes makes full proofs of the circuits that WAYBILL_PROVE names and says what they cost.
func TestSizes(t *testing.T) {
	sizes := strings.Fields(os.Getenv("WAYBILL_PROVE"))
	if len(sizes) == 0 {
		t.Skip("make prove names sizes")
	}
	t.Setenv(childEnv, "prove")
	dir, err := keys.DefaultDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range sizes {
		size, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		pair := prooftest.Keys(t, size)
		w, err := Start(t.Context(), Config{Command: []string{os.Args[0]}, Dir: dir, Key: pair.Key,
			Memory: MemoryFor(size)})
		if err != nil {
			t.Fatal(err)
		}
		window := prooftest.NewWindow(t, size, size, 1)
		proof, stats, err := w.Prove(t.Context(), &window.Segments[0], window.Statements(0))
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		check, err := verifier.New(pair.Verifying)
		if err != nil {
			t.Fatal(err)
		}
		if err := check.VerifyProof(size, window.Segments[0].Public.Bytes(), &proof); err != nil {
			t.Errorf("%d statements: %v", size, err)
		}
		t.Logf("%5d statements: loaded in %.1f s of CPU; proved in %.1f s, %.1f s of CPU; at "+
			"most %d MB", size,
			w.Loaded().CPU.Seconds(), stats.Wall.Seconds(), stats.CPU.Seconds(),
			stats.PeakMemory>>20)
	}
}

// TestProveInProcess proves without a child, into the evidence of package rollup.
func TestProveInProcess(t *testing.T) {
	pair := prooftest.Keys(t, 256)
	with, err := pair.Proving()
	if err != nil {
		t.Fatal(err)
	}
	window := prooftest.NewWindow(t, 130, 256, 9)
	proof, err := Prove(with, &window.Segments[0], window.Statements(0))
	if err != nil {
		t.Fatal(err)
	}
	check, err := verifier.New(pair.Verifying)
	if err != nil {
		t.Fatal(err)
	}
	ev := rollup.ProofEvidence(rollup.Acks{}, window.List, window.Segments,
		[][rollup.ProofSize]byte{proof})
	if err := check.VerifyProof(ev.Size, window.Segments[0].Public.Bytes(),
		&ev.Segments[0].Proof); err != nil {
		t.Error(err)
	}
	larger := window.Segments[0]
	larger.Size = 1024
	if _, err := Prove(with, &larger, window.Statements(0)); err == nil {
		t.Error("a key proved for a circuit of another size")
	}
}

func TestCancelKills(t *testing.T) {
	c := config(t, "prove")
	proving := make(chan struct{})
	c.Progress = func(s Stage) {
		if s == Proving {
			close(proving)
		}
	}
	w, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-proving
		cancel()
	}()
	window := prooftest.NewWindow(t, 256, 256, 2)
	if _, _, err := w.Prove(ctx, &window.Segments[0], window.Statements(0)); !errors.Is(err,
		context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, _, err := w.Prove(t.Context(), &window.Segments[0], window.Statements(0)); !errors.Is(err,
		ErrWorker) {
		t.Errorf("after that: %v", err)
	}
	w.Close()
	w.Close()
}

func TestBrokenChildren(t *testing.T) {
	c := config(t, "crash")
	if _, err := Start(t.Context(), c); !errors.Is(err, ErrWorker) {
		t.Errorf("a child that crashes: %v", err)
	} else if want := "prover: the worker is gone: exit status 3: out of luck"; err.Error() !=
		want {
		t.Errorf("a child that crashes: %q", err)
	}
	c = config(t, "hang")
	ctx, cancel := context.WithCancel(t.Context())
	c.Progress = func(s Stage) {
		if s == Loading {
			cancel()
		}
	}
	if _, err := Start(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("a child that hangs: %v", err)
	}
	c = config(t, "prove")
	c.Key[0]++
	if _, err := Start(t.Context(), c); !errors.Is(err, ErrWorker) {
		t.Errorf("a key that is not there: %v", err)
	}
	c.Command = []string{"/nonexistent/program"}
	if _, err := Start(t.Context(), c); !errors.Is(err, ErrWorker) {
		t.Errorf("no program: %v", err)
	}
}

// TestKilledWhileIdle has the child die between proofs.
func TestKilledWhileIdle(t *testing.T) {
	w, err := Start(t.Context(), config(t, "prove"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	window := prooftest.NewWindow(t, 2, 256, 3)
	if _, _, err := w.Prove(t.Context(), &window.Segments[0], window.Statements(0)); !errors.Is(err,
		ErrWorker) {
		t.Error(err)
	}
	w.Close()
}
