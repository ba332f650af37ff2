package vault

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/committee/ballot"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

var (
	password = []byte("a password for tests")
	network  = rollup.Network{7}
	light    = keys.Template{KDF: keys.PBKDF2}
)

// own are the keys of every vault here. Passwords take long to open keystores.
var own = func() secrets {
	duty, err := bls.KeyGen(make([]byte, 32))
	if err != nil {
		panic(err)
	}
	return secrets{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)),
		ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32)), duty}
}()

// unfinishedVault is a vault that does not open yet, with keystores that do not either, but for its
// own key's.
func unfinishedVault(t testing.TB) string {
	t.Helper()
	from, dir := t.TempDir(), filepath.Join(t.TempDir(), "signer")
	for _, name := range []string{"bls.json", "consensus.json"} {
		if err := os.WriteFile(filepath.Join(from, name), []byte("sealed"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := build(dir, from, Settings{Network: network, ChainID: "vault",
		Listen: "unix:///signer"}, own, password, light); err != nil {
		t.Fatal(err)
	}
	return dir
}

// imports is Import without a password.
func imports(t testing.TB, dir string, s *Signed) (*Imported, error) {
	t.Helper()
	v, err := openWith(dir, own, openStore)
	if err != nil {
		t.Fatal(err)
	}
	done, err := v.add(s)
	return done, errors.Join(err, v.Close(), Finish(dir))
}

func newVault(t testing.TB) (*Vault, string) {
	t.Helper()
	dir := unfinishedVault(t)
	if _, err := Open(dir, password); !errors.Is(err, ErrUnfinished) {
		t.Fatal("an unfinished vault opens:", err)
	}
	if err := Finish(dir); err != nil {
		t.Fatal(err)
	}
	return reopen(t, nil, dir), dir
}

func reopen(t testing.TB, v *Vault, dir string) *Vault {
	t.Helper()
	if v != nil {
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	v, err := openWith(dir, own, openStore)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// statement is one of a kind, in a slot with a number, that says something.
func statement(t testing.TB, kind signer.Kind, number uint32, says byte) signer.Statement {
	t.Helper()
	what := rollup.Hash{says}
	switch kind {
	case signer.Record:
		return signer.RecordOf(&rollup.Record{Network: network, Height: uint64(number),
			Time: uint64(says), SettledEpoch: rollup.NoEpoch})
	case signer.HandOver:
		return signer.Statement{Kind: kind, Message: (&rotation.HandOver{Network: network, Term: number,
			Seed: what}).Append(nil)}
	case signer.Rollup:
		return signer.RollupOf(&network, 1, rollup.WindowKey{Epoch: number, Node: 2, Window: 3}, what)
	case signer.Report:
		verdicts, err := rotation.NewVerdicts(5, []uint32{uint32(says % 5)})
		if err != nil {
			t.Fatal(err)
		}
		report := ledger.UnsignedReport(number, 2, verdicts, what, nil)
		return signer.Statement{Kind: kind, Message: report.Message(network)}
	case signer.Reveal:
		return signer.Statement{Kind: kind, Message: (&rotation.Beacon{Network: network, Epoch: number,
			Previous: what, Announced: rollup.NewBitmap(4)}).Message(nil)}
	}
	return signer.Statement{Kind: kind, Message: ledger.ReadyMessage(network, number, 2, what)}
}

// TestOnce: in each slot of each kind one thing is said, any number of times, and after a restart,
// too. What contradicts it is refused, alone or beside others, which are not signed either.
func TestOnce(t *testing.T) {
	v, dir := newVault(t)
	public, err := bls.ParsePublicKey(v.DutyKey[:])
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, kind := range signer.Kinds() {
			first, other := statement(t, kind, 9, 1), statement(t, kind, 9, 2)
			next := statement(t, kind, 10, 1)
			signed, err := v.Sign(t.Context(), first, first)
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			for _, s := range signed {
				if !bls.Default.Verify(public, first.Message, &s.Duty) {
					t.Errorf("%s: the signature does not verify", kind)
				}
				if (s.Consensus != ledger.Signature{}) != (kind == signer.Ready) {
					t.Errorf("%s: the consensus key's signature: %x", kind, s.Consensus)
				}
			}
			for _, list := range [][]signer.Statement{{other}, {first, other}, {next, other},
				{other, next}} {
				if _, err := v.Sign(t.Context(), list...); !errors.Is(err, signer.ErrSigned) {
					t.Errorf("%s: another one in its slot: %v", kind, err)
				}
			}
			twice := []signer.Statement{statement(t, kind, 11, 1), statement(t, kind, 11, 2)}
			if _, err := v.Sign(t.Context(), twice...); !errors.Is(err, signer.ErrSigned) {
				t.Errorf("%s: two at once: %v", kind, err)
			}
			// Nothing of that was remembered: the slots are free for either.
			slot, _, err := signer.Parse(&v.Network, next)
			if err != nil {
				t.Fatal(err)
			}
			if _, there, err := v.memory.said(slot); there || err != nil {
				t.Errorf("%s: what was refused is remembered: %v", kind, err)
			}
		}
		v = reopen(t, v, dir)
	}
	if _, err := v.Sign(t.Context(), signer.Statement{Kind: signer.Record,
		Message: []byte("anything")}); !errors.Is(err, signer.ErrStatement) {
		t.Error("bytes are signed:", err)
	}
}

// TestForget: a slot that is so far below the highest that it is forgotten says nothing any more.
func TestForget(t *testing.T) {
	v, dir := newVault(t)
	for _, kind := range signer.Kinds() {
		low, high := statement(t, kind, 5, 1), statement(t, kind, 6+uint32(kept[kind]), 1)
		if _, err := v.Sign(t.Context(), low, high); err != nil {
			t.Fatal(kind, err)
		}
	}
	v = reopen(t, v, dir)
	for _, kind := range signer.Kinds() {
		for says := range byte(2) {
			if _, err := v.Sign(t.Context(), statement(t, kind, 4, says)); !errors.Is(err,
				signer.ErrBelow) {
				t.Errorf("%s, below what is remembered: %v", kind, err)
			}
		}
		if _, err := v.Sign(t.Context(), statement(t, kind, 6, 1)); err != nil {
			t.Errorf("%s, the lowest: %v", kind, err)
		}
	}
	if _, err := v.Sign(t.Context(), statement(t, signer.Rollup, math.MaxUint32, 1)); err != nil {
		t.Error(err)
	}
}

// TestAlone: one process has a vault, in its place.
func TestAlone(t *testing.T) {
	v, dir := newVault(t)
	if _, err := openWith(dir, own, openStore); err == nil {
		t.Error("it opens twice")
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	other := own
	other.consensus = own.tls
	if _, err := openWith(dir, other, openStore); !errors.Is(err, ErrKeys) {
		t.Error("other keys:", err)
	}
	copied := filepath.Join(t.TempDir(), "copied")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := openWith(copied, own, openStore); !errors.Is(err, store.ErrCopied) {
		t.Error("a copy:", err)
	}
	if _, err := Open(t.TempDir(), password); !errors.Is(err, ErrNone) {
		t.Error("an empty folder:", err)
	}
	v = reopen(t, nil, dir)
	if err := v.Retire(store.Fence{To: "tests"}); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openWith(dir, own, openStore); !errors.Is(err, ErrRetired) {
		t.Error("a retired signer:", err)
	}
}

func vote(height int64, block byte) *cmtproto.Vote {
	hash := bytes.Repeat([]byte{block}, 32)
	return &cmtproto.Vote{Type: cmtproto.PrecommitType, Height: height,
		BlockID: cmtproto.BlockID{Hash: hash, PartSetHeader: cmtproto.PartSetHeader{Total: 1,
			Hash: hash}}}
}

// TestExport takes what was signed to another signer of the same keys, which contradicts none of
// it; and back to the first, which knows more by then. It is refused of another network, of other
// keys, and when it is no such file.
func TestExport(t *testing.T) {
	v, dir := newVault(t)
	for _, kind := range signer.Kinds() {
		if _, err := v.Sign(t.Context(), statement(t, kind, 9, 1),
			statement(t, kind, 10+uint32(kept[kind]), 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Votes().SignVote("vault", vote(50, 1)); err != nil {
		t.Fatal(err)
	}
	signed := exported(t, v)
	there := unfinishedVault(t)
	for range 2 {
		done, err := imports(t, there, signed)
		if err != nil || done.Height != 50 || done.Closed != 0 {
			t.Fatal(done, err)
		}
	}
	w := reopen(t, nil, there)
	for _, kind := range signer.Kinds() {
		if _, err := w.Sign(t.Context(), statement(t, kind, 10+uint32(kept[kind]), 2)); !errors.Is(err,
			signer.ErrSigned) {
			t.Errorf("%s: another one in a slot that was imported: %v", kind, err)
		}
		if _, err := w.Sign(t.Context(), statement(t, kind, 8, 1)); !errors.Is(err, signer.ErrBelow) {
			t.Errorf("%s: below what was imported: %v", kind, err)
		}
	}
	for _, height := range []int64{49, 50} {
		if err := w.Votes().SignVote("vault", vote(height, 1)); !errors.Is(err, ballot.ErrRefused) {
			t.Error("a vote at or below what was imported:", err)
		}
	}
	// The two go different ways, as they never should; what they disagree on is closed.
	if _, err := w.Sign(t.Context(), statement(t, signer.Record, 1<<20, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Sign(t.Context(), statement(t, signer.Record, 1<<20, 1)); err != nil {
		t.Fatal(err)
	}
	back := exported(t, w)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if done, err := imports(t, dir, back); err != nil || done.Closed != 1 || done.Added != 0 {
		t.Error(done, err)
	}
	v = reopen(t, nil, dir)
	for says := range byte(3) {
		if _, err := v.Sign(t.Context(), statement(t, signer.Record, 1<<20, says)); !errors.Is(err,
			signer.ErrSigned) {
			t.Error("a slot that is closed:", err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}

	other := *signed
	other.Network = rollup.Network{8}
	if _, err := imports(t, dir, &other); !errors.Is(err, ErrNetwork) {
		t.Error("of another network:", err)
	}
	other = *signed
	other.ConsensusKey = ledger.Key{1}
	if _, err := imports(t, dir, &other); !errors.Is(err, ErrKeys) {
		t.Error("of other keys:", err)
	}
	for _, text := range []string{"", "{}", `{"format":"waybill-signed/2"}`, `{"unknown":1}`,
		`{"format":"waybill-signed/1","votes":{"height":-1}}`} {
		if _, err := ReadSigned(bytes.NewReader([]byte(text))); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// exported goes through a file.
func exported(t *testing.T, v *Vault) *Signed {
	t.Helper()
	s, err := v.Export()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadSigned(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return read
}
