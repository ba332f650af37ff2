package committee

import (
	"crypto/ed25519"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cometbft/cometbft/blocksync"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
	pb "github.com/cometbft/cometbft/proto/tendermint/blocksync"
	"github.com/cometbft/cometbft/version"

	"github.com/waybill-network/waybill/node/committee/port"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// boaster is a peer that claims blocks which nobody has, and sends none.
type boaster struct {
	*p2p.BaseReactor
	boasts atomic.Int64
}

func (b *boaster) GetChannels() []*conn.ChannelDescriptor {
	return []*conn.ChannelDescriptor{{ID: blocksync.BlocksyncChannel, Priority: 5,
		SendQueueCapacity: 100, RecvMessageCapacity: blocksync.MaxMsgSize,
		MessageType: &pb.Message{}}}
}

func (b *boaster) AddPeer(p p2p.Peer) { b.boast(p) }

func (b *boaster) Receive(e p2p.Envelope) { b.boast(e.Src) }

func (b *boaster) boast(p p2p.Peer) {
	if p.TrySend(p2p.Envelope{ChannelID: blocksync.BlocksyncChannel,
		Message: &pb.StatusResponse{Base: 1 << 40, Height: 1 << 41}}) {
		b.boasts.Add(1)
	}
}

// listen opens a consensus port that admits everybody and only boasts.
func (n *network) listen(t *testing.T) (Peer, *boaster) {
	t.Helper()
	transport, address := key("boaster"), freeAddresses(t, 1)[0]
	peer := Peer{Key: ledger.KeyOf(transport), Address: address}
	s := port.New(port.Config{
		Key: transport, Listen: address, Logger: slog.New(slog.DiscardHandler),
		Engine: log.NewNopLogger(),
		Info: p2p.DefaultNodeInfo{
			ProtocolVersion: p2p.NewProtocolVersion(version.P2PProtocol, version.BlockProtocol, 0),
			DefaultNodeID:   p2p.ID(peer.ID()), Network: n.genesis.ChainID,
			Version: version.TMCoreSemVer,
		},
		Admit: func(ed25519.PublicKey) (port.Identity, bool) { return port.Identity{}, true },
		Mconn: conn.DefaultMConnConfig(),
	})
	b := &boaster{}
	b.BaseReactor = p2p.NewBaseReactor("boaster", b)
	s.AddReactor("BLOCKSYNC", b)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	return peer, b
}

// TestBoaster: a node joins although one of its peers claims a chain that does not exist.
func TestBoaster(t *testing.T) {
	n := newNetwork(t, "boaster", 1, 3600, 1, freeAddresses(t, 1), time.Now().UTC())
	joins := Peer{Key: ledger.KeyOf(key("joiner"))}
	member, _ := n.logged(t, 0, t.TempDir(), func(c *Config) { c.Observers = []string{joins.ID()} })
	higher := func(v *ledger.View) bool { return v.Height() > 3 }
	member.wait(t, "blocks", higher)
	hostile, b := n.listen(t)
	joiner, _ := n.logged(t, 0, t.TempDir(), func(c *Config) {
		c.ConsensusKey, c.Keys, c.TransportKey = key("votes for nothing"), nil, key("joiner")
		c.Listen = freeAddresses(t, 1)[0]
		c.Peers = []Peer{hostile,
			{Key: ledger.KeyOf(n.members[0].transport), Address: n.members[0].address}}
	})
	joiner.wait(t, "the chain", higher)
	if b.boasts.Load() == 0 {
		t.Error("nobody boasted")
	}
}
