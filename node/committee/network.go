package committee

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cometbft/cometbft/config"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
	"github.com/cometbft/cometbft/version"

	"github.com/waybill-network/waybill/node/committee/port"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// connect opens the consensus port, which starts the reactors.
func (e *Engine) connect(ec *config.Config, c *Config) error {
	pc := port.Config{
		Key: c.TransportKey, Listen: c.Listen, Info: e.nodeInfo(c), Admit: admission(e.app, c),
		Mconn: multiplexing(ec.P2P), Logger: c.Logger, Engine: e.log.With("module", "p2p"),
		Metered: mempool.MempoolChannel, Net: c.Net,
	}
	for _, p := range c.Peers {
		who, _ := e.app.registered(p.Key)
		pc.Peers = append(pc.Peers, port.Target{ID: p2p.ID(p.ID()), Address: p.Address, Who: who})
	}
	s := port.New(pc)
	if _, rotates := e.View().Rotation(); rotates {
		e.app.follow = e.followCommittees(s, c)
	}
	for _, r := range e.parts.reactors {
		s.AddReactor(r.name, r.Reactor)
	}
	e.network = s
	if err := s.Start(); err != nil {
		return err
	}
	if e.app.follow != nil {
		e.app.follow(e.View())
	}
	c.Logger.Info("consensus port open", "id", pc.Info.ID(), "listen", c.Listen)
	return nil
}

// registered says who holds a transport key, by the ledger.
func (a *app) registered(key ledger.Key) (who port.Identity, ok bool) {
	node, ok := a.view.Load().NodeByKey(key)
	if !ok {
		return port.Identity{}, false
	}
	return port.Identity{Node: node.Index, Registered: true,
		Member: a.view.Load().Judges(node.Index)}, true
}

// maxFollowed is how many members a node dials that is none itself.
const maxFollowed = 8

// followCommittees returns what is told of each view, and has the members of the committees in
// office and to come dialled, at the addresses that the ledger has. A node that has no seat dials
// some of them. While the chain is fetched, those of the genesis are dialled as well: committees of
// a view that is old may be gone.
func (e *Engine) followCommittees(s *port.Switch, c *Config) func(*ledger.View) {
	type moment struct {
		office, elected uint32
		phase           ledger.Phase
		fetching        bool
	}
	var mu sync.Mutex
	var last *moment
	own := ledger.KeyOf(c.TransportKey)
	return func(view *ledger.View) {
		mu.Lock()
		defer mu.Unlock()
		r, _ := view.Rotation()
		now := moment{view.Committee().Term, view.Elected().Term, r.Phase, e.parts.consensus.WaitSync()}
		if last != nil && *last == now {
			return
		}
		last = &now
		var nodes []uint32
		for _, committee := range []*rollup.Committee{view.Committee(), view.Elected()} {
			for _, m := range committee.Members {
				nodes = append(nodes, m.Node)
			}
		}
		if len(r.Next) > 0 {
			nodes = append(nodes, r.Next.Members()...)
		}
		slices.Sort(nodes)
		nodes = slices.Compact(nodes)
		self, registered := view.NodeByKey(own)
		sits := registered &&
			(slices.Contains(nodes, self.Index) || slices.Contains(r.Asked, self.Index))
		if !sits && len(nodes) > maxFollowed {
			// Each begins elsewhere among them, so that they share who follows.
			nodes = slices.Concat(nodes, nodes)[int(own[0])%len(nodes):][:maxFollowed]
		}
		if now.fetching || view.Height() == 0 {
			for i := range c.Genesis.Members {
				if node := c.Genesis.MemberNode(i); !slices.Contains(nodes, node) {
					nodes = append(nodes, node)
				}
			}
		}
		var targets []port.Target
		for _, index := range nodes {
			node, _ := view.Node(index)
			standing, stands := view.Standing(index)
			if node.TransportKey == own || !stands {
				continue
			}
			targets = append(targets, port.Target{ID: p2p.ID(Peer{Key: node.TransportKey}.ID()),
				Address: standing.Address,
				Who:     port.Identity{Node: index, Registered: true, Member: true}})
		}
		s.Follow(targets)
	}
}

// admission lets in whom the ledger registers, by its latest block, and whom the operator names.
func admission(a *app, c *Config) func(ed25519.PublicKey) (port.Identity, bool) {
	named := map[string]bool{}
	for _, id := range c.Observers {
		named[strings.ToLower(id)] = true
	}
	for _, p := range c.Peers {
		named[p.ID()] = true
	}
	return func(key ed25519.PublicKey) (port.Identity, bool) {
		if who, ok := a.registered(ledger.Key(key)); ok {
			return who, true
		}
		return port.Identity{}, named[string(p2p.PubKeyToID(cmted25519.PubKey(key)))]
	}
}

// nodeInfo is what the node tells its peers about itself. Nobody dials the address in it.
func (e *Engine) nodeInfo(c *Config) p2p.DefaultNodeInfo {
	return p2p.DefaultNodeInfo{
		ProtocolVersion: p2p.NewProtocolVersion(version.P2PProtocol,
			e.parts.state.Version.Consensus.Block, e.parts.state.Version.Consensus.App),
		DefaultNodeID: p2p.PubKeyToID(cmted25519.PrivKey(c.TransportKey).PubKey()),
		Network:       c.Genesis.ChainID,
		Version:       version.TMCoreSemVer,
		ListenAddr:    "tcp://" + c.Listen,
		Moniker:       "waybill",
	}
}

// multiplexing keeps the engine's own pings, which a busy node may answer late, far apart:
// heartbeats find dead connections.
func multiplexing(c *config.P2PConfig) conn.MConnConfig {
	m := conn.DefaultMConnConfig()
	m.FlushThrottle = 10 * time.Millisecond
	m.SendRate, m.RecvRate = c.SendRate, c.RecvRate
	m.MaxPacketMsgPayloadSize = c.MaxPacketMsgPayloadSize
	m.PingInterval, m.PongTimeout = 2*time.Minute, time.Minute
	return m
}
