// Package port is the consensus port: the network of the consensus engine, in place of the engine's
// own.
//
// The engine's reactors see what they expect, a switch and peers (p2p.Switcher, p2p.Peer), and the
// bytes between two nodes are the engine's: a secret connection, node infos, multiplexed channels.
// What differs is who gets in, and how soon a connection that is dead is noticed.
//
// # Who gets in
//
// A caller passes three gates, and each is cheap beside the next:
//
//  1. It waits for a caller's first 35 bytes, its ephemeral key, for a second. A caller that is
//     waited for costs a goroutine and a file descriptor. When the places are taken, the address
//     that holds most of them loses its oldest.
//  2. It shakes hands, which costs both sides about a third of a millisecond of processor time.
//     Places and rate are bounded by address, and for all strangers together.
//  3. It is known: by its transport key, which the ledger registers, or which the operator names.
//     Others are turned away before they learn anything. There is no address book.
//
// Addresses of committee members, and addresses that a member has called from, have places and
// rates of their own at the first two gates. So strangers compete with each other, and members with
// nobody but callers at their own address.
//
// # Which connection
//
// Two nodes keep one connection. Each sends the other a heartbeat every second, from a goroutine of
// its own, so that a node which is busy is not taken for dead; a connection that brings nothing for
// [Silence] is. When a node that is connected comes again, the newer connection takes the older
// one's place: whoever holds the key knows best which of its connections is alive. The exception
// are two that call each other at the same moment: both keep the call of the one with the lower id.
//
// Members, and peers that the operator names, are dialled until they are connected, at most
// [MaxBackoff] apart. Who the members are may change: [Switch.Follow].
package port

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/libs/service"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
)

// Times of a connection.
const (
	Heartbeat  = time.Second             // between two heartbeats
	Silence    = 4 * time.Second         // after which a connection is dead
	MinBackoff = 100 * time.Millisecond  // between two dials, at first
	MaxBackoff = 1500 * time.Millisecond // and at last

	dialTimeout      = 2 * time.Second
	handshakeTimeout = 3 * time.Second
	knockTimeout     = time.Second // for a caller's first bytes
	sameMoment       = 2 * time.Second
	settled          = 5 * time.Second // a connection that lasted so long worked
)

// heartbeatChannel carries heartbeats. The engine's channels are below 0x70.
const heartbeatChannel = 0x7e

// Config is what a switch needs.
type Config struct {
	Key    ed25519.PrivateKey // transport key of this node
	Info   p2p.DefaultNodeInfo
	Listen string // host:port
	Peers  []Target
	// Admit says whether the holder of a transport key may be a peer, and which one it is. It is
	// asked for every caller that has shown its key, so a node that is registered while others run
	// is admitted by them from then on.
	Admit  func(ed25519.PublicKey) (Identity, bool)
	Mconn  conn.MConnConfig
	Logger *slog.Logger
	Engine log.Logger // of the engine's own parts
	// Metered is a channel on which peers that are not members are heard only so often: what they
	// send there costs this node more than them. What is too much is dropped.
	Metered byte
	// Net is where it listens and dials; nil: the operating system's.
	Net     Net
	limits  limits // in tests; zero: the defaults
	silence time.Duration
}

