package remote

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/committee/ballot"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/signer/vault"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

var network = rollup.Network{9}

const chain = "remote"

// key makes a key of a number.
func key(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }

// newVault is a vault that answers the node with key 1, at a socket.
func newVault(t *testing.T) *vault.Vault {
	t.Helper()
	password, light := []byte("a password for tests"), keys.Template{KDF: keys.PBKDF2}
	from, dir := t.TempDir(), filepath.Join(t.TempDir(), "signer")
	duty, err := bls.KeyGen(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	_, err = vault.Make(dir, from, vault.Settings{}, password, light)
	if err == nil {
		t.Fatal("a vault without keys")
	}
	sockets, err := os.MkdirTemp("", "wb") // a socket's name is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	if err := errors.Join(keys.CreateBLS(filepath.Join(from, "bls.json"), duty, password, light),
		keys.CreateEd25519(filepath.Join(from, "consensus.json"), key(7), password,
			light)); err != nil {
		t.Fatal(err)
	}
	if _, err = vault.Make(dir, from, vault.Settings{Network: network, ChainID: chain,
		Node: ledger.KeyOf(key(1)), Listen: "unix://" + filepath.Join(sockets, "s")}, password,
		light); err != nil {
		t.Fatal(err)
	}
	if err := vault.Finish(dir); err != nil {
		t.Fatal(err)
	}
	v, err := vault.Open(dir, password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// serve serves until stop is called, or the test ends.
func serve(t *testing.T, v *vault.Vault, address string) (at string, stop func()) {
	t.Helper()
	s, err := NewServer(v, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // cuts connections off, as a kill does
		_ = s.Close(ctx)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return l.Addr().Network() + "://" + l.Addr().String(), stop
}

func dialed(t *testing.T, c Config) *Client {
	t.Helper()
	client, err := Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func config(t *testing.T, v *vault.Vault, address string) Config {
	t.Helper()
	return Config{Address: address, Key: v.TLSKey, Transport: key(1), Network: network,
		Card: filepath.Join(t.TempDir(), "signer.json"), Logger: slog.New(slog.DiscardHandler)}
}

func record(says uint64) signer.Statement {
	return signer.RecordOf(&rollup.Record{Network: network, Height: 5, Time: says,
		SettledEpoch: rollup.NoEpoch})
}

func vote(v *vault.Vault, height int64, block byte) *cmtproto.Vote {
	public := v.Consensus()
	hash := bytes.Repeat([]byte{block}, 32)
	return &cmtproto.Vote{Type: cmtproto.PrecommitType, Height: height,
		ValidatorAddress: cmted25519.PubKey(public[:]).Address(), Extension: []byte("extension"),
		BlockID: cmtproto.BlockID{Hash: hash, PartSetHeader: cmtproto.PartSetHeader{Total: 1,
			Hash: hash}}}
}

// TestSigns has everything signed over the wire, with the same signatures that the keys give at
// hand, and everything refused that contradicts it, each with its reason.
func TestSigns(t *testing.T) {
	v := newVault(t)
	for _, address := range []string{v.Listen, "tcp://127.0.0.1:0"} {
		at, stop := serve(t, v, address)
		c := dialed(t, config(t, v, at))
		if c.Duty() != v.Duty() || c.Consensus() != v.Consensus() || c.Key() != v.Consensus() {
			t.Error("other public keys")
		}
		ready := signer.Statement{Kind: signer.Ready,
			Message: ledger.ReadyMessage(network, 3, 1, rollup.Hash{1})}
		got, err := c.Sign(t.Context(), record(1), ready)
		if err != nil {
			t.Fatal(err)
		}
		want, err := v.Sign(t.Context(), record(1), ready)
		if err != nil || got[0] != want[0] || got[1] != want[1] {
			t.Error("other signatures", err)
		}
		signed := vote(v, 10, 1)
		if err := c.SignVote(chain, signed); err != nil || len(signed.ExtensionSignature) == 0 {
			t.Error(signed, err)
		}
		other := record(1)
		other.Message = append([]byte(nil), other.Message...)
		other.Message[8]++ // the network
		for name, x := range map[string]struct {
			err, want error
		}{
			"another record":  {signs(c, record(2)), signer.ErrSigned},
			"no record":       {signs(c, signer.Statement{Kind: signer.Record}), signer.ErrStatement},
			"no kind":         {signs(c, signer.Statement{Kind: 99}), signer.ErrStatement},
			"another network": {signs(c, other), signer.ErrNetwork},
			"another vote":    {c.SignVote(chain, vote(v, 10, 2)), ballot.ErrRefused},
			"an earlier vote": {c.SignVote(chain, vote(v, 9, 1)), ballot.ErrRefused},
			"another chain":   {c.SignVote("another", vote(v, 11, 1)), signer.ErrNetwork},
			"no vote":         {c.SignVote(chain, new(cmtproto.Vote)), signer.ErrStatement},
			"no proposal":     {c.SignProposal(chain, new(cmtproto.Proposal)), signer.ErrStatement},
		} {
			if !errors.Is(x.err, x.want) {
				t.Errorf("%s: %v", name, x.err)
			}
		}
		if _, away := c.Reach(); away != nil {
			t.Error("a refusal takes the signer out of reach:", away)
		}
		stop()
	}
	at, _ := serve(t, v, v.Listen)
	if st, err := os.Stat(at[len("unix://"):]); err != nil || st.Mode().Perm() != 0o600 {
		t.Error("the socket's rights:", st.Mode(), err)
	}
	c := dialed(t, config(t, v, at))
	if err := c.Above(20); err != nil {
		t.Error(err)
	}
	if err := c.SignVote(chain, vote(v, 20, 1)); !errors.Is(err, ballot.ErrRefused) {
		t.Error("a vote that was forbidden:", err)
	}
	if last, known := dialed(t, config(t, v, at)).Last(); last != 20 || !known {
		t.Error("last vote", last, known)
	}
	strangers(t, v, at)
}

func signs(c *Client, s signer.Statement) error {
	_, err := c.Sign(context.Background(), s)
	return err
}

// strangers: neither side talks to another than it knows, and a node that knew its keys takes no
// others.
func strangers(t *testing.T, v *vault.Vault, at string) {
	t.Helper()
	stranger := config(t, v, at)
	stranger.Transport = key(2)
	if _, err := Dial(t.Context(), stranger); !errors.Is(err, ErrUnseen) {
		t.Error("another node:", err)
	}
	other := config(t, v, at)
	other.Key = ledger.KeyOf(key(3))
	if _, err := Dial(t.Context(), other); !errors.Is(err, ErrUnseen) {
		t.Error("another signer:", err)
	}
	foreign := config(t, v, at)
	foreign.Network = rollup.Network{1}
	if _, err := Dial(t.Context(), foreign); !errors.Is(err, ErrKeys) {
		t.Error("another network:", err)
	}
	knew := config(t, v, at)
	if err := (Card{Network: network, ConsensusKey: ledger.Key{1}}).Write(knew.Card); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), knew); !errors.Is(err, ErrKeys) {
		t.Error("keys that were others:", err)
	}
	for _, address := range []string{"", "unix://relative", "http://x", "tcp://no-port"} {
		if err := CheckAddress(address); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// TestAway: a signer that goes is noticed, calls fail at once then, a node that knows its keys
// starts without it, and one that comes back is found, each told once.
func TestAway(t *testing.T) {
	v := newVault(t)
	at, stop := serve(t, v, v.Listen)
	cfg := config(t, v, at)
	var log lines
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	c := dialed(t, cfg)
	stop()
	changed, away := c.Reach()
	if away == nil {
		await(t, changed)
	}
	if err := signs(c, record(1)); !errors.Is(err, signer.ErrAway) {
		t.Error("without a signer:", err)
	}
	if err := c.SignVote(chain, vote(v, 1, 1)); !errors.Is(err, signer.ErrAway) {
		t.Error("without a signer:", err)
	}
	second := dialed(t, cfg) // as after a restart
	if _, known := second.Last(); known || second.Consensus() != v.Consensus() {
		t.Error("a node that starts without its signer knows what it cannot, or not what it can")
	}
	changed, _ = c.Reach()
	changedSecond, _ := second.Reach()
	_, _ = serve(t, v, v.Listen)
	await(t, changed)
	await(t, changedSecond)
	if err := signs(c, record(1)); err != nil {
		t.Error("with the signer back:", err)
	}
	if _, known := second.Last(); !known {
		t.Error("the last vote is not known yet")
	}
	if got := log.count("out of reach"); got != 2 { // of two clients
		t.Errorf("%d lines say that it is out of reach", got)
	}
	if got := log.count("there again"); got != 2 {
		t.Errorf("%d lines say that it is back", got)
	}
	if _, err := Dial(t.Context(), Config{Address: "unix:///nowhere/s", Key: cfg.Key,
		Transport: key(1), Network: network, Card: filepath.Join(t.TempDir(), "none"),
		Logger: cfg.Logger}); !errors.Is(err, ErrUnseen) || !errors.As(err, new(*net.OpError)) {
		t.Error("never reached:", err)
	}
}

func await(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second): // only a test that fails waits for it
		t.Fatal("nothing changed")
	}
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.b.Bytes(), []byte(words))
}
