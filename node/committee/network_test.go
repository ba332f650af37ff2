package committee

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// network is a committee with all its keys, which follow from its name.
type network struct {
	observers []string // ids that all let in

	keepBlocks time.Duration
	log        slog.Handler // nil: nothing is logged
	genesis    *ledger.Genesis
	treasury   ed25519.PrivateKey
	members    []member
}

type member struct {
	owner, transport, consensus ed25519.PrivateKey
	bls                         *bls.SecretKey
	address                     string // of the engine's peer-to-peer listener
}

func (m *member) keys() signer.Keys { return signer.NewLocal(m.bls, m.consensus) }

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func newNetwork(t testing.TB, name string, n int, epochSeconds, graceSeconds uint32,
	addresses []string, start time.Time) *network {
	t.Helper()
	net := &network{treasury: key(name + "/treasury")}
	net.genesis = &ledger.Genesis{
		Version: ledger.GenesisVersion, ChainID: name, GenesisTime: start,
		Treasury: ledger.KeyOf(net.treasury),
		Params: ledger.Params{
			EpochSeconds: epochSeconds, GraceSeconds: graceSeconds,
			Shares:      rollup.Shares{Node: 7000, Service: 2500, Protocol: 500},
			GrantEpochs: ledger.Forever, Allowance: 1 << 40,
			SlashEquivocation: ledger.DefaultSlash, UnbondSeconds: ledger.DefaultUnbond,
		},
	}
	for i := range n {
		own := func(what string) ed25519.PrivateKey {
			return key(fmt.Sprintf("%s/%d/%s", name, i,
				what))
		}
		ikm := sha256.Sum256(fmt.Appendf(nil, "%s/%d/bls", name, i))
		sk, err := bls.KeyGen(ikm[:])
		if err != nil {
			t.Fatal(err)
		}
		m := member{owner: own("owner"), transport: own("transport"), consensus: own("consensus"),
			bls: sk, address: "127.0.0.1:1"}
		if i < len(addresses) {
			m.address = addresses[i]
		}
		net.members = append(net.members, m)
		net.genesis.Members = append(net.genesis.Members, ledger.Member{
			Owner: ledger.KeyOf(m.owner), BLSKey: sk.PublicKey().Bytes(),
			TransportKey: ledger.KeyOf(m.transport), ConsensusKey: ledger.KeyOf(m.consensus),
			PeerAddress: "127.0.0.1:1", P2PAddress: m.address, Stake: 10_000_000,
		})
	}
	for i, m := range net.members {
		net.genesis.Sign(i, m.bls, m.transport)
	}
	genesis, err := ledger.ParseGenesis(net.genesis.Encode())
	if err != nil {
		t.Fatal(err)
	}
	net.genesis = genesis
	return net
}

// deposit is the nonce-th deposit, to an account of its own.
func (n *network) deposit(nonce uint64) (tx []byte, to ledger.Key) {
	to = ledger.KeyOf(key(fmt.Sprintf("account/%d", nonce)))
	return ledger.NewDeposit(n.genesis.Network(), n.treasury, nonce, to, 1000+nonce), to
}

// config is member i's, with everything that it keeps in dir.
func (n *network) config(i int, dir string, s *store.Store) Config {
	m := n.members[i]
	c := Config{
		Genesis: n.genesis, Home: filepath.Join(dir, "consensus"), ConsensusKey: m.consensus,
		TransportKey: m.transport,
		Keys:         m.keys(), Listen: m.address, Timeouts: LAN, Store: s,
		Snapshots: filepath.Join(dir, "snapshots"),
		Observers: n.observers, KeepBlocks: n.keepBlocks, Logger: slog.New(slog.DiscardHandler),
	}
	if n.log != nil {
		c.Logger = slog.New(n.log)
	}
	for j, other := range n.members {
		if j != i {
			c.Peers = append(c.Peers,
				Peer{Key: ledger.KeyOf(other.transport), Address: other.address})
		}
	}
	return c
}

// running is a node on disk.
type running struct {
	*Engine
	store *store.Store
}

func (n *network) start(t testing.TB, i int, dir string, change ...func(*Config)) *running {
	t.Helper()
	s, err := store.Open(filepath.Join(dir, "store"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := n.config(i, dir, s)
	for _, f := range change {
		f(&c)
	}
	e, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{e, s}
	t.Cleanup(func() { r.stop(t) })
	return r
}

func (r *running) stop(t testing.TB) {
	r.Stop()
	if err := r.store.Close(); err != nil {
		t.Error(err)
	}
}

// wait follows the chain until a view satisfies done.
func (r *running) wait(t testing.TB, what string, done func(*ledger.View) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	sub := r.Subscribe()
	defer sub.Close()
	for view := r.View(); !done(view); {
		u, err := sub.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for %s at %+v: %v", what, r.Status(), err)
		}
		view = u.View
	}
}

func (r *running) appHashAt(height int64) []byte {
	meta := r.parts.blocks.LoadBlockMeta(height + 1) // a header holds the hash of the block before
	if meta == nil {
		return nil
	}
	return bytes.Clone(meta.Header.AppHash)
}

// freeAddresses returns loopback addresses that nobody listens on.
func freeAddresses(t testing.TB, n int) []string {
	t.Helper()
	var addresses []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}