// Net is a network of streams, as package net has it.
type Net interface {
	Listen(network, address string) (net.Listener, error)
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// system is the operating system's network.
type system struct{ net.Dialer }

func (*system) Listen(network, address string) (net.Listener, error) {
	return net.Listen(network, address)
}

// Target is a peer that is dialled.
type Target struct {
	ID      p2p.ID
	Address string   // host:port
	Who     Identity // for the status while it was never connected
}

// Identity says who a peer is.
type Identity struct {
	Node       uint32 // index in the registry
	Registered bool   // it has one
	Member     bool   // of the committee
}

// Switch is the engine's network. It implements p2p.Switcher; what only the engine's address book
// would call does nothing.
type Switch struct {
	service.BaseService
	c        Config
	key      cmted25519.PrivKey
	reactors []reactor
	channels []*conn.ChannelDescriptor
	byID     map[byte]channel

	peers *p2p.PeerSet
	// joining is held while a peer joins or leaves: reactors are told of one at a time, and of a
	// peer that replaces another after the other has left.
	joining sync.Mutex
	door    *door
	known   *addresses
	board   *board
	meter   rates[p2p.ID] // of Metered
	// which peers are dialled beside the configured ones, and for which of them a routine runs
	following sync.Mutex
	wanted    map[p2p.ID]string // address
	pursued   map[p2p.ID]bool
	tasks     sync.WaitGroup
	ctx       context.Context
	cancel    context.CancelFunc
}

type reactor struct {
	name string
	p2p.Reactor
}

var _ p2p.Switcher = (*Switch)(nil)

// New returns a switch, to which reactors are added before it is started.
func New(c Config) *Switch {
	if c.limits == (limits{}) {
		c.limits = defaults
	}
	if c.Net == nil {
		c.Net = new(system)
	}
	if c.silence == 0 {
		c.silence = Silence
	}
	s := &Switch{
		c: c, key: cmted25519.PrivKey(c.Key), byID: map[byte]channel{}, peers: p2p.NewPeerSet(),
		known: newAddresses(), board: newBoard(c.Peers, c.Logger),
		pursued: make(map[p2p.ID]bool),
		meter: rates[p2p.ID]{
			each: c.limits.metered, burstEach: 10 * c.limits.metered,
			all: 5 * c.limits.metered, burst: 20 * c.limits.metered,
		},
	}
	s.channels = []*conn.ChannelDescriptor{
		{ID: heartbeatChannel, Priority: 10, SendQueueCapacity: 1, RecvMessageCapacity: 16},
	}
	s.c.Info.Channels = append([]byte{heartbeatChannel}, c.Info.Channels...)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.BaseService = *service.NewBaseService(c.Engine, "Port", s)
	return s
}

// AddReactor adds a reactor. It is not safe for concurrent use.
func (s *Switch) AddReactor(name string, r p2p.Reactor) p2p.Reactor {
	for _, d := range r.GetChannels() {
		s.channels = append(s.channels, d)
		s.c.Info.Channels = append(s.c.Info.Channels, d.ID)
		s.byID[d.ID] = channel{reactor: r, message: d.MessageType}
	}
	s.reactors = append(s.reactors, reactor{name, r})
	r.SetSwitch(s)
	return r
}

// RemoveReactor does nothing: no reactor is ever removed.
func (s *Switch) RemoveReactor(string, p2p.Reactor) {}

// Reactor returns a reactor by its name.
func (s *Switch) Reactor(name string) (p2p.Reactor, bool) {
	for _, r := range s.reactors {
		if r.name == name {
			return r.Reactor, true
		}
	}
	return nil, false
}

// OnStart starts the reactors, opens the door and dials.
func (s *Switch) OnStart() error {
	l, err := s.c.Net.Listen("tcp", s.c.Listen)
	if err != nil {
		return err
	}
	for _, r := range s.reactors {
		if err := r.Start(); err != nil {
			l.Close()
			return fmt.Errorf("port: %s: %w", r.name, err)
		}
	}
	s.door = newDoor(l, s.c.limits, s.known, s.c.Logger, s.welcome)
	s.tasks.Go(s.door.serve)
	for i := range s.c.Peers {
		s.tasks.Go(func() { s.pursue(s.c.Peers[i]) })
	}
	return nil
}

// OnStop closes the door and all connections, and stops the reactors.
func (s *Switch) OnStop() {
	s.cancel()
	if s.door != nil {
		s.door.close()
	}
	s.joining.Lock() // nobody joins after this
	peers := s.peers.Copy()
	s.joining.Unlock()
	for _, p := range peers {
		s.drop(p.(*peer), ReasonStopped)
	}
	s.tasks.Wait()
	for _, r := range s.reactors {
		if r.IsRunning() {
			_ = r.Stop() // fails only when it is stopped
		}
	}
}

// welcome takes a caller that has sent its first bytes through the other gates.
func (s *Switch) welcome(c *caller) {
	secret, info, who, err := s.shake(c, "")
	if err != nil {
		if r := ReasonOf(err); r == ReasonNetwork || r == ReasonEngine {
			s.board.failed(info.ID(), c.RemoteAddr().String(), err)
		}
		c.Close()
		return
	}
	if who.Member {
		s.known.add(c.address)
	}
	if !s.door.frequent(info.ID()) {
		c.Close()
		return
	}
	// When it may not join, the other side sees that it is closed.
	_ = s.join(newPeer(s, c.live, secret, info, who, false))
}

// join makes a peer of an authenticated connection, or closes it.
func (s *Switch) join(p *peer) error {
	s.joining.Lock()
	defer s.joining.Unlock()
	if s.ctx.Err() != nil {
		p.CloseConn()
		return ReasonStopped
	}
	if old, ok := s.peers.Get(p.ID()).(*peer); ok {
		if old.IsRunning() &&
			keepsOlder(s.c.Info.ID(), p.ID(), old.outbound, p.outbound, time.Since(old.since)) {
			p.CloseConn()
			return ReasonDuplicate
		}
		s.leave(old, ReasonReplaced)
	}
	if !s.room(p) {
		p.CloseConn()
		return ReasonBusy
	}
	for _, r := range s.reactors {
		r.InitPeer(p)
	}
	if err := p.Start(); err != nil {
		p.CloseConn()
		return err
	}
	if err := s.peers.Add(p); err != nil {
		_ = p.Stop() // fails only when it is stopped
		return err
	}
	s.board.connected(p)
	for _, r := range s.reactors {
		r.AddPeer(p)
	}
	return nil
}

// room says whether a peer may join. Members, and whom the operator names, always may; of others,
// whose registration need not have cost much, so many.
func (s *Switch) room(p *peer) bool {
	if !p.who.Registered || p.outbound || s.isMember(p) {
		return true
	}
	followers := 0
	for _, other := range s.peers.Copy() {
		if o := other.(*peer); o.who.Registered && !o.outbound && !s.isMember(o) {
			followers++
		}
	}
	return followers < s.c.limits.followers
}

// keepsOlder says whether a peer's older connection outlives its newer one: only when each side has
// called the other at the same moment, for then the two would otherwise close each other's choice.
// Both keep the call of the lower id.
func keepsOlder(own, other p2p.ID, olderOut, youngerOut bool, age time.Duration) bool {
	return olderOut != youngerOut && age <= sameMoment && olderOut == (own < other)
}

// leave takes a peer out; joining is held.
func (s *Switch) leave(p *peer, why error) {
	if s.peers.Get(p.ID()) != p2p.Peer(p) {
		return
	}
	if p.IsRunning() {
		_ = p.Stop() // fails only when it is stopped
	}
	for _, r := range s.reactors {
		r.RemovePeer(p, why)
	}
	s.peers.Remove(p)
	s.board.disconnected(p, why)
}

// drop closes a connection and takes the peer out.
func (s *Switch) drop(p *peer, why error) {
	if p.IsRunning() {
		_ = p.Stop() // fails only when it is stopped
	}
	s.joining.Lock()
	defer s.joining.Unlock()
	s.leave(p, why)
}

// StopPeerForError closes a peer's connection at once, and takes it out soon. It never waits: the
// engine calls it from a routine that others, which hold the locks that taking out needs, wait for.
func (s *Switch) StopPeerForError(p p2p.Peer, reason any) {
	own, ok := p.(*peer)
	if !ok {
		return
	}
	err, ok := reason.(error)
	if !ok {
		err = fmt.Errorf("%v", reason)
	}
	if own.IsRunning() {
		_ = own.Stop() // fails only when it is stopped
	}
	go s.drop(own, err) // it ends as soon as whoever joins or leaves now has done so
}

// StopPeerGracefully closes a peer's connection.
func (s *Switch) StopPeerGracefully(p p2p.Peer) { s.StopPeerForError(p, ReasonStopped) }

// Peers returns the connected peers.
func (s *Switch) Peers() p2p.IPeerSet { return s.peers }

// NumPeers counts the peers by who called whom.
func (s *Switch) NumPeers() (outbound, inbound, dialing int) {
	for _, p := range s.peers.Copy() {
		if p.IsOutbound() {
			outbound++
		} else {
			inbound++
		}
	}
	return outbound, inbound, 0
}

// BroadcastAsync sends to all peers, and waits for none.
func (s *Switch) BroadcastAsync(e p2p.Envelope) {
	for _, p := range s.peers.Copy() {
		go p.Send(e)
	}
}

// TryBroadcast sends to all peers whose queues have room.
func (s *Switch) TryBroadcast(e p2p.Envelope) {
	for _, p := range s.peers.Copy() {
		p.TrySend(e)
	}
}

// Status returns the peers that are dialled, in the order of the configuration, and the others that
// are connected.
func (s *Switch) Status() []Status { return s.board.status() }

// NodeInfo returns what this node says about itself.
func (s *Switch) NodeInfo() p2p.NodeInfo { return s.c.Info }

// Log returns the engine's logger.
func (s *Switch) Log() log.Logger { return s.Logger }

// The rest is for the engine's address book, which there is not.

func (s *Switch) MaxNumOutboundPeers() int                        { return len(s.c.Peers) }
func (s *Switch) AddPersistentPeers([]string) error               { return nil }
func (s *Switch) AddPrivatePeerIDs([]string) error                { return nil }
func (s *Switch) AddUnconditionalPeerIDs([]string) error          { return nil }
func (s *Switch) DialPeerWithAddress(*p2p.NetAddress) error       { return nil }
func (s *Switch) DialPeersAsync([]string) error                   { return nil }
func (s *Switch) IsDialingOrExistingAddress(*p2p.NetAddress) bool { return false }
func (s *Switch) IsPeerPersistent(*p2p.NetAddress) bool           { return true }
func (s *Switch) IsPeerUnconditional(p2p.ID) bool                 { return true }
func (s *Switch) MarkPeerAsGood(p2p.Peer)                         {}

// jittered returns a time around d, so that nodes which lost each other at one moment do not meet
// at one moment.
func jittered(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2) }
