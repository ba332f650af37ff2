package node

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/prooftest"
	"github.com/waybill-network/waybill/proofs/prover"
	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

func TestProofKeys(t *testing.T) {
	pair := prooftest.Keys(t, 256)
	dir := t.TempDir()
	if err := pair.Link(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // no key is found there
	known, unknown := ledger.ProofKey{Statements: 256, Key: rollup.Hash(pair.Key)},
		ledger.ProofKey{Statements: 1024, Key: rollup.Hash{1}}
	quiet := slog.New(slog.DiscardHandler)
	var proof [rollup.ProofSize]byte

	k, err := loadProofKeys(dir,
		&ledger.Proofs{Development: true, Keys: []ledger.ProofKey{known, unknown}}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if len(k.sizes(0)) != 1 || k.verifyingKey(256, 0) == nil || k.verifyingKey(1024, 0) != nil {
		t.Errorf("keys for %v", k.sizes(0))
	}
	if err := k.in(0).VerifyProof(256, [32]byte{}, &proof); !errors.Is(err, verifier.ErrPoint) {
		t.Errorf("a proof that is none: %v", err)
	}
	if err := k.in(0).VerifyProof(1024, [32]byte{}, &proof); !errors.Is(err, rollup.ErrNoProofs) {
		t.Errorf("a size whose key is missing: %v", err)
	}
	if err := k.in(0).VerifyProof(4096, [32]byte{}, &proof); !errors.Is(err, verifier.ErrKey) ||
		errors.Is(err, rollup.ErrNoProofs) {
		t.Errorf("a size that the network does not accept: %v", err)
	}

	if _, err := loadProofKeys(dir, &ledger.Proofs{Keys: []ledger.ProofKey{known}},
		quiet); !errors.Is(err, ErrDevelopmentKey) {
		t.Errorf("a development key in another network: %v", err)
	}
	if _, err := loadProofKeys(dir,
		&ledger.Proofs{Development: true,
			Keys: []ledger.ProofKey{{Statements: 1024, Key: known.Key}}}, quiet); !errors.Is(err,
		keys.ErrFile) {
		t.Errorf("a key that is named for another size: %v", err)
	}
	if k, err := loadProofKeys(filepath.Join(dir, "nosuch"),
		&ledger.Proofs{Development: true, Keys: []ledger.ProofKey{known}}, quiet); err != nil ||
		len(k.sizes(0)) != 0 {
		t.Errorf("no folder: %v", err)
	}
	t.Setenv("XDG_CACHE_HOME", filepath.Dir(dir))
	files, err := filepath.Glob(filepath.Join(dir, "*.vk"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.Remove(files[0]); err != nil { // the file in the cache is the same
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadProofKeys(dir,
		&ledger.Proofs{Development: true, Keys: []ledger.ProofKey{known}}, quiet); !errors.Is(err,
		keys.ErrFile) {
		t.Errorf("a damaged key: %v", err)
	}
}

// TestProofKeysByEpoch: the state names another key from an epoch on, and ends one.
func TestProofKeysByEpoch(t *testing.T) {
	pair := prooftest.Keys(t, 256)
	dir := t.TempDir()
	if err := pair.Link(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	k, err := loadProofKeys(dir, &ledger.Proofs{Development: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	other := ledger.ProofKeyTerm{Statements: 256, Key: rollup.Hash{1}, Until: 5}
	ours := ledger.ProofKeyTerm{Statements: 256, Key: rollup.Hash(pair.Key), From: 5, Until: 7}
	if err := k.learn([]ledger.ProofKeyTerm{other, ours}); err != nil {
		t.Fatal(err)
	}
	var proof [rollup.ProofSize]byte
	for epoch, want := range map[uint32]error{0: rollup.ErrNoProofs, 4: rollup.ErrNoProofs,
		5: verifier.ErrPoint,
		6: verifier.ErrPoint, 7: verifier.ErrKey} {
		err := k.in(epoch).VerifyProof(256, [32]byte{}, &proof)
		if !errors.Is(err, want) {
			t.Errorf("epoch %d: %v", epoch, err)
		}
		here := errors.Is(want, verifier.ErrPoint)
		if (len(k.sizes(epoch)) == 1) != here || (k.verifyingKey(256, epoch) != nil) != here {
			t.Errorf("epoch %d: keys for %v", epoch, k.sizes(epoch))
		}
	}
	if list := k.current(5); len(list) != 1 || !list[0].Found {
		t.Errorf("keys in epoch 5: %+v", list)
	}
	wrong := ledger.ProofKeyTerm{Statements: 1024, Key: rollup.Hash{2}, From: 1, Until: 9}
	if err := k.learn([]ledger.ProofKeyTerm{other, ours, wrong}); err != nil ||
		k.verifyingKey(256, 5) == nil {
		t.Errorf("a key that is not here: %v", err)
	}
}

// TestKeyOfOneContributor has a key from a ceremony with one contributor, who may know its secrets.
func TestKeyOfOneContributor(t *testing.T) {
	pair, dir := prooftest.Keys(t, 256), t.TempDir()
	if err := pair.Link(dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.vk"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	const mark, more = `"development":true`, `,"contributors":1`
	header := bytes.Replace(b[:1024], []byte(mark), []byte(mark+more), 1)[:1024]
	if err := os.Remove(files[0]); err != nil { // the file in the cache is the same
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], append(header, b[1024:]...), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	named := []ledger.ProofKey{{Statements: 256, Key: rollup.Hash(pair.Key)}}
	quiet := slog.New(slog.DiscardHandler)
	_, err = loadProofKeys(dir, &ledger.Proofs{Keys: named}, quiet)
	if !errors.Is(err, ErrDevelopmentKey) || !strings.Contains(err.Error(), "one contributor") {
		t.Errorf("in a network that is not for development: %v", err)
	}
	k, err := loadProofKeys(dir, &ledger.Proofs{Development: true, Keys: named}, quiet)
	if err != nil || len(k.sizes(0)) != 1 {
		t.Errorf("in a network for development: %v", err)
	}
}

// TestNoProofKeys is a network as it is by default.
func TestNoProofKeys(t *testing.T) {
	k, err := loadProofKeys(t.TempDir(), new(ledger.Proofs), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if size := (&proofWorker{keys: k}).Size(0, 100); size != 0 || len(k.sizes(0)) != 0 {
		t.Errorf("proofs about %d statements are made", size)
	}
	err = k.in(0).VerifyProof(256, [32]byte{}, new([rollup.ProofSize]byte))
	if !errors.Is(err, verifier.ErrKey) || !strings.Contains(err.Error(), "rungs 1 and 2") {
		t.Errorf("a proof: %v", err)
	}
}

func TestCircuitFor(t *testing.T) {
	for _, c := range []struct {
		sizes            []int
		statements, want int
	}{{nil, 1, 0}, {[]int{256}, 1, 256}, {[]int{256}, 65536, 256}, {[]int{256, 4096}, 256, 256},
		{[]int{256, 4096}, 257, 4096}, {[]int{256, 4096}, 4097, 4096}} {
		if got := circuitFor(c.sizes, c.statements); got != c.want {
			t.Errorf("%d statements, %v: %d", c.statements, c.sizes, got)
		}
	}
}

// TestProofWorkerDies: a child that is gone is started again for the next proof, and not before.
func TestProofWorkerDies(t *testing.T) {
	pair := prooftest.Keys(t, 256)
	dir := t.TempDir()
	if err := pair.Link(dir); err != nil {
		t.Fatal(err)
	}
	named := []ledger.ProofKey{{Statements: 256, Key: rollup.Hash(pair.Key)}}
	k, err := loadProofKeys(dir, &ledger.Proofs{Development: true, Keys: named},
		slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w := newProofWorker(config.Default().Proofs, k, slog.New(slog.DiscardHandler))
	defer w.close()
	if s := w.snapshot(); s.Stage != "idle" || s.Starts != 0 {
		t.Errorf("%+v", s)
	}
	w.command = []string{"/bin/false"}
	segment := &rollup.Segment{Size: 256}
	for i := range uint64(2) {
		if _, err := w.Prove(t.Context(), 0, segment, nil); !errors.Is(err, prover.ErrWorker) {
			t.Errorf("a child that ends at once: %v", err)
		}
		if s := w.snapshot(); s.Stage != "failed" || s.Starts != i+1 {
			t.Errorf("%+v", s)
		}
	}
}
